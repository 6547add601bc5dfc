"""Inheritune and pruning: what is kept, and that what is zero stays zero."""

from dataclasses import replace

import pytest
import torch
from growth_runs import MODEL, RUN, start_of, train
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.growth import Moments, method
from mugrow.bench.growth.prune import KEEP, kept
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.spec import ModelSpec, UserError, llama

LARGE = ModelSpec(width=8, depth=6, head_size=4, context=6, vocab_size=11, tied=True)
HALF = replace(LARGE, depth=3)
RNG = torch.Generator()


def inherit(random_weights, **params):
    source, init = random_weights(LARGE, 1), random_weights(HALF, 2)
    entry = method("inheritune")
    grown = entry.grow(source, Decoder(LARGE), Decoder(HALF), init, RNG, **params)
    return source, init, grown


def test_inheritune_takes_embedding_and_first_blocks_and_draws_the_rest_anew(random_weights):
    source, init, grown = inherit(random_weights)
    fresh = {"positions.weight", "norm.gain", "norm.bias"}
    for name in parameters(HALF):
        assert torch.equal(grown[name], (init if name in fresh else source)[name])


def test_inheritune_can_take_everything(random_weights):
    source, _, grown = inherit(random_weights, reinitialise=False)
    assert all(torch.equal(grown[name], source[name]) for name in parameters(HALF))


@pytest.mark.parametrize(
    ("part", "modules"),
    [("attention", {"attention"}), ("mlp", {"mlp"}), ("both", {"attention", "mlp"})],
)
def test_inheritune_can_take_a_part_of_each_block(random_weights, part, modules):
    source, init, grown = inherit(random_weights, part=part)
    taken = {"embed.weight"}
    for name in parameters(HALF):
        if name.startswith("blocks.") and name.split(".")[2] in modules:
            taken.add(name)
    assert {name for name in grown if torch.equal(grown[name], source[name])} == taken
    assert {name for name in grown if torch.equal(grown[name], init[name])} == set(grown) - taken


@pytest.mark.parametrize("reinitialise", [True, False])
def test_moments_of_what_is_drawn_anew_begin_at_zero(random_weights, reinitialise):
    ones = {name: torch.ones_like(tensor) for name, tensor in random_weights(LARGE).items()}
    first, second = method("inheritune").grow_moments(
        Moments(ones, ones), Decoder(LARGE), Decoder(HALF), RNG, reinitialise=reinitialise
    )
    zero = {name for name in first if not first[name].any() or not second[name].any()}
    assert zero == ({"positions.weight", "norm.gain", "norm.bias"} if reinitialise else set())


@pytest.mark.parametrize(
    ("depth", "target", "keep", "blocks"),
    [
        (6, 3, "spread", [0, 2, 4]),
        (6, 4, "spread", [0, 1, 3, 4]),
        (6, 3, "first", [0, 1, 2]),
        (6, 3, "ends", [0, 1, 5]),
        (6, 4, "ends", [0, 1, 4, 5]),
        (5, 5, "ends", [0, 1, 2, 3, 4]),
    ],
)
def test_which_blocks_stay(depth, target, keep, blocks):
    assert kept(depth, target, keep) == blocks


@settings(deadline=None, derandomize=True)
@given(target=st.integers(1, 9), dropped=st.integers(0, 9), keep=st.sampled_from(KEEP))
def test_no_block_stays_twice_and_their_order_is_kept(target, dropped, keep):
    blocks = kept(target + dropped, target, keep)
    assert len(blocks) == target
    assert blocks == sorted(set(blocks) & set(range(target + dropped)))


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
def test_the_smallest_entries_of_every_matrix_are_zero(random_weights, flavour):
    large = flavour(width=8, depth=2, head_size=4, context=6, vocab_size=11)
    source, decoder = random_weights(large), Decoder(large)
    pruned = method("prune").grow(source, decoder, decoder, {}, RNG, sparsity=0.25)
    for name, (shape, kind) in parameters(large).items():
        zero = pruned[name] == 0
        if kind != "matrix":
            assert torch.equal(pruned[name], source[name])
            continue
        assert int(zero.sum()) == shape[0] * shape[1] // 4
        assert source[name][zero].abs().max() < source[name][~zero].abs().min()
        assert torch.equal(pruned[name][~zero], source[name][~zero])


def test_zeros_stay_zero_while_everything_else_trains():
    run, decoder, entry = replace(RUN, steps=8), Decoder(MODEL), method("prune")
    start = entry.grow(start_of(run), decoder, decoder, {}, RNG, sparsity=0.5)
    end = train(run, start, entry.during(MODEL, MODEL, 8, sparsity=0.5)).weights
    for name, (_, kind) in parameters(MODEL).items():
        zero = (start[name] == 0) & (kind == "matrix")
        assert not end[name][zero].any()
        assert (end[name][~zero] != start[name][~zero]).float().mean() > 0.9
    assert entry.during(MODEL, MODEL, 8).used is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is a share .* not 1.0"),
        ({"sparsity": -0.1}, "sparsity is a share .* not -0.1"),
    ],
)
def test_what_cannot_be_pruned_is_refused(random_weights, params, message):
    with pytest.raises(UserError, match=message):
        method("prune").grow(
            random_weights(LARGE), Decoder(LARGE), Decoder(HALF), {}, RNG, **params
        )
