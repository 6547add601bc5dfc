"""``mugrow read``: what it shows of a log, and the tidy table it writes."""

import json
from pathlib import Path

import pytest

from mugrow.analysis.read.table import read_table

LOG = "Step;a - loss;b - loss\n30;2,5;2,0\n20;3,0;\n10;3,5;3,25\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "panel.csv").write_text(LOG)
    return tmp_path / "panel.csv"


def test_what_is_understood(mugrow, log):
    ended = mugrow("read", log)
    assert ended.code == 0, ended.err
    for said in ("W&B panel export", "--run run, --x Step, --loss loss", "newest row first",
                 "its decimals follow a comma"):  # fmt: skip
        assert said in ended.out
    found = json.loads(mugrow("read", log, "--json").out)
    assert [(run["label"], run["points"], run["loss_last"]) for run in found["runs"]] == [
        ("a", 3, 2.5),
        ("b", 2, 2.0),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_what_is_written_is_read_again(mugrow, log, tmp_path, suffix):
    tidy = tmp_path / f"tidy{suffix}"
    assert mugrow("read", log, "-o", tidy).code == 0
    frame = read_table(tidy).frame
    assert frame.columns.tolist() == ["run", "Step", "loss"]
    assert frame.to_numpy().tolist() == [
        *(["a", 10, 3.5], ["a", 20, 3.0], ["a", 30, 2.5], ["b", 10, 3.25], ["b", 30, 2.0]),
    ]
    again = json.loads(mugrow("read", tidy, "--json").out)
    assert [run["points"] for run in again["runs"]] == [3, 2]


def test_mistakes_in_one_line(mugrow, log, tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("width,lr\n1,2\n")
    for words, message in (
        ((log, "-o", "tidy.xlsx"), "--out writes .csv"),
        ((table, "-o", tmp_path / "tidy.csv"), "has no runs to write"),
        ((tmp_path / "absent.csv",), "there is no table"),
        ((log, log), "is named twice"),
        ((tmp_path,), "is a folder, and neither"),
    ):
        ended = mugrow("read", *words)
        assert ended.code == 2
        (line,) = ended.err.strip().splitlines()
        assert message in line
