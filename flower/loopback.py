"""Three hospitals and a coordinator on one machine, over Flower with TLS and keys for each node.

A SuperLink and three SuperNodes run on the loopback device, each site with its gate. A fit is made
and compared with that of all rows in one place; a stranger's node has to be refused; a node that
goes away has to be noticed, and the fit to go on once it is back. `make flower` calls it, in an
environment of its own.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import laplace
from compendium import datasets
from laplace.engines import files

APP = Path(__file__).parent / "app"
SITES = ("north", "south", "east")
PATIENCE = 300.0
RELATIVE = 1e-12
# Nothing is told to anybody outside.
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


class Loopback:
    """All processes, and the folder in which they work."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "coordinator"
        self.port, *self.node_ports = free_ports(2 + len(SITES))
        # Flower's programs start others of the same environment
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self.environment = {**os.environ, **QUIET, "PATH": path, "FLWR_HOME": str(home / "flwr")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: Any) -> subprocess.Popen[bytes]:
        """Start a process; what it says is in a file of its name."""
        # the programs of the environment that this script runs in
        program = Path(sys.executable).parent / str(command[0])
        with (self.home / f"{name}.txt").open("ab") as said:
            process = subprocess.Popen(
                [str(program), *map(str, command[1:])],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.home,
            )
        self._running[name] = process
        return process

    def call(self, *command: Any) -> str:
        """Run a program to its end; return what it says."""
        program = Path(sys.executable).parent / str(command[0])
        done = subprocess.run(
            [str(program), *map(str, command[1:])],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.home,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def said(self, name: str) -> str:
        """Return what a process has said so far."""
        return (self.home / f"{name}.txt").read_text(encoding="utf-8", errors="replace")

    def end(self, name: str) -> None:
        """End a process."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        """End all processes."""
        for name in list(self._running)[::-1]:
            self.end(name)

    # the parts ----------------------------------------------------------------------------------

    def make_certificates(self) -> None:
        """Make an authority of our own, and the certificate of the SuperLink."""
        authority = ec.generate_private_key(ec.SECP384R1())
        own = ec.generate_private_key(ec.SECP384R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the study")])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.UTC)

        def certificate(subject: x509.Name, key: Any, ca: bool) -> x509.Certificate:
            builder = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(issuer)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(minutes=5))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            )
            if not ca:
                places = [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("localhost"),
                ]
                builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
            return builder.sign(authority, hashes.SHA384())

        pem = serialization.Encoding.PEM
        for file, made in (
            ("ca.crt", certificate(issuer, authority, True)),
            ("link.crt", certificate(name, own, False)),
        ):
            (self.home / file).write_bytes(made.public_bytes(pem))
        private(
            self.home / "link.key",
            own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )

    def make_node_key(self, name: str) -> None:
        """Make the pair of keys by which a node is known."""
        key = ec.generate_private_key(ec.SECP384R1())
        private(
            self.home / f"{name}.node",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        (self.home / f"{name}.node.pub").write_bytes(public)

    def make_sites(self, data: pd.DataFrame) -> None:
        """Write what the sites have: rows, manifest, policies and keys."""
        levels = json.dumps(list(data["period"].cat.categories))
        (self.home / "manifest.toml").write_text(
            f'study = "cbpp"\npackage = "{laplace.__version__}"\n'
            'formula = "incidence / size ~ period"\ngroups = "herd"\nfamily = "binomial"\n'
            f"[columns.period]\nlevels = {levels}\n"
        )
        for k, site in enumerate(SITES):
            data[data["herd"].astype(int) % len(SITES) == k].to_csv(
                self.home / f"{site}.csv", index=False
            )
            private(self.home / f"{site}.key", secrets.token_hex(32).encode())
            (self.home / f"{site}.toml").write_text(
                f'site = "{site}"\ndata = "cbpp"\nfile = "{site}.csv"\n'
                f'manifest = "manifest.toml"\nkey = "{site}.key"\n'
            )
            self.call("python", "-m", "laplace.engines.gate", "approve", f"{site}.toml", "--yes")
            self.start(
                f"{site}-gate",
                *("python", "-m", "laplace.engines.gate", "serve", f"{site}.toml"),
            )

    def start_link(self) -> None:
        """Start the SuperLink, and tell the command line where it is."""
        self.start(
            "link",
            *("flower-superlink", "--host", "127.0.0.1", "--port", self.port),
            *("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "link.crt"),
            *("--ssl-keyfile", "link.key", "--enable-supernode-auth"),
            "--disable-runtime-dependency-installation",
        )
        home = Path(self.environment["FLWR_HOME"])
        home.mkdir()
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "study"\n[superlink.study]\n'
            f'address = "127.0.0.1:{self.port}"\nroot-certificates = "{self.home / "ca.crt"}"\n'
        )
        wait_for(lambda: listens(self.port), "the SuperLink")

    def start_node(self, name: str, port: int) -> subprocess.Popen[bytes]:
        """Start the SuperNode of a site."""
        return self.start(
            f"{name}-node",
            *("flower-supernode", "--superlink", f"127.0.0.1:{self.port}"),
            *("--root-certificates", "ca.crt", "--auth-supernode-private-key", f"{name}.node"),
            *("--node-config", f'site="{name}" gate="{self.home / name}.socket"'),
            *("--host", "127.0.0.1", "--port", port),
        )

    def begin(self, *options: Any) -> None:
        """Begin a run in the coordinator's folder."""
        code = files.main(
            [
                *("ask", str(self.folder), "--manifest", str(self.home / "manifest.toml")),
                *("--sites", *SITES, "--only-begin", *map(str, options)),
            ]
        )
        if code:
            raise RuntimeError("the run was not begun")

    def run(self, patience: float = PATIENCE) -> None:
        """Have the app run at the SuperLink; it writes into the folder."""
        config = f'folder="{self.folder}" keys="{self.home}" patience={patience}'
        self.call("flwr", "run", str(APP), "study", "--run-config", config)

    def result(self) -> dict[str, Any]:
        """Wait for the result, and return it."""
        path = self.folder / files.RESULT
        wait_for(path.exists, "the result")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read."""
    path.touch(0o600)
    path.write_bytes(content)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback device that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port: int) -> bool:
    """Return whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(is_there: Any, what: str) -> None:
    """Wait until something is there."""
    until = time.monotonic() + PATIENCE
    while not is_there():
        if time.monotonic() > until:
            raise RuntimeError(f"{what} did not come within {PATIENCE:.0f} seconds")
        time.sleep(0.2)


def main() -> int:
    """Try all of it; return 0 if it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="folder for all files, which stays; by default none does")
    given = parser.parse_args()
    home = Path(given.keep or tempfile.mkdtemp(prefix="laplace-flower-")).resolve()
    home.mkdir(parents=True, exist_ok=True)
    loopback = Loopback(home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process is left behind
    try:
        attempt(loopback)
    except RuntimeError as error:
        for path in sorted(home.glob("*.txt")):
            print(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}")
        print(error, file=sys.stderr)
        return 1
    finally:
        loopback.end_all()
        if not given.keep:
            shutil.rmtree(home, ignore_errors=True)
    return 0


def attempt(loopback: Loopback) -> None:
    """Start everything, fit, and see what happens to strangers and to nodes that go away."""
    data = datasets.cbpp()
    loopback.make_certificates()
    loopback.make_sites(data)
    loopback.start_link()
    for name in (*SITES, "stranger"):
        loopback.make_node_key(name)
    for name in SITES:
        loopback.call("flwr", "supernode", "register", f"{name}.node.pub", "study")
    for name, port in zip(SITES, loopback.node_ports, strict=False):
        loopback.start_node(name, port)

    stranger = loopback.start_node("stranger", loopback.node_ports[-1])
    wait_for(lambda: stranger.poll() is not None, "the refusal of the stranger's node")
    print("A stranger's node was refused.")

    loopback.begin("--nodes", 1)
    began = time.monotonic()
    loopback.run()
    found = loopback.result()
    seconds = time.monotonic() - began
    pooled = laplace.fit_formula(
        "incidence / size ~ period", data, "herd", family="binomial", nodes=1
    )
    estimates = np.array(list(found["estimates"].values()))
    off = float(np.max(np.abs(estimates / pooled.params.to_numpy() - 1.0)))
    print(
        f"The fit took {found['questions']} questions and {seconds:.0f} s, "
        f"{seconds / found['questions']:.1f} s each; the estimates are those of all rows to "
        f"{off:.0e}."
    )
    if off > RELATIVE:
        raise RuntimeError(f"the estimates differ from those of all rows by {off:.1e}")

    # a node goes away, and comes back
    loopback.begin("--nodes", 1, "--tau", 0.5, "--again")
    loopback.end("south-node")
    loopback.run(patience=20.0)
    trouble = loopback.folder / files.TROUBLE
    wait_for(trouble.exists, "the notice of a lost site")
    if "SiteLostError: 'south'" not in trouble.read_text(encoding="utf-8"):
        raise RuntimeError(f"another trouble came: {trouble.read_text(encoding='utf-8')}")
    print("A node that went away was noticed.")
    loopback.start_node("south", loopback.node_ports[1])
    loopback.run()
    print(f"It came back, and the fit went on with {', '.join(loopback.result()['sites'])}.")


if __name__ == "__main__":
    sys.exit(main())
