"""``mugrow transfer``: tables, JSON, figures, and one line for what cannot be compared."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def folder(finished):
    return finished.folder


def test_the_tables_and_the_rule_are_printed(folder, mugrow):
    ended = mugrow("transfer", folder)
    assert (ended.code, ended.err) == (0, "")
    assert "Does the learning rate transfer?" in ended.out
    assert "w16 w32" in ended.out
    assert "transfers: the interval of the drift is within ±0.2" in ended.out
    assert "Student's t over jackknife" in ended.out


def test_json_has_every_number(folder, mugrow):
    found = json.loads(mugrow("transfer", folder, "--json").out)
    assert {ladder["parametrization"] for ladder in found["ladders"]} == {"mup", "sp"}
    for ladder in found["ladders"]:
        assert ladder["verdict"]["word"] in ("transfers", "drifts", "censored", "inconclusive")
        assert [rung["size"] for rung in ladder["rungs"]] == [16, 32]
        assert {"value", "lo", "hi", "n"} == set(ladder["drift"]["slope"])
    assert json.loads((folder / "summary.json").read_text())["transfer"] == {
        key: value for key, value in found.items() if key != "sweeps"
    }


def test_figures_are_drawn_beside_the_json(folder, mugrow, tmp_path):
    ended = mugrow("transfer", folder, "--json", "--figures", tmp_path / "drawn")
    assert json.loads(ended.out)["ladders"]
    assert (tmp_path / "drawn" / "optima.svg").is_file()
    assert (tmp_path / "drawn" / "regret.png").is_file()
    assert "transfer_depth: a figure of the loss along depth needs a ladder" in ended.err


def test_a_store_with_one_width_is_refused_in_one_line(folder, mugrow, tmp_path):
    for name in ("runs", "curves", "trials"):
        found = pq.read_table(folder / f"{name}.parquet")
        if name == "runs":
            found = found.filter([width == 16 for width in found["width"].to_pylist()])
            found = found.filter([kind == "mup" for kind in found["parametrization"].to_pylist()])
        pq.write_table(found, tmp_path / f"{name}.parquet")
    (tmp_path / "study.json").write_text((folder / "study.json").read_text())
    ended = mugrow("transfer", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "no ladder to compare: of mup w16-d1" in ended.err
    assert "a ladder takes two sizes" in ended.err


def test_operators_settings_are_shown_without_any_ladder(mugrow, tmp_path):
    committed = Path(__file__).parents[2] / "results" / "reference" / "transfer-growth"
    for name in ("curves.parquet", "trials.parquet", "study.json"):
        shutil.copy(committed / name, tmp_path / name)
    runs = pq.read_table(committed / "runs.parquet")
    runs = runs.filter([role != "proxy" for role in runs["role"].to_pylist()])
    pq.write_table(runs, tmp_path / "runs.parquet")
    ended = mugrow("transfer", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "Does an operator’s own setting transfer?" in ended.out
    assert "×1.5 to ×4" in ended.out
    assert "Of operators' own settings. transfers: the interval" in ended.out
    found = json.loads(mugrow("transfer", tmp_path, "--json").out)
    assert found["ladders"] == []
    compared = found["operator_settings"]["compared"]
    assert [one["parameter"] for one in compared] == ["noise", "shrink"]
    assert {"value", "lo", "hi", "n"} == set(compared[1]["rungs"][1]["kept"]["regret_nats"])


def test_what_is_no_study_is_refused_in_one_line(mugrow, tmp_path):
    ended = mugrow("transfer", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
