"""Two ranks train what one process does: its losses to rounding, its decisions, its saved state."""

import math
from dataclasses import replace

import pytest
import torch
from small_runs import RUN, start_of, vary
from two_ranks import trained, two_ranks

from mugrow.bench.data_parallel import ALONE, Ranks, cut, shards_of, within
from mugrow.bench.model import shapes
from mugrow.bench.modules import by_tensor
from mugrow.bench.optim import buffers_of, trainers_of
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import AverageSpec, UserError, llama
from mugrow.bench.split import Split, kept_bytes, peak_bytes, planned, share_of
from mugrow.bench.stack import PruningStep, Stack, pack
from mugrow.bench.stacked_optimizer import fresh_state, stacked_optimizer

EXACT = vary(dtype="float64", batch_sequences=5, steps=8, log_every=2)
MEMBERS = [
    EXACT,
    vary(EXACT, clip=0.01, lr=2**-4, weight_decay=0.5),
    vary(EXACT, clip=0, seed=1, data_seed=3),
]
COLUMNS = ("train_loss", "val_loss", "grad_norm", "val_loss_averaged", "asymmetry")


@pytest.fixture(scope="module")
def both():
    with two_ranks() as call:
        yield call


def by_two(both, specs, **fields):
    """The whole state and the final losses, of which both ranks have the same."""
    (state, final), (other, theirs) = both(trained, specs, **fields)
    assert final == theirs
    assert (state.step, state.alive, state.status) == (other.step, other.alive, other.status)
    assert state.curves == other.curves
    assert torch.equal(state.optimizer.weights_KP, other.optimizer.weights_KP)
    assert torch.equal(state.loss_sum_K, other.loss_sum_K)
    return state, final


def numbers(state):
    """Of all rows of all members."""
    found = [
        [math.nan if row.get(name) is None else row[name] for name in COLUMNS]
        for curve in state.curves
        for row in curve
    ]
    return torch.tensor(found, dtype=torch.float64)


def assert_as_one_process(both, specs, tolerance=1e-12, **fields):
    state, final = by_two(both, specs, **fields)
    alone, alone_final = trained(ALONE, specs, **fields)
    close = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    torch.testing.assert_close(numbers(state), numbers(alone), **close)
    assert (state.alive, state.status) == (alone.alive, alone.status)
    ours, theirs = state.optimizer, alone.optimizer
    close["atol"] *= 1000  # AdamW moves a key's bias, whose gradient is 0 but for rounding
    torch.testing.assert_close(ours.weights_KP, theirs.weights_KP, **close)
    for name, buffer_KP in theirs.buffers.items():
        torch.testing.assert_close(ours.buffers[name], buffer_KP, **close)
    assert torch.equal(ours.updates_K1, theirs.updates_K1)
    assert final.keys() == alone_final.keys()
    for member, losses in final.items():
        assert losses == pytest.approx(alone_final[member], rel=tolerance, abs=tolerance)
    return state


@pytest.mark.parametrize(
    "optimizer",
    ["adamw", *(pytest.param(o, marks=pytest.mark.integration) for o in ("lion", "muon"))],
)
def test_losses_are_one_process_s(both, optimizer):
    """In float64; five sequences for two ranks, a final evaluation of blocks of two windows."""
    data = replace(EXACT.data, final_val_tokens=256)
    rules = "spectral" if optimizer == "muon" else "mup"
    flat = {"bias": optimizer != "lion"}  # which moves a key's bias by a whole step
    model, base = replace(EXACT.model, **flat), replace(EXACT.base, **flat)
    specs = [
        replace(spec, data=data, optimizer=optimizer, parametrization=rules, model=model, base=base)
        for spec in MEMBERS
    ]
    state = assert_as_one_process(both, specs)
    assert len({round(curve[-1]["grad_norm"], 6) for curve in state.curves}) == len(specs)


@pytest.mark.integration
def test_in_float32_to_its_rounding(both):
    specs = [replace(spec, dtype="float32") for spec in MEMBERS]
    state = assert_as_one_process(both, specs, 2e-5)
    alone, _ = trained(ALONE, specs)
    losses = numbers(state)[:, :2] - numbers(alone)[:, :2]
    assert 0 < losses.nan_to_num().abs().max() < 2e-6


@pytest.mark.integration
def test_in_bf16_to_what_that_rounds_otherwise(both):
    specs = [replace(spec, dtype="float32", precision="bf16", steps=4) for spec in MEMBERS]
    state, _ = by_two(both, specs)
    alone, _ = trained(ALONE, specs)
    torch.testing.assert_close(numbers(state), numbers(alone), rtol=0.02, atol=0, equal_nan=True)


@pytest.mark.integration
@pytest.mark.parametrize("method", ["llama_pro", "majority_kernels", "msg", "prune", "sparkling"])
def test_what_a_method_does_meanwhile_is_the_same(both, method):
    """Frozen blocks, other tensors than the model's, masks: hooks see whole weights."""
    deep = replace(EXACT, model=replace(EXACT.model, depth=2), steps=6)
    assert_as_one_process(both, [deep, vary(deep, seed=1)], during=method)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_are_the_same(both, kind):
    specs = [replace(spec, average=AverageSpec(kind=kind, window=4)) for spec in MEMBERS]
    state = assert_as_one_process(both, specs)
    assert numbers(state)[:, 3].isfinite().any()


@pytest.mark.integration
@pytest.mark.parametrize("split", [Split(1, 2), Split(2, 5, recompute=True)])
def test_members_and_sequences_may_be_taken_a_few_at_a_time(both, split):
    model = llama(width=16, depth=2, head_size=8, context=8, vocab_size=32)
    specs = [replace(spec, model=model, base=model) for spec in MEMBERS]
    assert_as_one_process(both, specs, split=split)


@pytest.mark.integration
def test_growth_s_copies_part_alike(both):
    assert_as_one_process(both, MEMBERS, source_widths=[8, 8, 0])


def test_who_diverges_or_is_pruned_leaves_on_both(both):
    specs = [*MEMBERS, vary(EXACT, lr=1e300), vary(EXACT, lr=2**-12)]
    state = assert_as_one_process(both, specs, rungs=[PruningStep(4, 2)], trials=[0, 0, 1, 2, 3])
    assert state.status[3] == "diverged"
    assert state.status.count("pruned") > 0
    assert state.status.count("finished") > 0


@pytest.mark.parametrize(
    "step", [5, *(pytest.param(s, marks=pytest.mark.integration) for s in (1, 4))]
)
def test_a_stack_goes_on_from_any_step_to_the_last_bit(both, step):
    """With as many ranks; with one process, or from one, to rounding."""
    specs = [replace(spec, dtype="float32") for spec in MEMBERS]
    whole, _ = by_two(both, specs)
    half, _ = by_two(both, specs, until=step)
    state, _ = by_two(both, specs, from_state=half)
    assert state.curves == whole.curves
    assert torch.equal(state.optimizer.weights_KP, whole.optimizer.weights_KP)
    for name, buffer_KP in whole.optimizer.buffers.items():
        assert torch.equal(state.optimizer.buffers[name], buffer_KP)
    half, _ = by_two(both, specs, until=step)
    alone, _ = trained(ALONE, specs, from_state=half)
    torch.testing.assert_close(numbers(alone), numbers(whole), rtol=2e-5, atol=0, equal_nan=True)
    half, _ = trained(ALONE, specs, until=step)
    two, _ = by_two(both, specs, from_state=half)
    torch.testing.assert_close(numbers(two), numbers(whole), rtol=2e-5, atol=0, equal_nan=True)


def told(ranks, number):
    return ranks.told(number + ranks.rank)


def total(ranks, number):
    return ranks.total(torch.tensor([number, 1.0 + ranks.rank], dtype=torch.float64))


def test_what_ranks_say_to_each_other(both):
    assert both(told, 7) == [7, 7]
    first, second = both(total, 0.1)
    assert torch.equal(first, torch.tensor([0.2, 3.0], dtype=torch.float64))
    assert torch.equal(first, second)


# --- without a second process --------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_sequence_is_one_rank_s(count):
    for total in (7, 8, 23):
        shares = [Ranks(rank, count).share(total) for rank in range(count)]
        assert [i for share in shares for i in range(total)[share]] == list(range(total))
        assert max(share.stop - share.start for share in shares) == share_of(
            replace(RUN, batch_sequences=total), count
        )


def shards(optimizer, count, model=RUN.model):
    trainers = trainers_of(optimizer, "spectral" if optimizer == "muon" else "mup", model, RUN.base)
    return cut(shapes(model), trainers, count), trainers


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("count", [2, 3, 8, 50])
def test_shards_are_all_of_the_coordinates_and_no_part_of_a_matrix(optimizer, count):
    found, trainers = shards(optimizer, count)
    size = sum(map(math.prod, shapes(RUN.model).values()))
    assert (found[0].start, found[-1].stop, len(found)) == (0, size, count)
    assert [one.stop for one in found[:-1]] == [one.start for one in found[1:]]
    assert all(one.start <= one.stop for one in found)
    start = 0
    for name, shape in shapes(RUN.model).items():
        stop = start + math.prod(shape)
        if trainers[name].optimizer.name == "muon":
            assert not any(start < one.stop < stop for one in found), name
        start = stop
    if optimizer == "adamw":
        sizes = {one.stop - one.start for one in found}
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon"])
@pytest.mark.parametrize("count", [2, 5, 50])
def test_shards_stepped_one_by_one_are_a_step_of_all(optimizer, count):
    rules = "spectral" if optimizer == "muon" else "mup"
    run = replace(EXACT, optimizer=optimizer, parametrization=rules)
    found, trainers = shards(optimizer, count)
    weights_KP = torch.stack([pack(start_of(vary(run, seed=seed))) for seed in range(2)])
    hypers = [run.hyper, replace(run.hyper, lr=2**-3, weight_decay=0.3, clip=0.1)]
    table = rules_of(rules, run.model, run.base)
    everywhere = [by_tensor(run.model, hyper) for hyper in hypers]
    whole = stacked_optimizer(shapes(run.model), table, trainers, everywhere, weights_KP)
    state = fresh_state(weights_KP.clone(), buffers_of(run))
    parts = [fresh_state(weights_KP.clone()[:, shard], buffers_of(run)) for shard in found]
    for seed in range(3):
        gradient_KP = torch.randn(
            weights_KP.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        norm_K = whole.update(state, gradient_KP, torch.ones(2, 1, dtype=torch.float64))
        for part, shard in zip(parts, found, strict=True):
            ours = within(whole, shard)
            factor_K1 = torch.ones(2, 1, dtype=torch.float64)
            ours.update(part, gradient_KP[:, shard], factor_K1, norm_K[:, None])
    together = torch.cat([part.weights_KP for part in parts], dim=1)
    torch.testing.assert_close(together, state.weights_KP, rtol=1e-12, atol=1e-12)


def test_a_rank_keeps_its_part_of_the_buffers():
    """16 bytes a parameter of AdamW in float32 for one process, 8 + 8 / N for each of N."""
    model = llama(width=512, depth=4, vocab_size=256, context=8)
    large = replace(RUN, model=model, base=model)
    parameters = sum(map(math.prod, shapes(large.model).values()))
    assert [kept_bytes(large, ranks) / parameters for ranks in (1, 2, 8)] == [16, 12, 9]


def test_what_fits_is_planned_for_each_rank():
    share = Split(1, share_of(EXACT, 2))
    budget = peak_bytes(EXACT, 1, share, 2)
    assert planned(EXACT, 1, budget, ranks=2) == share
    assert planned(EXACT, 1, budget - 1, ranks=2).sequences < share.sequences
    with pytest.raises(UserError, match="more than"):
        planned(EXACT, 1, peak_bytes(EXACT, 1, Split(1, 1), 2) - 1, ranks=2)


def test_the_shards_of_a_stack_are_of_what_its_optimizer_trains():
    found = shards_of(Stack([RUN]), Ranks(0, 2))
    assert found == shards("adamw", 2)[0]
