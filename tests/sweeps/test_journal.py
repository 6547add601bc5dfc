"""The searches of a study, as Optuna reads them."""

import math
import os

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from mugrow.sweeps.journal import JOURNAL, Journal


def row(number, state="waiting", value=None, sweep="mup-w32-d2"):
    return {
        "sweep": sweep,
        "number": number,
        "generation": number // 2,
        "state": state,
        "lr": 2.0 ** -(5 + number),
        "init_std": 0.04,
        "value": value,
        "run_ids": [f"{number:016x}"],
    }


def read(folder):
    """As anyone opens it, by sweep."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return {
        study.study_name: optuna.load_study(storage=storage, study_name=study.study_name)
        for study in storage.get_all_studies()
    }


@pytest.fixture
def said():
    return []


@pytest.fixture
def journal(tmp_path, said):
    return Journal(tmp_path, said.append)


def test_trials_are_there_from_when_they_are_asked_for_to_their_end(journal, tmp_path):
    journal.write([row(0), row(1)])
    assert [t.state for t in read(tmp_path)["mup-w32-d2"].trials] == [TrialState.RUNNING] * 2
    journal.write([row(0, "complete", 2.5), row(1, "pruned"), row(2), row(0, sweep="sp-w32-d2")])
    found = read(tmp_path)
    states = [trial.state for trial in found["mup-w32-d2"].trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
    best = found["mup-w32-d2"].best_trial
    assert (best.value, best.params) == (2.5, {"lr": 2.0**-5, "init_std": 0.04})
    assert best.user_attrs["runs"] == "0" * 16
    assert len(found["sp-w32-d2"].trials) == 1


def test_a_diverged_trial_is_at_infinity_and_nan_is_no_value(journal, tmp_path):
    journal.write([row(0, "diverged"), row(1, "complete", math.nan), row(2, "failed")])
    trials = read(tmp_path)["mup-w32-d2"].trials
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert trials[0].value == math.inf
    assert trials[1].value is None


def test_all_trials_of_a_sweep_share_one_range(journal, tmp_path):
    journal.write([row(number) for number in range(6)])
    distributions = [trial.distributions for trial in read(tmp_path)["mup-w32-d2"].trials]
    assert all(one == distributions[0] for one in distributions)


def test_only_what_is_new_is_appended(journal, tmp_path, said):
    rows = [row(0, "complete", 2.5), row(1)]
    journal.write(rows)
    before = (tmp_path / JOURNAL).read_bytes()
    journal.write(rows)
    Journal(tmp_path, said.append).write(rows)  # another program that goes on
    assert (tmp_path / JOURNAL).read_bytes() == before
    Journal(tmp_path, said.append).write([row(0, "complete", 2.5), row(1, "complete", 2.0)])
    assert (tmp_path / JOURNAL).read_bytes().startswith(before)
    assert read(tmp_path)["mup-w32-d2"].best_value == 2.0


def test_a_failed_trial_that_is_done_again_has_a_second_outcome(journal, tmp_path):
    journal.write([row(0, "failed")])
    journal.write([row(0)])
    journal.write([row(0, "complete", 2.0)])
    states = [trial.state for trial in read(tmp_path)["mup-w32-d2"].trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]


def test_many_are_written_bit_by_bit(journal, tmp_path):
    rows = [row(number, "complete", 2.0) for number in range(9)]
    journal.write(rows, 4)
    assert len(read(tmp_path)["mup-w32-d2"].trials) == 4
    journal.write(rows, 4)
    journal.write(rows, None)
    assert [t.user_attrs["trial"] for t in read(tmp_path)["mup-w32-d2"].trials] == [*range(9)]


def test_what_a_killed_program_left_does_not_stop_the_next(journal, tmp_path, said):
    journal.write([row(0, "complete", 2.0)])
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code":4,"worker')
    os.symlink(JOURNAL, tmp_path / f"{JOURNAL}.lock")
    Journal(tmp_path, said.append).write([row(0, "complete", 2.0), row(1)])
    assert (tmp_path / JOURNAL).read_bytes().startswith(whole)
    assert len(read(tmp_path)["mup-w32-d2"].trials) == 2
    assert not said


def test_a_file_of_somebody_else_is_left_alone(journal, tmp_path, said):
    (tmp_path / JOURNAL).write_text("epoch 1: loss 2.3")
    journal.write([row(0)])
    journal.write([row(1)])
    assert (tmp_path / JOURNAL).read_text() == "epoch 1: loss 2.3"
    (line,) = said
    assert line.startswith(f"{tmp_path / JOURNAL} is no Optuna journal, and left alone")


def test_without_trials_there_is_no_file(journal, tmp_path):
    journal.write([])
    assert not [*tmp_path.iterdir()]
