from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mugrow.analysis.read.store import CURVE_COLUMNS, load
from mugrow.bench.record import CURVE_SCHEMA, RUN_SCHEMA, write_table, write_tables
from mugrow.bench.spec import UserError


def test_load_gives_the_whole_study(study_dir: Path) -> None:
    store = load(study_dir)
    assert list(store.runs.columns) == RUN_SCHEMA.names
    assert list(store.curves.columns) == CURVE_COLUMNS
    assert set(store.runs["role"]) == {"proxy", "source", "target"}
    assert set(store.curves["run_id"]) == set(store.runs["run_id"])
    assert len(store.trials) == 2 * (7 * 3 + 7)
    assert store.study["name"] == "quick"


def test_a_study_without_rows_loads(study_dir: Path) -> None:
    write_table(study_dir / "runs.parquet", [], RUN_SCHEMA)
    write_table(study_dir / "curves.parquet", [], CURVE_SCHEMA)
    assert load(study_dir).runs.empty


def test_columns_in_another_order_are_put_right(study_dir: Path) -> None:
    path = study_dir / "curves.parquet"
    table = pq.read_table(path)
    pq.write_table(table.select(table.schema.names[::-1]), path)
    assert list(load(study_dir).curves.columns) == CURVE_COLUMNS


def failure(directory: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_directory(tmp_path: Path) -> None:
    assert "absent is not a directory" in failure(tmp_path / "absent")


@pytest.mark.parametrize("name", ["runs.parquet", "trials.parquet", "study.json"])
def test_a_missing_file_is_named(study_dir: Path, name: str) -> None:
    (study_dir / name).unlink()
    assert f"has no {name}" in failure(study_dir)


@pytest.mark.parametrize("kept", [0, 1, 100, -10])
def test_a_truncated_table_is_named(study_dir: Path, kept: int) -> None:
    path = study_dir / "curves.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    assert "curves.parquet is not a whole Parquet file" in failure(study_dir)


def test_a_missing_column_is_named(study_dir: Path) -> None:
    path = study_dir / "curves.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["val_loss"]), path)
    message = failure(study_dir)
    assert "curves.parquet has no column 'val_loss'" in message
    assert "train_loss" in message


def test_a_column_of_another_type_is_named(study_dir: Path) -> None:
    path = study_dir / "curves.parquet"
    table = pq.read_table(path)
    words = pa.array(["low"] * len(table))
    place = table.schema.get_field_index("val_loss")
    pq.write_table(table.set_column(place, "val_loss", words), path)
    assert "curves.parquet has a column of another type" in failure(study_dir)


@pytest.mark.parametrize("text", ["{", "[]", '{"title": "no name"}'])
def test_a_study_that_is_no_study(study_dir: Path, text: str) -> None:
    (study_dir / "study.json").write_text(text)
    assert "study.json" in failure(study_dir)


def test_a_store_older_than_a_column_has_nulls_there(study_dir: Path) -> None:
    assert load(study_dir).curves["asymmetry"].notna().any()
    path = study_dir / "curves.parquet"
    later = ["asymmetry", "val_loss_averaged"]
    pq.write_table(pq.read_table(path).drop_columns(later), path)
    curves = load(study_dir).curves
    assert list(curves.columns) == CURVE_COLUMNS
    assert curves[later].isna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("flops", None, "flops is nan, of a run that finished"),
        ("flops", 0.0, "flops is 0.0, of a run that finished"),
        ("width", 0, "width is 0, not a number above 0"),
        ("lr", None, "lr is nan, not a number above 0"),
        ("status", "ended", "status is 'ended', none of finished"),
        ("spec", "{", "spec is not JSON: '{'"),
    ],
)
def test_values_that_no_run_has_are_named(study_dir: Path, column: str, value, said: str) -> None:
    path = study_dir / "runs.parquet"
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[2] = value
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, column, pa.array(values, table.schema.field(column).type)), path
    )
    message = failure(study_dir)
    assert f"of run {table['run_id'][2].as_py()}, {said}" in message


def test_curves_of_runs_to_come_are_left_out_and_missing_ones_named(study_dir: Path) -> None:
    """A writer that is killed between two tables leaves the curves ahead of the runs."""
    path = study_dir / "runs.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    store = load(study_dir)
    assert set(store.curves["run_id"]) == set(store.runs["run_id"])
    pq.write_table(table, path)
    curves = study_dir / "curves.parquet"
    kept = pq.read_table(curves).filter(pc.field("run_id") != table["run_id"][0])
    pq.write_table(kept, curves)
    assert f"has no curve of run {table['run_id'][0].as_py()}" in failure(study_dir)


def test_tables_are_read_again_until_they_are_of_one_moment(study_dir: Path, monkeypatch) -> None:
    """A program replaces them while they are read, and their checksums last."""
    names = ("curves.parquet", "trials.parquet", "runs.parquet")
    tables = {name: pq.read_table(study_dir / name) for name in names}
    write_tables(study_dir, tables, others=("study.json",))
    shorter = {name: tables[name].slice(1) for name in ("trials.parquet",)}
    real, calls = Path.read_bytes, []

    def read_bytes(path: Path) -> bytes:
        calls.append(path.name)
        if calls.count("curves.parquet") == 1 and path.name == "curves.parquet":
            write_tables(study_dir, shorter)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert len(load(study_dir).trials) == len(shorter["trials.parquet"])
    assert calls.count("runs.parquet") == 2


def test_a_table_that_was_changed_is_named(study_dir: Path) -> None:
    tables = {name: pq.read_table(study_dir / name) for name in ("trials.parquet", "runs.parquet")}
    write_tables(study_dir, tables, others=("study.json", "curves.parquet"))
    load(study_dir)
    pq.write_table(tables["trials.parquet"].slice(1), study_dir / "trials.parquet")
    assert "trials.parquet is damaged: its content does not match SHA256SUMS" in failure(study_dir)
