"""Clusters on this machine: the same bits as its own processes, whatever is killed.

A test skips where its engine is not installed, and says what is missing. Those that start a process
a stack, or a cluster, are slow.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mugrow.bench.data.batches import resolve
from mugrow.bench.spec import UserError
from mugrow.sweeps.execute import Where, execute, of_study
from mugrow.sweeps.override import override
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.verify import verify

ROOT = Path(__file__).parents[2]
SLURM = Path(__file__).with_name("slurm.sh")
SMALL = ("parametrizations=mup", "proxy_widths=16")  # 12 runs in 3 stacks
LONG = ("proxy_steps=400", "source_steps=400", "target_steps=400", "log_every=100")
LOCAL = ("--node-ip-address=127.0.0.2", "--disable-usage-stats")
# Ray takes 127.0.0.1 for "the address that others reach me at".
# The program without its last step, a report, in a process of its own.
PROGRAM = """
from mugrow.analysis.report import build
from mugrow.sweeps.cli import main
build.build_with = lambda folder, other: folder
main()
"""


@dataclass(frozen=True)
class Cluster:
    """An engine that is up: what ``--on`` calls it, how a whole node of it is killed, with all that
    it runs, and how one comes instead."""

    word: str
    kill_node: object
    new_node: object


def needs_package(name):
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[dev]'")


def waits(true, within_s=300):
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


# --- the clusters -------------------------------------------------------------------------------


@contextmanager
def slurm(folder):
    needs_package("submitit")
    with_sbin = os.environ["PATH"] + ":/usr/sbin"
    for program in ("slurmctld", "slurmd", "munged", "sbatch"):
        if shutil.which(program, path=with_sbin) is None:
            pytest.skip(
                f"there is no {program}: apt-get install slurmctld slurmd slurm-client munge"
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PYTHONPATH", str(ROOT))
        subprocess.run([SLURM, "start", folder], check=True, timeout=120)

        def kill_node():
            node = int((folder / "slurmd.pid").read_text())
            found = [one for one in descendants(1) if "slurmstepd" in command_of(one)]
            for one in [node, *(p for step in found for p in [step, *descendants(step)])]:
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)

        def new_node():
            subprocess.run([SLURM, "start-node", folder], check=True, timeout=60)

        try:
            yield Cluster("slurm:partition=main", kill_node, new_node)
        finally:
            subprocess.run(["scancel", "--me"], check=False, timeout=60)
            subprocess.run([SLURM, "stop", folder], check=True, timeout=60)


@contextmanager
def ray(folder):
    """Two nodes. The first, which this program needs, has no CPU for tasks and is never killed."""
    needs_package("ray")
    port, program, nodes = free_port(), Path(sys.executable).with_name("ray"), []

    def start(*words):
        nodes.append(uuid.uuid4().hex)
        subprocess.run(
            [program, "start", *words, *LOCAL],
            check=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MUGROW_TEST_NODE": nodes[-1]},
            stdout=subprocess.DEVNULL,
        )

    def new_node():
        start(f"--address=127.0.0.2:{port}", "--num-cpus=2")

    def kill_node():
        for process in with_variable("MUGROW_TEST_NODE", nodes.pop()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    try:
        start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        new_node()
        yield Cluster(f"ray:address=127.0.0.2:{port}", kill_node, new_node)
    finally:
        while nodes:
            kill_node()


def with_variable(name, value):
    """The processes in whose environment it is."""
    wanted, found = f"{name}={value}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


@contextmanager
def dask(folder):
    needs_package("distributed")
    port = free_port()
    groups = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(*words):
        process = subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=folder,
                                   stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        groups.append(process)

    def new_node():
        start("distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads=1",
              "--nworkers=2", "--no-dashboard")  # fmt: skip

    def kill_node():
        kill_group(groups.pop())

    start("distributed.cli.dask_scheduler", f"--port={port}", "--host=127.0.0.1", "--no-dashboard")
    waits(lambda: answers(port))
    new_node()
    try:
        yield Cluster(f"dask:address=tcp://127.0.0.1:{port}", kill_node, new_node)
    finally:
        for process in groups:
            kill_group(process)


def kill_group(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port):
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def command_of(process):
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    return ""


def descendants(process):
    """All processes below this one."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += [int(one) for one in (task / "children").read_text().split()]
    return [*found, *(two for one in found for two in descendants(one))]


CLUSTERS = {"slurm": slurm, "ray": ray, "dask": dask}


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request, tmp_path_factory):
    with CLUSTERS[request.param](tmp_path_factory.mktemp(request.param)) as up:
        yield up


# --- studies ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tiny, corpus):
    """An experiment with more settings, and where the corpus lies."""

    def made(*settings):
        keys = {one.partition("=")[0] for one in (*SMALL, *settings)}
        rest = [one for one in tiny[tiny.index("--set") + 1 :] if one.partition("=")[0] not in keys]
        made = override(recipe("quick"), [*rest, *SMALL, *settings])
        data = resolve(str(corpus), val_tokens=made.val_tokens)
        where = Where(2, 1, corpus_paths={data.corpus_sha256: str(corpus)})
        return of_study(override(made, [f"corpus={data.corpus}"]), data), where

    return made


@pytest.fixture(scope="module")
def here(study, tmp_path_factory):
    """The studies as the threads of this process train them, by their settings."""

    @contextmanager
    def threads(workers):
        with ThreadPoolExecutor(workers) as executor:
            yield executor

    folders = {}

    def trained(*settings):
        if settings not in folders:
            folders[settings] = tmp_path_factory.mktemp("here") / "study"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("mugrow.sweeps.engines.local.processes", threads)
                execute(study(*settings)[0], folders[settings], study(*settings)[1])
        return folders[settings]

    return trained


def words_of(tiny, folder, on, *settings):
    keys = {one.partition("=")[0] for one in (*SMALL, *settings)}
    words = [one for one in tiny if one.partition("=")[0] not in keys]
    return [*words[:2], "--on", on, "--out", str(folder), *words[2:], *SMALL, *settings]


def holders(folder):
    """The processes that hold leases on stacks."""
    found = []
    for path in (folder / "stacks").glob(".*.lease"):
        with suppress(OSError, ValueError):
            found.append(json.loads(path.read_text())["process"]["pid"])
    return found


def test_in_threads_of_a_dask_cluster(study, here, tmp_path, assert_same_study):
    """The one cluster that needs no process: its scheduler and worker are threads here."""
    distributed = needs_package("distributed")
    experiment, where = study()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as up:
        execute(
            experiment,
            tmp_path / "study",
            replace(where, on=f"dask:address={up.scheduler_address}"),
        )
    assert_same_study(here(), tmp_path / "study")
    assert not [*(tmp_path / "study" / "stacks").iterdir()]


@pytest.mark.slow
def test_a_cluster_trains_the_same_bits(cluster, study, here, tmp_path, assert_same_study):
    experiment, where = study()
    execute(experiment, tmp_path / "study", replace(where, on=cluster.word))
    assert_same_study(here(), tmp_path / "study")
    assert not [*(tmp_path / "study" / "stacks").iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "node"])
def test_what_is_killed_is_submitted_again(
    cluster, study, here, tmp_path, assert_same_study, capsys, victim
):
    experiment, where = study(*LONG)
    folder, killed = tmp_path / "study", []

    def kill():
        waits(lambda: holders(folder))
        time.sleep(0.5)
        if victim == "worker":
            killed.append(os.kill(holders(folder)[0], signal.SIGKILL))
        else:
            killed.append(cluster.kill_node())
            cluster.new_node()

    killer = threading.Thread(target=kill)
    killer.start()
    execute(experiment, folder, replace(where, on=cluster.word))
    killer.join()
    assert killed
    assert_same_study(here(*LONG), folder)
    assert not verify(folder).damage
    assert not [*(folder / "stacks").iterdir()]
    said = capsys.readouterr().err
    by_itself = victim == "node" or cluster.word.startswith("dask")  # it may be tried again there
    assert by_itself or "submitted again" in said, said


@pytest.mark.slow
def test_the_scheduling_program_is_killed(cluster, study, here, tiny, tmp_path, assert_same_study):
    experiment, where = study(*LONG)
    folder = tmp_path / "study"
    words = words_of(tiny, folder, cluster.word, *LONG)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.DEVNULL)
    waits(lambda: holders(folder))
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/curve.parquet")}
    execute(experiment, folder, replace(where, on=cluster.word))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert_same_study(here(*LONG), folder)
    assert not verify(folder).damage


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_partition_that_there_is_not(study, tmp_path):
    experiment, where = study()
    with slurm(tmp_path / "slurm"), pytest.raises(UserError) as error:
        execute(experiment, tmp_path / "study", replace(where, on="slurm:partition=mian"))
    assert str(error.value) == "unknown partition 'mian'; did you mean 'main'?"
    assert not [*tmp_path.glob("study/stacks/*"), *tmp_path.glob("study/slurm")]
