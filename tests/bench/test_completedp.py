"""Complete(d)P: its table by hand, its readout beside muP's, and its rule for batch and duration
beside what that is derived from."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of, vary
from torch import Tensor

from mugrow.bench.model import Multipliers
from mugrow.bench.optim import Trainer, check_optimizer, optimizer
from mugrow.bench.parametrization import Rule, Rules, hyper_of, rules_of
from mugrow.bench.parametrization.completedp import at_step_ratio
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, UserError
from mugrow.bench.stack import Stack, StackState
from mugrow.bench.stacked_optimizer import fresh_state, stacked_optimizer
from mugrow.bench.train import train

BASE = ModelSpec(width=16, depth=2, head_size=8, context=8, vocab_size=32)
BIG = replace(BASE, width=64, depth=8)  # 4 times as wide, 4 times as deep


# --- width and depth ----------------------------------------------------------------------------


def test_the_table_by_hand():
    rules = rules_of("completedp:alpha=0.5", BIG, BASE)
    tensors = rules.tensors
    assert tensors["embed.weight"] == tensors["positions.weight"] == Rule(1, 1, 1, 1 / 4)
    assert tensors["blocks.7.attention.q.weight"] == Rule(1 / 2, 1 / 8, 4, 1 / 8)
    assert tensors["blocks.0.mlp.down.bias"] == Rule(1, 1 / 2, 0, 1 / 8)
    assert tensors["blocks.3.norm2.gain"] == Rule(1, 1 / 2, 0, 1 / 8)
    assert tensors["norm.gain"] == tensors["norm.bias"] == Rule(1, 1, 0, 1 / 4)
    assert tensors["head.weight"] == Rule(1 / 4, 1 / 4, 4, 1)
    assert rules.multipliers == Multipliers(1, 1, 1 / 2, 1 / 2)
    normed = replace(BIG, qk_norm=True), replace(BASE, qk_norm=True)
    gain = rules_of("completedp:alpha=0.5", *normed).tensors["blocks.1.attention.q_norm.gain"]
    assert gain == Rule(1, 1 / 2, 0, 1 / 2)  # no m: all heads share it


def test_the_papers_eps_of_the_final_norm_is_all_that_its_choice_changes():
    ours = rules_of("completedp", BIG, BASE)
    paper = rules_of("completedp:final_norm_eps=constant", BIG, BASE)
    changed = {name for name, rule in paper.tensors.items() if rule != ours.tensors[name]}
    assert changed == {"norm.gain", "norm.bias"}
    assert paper.tensors["norm.gain"] == Rule(1, 1, 0, 1)


def test_a_tied_readout_is_completeps():
    tied = replace(BIG, tied=True), replace(BASE, tied=True)
    assert rules_of("completedp", *tied) == rules_of("completep", *tied)


def trained(run: RunSpec) -> StackState:
    return train(Stack([run]), [start_of(run)], skewed_tokens())


def losses(state: StackState) -> list[float]:
    return [float(row["val_loss"]) for row in state.curves[0]]  # type: ignore[arg-type]


def test_the_readout_is_mups_in_other_coordinates_until_gradients_are_clipped():
    """50 steps of AdamW at 8 times the width."""
    run = vary(model=replace(RUN.model, width=64), steps=50, dtype="float64", clip=0.0, eps=1e-4)
    other = replace(run, parametrization="completedp")
    ours, theirs = trained(other), trained(run)
    assert losses(theirs)[0] - losses(theirs)[-1] > 0.1
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-11)
    size = 32 * 64  # the head is stored last
    rows = [state.optimizer.weights_KP[0] for state in (ours, theirs)]
    torch.testing.assert_close(rows[0][-size:] * 8, rows[1][-size:], rtol=1e-9, atol=0)
    gradients = [state.optimizer.buffers["m"][0, -size:].norm() for state in (ours, theirs)]
    assert float(gradients[0] / gradients[1]) == pytest.approx(8, rel=1e-9)
    clipped = [losses(trained(vary(each, clip=0.01, steps=10))) for each in (other, run)]
    assert abs(clipped[0][-1] - clipped[1][-1]) > 1e-4


# --- batch and duration -------------------------------------------------------------------------


def test_the_rule_by_hand():
    hyper = HyperSpec(lr=0.01, init_std=0.1, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)
    four = at_step_ratio(hyper, 4)
    assert (four.lr, four.weight_decay, four.eps) == (0.02, 0.2, 5e-9)
    assert (four.beta1, four.beta2) == (pytest.approx(0.6), pytest.approx(0.8))
    independent = at_step_ratio(replace(hyper, decay="independent"), 4)
    assert independent.weight_decay == pytest.approx(0.4)
    assert (four.init_std, four.clip) == (hyper.init_std, hyper.clip)


@pytest.mark.parametrize("decay", ["scaled", "independent"])
def test_what_an_average_and_a_decay_cover_of_the_run_stays(decay):
    hyper = HyperSpec(lr=0.01, init_std=0.1, weight_decay=0.1, decay=decay)
    other = at_step_ratio(hyper, 0.25)  # four times as many steps
    for name in ("beta1", "beta2"):
        assert 4 * (1 - getattr(other, name)) == pytest.approx(1 - getattr(hyper, name))
    rates = (1, 1) if decay == "independent" else (hyper.lr, other.lr)
    decays = rates[0] * hyper.weight_decay, 4 * rates[1] * other.weight_decay
    assert decays[1] == pytest.approx(decays[0])


def test_a_run_is_trained_with_what_the_rule_says():
    """Members of one stack, each at a ratio of its own."""
    plain = replace(RUN, parametrization="completedp", steps=8)
    ruled = [replace(plain, step_ratio=r) for r in (1.0, 2.0, 0.25)]
    by_hand = [replace(plain, hyper=hyper_of(run)) for run in ruled]
    assert len({run.run_id for run in (*ruled, *by_hand)}) == 5  # a ratio of 1 is none
    ours, theirs = (
        train(Stack(runs), [start_of(run) for run in runs], skewed_tokens())
        for runs in (ruled, by_hand)
    )
    assert torch.equal(ours.optimizer.weights_KP, theirs.optimizer.weights_KP)
    assert not torch.equal(ours.optimizer.weights_KP[0], ours.optimizer.weights_KP[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_ratio": 10.0}, "1 - beta1 must be below 1, not 0.1 times 10; the nearest factor is "
         "below 10"),
        ({"beta1": 0.99, "step_ratio": 32.0}, "1 - beta2 must be below 1, not 0.05 times 32; the "
         "nearest factor is below 20"),
        ({"step_ratio": 0.0}, "step_ratio must be a finite number above 0, not 0"),
        ({"parametrization": "mup", "step_ratio": 2.0}, "parametrization 'mup' has no rule for "
         "batch and duration, so step_ratio must be 1, not 2; those that have one: completedp"),
        ({"optimizer": "lion", "step_ratio": 2.0}, "optimizer 'lion' has no rule for batch and "
         "duration in parametrization 'completedp'"),
    ],
)  # fmt: skip
def test_a_ratio_without_a_rule_is_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as refused:
        check_optimizer(vary(replace(RUN, parametrization="completedp"), **changes))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


# A quadratic whose gradient has Gaussian noise that is known and falls halfway, so that AdamW's
# state has something to forget. Coordinates are independent runs: a distribution of the loss.
RUNS, STEPS = 1500, 32
COARSE = HyperSpec(lr=0.05, init_std=1, weight_decay=2.0, eps=1.0, clip=0.0)
BatchRule = Callable[[HyperSpec, float], HyperSpec]


def sorted_losses(hyper: HyperSpec, r: float, noise_TN: Tensor) -> Tensor:
    """Final losses ``(N,)`` after a step for each row, on batches r times the base's."""
    start_1N = torch.ones(1, RUNS, dtype=torch.float64)
    adamw = stacked_optimizer(
        {"w": (RUNS,)},
        Rules({"w": Rule()}, Multipliers()),
        {"w": Trainer(optimizer("adamw"), {})},
        [{"w": hyper}],
        start_1N,
    )
    state, whole = fresh_state(start_1N, ("m", "v")), torch.ones(1, 1, dtype=torch.float64)
    for step, noise_N in enumerate(noise_TN):
        size = (2.0 if 2 * step < len(noise_TN) else 0.4) / math.sqrt(r)
        adamw.update(state, state.weights_KP + size * noise_N, whole)
    return (state.weights_KP[0] ** 2 / 2).sort().values


def disagreement(rule: BatchRule, r: float) -> float:
    """Of final losses at batch r and at 2 r, half as many steps: the distance of their
    distributions (Wasserstein's first) over their mean. A step at 2 r has the noise of two."""
    rng = torch.Generator().manual_seed(1)
    noise_TN = torch.randn(round(STEPS / r), RUNS, generator=rng, dtype=torch.float64)
    double_TN = noise_TN.view(-1, 2, RUNS).sum(1) / math.sqrt(2)
    one = sorted_losses(rule(COARSE, r), r, noise_TN)
    two = sorted_losses(rule(COARSE, 2 * r), 2 * r, double_TN)
    return float((one - two).abs().mean() / one.mean())


def test_batch_and_twice_the_batch_agree_ever_better_as_rates_go_to_zero():
    coarse, finer, finest = (disagreement(at_step_ratio, r) for r in (1 / 2, 1 / 8, 1 / 32))
    assert coarse > 0.05  # Adam is no discretisation of its SDE but in the limit
    assert finer < 0.6 * coarse
    assert finest < 0.6 * finer


@pytest.mark.parametrize("left", ["lr", "weight_decay", "eps", "beta1", "beta2"])
def test_without_any_part_of_the_rule_they_do_not_agree(left):
    def rule(hyper: HyperSpec, r: float) -> HyperSpec:
        return replace(at_step_ratio(hyper, r), **{left: getattr(hyper, left)})

    assert disagreement(rule, 1 / 8) > 3 * disagreement(at_step_ratio, 1 / 8)
