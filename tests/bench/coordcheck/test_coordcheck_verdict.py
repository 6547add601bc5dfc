"""Slopes, intervals and verdicts on planted sizes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from mugrow.bench.coordcheck import ModelSeries
from mugrow.bench.coordcheck.slopes import blocks_together, rows, t_interval
from mugrow.bench.spec import DataSpec, llama

WIDTHS = (32, 64, 128)
SHAPE = {"depth": 2, "context": 8, "vocab_size": 64}
IN_WIDTH = ModelSeries(
    parametrization="mup",
    axis="width",
    models=tuple(llama(width=width, **SHAPE) for width in WIDTHS),
    base=llama(width=32, **SHAPE),
    data=DataSpec(corpus="synthetic", corpus_sha256=""),
)
IN_DEPTH = replace(
    IN_WIDTH,
    axis="depth",
    models=tuple(llama(width=32, **SHAPE | {"depth": depth}) for depth in (2, 4, 8)),
)
HEADS_GROW = replace(
    IN_WIDTH,
    models=tuple(llama(width=width, head_size=width // 2, **SHAPE) for width in WIDTHS),
)


def planted(ladder, slope, module="blocks.0.mlp.up", kind="x", step=1, wobble=(0.0, 0.0)):
    """The row of sizes that grow with this slope, each seed's off by some of its own."""
    sizes = [
        {(kind, module, step): 3.0 * np.array([float(at) ** (slope + off) for off in wobble])}
        for at in ladder.sizes
    ]
    (row,) = rows(ladder, sizes)
    return row


@settings(max_examples=50)
@given(
    slope=st.floats(-3, 3),
    wobble=st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=6),
)
def test_a_planted_slope_is_found_with_its_interval(slope, wobble):
    row = planted(IN_WIDTH, slope, wobble=wobble)
    assert row.slope == pytest.approx(slope + np.mean(wobble), abs=1e-9)
    assert row.interval == pytest.approx(t_interval(slope + np.array(wobble)), abs=1e-8)
    assert row.means[0] == pytest.approx(3 * 32**row.slope, rel=1e-9)
    low, high = row.interval
    out, within = low > 0.1 or high < -0.1, low >= -0.1 and high <= 0.1
    unsure = not within and high - low > 0.1
    assert row.verdict == ("fail" if out else "cannot say" if unsure else "pass")


def test_an_interval_is_student_s():
    low, high = t_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)


def test_an_interval_covers_at_its_rate():
    draws = np.random.default_rng(0).normal(0.3, 1, (4000, 3))
    covered = [low <= 0.3 <= high for low, high in map(t_interval, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(
    ("module", "kind", "low", "high"),
    [
        ("blocks.1.attention.q", "x", -0.1, 0.1),
        ("blocks.1.attention.q", "dx", -0.25, 0.1),
        ("blocks.1.attention.logits", "x", -0.1, 0.1),
        ("head", "x", -0.6, 0.1),
        ("head", "dx", -0.6, 0.1),
    ],
)
def test_a_slope_is_right_between_its_bounds_alone(module, kind, low, high):
    for slope, verdict in (
        (low - 0.01, "fail"),
        (low + 0.01, "pass"),
        (high - 0.01, "pass"),
        (high + 0.01, "fail"),
    ):
        assert planted(IN_WIDTH, slope, module, kind).verdict == verdict


@pytest.mark.parametrize(("slope", "wobble"), [(0.2, 0.01), (-0.2, 0.01), (0.2, 0.2), (-0.2, 0.2)])
def test_a_slope_out_of_bounds_by_less_than_its_interval_is_no_fail(slope, wobble):
    row = planted(IN_WIDTH, slope, wobble=(-wobble, 0, wobble))
    assert row.verdict == ("fail" if wobble < 0.1 else "cannot say")


@pytest.mark.parametrize(
    ("slope", "kind", "wobble", "verdict"),
    [
        (0.0, "x", 0.3, "cannot say"),  # nearly anything
        (0.08, "x", 0.02, "pass"),  # across the bound by less than what counts as known
        (0.08, "x", 0.03, "cannot say"),
        (-0.07, "dx", 0.05, "pass"),  # ±0.12, within the bounds all the same
        (-0.07, "dx", 0.08, "cannot say"),
    ],
)
def test_what_is_not_known_and_may_be_out_of_bounds_is_not_said_to_pass(
    slope, kind, wobble, verdict
):
    row = planted(IN_WIDTH, slope, kind=kind, wobble=(-wobble, 0, wobble))
    assert row.half == pytest.approx(wobble * 4.302653 / 3**0.5)
    assert row.verdict == verdict


def test_the_seeds_that_would_know_a_slope():
    """As many as make Student's half interval 0.05, the spread staying what it is."""
    row = planted(IN_WIDTH, 0.0, wobble=(-0.3, 0, 0.3))
    assert row.seeds_to_know is not None
    for seeds, known in ((row.seeds_to_know, True), (row.seeds_to_know - 1, False)):
        assert (stdtrit(seeds - 1, 0.975) * 0.3 / seeds**0.5 <= 0.05) == known
    assert planted(IN_WIDTH, 0.0, wobble=(-0.01, 0, 0.01)).seeds_to_know == 3


def test_attention_logits_may_fall_where_the_head_size_grows():
    row = planted(HEADS_GROW, -0.5, "blocks.0.attention.logits")
    assert (row.verdict, row.reason) == ("exempt", "the head size grows")
    assert row.slope == pytest.approx(-0.5)
    assert planted(HEADS_GROW, -0.5, "blocks.0.attention.q").verdict == "fail"


@pytest.mark.parametrize("module", ["embed", "blocks.0.attention.q", "blocks.0.attention.logits"])
def test_what_moves_less_by_the_parametrizations_own_rule_is_exempt(module):
    unit = replace(IN_WIDTH, parametrization="umup")
    row = planted(unit, -0.5, module, "dx")
    assert row.verdict == "exempt"
    assert row.reason == "umup's embedding learns at 1/sqrt(width), its own rule"
    assert planted(unit, 0.5, module, "dx").verdict == "fail"
    assert planted(unit, -0.5, module, "x").verdict == "fail"
    constant = replace(IN_WIDTH, parametrization="umup:embedding=constant")
    assert planted(constant, -0.5, module, "dx").verdict == "fail"
    assert planted(IN_WIDTH, -0.5, module, "dx").verdict == "fail"
    deep = replace(IN_DEPTH, parametrization="umup")
    assert planted(deep, -0.5, "embed", "dx", IN_DEPTH.steps).verdict == "fail"


def test_what_reads_more_than_the_embedding_is_judged_under_umup_too():
    unit = replace(IN_WIDTH, parametrization="umup")
    for module in ("blocks.0", "blocks.0.mlp.up", "blocks.1.attention.q", "blocks.1.mlp.down"):
        assert planted(unit, -0.5, module, "dx").verdict == "fail"


def test_in_depth_the_last_movement_of_the_stream_is_judged():
    def verdict(module, kind, step):
        return planted(IN_DEPTH, 1.0, module, kind, step).verdict

    last = IN_DEPTH.steps
    assert verdict("blocks.1", "dx", last) == "fail"
    assert verdict("embed", "dx", last) == "fail"
    assert verdict("head", "dx", last) == "fail"
    assert planted(IN_DEPTH, 0.0, "blocks.1", "dx", last).verdict == "pass"
    assert verdict("blocks.1", "dx", last - 1) == "exempt"
    assert verdict("blocks.1", "x", last) == "exempt"
    assert verdict("blocks.0.mlp.down", "dx", last) == "exempt"
    assert verdict("blocks.0.attention.q", "dx", last) == "exempt"


def test_models_of_any_depth_have_the_same_modules():
    sizes = {("x", "embed", 0): np.array([9.0])}
    for block in range(12):
        sizes["x", f"blocks.{block}.mlp.up", 0] = np.array([float(block)])
        sizes["x", f"blocks.{block}", 0] = np.array([100.0 + block])
    together = blocks_together(sizes)
    assert {module: size.tolist() for (_, module, _), size in together.items()} == {
        "embed": [9.0],
        "blocks.*.mlp.up": [5.5],
        "blocks.last": [111.0],
    }


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [(0.0, "fail", None), (float("nan"), "fail", None), (float("inf"), "fail", None)],
)
def test_a_size_that_is_no_number_is_a_fail(value, verdict, reason):
    good, bad = np.array([1.0, 1.0]), np.array([1.0, value])
    (row,) = rows(IN_WIDTH, [{("x", "embed", 0): size} for size in (good, good, bad)])
    assert (row.verdict, row.reason, row.slope, row.interval) == (verdict, reason, None, None)
    assert row.means == [pytest.approx(1), pytest.approx(1), None]


def test_zero_at_every_size_has_no_slope():
    (row,) = rows(IN_WIDTH, [{("dx", "embed", 1): np.zeros(2)}] * 3)
    assert (row.verdict, row.reason, row.slope) == ("exempt", "zero at every size", None)


def test_rows_are_in_the_order_of_the_forward_pass():
    keys = [("x", "embed", 0), ("x", "head", 0), ("dx", "embed", 1), ("x", "embed", 1)]
    found = rows(IN_WIDTH, [dict.fromkeys(keys, np.ones(2))] * 3)
    assert [(row.kind, row.module, row.step) for row in found] == [
        ("x", "embed", 0),
        ("x", "embed", 1),
        ("x", "head", 0),
        ("dx", "embed", 1),
    ]
