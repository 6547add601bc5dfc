"""Claims as a page shows them: what is shared stands once, and plots lie where the numbers say."""

import math
import re

import pytest

from mugrow.analysis.measure.claims import INCONCLUSIVE, Claim, JudgedClaim, Verdict, range_of
from mugrow.analysis.report import claims
from mugrow.analysis.report.interval_plot import EDGE, WIDTH, interval_plot
from mugrow.analysis.stats import Interval


def line(name: str, **given: object) -> JudgedClaim:
    found = {
        "claim": name, "says": "growing helps", "where": "abstract; here width", "quantity": "nats",
        "value": -0.1, "low": -0.2, "high": -0.05, "seeds": 3, "holds_if": "below 0",
        "verdict": "reproduced", "seeds_needed": math.nan, "why": None,
    }  # fmt: skip
    return JudgedClaim(**found | given)  # type: ignore[arg-type]


@pytest.mark.parametrize("ends", [(-math.inf, 0.0), (1.05, math.inf), (-0.8, 0.8), (1e-9, 2.5e6)])
def test_a_range_in_words_is_the_range(ends):
    rule = Claim(
        "a", "b", "c", "d", lambda tables: Interval(0, 0, 0, 2), low=ends[0], high=ends[1]
    ).rule
    assert range_of(rule) == ends


def test_no_range_is_none():
    assert all(map(math.isnan, range_of("")))


def test_what_claims_share_stands_once():
    rows = [line("a"), line("b", where="abstract; here depth", value=0.3), line("c", says="other")]
    first, other = claims.groups(rows)
    assert (first.says, first.where, first.quantity) == ("growing helps", "abstract", "nats")
    assert [one.case for one in first.lines] == ["width", "depth"]
    assert [one.quantity for one in first.lines] == ["", ""]
    assert first.ours == "−0.1 to 0.3"
    assert other.ours == "−0.1 [−0.2, −0.05]"


def test_what_differs_stands_in_each_line():
    rows = [line("a"), line("b", where="table 2", quantity="bits", holds_if="above 1")]
    (group,) = claims.groups(rows)
    assert (group.where, group.quantity, group.ours, group.claimed) == ("", "", "", "")
    assert [one.case for one in group.lines] == ["abstract; here width", "table 2"]
    assert [one.quantity for one in group.lines] == ["nats", "bits"]
    assert [one.claimed for one in group.lines] == ["below 0", "above 1"]


def test_the_answer_has_few_lines_and_what_is_decided_first():
    verdicts: list[Verdict] = ["not testable here", INCONCLUSIVE, "reproduced", "contradicted"]
    rows = [line(f"{n}", says=f"claim {n}", verdict=verdicts[n % 4]) for n in range(12)]
    first, others = claims.answer(claims.groups(rows))
    assert len(first) == claims.MOST_LINES
    assert [group.chips[0].word for group in first] == (
        3 * ["contradicted"] + 3 * ["reproduced"] + [INCONCLUSIVE]
    )
    assert len(others) == 5
    assert [str(chip) for chip in claims.chips([row.verdict for row in rows])][:2] == [
        "3 contradicted", "3 reproduced",
    ]  # fmt: skip


def test_a_claim_without_a_number_has_no_plot():
    nothing = line("a", value=math.nan, low=math.nan, high=math.nan, why="7B parameters",
                   verdict="not testable here", holds_if="")  # fmt: skip
    ((only,),) = (group.lines for group in claims.groups([nothing]))
    assert (only.plot, only.ours, only.claimed, only.note) == ("", "–", "–", "7B parameters")


def places(plot: str) -> dict[str, list[float]]:
    band = re.search(r'class="claimed" x="([\d.]+)" y="1" width="([\d.]+)"', plot)
    bar = re.search(r'class="interval" d="M([\d.]+) [\d.]+H([\d.]+)"', plot)
    dot = re.search(r'cx="([\d.]+)"', plot)
    assert band is not None
    assert bar is not None
    assert dot is not None
    left, width = map(float, band.groups())
    return {
        "band": [left, left + width],
        "bar": [*map(float, bar.groups())],
        "dot": [float(dot[1])],
    }


@pytest.mark.parametrize(
    ("low", "value", "high", "claimed", "inside"),
    [
        (0.2, 0.5, 0.8, (0.0, 1.0), True),
        (0.2, 0.5, 1.2, (0.0, 1.0), False),
        (-3, -2, -1, (-math.inf, 0.0), True),
        (2, 3, 4, (-math.inf, 0.0), False),
        (1.1, 1.2, 1.3, (1.05, math.inf), True),
        (0, 0, 0, (-1.0, 1.0), True),
    ],
)
def test_the_line_lies_in_the_band_where_the_interval_does(low, value, high, claimed, inside):
    found = places(interval_plot(value, low, high, claimed, "says"))
    (left, right), (start, end), (dot,) = found["band"], found["bar"], found["dot"]
    assert (left <= start and end <= right) == inside
    assert start <= dot <= end
    assert EDGE <= dot <= WIDTH - EDGE


def test_an_open_end_runs_to_the_edge():
    found = places(interval_plot(1.0, -math.inf, 2.0, (0.0, math.inf), "says"))
    assert found["bar"][0] == 0
    assert found["band"][1] == WIDTH


def test_the_alternative_text_is_escaped():
    assert 'aria-label="&lt;b&gt;&#34;"' in interval_plot(1.0, 0.5, 2.0, (0.0, 3.0), '<b>"')
