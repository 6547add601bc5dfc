"""A part of a Parquet file answers as the whole of it does, whatever else it holds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mugrow.analysis.measure.logs import read_arms, savings_of
from mugrow.analysis.read import columns as module
from mugrow.analysis.read import table
from mugrow.analysis.read.columns import Reading, read_columns
from mugrow.analysis.read.runs import _alike, _at
from mugrow.analysis.read.table import read_table, table_in
from mugrow.bench.spec import UserError

STEPS = 60
ASKED = {"run": "arm", "x": "6 * params * step", "loss": "loss", "baseline": "scratch"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for place, arm in enumerate(("scratch", "grown", "001")):
        for seed in (3, 1, 2):
            for step in range(1, STEPS + 1):
                loss = 2 + 3 * (step * (1 + 0.4 * place)) ** -0.5 + 0.01 * rng.standard_normal()
                rows.append((arm, seed, 1000, step, loss, 1e-3, rng.random(), f"at {step}"))
    names = ["arm", "seed", "params", "step", "loss", "lr", "grad_norm", "when"]
    return pd.DataFrame(rows, columns=names)


def written(tmp_path: Path, frame: pd.DataFrame, **how: object) -> Path:
    path = tmp_path / "curves.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, **how)
    return path


def answers(path: Path, **asked: object) -> tuple[list[str], list[str]]:
    arms = read_arms(path, **(ASKED | {"seeds": "seed"} | asked))
    return [repr(row) for row in savings_of(arms)], list(map(str, arms.notes))


def both(monkeypatch: pytest.MonkeyPatch, path: Path, **asked: object) -> bool:
    """Whether a part was read; answers, or what is wrong, are those of the whole table."""
    parts = []

    def noted(*given: object) -> object:
        parts.append(read_columns(*given))
        return parts[-1]

    def said() -> object:
        try:
            return answers(path, **asked)
        except UserError as error:
            return str(error)

    monkeypatch.setattr(table, "read_columns", noted)
    of_part = said()
    monkeypatch.setattr(table, "read_columns", lambda *_: None)
    assert of_part == said()
    return parts[0] is not None


def test_only_what_is_needed_is_read(tmp_path, frame):
    path = written(tmp_path, frame)
    reading = Reading(("arm", "seed"), ("6 * params * step", "loss"))
    part = table_in(path, reading)
    assert part.is_part
    assert list(part.frame.columns) == [name for name in frame if name != "grad_norm"]
    assert {str(part.frame[name].dtype) for name in ("arm", "seed", "lr", "when")} == {"category"}
    assert {str(part.frame[name].dtype) for name in ("params", "step", "loss")} == {"float64"}
    whole = read_table(path)
    assert not whole.is_part
    for name in part.frame:
        assert [*map(str, part.frame[name])] == [
            str(float(one)) if name in ("params", "step") else str(one) for one in whole.frame[name]
        ]


@pytest.mark.parametrize("rows", [1 << 20, 7])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_answers_are_those_of_the_whole_table(tmp_path, frame, monkeypatch, rows, use_dictionary):
    monkeypatch.setattr(module, "ROWS", rows)
    monkeypatch.setattr(module, "KEY_ROWS", rows)
    path = written(tmp_path, frame, row_group_size=100, use_dictionary=use_dictionary)
    assert both(monkeypatch, path)
    assert both(monkeypatch, path, seeds=None, length="seed")
    assert both(monkeypatch, path, methods=["grown"], by_x=True, smooth=3)
    shuffled = frame.sort_values(["step", "seed", "arm"])
    assert both(monkeypatch, written(tmp_path, shuffled, row_group_size=50))


def test_values_are_numbered_in_as_few_bytes_as_hold_them(tmp_path, frame, monkeypatch):
    monkeypatch.setattr(module, "KEY_ROWS", 50)
    several = [f"at {row % 200}" if row % 9 else None for row in range(len(frame))]
    path = written(tmp_path, frame.assign(when=several))
    part = table_in(path, Reading(("arm", "seed"), ("loss",))).frame
    assert part["seed"].cat.codes.dtype == np.int8
    assert part["when"].cat.codes.dtype == np.int16
    assert [one if isinstance(one, str) else None for one in part["when"]] == several
    assert both(monkeypatch, path)


def test_what_is_odd_about_a_table_is_said_of_a_part_too(tmp_path, frame, monkeypatch):
    def check(part: bool = True, **changes: object) -> None:
        assert both(monkeypatch, written(tmp_path, frame.assign(**changes))) is part

    loss = frame["loss"].where(frame["step"] < 50, np.nan)
    check(loss=pd.array(loss, dtype="Float64"))  # nothing
    with_nan = pa.array(loss.to_numpy(), from_pandas=False)
    path = tmp_path / "curves.parquet"
    of_frame = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(of_frame.set_column(4, "loss", with_nan), path)  # NaN
    assert both(monkeypatch, path)
    check(seed=frame["seed"].where(frame["seed"] < 3))  # nothing, so that 1 is 1.0
    check(seed=frame["seed"].map("00{}".format))
    check(loss=frame["loss"].map("{:.3f}".format), params="1.3B", when="1,000")
    check(lr=np.where(np.arange(len(frame)) % 2, 1e-3, 2e-3), loss=frame["loss"] + [0, 9] * 270)
    check(lr=np.where(frame["step"] % 2, "train", "val"), loss=frame["loss"] + [0, 9] * 270)
    check(step=-frame["step"])
    check(step=frame["step"] % 7)  # in no order
    check(arm=frame["arm"].where(frame["step"] > 1, None))  # names no run
    check(arm=frame["arm"].astype("category"))
    check(params=np.where(frame["step"] % 2, 1, 2**53))
    check(seed=0)  # several runs share a name: all columns say what would tell them apart
    check(when=[json.dumps({"a": 1})] * len(frame))


@pytest.mark.parametrize(
    "asked",
    [
        {"run": "method"},
        {"loss": "los"},
        {"seeds": "sed"},
        {"baseline": "scrach"},
        {"x": "steps * nothing"},
    ],
)
def test_a_name_that_is_none_is_answered_from_all_columns(tmp_path, frame, monkeypatch, asked):
    both(monkeypatch, written(tmp_path, frame), **asked)


def test_what_may_be_a_dialect_or_no_parquet_is_read_whole(tmp_path, frame, monkeypatch):
    long = frame.rename(columns={"loss": "value", "when": "key"}).assign(key="loss")
    path = written(tmp_path, long)
    assert not both(monkeypatch, path)
    assert read_columns(path, Reading(("arm",), ("step", "value"))) is None
    text = tmp_path / "curves.csv"
    frame.to_csv(text, index=False)
    assert not both(monkeypatch, text)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(written(tmp_path, frame).read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cannot read .*broken\.parquet"):
        read_arms(broken, **ASKED)
    empty = written(tmp_path, frame[:0])
    with pytest.raises(UserError, match="has no rows"):
        read_arms(empty, **ASKED)


def test_rows_of_a_kind_are_in_the_order_of_their_first():
    one = pd.Categorical(["b", "a", "b", "a", "b"], ["b", "a"])
    other = pd.Categorical(["x", "x", "y", "x", "x"], ["x", "y"])
    found = [(labels, rows.tolist()) for labels, rows in _alike([one, other])]
    assert found == [(("b", "x"), [0, 4]), (("a", "x"), [1, 3]), (("b", "y"), [2])]


def test_rows_of_a_kind_that_stand_together_are_their_numbers():
    labels = pd.Categorical(["b", "b", "a", "c", "c", "c"], ["a", "b", "c"])
    found = [(name, rows.tolist()) for (name,), rows in _alike([labels])]
    assert found == [("b", [0, 1]), ("a", [2]), ("c", [3, 4, 5])]


def test_very_many_kinds_are_told_apart():
    """Of four columns of a hundred thousand labels each, whose product no number holds."""
    rng = np.random.default_rng(0)
    codes = rng.integers(100_000, size=(4, 500))
    codes[:, 250:] = codes[:, :250]
    labels = pd.Index(np.arange(100_000).astype(str))
    found = [
        rows.tolist() for _, rows in _alike([pd.Categorical.from_codes(c, labels) for c in codes])
    ]
    assert found == [[row, row + 250] for row in range(250)]


def test_rows_that_are_neighbours_are_a_view_and_others_are_not():
    values = np.arange(10.0)
    assert np.shares_memory(_at(values, np.arange(3, 8)), values)
    for rows in ([3, 5, 4, 6], [6, 5, 4], [1, 3], []):
        chosen = np.array(rows, dtype=np.intp)
        assert np.array_equal(_at(values, chosen), values[chosen])
        assert not np.shares_memory(_at(values, chosen), values)
