"""Watching: what is in flight, who trains it, what waits, what was left, without asking anyone."""

import json
import os
from collections import Counter
from dataclasses import asdict, replace

import pytest
from fake_runs import ALONE, run_all

from mugrow.bench.record import RUN_SCHEMA, write_table
from mugrow.bench.run import Job
from mugrow.bench.spec import UserError
from mugrow.bench.stack import PruningStep
from mugrow.sweeps import progress, worker
from mugrow.sweeps.display import Work
from mugrow.sweeps.lease import Leases, this_process
from mugrow.sweeps.progress import PROGRESS, Progress, progress_file, read_progress
from mugrow.sweeps.watch import Watch, watch
from mugrow.sweeps.worker import write_order

STACKS = run_all(ALONE)[0].stacks
PROXIES, TARGETS = STACKS[0], STACKS[-1]
REPORT = {
    "step": 40,
    "steps": 100,
    "members": 9,
    "tokens_per_s": 6.0 * PROXIES.runs[0].spec.batch_tokens,
    "best_val_loss": 2.34567,
}


def order(pool, stack, study="tiny"):
    return write_order(
        Job(
            folder=str(pool),
            study=study,
            key=stack.key,
            runs=tuple(run.spec for run in stack.runs),
            roles=tuple(run.role for run in stack.runs),
            trials=tuple(run.trial for run in stack.runs if run.trial is not None),
            rungs=tuple(PruningStep(*rung) for rung in stack.rungs),
        )
    )


def take(pool, stack):
    return Leases(pool / "stacks").take(stack.key, [run.spec.run_id for run in stack.runs])


def say(folder, *, process=None, **ended):
    said = Progress(60, ended, 95.0, process or this_process())
    (folder / PROGRESS).write_text(json.dumps(asdict(said)))


def gone():
    """A process of this machine that is no more."""
    return replace(this_process(), pid=2**22 + 1)


@pytest.fixture
def folder(tmp_path):
    """A study in which the proxies train and have reported, and the targets wait."""
    (tmp_path / "study.json").write_text('{"name": "tiny"}')
    order(tmp_path, PROXIES)
    order(tmp_path, TARGETS)
    take(tmp_path, PROXIES)
    (tmp_path / "stacks" / f"{PROXIES.key}.json").write_text(json.dumps(REPORT))
    say(tmp_path, finished=20, diverged=1)
    return tmp_path


def test_a_study_as_it_runs(folder):
    found = watch(folder)
    (study,) = found.studies
    assert study.runs == {"finished": 20, "diverged": 1, "running": 9, "waiting": 30}
    assert (study.name, study.left_s, study.program) == ("tiny", 95.0, str(this_process()))
    stacks = {stack.key: stack for stack in found.stacks}
    trains, waits = stacks[PROXIES.key], stacks[TARGETS.key]
    assert (trains.title, trains.state, trains.by) == (
        "tune mup w32-d2",
        "trains",
        str(this_process()),
    )
    assert (trains.runs, trains.step, trains.steps) == (9, 40, 100)
    assert trains.best_val_loss == 2.34567
    assert trains.left_s == 60 * 9 / 6  # steps that are left, members, member-steps a second
    assert (waits.state, waits.by, waits.left_s) == ("waits", None, None)
    assert not found.is_over


def test_a_killed_program_leaves_what_it_had_begun(folder):
    say(folder, process=gone(), finished=20)
    os.remove(next((folder / "stacks").glob(".*.lease")))
    found = watch(folder)
    assert {stack.state for stack in found.stacks} == {"left"}
    assert found.studies[0].program is None
    assert "waiting" not in found.studies[0].runs  # nobody says how many there are
    assert found.is_over


def test_what_a_worker_still_trains_is_not_over(folder):
    """Jobs of a queue go on when the program that submitted them is gone."""
    (folder / PROGRESS).unlink()
    found = watch(folder)
    assert {stack.state for stack in found.stacks} == {"trains", "left"}
    assert not found.is_over


def test_an_ended_study_is_in_its_tables(folder):
    for path in [folder / PROGRESS, *(folder / "stacks").iterdir()]:
        path.unlink()
    rows = [{"status": "finished"}, {"status": "finished"}, {"status": "pruned"}]
    write_table(folder / "runs.parquet", rows, RUN_SCHEMA)
    found = watch(folder)
    assert (found.studies[0].runs, found.stacks) == ({"finished": 2, "pruned": 1}, ())
    assert found.is_over


def test_studies_that_share_a_pool(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text(json.dumps({"name": name}))
    order(tmp_path, PROXIES, "one")
    order(tmp_path, TARGETS, "two")
    assert [study.name for study in watch(tmp_path).studies] == ["one", "two"]
    assert len(watch(tmp_path).stacks) == 2
    (stack,) = watch(tmp_path / "two").stacks
    assert stack.key == TARGETS.key


def test_orders_are_read_once_and_forgotten_when_they_are_gone(folder, monkeypatch):
    real, read = worker.read_order, []
    monkeypatch.setattr(
        "mugrow.sweeps.watch.read_order", lambda path: read.append(path.name) or real(path)
    )
    watched = Watch(folder)
    assert len(watched.look().stacks) == len(watched.look().stacks) == len(read) == 2
    for path in (folder / "stacks").glob(f"{TARGETS.key}*.order"):
        path.unlink()
    (folder / "stacks" / f"{PROXIES.key}.0123456789ab.order").write_text("{")
    assert [stack.key for stack in watched.look().stacks] == [PROXIES.key]
    assert len(read) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": 3}', '{"process": 1, "runs": 1}'])
def test_progress_that_cannot_be_read_is_a_program_of_which_nothing_is_known(tmp_path, text):
    (tmp_path / PROGRESS).write_text(text)
    said = read_progress(tmp_path)
    assert said.process.host == "an unknown host"
    assert not said.process.is_gone()


def test_progress_is_written_every_few_seconds_and_removed_at_the_end(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("mugrow.sweeps.progress.time.monotonic", lambda: clock[0])
    with progress_file(tmp_path) as file:
        assert read_progress(tmp_path) is None
        for done in range(3):
            file.write(Work((), done, 9, 1.0, 2.0, 50.0, Counter(finished=done)))
            clock[0] += progress.WRITE_EVERY_S * 0.6
        assert read_progress(tmp_path) == Progress(9, {"finished": 2}, 50.0, this_process())
    assert not [*tmp_path.iterdir()]


def test_the_command_prints_once_where_there_is_no_terminal(mugrow, folder):
    ended = mugrow("watch", folder)
    assert ended.code == 0, ended.err
    first, heading, *stacks = ended.out.splitlines()
    assert first.startswith(
        "tiny: 20 finished, 1 diverged, 9 running, 30 waiting; about 1 min 35 s left, says process"
    )
    assert " ".join(heading.split()) == "in flight state runs step best loss tokens/s left"
    assert any("40/100  2.3457" in line and "1 min 30 s" in line for line in stacks)
    said = json.loads(mugrow("watch", folder, "--json").out)
    assert said["studies"][0]["runs"]["waiting"] == 30


def test_on_a_terminal_it_looks_until_all_has_ended(folder, monkeypatch):
    from rich.console import Console

    from mugrow.sweeps.commands import watch as command

    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            say(folder, process=gone(), finished=60)
            next((folder / "stacks").glob(".*.lease")).unlink()

    monkeypatch.setattr("time.sleep", sleep)
    console = Console(force_terminal=True, width=120, file=(folder / "screen").open("w"))
    with console.file:
        command.WatchCommand(folder, every=7.0)._live(Watch(folder), console)
    assert looks == [7.0] * 3
    assert "no program runs it" in (folder / "screen").read_text()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "is not a directory; expected one that `mugrow run` writes"),
        (lambda folder: folder.mkdir(), "holds no study; nothing to watch"),
    ],
)
def test_a_folder_that_cannot_be_watched(tmp_path, make, words):
    make(tmp_path / "study")
    with pytest.raises(UserError, match=words):
        watch(tmp_path / "study")
