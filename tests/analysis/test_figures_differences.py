"""The forest of differences: what it draws are the numbers and verdicts of the table."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from mugrow.analysis.figures import FIGURES, style
from mugrow.analysis.figures.differences import COLOURS
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.summary import Summary, summarize
from mugrow.bench.spec import UserError

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def drawn(summary: Summary, store: Store):
    with style.applied():
        return FIGURES["differences"].function(summary, store)


@pytest.fixture(scope="module")
def quick() -> tuple[Summary, Store]:
    store = load(REFERENCE / "quick")
    return summarize(store), store


def points(axis):
    """Marker's place and whisker of each row, by its label."""
    found, whisker = {}, None
    for line in axis.get_lines():
        if line.get_label() == "_whisker":
            whisker = tuple(line.get_xdata())
        elif line.get_marker() == "o":
            found[line.get_label()] = (line, whisker)
    return found


def test_a_column_for_each_baseline_with_its_differences_and_verdicts(quick):
    summary, store = quick
    axes = drawn(summary, store).axes
    names = ["minus scratch", "minus its source,\ntrained on", "minus the best size"]
    assert [axis.get_xlabel() for axis in axes] == names
    for axis, baseline in zip(axes, ("scratch", "own source", "front"), strict=True):
        found = points(axis)
        assert len(found) == len(summary.equal_compute) == 2
        for place, row in enumerate(summary.equal_compute):
            versus = row.against(baseline)
            line, whisker = found[f"_{row.label}"]
            assert line.get_xydata().tolist() == [[versus.difference.value, place]]
            assert whisker == (versus.difference.lo, versus.difference.hi)
            assert to_hex(line.get_color()) == to_hex(COLOURS[versus.verdict])


def test_no_label_lies_over_another_beside_long_names():
    store = load(REFERENCE / "zoo")
    figure = drawn(summarize(store), store)
    figure.canvas.draw()
    boxes = [axis.xaxis.label.get_window_extent() for axis in figure.axes]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_only_what_is_decided_is_filled(quick):
    summary, store = quick
    (first, second) = summary.equal_compute
    undecided = replace(first, versus=tuple(replace(v, verdict="undecided") for v in first.versus))
    for axis in drawn(replace(summary, equal_compute=(undecided, second)), store).axes:
        found = points(axis)
        assert to_hex(found[f"_{first.label}"][0].get_markerfacecolor()) == "#ffffff"
        filled = found[f"_{second.label}"][0]
        assert filled.get_markerfacecolor() == filled.get_color() == COLOURS["worse"]


def test_a_baseline_that_no_arm_has_is_no_column():
    store = load(REFERENCE / "grow-smollm2")
    (axis,) = drawn(summarize(store), store).axes
    assert axis.get_xlabel() == "minus its source,\ntrained on"
    assert [text.get_text() for text in axis.get_yticklabels()][-1] == "stack"


def test_without_budgets_there_is_nothing_to_draw(quick):
    summary, store = quick
    with pytest.raises(UserError, match="needs final losses at several budgets"):
        drawn(replace(summary, equal_compute=()), store)
