import errno
import json
import math
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.checksums import SUMS, Damaged, read_sums
from mugrow.bench.record import (
    CURVE_SCHEMA,
    RUN_SCHEMA,
    TRIAL_SCHEMA,
    read_run,
    set_aside,
    table_of,
    write_atomically,
    write_json,
    write_run,
    write_table,
    write_tables,
)

STEADY = settings(deadline=None, derandomize=True)
ROW = {"run_id": "0123456789abcdef", "status": "finished", "final_val_loss": 1.5, "reason": None}
CURVE = [
    {"run_id": "0123456789abcdef", "step": 0, "tokens": 0, "val_loss": 3.25},
    {"run_id": "0123456789abcdef", "step": 5, "tokens": 160, "train_loss": 2.5, "val_loss": 2.75},
]


class Boom(Exception):
    pass


def half_written(temporary):
    temporary.write_text("half")
    raise Boom


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "table.parquet"
    write_atomically(path, lambda temporary: temporary.write_text("before"))
    with pytest.raises(Boom):
        write_atomically(path, half_written)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_write_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(Boom):
        write_atomically(tmp_path / "new" / "table.parquet", half_written)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "file"

    def write(temporary):
        assert temporary.parent == path.parent  # a rename is atomic within one folder only
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")

    write_atomically(path, write)
    assert path.read_text() == "whole"


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda temporary: temporary.write_text("old"))
    with path.open() as reader:
        write_atomically(path, lambda temporary: temporary.write_text("new"))
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_json_is_readable_and_comes_back(tmp_path):
    value = {"b": [1, None], "a": "ß"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


@pytest.mark.parametrize("schema", [RUN_SCHEMA, CURVE_SCHEMA, TRIAL_SCHEMA])
def test_an_empty_table_has_its_columns(tmp_path, schema):
    write_table(tmp_path / "t.parquet", [], schema)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.schema.equals(schema)
    assert table.num_rows == 0


def test_an_unknown_column_is_our_mistake_and_nothing_is_written(tmp_path):
    with pytest.raises(AssertionError, match="val_los"):
        write_table(tmp_path / "t.parquet", [{"run_id": "a", "val_los": 1.0}], CURVE_SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_a_run_comes_back_with_its_row_and_with_nulls_where_it_said_nothing(tmp_path):
    home = tmp_path / "runs" / ROW["run_id"]
    write_run(home, ROW, CURVE)
    row, table = read_run(home)
    assert row == ROW
    assert table.schema.equals(CURVE_SCHEMA)  # but for the metadata
    assert table["step"].to_pylist() == [0, 5]
    assert table["train_loss"].to_pylist() == [None, 2.5]
    assert table["grad_norm"].null_count == 2


def test_a_run_older_than_a_column_comes_back_with_nulls_there(tmp_path):
    home = tmp_path / ROW["run_id"]
    write_run(home, ROW, CURVE)
    (home / SUMS).unlink()  # older than checksums, too
    path = home / "curve.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["asymmetry", "val_loss_averaged"]), path)
    row, table = read_run(home)
    assert row == ROW
    assert table.schema.equals(CURVE_SCHEMA)
    assert table["val_loss_averaged"].null_count == len(CURVE)
    pq.write_table(pq.read_table(path).drop_columns(["step"]), path)
    assert "step" not in read_run(home)[1].column_names  # one that all have is not made up


def test_a_failed_run_is_recorded_though_it_has_no_curve(tmp_path):
    write_run(tmp_path / "a", {"run_id": "a", "status": "failed", "reason": "no source"}, [])
    row, table = read_run(tmp_path / "a")
    assert row["reason"] == "no source"
    assert table.num_rows == 0


@settings(STEADY, max_examples=30)
@given(loss=st.floats(allow_nan=False), step=st.integers(0, 2**62))
def test_numbers_survive_exactly(tmp_path_factory, loss, step):
    folder = tmp_path_factory.getbasetemp() / ROW["run_id"]
    point = {"run_id": ROW["run_id"], "step": step, "val_loss": loss}
    write_run(folder, ROW | {"final_bpb": loss}, [point])
    row, table = read_run(folder)
    assert row["final_bpb"] == loss
    assert table.to_pylist()[0]["step"] == step
    assert math.copysign(1, table.to_pylist()[0]["val_loss"]) == math.copysign(1, loss)
    assert table.to_pylist()[0]["val_loss"] == loss


def test_a_run_that_has_not_ended_has_no_record(tmp_path):
    assert read_run(tmp_path) is None


@settings(STEADY, max_examples=30)
@given(kept=st.floats(0, 1, exclude_max=True), sums=st.booleans())
def test_a_truncated_record_is_damaged(tmp_path_factory, kept, sums):
    folder = tmp_path_factory.getbasetemp() / "truncated" / ROW["run_id"]
    write_run(folder, ROW, CURVE)
    if not sums:
        (folder / SUMS).unlink()
    path = folder / "curve.parquet"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(Damaged, match=r"curve\.parquet is damaged"):
        read_run(folder)


def test_what_cannot_be_read_is_not_damaged(tmp_path, monkeypatch):
    folder = tmp_path / ROW["run_id"]
    write_run(folder, ROW, CURVE)
    for error in (OSError(errno.EIO, "Input/output error"), MemoryError()):

        def fails(*given, error=error, **more):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.read_bytes", fails)
            with pytest.raises(type(error)):
                read_run(folder)
        with monkeypatch.context() as patch:
            patch.setattr("pyarrow.parquet.read_table", fails)
            with pytest.raises(MemoryError if isinstance(error, MemoryError) else Damaged):
                read_run(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run_id": "other"}, "it is of run other"),
        ({"status": None}, "status is None, none of finished"),
        ({"width": 0}, "width is 0, not a number above 0"),
        ({"lr": None}, "lr is None, not a number above 0"),
        ({"flops": 0}, "flops is 0, of a run that finished"),
        ({"final_val_loss": math.nan}, "final_val_loss is nan, of a run that finished"),
        ({"spec": "{"}, "spec is not JSON: '{'"),
        ({"spec": "[]"}, "spec is not JSON"),
    ],
)
def test_values_that_no_run_has_are_damage(tmp_path, changes, said):
    folder = tmp_path / ROW["run_id"]
    write_run(folder, ROW | changes, CURVE)
    with pytest.raises(Damaged, match=re.escape(said)):
        read_run(folder)


def test_a_curve_of_another_run_is_damage(tmp_path):
    folder = tmp_path / ROW["run_id"]
    write_run(folder, ROW, [CURVE[0], CURVE[1] | {"run_id": "another"}])
    with pytest.raises(Damaged, match="it is of run another"):
        read_run(folder)


def test_tables_are_replaced_together_and_their_checksums_last(tmp_path, monkeypatch):
    (tmp_path / "study.json").write_text("{}")
    tables = {name: table_of([], TRIAL_SCHEMA) for name in ("curves.parquet", "runs.parquet")}
    write_tables(tmp_path, tables, others=("study.json", "evaluations.parquet"))
    assert read_sums(tmp_path).keys() == {*tables, "study.json"}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    seen = []
    real = os.replace

    def replace(source, target):
        seen.append((Path(target).name, (tmp_path / SUMS).exists()))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace)
        write_tables(tmp_path, tables)
    assert seen == [("curves.parquet", False), ("runs.parquet", False), (SUMS, False)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_tables(tmp_path, tables)
    assert error.value.filename == str(tmp_path / "curves.parquet")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_parquet_file_that_carries_no_row_is_damaged(tmp_path):
    pq.write_table(pa.table({"step": [1]}), tmp_path / "curve.parquet")
    with pytest.raises(Damaged, match="KeyError"):
        read_run(tmp_path)


def test_files_set_aside_keep_their_content_and_do_not_replace_each_other(tmp_path):
    path = tmp_path / "curve.parquet"
    for content in ("first", "second"):
        path.write_text(content)
        aside = set_aside(path)
        assert aside.read_text() == content
        assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 2
