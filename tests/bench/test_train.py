"""A stack of K runs is K runs: together or alone, beside a diverging one, pruned or resumed."""

import copy
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from small_runs import (
    BASE,
    RUN,
    assert_same_curves,
    column,
    skewed_tokens,
    start_of,
    vary,
)

from mugrow.bench import flops
from mugrow.bench.data.batches import TokenData, train_batch, val_windows
from mugrow.bench.growth import During, method
from mugrow.bench.model import Decoder, cross_entropy
from mugrow.bench.parametrization import parametrization
from mugrow.bench.spec import RunSpec, ScheduleSpec, llama
from mugrow.bench.stack import PruningStep, Stack, StackState, begin, carried_state, model_weights
from mugrow.bench.train import _Program, advance, train

DATA = skewed_tokens()
MEMBERS = [
    RUN,
    vary(lr=2**-4, weight_decay=0.5),
    vary(seed=1, data_seed=3, init_std=0.3),
    vary(beta1=0.5, beta2=0.9, eps=1e-4, clip=0),
    vary(clip=0.01, seed=2, schedule=ScheduleSpec(kind="cosine", warmup=0.2)),
]
HUGE = vary(lr=1e30)  # its weights overflow float32 within a few steps


def trained(specs: list[RunSpec], data: TokenData = DATA, **stack: object) -> StackState:
    return train(Stack(specs, **stack), [start_of(spec) for spec in specs], data)


@pytest.mark.parametrize("threads", [1, 2])
def test_members_taken_in_groups_equal_members_taken_at_once(monkeypatch, threads):
    """Groups of two, by one thread or shared by two; the same bits whenever it is done again."""
    whole = trained(MEMBERS)
    monkeypatch.setattr(
        "mugrow.bench.train.GROUP_BYTES", 2 * 4 * RUN.batch_tokens * RUN.model.mlp_width
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        groups, again = trained(MEMBERS), trained(MEMBERS)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for in_groups, at_once in zip(groups.curves, whole.curves, strict=True):
        assert_same_curves(in_groups, at_once, tolerance=1e-5)
    assert groups.curves == again.curves
    assert torch.equal(groups.optimizer.weights_KP, again.optimizer.weights_KP)


def test_what_would_leave_half_of_the_threads_idle_is_taken_by_all_of_them(monkeypatch):
    """Of three members of large products on two threads the third."""
    monkeypatch.setattr("mugrow.bench.train.ALONE_WIDTH", RUN.model.width)
    losses, threads = Decoder.losses_of, []

    def watched(*given):
        if torch.is_grad_enabled():
            threads.append(torch.get_num_threads())
        return losses(*given)

    monkeypatch.setattr(Decoder, "losses_of", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        three = trained([replace(spec, steps=1) for spec in MEMBERS[:3]])
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 1, 2]
    assert_same_curves(
        three.curves[2], trained([replace(MEMBERS[2], steps=1)]).curves[0], tolerance=1e-5
    )


def test_members_of_a_stack_equal_their_own_runs():
    together = trained([replace(spec, log_every=1) for spec in MEMBERS])
    for member, spec in enumerate(MEMBERS):
        alone = trained([replace(spec, log_every=1)])
        assert_same_curves(together.curves[member], alone.curves[0], tolerance=1e-5)
    losses = [curve[-1]["val_loss"] for curve in together.curves]
    assert min(abs(a - b) for a in losses for b in losses if a is not b) > 1e-4  # all do differ


@pytest.mark.parametrize("model", [RUN.model, llama(width=16, depth=1, head_size=8, context=8)])
def test_members_of_a_stack_equal_their_own_runs_in_double_precision(model):
    base = replace(model, width=8)
    specs = [replace(spec, dtype="float64", model=model, base=base) for spec in MEMBERS]
    together = trained(specs)
    for member, spec in enumerate(specs):
        alone = trained([spec])
        difference = together.optimizer.weights_KP[member] - alone.optimizer.weights_KP[0]
        assert difference.abs().max() < 1e-9
        assert_same_curves(together.curves[member], alone.curves[0], tolerance=1e-9)


@pytest.mark.parametrize(("bad", "last_step"), [(HUGE, 5), (vary(init_std=1e30), 0)])
def test_a_diverging_member_ends_alone(bad, last_step):
    healthy = trained(MEMBERS)
    mixed = trained([*MEMBERS[:2], bad, *MEMBERS[2:]])
    assert mixed.status == ["finished", "finished", "diverged", "finished", "finished", "finished"]
    assert mixed.alive == [0, 1, 3, 4, 5]
    assert mixed.curves[2][-1]["step"] == last_step
    for member, curve in zip(mixed.alive, healthy.curves, strict=True):
        assert_same_curves(mixed.curves[member], curve, tolerance=1e-6)
    assert torch.allclose(
        mixed.optimizer.weights_KP, healthy.optimizer.weights_KP, rtol=0, atol=1e-5
    )


def test_the_record_of_a_diverged_run_stops_at_the_row_that_shows_it():
    state = trained([HUGE, RUN])
    last = state.curves[0][-1]
    assert last["step"] < RUN.steps
    assert last["val_loss"] is None or last["train_loss"] is None
    assert all(row["val_loss"] is not None for row in state.curves[0][:-1])
    assert all(math.isfinite(value) for row in state.curves[0] for value in row.values() if value)


def test_a_loss_that_was_infinite_between_two_rows_counts_as_diverged():
    """Validation is looked at every ``log_every`` steps, the training loss at every one."""
    state = begin(Stack([RUN, vary(seed=1)]), [start_of(RUN), start_of(vary(seed=1))])
    states = advance(Stack([RUN, vary(seed=1)]), state, DATA)
    next(states)
    state.loss_sum_K[1] = math.inf
    list(states)
    assert state.status == ["finished", "diverged"]
    assert column(state.curves[1], "step") == [0, 5]


def test_a_stack_whose_members_have_all_diverged_ends():
    state = trained([HUGE, vary(lr=2e30)])
    assert state.status == ["diverged", "diverged"]
    assert state.alive == []
    assert state.step < RUN.steps


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 12, 19, 20])
def test_a_stack_that_is_stopped_and_goes_on_ends_bit_for_bit_the_same(stop):
    stack = Stack([HUGE, *MEMBERS], rungs=[PruningStep(10, 4)])
    starts = [start_of(spec) for spec in stack.specs]
    whole = train(stack, starts, DATA)
    stopped = next(islice(advance(stack, begin(stack, starts), DATA), stop - 1, None))
    resumed = copy.deepcopy(stopped)
    list(advance(stack, resumed, DATA))
    assert resumed.curves == whole.curves
    assert resumed.status == whole.status
    assert resumed.alive == whole.alive
    ours, theirs = resumed.optimizer, whole.optimizer
    assert torch.equal(ours.weights_KP, theirs.weights_KP)
    assert torch.equal(ours.updates_K1, theirs.updates_K1)
    assert ours.buffers.keys() == theirs.buffers.keys() == {"m", "v"}
    assert all(torch.equal(ours.buffers[name], theirs.buffers[name]) for name in ours.buffers)


def test_the_same_stack_again_is_the_same_to_the_last_bit():
    first, second = trained(MEMBERS), trained(MEMBERS)
    assert first.curves == second.curves
    assert torch.equal(first.optimizer.weights_KP, second.optimizer.weights_KP)


def test_rungs_keep_the_best_trials_with_all_their_seeds():
    """Three trials of two seeds; at step 10 the worst goes, at 15 the next. A rate of zero learns
    nothing, so its trial is the worst."""
    rates = (2**-6, 0.0, 2**-9)
    specs = [vary(lr=lr, seed=seed, data_seed=seed) for lr in rates for seed in (0, 1)]
    trials = [0, 0, 1, 1, 2, 2]
    pruned = trained(specs, trials=trials, rungs=[PruningStep(8, 2), PruningStep(15, 1)])
    whole = trained(specs)
    assert pruned.status == ["finished"] * 2 + ["pruned"] * 4
    ends = [column(curve, "step")[-1] for curve in pruned.curves]
    assert ends == [20, 20, 10, 10, 15, 15]  # step 8 has no row: the rung is at the next one
    for kept, full in zip(pruned.curves, whole.curves, strict=True):
        assert_same_curves(kept, full[: len(kept)], tolerance=1e-5)


def test_a_trial_is_judged_by_the_mean_over_its_seeds():
    """Trial 0 has the best member and, through a seed that learns nothing, the worse mean."""
    specs = [vary(lr=2**-5), vary(lr=0), vary(lr=2**-7), vary(lr=2**-7, seed=1)]
    state = trained(specs, trials=[0, 0, 1, 1], rungs=[PruningStep(10, 1)])
    at_rung = [curve[2]["val_loss"] for curve in state.curves]
    assert at_rung[0] == min(at_rung)
    assert at_rung[2] + at_rung[3] < at_rung[0] + at_rung[1]
    assert state.status == ["pruned", "pruned", "finished", "finished"]


def test_a_diverged_member_is_not_pruned_and_drags_its_trial_down():
    specs = [RUN, HUGE, vary(lr=0), vary(lr=0, seed=1)]
    state = trained(specs, trials=[0, 0, 1, 1], rungs=[PruningStep(5, 1)])
    assert state.status == ["pruned", "diverged", "finished", "finished"]


def test_a_rung_at_the_end_prunes_nobody():
    assert trained([RUN, vary(lr=0)], rungs=[PruningStep(20, 1)]).status == ["finished", "finished"]


def test_rows_of_a_curve():
    run = vary(steps=24, log_every=5, stop_step=12, schedule=ScheduleSpec(kind="wsd", warmup=0.25))
    (curve,) = trained([run]).curves
    assert column(curve, "step") == [0, 5, 10, 12]  # the last step has a row
    assert column(curve, "tokens") == [0, 160, 320, 384]  # 4 sequences of 8 tokens
    assert column(curve, "flops") == [
        32 * step * flops.per_token(run.model) for step in (0, 5, 10, 12)
    ]
    # The rate of the update that led to the row: steps 4, 9 and 11 counted from 0; warm-up is 6.
    assert column(curve, "lr") == [None, *(run.hyper.lr * factor for factor in (5 / 6, 1, 1))]
    assert [name for name, value in curve[0].items() if value is None] == [
        "lr",
        "train_loss",
        "grad_norm",
        "asymmetry",
    ]


def test_losses_of_a_curve_are_means_over_what_they_say():
    run = vary(lr=0, log_every=5, steps=7)  # weights stay, so every loss can be computed again
    (curve,) = trained([run]).curves
    rules = parametrization(run.parametrization).rules(run.model, run.base)
    decoder, weights = Decoder(run.model, rules.multipliers), start_of(run)

    def loss(windows) -> float:
        tokens = torch.from_numpy(windows)
        return cross_entropy(decoder(weights, tokens[:, :-1])[None], tokens[None, :, 1:]).item()

    losses = [loss(train_batch(DATA.train, 0, step, 4, 8)) for step in range(7)]
    assert curve[1]["train_loss"] == pytest.approx(sum(losses[:5]) / 5, abs=1e-6)
    assert curve[2]["train_loss"] == pytest.approx(sum(losses[5:]) / 2, abs=1e-6)
    assert loss(val_windows(DATA.val, 8, 256)) == pytest.approx(curve[0]["val_loss"], abs=1e-6)
    assert column(curve, "val_loss") == [curve[0]["val_loss"]] * 3


def test_training_learns():
    (curve,) = trained([vary(steps=60)]).curves
    assert curve[-1]["val_loss"] < curve[0]["val_loss"] - 0.2


def test_time_is_shared_out_among_the_members_of_each_step():
    state = trained([RUN, vary(seed=1), HUGE])
    assert state.wall_s[0] == state.wall_s[1] > state.wall_s[2] > 0


def test_runs_of_different_shape_are_no_stack():
    with pytest.raises(AssertionError, match="differ in shape"):
        Stack([RUN, replace(RUN, model=BASE)])


# --- what a growth method does during training ---------------------------------------------------


def weights_after(**hooks: object) -> tuple[dict, dict]:
    """The start of a run and the weights its model ends with, under a method's hooks."""
    stack = Stack([RUN], during=During(**hooks))
    state = train(stack, [start_of(RUN)], DATA)
    return start_of(RUN), model_weights(stack, state, 0)


def test_hooks_that_do_nothing_change_nothing():
    plain = trained([RUN])
    state = train(Stack([RUN], during=During()), [start_of(RUN)], DATA)
    assert state.curves == plain.curves
    used = During(used=lambda trained, t, rng: trained, rates=lambda t: {"head.weight": 1.0})
    state = train(Stack([RUN], during=used), [start_of(RUN)], DATA)
    # rates of coordinates are not those of the one kernel, which rounds otherwise
    assert_same_curves(state.curves[0], plain.curves[0], tolerance=1e-5)


def test_a_rate_of_zero_freezes_a_tensor_or_a_part_of_it():
    half = torch.ones(16)
    half[:8] = 0
    rates = {"blocks.0.mlp.up.weight": 0.0, "norm.gain": half}
    before, after = weights_after(rates=lambda t: rates)
    assert torch.equal(before["blocks.0.mlp.up.weight"], after["blocks.0.mlp.up.weight"])
    assert torch.equal(before["norm.gain"][:8], after["norm.gain"][:8])
    assert not (before["norm.gain"][8:] == after["norm.gain"][8:]).any()
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_rates_are_asked_for_at_every_step():
    asked = []
    weights_after(rates=lambda t: asked.append(t) or {})
    assert asked == list(range(RUN.train_steps))


def test_the_model_runs_on_the_weights_that_a_hook_makes():
    """A head that is multiplied by zero predicts nothing, and has no gradient to learn by."""

    def silent(weights, t, rng):
        return weights | {"head.weight": weights["head.weight"] * 0}

    stack = Stack([vary(weight_decay=0)], during=During(used=silent))
    state = train(stack, [start_of(RUN)], DATA)
    assert column(state.curves[0], "val_loss") == pytest.approx([math.log(32)] * 5, abs=1e-6)
    assert (model_weights(stack, state, 0)["head.weight"] == 0).all()


def test_randomness_of_a_hook_is_its_members_own_and_absent_at_validation():
    seen = []

    def noisy(weights, t, rng):
        seen.append(None if rng is None else (t, torch.rand((), generator=rng).item()))
        return weights

    stack = Stack([RUN, vary(seed=1)], during=During(used=noisy))
    train(stack, [start_of(spec) for spec in stack.specs], DATA)
    draws = [draw for draw in seen if draw is not None]
    assert len(set(draws)) == len(draws) == 2 * RUN.train_steps
    assert seen.count(None) == 2 * 5  # a curve has five rows


def test_what_is_trained_may_be_of_another_shape_than_the_model():
    """Every tensor as the mean of three: the model begins the same, and hands on no moments."""
    lift = {
        "lift": lambda weights: {n: torch.stack([w] * 3) for n, w in weights.items()},
        "used": lambda trained, t, rng: {n: w.mean(0) for n, w in trained.items()},
    }
    stack = Stack([RUN], during=During(**lift))
    state = train(stack, [start_of(RUN)], DATA)
    assert state.optimizer.weights_KP.shape[1] == 3 * trained([RUN]).optimizer.weights_KP.shape[1]
    assert model_weights(stack, state, 0).keys() == start_of(RUN).keys()
    assert carried_state(stack, state, 0) is None
    losses = column(state.curves[0], "val_loss")
    assert losses[0] == pytest.approx(trained([RUN]).curves[0][0]["val_loss"], abs=1e-6)
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_a_norm_mask_weighs_the_statistics(norm):
    """With all ones it is the norm itself; what it leaves out does not count."""
    spec = replace(RUN, model=replace(RUN.model, norm=norm), base=replace(BASE, norm=norm))
    plain = train(Stack([spec]), [start_of(spec)], DATA).curves[0]
    ones = Stack([spec], during=During(norm_mask=lambda t: torch.ones(16)))
    assert_same_curves(train(ones, [start_of(spec)], DATA).curves[0], plain, tolerance=1e-5)
    half = Stack([spec], during=During(norm_mask=lambda t: (torch.arange(16) < 8).float()))
    other = train(half, [start_of(spec)], DATA).curves[0]
    assert abs(other[0]["val_loss"] - plain[0]["val_loss"]) > 1e-4


# --- where a schedule is taken up -----------------------------------------------------------------


def test_a_run_that_begins_later_has_the_rates_and_batches_of_there():
    whole = trained([vary(log_every=1)]).curves[0]
    later = trained([vary(log_every=1, first_step=12, first_batch=12, rewarm_steps=4)]).curves[0]
    assert [row["step"] for row in later] == list(range(9))
    assert later[-1]["tokens"] == 8 * RUN.batch_tokens
    rising = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    expected = [rise * row["lr"] for rise, row in zip(rising, whole[13:], strict=True)]
    assert column(later[1:], "lr") == pytest.approx(expected)


def test_what_a_method_learned_on_is_charged():
    plain = trained([RUN]).curves[0]
    charged = trained([RUN], learning_steps=[7]).curves[0]
    for row, without in zip(charged, plain, strict=True):
        assert row["tokens"] == without["tokens"] + 7 * RUN.batch_tokens
        assert row["flops"] == row["tokens"] * flops.per_token(RUN.model)
        assert row["val_loss"] == without["val_loss"]


def test_asymmetry_is_logged_of_what_was_grown_by_copies():
    """Copies one after the other, or side by side, stay copies; independent draws never were."""
    start, small = start_of(RUN), start_of(replace(RUN, model=BASE))
    entry = method("hypercloning")
    rules = [parametrization("mup").rules(model, BASE) for model in (BASE, RUN.model)]
    ends = Decoder(BASE, rules[0].multipliers), Decoder(RUN.model, rules[1].multipliers)
    tiled = entry.grow(small, *ends, start, torch.Generator())
    stack = Stack([RUN, vary(seed=1)], source_widths=[8, 8])
    state = train(stack, [tiled, start], DATA)
    assert max(column(state.curves[0], "asymmetry")) < 1e-5
    assert min(column(state.curves[1], "asymmetry")) > 0.5
    assert set(column(trained([RUN]).curves[0], "asymmetry")) == {None}


# --- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "parts"), [(1, [1]), (8, [8]), (9, [4, 5]), (14, [7, 7]), (21, [7, 7, 7])]
)
def test_members_are_taken_in_equal_groups_that_fit_and_are_few(members, parts, monkeypatch):
    monkeypatch.setattr("mugrow.bench.train.GROUP_BYTES", 8 * 4 * RUN.batch_tokens * 64)
    stack = Stack([vary(seed=seed) for seed in range(members)])
    state = begin(stack, [start_of(spec) for spec in stack.specs])
    program = _Program(stack, DATA, state)
    assert program.in_groups(lambda rows: rows.stop - rows.start) == parts


def test_members_that_are_left_train_on_in_their_own_rows(monkeypatch):
    """One member a group: the places of groups are the same ones after some have left."""
    monkeypatch.setattr("mugrow.bench.train.GROUP_BYTES", 1)
    specs = [vary(seed=seed, lr=lr) for seed, lr in enumerate((1e-5, 2**-7, 1e-5, 2**-6))]
    pruned = trained(specs, trials=[0, 1, 2, 3], rungs=[PruningStep(5, 2)])
    whole = trained(specs)
    kept = [member for member, status in enumerate(pruned.status) if status == "finished"]
    assert kept == [1, 3]
    assert torch.equal(pruned.optimizer.weights_KP, whole.optimizer.weights_KP[kept])


def test_gradients_written_one_by_one_are_the_same_bits(monkeypatch):
    specs = [RUN, vary(seed=1)]
    at_once = trained(specs)
    monkeypatch.setattr("mugrow.bench.train.LISTED_BYTES", 0)
    assert trained(specs).curves == at_once.curves


def test_parts_of_a_group_train_the_same_bits(monkeypatch):
    specs = [vary(seed=seed) for seed in range(6)]
    whole = trained(specs)
    size = 3 * 4 * RUN.batch_tokens * RUN.model.mlp_width
    monkeypatch.setattr("mugrow.bench.train.GROUP_BYTES", size)
    parts = trained(specs)
    assert parts.curves == whole.curves
    assert torch.equal(parts.optimizer.weights_KP, whole.optimizer.weights_KP)
