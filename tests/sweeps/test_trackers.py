"""Trackers: each row of each run once, whatever is stopped; a tracker's mistake is not the study's.

A test of a tracker skips where its package is not installed, and says so.
"""

import json
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager

import pytest
from fake_runs import ALONE, run_all
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from mugrow.bench.data.batches import resolve
from mugrow.bench.record import write_run
from mugrow.bench.spec import UserError
from mugrow.sweeps.execute import Where, execute, of_study
from mugrow.sweeps.lease import Lease, Leases
from mugrow.sweeps.override import override
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.trackers import TrackerKind, configuration, title_of, tracker
from mugrow.sweeps.trackers.follow import TRACKED, Follower, following

PLAN = run_all(ALONE)[0]
RUN, OTHER = PLAN.runs[0], PLAN.runs[1]
FIRST, SECOND = RUN.spec.run_id, OTHER.spec.run_id


def line(run_id, step, loss=2.0):
    return {"run_id": run_id, "step": step, "train_loss": None, "val_loss": loss}


def append(pool, *lines, key="a"):
    (pool / "stacks").mkdir(exist_ok=True)
    with (pool / "stacks" / f"{key}.jsonl").open("a") as file:
        file.writelines(one if isinstance(one, str) else json.dumps(one) + "\n" for one in lines)


def end(pool, run_id, *steps, status="finished"):
    row = {"run_id": run_id, "status": status, "final_val_loss": 1.5}
    write_run(pool / "runs" / run_id, row, [line(run_id, step) for step in steps])
    return {run_id: row}


class Noted:
    """A tracker that notes what it is given."""

    def __init__(self):
        self.steps, self.ends = defaultdict(list), []

    def rows(self, run, rows):
        self.steps[run.spec.run_id] += [row["step"] for row in rows]

    def ended(self, run, row):
        self.ends.append((run.spec.run_id, row["status"]))


@pytest.fixture
def follow(tmp_path):
    """A program that tracks, from its start: ``look = follow(noted)``, ``look(rows)``."""

    def begin(noted):
        kind = TrackerKind("noted", "", lambda study, folder: noted, "json", "")
        follower = Follower(kind, "tiny", tmp_path, tmp_path, print)
        follower.given = follower._noted().get("noted", {})

        def look(rows=None):
            follower.hand(PLAN, rows or {})
            follower._look(noted, all_ended=True)
            follower._note()
            return dict(noted.steps)

        return look

    return begin


def test_rows_are_given_as_they_come_and_once(follow, tmp_path):
    noted = Noted()
    look = follow(noted)
    append(tmp_path, line(FIRST, 0), line(SECOND, 0), json.dumps(line(FIRST, 5))[:20])
    assert look() == {FIRST: [0], SECOND: [0]}
    append(tmp_path, json.dumps(line(FIRST, 5))[20:] + "\n")
    append(tmp_path, line("somebody-elses", 0), key="b")
    assert look() == {FIRST: [0, 5], SECOND: [0]}
    rows = end(tmp_path, FIRST, 0, 5, 10)
    (tmp_path / "stacks" / "a.jsonl").unlink()
    assert look(rows) == {FIRST: [0, 5, 10], SECOND: [0]}
    look(rows)
    assert noted.ends == [(FIRST, "finished")]


def test_rows_that_are_trained_again_are_not_given_again(follow, tmp_path):
    noted = Noted()
    look = follow(noted)
    append(tmp_path, line(FIRST, 0), line(FIRST, 5), line(FIRST, 10))
    look()
    (tmp_path / "stacks" / "a.jsonl").unlink()  # resumed from step 7: another file of that name
    append(tmp_path, line(FIRST, 0), line(FIRST, 5))
    look()
    append(tmp_path, line(FIRST, 10), line(FIRST, 15))
    assert look() == {FIRST: [0, 5, 10, 15]}


def test_a_program_that_goes_on_gives_what_the_last_did_not(follow, tmp_path):
    append(tmp_path, line(FIRST, 0), line(FIRST, 5))
    rows = end(tmp_path, SECOND, 0, 5)
    follow(Noted())(rows)
    noted = Noted()
    append(tmp_path, line(FIRST, 10))
    assert follow(noted)(rows) == {FIRST: [10]}
    assert noted.ends == []


def test_a_failed_run_may_end_again(follow, tmp_path):
    follow(Noted())(end(tmp_path, FIRST, status="failed"))
    noted = Noted()
    assert follow(noted)(end(tmp_path, FIRST, 0, 5)) == {FIRST: [0, 5]}
    assert noted.ends == [(FIRST, "finished")]


def test_notes_that_cannot_be_read_are_none(follow, tmp_path):
    (tmp_path / TRACKED).write_text("{")
    append(tmp_path, line(FIRST, 0))
    assert follow(Noted())() == {FIRST: [0]}


# --- the thread ---------------------------------------------------------------------------------


@pytest.fixture
def kind(monkeypatch):
    """What ``--log noted`` starts; its tracker is the attribute ``opened``."""
    noted = Noted()

    @contextmanager
    def start(study, folder):
        noted.closed = False
        yield noted
        noted.closed = True

    made = TrackerKind("noted", "", start, "json", "")
    monkeypatch.setattr("mugrow.sweeps.trackers.follow.tracker", lambda name: made)
    return noted


def test_at_the_end_all_has_been_given(kind, tmp_path):
    rows = end(tmp_path, FIRST, 0, 5)
    with following("noted", "tiny", tmp_path, tmp_path, print) as hand:
        hand(PLAN, rows)
    assert (dict(kind.steps), kind.closed) == ({FIRST: [0, 5]}, True)
    assert not [*tmp_path.glob(".*.lease")]


def test_what_is_stopped_does_not_wait_for_all_that_has_ended(kind, tmp_path):
    rows = end(tmp_path, FIRST, 0, 5)
    append(tmp_path, line(SECOND, 0))

    def stopped():
        with following("noted", "tiny", tmp_path, tmp_path, print) as hand:
            hand(PLAN, rows)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert dict(kind.steps) == {SECOND: [0]}
    assert kind.closed


def test_a_trackers_mistake_is_a_line(kind, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(kind, "rows", lambda run, rows: 1 / 0)
    with following("noted", "tiny", tmp_path, tmp_path, said.append) as hand:
        hand(PLAN, end(tmp_path, FIRST, 0))
    (one,) = said
    assert one.startswith("--log noted has ended: ZeroDivisionError")
    assert one.endswith("the study goes on")


def test_of_two_programs_one_tracks(kind, tmp_path):
    said = []
    lease = Leases(tmp_path).take("log-noted", ())
    assert isinstance(lease, Lease)
    with following("noted", "tiny", tmp_path, tmp_path, said.append) as hand:
        hand(PLAN, end(tmp_path, FIRST, 0))
    assert said == [f"{lease.process} logs to noted"]
    assert not kind.steps


def test_without_a_tracker_no_thread_is_started(tmp_path):
    before = threading.active_count()
    with following(None, "tiny", tmp_path, tmp_path, print) as hand:
        hand(PLAN, {})
        assert threading.active_count() == before


# --- trackers that exist ------------------------------------------------------------------------


def test_an_unknown_tracker_is_named():
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        tracker("tensorbord")


def test_one_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError) as error:
        tracker("wandb")
    assert str(error.value) == (
        "--log wandb needs wandb, which is not installed: pip install 'mugrow[wandb]'"
    )


ROWS = [line(FIRST, 0, 5.5), line(FIRST, 5, 2.5) | {"grad_norm": 0.25}]
END = {"status": "finished", "final_val_loss": 1.5, "params": 1000}


@contextmanager
def opened(name, folder):
    """The tracker of that name with the rows of a run that has ended, given in two sessions."""
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'mugrow[{name}]'")
    kind = tracker(name)
    for rows, row in ((ROWS[:1], None), (ROWS[1:], END)):
        with kind.start("tiny", folder) as there:
            there.rows(RUN, [{k: v for k, v in one.items() if k != "run_id"} for one in rows])
            there.rows(OTHER, [{"step": 0, "val_loss": 5.0}] if row is None else [])
            if row is not None:
                there.ended(RUN, row)
    yield


def test_tensorboard(tmp_path):
    with opened("tensorboard", tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(tmp_path / "tensorboard" / title_of(RUN))).Reload()
        scalars = {
            tag: [(event.step, event.value) for event in found.Scalars(tag)]
            for tag in found.Tags()["scalars"]
        }
        assert scalars.pop("final/final_val_loss") == [(RUN.spec.last_step, 1.5)]
        assert scalars.pop("final/params") == [(RUN.spec.last_step, 1000)]
        assert scalars == {"val_loss": [(0, 5.5), (5, 2.5)], "grad_norm": [(5, 0.25)]}
        (text,) = found.Tensors("configuration")
        assert b"hyper.lr" in text.tensor_proto.string_val[0]
        assert len([*(tmp_path / "tensorboard").iterdir()]) == 2


def test_trackio(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    with opened("trackio", tmp_path):
        import trackio

        (run,) = [run for run in trackio.Api().runs("tiny") if run.name == title_of(RUN)]
        history = trackio.sqlite_storage.SQLiteStorage.get_logs("tiny", run.name)
        losses = [(one["step"], one["val_loss"]) for one in history if "val_loss" in one]
        assert losses == [(0, 5.5), (5, 2.5)]
        assert history[-1]["final/final_val_loss"] == 1.5
        assert run.config["hyper.lr"] == configuration(RUN)["hyper.lr"]
    assert capsys.readouterr().out == ""  # standard output is for results


def test_wandb(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with opened("wandb", tmp_path):
        runs = sorted((tmp_path / "wandb").glob(f"offline-run-*-{FIRST}/run-{FIRST}.wandb"))
        assert len(runs) == 2  # a session each, which `wandb sync` makes one
        assert b"val_loss" in runs[0].read_bytes()
        assert b"final_val_loss" in runs[1].read_bytes()
    assert capsys.readouterr().out == ""


def test_a_study_shows_its_curves(tiny, amended, corpus, in_threads, tmp_path):
    """From the program to the tracker, the journal and what is left of either at its end."""
    import pandas as pd

    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    few = amended(
        "parametrizations=mup", "proxy_widths=16", "seeds=0", "ladder=", "methods=scratch"
    )
    study = override(recipe("quick"), few[few.index("--set") + 1 :])
    data = resolve(str(corpus), val_tokens=study.val_tokens)
    where = Where(1, 1, corpus_paths={data.corpus_sha256: str(corpus)}, log="tensorboard")
    folder = tmp_path / "study"
    execute(of_study(override(study, [f"corpus={data.corpus}"]), data), folder, where)

    runs = pd.read_parquet(folder / "runs.parquet")
    assert {path.name[-8:] for path in (folder / "tensorboard").iterdir()} == {
        run_id[:8] for run_id in runs["run_id"]
    }
    noted = json.loads((folder / TRACKED).read_text())["tensorboard"]
    assert noted == dict.fromkeys(runs["run_id"], "ended")
    trials = pd.read_parquet(folder / "trials.parquet")
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    (sweep,) = storage.get_all_studies()
    values = [trial.value for trial in storage.get_all_trials(sweep._study_id)]
    assert values == list(trials["value"])
    assert not (folder / "progress.json").exists()
    assert not [*(folder / "stacks").iterdir()]
