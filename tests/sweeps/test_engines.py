"""Engines without a cluster: what ``--on`` says, how lost workers are counted, and mistakes."""

import json
import math
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from mugrow.bench import run as bench_run
from mugrow.bench.data.batches import resolve
from mugrow.bench.files import temporary_of
from mugrow.bench.method_file import MethodFile
from mugrow.bench.model import count
from mugrow.bench.spec import UserError
from mugrow.bench.split import Split, peak_bytes
from mugrow.bench.stack import PruningStep
from mugrow.sweeps import worker
from mugrow.sweeps.engines import EngineKind, Needs, Order, WorkerLost, engine
from mugrow.sweeps.engines.local import LocalEngine
from mugrow.sweeps.engines.slurm import check_partition, limit_minutes, parameters
from mugrow.sweeps.execute import Where, _job, execute, of_study, saved_step, where_of
from mugrow.sweeps.lease import Leases
from mugrow.sweeps.machine import check_device, device_list
from mugrow.sweeps.needs import needs_of, stack_bytes
from mugrow.sweeps.override import override
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.worker import obey, orders_half_written, read_order, write_order

# --- a factory of somebody's: the engine that this file's studies run on -------------------------


class Here:
    """Trains in this process, when it is asked whether a process is done. ``fates`` says of each
    submission what else becomes of it."""

    slots = 2

    def __init__(self, asked):
        self.asked, self.orders, self.count, self.calls = asked, {}, 0, []

    def submit(self, orders):
        ids = [str(self.count + place) for place in range(len(orders))]
        self.count += len(orders)
        self.orders |= dict(zip(ids, orders, strict=True))
        return ids

    def done(self, process):
        return True

    def result(self, process):
        order = self.orders[process]
        fate = FATES.pop(0) if FATES else None
        SEEN.append(order)
        return fate(order) if fate else obey(order.path)

    def cancel(self, process):
        SEEN.append(process)


FATES, SEEN = [], []


@contextmanager
def start(asked):
    yield Here(asked)


def make():
    return EngineKind("here", start, {"queue": "which"})


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setitem(sys.modules, "somebodys_engines", sys.modules[__name__])
    FATES.clear()
    SEEN.clear()
    return "somebodys_engines:make"


def lost(order):
    raise WorkerLost("node n17 failed")


def killed_in_training(steps):
    """The worker saves at every step, and is killed after so many."""

    def fate(order):
        real, done = bench_run.advance, []

        def dying(stack, state, data, ranks):
            for current in real(stack, state, data, ranks):
                if len(done) == steps:
                    raise SystemExit
                done.append(current.step)
                yield current

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench_run, "SAVE_EVERY_S", -1)
            patch.setattr(bench_run, "LONGEST_SHARE", math.inf)
            patch.setattr(bench_run, "advance", dying)
            with pytest.raises(SystemExit):
                obey(order.path)
        raise WorkerLost("killed")

    return fate


# --- what --on says ------------------------------------------------------------------------------


def test_an_engine_by_name_with_its_options():
    kind, options = engine("slurm:partition=a,time=2:00:00,gpus=1")
    assert (kind.name, kind.elsewhere) == ("slurm", True)
    assert options == {"partition": "a", "time": "2:00:00", "gpus": "1"}
    assert engine("local")[1] == {}
    assert not engine("local")[0].elsewhere


def test_an_engine_of_somebody(on):
    kind, options = engine(f"{on}:queue=long")
    assert (kind.name, options) == ("here", {"queue": "long"})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("slrum", "unknown engine 'slrum'; did you mean 'slurm'"),
        ("slurm:partitoin=a", "did you mean 'partition'"),
        ("local:x=1", "engine 'local' has no options, so no 'x'"),
        ("slurm:partition", "go options as OPTION=VALUE, not 'partition'"),
        ("nowhere.at_all:make", "engine 'nowhere.at_all:make' cannot be loaded: ModuleNotFound"),
        ("json:dumps", "cannot be loaded: TypeError"),
        ("json:decoder", "decoder is no EngineKind"),
    ],
)
def test_a_word_that_names_no_engine_is_one_line(word, said):
    with pytest.raises(UserError) as error:
        engine(word)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# --- a study on an engine ------------------------------------------------------------------------


@pytest.fixture
def small(tiny, corpus):
    few = ("parametrizations=mup", "proxy_widths=16", "seeds=0", "methods=scratch")
    keys = {one.partition("=")[0] for one in few}
    rest = [one for one in tiny[tiny.index("--set") + 1 :] if one.partition("=")[0] not in keys]
    study = override(recipe("quick"), [*rest, *few])
    data = resolve(str(corpus), val_tokens=study.val_tokens)
    where = Where(2, 1, corpus_paths={data.corpus_sha256: str(corpus)})
    return of_study(override(study, [f"corpus={data.corpus}"]), data), where


def test_lost_workers_are_replaced_and_their_stacks_go_on(
    small, on, in_threads, tmp_path, assert_same_study, capsys
):
    experiment, where = small
    execute(experiment, tmp_path / "here", where)
    FATES[:] = [killed_in_training(3), lost, lost, killed_in_training(1), None, lost]
    execute(experiment, tmp_path / "there", replace(where, on=on))
    assert_same_study(tmp_path / "here", tmp_path / "there")
    assert not [*(tmp_path / "there" / "stacks").iterdir()]
    said = [line for line in capsys.readouterr().err.splitlines() if "submitted again" in line]
    assert [line.partition(": ")[2] for line in said] == [
        "lost at step 3: killed; submitted again",  # it was saved at: got further
        "lost at step 3: node n17 failed; submitted again",
        "lost at step 3: node n17 failed; submitted again",
        "lost at step 4: killed; submitted again",
        "lost at step 0: node n17 failed; submitted again",
    ]


def test_a_stack_that_is_lost_again_and_again_ends_the_study(small, on, tmp_path):
    experiment, where = small
    FATES[:] = [killed_in_training(2), lost, lost, lost]
    with pytest.raises(UserError) as error:
        execute(experiment, tmp_path, replace(where, on=on))
    assert str(error.value) == (
        "tune mup w16-d1 was lost 3 times without getting further than step 2, at last so: node "
        "n17 failed; the same command goes on from here"
    )
    assert len(SEEN) == 4
    assert not [*tmp_path.glob("stacks/*.order")]


def test_what_is_in_flight_when_a_study_is_stopped_is_called_off(small, on, tmp_path):
    def interrupt(order):
        raise KeyboardInterrupt

    experiment, where = small
    FATES[:] = [interrupt]
    with pytest.raises(KeyboardInterrupt):
        execute(experiment, tmp_path, replace(where, on=on))
    assert not [*tmp_path.glob("stacks/*.order")]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"kind": "refused", "reason": "no such device"}, UserError, "no such device"),
        (
            {"kind": "system", "errno": 28, "reason": "No space left", "path": "/pool/x"},
            OSError,
            "No space left: '/pool/x'",
        ),
        ({"kind": "memory", "reason": "no room"}, MemoryError, "no room"),
        ({"kind": "error", "reason": "oh", "trace": "Traceback\n  at: oh"}, RuntimeError, "at: oh"),
    ],
)
def test_what_stops_a_worker_stops_the_program(small, on, tmp_path, said, kind, words):
    """A mistake at once, what may be its machine's fault when it has been tried again."""
    experiment, where = small
    FATES[:] = [lambda order: json.dumps(said)] * 3
    with pytest.raises(kind, match=words):
        execute(experiment, tmp_path, replace(where, on=on))
    assert len(SEEN) == (1 if kind is UserError else 3)


def test_stacks_take_the_device_that_has_the_least_to_do(small, on, in_threads, tmp_path):
    found = []

    def elsewhere(order):
        job, silent = read_order(Path(order.path))
        found.append((job.device, order.needs.gpus))
        worker.train(replace(job, device="cpu"), silent)
        return json.dumps({"kind": "ended"})

    experiment, where = small
    both = replace(experiment, plan=lambda rows: halved(experiment.plan({})))
    FATES[:] = [elsewhere] * 9
    execute(both, tmp_path, replace(where, on=on, devices=("cuda:0", "cuda:1")))
    assert found == [("cuda:0", 1), ("cuda:1", 1)]


def halved(plan):
    """The first stack, in two halves."""
    stack = plan.stacks[0]
    halves = (replace(stack, runs=stack.runs[:1]), replace(stack, runs=stack.runs[1:]))
    return replace(plan, stacks=halves, provisional=(), trials=(), optima={})


def test_a_worker_that_was_killed_before_the_next_order_ends_the_study_with_a_line():
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(BrokenProcessPool):
            pool.submit(os._exit, 9).result()
        with pytest.raises(UserError, match="a worker process was killed"):
            LocalEngine(pool, 1).submit([Order("a", "a", Needs(1, 0, 1, 1.0))])


# --- orders --------------------------------------------------------------------------------------


@pytest.fixture
def job(small, tmp_path):
    experiment, where = small
    return _job("study", experiment.plan({}).stacks[0], tmp_path, where, "cpu")


def test_an_order_is_read_as_it_was_written(job):
    job = replace(job, rungs=(PruningStep(3, 1),), methods=(MethodFile("a@0", "a.py", "x = 1\n"),))
    path = write_order(job, {"b", "a"})
    assert read_order(path) == (job, frozenset({"a", "b"}))
    assert path != write_order(job)


def test_a_worker_of_another_version_is_one_line(job):
    path = write_order(job)
    said = json.loads(path.read_text())
    for version in ("9.9", None):
        path.write_text(json.dumps(said | {"version": version} if version else {"job": {}}))
        heard = json.loads(obey(str(path)))
        assert heard["kind"] == "refused"  # by this program: the study ends with the line
        assert heard["reason"].endswith(
            f"the program that runs the study is mugrow {version or 'older'}: "
            "install the same on both"
        )
        assert "\n" not in heard["reason"]
    assert said["version"] == metadata.version("mugrow")


def test_engines_are_listed_with_what_they_need(mugrow, monkeypatch):
    monkeypatch.setattr("mugrow.sweeps.listing.find_spec", lambda name: None)
    rows = {row["name"]: row for row in json.loads(mugrow("list", "engines", "--json").out)}
    assert list(rows) == ["local", "slurm", "ray", "dask"]
    assert rows["local"]["needs"] == ""
    assert rows["dask"]["needs"] == "distributed: pip install 'mugrow[dask]'"
    assert rows["slurm"]["options"].split(", ")[:2] == ["partition", "account"]
    monkeypatch.setattr("mugrow.sweeps.listing.find_spec", lambda name: name)
    rows = {row["name"]: row for row in json.loads(mugrow("list", "engines", "--json").out)}
    assert rows["dask"]["needs"] == "distributed"


@pytest.mark.parametrize(
    ("count", "can"), [(0, "'cpu' can"), (1, "cuda:0 can"), (8, "cuda:0..7 can")]
)
def test_a_device_that_there_is_not_names_those_that_there_are(monkeypatch, count, can):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    with pytest.raises(UserError) as error:
        check_device("cuda:9")
    assert str(error.value).endswith(can)


def test_an_order_that_a_killed_program_half_wrote_goes_with_its_stack(small, on, tmp_path):
    experiment, where = small
    (stack, *_) = experiment.plan({}).stacks
    execute(experiment, tmp_path, replace(where, on=on))
    whole = tmp_path / "stacks" / f"{stack.key}.0123456789ab.order"
    ours = temporary_of(whole)
    dead = ours.with_name(ours.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))  # none has that
    for path in (whole, ours, dead):
        path.write_bytes(b"{")
    assert orders_half_written(tmp_path, stack.key) == [dead]
    execute(experiment, tmp_path, replace(where, on=on))
    assert not whole.exists()
    assert not dead.exists()
    assert ours.exists(), "a living program may be writing it"


@pytest.fixture
def at_step_three(monkeypatch):
    """Do something when the third step has been done."""

    def doing(act):
        real = bench_run.advance

        def watched(stack, state, data, ranks):
            for current in real(stack, state, data, ranks):
                if current.step == 3:
                    act()
                yield current

        monkeypatch.setattr(bench_run, "advance", watched)

    return doing


@pytest.mark.parametrize("why", ["called off", "signal"])
def test_a_worker_that_is_to_leave_saves_its_stack(job, at_step_three, monkeypatch, tmp_path, why):
    monkeypatch.setattr(worker, "LOOK_EVERY_S", 0)
    whole = replace(job, folder=str(tmp_path / "whole"))
    obey(str(write_order(whole)))
    path = write_order(job)
    acts = {"called off": path.unlink, "signal": lambda: signal.raise_signal(signal.SIGUSR1)}
    at_step_three(acts[why])
    before = signal.getsignal(signal.SIGUSR1)
    assert json.loads(obey(str(path), signals=[signal.SIGUSR1])) == {"kind": "left"}
    assert signal.getsignal(signal.SIGUSR1) is before
    assert saved_step(tmp_path, job.key) == 3
    assert not [*tmp_path.glob("stacks/.*.lease")]
    assert json.loads(obey(str(path))) == {"kind": "left" if why == "called off" else "ended"}
    at_step_three(lambda: None)
    assert json.loads(obey(str(write_order(job)))) == {"kind": "ended"}
    curves = [
        pd.read_parquet(Path(one.folder) / "runs" / run.run_id / "curve.parquet")
        for one in (job, whole)
        for run in job.runs
    ]
    for one, other in zip(curves[: len(job.runs)], curves[len(job.runs) :], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_a_worker_says_who_else_trains_its_stack(job):
    other = Leases(Path(job.folder) / "stacks").take(job.key, [])
    assert json.loads(obey(str(write_order(job)))) == {"kind": "held", "by": str(other.process)}


# --- what stacks need ----------------------------------------------------------------------------


def test_memory_by_the_formula(small):
    stack = small[0].plan({}).stacks[0]
    spec, members = stack.runs[0].spec, len(stack.runs)
    whole = peak_bytes(spec, members, Split(members, spec.batch_sequences))
    assert stack_bytes(stack) == whole > members * 16 * count(spec.model)[0]
    whole = math.ceil(1024 + stack_bytes(stack) / 2**20)
    assert needs_of(stack, "cpu", 3, 7.0).memory_mb == whole > 1024
    assert needs_of(stack, "cpu", 3, 7.0, 2**20).memory_mb == 1025
    assert needs_of(stack, "cuda:1", 3, 7.0) == Needs(cpus=3, gpus=1, memory_mb=1024, time_s=7.0)


# --- SLURM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30", 2), ("2:00:00", 120), ("0:00:01", 1), ("2-12", 3600), ("1-0:30", 1470)],
)
def test_limits_as_slurm_writes_them(text, minutes):
    assert limit_minutes(text) == minutes


def test_jobs_ask_for_what_is_given_and_else_what_the_plan_says():
    orders = [Order("", "tune", Needs(2, 1, 1500, 3600.0)), Order("", "b", Needs(2, 1, 900, 60.0))]
    asked = parameters({}, orders)
    assert {name: asked[name] for name in ("time", "cpus_per_task", "mem", "gpus_per_node")} == {
        "time": 180,
        "cpus_per_task": 2,
        "mem": "2GB",
        "gpus_per_node": 1,
    }
    given = parameters({"partition": "a", "gpus": "0", "mem": "9", "time": "1-0"}, orders)
    assert (given["partition"], given["mem"], given["time"]) == ("a", "9GB", 1440)
    assert "gpus_per_node" not in given


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time": "soon"}, "time of engine 'slurm' must be minutes, HOURS:MINUTES:SECONDS or"),
        ({"mem": "4G"}, "mem of engine 'slurm' must be a whole number, not '4G'"),
    ],
)
def test_a_wrong_option_is_named(options, said):
    with pytest.raises(UserError, match=said):
        parameters(options, [Order("", "", Needs(1, 0, 1, 1.0))])


def test_a_partition_that_there_is_not_names_the_nearest():
    check_partition("main", "main|(null)\nspare|gpu:4")
    check_partition(None, "main|(null)")
    with pytest.raises(UserError, match="unknown partition 'mian'; did you mean 'main'"):
        check_partition("mian", "main|(null)\nspare|gpu:4")


# --- engines that are not there ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "package"), [("slurm", "submitit"), ("ray", "ray"), ("dask", "distributed")]
)
def test_an_engine_that_is_not_installed_names_what_to_install(
    monkeypatch, small, tmp_path, word, package
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as error:
        execute(small[0], tmp_path, replace(small[1], on=word))
    assert str(error.value) == (
        f"engine {word!r} needs {package}, which is not installed: pip install 'mugrow[{word}]'"
    )
    assert not [*tmp_path.iterdir()]


def test_a_machine_without_slurm(monkeypatch, small, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", sys.modules[__name__])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match="there is no sbatch here; log in to a machine of a cluster"
    ):
        execute(small[0], tmp_path / "study", replace(small[1], on="slurm"))
    for name in ("sbatch", "srun", "sinfo"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sinfo: error: no controller' >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match="engine 'slurm' cannot be reached: sinfo: error: no contr"):
        execute(small[0], tmp_path / "study", replace(small[1], on="slurm"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dask", "engine 'dask' needs the address of a scheduler: dask:address=tcp://HOST:PORT"),
        ("dask:address=nonsense://", "engine 'dask' cannot be reached at nonsense://: "),
        ("ray:address=127.0.0.1:9", "engine 'ray' cannot be reached at 127.0.0.1:9: .*refused"),
    ],
)
def test_an_engine_that_cannot_be_reached_is_one_line(small, tmp_path, monkeypatch, word, said):
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[word.partition(":")[0]])
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(UserError, match=said) as error:
        execute(small[0], tmp_path, replace(small[1], on=word))
    assert "\n" not in str(error.value)


# --- devices of this machine ---------------------------------------------------------------------


def test_lists_of_devices(monkeypatch):
    monkeypatch.setattr("mugrow.sweeps.machine.check_device", lambda device: None)
    monkeypatch.setattr("mugrow.bench.device.total_bytes", lambda device: 80e9)
    assert device_list(None) == ()
    assert device_list("cuda:0..2") == ("cuda:0", "cuda:1", "cuda:2")
    assert device_list("cuda:0,cuda:5..6") == ("cuda:0", "cuda:5", "cuda:6")
    for wrong in ("cuda:3..1", "cuda:0..1000", "cuda:0,cuda:0", "", "cpu,"):
        with pytest.raises(UserError, match="which is as cuda:0"):
            device_list(wrong)
    where = where_of(None, 1, "cpu", "cuda:0..2", "local")
    assert (where.workers, where.devices) == (3, ("cuda:0", "cuda:1", "cuda:2"))


def test_a_list_with_a_device_that_is_not_there_is_refused(mugrow, tmp_path, tiny):
    ended = mugrow(*tiny, "--out", tmp_path / "study", "--devices", "cuda:0..7")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "device 'cuda:0' cannot be used here" in ended.err
    ended = mugrow(*tiny, "--out", tmp_path / "study", "--devices", "cpu", "--on", "slurm")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--devices are of this machine" in ended.err
    assert not (tmp_path / "study").exists()


def test_a_machine_without_the_device_is_one_that_was_lost(job):
    said = json.loads(obey(str(write_order(replace(job, device="cuda:7")))))
    assert said["kind"] == "lost"
    assert "device 'cuda:7' cannot be used here" in said["reason"]
