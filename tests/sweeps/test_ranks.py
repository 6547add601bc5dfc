"""Ranks that a worker starts, or torchrun: they train one stack, and end when it ends."""

import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mugrow.bench import run as bench_run
from mugrow.bench.data import batches
from mugrow.bench.run import Job
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps import ranks
from mugrow.sweeps.engines.local import LocalEngine
from mugrow.sweeps.execute import _job, of_study, where_of
from mugrow.sweeps.machine import devices_of_ranks, shared_out, worker_count
from mugrow.sweeps.needs import check_fits, needs_of
from mugrow.sweeps.ranks import device_of
from mugrow.sweeps.recipes import configured
from mugrow.sweeps.torchrun import World, under_torchrun, world
from mugrow.sweeps.worker import obey, write_order

FEW = ("parametrizations=mup", "log2_lr=-7,-5", "seeds=0", "proxy_widths=16", "methods=scratch")
TORCHRUN = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": None,
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}


def fewer(tiny: list[str]) -> list[str]:
    """The words of a study that is tinier still."""
    names = {one.partition("=")[0] for one in FEW}
    return [*(word for word in tiny if word.partition("=")[0] not in names), *FEW]


@pytest.fixture(scope="module")
def planned(corpus, tiny):
    """A tiny study's plan, and where it trains."""
    study = configured("quick", fewer(tiny)[5:], str(corpus))
    assert tiny.index("--set") == 4
    data: DataSpec = batches.resolve(str(corpus), "bytes", study.val_tokens)
    return of_study(study, data), {data.corpus_sha256: str(corpus)}


@pytest.fixture
def job(planned, tmp_path):
    """Of its first stack, by two ranks, saved at every step."""
    experiment, paths = planned
    where = replace(where_of(1, 1, "cpu", None, "local", ranks=2), corpus_paths=paths)
    return _job("study", experiment.plan({}).stacks[0], tmp_path / "two", where, "cpu")


@pytest.fixture
def saves(monkeypatch):
    monkeypatch.setattr(bench_run, "SAVE_EVERY_S", -1)
    monkeypatch.setattr(bench_run, "LONGEST_SHARE", math.inf)


@pytest.fixture
def started(monkeypatch):
    """The processes that were started as ranks, none of which is left at the end."""
    found, real = [], ranks._started

    def remembered(handed, follow):
        found.append(real(handed, follow))
        return found[-1]

    monkeypatch.setattr(ranks, "_started", remembered)
    yield found
    assert all(process.returncode is not None for process in found)


def told(job: Job) -> dict:
    return json.loads(obey(str(write_order(job))))


def curves(job: Job) -> pd.DataFrame:
    paths = (Path(job.folder) / "runs" / run.run_id / "curve.parquet" for run in job.runs)
    return pd.concat([pd.read_parquet(path) for path in paths])


def at_step(monkeypatch, wanted, act):
    """``act()`` after that step of a stack, once."""
    real, acts = bench_run.advance, [act]

    def watched(stack, state, data, ranks):
        for current in real(stack, state, data, ranks):
            if current.step == wanted and acts:
                acts.pop()()
            yield current

    monkeypatch.setattr(bench_run, "advance", watched)


@pytest.mark.integration
def test_a_killed_rank_is_named_within_seconds_and_its_stack_goes_on_to_the_last_bit(
    job, saves, started, monkeypatch, tmp_path
):
    whole = replace(job, folder=str(tmp_path / "whole"))
    assert told(whole) == {"kind": "ended"}
    killed_s = []

    def kill():
        killed_s.append(time.monotonic())
        started[-1].kill()

    at_step(monkeypatch, 3, kill)
    assert told(job) == {"kind": "killed", "reason": "rank 1 of 2 was killed by SIGKILL"}
    assert time.monotonic() - killed_s[0] < ranks.NAMED_WITHIN_S
    assert not [*tmp_path.glob("two/stacks/.*.lease")]
    assert [*tmp_path.glob("two/stacks/*.safetensors")]
    assert told(job) == {"kind": "ended"}
    pd.testing.assert_frame_equal(curves(job), curves(whole), check_exact=True)
    for run in job.runs:
        row = bench_run.ended(Path(job.folder), run.run_id)
        assert (row["ranks"], row["status"]) == (2, "finished")


@pytest.mark.integration
def test_another_number_of_ranks_goes_on_and_says_so(job, saves, started, monkeypatch, tmp_path):
    """Left at a step by two, gone on with by one; and a stack of one process is the same."""
    alone = replace(job, ranks=1, folder=str(tmp_path / "alone"))
    assert told(alone) == {"kind": "ended"}
    path = write_order(job)
    monkeypatch.setattr("mugrow.sweeps.worker.LOOK_EVERY_S", 0)
    at_step(monkeypatch, 3, path.unlink)
    assert json.loads(obey(str(path))) == {"kind": "left"}
    said = told(replace(job, ranks=1))
    assert said == {
        "kind": "ended",
        "told": "ranks: 2 had trained it to where 1 went on, the same to rounding",
    }
    ours, theirs = curves(job), curves(alone)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-5)
    assert not ours.equals(theirs)


@pytest.mark.integration
def test_ranks_end_with_a_worker_that_was_killed(job, saves):
    """Killed in the midst of training, the worker can say nothing."""
    path = write_order(replace(job, runs=tuple(replace(r, steps=10**6) for r in job.runs)))
    code = f"from mugrow.sweeps.worker import obey; obey({str(path)!r})"
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        rows = Path(job.folder) / "stacks" / f"{job.key}.jsonl"
        _until(lambda: rows.exists() and rows.stat().st_size)
        children = _children(worker.pid)
        assert len(children) == 1
    finally:
        worker.kill()
        worker.wait()
    _until(lambda: not any(map(_lives, children)))


def _until(holds, within_s=60):
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture
def follows(monkeypatch):
    """What the other ranks run in place of training."""

    def run(program):
        real = ranks._started
        monkeypatch.setattr(ranks, "_started", lambda handed, _: real(handed, program))

    return run


def test_a_rank_that_does_not_begin_is_named(job, started, follows):
    follows("raise SystemExit(3)")
    assert told(job) == {"kind": "killed", "reason": "rank 1 of 2 has ended with exit code 3"}


def test_a_rank_that_ends_by_itself_says_why(job, started, follows):
    said = json.dumps({"kind": "memory", "reason": "no memory is left"})
    follows(f"print({said!r}); raise SystemExit(1)")
    assert told(job)["reason"] == "rank 1 of 2 has ended: no memory is left"


# --- torchrun ------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    def set_to(**given):
        for name, value in (TORCHRUN | given).items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return set_to


def test_what_torchrun_says_is_read(environment):
    environment(WORLD_SIZE=None)
    assert world() is None
    environment(WORLD_SIZE="1")
    assert world() is None
    environment(RANK="3", WORLD_SIZE="4", LOCAL_RANK="1", MASTER_PORT="29500")
    assert world() == World(3, 4, 1, 4, "127.0.0.1", 29500)
    environment(RANK="3", WORLD_SIZE="4", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")
    assert world() == World(3, 4, 1, 2, "127.0.0.1", 1)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number of at least 1, not 'two'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be a whole number of at least 1, not '0'"),
        ({"RANK": None}, "WORLD_SIZE is set, as torchrun does, but not RANK"),
        ({"RANK": "-1"}, "RANK must be a whole number of at least 0, not '-1'"),
        ({"RANK": "2"}, "RANK must be at most 1, not 2: WORLD_SIZE is 2"),
        ({"LOCAL_RANK": ""}, "but not LOCAL_RANK"),
        ({"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE must be a whole number"),
        ({"MASTER_ADDR": None}, "but not MASTER_ADDR"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT must be a whole number of at least 1, not 'http'"),
    ],
)
def test_what_torchrun_never_says_is_one_line(environment, mugrow, given, line):
    environment(**given)
    ended = mugrow("list", "engines")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert line in ended.err


def test_where_nobody_can_be_met(environment, monkeypatch):
    monkeypatch.setattr(ranks, "LEAVES_WITHIN_S", 0.2)
    environment(RANK="1", MASTER_PORT="9")
    with pytest.raises(UserError, match="nobody can be met there"), under_torchrun():
        pass


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"ranks": 3}, "ranks 3, where torchrun has started 2"),
        ({"workers": 2}, "workers 2, where torchrun has started the processes"),
        ({"devices": "cuda:0..1"}, "devices cuda:0..1, where torchrun"),
        ({"on": "slurm"}, "engine 'slurm', where torchrun starts"),
    ],
)
def test_what_cannot_be_said_beside_torchrun(environment, given, line):
    environment()
    asked = {"workers": None, "threads": 1, "device": "cpu", "devices": None, "on": "local"}
    with pytest.raises(UserError, match=line):
        where_of(**(asked | given))
    where = where_of(**asked)
    assert (where.ranks, where.torchrun, where.workers) == (2, True, 1)


@pytest.mark.integration
def test_torchrun_trains_a_study(tiny, tmp_path):
    out = tmp_path / "torchrun"
    words = [*fewer(tiny), "--out", str(out)]
    environment = {name: text for name, text in os.environ.items() if name not in TORCHRUN}
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*program, "-m", "mugrow", *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1
    rows = pd.read_parquet(out / "runs.parquet")
    assert set(rows["ranks"]) == {2}
    assert set(rows["status"]) == {"finished"}


# --- what is asked for ---------------------------------------------------------------------------


def test_more_ranks_than_sequences_are_refused_before_anything_starts(mugrow, tiny, tmp_path):
    """A batch of two."""
    ended = mugrow(*tiny, "--out", tmp_path / "study", "--ranks", "3")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "3 ranks share a batch of 2 sequences: at most 2" in ended.err
    ended = mugrow(*tiny, "--out", tmp_path / "study", "--ranks", "0")
    assert "ranks must be at least 1, not 0" in ended.err
    assert not (tmp_path / "study").exists()


def test_each_rank_has_a_device(monkeypatch):
    missing = []
    monkeypatch.setattr("mugrow.sweeps.machine.check_device", lambda device: None)
    monkeypatch.setattr("mugrow.sweeps.execute.check_device", missing.append)
    monkeypatch.setattr("mugrow.bench.device.total_bytes", lambda device: 80e9)
    assert where_of(None, 1, "cuda", None, "local", ranks=2).workers == 1
    assert missing == ["cuda:0", "cuda:1"]
    where = where_of(None, 1, "cpu", "cuda:0..3", "local", ranks=2)
    assert (where.workers, where.devices) == (2, ("cuda:0,cuda:1", "cuda:2,cuda:3"))
    assert [device_of(where.devices[1], rank) for rank in range(2)] == ["cuda:2", "cuda:3"]
    assert [device_of("cuda", rank) for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert device_of("cpu", 1) == "cpu"
    with pytest.raises(UserError, match=r"3 devices .* stacks of 2 ranks: name 2"):
        shared_out(["cuda:0", "cuda:1", "cuda:2"], 2)
    with pytest.raises(UserError, match=r"2 ranks need one each: --devices cuda:1\.\.2"):
        devices_of_ranks("cuda:1", 2)


def test_the_first_rank_is_named_when_it_was_killed():
    with ProcessPoolExecutor(1) as pool:
        engine = LocalEngine(pool, 1, ranks=2)
        engine.futures["1"] = pool.submit(os._exit, 9)
        with pytest.raises(UserError, match="rank 0 of 2, a worker process, was killed"):
            engine.result("1")


def test_more_ranks_than_gpus_are_one_line():
    with pytest.raises(UserError, match="device 'cuda:0' cannot be used here"):
        where_of(None, 1, "cuda", None, "local", ranks=2)


def test_ranks_are_counted_where_resources_are(planned):
    experiment, _ = planned
    stack = experiment.plan({}).stacks[0]
    one, two = (needs_of(stack, "cuda", 2, 10.0, None, count) for count in (1, 2))
    assert (two.cpus, two.gpus, two.memory_mb) == (4, 2, 2 * one.memory_mb)
    assert worker_count(None, "cpu", os.cpu_count() * 2) == 1
    with pytest.raises(UserError, match="at most 2"):
        check_fits([stack], None, False, 3)


@pytest.mark.integration
def test_ranks_are_measured_beside_one_process(mugrow):
    shape = ("--widths", "16", "--depth", "1", "--context", "8", "--batch", "4")
    short = ("--seconds", "0.02", "--rounds", "3", "--json")
    ended = mugrow("bench", "ranks", *shape, *short)
    assert ended.code in (None, 0), ended.err
    (row,) = json.loads(ended.out)["rows"]
    assert (row["width"], row["ranks"], row["tokens_a_step"]) == (16, 2, 32)
    for name in ("tokens_per_s", "tokens_per_s_alone", "ratio", "ratio_by_cpu"):
        assert row[name] > 0, name
    assert row["parameters"] > 16 * 256


def test_measuring_more_ranks_than_sequences_is_refused(mugrow):
    ended = mugrow("bench", "ranks", "--ranks", "9")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--ranks must be 2 to 8" in ended.err
