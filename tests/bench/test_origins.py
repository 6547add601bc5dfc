"""What of a grown model is old, by methods that put new blocks in different places."""

from functools import partial

import pytest
import torch

from mugrow.bench import origins
from mugrow.bench.growth import During, method
from mugrow.bench.model import Decoder, shapes
from mugrow.bench.parametrization import generator, initial_weights, rules_of
from mugrow.bench.spec import ModelSpec, UserError

SMALL = ModelSpec(width=8, depth=2, head_size=4, context=8, vocab_size=16)


def drawn(model: ModelSpec, seed: int):
    """A decoder, and weights of it that are all random."""
    rules = rules_of("sp", model, SMALL)
    init = initial_weights(model, rules, dict.fromkeys(shapes(model), 0.1), seed, torch.float32)
    noise = {name: torch.rand(one.shape, generator=generator("growth", seed)) for name, one in
             init.items()}  # fmt: skip
    return Decoder(model, rules.multipliers), {name: init[name] + noise[name] for name in init}


def found(name: str, params: dict[str, str] | None = None, **changes: int) -> dict[int, int]:
    big = ModelSpec(**(vars(SMALL) | changes))
    (small, weights), (target, init) = drawn(SMALL, 0), drawn(big, 1)
    grow = partial(method(name).grow, small=small, big=target, init=init, **(params or {}))
    return origins.blocks_of(lambda w: grow(w, rng=generator("growth", 2)), weights, SMALL)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("stack", {0: 0, 1: 1}),
        ("interleave", {0: 0, 2: 1}),
        ("llama_pro", {0: 0, 2: 1}),
        ("szp", {0: 0, 1: 1}),
    ],
)
def test_a_block_goes_on_where_the_method_puts_it_first(name, blocks):
    assert found(name, depth=4) == blocks


@pytest.mark.parametrize("name", ["szp", "hypercloning", "net2net"])
def test_every_block_goes_on_where_depth_stays(name):
    assert found(name, width=16) == {0: 0, 1: 1}


def test_a_block_that_others_have_a_part_in_is_its_own():
    """With ``mode=aki`` a block's new units are of the block above."""
    assert found("bert2bert", {"mode": "aki"}, width=16) == {0: 0, 1: 1}


def test_a_coordinate_is_old_where_all_of_its_axes_and_its_block_are():
    big = ModelSpec(**(vars(SMALL) | {"width": 16, "depth": 3}))
    is_old = origins.old({0: 0, 2: 1}, SMALL, big)
    assert {name: one.shape for name, one in is_old.items()} == {
        name: torch.Size(shape) for name, shape in shapes(big).items()
    }
    assert is_old["embed.weight"].sum(0).tolist() == [16] * 8 + [0] * 8
    corner = torch.zeros(16, 16)
    corner[:8, :8] = 1
    assert torch.equal(is_old["blocks.2.attention.o.weight"], corner)
    assert not is_old["blocks.1.attention.o.weight"].any()


def test_a_methods_own_rates_are_multiplied():
    is_old = {"a": torch.tensor([1.0, 0.0]), "b": torch.zeros(1)}
    own = During(rates=lambda t: {"a": 10.0 * t})
    rates = origins.with_new_rate(own, method("szp"), is_old, 0.5).rates(3)
    assert {name: one.tolist() for name, one in rates.items()} == {"a": [30.0, 15.0], "b": [0.5]}


def test_a_rate_needs_something_new_to_train():
    with pytest.raises(UserError, match="new_rate is of what the source had not, and 'szp' added"):
        origins.with_new_rate(None, method("szp"), {"a": torch.ones(2)}, 2.0)
    lifts = During(lift=lambda start: {"other": torch.ones(2)})
    with pytest.raises(UserError, match="'msg' trains other tensors than the model's"):
        origins.with_new_rate(lifts, method("msg"), {"a": torch.zeros(2)}, 2.0)
