"""The verdicts of a ledger, at the borders of a claim's range."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from mugrow.analysis.measure import claims
from mugrow.analysis.measure.claims import (
    Claim,
    Condition,
    ledger,
    ledger_of_looks,
    needed,
    no_rule,
    rule,
    verdict,
)
from mugrow.analysis.measure.sequential import Looks
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.stats import LEVEL, NOTHING, Interval, student_interval
from mugrow.bench.spec import UserError

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
INCONCLUSIVE, UNTESTABLE = "inconclusive at this scale", "not testable here"


def claim(low: float = -math.inf, high: float = math.inf, found: Interval = NOTHING) -> Claim:
    return Claim("one", "says", "where", "quantity", lambda tables: found, low, high)


@pytest.mark.parametrize(
    ("low", "high", "found", "expected"),
    [
        (0, math.inf, Interval(1, 0.5, 1.5, 3), REPRODUCED),
        (0, math.inf, Interval(1, 0.0, 2.0, 3), REPRODUCED),
        (0, math.inf, Interval(1, -0.1, 2.1, 3), INCONCLUSIVE),
        (0, math.inf, Interval(-1, -2.0, 0.0, 3), INCONCLUSIVE),
        (0, math.inf, Interval(-1, -2.0, -0.1, 3), CONTRADICTED),
        (0.4, 0.6, Interval(0.5, 0.45, 0.55, 3), REPRODUCED),
        (0.4, 0.6, Interval(0.5, 0.3, 0.7, 3), INCONCLUSIVE),
        (0.4, 0.6, Interval(0.9, 0.7, 1.1, 3), CONTRADICTED),
        (0.4, 0.6, Interval(0.1, 0.0, 0.3, 3), CONTRADICTED),
        (0, math.inf, Interval(1, math.nan, math.nan, 1), INCONCLUSIVE),
        (0, math.inf, NOTHING, INCONCLUSIVE),
    ],
)
def test_a_verdict_is_about_the_whole_interval(low, high, found, expected):
    assert verdict(claim(low, high), found) == expected


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(-5, 5))
def test_no_interval_is_both_within_and_outside(value, reach, low):
    found = Interval(value, value - reach, value + reach, 4)
    holds, fails = verdict(claim(low=low), found), verdict(claim(high=low), found)
    opposite = {REPRODUCED: CONTRADICTED, CONTRADICTED: REPRODUCED, INCONCLUSIVE: INCONCLUSIVE}
    touching = low in (found.lo, found.hi)
    assert touching or fails == opposite[holds]


def test_a_row_says_everything_in_words_that_json_has():
    (row,) = to_json(ledger([claim(low=0, found=Interval(0.5, -0.5, 1.5, 4))], None))
    assert row == {
        "claim": "one", "says": "says", "where": "where", "quantity": "quantity",
        "value": 0.5, "low": -0.5, "high": 1.5, "seeds": 4, "holds_if": "above 0",
        "verdict": INCONCLUSIVE, "seeds_needed": 9.0, "why": None, "whose": "paper",
        "flops_needed": None,
    }  # fmt: skip
    (row,) = to_json(ledger([claim(low=0)], None))
    assert (row["value"], row["low"], row["seeds_needed"]) == (None, None, None)


def test_a_claim_that_cannot_be_measured_says_why():
    (row,) = ledger([Claim("one", "says", "where", untestable="no such model")], None)
    assert (row.verdict, row.why) == (UNTESTABLE, "no such model")
    assert math.isnan(row.value)
    with pytest.raises(UserError, match="either a measure or the reason"):
        Claim("one", "says", "where")
    with pytest.raises(UserError, match="cannot hold from -inf to inf"):
        Claim("one", "says", "where", measure=lambda tables: NOTHING)  # holds everywhere


def test_seeds_needed_shrink_the_interval_to_the_nearer_end():
    found = Interval(1.0, -1.0, 3.0, 5)
    sd = 2 * math.sqrt(5) / 2.776445
    for distance, holds in ((1.0, claim(low=0)), (0.5, claim(low=0, high=1.5))):
        seeds = int(needed(holds, found))
        reaches = [stdtrit(n - 1, 0.975) * sd / math.sqrt(n) for n in (seeds - 1, seeds + 1)]
        assert reaches[0] > distance * 0.98  # even odds: the interval about ends at the border
        assert reaches[1] < distance
    assert math.isnan(needed(claim(low=1.0), found))  # it lies on the border
    assert math.isnan(needed(claim(low=0), Interval(1, math.nan, math.nan, 1)))


def test_rules_in_words():
    assert claim(low=0.5).rule == "above 0.5"
    assert claim(high=2).rule == "below 2"
    assert claim(-0.2, 0.2).rule == "-0.2 to 0.2"


def test_a_rule_decides_what_it_is_said_to():
    holds = Condition(lambda tables: Interval(0.5, 0.4, 0.6, 3), low=0)
    decided = rule("ahead", "table 1", holds).decides("growing helps", "gain, nats")
    open_one = no_rule("at-7B", "table 2").decides("at 7B too", "7B parameters")
    first, second = ledger([decided, open_one], None)
    assert (first.claim, first.says, first.where) == ("ahead", "growing helps", "table 1")
    assert (first.quantity, first.holds_if, first.verdict) == ("gain, nats", "above 0", REPRODUCED)
    assert (second.claim, second.says, second.where) == ("at-7B", "at 7B too", "table 2")
    assert (second.verdict, second.why) == (UNTESTABLE, "7B parameters")


def test_a_claim_is_the_papers_unless_it_says_otherwise():
    holds = Condition(lambda tables: Interval(0.5, 0.4, 0.6, 3), low=0)
    theirs = rule("ahead", "table 1", holds).decides("growing helps", "gain, nats")
    question = rule("charged", "our question", holds, whose="ours").decides("also so", "gain")
    direct = claims.claim("charged", "also so", "our question", "gain", holds, "ours")
    rows = ledger([theirs, question, direct, no_rule("7B", "table 2").decides("too", "7B")], None)
    assert [row.whose for row in rows] == ["paper", "ours", "ours", "paper"]
    assert (rows[1].verdict, rows[1].value) == (rows[0].verdict, rows[0].value)
    with pytest.raises(UserError, match=r"whose of claim one: 'our'; did you mean 'ours'"):
        Claim("one", "says", "where", untestable="no such model", whose="our")


@dataclass(frozen=True)
class Drawn:
    """Tables of one number a seed."""

    values: tuple[float, ...]

    def first_seeds(self, seeds: int) -> "Drawn":
        return Drawn(self.values[:seeds])


class Mean:
    def __call__(self, tables: Drawn) -> Interval:
        return self.interval(tables, LEVEL)

    def interval(self, tables: Drawn, level: float) -> Interval:
        return student_interval(tables.values, level)


ABOVE = Claim("one", "says", "where", "mean", Mean(), low=0.0)
LOOKS = Looks((3, 5, 8))


def test_the_first_look_that_decides_has_the_last_word():
    early = (1.0, 1.01, 0.99, -9.0, 9.0, -9.0, 9.0, 0.0)
    (row,) = ledger_of_looks([ABOVE], Drawn(early), LOOKS)
    assert (row.verdict, row.seeds) == (REPRODUCED, 3)
    assert ledger([ABOVE], Drawn(early))[0].verdict == INCONCLUSIVE

    late = (1.0, -1.0, 0.5, -0.3, 1.0, 1.1, 1.2, 0.4)
    (row,) = ledger_of_looks([ABOVE], Drawn(late), LOOKS)
    assert (row.verdict, row.seeds) == (INCONCLUSIVE, 8)
    expected = student_interval(late, 1 - LOOKS.level)
    assert (row.low, row.high) == (expected.lo, expected.hi)
    assert row.low < student_interval(late).lo, "a look's interval is wider"
    assert row.seeds_needed > 8


def test_a_measurement_of_one_level_is_widened_at_a_look():
    plain = Claim("one", "says", "where", "mean", lambda tables: Mean()(tables), low=0.0)
    values = Drawn((1.0, -1.0, 1.0, 1.0, 1.0, 1.1, 1.2, 1.3))
    ours, theirs = ledger_of_looks([ABOVE, plain], values, LOOKS)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_all_looks_together_err_as_rarely_as_they_say():
    """At the border of its range either verdict is an error. Looked at without a plan it would be
    found in many more studies."""
    planned, unplanned = 0, 0
    studies = np.random.default_rng(5).standard_normal((1500, 8))
    for values in map(tuple, studies):
        (row,) = ledger_of_looks([ABOVE], Drawn(values), LOOKS)
        planned += row.verdict != INCONCLUSIVE
        each = (student_interval(values[:n]) for n in LOOKS.seeds)
        unplanned += any(verdict(ABOVE, one) != INCONCLUSIVE for one in each)
    assert 0.03 < planned / len(studies) < 0.06
    assert unplanned / len(studies) > 0.075
