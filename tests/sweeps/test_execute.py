"""Execution end to end: where runs execute, interruption and damage must not show in the tables."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import mugrow.bench.run
from mugrow.bench.data.batches import resolve
from mugrow.bench.spec import UserError
from mugrow.sweeps.engines.local import processes, stops_deferred
from mugrow.sweeps.execute import Where, execute, of_study
from mugrow.sweeps.override import override
from mugrow.sweeps.recipes import recipe

RESUMED = "the same command goes on from here"
# The program without its last step, a report, which is tested where no study is killed.
WITHOUT_REPORT = """
from mugrow.analysis.report import build
from mugrow.sweeps.cli import main
build.build_with = lambda folder, other: folder
"""
# The same for every line of words it reads, in a process forked when all is imported, as its
# workers are: imports would take most of the time. It tells that process, and how it ended.
FORKS = (
    WITHOUT_REPORT
    + """
import fcntl, json, multiprocessing, os, sys
import optuna
import mugrow.bench.run, mugrow.sweeps.run
forked = multiprocessing.get_context("fork")
multiprocessing.get_context = lambda method: forked
for line in sys.stdin:
    sys.argv, said = json.loads(line)
    if not (child := os.fork()):
        file = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        fcntl.flock(file, fcntl.LOCK_SH)  # held by its workers too, which inherit it
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.exit(main())
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)


@pytest.fixture
def run(tiny, amended, corpus, in_threads):
    """Run the tiny study into a folder, in this process: ``run(folder, "log2_lr=-8,20")``."""

    def call(folder, *settings, workers=1, at_last=None):
        study = override(recipe("quick"), amended(*settings)[tiny.index("--set") + 1 :])
        data = resolve(str(corpus), val_tokens=study.val_tokens)
        study = override(study, [f"corpus={data.corpus}"])
        where = Where(workers, 1, corpus_paths={data.corpus_sha256: str(corpus)})
        return execute(of_study(study, data), folder, where, at_last=at_last)

    return call


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished study, to be damaged."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


def runs_of(folder, **facts):
    """The rows of ``runs.parquet`` with these facts."""
    runs = pd.read_parquet(folder / "runs.parquet")
    for column, value in facts.items():
        runs = runs[runs[column] == value]
    return runs


def test_a_finished_study_holds_every_run_once(finished):
    runs = runs_of(finished.folder)
    assert runs.groupby("role").size().to_dict() == {"proxy": 24, "source": 2, "target": 4}
    assert set(runs["status"]) == {"finished"}
    assert not any((finished.folder / "stacks").iterdir())
    assert not list(finished.folder.glob("**/*.tmp"))


def test_it_is_told_once_that_all_that_is_left_is_in_training(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    ended = []

    def count():
        ended.append(len(runs_of(tmp_path)))

    plan = run(tmp_path, at_last=count)
    (before,) = ended
    left = len(plan.runs) - before
    assert left in {len(stack.runs) for stack in plan.stacks}, "the one worker has the last stack"
    run(tmp_path, at_last=count)
    assert len(ended) == 1, "nothing was left to train"


def test_it_is_told_so_only_where_a_core_is_free(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    run(tmp_path, at_last=lambda: pytest.fail("the one core trains"))


def test_threads_and_processes_give_the_same_study(run, finished, tmp_path, assert_same_study):
    run(tmp_path / "study", workers=2)
    assert_same_study(finished.folder, tmp_path / "study")


# --- killed and started again ------------------------------------------------------------------


def stopped(words, folder, draw):
    """Start the program, and press Ctrl-C some moments after the study has been begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_REPORT + "main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Tests that run in the background have Ctrl-C ignored, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not reached(folder, 0):
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.6))  # while workers are being started, or after
    assert process.poll() is None, "it ended before it could be stopped"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to workers too
    # Workers hold the pipes too: they close when the last of them has ended. That takes a second on
    # an idle machine, and the rest of its start-up where a worker has just started.
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err.decode()
    assert RESUMED in err.decode()


@dataclass(frozen=True)
class Forked:
    """A process of ``FORKS``: its id, and the file of what it says."""

    parent: subprocess.Popen
    pid: int
    said: Path

    def ended(self):
        """Its exit code and what it said, when it and its workers are gone."""
        code = int(self.parent.stdout.readline())
        with self.said.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return code, file.read()


@contextmanager
def forks(said):
    """Start the program again and again: ``start("run", "quick")``."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKS], **pipes) as parent:

        def start(*words):
            print(json.dumps([["mugrow", *words], str(said)]), file=parent.stdin, flush=True)
            return Forked(parent, int(parent.stdout.readline()), said)

        yield start


def killed(words, folder, ended_runs, draw):
    """Start the program again and again; each time, some moments after that many runs have ended,
    kill it. Then let it end."""
    with forks(folder.with_name("said")) as start:
        for number in ended_runs:
            process = start(*words)
            while not reached(folder, number):
                os.kill(process.pid, 0)  # fails where it ended before it could be killed
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
            code, said = process.ended()
            assert (code, "Traceback" in said) == (-signal.SIGKILL, False)
        code, said = start(*words).ended()
        assert code == 0, said
    assert not [*folder.glob("**/*.tmp"), *folder.glob("stacks/*"), *folder.glob("**/*.damaged-*")]


def reached(folder, ended_runs):
    """Whether that many runs have ended; none have when the study has just started."""
    claimed = (folder / "study.json").exists()
    return claimed and len([*folder.glob("runs/*/curve.parquet")]) >= ended_runs


TPE = (
    *("sampler=tpe", "trials=12", "generation=4", "rungs=0.5:0.5", "log2_lr=-9,-5"),
    *("parametrizations=mup", "proxy_widths=16", "init_std=0.02,0.04"),
)


@pytest.mark.integration
def test_a_killed_study_is_resumed_bit_for_bit(run, amended, tmp_path, assert_same_study):
    """Its search is pruned in generations, the third of them decided by the first two: it asks for
    the same trials again. It is one study that is stopped at its beginning, as a user does it, and
    killed early and late. A grid is among those killed ten times, below."""
    run(tmp_path / "whole", *TPE)
    trials = pd.read_parquet(tmp_path / "whole" / "trials.parquet")
    assert set(trials["state"]) == {"complete", "pruned"}
    assert len(trials) == 12
    draw = random.Random(1)
    folder = tmp_path / "killed"
    words = [*amended(*TPE), "--workers", "2", "--out", str(folder)]
    stopped(words, folder, draw)
    killed(words, folder, (draw.randint(1, 8), draw.randint(9, 17)), draw)
    assert_same_study(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_study_killed_ten_times(run, amended, tmp_path, assert_same_study, seed):
    draw = random.Random(seed)
    more = ["proxy_steps=60", "source_steps=100", "target_steps=100", *(TPE if seed else ())]
    run(tmp_path / "whole", *more)
    total = len(runs_of(tmp_path / "whole"))
    moments = sorted(draw.sample(range(total - 4), 10))
    words = [*amended(*more), "--workers", "2", "--out", str(tmp_path / "killed")]
    killed(words, tmp_path / "killed", moments, draw)
    assert_same_study(tmp_path / "whole", tmp_path / "killed")


# --- damage in the store -----------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("proxy", "curve.parquet"),
        ("target", "curve.parquet"),
        ("source", "checkpoint.safetensors"),
        ("target", "state.safetensors"),
    ],
)
def test_a_truncated_file_is_set_aside_and_done_again(
    run, copy, finished, capsys, assert_same_study, role, name
):
    path = copy / "runs" / runs_of(copy, role=role)["run_id"].iloc[0] / name
    truncate(path)
    half = path.read_bytes()
    run(copy)
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said
    assert f"set aside as {name}.damaged-0" in said
    assert path.with_name(f"{name}.damaged-0").read_bytes() == half
    assert_same_study(finished.folder, copy)


def test_a_missing_checkpoint_is_trained_again(run, copy, finished, capsys, assert_same_study):
    path = copy / "runs" / runs_of(copy, role="source")["run_id"].iloc[0] / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.unlink()
    run(copy)
    assert "checkpoint.safetensors is missing" in capsys.readouterr().err
    assert path.read_bytes() == whole
    assert_same_study(finished.folder, copy)


def test_a_damaged_state_of_a_stack_is_named_and_begun_again(
    run, copy, finished, capsys, assert_same_study
):
    state = copy / "stacks" / "0123456789abcdef.safetensors"
    state.write_bytes(b"half a header")
    run(copy)
    assert f"{state} is damaged" in capsys.readouterr().err
    assert state.with_name(f"{state.name}.damaged-0").exists()
    assert_same_study(finished.folder, copy)


def test_a_truncated_configuration_is_named_and_written_again(run, copy, finished, capsys):
    truncate(copy / "study.json")
    run(copy)
    assert "study.json is damaged" in capsys.readouterr().err
    whole = json.loads((finished.folder / "study.json").read_text())
    assert json.loads((copy / "study.json").read_text()) == whole


def test_a_study_from_before_a_setting_was_added_goes_on(run, copy, finished, assert_same_study):
    path = copy / "study.json"
    older = json.loads(path.read_text())
    assert older.pop("optimizer") == "adamw"
    path.write_text(json.dumps(older))
    run(copy)
    assert_same_study(finished.folder, copy)


def test_truncated_tables_are_collected_again(run, copy, finished, assert_same_study):
    for name in ("runs", "curves", "trials"):
        truncate(copy / f"{name}.parquet")
    run(copy)
    assert_same_study(finished.folder, copy)


# --- runs that go wrong ------------------------------------------------------------------------


@pytest.fixture
def any_rate(monkeypatch):
    """A study may search far from where its parametrization trains."""
    monkeypatch.setattr("mugrow.sweeps.ranges.FAR", 100)


def test_a_diverged_member_changes_nothing_for_the_others(run, finished, tmp_path, any_rate):
    """A learning rate of 2^20 among the others, in the same stacks."""
    run(tmp_path / "study", "log2_lr=-9,-7,-5,20", "generation=4")
    wild = runs_of(tmp_path / "study", lr=2.0**20)
    assert set(wild["status"]) == {"diverged"}
    assert wild["final_val_loss"].isna().all()
    tame = runs_of(tmp_path / "study", role="proxy").query("lr < 1")
    before = runs_of(finished.folder, role="proxy")
    merged = before.merge(tame, on="run_id", suffixes=("", "_now"), validate="1:1")
    assert len(merged) == len(before)
    # Not the same program, so not the same bits: a stack of eight rounds otherwise than one of six.
    assert merged["final_val_loss_now"].to_numpy() == pytest.approx(
        merged["final_val_loss"].to_numpy(), abs=1e-4
    )
    assert set(runs_of(tmp_path / "study", role="target")["status"]) == {"finished"}


def test_a_study_whose_every_trial_diverges_ends_without_targets(run, tmp_path, any_rate):
    outcome = run(tmp_path / "study", "log2_lr=19,20", "parametrizations=mup")
    assert set(runs_of(tmp_path / "study")["status"]) == {"diverged"}
    assert "no trial of sweep mup-w16-d1 was completed" in outcome.skipped[0].reason


def test_a_failed_run_says_why_and_is_tried_again(
    run, finished, tmp_path, monkeypatch, capsys, assert_same_study
):
    sound = mugrow.bench.run.beginning

    def broken(spec, *rest):
        if spec.start.method == "szp":
            raise RuntimeError("no room\nto grow")
        return sound(spec, *rest)

    monkeypatch.setattr("mugrow.bench.run.beginning", broken)
    run(tmp_path / "study")
    failed = runs_of(tmp_path / "study", status="failed")
    assert set(failed["method"]) == {"szp"}
    assert set(failed["reason"]) == {"RuntimeError: no room"}
    assert "RuntimeError: no room" in capsys.readouterr().err
    monkeypatch.setattr("mugrow.bench.run.beginning", sound)
    run(tmp_path / "study")
    assert not len(runs_of(tmp_path / "study", status="failed"))
    assert set(runs_of(tmp_path / "study")["run_id"]) == set(runs_of(finished.folder)["run_id"])


# --- signals while a worker is being started ----------------------------------------------------

SENT = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def heard():
    """Signals as they arrive, in place of the test program's own handlers."""
    found: list[int] = []
    before = {number: signal.signal(number, lambda n, _: found.append(n)) for number in SENT}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_a_worker_is_being_started_is_heard_afterwards(heard):
    with stops_deferred():
        for number in SENT:
            os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert heard == []
    assert sorted(heard) == sorted(SENT)
    os.kill(os.getpid(), signal.SIGHUP)  # and later ones at once
    assert heard[-1] == signal.SIGHUP
    assert not {*SENT} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_stops_what_comes_after_and_is_not_lost(heard):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = []

    def start():
        with stops_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            started.append(True)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert started == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_worker_is_deaf_to_the_terminal_and_ends_by_sigterm(heard, monkeypatch):
    """From its first moment, as the pool starts it; else a Ctrl-C is a traceback of each."""
    monkeypatch.setattr("mugrow.sweeps.engines.local._follow", os.getpgid)  # which imports nothing
    with processes(1) as executor:
        with stops_deferred():
            future = executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert {*SENT} & future.result(60) == {signal.SIGINT, signal.SIGHUP}


def test_in_a_thread_signals_are_not_ours(heard):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_in_deferral).result() == set()
    assert heard == []


def _in_deferral():
    with stops_deferred():
        return signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {*SENT}


# --- folders that cannot be used ---------------------------------------------------------------


def test_a_folder_in_use_by_an_older_version_is_refused(run, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by an older version of mugrow"):
            run(folder)


def test_a_folder_of_another_study_is_left_as_it_is(run, copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.name != ".lock"}
    with pytest.raises(UserError, match="holds another study: its seeds is"):
        run(copy, "seeds=3,4")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_study_with_a_mistake_leaves_no_folder(run, tmp_path):
    with pytest.raises(UserError, match="did you mean 'szp'"):
        run(tmp_path / "study", "methods=scratch,szpp")
    assert not (tmp_path / "study").exists()
