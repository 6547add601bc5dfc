"""Grouped-query attention: heads are copied with the keys they read, or the growth is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.checks.cases import Case, flavours, random_weights
from mugrow.bench.checks.equivalence import curve_difference
from mugrow.bench.checks.preservation import logit_error
from mugrow.bench.growth import bert2bert, check_growth, method, msg, mup_upscale, names, net2net
from mugrow.bench.growth.zero_pad import kept_heads, pad
from mugrow.bench.spec import ModelSpec, UserError

SMALL = flavours()["llama grouped"]  # heads 0 1 | 2 3
MORE_HEADS = replace(SMALL, width=32)  # heads 0 1 2 3 | 4 5 6 7
MORE_GROUPS = replace(SMALL, width=32, kv_heads=4)
REFUSES = {"ligo"}


def growth(big: ModelSpec, rules: str = "mup") -> Case:
    return Case("", rules, replace(SMALL, width=8, head_size=2), SMALL, big)


def heads(units: net2net.Units, role: net2net.Role) -> list[int]:
    return [int(row) // SMALL.head_size for row in units[role][:: SMALL.head_size]]


def test_copies_of_heads_lie_beside_copies_of_the_keys_they_read():
    units = net2net.tiled(SMALL, MORE_HEADS)
    assert heads(units, "heads") == [0, 1, 0, 1, 2, 3, 2, 3]
    assert heads(units, "kv_heads") == [0, 1]
    units = net2net.tiled(SMALL, MORE_GROUPS)
    assert heads(units, "heads") == [0, 1, 2, 3, 0, 1, 2, 3]
    assert heads(units, "kv_heads") == [0, 1, 0, 1]
    units = mup_upscale.repeated(SMALL, MORE_HEADS)
    assert heads(units, "heads") == [0, 0, 1, 1, 2, 2, 3, 3]


@settings(deadline=None, derandomize=True)
@given(
    groups=st.integers(1, 3),
    group_size=st.integers(1, 3),
    more_groups=st.integers(1, 3),
    more_heads=st.integers(1, 3),
)
@pytest.mark.parametrize("units_of", ["tiled", "repeated", "drawn evenly", "drawn"])
def test_a_copy_of_a_head_reads_a_copy_of_its_keys(
    units_of, groups, group_size, more_groups, more_heads
):
    def spec(groups: int, group_size: int) -> ModelSpec:
        return ModelSpec(width=4 * groups * group_size, depth=1, head_size=4, kv_heads=groups)

    small = spec(groups, group_size)
    big = spec(groups * more_groups, group_size * more_heads)
    rng = torch.Generator().manual_seed(0)
    units = {
        "tiled": lambda: net2net.tiled(small, big),
        "repeated": lambda: mup_upscale.repeated(small, big),
        "drawn evenly": lambda: bert2bert.draw(small, big, rng),
        "drawn": lambda: net2net._units(small, big, rng),
    }[units_of]()
    reads = torch.arange(big.heads) // big.group_size
    assert torch.equal(
        units["heads"].view(-1, 4)[:, 0] // 4 // small.group_size,
        units["kv_heads"].view(-1, 4)[reads, 0] // 4,
    )


@pytest.mark.integration
@pytest.mark.parametrize("big", [MORE_HEADS, MORE_GROUPS], ids=["heads", "groups"])
@pytest.mark.parametrize("name", ["hypercloning", "mup_upscale"])
def test_training_goes_on_as_the_sources_own(name, big):
    assert curve_difference(method(name), growth(big), {}) < 1e-9


@pytest.mark.parametrize("big", [MORE_HEADS, MORE_GROUPS], ids=["heads", "groups"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("hypercloning", {"mode": "diagonal"}),
        ("hypercloning", {"mode": "noisy"}),
        ("zero_pad", {"norms": "stream"}),
    ],
)
def test_other_modes_preserve_the_logits(name, params, big):
    assert logit_error(method(name), growth(big), method(name).params | params) <= 1e-12


def test_whole_copies_of_heads_that_are_not_of_groups_preserve_nothing():
    entry, case = method("sparkling"), growth(replace(SMALL, width=48, kv_heads=3))  # heads 4 to 12
    assert "groups grows by no whole ratio" in str(entry.breaks(case.small, case.big, entry.params))
    assert logit_error(entry, case, {}) > 1e-3


def test_the_first_heads_of_each_group_are_the_sources():
    assert kept_heads(SMALL, MORE_HEADS).tolist() == [0, 1, 4, 5]
    assert kept_heads(SMALL, MORE_GROUPS).tolist() == [0, 1, 2, 3]
    ones = torch.ones(16, 16)
    padded = pad("blocks.0.attention.o.weight", ones, SMALL, MORE_HEADS, fill=0.0)
    assert padded[0].view(8, 4)[:, 0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    start = msg.during(SMALL, MORE_HEADS, 10).used
    drawn = random_weights(MORE_HEADS)
    masked = start(drawn, 0, None)["blocks.0.attention.o.weight"]
    assert torch.equal(masked, drawn["blocks.0.attention.o.weight"] * padded[0])


@pytest.mark.parametrize("name", names())
def test_every_method_grows_grouped_models_or_says_why_not(name):
    entry = method(name)
    big = replace(SMALL, depth=1 if entry.shrinks else 4) if "depth" in entry.axes else SMALL
    big = replace(big, width=32) if "width" in entry.axes and not entry.shrinks else big
    if name in REFUSES:
        with pytest.raises(UserError, match="kv_heads must be the number of heads, 4, not 2"):
            check_growth(entry, SMALL, big, {})
    else:
        check_growth(entry, SMALL, big, {})


@pytest.mark.parametrize(
    ("name", "small", "big", "message"),
    [
        ("stack", SMALL, replace(SMALL, depth=4, kv_heads=4), "kv_heads must be .* 2, not 4"),
        ("szp", replace(SMALL, kv_heads=None), MORE_HEADS, "groups would shrink from 4 to 2"),
        ("szp", SMALL, replace(MORE_HEADS, kv_heads=1), "groups would shrink from 2 to 1"),
        ("szp", SMALL, replace(MORE_HEADS, kv_heads=8), "group_size would shrink from 2 to 1"),
        ("hypercloning", SMALL, replace(SMALL, width=48, kv_heads=3), "groups 3 is not a multiple"),
        ("ligo", replace(SMALL, kv_heads=None), MORE_HEADS, "number of heads, 8, not 2"),
    ],
)
def test_groups_that_cannot_be_grown_are_refused_in_one_line(name, small, big, message):
    with pytest.raises(UserError, match=message) as error:
        check_growth(method(name), small, big, {})
    assert "\n" not in str(error.value)
