"""Rows of runs in flight: whole lines, as they come, cut back to the saved step by who goes on."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import RUN, curve, job_of, skewed_tokens, vary

import mugrow.bench.run
from mugrow.bench.files import fenced
from mugrow.bench.live import published
from mugrow.bench.run import run_stack, stack_files

RUNS = (RUN, vary(seed=1, data_seed=1))
IDS = [run.run_id for run in RUNS]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Lost(Exception):
    """Stands for a lease that another has taken over."""


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(mugrow.bench.run, "load_again", lambda *_: skewed_tokens())
    return job_of(tmp_path / "study", "skewed", RUNS)


def lines_of(path):
    """The rows that can be read, of which the last line may still be being written."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def states(curves, *later):
    """A stack whose curves get another row of each member at some of its states."""
    for rows in later:
        for of_member, new in zip(curves, rows or [None] * len(curves), strict=True):
            of_member.extend([new] if new else [])
        yield SimpleNamespace(curves=curves)


def row(step, loss=2.0):
    return {"step": step, "val_loss": loss}


def test_rows_are_appended_when_they_come_in_the_order_of_steps(tmp_path):
    path, curves = tmp_path / "stacks" / "a.jsonl", [[], []]
    seen = []
    for _ in published(states(curves, (row(0), row(0)), (), (row(5), None)), path, "xy", curves):
        seen.append([(line["run_id"], line["step"]) for line in lines_of(path)])
    first = [("x", 0), ("y", 0)]
    assert seen == [first, first, [*first, ("x", 5)]]


@pytest.fixture
def watched(job, monkeypatch):
    """Train the job, saving at steps 7 and 14; ``watched(after)`` is killed after that step of its
    last start, and returns what the file held at every step by its number."""
    real = mugrow.bench.run.advance
    state_path, _, path = stack_files(Path(job.folder), job.key)
    monkeypatch.setattr(mugrow.bench.run, "SAVE_EVERY_S", float("inf"))

    def train(after):
        seen = {}

        def advance(stack, state, data, ranks):
            for current in real(stack, state, data, ranks):
                seen[current.step - 1] = path.read_text()
                if current.step in (7, 14):
                    mugrow.bench.run._save_state(state_path, stack, current)
                yield current
                if current.step == after:
                    raise Killed

        monkeypatch.setattr(mugrow.bench.run, "advance", advance)
        try:
            run_stack(job)
        except Killed:
            seen["at the end"] = path.read_text()
        return seen

    return train


def test_who_goes_on_cuts_the_rows_back_to_the_saved_step(watched, job):
    whole = watched(None)
    folder = Path(job.folder)
    rows = [json.loads(line) for line in whole[19].splitlines()]
    assert [line["step"] for line in rows] == [0, 0, 5, 5, 10, 10, 15, 15]
    assert not (folder / "stacks" / "a-stack.jsonl").exists()
    ended = [curve(job, member) for member in range(2)]
    for member, run_id in enumerate(IDS):
        expected = [r for r in ended[member] if r["step"] < 20]
        found = [line for line in rows if line["run_id"] == run_id]
        assert [r | line for r, line in zip(expected, found, strict=True)] == expected

    for run_id in IDS:  # all of it again, killed on the way
        (folder / "runs" / run_id / "curve.parquet").unlink()
    killed = watched(12)["at the end"]
    assert [json.loads(line)["step"] for line in killed.splitlines()] == [0, 0, 5, 5, 10, 10]
    (folder / "stacks" / "a-stack.jsonl").write_text(killed + '{"run_id": "half a li')
    resumed = watched(None)
    assert resumed[7] == whole[7]  # up to step 5: step 7 had been saved, not step 10
    assert resumed[19] == whole[19]


def test_who_has_lost_the_stack_appends_to_a_file_that_nobody_opens(tmp_path):
    path, curves = tmp_path / "a.jsonl", [[row(0)]]
    sleeper = published(states(curves, (row(5),), (row(10),)), path, "x", curves)
    next(sleeper)
    theirs = [[row(0)]]
    next(published(states(theirs, ()), path, "x", theirs))
    next(sleeper)
    assert [line["step"] for line in lines_of(path)] == [0]


def test_nothing_is_written_by_who_may_not_any_more(tmp_path):
    path, curves = tmp_path / "a.jsonl", [[]]
    rows = published(states(curves, (row(0),), (row(5),)), path, "x", curves)
    next(rows)

    def lost():
        raise Lost

    with fenced(lost), pytest.raises(Lost):
        next(rows)
    assert [line["step"] for line in lines_of(path)] == [0]


def test_a_loss_that_is_no_number_is_null(job):
    """NaN is not JSON: a line of it could not be read."""
    diverging = replace(job, runs=(vary(lr=1e30), RUN))
    real, seen = mugrow.bench.run.published, []

    def published(states, path, run_ids, curves):
        for state in real(states, path, run_ids, curves):
            seen.append(path.read_text())
            yield state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mugrow.bench.run, "published", published)
        run_stack(diverging)
    assert "NaN" not in seen[-1]
    rows = [json.loads(line) for line in seen[-1].splitlines()]
    assert None in [line["val_loss"] for line in rows if line["run_id"] == vary(lr=1e30).run_id]
