from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mugrow.analysis.read.store import CURVE_COLUMNS, load
from mugrow.bench.record import CURVE_SCHEMA, RUN_SCHEMA, write_table
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
