"""Runs of a table: what is read as it stands, and doubted in words."""

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.read.runs import read_runs
from mugrow.analysis.read.table import table_of

STEPS = np.arange(10, 410, 10)
LOSSES = 1.5 + 5 * STEPS**-0.5


def notes(losses, **columns):
    frame = pd.DataFrame({"step": STEPS, "loss": losses, **columns})
    return [str(note) for note in read_runs(table_of(frame), x="step", loss="loss").notes]


def test_a_smooth_or_noisy_curve_is_not_doubted():
    noise = np.random.default_rng(0).normal(0, 1, len(STEPS))
    for scale in (0, 1e-3, 0.05, 0.5):
        rank = np.arange(len(STEPS)) % 2
        assert notes(LOSSES + scale * noise, rank=rank, stage=STEPS // 200, lr=1e-3) == []


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_losses_that_no_cross_entropy_has_are_named(low):
    said = "of 0 or less, from step 50: no cross-entropy is"
    (one,) = notes(np.where(STEPS == 50, low, LOSSES))
    assert one == f"run 'the data frame': a loss {said}"
    (more,) = notes(np.where(STEPS >= 350, low, LOSSES))
    assert "6 losses of 0 or less, from step 350" in more
    assert notes(-LOSSES) == []  # another kind of loss


def test_a_lone_loss_far_below_is_named():
    (one,) = notes(np.where(STEPS == 50, 1.25, LOSSES))
    assert one.endswith("a loss of 1.25 at step 50 is far below those on both sides")
    (more,) = notes(np.where(STEPS % 100 == 50, 1.0, LOSSES))
    assert more.endswith("is far below those on both sides, as 3 more")


def test_noise_of_a_long_log_is_not_named():
    """A hundred thousand points of noise have dips of five times what losses change."""
    steps = np.arange(1, 100_001)
    losses = 2 + 3 * steps**-0.3 + np.random.default_rng(0).normal(0, 0.01, len(steps))
    frame = pd.DataFrame({"step": steps, "loss": losses})
    assert not read_runs(table_of(frame), x="step", loss="loss").notes
    frame.loc[[70, 50_000], "loss"] = 1.0
    (note,) = map(str, read_runs(table_of(frame), x="step", loss="loss").notes)
    assert note.endswith("a loss of 1 at step 71 is far below those on both sides, as 1 more")


def test_runs_come_in_the_order_of_the_file():
    names, seeds = ["b", "a", "b", "c", "a"], [2, 1, 1, 9, 1]
    frame = pd.DataFrame({"run": names, "seed": seeds, "step": range(5), "loss": range(1, 6)})
    for run in (frame["run"], frame["run"].astype(object), frame["run"].astype("category")):
        table = table_of(frame.assign(run=run))
        log = read_runs(table, x="step", loss="loss", run="run", seeds="seed")
        assert [one.label for one in log.runs] == ["b (2)", "a (1)", "b (1)", "c (9)"]
        assert log.runs[1].rows.tolist() == [1, 4]


@pytest.mark.parametrize("split", [np.array(["train", "val"]), np.array([0, 1])])
def test_two_losses_in_one_column_are_named(split):
    kinds = split[np.arange(len(STEPS)) % 2]
    (one,) = notes(LOSSES - 0.5 * (kinds == split[0]), split=kinds)
    first, second = map(str, split)
    assert f"its rows alternate between split {first!r} and {second!r}, whose losses diff" in one


@pytest.mark.parametrize(("resumed", "doubted"), [(20, True), (190, True), (210, False)])
def test_a_resume_that_leaves_little_of_a_run_may_be_another_run(resumed, doubted):
    steps = np.append(STEPS, np.arange(resumed, 610, 10))
    frame = pd.DataFrame({"step": steps, "loss": 1.5 + 5 * steps**-0.5})
    (note,) = map(str, read_runs(table_of(frame), x="step", loss="loss").notes)
    assert f"resumed at step {resumed}: " in note
    assert note.endswith("if these are two runs, --seeds COLUMN tells them apart") == doubted
