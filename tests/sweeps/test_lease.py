"""One pool, several programs: who holds a lease, who has lost it, and that every run is trained
once."""

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace

import pandas as pd
import pytest

from mugrow.bench import files as files_module
from mugrow.bench.data.batches import resolve
from mugrow.bench.files import write_bytes
from mugrow.sweeps import lease as lease_module
from mugrow.sweeps import worker
from mugrow.sweeps.execute import Where, _job, execute, of_study
from mugrow.sweeps.lease import Lease, LeaseLost, Leases, Process, this_process
from mugrow.sweeps.override import override
from mugrow.sweeps.plan import PlannedStack
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.verify import verify
from mugrow.sweeps.worker import train

ELSEWHERE = Process("another-host", "boot", 1, 1, "1")


@pytest.fixture
def impatient(monkeypatch):
    """Leases beat twenty times a second, and are silent after one."""
    monkeypatch.setattr(lease_module, "BEAT_S", 0.05)
    monkeypatch.setattr(lease_module, "SILENT_S", 1.0)


@pytest.fixture
def child():
    """Fork a process that does something; it is killed at the end."""
    children = []

    def fork(does):
        if not (child := os.fork()):
            try:
                does()
            finally:
                os._exit(0)
        children.append(child)
        return child

    yield fork
    for one in children:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(one, signal.SIGKILL)
            os.waitpid(one, 0)


def until(true, within_s=60):
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def written(leases, key, runs, process):
    """The file of another process's lease."""
    path = leases._write(key, frozenset(runs)).path
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process": asdict(process)}))
    return path


# --- a lease -------------------------------------------------------------------------------------


def test_a_lease_excludes_its_stack_and_its_runs_until_it_is_given_back(tmp_path):
    leases = Leases(tmp_path)
    lease = leases.take("stack", ["a", "b"])
    assert isinstance(lease, Lease)
    with lease.held():
        for key, runs in (("stack", []), ("stack", ["a"]), ("other", ["b", "c"])):
            assert Leases(tmp_path).take(key, runs) == this_process()
        other = Leases(tmp_path).take("other", ["c"])
        assert isinstance(other, Lease)
        other.give_back()
    assert not [*tmp_path.iterdir()]
    assert isinstance(leases.take("stack", ["a"]), Lease)


def test_what_is_written_meanwhile_is_written_by_the_holder_alone(tmp_path):
    lease = Leases(tmp_path).take("stack", [])
    with lease.held():
        write_bytes(tmp_path / "file", b"1")
        lease.path.unlink()
        with pytest.raises(LeaseLost):
            write_bytes(tmp_path / "file", b"2")
    write_bytes(tmp_path / "other", b"3")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {
        "file": b"1",
        "other": b"3",
    }


def test_a_process_that_ended_here_holds_nothing(tmp_path, child):
    ended = child(lambda: Leases(tmp_path).take("stack", []))  # and gives nothing back
    until(lambda: os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT))  # not reaped: a zombie
    assert [*tmp_path.glob(".*.lease")]
    assert isinstance(Leases(tmp_path).take("stack", []), Lease)
    assert len([*tmp_path.glob(".*.lease")]) == 1


def test_a_number_that_another_process_has_by_now_is_not_the_holder(tmp_path):
    leases = Leases(tmp_path)
    written(leases, "stack", [], replace(this_process(), born="1"))
    assert leases.holder("stack", []) is None


def test_one_elsewhere_is_gone_when_it_is_silent_by_the_clock_of_who_looks(tmp_path, impatient):
    leases = Leases(tmp_path)
    path = written(leases, "stack", ["a"], ELSEWHERE)
    os.utime(path, (0, 0))  # its clock may be wrong by years
    for _ in range(8):
        time.sleep(0.2)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        assert leases.holder("stack", []) == ELSEWHERE
    assert leases.over_now() == frozenset()
    time.sleep(1.1)
    assert leases.holder("stack", []) is None
    assert leases.over_now() == {path.name}
    assert Leases(tmp_path).take("other", ["a"]) == ELSEWHERE  # who has not looked for so long
    assert isinstance(Leases(tmp_path, leases.over_now()).take("other", ["a"]), Lease)
    assert not path.exists()


def test_what_can_be_seen_from_here_alone_is_handed_on(tmp_path, monkeypatch):
    """To a worker on another host, which would have to wait for the silence of one that is gone."""
    leases = Leases(tmp_path)
    gone = written(leases, "stack", [], replace(this_process(), born="1"))
    assert leases.holder("stack", []) is None
    over = leases.over_now()
    assert over == {gone.name}
    monkeypatch.setattr(lease_module, "_machine", lambda: ("another-host", "boot", 1))
    assert isinstance(Leases(tmp_path).take("stack", []), Process)
    assert isinstance(Leases(tmp_path, over).take("stack", []), Lease)


def test_a_holder_is_heard_as_long_as_it_lives(tmp_path, impatient):
    lease = Leases(tmp_path).take("stack", [])
    with lease.held():
        looking = Leases(tmp_path)
        assert looking.holder("stack", []) == this_process()
        time.sleep(1.5)
        assert looking.holder("stack", []) == this_process()


def test_a_lease_that_says_nothing_excludes_by_its_name(tmp_path):
    (tmp_path / ".stack.0123.lease").write_bytes(b"")
    assert isinstance(Leases(tmp_path).take("stack", ["a"]), Process)
    assert isinstance(Leases(tmp_path).take("other", ["a"]), Lease)


def test_of_many_at_once_one_holds(tmp_path):
    """Of stacks that have a run in common, in pairs."""
    now, most = Counter(), Counter()
    counting = threading.Lock()

    def work(number):
        done = 0
        while done < 5:
            lease = Leases(tmp_path).take(f"stack-{number}", ["common", str(number)])
            if not isinstance(lease, Lease):
                continue
            with lease.held():
                with counting:
                    now["holders"] += 1
                    most["holders"] = max(most["holders"], now["holders"])
                time.sleep(0.002)
                with counting:
                    now["holders"] -= 1
            done += 1

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(work, range(4))]
    assert most["holders"] == 1


# --- a holder that stood still -------------------------------------------------------------------


@pytest.fixture
def study(tiny, corpus):
    study = override(recipe("quick"), tiny[tiny.index("--set") + 1 :])
    data = resolve(str(corpus), val_tokens=study.val_tokens)
    study = override(study, [f"corpus={data.corpus}"])
    return of_study(study, data), Where(2, 1, corpus_paths={data.corpus_sha256: str(corpus)})


@pytest.fixture
def job(study, tmp_path):
    """The stack of sources, whose runs keep all files that there are."""
    experiment, where = study
    stack = next(one for one in experiment.plan({}).provisional if one.runs[0].role == "source")
    return _job("study", stack, tmp_path, where, "cpu")


def files(folder):
    """When each file was written, and what it holds."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


@pytest.mark.parametrize("written", ["0123.safetensors", "spec.json", "curve.parquet"])
def test_a_holder_that_stood_still_for_too_long_changes_nothing(
    job, child, impatient, monkeypatch, tmp_path, written
):
    """It is stopped amid a write, of the saved state or of what it commits."""
    job = replace(job, key="0123")
    real = files_module.flush

    def stopping(path):
        real(path)
        if path.name.startswith(f".{written}."):
            os.kill(os.getpid(), signal.SIGSTOP)

    def stopped():
        monkeypatch.setattr(files_module, "flush", stopping)
        monkeypatch.setattr("mugrow.bench.run.SAVE_EVERY_S", -1)
        os._exit(7 if train(job) is None else 8)

    process = child(stopped)
    assert os.WIFSTOPPED(os.waitpid(process, os.WUNTRACED)[1])
    leases = Leases(tmp_path / "stacks")
    assert leases.holder(job.key, []).pid == process
    until(lambda: leases.holder(job.key, []) is None, within_s=5)
    assert train(job, leases.over_now()) is None
    assert not [*tmp_path.glob("**/*.tmp"), *tmp_path.glob("stacks/*")]
    before = files(tmp_path)
    assert len(before) == 5 * len(job.runs)
    os.kill(process, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7
    assert files(tmp_path) == before


def test_what_has_ended_is_not_trained_again_and_its_leftovers_are_removed(job, trained, tmp_path):
    train(job)
    left = [
        tmp_path / "stacks" / f"{job.key}.json",
        tmp_path / "stacks" / f".{job.key}.safetensors.a-host.17.01234567.tmp",
        tmp_path / "runs" / job.runs[0].run_id / ".curve.parquet.a-host.17.01234567.tmp",
    ]
    others = [tmp_path / "stacks" / ".ab.safetensors.a-host.17.01234567.tmp"]
    for path in (*left, *others):
        path.write_bytes(b"half")
    assert train(job) is None
    assert trained == {job.key: 1}
    assert [path for path in (*left, *others) if path.exists()] == others


# --- schedulers on one pool ----------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch):
    """How often each stack is trained."""
    found = Counter()
    real = worker.run_stack

    def counted(job, *more):
        found[job.key] += 1
        real(job, *more)

    monkeypatch.setattr(worker, "run_stack", counted)
    return found


@pytest.mark.integration
def test_programs_that_share_a_pool_train_every_run_once(
    study, in_threads, trained, tmp_path, assert_same_study
):
    experiment, where = study
    execute(experiment, tmp_path / "1", where)
    for programs in (2, 4):
        trained.clear()
        folder = tmp_path / str(programs)
        with ThreadPoolExecutor(programs) as pool:
            ends = [pool.submit(execute, experiment, folder, where) for _ in range(programs)]
            plans = [end.result() for end in ends]
        assert trained == dict.fromkeys((stack.key for stack in plans[0].stacks), 1)
        assert plans == plans[:1] * programs
        assert_same_study(tmp_path / "1", folder)
        assert not [*(folder / "stacks").iterdir(), *folder.glob(".*.lease")]


def test_a_run_in_stacks_of_two_studies_is_trained_by_one_at_a_time(
    study, in_threads, monkeypatch, tmp_path
):
    """The stacks of the second have every other run of the first's."""
    training, counting, real = Counter(), threading.Lock(), worker.run_stack

    def counted(job, *more):
        ids = [run.run_id for run in job.runs]
        with counting:
            assert not training.keys() & set(ids)
            training.update(ids)
        real(job, *more)
        with counting:
            for one in ids:
                del training[one]

    monkeypatch.setattr(worker, "run_stack", counted)
    experiment, where = study
    whole = experiment.plan({})
    part = replace(whole, stacks=tuple(
        PlannedStack(stack.runs[::2]) for stack in whole.stacks), provisional=())  # fmt: skip
    first = replace(experiment, plan=lambda rows: replace(whole, provisional=()))
    second = replace(experiment, plan=lambda rows: part)
    folders = (tmp_path / "first", tmp_path / "second")
    with ThreadPoolExecutor(2) as pool:
        for end in [pool.submit(execute, one, folder, where, tmp_path / "pool")
                    for one, folder in zip((first, second), folders, strict=True)]:  # fmt: skip
            end.result()
    for found in folders:
        assert set(pd.read_parquet(found / "runs.parquet")["status"]) == {"finished"}
    assert not verify(tmp_path / "pool").damage
