"""The figures on the data sets of the paper: recomputed on a clone of which everything is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import laplace
from compendium import reexamined
from compendium.reexamined import COLUMNS, METHODS, SETTINGS, SOURCES

SEED = 5
BETA = np.linspace(-0.5, 0.5, 10)


def rows(seed: int, sites: int = 2, size: int = 200) -> pd.DataFrame:
    """Draw a data set in the form of theirs."""
    drawn = laplace.simulate.random_intercepts([size] * sites, BETA, 1.0, seed=seed)
    data = pd.DataFrame(drawn.X, columns=COLUMNS)
    return data.assign(Site_ID=np.asarray(drawn.groups) + 1, y=drawn.y.astype(int))


def fits(data: pd.DataFrame) -> dict[str, laplace.Fit]:
    given = data["y"], data[COLUMNS], data["Site_ID"]
    return {
        "exact": laplace.fit(*given, tau=1, nodes=25),
        "one": laplace.fit(*given, tau=1, nodes=1),
        "free": laplace.fit(*given, nodes=1),
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a clone with a data set a setting, and results that are off by known amounts."""
    folder = tmp_path_factory.mktemp("clone")
    for name in METHODS.values():
        (folder / name).mkdir()
    for setting in SETTINGS:
        (folder / f"Setting_{setting}").mkdir()
        data = rows(SEED + setting)
        if setting == 8:  # separated by its second column
            data["X2"] = np.where(data["y"] == 1, 1.0, -1.0) * (0.1 + data["X2"].abs())
        data.to_csv(folder / f"Setting_{setting}" / "2Sites_Dataset3.csv", index=False)
        if setting == 8:
            published = {"LA": np.zeros(10), "GH": np.zeros(10)}
        else:
            known = fits(data)
            move = known["exact"].bse.to_numpy() * np.where(np.arange(10) == 4, -1.5, 0.2)
            published = {
                "lme4": known["free"].beta + 0.01 * known["free"].bse.to_numpy()[:10],
                "LA": known["one"].beta,
                "GH": known["exact"].beta + move,
            }
        for name, beta in published.items():
            table = pd.DataFrame({"Coef": beta}, COLUMNS)
            if name != "lme4":
                table["RunTime"] = 12.34
            table.to_csv(folder / METHODS[name] / f"Setting_{setting}_3.csv")
    return folder


def test_distances_are_those_that_were_put_in(clone: Path) -> None:
    found = reexamined.examine(clone)
    assert found["setting"].tolist() == list(SETTINGS)
    assert set(found["number"]) == {3}
    whole = found[found["has_maximum"]]
    assert whole["setting"].tolist() == list(SETTINGS)[:-1]
    np.testing.assert_allclose(whole["lme4"].astype(float), 0.01, atol=2e-6)  # six decimals
    np.testing.assert_allclose(whole["GH"], 1.5, atol=2e-6)
    assert (whole["LA"] == whole["nodes"]).all()  # it is the Laplace approximation
    assert (whole["LA_ridge"] == 0).all()  # without a penalty
    assert (whole["LA_strength"] == 0).all()
    assert set(whole["LA_seconds"]) == {12.3}
    last = found.iloc[-1]
    assert not last["has_maximum"]
    assert last["files"] == "LA, GH"
    assert np.isnan(last["LA"])


def test_a_penalised_result_is_found_to_be_one(clone: Path) -> None:
    data = pd.read_csv(clone / "Setting_1" / "2Sites_Dataset3.csv")
    given = data["y"].to_numpy(dtype=float), data[COLUMNS].to_numpy(), data["Site_ID"].to_numpy()
    exact = laplace.fit(*given, tau=1, nodes=25)
    theirs = reexamined._ridge(given, 4.0, exact.beta)
    score = laplace.loglik(*given, theirs, 1.0).gradient[:10] - 8.0 * theirs
    assert np.abs(score).max() < 1e-8
    found = reexamined._distances(data, {"LA": pd.DataFrame({"Coef": theirs})})
    assert found["LA_strength"] == 4
    assert found["LA_ridge"] == 0.0
    assert found["LA"] > 0.1


def test_what_is_stored_is_what_was_computed(clone: Path, tmp_path: Path) -> None:
    found, path = reexamined.examine(clone), tmp_path / "figures.json"
    reexamined.save(found, path)
    again = reexamined.stored(path)
    pd.testing.assert_frame_equal(
        again.fillna(np.nan), found[again.columns].fillna(np.nan), check_dtype=False
    )
    assert json.loads(path.read_text(encoding="utf-8"))["sources"] == SOURCES


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data sets in a folder Setting_1: give the"):
        reexamined.examine(tmp_path)


def test_the_stored_figures_name_the_commits_and_hold_no_data() -> None:
    text = reexamined.STORED.read_text(encoding="utf-8")
    assert json.loads(text)["sources"] == SOURCES
    assert all(len(source["commit"]) == 40 for source in SOURCES.values())
    figures = reexamined.stored()
    assert set(figures) <= {
        *("setting", "number", "sites", "rows", "has_maximum", "nodes", "lme4", "LA", "GH"),
        *("LA_ridge", "LA_strength", "LA_seconds", "GH_seconds", "files"),
    }
    assert not figures.duplicated(["setting", "number"]).any()
    whole = figures["has_maximum"].astype(bool)
    assert figures.loc[~whole, ["nodes", "lme4", "LA", "GH"]].isna().all(axis=None)
    fitted = figures[whole]
    assert (fitted["LA_ridge"] <= fitted["LA"] + fitted["nodes"] + 1e-6).all()
