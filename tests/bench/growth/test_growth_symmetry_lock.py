"""Copies stay copies under AdamW, to the last digits, until something parts them."""

from functools import cache

import pytest
from width_cases import case

from mugrow.bench.asymmetry import asymmetry
from mugrow.bench.checks.cases import Case, Grown, grow, initial, some_tokens
from mugrow.bench.checks.symmetry import with_noise
from mugrow.bench.checks.training import run_spec, train, trained_source
from mugrow.bench.growth import Moments, method
from mugrow.bench.model import Weights
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import Scalar
from mugrow.bench.stack import Carried, model_weights

STEPS = 50
LOCKED, PARTED = 1e-12, 1e-4


@cache
def twice_as_wide(flavour: str) -> tuple[Case, Weights, Carried]:
    growth = case(flavour, "mup", width=32)
    return growth, *trained_source(growth)


def start(flavour: str, name: str, **params: Scalar) -> Weights:
    growth, source, _ = twice_as_wide(flavour)
    return grow(method(name), growth, params, source, initial(growth)).weights


def moments(flavour: str, name: str) -> Moments:
    growth, _, state = twice_as_wide(flavour)
    small, big = growth.decoder(growth.small), growth.decoder(growth.big)
    grow_moments = method(name).grow_moments
    assert grow_moments is not None
    return Moments(*grow_moments(Moments(**state.buffers), small, big, generator("growth", 0)))


def after_training(flavour: str, weights: Weights, carried: Moments | None = None) -> float:
    """The asymmetry, without what a method does to learning rates."""
    growth, _, source = twice_as_wide(flavour)
    state = Carried(carried._asdict(), source.updates) if carried else None
    stack, end = train(run_spec(growth, growth.big, STEPS), Grown(weights, None), state)
    big = growth.decoder(growth.big)
    return asymmetry(big, model_weights(stack, end, 0), some_tokens(), growth.small.width)


@pytest.mark.parametrize(
    ("name", "flavour"),
    [("hypercloning", "gpt2"), ("mup_upscale", "llama tied"), ("sparkling", "llama")],
)
def test_copies_stay_copies(name, flavour):
    weights = start(flavour, name)
    assert after_training(flavour, weights) <= LOCKED
    growth = twice_as_wide(flavour)[0]
    assert after_training(flavour, with_noise(growth, weights, initial(growth))) > PARTED


def test_blocks_on_a_diagonal_stay_copies_also_with_their_moments():
    weights = start("gpt2 tied", "staged")
    assert after_training("gpt2 tied", weights) <= LOCKED
    assert after_training("gpt2 tied", weights, moments("gpt2 tied", "staged")) <= LOCKED


def test_moments_reset_in_the_new_half_part_the_copies():
    weights = start("llama", "sparkling")
    assert after_training("llama", weights, moments("llama", "hypercloning")) <= LOCKED
    assert after_training("llama", weights, moments("llama", "sparkling")) > PARTED


def test_unequal_shares_and_noise_over_columns_part_the_copies():
    assert after_training("llama", start("llama", "lemon", uneven=0.0)) <= LOCKED
    assert after_training("llama", start("llama", "lemon")) > PARTED
    assert after_training("gpt2", start("gpt2", "hypercloning", mode="noisy")) > PARTED
