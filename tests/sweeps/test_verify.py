"""A store gone through: what is damaged is named, and nothing else."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mugrow.bench.checksums import SUMS, Damaged
from mugrow.bench.record import EVALUATION_SCHEMA, read_run, write_table
from mugrow.bench.spec import UserError
from mugrow.sweeps.evaluate import read_numbers, write_numbers
from mugrow.sweeps.grow import grow
from mugrow.sweeps.verify import OF_THE_STUDY, _differing, verify

BEFORE = Path(__file__).parents[1] / "stores" / "before_budgets"


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
    old = verify(BEFORE)  # its ids are of the time before they were stable
    assert (old.runs, old.tables, old.damage) == (0, 1, ())


@pytest.mark.parametrize("sums", ["", "no checksum\n"])
def test_tables_with_checksums_that_say_nothing_are_damaged(tmp_path, sums):
    copy = Path(shutil.copytree(BEFORE, tmp_path / "copy"))
    (copy / SUMS).write_text(sums)
    found = reasons(copy)
    assert found.keys() >= {"runs.parquet", "curves.parquet", "trials.parquet", "study.json"}
    assert {*map(tuple, found.values())} == {("its content is not in SHA256SUMS",)}


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
        "trials.parquet",
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


def edit(path: Path, column: str, value: object, row: int = 0) -> None:
    table = pd.read_parquet(path)
    table.loc[row, column] = value
    table.to_parquet(path)


def reasons(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for damage in verify(folder).damage:
        found.setdefault(damage.path.name, []).append(damage.reason)
    return found


def test_tables_are_held_against_the_runs(copy):
    (copy / SUMS).unlink()
    runs = pd.read_parquet(copy / "runs.parquet")
    grown = int(runs.index[runs["flops_source"] > 0][0])
    edit(copy / "runs.parquet", "final_val_loss", 7.5)
    edit(copy / "runs.parquet", "seed", 7)
    edit(copy / "runs.parquet", "flops_source", 1.0, grown)
    edit(copy / "curves.parquet", "lr", 0.125, 3)
    edit(copy / "trials.parquet", "value", 0.5, 2)
    curves, trials = (pd.read_parquet(copy / f"{name}.parquet") for name in ("curves", "trials"))
    ids = runs["run_id"]
    assert reasons(copy) == {
        "runs.parquet": [
            f"seed, final_val_loss of run {ids[0]} is not the run's own",
            f"flops_source of run {ids[grown]} is not what its sources cost",
        ],
        "curves.parquet": [f"the curve of run {curves['run_id'][3]} is not the run's own"],
        "trials.parquet": [f"value of trial 2 of {trials['sweep'][2]} is not its runs' own"],
    }


def test_every_column_that_a_run_has_too_is_compared(finished):
    own = next(
        record[0]
        for path in sorted((finished.folder / "runs").iterdir())
        if (record := read_run(path)) is not None
    )
    of_both = [name for name in own if name not in OF_THE_STUDY]
    assert {"lr", "flops", "spec", "wall_s", "params"} <= {*of_both}
    for name in of_both:
        assert _differing(own, {**own, name: "another"}) == [name]
    assert _differing(own, own) == []


def test_runs_that_are_gone_would_be_done_again(copy, mugrow):
    gone, cut, *_ = sorted(path for path in (copy / "runs").iterdir())
    shutil.rmtree(gone)
    (cut / "curve.parquet").unlink()
    found = verify(copy)
    assert {(one.path, one.then) for one in found.damage} == {
        (gone, "the run would be done again"),
        (cut / "curve.parquet", "the run would be done again"),
    }
    assert found.unfinished == 1
    ended = mugrow("verify", copy)
    assert ended.code == 1
    assert f"{gone}: it is gone, and {copy / 'runs.parquet'} has run {gone.name}" in ended.out
    shutil.rmtree(copy / "runs")  # only the tables are left: nothing to hold them against
    alone = verify(copy)
    assert (alone.damage, alone.absent) == ((), 30)


def test_files_beside_the_tables(copy):
    change(copy / "study.json")
    assert reasons(copy) == {"study.json": ["its content does not match SHA256SUMS"]}
    (copy / SUMS).unlink()
    (copy / "study.json").write_text("{}")
    (damage,) = verify(copy).damage
    assert damage.path == copy / "study.json"
    assert damage.then == "it would be written again"
    (copy / "study.json").write_text('{"name": "quick"}')
    (copy / "methods").mkdir()
    (copy / "methods" / "mine@01234567.py").write_text("METHOD = None")
    assert reasons(copy) == {
        "mine@01234567.py": ["its content is not that of the hash in its name"]
    }


def test_tables_that_are_gone_are_named(copy):
    for name in ("runs.parquet", "trials.parquet"):
        (copy / name).unlink()
    found = reasons(copy)
    assert found == {"runs.parquet": ["it is gone"], "trials.parquet": ["it is gone"]}


def test_evaluations_are_held_against_those_of_the_pool(copy):
    (copy / SUMS).unlink()
    row = dict.fromkeys(EVALUATION_SCHEMA.names) | {"run_ids": [], "seed": 0}
    row |= {"evaluation_id": "a", "quantity": "loss", "value": 2.5}
    rows = [row, row | {"evaluation_id": "b"}, row | {"evaluation_id": "c"}]
    write_table(copy / "evaluations.parquet", rows, EVALUATION_SCHEMA)
    (copy / "evaluations").mkdir()
    for name, loss in (("a", 2.5), ("b", 2.25)):
        (copy / "evaluations" / f"{name}.json").write_text(json.dumps({"loss": loss}))
    assert reasons(copy) == {
        "evaluations.parquet": ["loss of b is not the evaluation's own"],
        "c.json": [f"it is gone, and {copy / 'evaluations.parquet'} has it"],
    }


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


def test_an_evaluation_under_the_name_of_another(tmp_path):
    write_numbers(tmp_path / "0.json", {"loss": 2.5})
    assert read_numbers(tmp_path / "0.json") == {"loss": 2.5}
    shutil.copy(tmp_path / "0.json", tmp_path / "1.json")
    with pytest.raises(Damaged, match="it is of evaluation 0"):
        read_numbers(tmp_path / "1.json")
