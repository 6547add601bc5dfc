"""The kit finds what is wrong with a method, and finds nothing wrong with ours."""

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mugrow.bench.checks import CHECKS, check_method, failures
from mugrow.bench.checks import cases as cases_module
from mugrow.bench.checks.cases import (
    Grown,
    cases,
    flavours,
    grow,
    initial,
    random_weights,
    some_tokens,
)
from mugrow.bench.checks.coordinates import slopes
from mugrow.bench.checks.equivalence import curve_difference
from mugrow.bench.checks.preservation import logit_error
from mugrow.bench.checks.symmetry import drift, with_noise
from mugrow.bench.growth import GrowthMethod, Moments, method, names
from mugrow.bench.model import Decoder
from mugrow.bench.parametrization import parametrization

AT_ONCE = ("hypercloning", "stack", "szp")  # of each kind one; all of them are an integration test
COUNTED = {"calls": 0}


@pytest.fixture
def few_flavours(monkeypatch):
    """What a quick test has time for: GPT-2 as it is, LLaMA, and with all that Qwen has."""
    qwen = "llama grouped rope_theta qkv_bias qk_norm"
    few = {name: flavours()[name] for name in ("gpt2", "llama", qwen)}
    monkeypatch.setattr(cases_module, "flavours", lambda full=False: few)


def found(entry: GrowthMethod, check: str) -> list[str]:
    """What a check says of the cases that fail."""
    return [f"{r.case}: {r.reason}" for r in failures(CHECKS[check](entry, {}, False))]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in AT_ONCE else pytest.mark.integration)
        for name in names()
    ],
)
def test_every_method_keeps_the_contract(name, few_flavours):
    entry = method(name)
    for check in ("shapes", "source", "moments", "preservation", "liveness"):
        assert found(entry, check) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_method_passes_the_whole_kit(name):
    assert failures(check_method(method(name), full=True)) == []


@pytest.mark.parametrize(
    ("seeds", "library"),
    [(torch.manual_seed, "torch"), (np.random.seed, "NumPy"), (random.seed, "Python")],
)
def test_a_method_that_moves_a_global_generator_is_named(seeds, library, few_flavours):
    """Also where what it returns is the same twice, and in all that it does."""
    stack = method("stack")

    def grow(*given, **params):
        seeds(0)
        return stack.grow(*given, **params)

    def grow_moments(*given, **params):
        seeds(1)
        return stack.grow_moments(*given, **params)

    seeds(0)  # as it does itself
    before = torch.get_rng_state(), random.getstate()
    said = f"it moves the global generator of {library}; rng is for what is random"
    assert found(replace(stack, grow=grow), "shapes") == []
    assert said in found(replace(stack, grow=grow), "seed")[0]
    assert said in found(replace(stack, grow_moments=grow_moments), "moments")[0]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_the_matrix_is_every_decoder_and_every_growth():
    assert len(set(flavours(full=True).values())) == 49
    assert set(flavours().values()) <= set(flavours(full=True).values())
    both = replace(method("stack"), axes=("width", "depth"), supports=lambda small, big: None)
    whole = cases(both, {}, full=True)
    assert len(whole) == len({case.name for case in whole}) == 49 * 7 * 2
    grouped = [case for case in whole if case.small.kv_heads]
    assert {(c.big.groups, c.big.group_size, c.big.head_size, c.big.depth) for c in grouped} == {
        (2, 4, 4, 2),
        (2, 3, 4, 2),
        (4, 2, 4, 2),
        (2, 2, 8, 2),
        (2, 2, 4, 4),
        (2, 2, 4, 3),
        (4, 2, 4, 4),
    }
    others = [case for case in whole if not case.small.kv_heads]
    assert {(c.big.heads, c.big.head_size, c.big.depth) for c in others} == {
        (4, 8, 2),
        (3, 8, 2),
        (2, 16, 2),
        (2, 8, 2),
        (2, 8, 4),
        (2, 8, 3),
        (4, 8, 4),
    }
    multipliers = [c.decoder(c.small).multipliers for c in whole if c.parametrization == "mup"]
    assert all(m.output == 0.5 and m.attention == math.sqrt(0.5) for m in multipliers)


def test_a_method_that_shrinks_is_given_the_pairs_the_other_way_round():
    shrinking = replace(method("stack"), shrinks=True)
    assert {(c.small.depth, c.big.depth) for c in cases(shrinking, {})} == {(4, 2), (3, 2)}


def changed(change) -> GrowthMethod:
    """``stack`` whose result is passed through ``change(grown, weights, init)``."""
    stack = method("stack")

    def grow(weights, small, big, init, rng):
        return change(stack.grow(weights, small, big, init, rng), weights, init)

    return replace(stack, grow=grow)


def without_the_last(grown, weights, init):
    grown.popitem()
    return grown


def counting(grown, weights, init):
    COUNTED["calls"] += 1
    return grown | {"norm.gain": grown["norm.gain"] + COUNTED["calls"]}


def scribbling(grown, weights, init):
    weights["norm.gain"].zero_()
    return grown


def scribbling_on_the_draw(grown, weights, init):
    init["norm.gain"].zero_()
    return grown


def raising(grown, weights, init):
    raise ZeroDivisionError("by the\nwidth")


@pytest.mark.parametrize(
    ("check", "change", "reason"),
    [
        ("shapes", without_the_last, "head.weight is missing"),
        ("shapes", lambda g, w, i: g | {"extra": g["norm.gain"]}, "extra is not a tensor of the"),
        ("shapes", lambda g, w, i: g | {"norm.gain": torch.ones(3)}, r"norm.gain has shape \(3,\)"),
        ("shapes", lambda g, w, i: g | {"norm.gain": g["norm.gain"] / 0}, "not finite"),
        ("shapes", raising, "ZeroDivisionError: by the$"),
        ("shapes", lambda g, w, i: None, "AttributeError"),
        ("seed", counting, "norm.gain differs when it is grown again"),
        ("source", scribbling, "norm.gain of the source was changed"),
        ("source", scribbling_on_the_draw, "norm.gain of the target's draw was changed"),
        ("source", lambda g, w, i: g | {"norm.gain": w["norm.gain"]}, "shares its storage"),
        (
            "dtype",
            lambda g, w, i: g | {"norm.gain": g["norm.gain"].double()},
            "float64, not torch.float32",
        ),
    ],
)
def test_a_broken_method_is_found(check, change, reason, few_flavours):
    (first, *_) = failures(CHECKS[check](changed(change), {}, False))
    assert re.search(reason, first.reason), first.reason
    assert first.method == "stack"
    assert first.check == check


def test_a_claim_that_is_too_bold_and_one_that_is_too_modest(few_flavours):
    bold = replace(method("stack"), breaks=lambda small, big, params: None)
    modest = replace(method("continue"), breaks=lambda small, big, params: "who knows")
    assert all("nothing should break" in line for line in found(bold, "preservation"))
    assert all("in spite of: who knows" in line for line in found(modest, "preservation"))
    assert found(bold, "preservation")
    assert found(modest, "preservation")


def test_liveness_is_the_exact_set(few_flavours):
    """Golden: behind a norm gain of zero a SwiGLU MLP is dead, a GELU one is not."""
    dead = {"blocks.0.norm1.gain"}
    declared = replace(method("stack"), dead=lambda small, big, params: frozenset(dead))
    silent = changed(lambda g, w, i: {n: t * (".norm2." not in n) for n, t in g.items()})
    assert all("norm1.gain is declared dead and" in line for line in found(declared, "liveness"))
    assert found(silent, "liveness")
    for line in found(silent, "liveness"):
        assert line.startswith("llama")
        assert "mlp.down.weight gets no gradient, which is not declared" in line


def test_a_negative_second_moment_is_found(few_flavours):
    def grow_moments(moments, small, big, rng):
        kept = method("stack").grow_moments(moments, small, big, rng)
        return Moments(kept.m, {name: -tensor for name, tensor in kept.v.items()})

    assert "is negative" in found(replace(method("stack"), grow_moments=grow_moments), "moments")[0]


def test_a_method_that_supports_nothing_fails_and_no_more_is_checked():
    entry = replace(method("stack"), supports=lambda small, big: "not today")
    (only,) = check_method(entry)
    assert (only.check, only.status) == ("supports", "fail")
    assert "not today" in only.reason


def test_what_is_not_supported_is_skipped_with_the_entrys_reason(few_flavours):
    results = list(CHECKS["shapes"](method("stack"), {}, False))
    skipped = [r for r in results if r.status == "skip"]
    assert {"depth 3 is not a multiple of 2" in r.reason for r in skipped} == {True}
    assert {r.case.split(", ")[1] for r in skipped} == {"depth 2 to 3"}


def test_unscaled_moments_are_not_equivalent():
    """Golden: exact with moments grown as gradients are, off by more than 1e-3 without."""
    entry = method("mup_upscale")
    (case, *_) = cases(entry, {}, rules=("mup",))

    def grow_moments(moments, small, big, rng, **params):
        scaled = entry.grow_moments(moments, small, big, rng, **params)
        factor = case.big.width / case.small.width
        first = {name: tensor * factor for name, tensor in scaled.m.items()}
        second = {name: tensor * factor**2 for name, tensor in scaled.v.items()}
        return Moments(first, second)

    assert curve_difference(entry, case, {}) <= 1e-12
    assert curve_difference(replace(entry, grow_moments=grow_moments), case, {}) > 1e-3


def test_a_method_that_learns_does_so_for_a_few_steps_but_in_the_smoke_test(monkeypatch):
    asked = []

    def learned(weights, small, big, init, rng, *, batches, rounds=100):
        asked.append(rounds)
        return {name: tensor.clone() for name, tensor in init.items()}

    entry = replace(method("ligo"), grow=learned, learning_steps="rounds", choices={})
    assert found(entry, "shapes") == []
    assert set(asked) == {cases_module.LEARNING_STEPS}
    list(CHECKS["shapes"](entry, {"rounds": 7}, False))
    assert asked[-1] == 7
    monkeypatch.setattr("mugrow.bench.checks.smoke.STEPS", 1)
    list(CHECKS["smoke"](entry, {}, False))
    assert asked[-1] == 100


def test_copies_are_locked_until_there_is_noise():
    """Golden: asymmetry at most 1e-12 without a breaker, above 1e-4 with one."""
    entry = method("hypercloning")
    (case, *_) = cases(entry, {}, rules=("mup",))
    source = random_weights(case.small)
    init = initial(case)
    grown = grow(entry, case, {}, source, init)
    noisy = Grown(with_noise(case, grown.weights, init), grown.during)
    assert drift(case, grown)[1] <= 1e-12
    assert drift(case, noisy)[1] > 1e-4


def test_a_scale_that_follows_the_width_has_a_slope():
    entry = method("hypercloning")

    def grow(weights, small, big, init, rng):
        grown = entry.grow(weights, small, big, init, rng)
        return grown | {"embed.weight": grown["embed.weight"] * small.spec.width}

    wrong = replace(entry, grow=grow)
    (case, *_) = cases(entry, {}, rules=("mup",))
    assert max(map(abs, slopes(entry, case, {})[:-1])) < 0.2
    assert slopes(wrong, case, {})[0] == pytest.approx(1, abs=0.1)


def test_logits_are_taken_as_the_model_runs():
    """``msg`` preserves through its masks; the bare weights do not."""
    entry = method("msg")
    (case, *_) = cases(entry, {})
    assert logit_error(entry, case, {}) <= 1e-12
    assert logit_error(replace(entry, during=None), case, {}) > 1e-3


def test_a_stream_ends_in_the_logits():
    spec = flavours()["gpt2"]
    weights = random_weights(spec)
    decoder = Decoder(spec, parametrization("sp").rules(spec, spec).multipliers)
    *_, last = decoder.stream(weights, some_tokens())
    normal = torch.nn.functional.layer_norm(
        last, (spec.width,), weights["norm.gain"], weights["norm.bias"]
    )
    logits = normal @ weights["head.weight"].T
    torch.testing.assert_close(decoder(weights, some_tokens()), logits, rtol=0, atol=1e-12)
    assert len(decoder.stream(weights, some_tokens())) == spec.depth + 1
