"""Alter what is stored, one line at a time, and see that a check turns red for each.

``python tests/sabotage.py`` applies every alteration to a copy of the repository, and runs the
checks that should notice it. ``--quick`` leaves out those whose check runs a notebook. It ends with
1 if an alteration passed unseen.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROSE = ("tests/test_prose.py",)
README = ("tests/test_readme.py", "tests/test_prose.py", "tests/test_benchmarks.py")
CHAPTER = ("tests/test_chapter.py", "tests/test_prose.py")


@dataclass(frozen=True)
class Alteration:
    """One edit of one file.

    Attributes
    ----------
    file : str
        Its path in the repository.
    old, new : str
        The first `old` becomes `new`; a regular expression where `pattern` is true.
    checks : tuple of str
        What pytest is given: at least one has to fail.
    pattern : bool
    """

    file: str
    old: str
    new: str
    checks: tuple[str, ...]
    pattern: bool = False

    @property
    def runs_a_notebook(self) -> bool:
        """Whether its check executes a notebook."""
        return any(check.endswith(".ipynb") for check in self.checks)

    def applied(self, text: str) -> str:
        """Return the altered text of the file."""
        old = self.old if self.pattern else re.escape(self.old)
        new: str | Callable[[re.Match[str]], str] = self.new if self.pattern else lambda _: self.new
        altered, count = re.subn(old, new, text, count=1)
        if not count or altered == text:
            raise ValueError(f"{self.file} does not hold {self.old!r}")
        return altered


def book(name: str) -> str:
    return f"notebooks/{name}.ipynb"


ALTERATIONS = (
    # numbers and number words in text
    Alteration(book("A_derivatives"), "above 709.8", "above 907.8", PROSE),
    Alteration(book("03_two_sites"), "four more because they", "six more because they", PROSE),
    Alteration(book("03_two_sites"), "Each of its three terms", "Each of its two terms", PROSE),
    Alteration(book("03_two_sites"), "modes at 0.1", "modes at 0.7", PROSE),
    Alteration(book("03_two_sites"), "two or ten sites of 500", "two or ten sites of 600", PROSE),
    Alteration(book("02_derivation"), "close to $1/(12r)$", "close to $1/(10r)$", PROSE),
    Alteration(book("03_two_sites"), "does so ten times", "does so twelve times", PROSE),
    Alteration(
        book("04_quadrature"),
        "a hundredth of its standard error",
        "a tenth of its standard error",
        PROSE,
    ),
    Alteration(
        book("06_monte_carlo"), "in 95 % of the data do so", "in 90 % of the data do so", PROSE
    ),
    Alteration(book("05_real_data"), "# Three real data sets", "# Four real data sets", PROSE),
    Alteration(book("B_speed"), "half a standard normal", "a third of a standard normal", PROSE),
    Alteration("book/rerun.md", "200 data sets for", "1,000 data sets for", PROSE),
    Alteration("book/references.bib", r"year\s*=\s*\{(\d{3})\d\}", r"year = {\g<1>0}", PROSE, True),
    # captions and alternative texts
    Alteration(book("03_two_sites"), "have 95 % Wald", "have 90 % Wald", PROSE),
    Alteration(book("06_monte_carlo"), "Nine maps, for three", "Six maps, for two", PROSE),
    Alteration(book("C_study"), "more than a tenth of a", "more than a fifth of a", PROSE),
    # formulas
    Alteration(
        book("01_integral"),
        "u_k = \\\\hat\\\\mu + \\\\sqrt{2}",
        "u_k = \\\\hat\\\\mu + \\\\sqrt{3}",
        PROSE,
    ),
    Alteration(
        book("01_integral"),
        "\\\\frac{\\\\mu^2}{2\\\\tau^2}",
        "\\\\frac{\\\\mu^2}{3\\\\tau^2}",
        PROSE,
    ),
    Alteration(
        book("02_derivation"),
        "\\\\tfrac34 \\\\hat\\\\omega^5",
        "\\\\tfrac54 \\\\hat\\\\omega^5",
        CHAPTER,
    ),
    Alteration(
        book("A_derivatives"),
        "-\\\\frac{6\\\\mu}{\\\\tau^4}",
        "+\\\\frac{6\\\\mu}{\\\\tau^4}",
        CHAPTER,
    ),
    # the README, and the pages beside the notebooks
    Alteration("README.md", "columns takes 9", "columns takes 1", README),
    Alteration("README.md", "3600 times ours", "2600 times ours", README),
    Alteration("README.md", "-625.3977", "-652.3977", README),
    Alteration("README.md", "0.0443", "0.0543", README),
    Alteration("README.md", "version = {0.1.0}", "version = {0.2.0}", README),
    Alteration("CITATION.cff", "version: 0.1.0", "version: 0.1.1", ("tests/test_house.py",)),
    # data sets, and what is said of them
    Alteration("notebooks/compendium/datasets.py", "off by 0.02.", "off by 0.2.", PROSE),
    Alteration("notebooks/compendium/datasets.py", "tau near 0.5", "tau near 0.8", PROSE),
    Alteration(
        "notebooks/data/toenail.csv", r"\n1,(\w+),", r"\n2,\1,", ("tests/test_datasets.py",), True
    ),
    Alteration("notebooks/data/toenail.md", "GPL-2", "MIT", ("tests/test_datasets.py",)),
    Alteration(
        "notebooks/data/fits.json",
        r'"tau": 4\.(\d)',
        r'"tau": 4.9\1',
        ("tests/test_datasets.py", "-k", "glmer_itself"),
        True,
    ),
    Alteration(
        "notebooks/data/reexamined.json",
        '"commit": "b2ddd',
        '"commit": "c2ddd',
        ("tests/test_reexamined.py", "-k", "commits"),
    ),
    # docstrings that the reference shows
    Alteration("laplace/derivatives.py", r"\tfrac34", r"\tfrac14", CHAPTER),
    Alteration(
        "laplace/likelihood.py",
        "(-4.566717, (2,), (2, 2))",
        "(-4.566771, (2,), (2, 2))",
        ("--doctest-modules", "laplace/likelihood.py"),
    ),
    # the first page
    Alteration("book/index.md", "by 0.43 in", "by 0.54 in", PROSE),
    Alteration("book/index.md", "trial, 61 %", "trial, 16 %", PROSE),
    # figures
    Alteration(
        "book/_static/map.svg",
        r'd="M \d+',
        'd="M 9',
        ("tests/test_figures.py", "-k", "map_of_the_first_page"),
        True,
    ),
    Alteration(
        "book/_static/integrand.svg",
        r'd="M \d+',
        'd="M 9',
        ("tests/test_figures.py", "-k", "what_its_code_draws"),
        True,
    ),
    Alteration(
        "book/_static/logo.svg",
        "#0072b2",
        "#0072b9",
        ("tests/test_figures.py", "-k", "what_its_code_draws"),
    ),
    Alteration(book("B_speed"), r"<path d=\\\"M \d+", r'<path d=\\"M 3', (book("B_speed"),), True),
    Alteration(book("B_speed"), "stroke: #0072b2", "stroke: #0072b9", (book("B_speed"),)),
    # outputs, and ways out of their comparison
    Alteration(book("B_speed"), "takes 2 to 13 times", "takes 3 to 13 times", (book("B_speed"),)),
    Alteration(
        book("01_integral"), '"parameters"', '"raises-exception"', ("tests/test_notebooks.py",)
    ),
    Alteration(
        book("01_integral"),
        '"plots.show_as_svg()',
        '"# NBVAL_IGNORE_OUTPUT\\n",\n    "plots.show_as_svg()',
        ("tests/test_notebooks.py",),
    ),
)


def copied(target: Path) -> None:
    """Copy what git knows, as it is in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def is_noticed(alteration: Alteration, copy: Path) -> bool:
    """Apply an alteration to a copy, run its checks, and take it back."""
    path = copy / alteration.file
    stored = path.read_text(encoding="utf-8")
    path.write_text(alteration.applied(stored), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    if alteration.runs_a_notebook:
        command += ["--nbval", "--nbval-current-env"]
    places = os.pathsep.join([str(copy), str(copy / "notebooks")])
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *alteration.checks],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
        )
    finally:
        path.write_text(stored, encoding="utf-8")
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{alteration.file}: the check did not run\n{done.stdout}{done.stderr}")
    return done.returncode == 1


def unseen(alterations: Sequence[Alteration]) -> list[Alteration]:
    """Return the alterations that no check notices."""
    with tempfile.TemporaryDirectory() as place:
        copied(Path(place))
        return [one for one in alterations if not is_noticed(one, Path(place))]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what runs a notebook")
    quick = parser.parse_args().quick
    tried = [one for one in ALTERATIONS if not (quick and one.runs_a_notebook)]
    passed = unseen(tried)
    for one in passed:
        print(f"UNSEEN  {one.file}: {one.old!r} -> {one.new!r}")
    print(f"{len(tried) - len(passed)} of {len(tried)} alterations were noticed")
    return int(bool(passed))


if __name__ == "__main__":
    sys.exit(main())
