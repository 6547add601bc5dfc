"""The numbers of a figure: those that were drawn, under the names of its legend."""

import csv

import pytest
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.figures.data import COLUMNS, csv_of


def rows(figure: Figure) -> list[tuple[str, ...]]:
    header, *found = csv.reader(csv_of(figure).splitlines())
    assert tuple(header) == COLUMNS
    return [tuple(row) for row in found]


@pytest.fixture
def figure() -> Figure:
    made, axes = style.panels(1, 2)
    axes[0, 0].set_title("left, first")
    axes[0, 0].plot([1, 2], [0.5, 1e-9], "-s", color="#0072B2", label="_x")
    axes[0, 0].axhline(1, label="_one")
    axes[0, 1].plot([3.25], [4], "-", color="#D55E00")
    axes[0, 1].plot([5], [6], "-", color="#123456", label="own name")
    handles = [style.handle("szp", "szp 1.0×"), style.handle("hypercloning")]
    style.legend_below(made, handles)
    return made


def test_what_was_drawn_is_what_is_given(figure):
    assert rows(figure) == [
        ("left, first", "szp 1.0×", "1", "0.5"),
        ("left, first", "szp 1.0×", "2", "1e-09"),
        ("panel 2", "hypercloning", "3.25", "4"),
        ("panel 2", "own name", "5", "6"),
    ]


def test_a_figure_without_lines_has_a_header_alone():
    made, _ = style.panels(1, 1)
    assert rows(made) == []


def test_a_saved_figure_has_its_numbers_beside_it(figure, tmp_path):
    style.save(figure, tmp_path, "name")
    assert (tmp_path / "name.csv").read_text() == csv_of(figure)
