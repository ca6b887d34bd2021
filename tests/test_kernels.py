"""The engine: against the textbook, for any size of group, number of threads and kind of array."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from designs import relative_error
from numba import njit

import laplace
from laplace import derivatives, kernels, plan, quadrature
from laplace.families import BERNOULLI, POISSON, Binomial, Family
from laplace.grouped import GroupedData
from laplace.likelihood import Likelihood

# groups of one row, of a few, of a chunk and of several chunks
SIZES = [1, 1, 4, 2, 30, 700, 1, kernels.CHUNK, kernels.CHUNK + 1, 3 * kernels.CHUNK - 5, 9, 1]
ROOT = Path(laplace.__file__).parents[1]
FAMILIES = ["bernoulli", "binomial", "poisson"]


def rows_of(name: str, sizes: list[int], seed: int = 0, p: int = 3) -> dict[str, object]:
    """Draw rows of a family, sorted by group, as arguments of `laplace.fit`."""
    rng = np.random.default_rng([41, seed])
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = len(groups)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    offset = 0.3 * rng.normal(size=n)
    eta = X @ rng.normal(size=p) * 0.5 + offset + rng.normal(size=len(sizes))[groups]
    rows = {"X": X, "groups": groups, "offset": offset, "family": name}
    if name == "poisson":
        return {**rows, "y": rng.poisson(np.exp(eta)).astype(float)}
    trials = np.ones(n) if name == "bernoulli" else rng.integers(1, 20, n).astype(float)
    y = rng.binomial(trials.astype(int), 1 / (1 + np.exp(-eta))).astype(float)
    return {**rows, "y": y, **({"trials": trials} if name == "binomial" else {})}


def family_of(rows: dict[str, object], at: np.ndarray) -> Family:
    if rows["family"] == "binomial":
        return Binomial(rows["trials"][at])
    return POISSON if rows["family"] == "poisson" else BERNOULLI


def parts(c: laplace.Contribution) -> list[np.ndarray]:
    return [np.array(c.value), c.gradient, c.hessian]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tau", [0.05, 0.8, 5.0])
def test_laplace_is_the_textbook(name: str, tau: float) -> None:
    rows = rows_of(name, SIZES)
    beta = np.array([-0.2, 0.5, 0.1])
    engine = laplace.loglik(beta=beta, tau=tau, **rows)
    # the textbook has no offset: it is a column with the coefficient one
    x = np.column_stack([rows["X"], rows["offset"]])
    b = np.append(beta, 1.0)
    value, gradient, hessian = 0.0, np.zeros(4), np.zeros((4, 4))
    for g in range(len(SIZES)):
        at = np.flatnonzero(rows["groups"] == g)
        group = (x[at], rows["y"][at], b, tau, family_of(rows, at))
        value += derivatives.l(*group)
        keep = np.ix_([0, 1, 2], [0, 1, 2])
        gradient[:3] += derivatives.l_1(*group)[:3]
        # the textbook differentiates in tau, the engine in log tau
        gradient[3] += tau * derivatives.l_t(*group)
        hessian[:3, :3] += derivatives.l_2(*group)[keep]
        hessian[:3, 3] += tau * derivatives.l_bt(*group)[:3]
        hessian[3, 3] += tau**2 * derivatives.l_tt(*group) + tau * derivatives.l_t(*group)
    hessian[3, :3] = hessian[:3, 3]
    assert engine.value == pytest.approx(value, rel=1e-12)
    assert relative_error(engine.gradient, gradient) <= 1e-12
    assert relative_error(engine.hessian, hessian) <= 1e-12


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("nodes", "adaptive"), [(2, True), (7, True), (40, True), (6, False)])
def test_quadrature_is_the_textbook(name: str, nodes: int, adaptive: bool) -> None:
    rows = rows_of(name, SIZES, seed=1)
    beta, tau = np.array([-0.2, 0.5, 0.1]), 0.7
    engine = laplace.loglik(beta=beta, tau=tau, nodes=nodes, adaptive=adaptive, **rows)
    x, b = np.column_stack([rows["X"], rows["offset"]]), np.append(beta, 1.0)
    rule = quadrature.adaptive if adaptive else quadrature.ordinary
    value = 0.0
    for g in range(len(SIZES)):
        at = np.flatnonzero(rows["groups"] == g)
        value += rule(x[at], rows["y"][at], b, tau, nodes, family_of(rows, at))
    assert engine.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("nodes", "adaptive"), [(1, True), (5, True), (25, True), (5, False)])
def test_a_group_of_several_chunks_is_the_sum_that_it_should_be(
    name: str, nodes: int, adaptive: bool
) -> None:
    """A large group's derivatives are those by differences of its value."""
    rows = rows_of(name, [kernels.CHUNK + 300, 40], seed=2)
    data = GroupedData.from_arrays(**rows)
    evaluate = Likelihood(data, nodes, adaptive)
    theta = np.array([-0.2, 0.5, 0.1, np.log(0.6)])
    at = evaluate(theta)
    step = 1e-3
    for k in range(4):
        shift = step * np.eye(4)[k]
        # central differences of fourth order, whose error is near 1e-11 of the largest entry
        around = [evaluate(theta + j * shift) for j in (-2, -1, 1, 2)]
        values, gradients = [c.value for c in around], [c.gradient for c in around]
        weights = np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
        largest = np.abs(at.hessian).max()
        assert at.gradient[k] == pytest.approx(weights @ values, abs=1e-8 * largest)
        np.testing.assert_allclose(
            at.hessian[k], weights @ np.array(gradients), atol=1e-8 * largest
        )


@pytest.mark.parametrize("nodes", [1, 7])
def test_the_same_bits_for_any_number_of_threads(
    nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of("bernoulli", [300] * 60 + [9000, 3], seed=3)
    found = []
    for count in (1, 2, 3, 64):
        monkeypatch.setattr(plan, "threads", lambda count=count: count)
        monkeypatch.setattr(plan, "WORTH_A_THREAD", 1)
        found.append(parts(laplace.loglik(beta=[0.1, 0.2, 0.3], tau=1.0, nodes=nodes, **rows)))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_slabs_cover_every_group_once() -> None:
    rng = np.random.default_rng(5)
    for sizes in ([1], [kernels.CHUNK], [kernels.CHUNK + 1, 1], [1] * 5000, [900] * 300, SIZES):
        for order in (sizes, list(rng.permutation(sizes))):
            cut = plan.Plan(np.append(0, np.cumsum(order)).astype(np.int64))
            assert cut.blocks[0] == 0
            assert cut.blocks[-1] == len(order)
            assert np.all(np.diff(cut.blocks) > 0)
            assert cut.slabs[0] == 0
            assert cut.slabs[-1] == len(cut.blocks) - 1
            assert np.all(np.diff(cut.slabs) > 0)
            assert cut.count <= kernels.MOST_SLABS
            of_block = np.add.reduceat(order, cut.blocks[:-1])
            assert np.all((of_block <= kernels.CHUNK) | (np.diff(cut.blocks) == 1))


BITS_OF_SOME_FITS = """
import hashlib, numpy, laplace
digest = hashlib.sha256()
for seed in range(3):
    r = numpy.random.default_rng(seed)
    groups = numpy.repeat(numpy.arange(9), 20)
    X = numpy.column_stack([numpy.ones(180), r.normal(size=(180, 3))])
    y = r.binomial(1, 1 / (1 + numpy.exp(-X[:, 1] - r.normal(size=9)[groups])))
    one = laplace.fit(y, X, groups, nodes=9)
    (other,) = laplace.fit_many([(y, X, groups)], nodes=9)
    for fit in (one, other):
        digest.update(fit.theta.tobytes() + fit.hessian.tobytes())
print(digest.hexdigest())
"""


def test_a_process_that_compiles_finds_the_bits_of_one_that_loads(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", BITS_OF_SOME_FITS]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert any(tmp_path.rglob("*.nbi"))
    assert first == second


def test_elementary_functions_are_exact_to_an_ulp() -> None:
    x = np.concatenate([np.linspace(-708.0, 709.0, 20001), np.linspace(-2.0, 2.0, 20001)])
    exp, log1p = njit(lambda value: kernels._exp(value)), njit(lambda value: kernels._log1p(value))
    ours = np.array([exp(value) for value in x])
    np.testing.assert_allclose(ours, np.exp(x), rtol=4.5e-16)
    assert exp(-709.0) == 0.0
    e = np.concatenate([np.linspace(0.0, 1.0, 20001), np.logspace(-300, 0, 3001)])
    ours = np.array([log1p(value) for value in e])
    np.testing.assert_allclose(ours, np.log1p(e), rtol=4.5e-16)


# What is copied, and what is not -----------------------------------------------------------------


def sorted_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = rows_of("bernoulli", [20] * 40, seed=4)
    return rows["y"], rows["X"], rows["groups"]


def test_sorted_rows_are_not_copied() -> None:
    y, X, groups = sorted_rows()
    data = GroupedData.from_arrays(y, X, groups)
    assert np.shares_memory(data.X, X)
    assert np.shares_memory(data.y, y)
    assert X.flags.writeable
    single = X.astype(np.float32)
    assert np.shares_memory(GroupedData.from_arrays(y, single, groups).X, single)
    order = np.random.default_rng(0).permutation(len(y))
    shuffled = X[order]
    data = GroupedData.from_arrays(y[order], shuffled, groups[order])
    assert not np.shares_memory(data.X, shuffled)
    np.testing.assert_array_equal(data.X, shuffled[data.order])
    assert not np.shares_memory(GroupedData.from_arrays(y, np.asfortranarray(X), groups).X, X)


def test_single_precision_is_summed_in_double() -> None:
    y, X, groups = sorted_rows()
    single = X.astype(np.float32)
    for nodes in (1, 5):
        fit = laplace.fit(y, single, groups, nodes=nodes)
        same = laplace.fit(y, single.astype(float), groups, nodes=nodes)
        assert fit.data.X.dtype == np.float32
        assert fit.llf == pytest.approx(same.llf, abs=1e-10)
        np.testing.assert_allclose(fit.params, same.params, atol=1e-10)
        np.testing.assert_allclose(fit.bse, same.bse, rtol=1e-10)


def test_rows_on_disk(tmp_path: Path) -> None:
    y, X, groups = sorted_rows()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    fit = laplace.fit(y, mapped, groups, nodes=1)
    assert np.shares_memory(fit.data.X, mapped)
    assert fit.llf == laplace.fit(y, X, groups, nodes=1).llf


def test_odd_arrays_give_the_same() -> None:
    y, X, groups = sorted_rows()
    best = laplace.fit(y, X, groups, nodes=1)
    wide = np.empty((len(y), 7))
    wide[:, ::2][:, :3] = X
    views = {
        "strided": wide[:, ::2][:, :3],
        "big-endian": X.astype(">f8"),
        "unaligned": np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:]
        .view(float)
        .reshape(X.shape),
        "list": X.tolist(),
    }
    for name, view in views.items():
        np.testing.assert_allclose(
            laplace.fit(y, view, groups, nodes=1).params, best.params, err_msg=name
        )


# Processes ---------------------------------------------------------------------------------------


def test_a_fork_after_threads_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked process has none of its parent's threads, and has to start its own."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    script = """
import os, sys
import numpy as np
import laplace
from laplace import plan
plan.WORTH_A_THREAD, plan.threads = 1, lambda: 3
rng = np.random.default_rng(0)
y, X, groups = rng.integers(0, 2, 20000) * 1.0, rng.normal(size=(20000, 2)), np.arange(20000) // 50
value = laplace.loglik(y, X, groups, [0.1, 0.2], 1.0).value
child = os.fork()
if child == 0:
    os._exit(0 if laplace.loglik(y, X, groups, [0.1, 0.2], 1.0).value == value else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_threads_are_those_that_numba_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from laplace import plan; print(plan.threads())"
    environment = {**os.environ, "NUMBA_NUM_THREADS": "3"}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert said.strip() == "3"


def test_nothing_has_to_be_writable(tmp_path: Path) -> None:
    """Without a folder for compiled code, as in a container without a home, it is compiled anew."""
    source = Path(laplace.__file__).parent
    shutil.copytree(source, tmp_path / "laplace", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "laplace" / "__pycache__").touch()  # a file where the folder would be
    nowhere = str(tmp_path / "laplace" / "__init__.py" / "home")
    script = """
import sys
import laplace, numba
from laplace import kernels
assert laplace.__file__.startswith(sys.argv[1])
assert isinstance(kernels.pack._cache, numba.core.caching.NullCache)
print(laplace.loglik([0, 1], [[1.0], [1.0]], [0, 0], [0.0], 0.0).value)
"""
    environment = {
        **{k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"},
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert float(said) == pytest.approx(2 * np.log(0.5), rel=1e-15)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("given", [True, False])
def test_copies_of_a_fit_run_what_is_compiled(name: str, given: bool) -> None:
    """Compiled code depends on whether an array may be written to, and copies forget it."""
    rows = rows_of(name, [5] * 40)
    if not given:
        del rows["offset"]
    fit = laplace.fit(**rows, nodes=3)
    modes, error = fit.random_effects, fit.approximation_error()
    before = len(kernels.evaluate.signatures), len(kernels.evaluate_without.signatures)
    for other in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        assert other.data.has_offset == given
        assert not other.data.y.flags.writeable
        assert not other.data.X.flags.writeable
        pd.testing.assert_frame_equal(other.random_effects, modes)
        pd.testing.assert_series_equal(other.approximation_error(), error)
        assert other.test_tau().statistic == fit.test_tau().statistic
    assert before == (len(kernels.evaluate.signatures), len(kernels.evaluate_without.signatures))


CUT_SOME_GROUPS = (
    "from laplace.plan import compiled\n"
    "import numpy as np\n"
    "assert compiled().pack(np.array([0, 2, 4])).tolist() == [0, 2]\n"
    "assert compiled().pack(np.array([0, 2, 4], dtype=np.int32)).tolist() == [0, 2]\n"
)


def errors_of(code: str, cache: Path, *, terminal: bool) -> str:
    """Return what a process writes to its standard error, with compiled code in a folder."""
    options = {"env": {**os.environ, "NUMBA_CACHE_DIR": str(cache)}, "cwd": ROOT, "check": True}
    command = [sys.executable, "-c", code]
    if not terminal:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)
        return done.stderr
    reads, writes = pty.openpty()
    subprocess.run(command, stderr=writes, **options)
    os.close(writes)
    text = ""
    with contextlib.suppress(OSError):  # which is how the end of a terminal is told
        while part := os.read(reads, 4096).decode():
            text += part
    os.close(reads)
    return text


def test_that_it_compiles_is_said_once_and_to_a_terminal(tmp_path: Path) -> None:
    said = errors_of(CUT_SOME_GROUPS, tmp_path, terminal=True)
    assert said.split() == kernels.COMPILES.split()
    assert errors_of(CUT_SOME_GROUPS, tmp_path, terminal=True) == ""  # loaded


def test_that_it_compiles_is_said_to_no_file_but_by_logging(tmp_path: Path) -> None:
    assert errors_of(CUT_SOME_GROUPS, tmp_path / "one", terminal=False) == ""
    logged = "import logging\nlogging.basicConfig(level='INFO')\n" + CUT_SOME_GROUPS
    for terminal in (True, False):
        said = errors_of(logged, tmp_path / f"logged-{terminal}", terminal=terminal)
        assert said.split() == f"INFO:laplace:{kernels.COMPILES}".split()


def test_what_others_compile_is_not_announced(tmp_path: Path) -> None:
    code = (
        "from laplace.plan import compiled\n"
        "import numba\n"
        "compiled()\n"
        "assert numba.njit(lambda x: x + 1)(1) == 2\n"
    )
    assert errors_of(code, tmp_path, terminal=True) == ""
