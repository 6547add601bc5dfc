"""``mugrow ladder`` on families of models that follow a known law, and on a published table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.laws.families import BORROWED, errors, read_families

GADRE = Path("../shared/data/laws/gadre/testbed_losses.csv")
LAW = {"A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}


def families(E=(1.7, 1.9, 2.2), odd=0.0):
    """Final losses of five sizes at four horizons, a family each floor; ``odd`` is added to the
    smallest model's."""
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 3e10, 4)))
    fall = LAW["A"] / n ** LAW["alpha"] + LAW["B"] / d ** LAW["beta"] + odd * (n == n.min())
    tables = [
        pd.DataFrame({"size": n, "tokens": d, "loss": floor + fall, "corpus": f"c{place}"})
        for place, floor in enumerate(E)
    ]
    return pd.concat(tables)


def read(table, tmp_path, **columns):
    table.to_parquet(tmp_path / "runs.parquet")
    asked = {"n": "size", "d": "tokens", "loss": "loss", "family": "corpus", "run": None} | columns
    return read_families(tmp_path / "runs.parquet", **asked)


def by_fitted(rows):
    """Errors in percent by what is fitted and by family."""
    return {one.fitted: dict(one.by_family) for one in errors(rows)}


def test_a_law_that_all_families_share_is_found_from_any_part(tmp_path):
    found = by_fitted(read(families(), tmp_path))
    assert list(found["all models"]) == ["c0", "c1", "c2"]
    baseline = found.pop("as good as the best fitted")
    assert max(error for of_law in found.values() for error in of_law.values()) < 0.01  # percent
    assert BORROWED in found
    assert min(baseline.values()) > 1


def test_one_odd_model_spoils_what_is_fitted_with_it(tmp_path):
    found = by_fitted(read(families(odd=0.3), tmp_path))
    assert found["the 3 largest models"]["c0"] < 0.01 < 1 < found["the 3 smallest models"]["c0"]
    assert found[BORROWED]["c0"] > 1


def test_checkpoints_of_runs_are_told_from_finals(tmp_path):
    table = families(E=(1.7,)).assign(run=lambda rows: rows["size"].astype(str))
    found = by_fitted(read(table, tmp_path, run="run"))
    assert found["checkpoints after 10 %"]["c0"] < 0.01
    assert BORROWED not in found


def test_what_is_printed_is_what_was_measured(tmp_path, mugrow):
    families().to_csv(tmp_path / "runs.csv", index=False)
    words = ["ladder", tmp_path / "runs.csv", "--n", "size", "--d", "tokens", "--loss", "loss"]
    words += ["--family", "corpus", "--figure", tmp_path / "errors.svg", "--json"]
    rows = json.loads(mugrow(*words).out)
    assert rows[0]["fitted"] == "all models"
    assert rows[0]["mean"] == pytest.approx(np.mean([rows[0][f"c{i}"] for i in range(3)]))
    assert (tmp_path / "errors.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "corpsu"}, "did you mean 'corpus'"),
        ({"n": "size - size"}, "not every row has a number above 0"),
        ({"n": "tokens * 0 + 1"}, "has 1 sizes"),
    ],
)
def test_mistakes_are_said_in_one_line(change, words, tmp_path, mugrow):
    families().to_csv(tmp_path / "runs.csv", index=False)
    asked = {"n": "size", "d": "tokens", "loss": "loss", "family": "corpus"} | change
    flags = [word for name, value in asked.items() for word in (f"--{name}", value)]
    failed = mugrow("ladder", tmp_path / "runs.csv", *flags)
    assert failed.code == 2
    assert words in failed.err
    assert len(failed.err.splitlines()) == 1


def test_three_corpora_of_one_published_table():
    """Gadre et al. (arXiv 2403.08540): laws through their models up to 1.4B on their 6.9B."""
    if not GADRE.exists():
        pytest.skip(f"{GADRE} is absent")
    found = by_fitted(
        read_families(GADRE, n="params", d="tokens", loss="loss_c4_val", family="dataset", run=None)
    )
    everything = found["all models"]
    assert sorted(everything) == ["c4_original", "rpj", "rw_original"]
    assert np.mean(list(everything.values())) == pytest.approx(4.2, abs=0.1)
    small, large = found["the 3 smallest models"], found["the 3 largest models"]
    assert all(small[family] > large[family] for family in small)
