"""Budget lines: a branch off a trunk is the run of its own that it stands for."""

import math
from dataclasses import replace

import pytest

from mugrow.bench.data.batches import resolve
from mugrow.bench.record import read_run
from mugrow.bench.run import Job, run_stack
from mugrow.bench.schedule import cooldown_start, factor, run_factor
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.budgets import bracketing, budget_line, continued

MODEL = ModelSpec(width=16, depth=1, context=16)
RUN = RunSpec(
    model=MODEL,
    base=MODEL,
    parametrization="mup",
    hyper=HyperSpec(lr=2**-6, init_std=0.1),
    schedule=ScheduleSpec(warmup=0.1),
    data=DataSpec(corpus="stdlib", corpus_sha256="0", val_tokens=64),
    batch_sequences=2,
    steps=30,
    seed=3,
    data_seed=3,
    log_every=5,
)


def trained(budget):
    """Every step of a budget: its number, its rate's factor, its batch, its run."""
    runs = (*budget.trunk, budget.final)
    return [
        (run.first_step + step, run_factor(run, step), run.first_batch + step, run.run_id)
        for run in runs
        for step in range(run.train_steps)
    ]


@pytest.mark.parametrize("shape", ["linear", "sqrt"])
def test_every_budget_has_the_steps_rates_and_batches_of_a_run_of_its_own(shape):
    first = replace(RUN, schedule=ScheduleSpec(warmup=0.1, cooldown_shape=shape))
    horizons = [15, 21, 42, 60]
    line = budget_line(first, horizons, 128)
    assert [budget.horizon for budget in line] == horizons
    for budget in line:
        warmup = round(0.1 * 30) / budget.horizon
        alone = ScheduleSpec(warmup=warmup, cooldown_shape=shape)
        found = trained(budget)
        assert [step for step, _, _, _ in found] == [*range(budget.horizon)]
        assert [batch for _, _, batch, _ in found] == [*range(budget.horizon)]
        assert [rate for _, rate, _, _ in found] == [
            factor(alone, budget.horizon, step) for step in range(budget.horizon)
        ]


def test_a_trunk_is_trained_once_and_its_segments_go_on_from_each_other():
    line = budget_line(RUN, [60, 15, 42], 128)
    segments = line[-1].trunk
    assert [budget.trunk for budget in line] == [segments[:1], segments[:2], segments]
    assert [run.last_step for run in segments] == [
        cooldown_start(RUN.schedule, h) for h in (15, 42, 60)
    ]
    for before, run in zip(segments, (*segments[1:], line[-1].final), strict=True):
        assert run.start.source_run_id == before.run_id
        assert (run.start.method, run.start.optimizer) == ("continue", "carry")
        assert run.start.source_step == run.first_step == before.last_step
    assert {run.data.final_val_tokens for run in segments} == {0}
    assert {budget.final.data.final_val_tokens for budget in line} == {128}


def test_a_source_is_the_first_segment_of_its_own_line():
    source = replace(RUN, stop_step=24)
    line = budget_line(source, [20, 30, 90], 0, (source,))
    assert [budget.horizon for budget in line] == [30, 90]  # at 20 it would cool down from 16
    assert line[0].trunk == (source,)
    assert line[0].final.first_step == 24
    assert [run.last_step for run in line[1].trunk] == [24, 72]
    assert [rate for _, rate, _, _ in trained(line[1])][:3] == [
        factor(RUN.schedule, 30, step) for step in range(3)
    ]


def test_where_schedules_know_their_horizon_every_budget_is_a_run_of_its_own():
    line = budget_line(replace(RUN, schedule=ScheduleSpec(kind="cosine")), [15, 60], 0)
    assert [(budget.trunk, budget.final.steps) for budget in line] == [((), 15), ((), 60)]
    assert all(budget.final.start == RUN.start for budget in line)


def test_a_branch_ends_where_the_whole_run_does_to_the_last_bit(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{n} squared is {n * n}" for n in range(2000)))
    data = replace(resolve(str(text), val_tokens=64), final_val_tokens=1024)
    run = replace(RUN, data=data)
    (budget,) = budget_line(run, [20], 1024)
    warmup = round(0.1 * 30) / 20
    alone = replace(run, steps=20, schedule=ScheduleSpec(warmup=warmup))
    for spec in (*budget.trunk, budget.final, alone):
        run_stack(
            Job(str(tmp_path), "study", spec.run_id, (spec,), ("branch",), corpus_path=str(text))
        )
    (row, curve), (expected, whole) = (
        read_run(tmp_path / "runs" / spec.run_id) for spec in (budget.final, alone)
    )
    assert row["final_block_losses"] == expected["final_block_losses"]
    assert row["final_val_loss"] == expected["final_val_loss"] != whole["val_loss"][-1].as_py()
    assert curve["val_loss"][-1] == whole["val_loss"][-1]
    assert row["flops"] < expected["flops"]


def test_without_a_cooldown_every_budget_is_a_run_of_its_own():
    source = replace(RUN, schedule=ScheduleSpec(warmup=0.1, cooldown=0.0))
    line = budget_line(source, [15, 60], 0, (source,))
    assert [(budget.trunk, budget.final.steps) for budget in line] == [((), 15), ((), 60)]
    assert [len(trained(budget)) for budget in line] == [15, 60]


@pytest.mark.parametrize(
    ("losses", "arms", "chosen"),
    [
        ([3.0, 2.0, 1.0, 0.5], [1.5], {1, 2}),
        ([3.0, 2.0, 1.0, 0.5], [0.7], {1, 2, 3}),
        ([3.0, 2.0, 1.0, 0.5], [0.1, 5.0], {0, 1, 2, 3}),
        ([3.0, 2.0, 1.0, 0.5], [2.5], {0, 1, 2}),
        ([3.0, 2.0, 1.0, 0.5], [2.5, math.nan], {0, 1, 2}),
        ([3.0, 2.0, 1.0, 0.5], [0.7, None], {1, 2}),
        ([3.0, 2.0, None, 0.5], [0.7], {1, 2}),
        ([3.0, 2.0, math.nan, 0.5], [0.7], {1, 2}),
        ([3.0, 2.0, 1.0, 0.5], [], {1, 2}),
    ],
)
def test_budgets_are_added_until_they_bracket_every_arm(losses, arms, chosen):
    assert bracketing({1, 2}, 4, losses.__getitem__, arms) == chosen


def test_continued_takes_up_schedule_and_batches():
    run = continued(replace(RUN, stop_step=10, first_batch=5, rewarm_steps=2), steps=50)
    assert (run.first_step, run.first_batch, run.rewarm_steps, run.stop_step) == (10, 15, 0, None)
