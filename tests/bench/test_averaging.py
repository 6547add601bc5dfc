"""Averages of weights: what they are, that nothing depends on them, and that they survive."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of, vary

from mugrow.bench.averaging import is_whole, update
from mugrow.bench.data.batches import val_windows
from mugrow.bench.model import Decoder, cross_entropy
from mugrow.bench.parametrization import parametrization
from mugrow.bench.spec import AverageSpec, RunSpec
from mugrow.bench.stack import PruningStep, Stack, StackState, begin, stack_key, unpack
from mugrow.bench.train import advance, train

DATA = skewed_tokens()
SWA, EMA = AverageSpec(kind="swa", window=5), AverageSpec(kind="ema", decay=0.7)
SPECS = [RUN, vary(seed=1, lr=2**-5), vary(lr=1e30), vary(seed=2, lr=0)]  # one diverges


def averaging(average: AverageSpec, specs: list[RunSpec]) -> list[RunSpec]:
    return [replace(spec, average=average) for spec in specs]


def trained(specs: list[RunSpec]) -> StackState:
    stack = Stack(specs, rungs=[PruningStep(10, 2)])
    return train(stack, [start_of(spec) for spec in specs], DATA)


def path_of(spec: RunSpec) -> list[torch.Tensor]:
    """A run's weights at its start and after every step, in double precision."""
    stack = Stack([spec])
    state = begin(stack, [start_of(spec)])
    weights = [state.optimizer.weights_KP[0].double()]
    return weights + [now.optimizer.weights_KP[0].double() for now in advance(stack, state, DATA)]


def val_loss(spec: RunSpec, weights_P: torch.Tensor) -> float:
    start = start_of(spec)
    weights = unpack({name: tuple(tensor.shape) for name, tensor in start.items()}, weights_P)
    rules = parametrization(spec.parametrization).rules(spec.model, spec.base)
    windows = torch.from_numpy(val_windows(DATA.val, spec.model.context, spec.data.val_tokens))
    logits = Decoder(spec.model, rules.multipliers)(weights, windows[:, :-1])
    return cross_entropy(logits[None], windows[None, :, 1:]).item()


def averages(spec: RunSpec) -> dict[int, float]:
    (curve,) = train(Stack([spec]), [start_of(spec)], DATA).curves
    found = {row["step"]: row.get("val_loss_averaged") for row in curve}
    return {step: loss for step, loss in found.items() if loss is not None}


def test_swa_is_the_loss_of_the_mean_over_each_whole_window():
    spec = replace(RUN, average=replace(SWA, window=10))
    path, found = path_of(spec), averages(spec)
    assert found.keys() == {10, 20}  # rows are at 0, 5, ..., 20
    for step, loss in found.items():
        mean = torch.stack(path[step - 9 : step + 1]).mean(dim=0)
        assert loss == pytest.approx(val_loss(spec, mean.float()), abs=1e-6)
        assert abs(loss - val_loss(spec, path[step].float())) > 1e-4  # it is not the run's own


def test_ema_is_the_loss_of_the_exponentially_weighted_mean_at_every_row():
    spec = replace(RUN, average=EMA)
    path, found = path_of(spec), averages(spec)
    assert found.keys() == {5, 10, 15, 20}
    for step, loss in found.items():
        recent = sum(0.3 * 0.7**age * path[step - age] for age in range(step))
        assert loss == pytest.approx(val_loss(spec, (recent + 0.7**step * path[0]).float()), 1e-6)
        assert abs(loss - val_loss(spec, path[step].float())) > 1e-4


@pytest.mark.parametrize("average", [SWA, EMA])
def test_training_is_the_same_to_the_last_bit_with_an_average_and_without(average):
    """Beside a member that diverges and two that are pruned."""
    plain, averaged = trained(SPECS), trained(averaging(average, SPECS))
    assert plain.average_KP is None
    assert averaged.average_KP.shape == averaged.optimizer.weights_KP.shape
    assert averaged.status == plain.status == ["finished", "finished", "diverged", "pruned"]
    assert torch.equal(averaged.optimizer.weights_KP, plain.optimizer.weights_KP)
    for curve, expected in zip(averaged.curves, plain.curves, strict=True):
        rows = [{name: row[name] for name in row if name != "val_loss_averaged"} for row in curve]
        assert rows == expected
    assert any("val_loss_averaged" in row for row in averaged.curves[0])


def test_a_member_keeps_its_own_average_when_others_leave():
    alone = averages(replace(SPECS[1], average=SWA))
    together = trained(averaging(SWA, SPECS)).curves[1]
    found = {row["step"]: row["val_loss_averaged"] for row in together if row["step"]}
    assert found == pytest.approx(alone, abs=1e-5)


def test_the_mean_of_wanderings_lies_deeper_at_a_constant_rate():
    spec = vary(steps=100, lr=2**-3, schedule=replace(RUN.schedule, kind="constant"))
    last = train(Stack([spec]), [start_of(spec)], DATA).curves[0][-1]["val_loss"]
    assert averages(replace(spec, average=replace(SWA, window=50)))[100] < last - 0.01


def test_the_average_is_part_of_the_state_of_a_stack_and_of_what_stacks_share():
    spec = replace(RUN, average=EMA)
    stack = Stack([spec])
    state = begin(stack, [start_of(spec)])
    assert torch.equal(state.average_KP, state.optimizer.weights_KP)
    next(islice(advance(stack, state, DATA), 2, None))
    assert not torch.equal(state.average_KP, state.optimizer.weights_KP)
    assert stack_key(spec) != stack_key(RUN)


@pytest.mark.parametrize("window", [1, 3])
def test_a_window_of_swa_forgets_the_one_before(window):
    average = AverageSpec(kind="swa", window=window)
    mean = torch.full((1, 1), 1e9)
    for step in range(1, 2 * window + 1):
        update(average, mean, torch.full((1, 1), float(step)), step)
    assert mean.item() == pytest.approx((3 * window + 1) / 2)
    assert [is_whole(average, step) for step in range(window + 1)] == [False] * window + [True]
