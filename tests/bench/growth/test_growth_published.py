"""Growth of what published models have: norms of queries and keys, heads of their own, rotary."""

from dataclasses import replace

import pytest
import torch

from mugrow.bench.checks.cases import GROUPED, NEOX, SMALL, Case, random_weights
from mugrow.bench.checks.equivalence import curve_difference
from mugrow.bench.checks.preservation import logit_error
from mugrow.bench.growth import check_growth, method
from mugrow.bench.growth.composable import same_frequencies
from mugrow.bench.model import Decoder
from mugrow.bench.rotary import frequencies
from mugrow.bench.spec import ModelSpec, UserError, llama

NORMED = ModelSpec(**SMALL, qk_norm=True)
QWEN3 = llama(**GROUPED | {"query_heads": 8}, mlp_units=24, qk_norm=True, rope_theta=1e6)
SCALED = llama(**SMALL, rotary_fraction=0.5, rope_scaling="llama3:factor=8:low=1:high=4:context=16")
EXACT = {
    "larger heads behind a norm": (NORMED, {"width": 32, "head_size": 16}),
    "width alone": (QWEN3, {"width": 32}),
    "heads and units alone": (QWEN3, {"query_heads": 16, "mlp_units": 48}),
    "heads alone, their keys too": (QWEN3, {"query_heads": 16, "kv_heads": 4}),
    "GPT-NeoX": (ModelSpec(**SMALL, **NEOX), {"width": 32}),
}


def case_of(small: ModelSpec, changes: dict[str, int], rules: str = "mup") -> Case:
    base = replace(small, width=small.width // 2, head_size=small.head_size // 2)
    return Case("", rules, base, small, replace(small, **changes))


@pytest.mark.integration
@pytest.mark.parametrize("growth", EXACT)
@pytest.mark.parametrize("name", ["hypercloning", "mup_upscale"])
def test_training_goes_on_as_the_sources_own(name, growth):
    assert curve_difference(method(name), case_of(*EXACT[growth]), method(name).params) < 1e-9


@pytest.mark.parametrize("growth", EXACT)
@pytest.mark.parametrize(
    ("name", "params"),
    [("zero_pad", {"norms": "stream"}), ("lemon", {}), ("hypercloning", {"mode": "diagonal"})],
)
def test_logits_are_preserved(name, params, growth):
    entry, case = method(name), case_of(*EXACT[growth])
    params = entry.params | params
    assert entry.breaks(case.small, case.big, params) is None
    assert logit_error(entry, case, params) <= 1e-12


@pytest.mark.parametrize(
    ("norms", "small", "reason"),
    [
        ("plain", replace(NORMED, query_heads=2), "scores are divided by the root"),
        ("gain", replace(NORMED, query_heads=2), "the eps of the norm of queries and keys"),
        ("stream", llama(**SMALL, query_heads=2), "rotary frequencies depend"),
    ],
)
def test_padding_says_what_larger_heads_alone_break(norms, small, reason):
    entry, case = method("zero_pad"), case_of(small, {"head_size": 16})
    params = entry.params | {"norms": norms}
    assert reason in entry.breaks(case.small, case.big, params)
    assert logit_error(entry, case, params) > 1e-6


def test_draws_of_a_heads_rows_are_uneven():
    case = case_of(replace(NORMED, query_heads=2), {"head_size": 16})
    entry = method("net2net")
    assert "its norm averages over copies" in entry.breaks(case.small, case.big, {})
    assert logit_error(entry, case, {}) > 1e-6
    uneven = case_of(replace(NORMED, query_heads=2), {"head_size": 12})
    entry = method("bert2bert")
    assert "over uneven copies" in entry.breaks(uneven.small, uneven.big, entry.params)
    assert logit_error(entry, uneven, entry.params) > 1e-6


@pytest.mark.parametrize(
    ("name", "small", "big", "message"),
    [
        ("composable", NORMED, {"width": 32, "head_size": 16}, "head_size must stay 8, not 16"),
        ("lemon", NORMED, {"width": 24, "head_size": 12}, "the nearest that is: 16"),
        ("hypercloning", llama(**SMALL), {"width": 32, "head_size": 16}, "rotary frequencies"),
        ("stack", NORMED, {"depth": 4, "qk_norm": False}, "qk_norm must be its source's True"),
        ("szp", QWEN3, {"width": 32, "query_heads": 4}, "heads would shrink from 8 to 4"),
        ("szp", QWEN3, {"width": 32, "mlp_units": 20}, "mlp_width would shrink from 24 to 20"),
    ],
)
def test_what_theory_forbids_is_refused_in_one_line(name, small, big, message):
    with pytest.raises(UserError, match=message) as error:
        check_growth(method(name), small, replace(small, **big), {})
    assert "\n" not in str(error.value)


def test_rotary_pairs_go_where_their_frequency_is_also_where_a_share_turns():
    small, big = (llama(width=S, depth=1, head_size=S) for S in (16, 32))
    where = same_frequencies(small, big)
    assert where[[0, 1, 7, 8, 15]].tolist() == [0, 2, 14, 16, 30]
    partial = (replace(spec, rotary_fraction=0.5) for spec in (small, big))
    assert same_frequencies(*partial).tolist() == [0, 2, 4, 6, 8, 10, 12, 14, *range(16, 24)]
    entry, case = method("composable"), case_of(SCALED, {"width": 32, "head_size": 16})
    assert logit_error(entry, case, {}) <= 1e-12
    pairs = same_frequencies(case.small, case.big)[: case.small.rotary_size // 2]
    assert torch.equal(frequencies(case.big)[pairs], frequencies(case.small))


def test_rows_of_zeros_behind_a_rotary_head_change_the_logits():
    """The trap: the pairs are there, at other frequencies."""
    small, entry = llama(**SMALL), method("zero_pad")
    case = case_of(small, {"width": 32, "head_size": 16})
    assert logit_error(entry, case, {"norms": "stream"}) > 1e-3
    assert logit_error(method("composable"), case, {}) <= 1e-12


def test_a_window_and_a_padded_vocabulary_are_the_sources():
    small = replace(QWEN3, window=3, padded_vocab=40)
    case, entry = case_of(small, {"width": 32}), method("hypercloning")
    assert logit_error(entry, case, entry.params) <= 1e-12
    logits = Decoder(small)(random_weights(small), torch.zeros(1, 4, dtype=torch.long))
    assert logits.shape == (1, 4, 40)
    with pytest.raises(UserError, match="window must be its source's 3, not 4"):
        check_growth(entry, small, replace(case.big, window=4), {})
