"""The registry, the errors of ``check_growth``, and what every entry must do."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.growth import GrowthMethod, check_growth, check_params, method, names
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.spec import ModelSpec, UserError, llama

SMALL = ModelSpec(width=8, depth=2, head_size=4, context=6, vocab_size=11)
WIDE = replace(SMALL, width=16)
DEEP = replace(SMALL, depth=4)


def target(entry: GrowthMethod, small: ModelSpec, ratio: int) -> ModelSpec:
    """A shape that the entry can be grown into: larger along its axes, or smaller."""
    if entry.shrinks:
        return replace(small, depth=-(-small.depth // ratio))
    return replace(small, **{axis: ratio * getattr(small, axis) for axis in entry.axes})


@pytest.mark.parametrize("name", names())
def test_entries_know_their_name_and_default_parameters(name: str):
    entry = method(name)
    assert entry.name == name
    assert all(type(value) in (int, float, str, bool) for value in entry.params.values())
    for param, words in entry.choices.items():
        assert entry.params[param] in words


def test_unknown_method_names_the_nearest():
    with pytest.raises(UserError, match="unknown method 'hyperclone'; did you mean 'hypercloning'"):
        method("hyperclone")


@pytest.mark.parametrize("name", names())
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    heads=st.integers(1, 3),
    head_size=st.sampled_from([2, 4]),
    depth=st.integers(1, 2),
    ratio=st.integers(1, 3),
    flavour=st.sampled_from([ModelSpec, llama]),
    tied=st.booleans(),
)
def test_result_is_the_targets_in_names_shapes_and_dtype_and_the_source_is_untouched(
    random_weights, name, heads, head_size, depth, ratio, flavour, tied
):
    small = flavour(
        width=heads * head_size,
        depth=depth,
        head_size=head_size,
        context=3,
        vocab_size=5,
        tied=tied,
    )
    entry = method(name)
    big = target(entry, small, ratio)
    check_growth(entry, small, big, {})
    source, init = random_weights(small, 1, torch.float32), random_weights(big, 2, torch.float32)
    before = {key: tensor.clone() for key, tensor in source.items()}

    given = {"batches": lambda step: torch.full((1, 4), step), "steps": 2}

    def grow():
        more = given if entry.learning_steps else {}
        return entry.grow(source, Decoder(small), Decoder(big), init, torch.Generator(), **more)

    grown, again = grow(), grow()
    assert grown.keys() == parameters(big).keys()
    for key, tensor in grown.items():
        assert tensor.shape == parameters(big)[key].shape
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, again[key])
        tensor.zero_()
    assert all(torch.equal(source[key], tensor) for key, tensor in before.items())


def test_scratch_is_the_targets_own_init(random_weights):
    init = random_weights(WIDE)
    grown = method("scratch").grow({}, Decoder(SMALL), Decoder(WIDE), init, torch.Generator())
    assert all(torch.equal(grown[name], init[name]) for name in parameters(WIDE))


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("bert2bert", {"mode": "fpl"}, "unknown mode of method 'bert2bert': 'fpl'; did.*'fpi'"),
        ("gradual_stack", {"where": "midle"}, "'midle'; did you mean 'middle'"),
        ("hypercloning", {"mode": "diag"}, "'diag'; did you mean 'diagonal'"),
        ("ligo", {"depth": "stak"}, "'stak'; did you mean 'stack'"),
        ("prune", {"keep": "frist"}, "'frist'; did you mean 'first'"),
        ("staged", {"layers": "identify"}, "'identify'; did you mean 'identity'"),
        ("szp", {"blocks": "stak"}, "'stak'; did you mean 'stack'"),
        ("zero_pad", {"norms": "streams"}, "'streams'; did you mean 'stream'"),
    ],
)
def test_a_word_that_is_none_of_the_choices_names_the_nearest(name, words, message):
    with pytest.raises(UserError, match=message):
        check_params(method(name), words)


@pytest.mark.parametrize(
    ("name", "big", "params", "message"),
    [
        ("szp", WIDE, {"shrnk": 0.4}, "unknown parameter .*'szp'.*'shrnk'; did you mean 'shrink'"),
        ("stack", DEEP, {"shrink": 0.4}, "'stack' has no parameters, so no 'shrink'"),
        ("msg", WIDE, {"grow_steps": 0}, "grow_steps .*whole number, at least 1, like 100, not 0"),
        ("msg", WIDE, {"grow_steps": 2.5}, "whole number, at least 1, like 100, not 2.5"),
        ("llama_pro", DEEP, {"freeze": 1}, "freeze .*true or false, like False, not 1"),
        ("szp", WIDE, {"shrink": "big"}, "shrink .*number like 0.4, not 'big'"),
        ("szp", WIDE, {"shrink": True}, "shrink .*number like 0.4, not True"),
        ("szp", WIDE, {"perturb": float("nan")}, "perturb .*finite number like 1.0, not nan"),
        (
            "zero_pad",
            replace(SMALL, width=4),
            {},
            r"target \(width 4, depth 2\) is smaller than its source \(width 8, depth 2\)",
        ),
        ("stack", replace(SMALL, depth=1), {}, "depth 1.* smaller .*depth must be at least 2"),
        ("hypercloning", replace(WIDE, norm="rmsnorm"), {}, "norm must be .*'layernorm', not 'rms"),
        ("szp", replace(WIDE, mlp="swiglu"), {}, "mlp must be .*'gelu', not 'swiglu'"),
        ("szp", replace(WIDE, positions="rope"), {}, "positions must be .*'learned', not 'rope'"),
        ("szp", replace(WIDE, tied=True), {}, "tied must be .*False, not True"),
        ("szp", replace(WIDE, bias=False), {}, "bias must be .*True, not False"),
        ("szp", replace(WIDE, context=7), {}, "context must be .*6, not 7"),
        ("szp", replace(WIDE, vocab_size=12), {}, "vocab_size must be .*11, not 12"),
        ("zero_pad", replace(WIDE, depth=4), {}, "'zero_pad' grows width only: .*depth .*2, not 4"),
        ("stack", replace(DEEP, width=16), {}, "'stack' grows depth only: .*width must be .*8, no"),
        ("stack", replace(DEEP, head_size=8), {}, "head_size must be .*4, not 8"),
        ("stack", replace(SMALL, depth=5), {}, "depth 5 is not a multiple of 2; .*is: 4"),
        ("hypercloning", replace(SMALL, width=20), {}, "width 20 is not a multiple of 8; .*is: 16"),
        ("hypercloning", replace(WIDE, mlp_ratio=3.0), {}, "mlp_width 48 is not .* 32; .*is: 64"),
        ("msg", replace(WIDE, head_size=8), {}, "head_size must stay 4, not 8"),
        ("zero_pad", replace(WIDE, head_size=16), {}, "heads would shrink from 2 to 1"),
        ("zero_pad", replace(WIDE, head_size=2), {}, "head_size would shrink from 4 to 2"),
        ("szp", replace(WIDE, mlp_ratio=1.0), {}, "mlp_width would shrink from 32 to 16"),
    ],
)
def test_a_growth_that_cannot_be_done_is_refused_in_one_line(name, big, params, message):
    with pytest.raises(UserError, match=message) as error:
        check_growth(method(name), SMALL, big, params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "big"),
    [
        ("zero_pad", replace(SMALL, width=12)),
        ("szp", replace(WIDE, head_size=8, mlp_ratio=3.0)),
        ("hypercloning", replace(WIDE, mlp_ratio=2.0)),
        ("stack", replace(SMALL, depth=6)),
        ("scratch", replace(SMALL, width=12, depth=3)),
    ],
)
def test_a_growth_that_can_be_done_is_not_refused(name, big):
    check_growth(method(name), SMALL, big, {})


def test_whole_numbers_are_numbers():
    check_growth(method("szp"), SMALL, WIDE, {"shrink": 1, "perturb": 0})
