"""What a report says of arms at equal charged compute: words, chips, table, tuning."""

import math
from dataclasses import replace

import pytest

from mugrow.analysis.measure.comparison import EqualCompute, Versus
from mugrow.analysis.measure.looks import ArmLooks, LooksTaken
from mugrow.analysis.report import equal_compute
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.analysis.summary import Final

ROW = EqualCompute(
    target="w64-d2",
    method="szp",
    label="szp",
    also=("twin",),
    best=0.9,
    charge=1.25e9,
    times_scratch=1.25,
    loss=Interval(1.7, 1.6, 1.8, 3),
    blocks=16,
    versus=(
        Versus("scratch", "reached", Interval(-0.02, -0.03, -0.01, 3), "", 0.01, "better"),
        Versus("own source", "reached", Interval(0.06, 0.04, 0.08, 3), "", 0.01, "worse"),
        Versus("front", "reached", Interval(0.06, -0.04, 0.16, 3), "w32-d2", 0.3, "undecided"),
    ),
    speedup=Interval(1.08, 1.02, 1.13, 3),
    speedup_state="reached",
)
OTHER = replace(ROW, label="stack", also=(), loss=Interval(1.8, 1.7, 1.9, 3))
LARGER = replace(ROW, target="w128-d2", also=())


def final(tuning: float) -> Final:
    return Final(
        "w64-d2", 64, 2, 1000, "szp", "szp", 3, NOTHING, NOTHING, None, 1e9, 0.25e9, tuning, 0
    )


def test_the_answer_is_the_best_arm_of_each_target_the_last_first():
    first, second = equal_compute.answers([ROW, OTHER, LARGER])
    assert first.title.startswith("Growing to w128-d2: szp, at 1.25 GFLOP, 1.25× scratch’s")
    assert second.title.startswith("Growing to w64-d2: szp = twin, the best of 2 arms, at")
    assert [(line.said, line.verdict) for line in second.rows] == [
        ("beats", "better"),
        ("loses to", "worse"),
        ("undecided against", "undecided"),
    ]
    assert second.rows[0].difference == "−0.0200 [−0.0300, −0.0100]"
    assert second.rows[0].speedup == "1.08× [1.02, 1.13]"
    assert second.rows[2].baseline == "the best size for this compute (w32-d2)"


@pytest.mark.parametrize(
    ("state", "speedup", "text"),
    [
        ("above_budgets", Interval(3.0, 2.0, math.inf, 3), "> 3.00× [2.00, ?]"),
        ("below_budgets", Interval(0.5, 0.0, 0.7, 3), "< 0.50× [?, 0.70]"),
        ("outside", NOTHING, "–"),
    ],
)
def test_a_speedup_that_the_budgets_do_not_hold_is_a_bound(state, speedup, text):
    assert equal_compute.speedup(replace(ROW, speedup_state=state, speedup=speedup)) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("vertex", "95.3 k parameters, by a parabola around w32-d2"),
        ("smallest", "w32-d2, the smallest there"),
        ("largest", "w32-d2, the largest there"),
        ("only", "w32-d2, the only one there"),
        ("best", "w32-d2"),
    ],
)
def test_the_front_says_which_size_it_is(size, text):
    of_front = replace(ROW.versus[2], size=size, params=95300.0)
    row = replace(ROW, versus=(*ROW.versus[:2], of_front))
    (answer,) = equal_compute.answers([row])
    assert answer.rows[2].baseline == f"the best size for this compute ({text})"
    (cells,) = equal_compute.table([row]).rows
    assert f"−0.0400, 0.1600] ({text}): undecided" in " ".join(cells)


def test_what_was_not_measured_says_why():
    missing = Versus("own source", "above_budgets", NOTHING, "", math.nan, "not measured")
    row = replace(ROW, versus=(ROW.versus[0], missing, ROW.versus[2]))
    (answer,) = equal_compute.answers([row])
    assert answer.rows[1].said == "not measured against"
    assert answer.rows[1].difference == "charged more than the largest budget"
    (cells,) = equal_compute.table([row]).rows
    assert "charged more than the largest budget" in cells


def test_brackets_say_whether_text_is_in_them():
    assert "crossed with 16 blocks" in equal_compute.intervals([ROW])
    assert "same text" in equal_compute.intervals([replace(ROW, blocks=0)])
    assert equal_compute.intervals([]) == ""


LOOKS = LooksTaken(
    seeds=(3, 5, 8),
    against="scratch",
    error_rate=0.05,
    level=0.0197,
    flops=(1e12, 2e11, 0.0),
    arms=(
        ArmLooks(
            "decided", Interval(-0.02, -0.03, -0.01, 3), 3, None, "w64-d2", "szp", 0.0, 0.0
        ),
        ArmLooks("go on", Interval(0.01, -0.02, 0.04, 5), 5, 8, "w64-d2", "stack", 7.0, 2.5e12),
        ArmLooks(
            "not decided at the cap", Interval(0.0, -1.0, 1.0, 8), 8, None, "w64-d2", "lemon",
            math.inf, math.inf,
        ),
    ),
)  # fmt: skip


def test_looks_say_what_they_cost_and_what_is_missing():
    text = equal_compute.looks(LOOKS)
    assert "after 3 seeds (1 TFLOP), 5 seeds (200 GFLOP) of 3, 5, 8 planned" in text
    assert "an error of 2.0 %, all together 5.0 %. 1 of 3 arms is decided." in text
    assert equal_compute.looks(None) == ""
    rows = equal_compute.looks_table(LOOKS).rows
    assert [row[2] for row in rows] == [
        "decided", "next look after 8 seeds", "not decided at the cap"
    ]  # fmt: skip
    assert [row[-2:] for row in rows] == [
        ("–", "–"), ("7", "2.5 TFLOP"), ("more than 10000", "–")
    ]  # fmt: skip
    assert equal_compute.looks_table(None).rows == ()


def test_tuning_is_paid_by_what_is_saved():
    # 1.08 times saves 0.08 of 1.25 GFLOP a target: a tenth of one
    assert "pays for it from 10 targets on" in equal_compute.tuning([ROW], [final(0.95e9)])
    unsure = replace(ROW, speedup=Interval(1.08, 0.9, 1.2, 3))
    assert "saves nothing for certain" in equal_compute.tuning([unsure], [final(1e9)])
    assert equal_compute.tuning([], [final(1e9)]) == ""
