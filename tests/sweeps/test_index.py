"""What has ended in a pool is read once, by whichever program, as long as it is as it was."""

import json
import os
from collections import Counter

import pyarrow.parquet as pq
import pytest
from fake_runs import ALONE, DATA, run_all

from mugrow.bench import record
from mugrow.bench.data.batches import resolve
from mugrow.bench.record import CURVE_SCHEMA, read_run, table_of, write_run
from mugrow.sweeps.collect import collect
from mugrow.sweeps.ended import Ended, rows_of
from mugrow.sweeps.execute import Where, execute, of_study
from mugrow.sweeps.index import INDEX, Curves, read_index, signature
from mugrow.sweeps.override import override
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import recipe

IDS = [run.spec.run_id for run in run_all(ALONE)[0].runs]


def row_of(run_id, status="finished"):
    return {
        "run_id": run_id,
        "role": "proxy",
        "status": status,
        "final_val_loss": 2.5 if status == "finished" else None,
        "source_run_id": None,
        "flops": 1e9,
        "tokens": 100,
        "wall_s": 0.1 + 0.2,  # a number that a shorter text would round
    }


def end(pool, run_id, steps=(0, 5), status="finished"):
    curve = [{"run_id": run_id, "step": one, "val_loss": 3.0 - one / 10} for one in steps]
    write_run(pool / "runs" / run_id, row_of(run_id, status), curve)


@pytest.fixture
def pool(tmp_path):
    """Six ended runs, the last without a row in its curve."""
    for number, run_id in enumerate(IDS[:6]):
        end(tmp_path, run_id, range(0, 5 * (5 - number), 5))
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """How often the record of each run was read."""
    count = Counter()
    real = record.read_run

    def counted(home):
        count[home.name] += 1
        return real(home)

    monkeypatch.setattr("mugrow.bench.run.read_run", counted)
    return count


def test_a_program_reads_each_run_once_however_often_it_writes_tables(pool, read):
    finished = Ended(pool, print)
    for run_id in IDS[6:9]:
        end(pool, run_id)
        current = plan(ALONE, DATA, finished.rows)
        finished.read_all(current)
        collect(pool, current, finished.rows, "tiny", finished.curves)
        finished.write_index(whole=False)
    ended = [run_id for run_id in IDS[:9] if (pool / "runs" / run_id).exists()]
    assert {run_id: read[run_id] for run_id in ended} == dict.fromkeys(ended, 1)
    found = pq.read_table(pool / "curves.parquet")
    assert found.equals(
        table_of([], CURVE_SCHEMA) if not ended else _read_each(pool, plan_ids(finished))
    )


def plan_ids(finished):
    return [
        run.spec.run_id
        for run in plan(ALONE, DATA, finished.rows).runs
        if run.spec.run_id in finished.rows
    ]


def _read_each(pool, run_ids):
    import pyarrow as pa

    tables = [read_run(pool / "runs" / run_id)[1].cast(CURVE_SCHEMA) for run_id in run_ids]
    return pa.concat_tables(tables)


def test_the_next_program_reads_none(pool, read):
    first = Ended(pool, print)
    first.write_index(whole=True)
    read.clear()
    second = Ended(pool, print)
    assert not read
    assert second.rows == first.rows
    assert second.curves.of(IDS[:6]).equals(_read_each(pool, IDS[:6]))
    assert dict(rows_of(pool)) == first.rows
    assert not read


def test_in_any_order_and_with_more(pool, read):
    Ended(pool, print).write_index(whole=True)
    finished = Ended(pool, print)
    end(pool, IDS[6])
    finished.read([IDS[6]])
    order = [IDS[6], IDS[3], IDS[5], IDS[0]]
    assert finished.curves.of(order).equals(_read_each(pool, order))
    finished.write_index(whole=True)
    read.clear()
    assert Ended(pool, print).curves.of(order).equals(_read_each(pool, order))
    assert not read


def rewrite(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def touch(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [rewrite, touch])
@pytest.mark.parametrize("name", ["curve.parquet", "SHA256SUMS"])
def test_a_run_whose_files_have_changed_is_read_again(pool, read, name, change):
    Ended(pool, print).write_index(whole=True)
    read.clear()
    change(pool / "runs" / IDS[2] / name)
    Ended(pool, print)
    assert dict(read) == {IDS[2]: 1}


def test_a_run_that_was_damaged_is_set_aside_and_another_has_its_place(pool):
    Ended(pool, print).write_index(whole=True)
    path = pool / "runs" / IDS[2] / "curve.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    said = []
    finished = Ended(pool, said.append)
    assert finished.rows.keys() == set(IDS[:6]) - {IDS[2]}
    assert len(said) == 1
    with pytest.raises(KeyError):
        finished.curves.of([IDS[2]])
    end(pool, IDS[2], (0, 5, 10, 15))
    finished.read([IDS[2]])
    assert len(finished.curves.of([IDS[2]])) == 4


def test_a_failed_run_is_tried_again_also_out_of_the_index(tmp_path):
    end(tmp_path, IDS[0], (), status="failed")
    end(tmp_path, IDS[1])
    for _ in range(2):
        finished = Ended(tmp_path, print)
        assert finished.rows.keys() == {IDS[1]}
        finished.write_index(whole=True)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_an_index_that_cannot_be_read_is_none(pool, read, content):
    (pool / INDEX).write_bytes(content)
    assert len(Ended(pool, print).rows) == len(read) == 6


def test_an_index_of_another_format_is_none(pool, monkeypatch):
    Ended(pool, print).write_index(whole=True)
    assert len(read_index(pool)[0]) == 6
    monkeypatch.setattr("mugrow.sweeps.index.FORMAT", {b"mugrow.index": b"of tomorrow"})
    assert read_index(pool)[0] == {}


def test_a_flipped_bit_of_the_index_is_noticed(pool):
    Ended(pool, print).write_index(whole=True)
    content = bytearray((pool / INDEX).read_bytes())
    for place in range(4, len(content) // 2, 101):
        flipped = content.copy()
        flipped[place] ^= 4
        (pool / INDEX).write_bytes(flipped)
        known, _ = read_index(pool)
        assert all(json.dumps(row) == json.dumps(row_of(i)) for i, (_, row) in known.items())


def test_it_is_written_again_when_a_quarter_more_has_come(pool):
    finished = Ended(pool, print)
    finished.write_index(whole=False)
    before = (pool / INDEX).stat().st_ino
    end(pool, IDS[6])
    finished.read([IDS[6]])
    finished.write_index(whole=False)
    assert (pool / INDEX).stat().st_ino == before
    end(pool, IDS[7])
    finished.read([IDS[7]])
    finished.write_index(whole=False)
    assert len(read_index(pool)[0]) == 8


def test_a_signature_is_of_all_files(tmp_path):
    (tmp_path / "a").write_text("1")
    before = signature(tmp_path)
    assert signature(tmp_path) == before
    (tmp_path / "b").touch()
    assert signature(tmp_path) != before


def test_curves_of_none_are_an_empty_table():
    assert Curves().of([]).schema.equals(CURVE_SCHEMA)


def test_a_study_that_is_run_again_reads_nothing_anew(
    tiny, amended, corpus, in_threads, tmp_path, read
):
    words = amended("parametrizations=mup", "proxy_widths=16", "seeds=0", "ladder=")
    study = override(recipe("quick"), words[words.index("--set") + 1 :])
    data = resolve(str(corpus), val_tokens=study.val_tokens)
    where = Where(1, 1, corpus_paths={data.corpus_sha256: str(corpus)})
    experiment = of_study(override(study, [f"corpus={data.corpus}"]), data)
    execute(experiment, tmp_path, where)
    tables = {path: path.read_bytes() for path in sorted(tmp_path.glob("*.parquet"))}
    assert len(tables) == 3
    read.clear()
    execute(experiment, tmp_path, where)
    assert not read
    assert {path: path.read_bytes() for path in tables} == tables
    (again, *_) = (tmp_path / "runs").iterdir()
    (again / "curve.parquet").unlink()
    execute(experiment, tmp_path, where)
    assert len(pq.read_table(tmp_path / "runs.parquet")) == len([*(tmp_path / "runs").iterdir()])
    assert (tmp_path / "curves.parquet").read_bytes() == tables[tmp_path / "curves.parquet"]
