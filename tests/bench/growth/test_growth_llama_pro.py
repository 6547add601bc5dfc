"""Block expansion: exact, and for the reason given; what is new learns, and what is frozen not."""

from dataclasses import replace

import pytest
import torch
from growth_runs import MODEL, RUN, start_of, train

from mugrow.bench.growth import method
from mugrow.bench.growth.llama_pro import OUTPUTS, order
from mugrow.bench.model import Decoder, cross_entropy, flatten, parameters, unflatten
from mugrow.bench.spec import ModelSpec, llama

ENTRY = method("llama_pro")


def shape(flavour=ModelSpec, depth=3, **fields) -> ModelSpec:
    return flavour(width=16, depth=depth, head_size=8, context=8, vocab_size=13, **fields)


def error(small: ModelSpec, weights: dict, big: ModelSpec, grown: dict) -> float:
    tokens = torch.randint(13, (4, 8), generator=torch.Generator().manual_seed(0))
    want = Decoder(small)(weights, tokens)
    return float((Decoder(big)(grown, tokens) - want).norm() / want.norm())


def expand(small: ModelSpec, weights: dict, depth: int) -> tuple[ModelSpec, dict]:
    big = replace(small, depth=depth)
    return big, ENTRY.grow(weights, Decoder(small), Decoder(big), {}, torch.Generator())


def gradient(model: ModelSpec, weights: dict) -> dict:
    tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(1))
    flat = flatten(model, weights)[None].requires_grad_()
    loss = cross_entropy(Decoder(model).logits(flat, tokens[None, :, :-1]), tokens[None, :, 1:])
    return unflatten(model, torch.autograd.grad(loss.sum(), flat)[0][0])


@pytest.mark.parametrize(
    ("small", "big", "blocks", "new"),
    [
        (4, 6, [0, 1, 1, 2, 3, 3], {2, 5}),
        (2, 4, [0, 0, 1, 1], {1, 3}),
        (2, 6, [0, 0, 0, 1, 1, 1], {1, 2, 4, 5}),
        (3, 4, [0, 1, 2, 2], {3}),
        (3, 3, [0, 1, 2], set()),
    ],
)
def test_new_blocks_are_spread_over_the_old_ones(small, big, blocks, new):
    assert order(shape(depth=small), shape(depth=big)) == (blocks, new)


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
@pytest.mark.parametrize("depth", [3, 4, 6, 7])
def test_the_logits_are_the_sources(random_weights, flavour, depth):
    small = shape(flavour)
    weights = random_weights(small)
    assert error(small, weights, *expand(small, weights, depth)) <= 1e-15


def test_with_the_output_biases_kept_they_are_not(random_weights):
    small = shape()
    weights = random_weights(small)
    big, grown = expand(small, weights, 6)
    for block, source in enumerate(order(small, big)[0]):
        for output in OUTPUTS:
            name = f"{output}bias"
            grown[f"blocks.{block}{name}"] = weights[f"blocks.{source}{name}"].clone()
    assert 0.1 < error(small, weights, big, grown) < 1


def test_only_outputs_get_a_gradient_first_and_everything_after_one_step(random_weights):
    small = shape(llama)
    big, grown = expand(small, random_weights(small), 6)
    new = [name for name in parameters(big) if name.split(".")[1] in ("1", "3", "5")]
    first = gradient(big, grown)
    live = {name for name in new if first[name].any()}
    assert live == {name for name in new if any(output in name for output in OUTPUTS)}
    stepped = {name: tensor - 0.1 * first[name] for name, tensor in grown.items()}
    second = gradient(big, stepped)
    assert all(second[name].any() for name in new)


@pytest.mark.parametrize(("flavour", "alive"), [(ModelSpec, True), (llama, False)])
def test_behind_a_zero_gain_instead_a_swiglu_mlp_would_be_dead(random_weights, flavour, alive):
    """Zero gains (and biases) are exact too, but a product of two zeros has no gradient."""
    small = shape(flavour, depth=1)
    weights = random_weights(small)
    big = replace(small, depth=2)
    grown = {
        name: torch.zeros_like(tensor) if "norm" in name or "bias" in name else tensor.clone()
        for name, tensor in random_weights(big).items()
    } | {name: tensor.clone() for name, tensor in weights.items()}
    assert error(small, weights, big, grown) <= 1e-15
    for _ in range(3):
        now = gradient(big, grown)
        grown = {name: tensor - 0.1 * now[name] for name, tensor in grown.items()}
    assert bool(now["blocks.1.norm2.gain"].any()) is alive
    assert bool(now["blocks.1.mlp.down.weight"].any()) is alive


def test_frozen_tensors_do_not_move_and_new_ones_do():
    big = replace(MODEL, depth=2)
    grown = ENTRY.grow(start_of(RUN), Decoder(MODEL), Decoder(big), {}, torch.Generator())
    run = replace(RUN, model=big, steps=5)
    end = train(run, grown, ENTRY.during(MODEL, big, 5, freeze=True)).weights
    moved = {name for name in end if not torch.equal(end[name], grown[name])}
    assert moved == {name for name in parameters(big) if name.startswith("blocks.1.")}
    assert ENTRY.during(MODEL, big, 5).rates is None
