"""Rows of a study with budgets, whose answer is known: who beats what, at equal charged compute."""

import math

import pytest
from compared_rows import scratch, study

from mugrow.analysis.measure.comparison import compared


def answer(rows):
    return {row.label: row for row in compared(*rows.frames())}


def test_an_arm_is_compared_at_what_it_was_charged_with_its_source():
    found = answer(study())
    assert list(found) == ["szp", "hypercloning"]  # the lowest loss first
    szp = found["szp"]
    assert (szp.charge, szp.times_scratch, szp.method) == (1.25, 1.25, "szp")
    scratch_, own, front = (szp.against(name) for name in ("scratch", "own source", "front"))
    assert scratch_.difference.value == pytest.approx(-0.02, abs=1e-3)
    assert own.difference.value == pytest.approx(-0.01, abs=1e-3)
    assert (front.shape, front.size, front.params) == ("w32-d2", "smallest", 12 * 32**2)
    assert front.difference == own.difference
    assert [one.verdict for one in szp.versus] == ["better"] * 3
    assert [one.verdict for one in found["hypercloning"].versus] == ["worse"] * 3


def test_a_speedup_is_what_scratch_needs_over_what_was_paid():
    found = answer(study())
    assert found["szp"].speedup.value == pytest.approx(2 ** (0.02 / 0.2), rel=5e-3)
    assert found["szp"].speedup_state == "reached"
    assert found["hypercloning"].speedup.value == pytest.approx(2 ** (-0.05 / 0.2), rel=5e-3)
    better = answer(study(szp=0.5))["szp"]
    assert (better.speedup_state, better.speedup.hi) == ("above_budgets", math.inf)
    assert better.speedup.value == pytest.approx(4 / 1.25)


def test_the_source_trained_on_can_beat_what_was_grown_from_it():
    szp = answer(study(szp=0.02, own=0.06))["szp"]
    assert szp.against("scratch").verdict == "better"
    assert szp.against("own source").verdict == "worse"
    assert szp.against("front").verdict == "worse"


@pytest.mark.parametrize("blocks", [0, 16])
def test_three_sizes_around_the_minimum_have_their_parabola(blocks):
    """Of widths 32, 48 and 64 the middle one is best; the vertex is lower still."""
    rows = study(own=-0.01, blocks=blocks)  # the source 0.01 above scratch
    rows.add("middle", "trunk", "scratch", 48, 0.9, 9.0)
    rows.add("early", "branch", "continue", 48, 0.1, scratch(1.0) - 0.05, "middle", 0.9)
    rows.add("late", "branch", "continue", 48, 0.5, scratch(1.4) - 0.05, "middle", 0.9)
    szp = answer(rows)["szp"]
    front = szp.against("front")
    assert (front.shape, front.size) == ("w48-d2", "vertex")
    assert 12 * 32**2 < front.params < 12 * 64**2
    at = math.log2(1.25) / math.log2(1.4)
    middle = (1 - at) * scratch(1.0) + at * scratch(1.4) - 0.05
    assert 0.0005 < front.difference.value - (szp.loss.value - 0.1 - middle) < 0.01
    assert front.difference.lo < front.difference.value < front.difference.hi
    assert front.verdict == "worse"


def test_noise_of_the_size_of_the_difference_is_undecided():
    szp = answer(study(szp=0.0001, own=0.0001))["szp"]
    assert [one.verdict for one in szp.versus] == ["undecided"] * 3


def test_many_arms_are_corrected_for():
    alone, among = study(szp=0.0015), study(szp=0.0015)
    for number in range(30):
        among.add(f"m{number:02}", "target", f"m{number}", 64, 1.0, scratch(1.25), "source", 0.25)
    p_alone, p_among = (answer(rows)["szp"].against("scratch").p_holm for rows in (alone, among))
    assert p_alone < p_among


def test_blocks_of_text_widen_the_interval():
    seeds, both = (answer(study(blocks=blocks))["szp"] for blocks in (0, 16))
    assert (seeds.blocks, both.blocks) == (0, 16)
    for name in ("scratch", "own source", "front"):
        one, other = seeds.against(name).difference, both.against(name).difference
        assert other.value == pytest.approx(one.value, abs=1e-9)


def test_blocks_of_text_widen_the_interval_of_the_speedup():
    """The gap of the grown arm from all others varies over blocks, by far more than over seeds."""
    rows = study(blocks=16)
    for row in rows.rows:
        if row["method"] == "szp":
            losses = row["final_block_losses"]
            row["final_block_losses"] = [
                loss + 0.05 * (-1) ** block for block, loss in enumerate(losses)
            ]
    seeds, both = answer(study(blocks=16))["szp"], answer(rows)["szp"]
    assert both.speedup.value == pytest.approx(seeds.speedup.value, rel=1e-6)
    assert seeds.speedup.lo > 1
    assert both.speedup.lo < 1 < both.speedup.hi
    difference = both.against("scratch").difference
    assert difference.lo < 0 < difference.hi


def test_without_budgets_nothing_is_compared():
    runs, targets = study().frames()
    old = runs[runs["role"].isin(["source", "target"])]
    assert compared(old, targets) == []


def test_a_charge_beyond_the_budgets_is_not_measured():
    rows = study()
    rows.add("huge", "source", "scratch", 32, 9.0, 9.0)
    rows.add("late", "target", "stack", 64, 1.0, 2.0, "huge", 9.0)
    late = answer(rows)["stack"]
    assert {one.verdict for one in late.versus} == {"not measured"}
    assert late.against("scratch").state == "above_budgets"
    assert late.against("own source").state == "outside"


def test_equal_runs_are_one_row_with_several_names():
    rows = study()
    for row in [row for row in rows.rows if row["method"] == "szp"]:
        rows.rows.append(row | {"run_id": "twin" + row["run_id"], "method": "twin"})
    found = answer(rows)
    assert [(row.label, row.also) for row in found.values()] == [
        ("szp", ("twin",)),
        ("hypercloning", ()),
    ]
    assert found["szp"].best > 0.99
    assert (
        found["szp"].against("scratch").p_holm == answer(study())["szp"].against("scratch").p_holm
    )


def test_a_smaller_error_rate_asks_for_more():
    runs, targets = study(szp=0.002).frames()
    p = compared(runs, targets)[0].against("scratch").p_holm
    verdicts = [
        compared(runs, targets, error_rate)[0].against("scratch").verdict
        for error_rate in (p * 1.01, p * 0.99)
    ]
    assert verdicts == ["better", "undecided"]


def test_budgets_that_are_runs_of_their_own_are_on_the_same_lines():
    """As under a cosine, which must know its horizon: no trunk, no source behind a branch."""
    rows = study()
    for row in rows.rows:
        if row["role"] == "branch":
            row |= {
                "flops": row["flops"] + row["flops_source"],
                "flops_source": 0.0,
                "source_run_id": None,
                "method": "scratch",
            }
    rows.rows = [row for row in rows.rows if row["role"] != "trunk"]
    found, expected = answer(rows)["szp"], answer(study())["szp"]
    for name in ("scratch", "own source", "front"):
        assert found.against(name).verdict == expected.against(name).verdict == "better"
        assert found.against(name).state == "reached"
