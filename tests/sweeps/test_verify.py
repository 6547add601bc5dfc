"""A store gone through: what is damaged is named, and nothing else."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mugrow.bench.checksums import SUMS, Damaged
from mugrow.bench.spec import UserError
from mugrow.sweeps.evaluate import read_numbers
from mugrow.sweeps.grow import grow
from mugrow.sweeps.verify import verify

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_store_and_one_from_before_checksums(finished, copy):
    found = verify(finished.folder)
    assert (found.runs, found.tables, found.unchecked, found.damage) == (30, 1, 0, ())
    for path in (copy / "runs").iterdir():
        (path / SUMS).unlink()
    assert verify(copy).unchecked == 30
    old = verify(REFERENCE / "zoo")  # its ids are of the time before they were stable
    assert (old.runs, old.tables, old.damage) == (0, 1, ())


@pytest.mark.parametrize("sums", ["", "no checksum\n"])
def test_tables_with_checksums_that_say_nothing_are_damaged(tmp_path, sums):
    copy = Path(shutil.copytree(REFERENCE / "zoo", tmp_path / "copy"))
    (copy / SUMS).write_text(sums)
    (damage,) = verify(copy).damage
    assert "its content is not in SHA256SUMS" in damage.reason


def test_every_kind_of_damage_is_named(copy, mugrow):
    sources = sorted(copy.glob("runs/*/checkpoint.safetensors"))
    change(sources[0])
    change(sources[1].with_name("curve.parquet"))
    (copy / "stacks" / "0123456789abcdef.safetensors").write_bytes(b"half a header")
    (copy / "evaluations").mkdir()
    (copy / "evaluations" / "0.json").write_text('{"loss": 1')
    change(copy / "trials.parquet")
    found = {damage.path.name: damage for damage in verify(copy).damage}
    assert found.keys() == {
        *("checkpoint.safetensors", "curve.parquet", "0123456789abcdef.safetensors", "0.json"),
        "runs.parquet",  # by which the tables are known
    }
    assert found["curve.parquet"].reason == "its content does not match SHA256SUMS"
    assert found["curve.parquet"].then == "the run would be done again"
    ended = mugrow("verify", copy)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert len(lines) == 6
    assert lines[-1].endswith("sets of tables: 5 damaged")
    as_json = mugrow("verify", copy, "--json")
    assert as_json.code == 1
    assert {one["path"] for one in json.loads(as_json.out)["damage"]} == {
        str(damage.path) for damage in found.values()
    }


def test_tables_are_held_against_the_runs(copy):
    (copy / SUMS).unlink()
    path = copy / "runs.parquet"
    runs = pd.read_parquet(path)
    runs.loc[0, "final_val_loss"] += 0.5
    runs.to_parquet(path)
    (damage,) = verify(copy).damage
    assert damage.reason == f"final_val_loss of run {runs['run_id'][0]} is not the run's own"


def test_a_grown_model_is_verified(finished, tmp_path):
    source = sorted(finished.folder.glob("runs/*/checkpoint.safetensors"))[0].parent
    grow(source, tmp_path / "grown", "szp", width=32)
    assert verify(tmp_path / "grown").damage == ()
    change(tmp_path / "grown" / "checkpoint.safetensors")
    (damage,) = verify(tmp_path / "grown").damage
    assert damage.then == "grow its source again"


def test_folders_that_hold_nothing_to_verify(tmp_path):
    for folder, said in ((tmp_path, "holds no runs"), (tmp_path / "no", "is not a directory")):
        with pytest.raises(UserError, match=said):
            verify(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3", '{"loss": "a"}', '{"numbers": {}}'])
def test_evaluations_that_are_none(tmp_path, text):
    path = tmp_path / "0.json"
    path.write_text(text)
    with pytest.raises(Damaged):
        read_numbers(path)


def test_an_evaluation_from_before_checksums(tmp_path):
    path = tmp_path / "0.json"
    path.write_text('{"loss": 2.5}')
    assert read_numbers(path) == {"loss": 2.5}
    path.write_text('{"numbers": {"loss": 2.5}, "sha256": "0"}')
    with pytest.raises(Damaged, match="do not match their checksum"):
        read_numbers(path)
