"""Figures inside a page: fewer bytes, the same points, and no two ids alike."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.report.inline_svg import inline, path

COMMAND = re.compile(r"([a-z])([^a-z]*)")
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
POINTS = {"m": 1, "l": 1, "q": 2, "c": 3, "z": 0}


def absolute(relative):
    """The points that a browser draws."""
    found, at, begun = [], np.zeros(2), np.zeros(2)
    for command, given in COMMAND.findall(relative):
        values = np.array([float(one) for one in NUMBER.findall(given)]).reshape(-1, 2)
        if command == "z":
            at = begun
        for place in range(0, len(values), max(1, POINTS[command])):
            points = at + values[place : place + POINTS[command]]
            at = points[-1]
            if command == "m" and place == 0:
                begun = at
            found += points.tolist()
    return found


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("M 10 20 L 10.04 20.5 L 9.5 20.5 z", "m10 20 0 .5-.5 0z"),
        ("M 1 1 z M 3 3 L 4 5", "m1 1zm2 2 1 2"),
        ("M 0 0 Q 1 2 3 4 Q 5 6 7 8 L 9 9", "m0 0q1 2 3 4 2 2 4 4l2 1"),
        ("M -0.04 0 L -2.5 -3", "m0 0-2.5-3"),
        ("M 0.5 0.5 L 1.2 0.9 L 1.2 0.9", "m.5.5.7.4"),
        ("M 5 5 L 5 5", "m5 5 0 0"),  # a dot
        ("M 0 0 A 1 1 0 0 1 2 2", "M 0 0 A 1 1 0 0 1 2 2"),
        ("M 1e-7 -1e-7 L -2 -3", "M 1e-7 -1e-7 L -2 -3"),
    ],
)
def test_a_path_is_short(given, written):
    assert path(given) == written


def test_points_stay_where_they_are():
    """Steps are between rounded points, so that errors do not add up."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 30, (200, 2)).cumsum(axis=0)
    shown = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    np.testing.assert_allclose(absolute(path(shown)), points, atol=0.0501)
    curved = "M 0 0 " + " ".join(f"Q {a:.6f} {b:.6f} {c:.6f} {d:.6f}"
                                 for (a, b), (c, d) in points.reshape(-1, 2, 2))  # fmt: skip
    np.testing.assert_allclose(absolute(path(curved))[1:], points, atol=0.0501)


@pytest.fixture(scope="module")
def svg():
    def make():
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots(1, 2)
        for axis in axes:
            x = np.linspace(0, 9, 50)
            axis.plot(x, np.sin(x), "-o", label="a & <b>")
            axis.fill_between(x, np.sin(x) - 0.1, np.sin(x) + 0.1, alpha=0.2)
            axis.imshow(np.eye(3))
            axis.set_title("text of a title")
        axes[0].legend()
        return figure

    return style.svg_bytes(style.drawn(make), "one")


def test_it_is_lighter_and_every_reference_is_to_one_id(svg):
    page = "".join(inline(svg, name, "says") for name in ("first", "second"))
    assert len(page) < 2 * 0.6 * len(svg)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    referred = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(referred) == set(ids)
    classes = set(re.findall(r' class="([^"]+)"', page))
    assert classes == set(re.findall(r"\.([\w-]+)\{", page))
    assert {one.split("-")[0] for one in classes | set(ids)} == {"first", "second"}
    assert "*{" not in page  # a rule of a figure is none of the page


def test_nothing_that_is_drawn_is_lost(svg):
    ours = ET.fromstring(str(inline(svg, "one", "says")))
    drawn = ("path", "use", "image", "rect", "clipPath")
    for tag in drawn:
        count = [sum(one.tag.endswith(f"}}{tag}") for one in root.iter())
                 for root in (ours, ET.fromstring(svg))]  # fmt: skip
        assert count[0] == count[1] > 0, tag
    assert ours.get("viewBox") == ET.fromstring(svg).get("viewBox")
    assert ours.get("width") is None


def test_what_it_says_is_text(svg):
    evil = 'a "<script>" & b'
    assert ET.fromstring(str(inline(svg, "one", evil))).get("aria-label") == evil
