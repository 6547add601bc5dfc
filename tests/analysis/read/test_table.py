"""Tables that mugrow did not write."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mugrow.analysis.read.expression import condition, numbers
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError

FRAME = pd.DataFrame({"run": ["a", "b"], "6 N": [1.5, 2.0], "<b>π</b>": [3, 4]})


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".json"])
def test_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    if suffix == ".csv":
        FRAME.to_csv(path, index=False)
    elif suffix == ".parquet":
        FRAME.to_parquet(path)
    else:
        FRAME.to_json(path, orient="records", lines=True)
    pd.testing.assert_frame_equal(read_table(path).frame, FRAME, check_dtype=False)


def test_rows_are_numbered_as_they_stand(tmp_path: Path) -> None:
    FRAME.set_index("run", drop=False).to_parquet(tmp_path / "table.parquet")
    assert list(read_table(tmp_path / "table.parquet").frame.index) == [0, 1]


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nan_is_missing_whatever_a_columns_type(tmp_path: Path, backend: str) -> None:
    """pandas takes a NaN for a number in an Arrow column, until the first arithmetic."""
    frame = pd.DataFrame({"loss": [3.0, 3.0, float("nan"), 3.0]})
    frame.to_parquet(tmp_path / "plain.parquet")
    typed = pd.read_parquet(tmp_path / "plain.parquet", dtype_backend=backend)
    if backend == "pyarrow":  # as another program writes it: no null
        values = pa.array(frame["loss"].to_numpy(), from_pandas=False)
        typed = pd.DataFrame({"loss": pd.arrays.ArrowExtensionArray(values)})
    typed.to_parquet(tmp_path / "typed.parquet")
    table = read_table(tmp_path / "typed.parquet").frame
    assert np.isnan(numbers(table, "loss")).tolist() == [False, False, True, False]
    assert np.isnan(numbers(table, "loss * 1")).tolist() == [False, False, True, False]
    assert condition(table, "not loss < 10").tolist() == [False, False, True, False]
    assert condition(table, "loss != 3").tolist() == [False, False, True, False]


def test_a_row_of_nan_among_equal_values_is_read(tmp_path: Path) -> None:
    """A filtered read would lose it: statistics of a column know nothing of NaN."""
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"loss": [3.0, 3.0, float("nan"), 3.0]}), path)
    assert np.isnan(numbers(read_table(path).frame, "loss")).sum() == 1
    assert pq.read_table(path, filters=pc.is_nan(pc.field("loss"))).num_rows == 0  # why


BROKEN = {
    "empty.csv": b"",
    "header.csv": b"run,step,loss\n",
    "binary.csv": b"\xff\xfe\x00a,b\n1,2",
    "twice.csv": b"loss,n,loss\n1,2,3\n",
    "ragged.csv": b"a,b\n1,2\n1,2,3\n",
    "longer.csv": b"a,b\n1,2,3\n4,5,6\n",
    "cut.parquet": b"PAR1",
    "broken.jsonl": b'{"a": 1\n',
    "list.jsonl": b"[1, 2]\n",
    "text.jsonl": b'"a"\n',
    "deep.jsonl": b"[" * 100_000,
    "table.xlsx": b"",
}


@pytest.mark.parametrize("name", [*BROKEN, "absent.csv", "folder.csv"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    if name in BROKEN:
        (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(UserError) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".parquet", ".jsonl"]))
def test_any_bytes_are_a_table_or_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"any{suffix}").write_bytes(content)
    with contextlib.suppress(UserError):
        table = read_table(tmp_path / f"any{suffix}").frame
        assert len(table) > 0
        assert table.columns.is_unique


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(names, st.integers(0, 9), min_size=1, max_size=4))
def test_any_column_name_survives(tmp_path: Path, row: dict[str, int]) -> None:
    (tmp_path / "any.jsonl").write_text(json.dumps(row), encoding="utf-8")
    table = read_table(tmp_path / "any.jsonl").frame
    assert table.to_dict("records") == [row]


@pytest.mark.parametrize(
    ("losses", "noted"),
    [(("3,037", "2,981"), True), (("3,037,000", "2,981"), False), (("3,037", "981"), False)],
)
def test_commas_that_may_be_decimal_are_named(
    tmp_path: Path, losses: tuple[str, str], noted: bool
) -> None:
    """Three decimals behind a comma are a group of thousands in form, and 1000 times the loss."""
    path = tmp_path / "table.csv"
    path.write_text("run,loss\n" + "".join(f'a,"{one}"\n' for one in losses))
    table = read_table(path)
    assert any("'3,037' is 3037" in note for note in table.notes) == noted


def test_a_header_that_stands_again_is_no_row(tmp_path):
    """Files that were put one behind the other."""
    path = tmp_path / "both.csv"
    path.write_text("step,loss\n1,3.5\n2,3.0\nstep,loss\n3,2.5\n step,loss \n4,2.0\n")
    table = read_table(path)
    assert table.frame["loss"].tolist() == [3.5, 3.0, 2.5, 2.0]
    assert table.notes == ("its header stands 3 times: files one behind the other",)


def test_text_of_another_encoding_says_how_to_mend_it(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("run,loss\na,1\nschön,2\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"line 3 is not UTF-8 text \(byte 0xf6\); if it is Latin"):
        read_table(path)
