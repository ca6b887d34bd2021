"""Run every notebook and the numerical tests as if on other processors: `make portable`.

The last digits of a sum depend on how many numbers a processor adds at once. Three libraries choose
their code by the processor, and each can be told to choose as if for another one:

- numba compiles for `NUMBA_CPU_NAME`, with `NUMBA_CPU_FEATURES`;
- NumPy leaves out the code for the features in `NPY_DISABLE_CPU_FEATURES`;
- OpenBLAS, of NumPy and of SciPy, takes the kernels for `OPENBLAS_CORETYPE`.

Each setting is a process of its own, with an empty folder for what numba compiles. This file is
also the plugin by which that process, and each of its workers, refuses to start unless every
setting took.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
VARIABLES = (
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CACHE_DIR",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)
EXPECTED = "PORTABLE_EXPECTED"  # tells the plugin what has to have taken
GENERIC = "generic"
# Kernels of OpenBLAS, the oldest first; which of them there are is asked of the library.
KERNELS = (
    *("Nehalem", "Sandybridge", "Haswell", "SkylakeX"),
    *("armv8", "neoversen1", "neoversev1"),
)
# Tests of pages, of commands and of files, whose results are no numbers of a processor.
WITHOUT_NUMBERS = {
    *("test_benchmarks", "test_book", "test_chapter", "test_house", "test_interactive"),
    *("test_notebooks", "test_parameters", "test_portable", "test_readme", "test_run"),
    "test_symbolic",
}


@dataclass(frozen=True)
class Facts:
    """What a process computes with: numba's target, NumPy's features, OpenBLAS's kernels."""

    numba: str
    numba_features: str
    numpy: tuple[str, ...]
    blas: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """A processor to compute as if on; None or empty leaves the library its own choice."""

    name: str
    numba: str | None = None
    numpy_without: tuple[str, ...] = ()
    kernel: str | None = None

    def environment(self, cache: Path) -> dict[str, str]:
        """Give the variables of the process."""
        set_ = {name: text for name, text in os.environ.items() if name not in VARIABLES}
        set_ |= {"NUMBA_CACHE_DIR": str(cache), EXPECTED: json.dumps(asdict(self))}
        if self.numba is not None:
            set_ |= {"NUMBA_CPU_NAME": self.numba, "NUMBA_CPU_FEATURES": ""}
        if self.numpy_without:
            set_["NPY_DISABLE_CPU_FEATURES"] = " ".join(self.numpy_without)
        if self.kernel is not None:
            set_["OPENBLAS_CORETYPE"] = self.kernel
        return set_

    def not_taken(self, facts: Facts) -> list[str]:
        """Say which of the settings a process does not have."""
        said = []
        if self.numba is not None and (facts.numba, facts.numba_features) != (self.numba, ""):
            said.append(
                f"numba compiles for {facts.numba!r} with features {facts.numba_features!r}, "
                f"not for {self.numba!r} without any"
            )
        if still := sorted(set(self.numpy_without) & set(facts.numpy)):
            said.append(f"NumPy still uses {', '.join(still)}")
        if self.kernel is not None and {k.lower() for k in facts.blas} != {self.kernel.lower()}:
            said.append(f"OpenBLAS has the kernels {list(facts.blas)}, not {self.kernel!r}")
        return said

    def __str__(self) -> str:
        return (
            f"{self.name}: numba for {self.numba or 'this processor'}; NumPy "
            f"{'without ' + ', '.join(self.numpy_without) if self.numpy_without else 'as it is'}; "
            f"OpenBLAS {'for ' + self.kernel if self.kernel else 'as it is'}"
        )


def facts() -> Facts:
    """Look at what this process computes with."""
    import scipy.linalg  # noqa: F401  loads SciPy's own OpenBLAS
    from numba.core.registry import cpu_target
    from numpy._core import _multiarray_umath as numpy_core
    from threadpoolctl import threadpool_info

    _, target, features = cpu_target.target_context.codegen().magic_tuple()
    has: dict[str, bool] = numpy_core.__cpu_features__
    pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    return Facts(
        target,
        features,
        # of the features NumPy can be told to leave out, those that are used
        tuple(name for name in numpy_core.__cpu_dispatch__ if has.get(name)),
        tuple(sorted({str(pool["architecture"]) for pool in pools})),
    )


def compute() -> None:
    """Have NumPy's and SciPy's OpenBLAS compute, which ends the process if it cannot.

    It takes kernels whose instructions the processor lacks, too, and ends only where it meets one.
    """
    import numpy as np
    import scipy.linalg

    for kind in (np.float64, np.float32):
        for size in (3, 40, 300):
            X = np.random.default_rng(0).normal(size=(size, size)).astype(kind)
            square = X @ X.T + size * np.eye(size, dtype=kind)
            for of in (np.linalg, scipy.linalg):
                of.cholesky(square)
                of.solve(square, X @ X[0])
                of.svd(X)
                of.eigvalsh(square)
                of.qr(X)


def facts_with(setting: Setting) -> Facts:
    """Look at what a process with a setting computes with, once it has computed something."""
    with tempfile.TemporaryDirectory() as cache:
        told = subprocess.run(
            [sys.executable, __file__, "--facts"],
            env=setting.environment(Path(cache)),
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, Any] = json.loads(told.stdout)
    return Facts(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})


def kernels() -> list[str]:
    """Ask OpenBLAS which of the kernels it takes when told to; the oldest first."""
    found = []
    for kernel in KERNELS:
        setting = Setting("", kernel=kernel)
        try:
            taken = not setting.not_taken(facts_with(setting))
        except subprocess.CalledProcessError:  # the processor lacks what the kernel needs
            taken = False
        if taken:
            found.append(kernel)
    return found


def plan(here: Facts, there: Sequence[str]) -> tuple[list[Setting], list[str]]:
    """Choose three settings, and say what has no effect on this machine.

    Parameters
    ----------
    here : Facts
        Of a process without settings.
    there : sequence of str
        Kernels that OpenBLAS takes, the oldest first.

    Returns
    -------
    settings : list of Setting
        An old processor, one in between and a new one.
    remarks : list of str
        A sentence for each setting without effect.
    """
    old, middle, new = (there[0], there[(len(there)) // 2], there[-1]) if there else (None,) * 3
    settings = [
        Setting("old", GENERIC, here.numpy, old),
        Setting("middle", GENERIC, here.numpy[1:], middle),
        Setting("new", None, (), new),
    ]
    remarks = []
    if here.numba == GENERIC and not here.numba_features:
        remarks.append("NUMBA_CPU_NAME has no effect: numba compiles for a generic processor here.")
    if not here.numpy:
        remarks.append(
            "NPY_DISABLE_CPU_FEATURES has no effect: NumPy has nothing here that can be left out."
        )
    if not here.blas:
        remarks.append("OPENBLAS_CORETYPE has no effect: NumPy's linear algebra is not OpenBLAS.")
    elif len(set(there)) < 2:
        only = "none of the kernels that are known" if not there else f"{there[0]} only"
        remarks.append(f"OPENBLAS_CORETYPE has no effect: of its kernels, OpenBLAS takes {only}.")
    return settings, remarks


def compiled_for(cache: Path) -> set[tuple[str, str]]:
    """Name the targets of everything that numba compiled into a folder."""
    targets = set()
    for index in cache.rglob("*.nbi"):
        with index.open("rb") as file:
            pickle.load(file)  # the version of numba
            _, overloads = pickle.loads(file.read())
        targets |= {(key[1][1], key[1][2]) for key in overloads}
    return targets


def numerical_tests() -> list[str]:
    """List the files of tests that compute, and the package, whose docstrings are tested."""
    files = sorted(TESTS.glob("test_*.py"))
    return [*(str(file) for file in files if file.stem not in WITHOUT_NUMBERS), "laplace"]


def command(*, only_notebooks: bool) -> list[str]:
    """Give the command of the tests."""
    notebooks = sorted(str(path) for path in (ROOT / "notebooks").glob("*.ipynb"))
    return [
        *(sys.executable, "-m", "pytest", "-q", "-p", "portable", "-p", "no:cacheprovider"),
        *("-n", "auto", "--dist", "loadscope", "--doctest-modules"),
        *("--nbval", "--nbval-current-env"),
        *([] if only_notebooks else numerical_tests()),
        *notebooks,
    ]


def run(setting: Setting, arguments: Sequence[str]) -> list[str]:
    """Run the tests with a setting; say what failed."""
    with tempfile.TemporaryDirectory() as cache:
        environment = setting.environment(Path(cache))
        path = os.pathsep.join(filter(None, [str(TESTS), environment.get("PYTHONPATH")]))
        ended = subprocess.run(arguments, env={**environment, "PYTHONPATH": path}, cwd=ROOT)
        targets = compiled_for(Path(cache))
    problems = [] if ended.returncode == 0 else [f"{setting.name}: not all tests passed."]
    if setting.numba is not None and targets != {(setting.numba, "")}:
        problems.append(f"{setting.name}: compiled for {sorted(targets)}, not {setting.numba}.")
    return problems


def pytest_configure(config: Any) -> None:
    """Refuse to test unless every setting took in this process."""
    import pytest

    expected: Mapping[str, Any] = json.loads(os.environ[EXPECTED])
    without = tuple(expected["numpy_without"])
    setting = Setting(**{**expected, "numpy_without": without})
    if said := setting.not_taken(facts()):
        raise pytest.UsageError(f"the setting {setting.name!r} did not take: {'; '.join(said)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit status is 0 only if all passed."""
    parser = argparse.ArgumentParser(
        prog="portable.py", description="Run notebooks and tests as if on other processors."
    )
    parser.add_argument("--notebooks", action="store_true", help="the notebooks only")
    parser.add_argument("--setting", choices=("old", "middle", "new"), help="one of the three")
    parser.add_argument(
        "--others",
        action="store_true",
        help="leave out a setting with which this machine computes by itself",
    )
    parser.add_argument("--facts", action="store_true", help="print what numbers are computed with")
    options = parser.parse_args(arguments)
    if options.facts:
        compute()
        print(json.dumps(asdict(facts())))
        return 0
    here = facts_with(Setting("as it is"))
    settings, remarks = plan(here, kernels())
    print(f"This machine: {platform.machine()}.", *remarks, sep="\n", flush=True)
    problems = []
    for setting in settings:
        if options.setting not in (None, setting.name):
            continue
        print(f"== {setting}", flush=True)
        if options.others and facts_with(setting) == here:
            print("This machine computes so by itself: `make test` is this test.", flush=True)
            continue
        problems += run(setting, command(only_notebooks=options.notebooks))
    print(*problems or ["The same on all of them."], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
