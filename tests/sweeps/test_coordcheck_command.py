"""``mugrow coordcheck``: what it prints, draws and refuses."""

import json
import re
from dataclasses import asdict

import pytest

from mugrow.analysis.figures import coordcheck
from mugrow.bench.coordcheck import Row, pooling
from mugrow.sweeps.commands.coordcheck import _line

QUICK = ("--widths", 32, 64, "--seeds", 0, 1, 2, "--steps", 1)
KEYS = {
    "parametrization",
    "method",
    "axis",
    "module",
    "kind",
    "step",
    "slope",
    "interval",
    "verdict",
    "reason",
    "sizes",
    "means",
    "seeds",
}


def checked(mugrow, *words):
    return mugrow("coordcheck", "--parametrization", *words)


def test_json_has_a_row_a_module_and_step(mugrow):
    ended = checked(mugrow, "mup", *QUICK, "--json")
    rows = json.loads(ended.out)
    assert all(row.keys() == KEYS for row in rows)
    assert {row["verdict"] for row in rows} <= {"pass", "fail", "cannot say", "exempt"}
    assert ended.code == int(any(row["verdict"] == "fail" for row in rows))
    assert len(rows) == 18 * 3
    assert all(row["interval"][0] <= row["slope"] <= row["interval"][1] for row in rows)
    assert all(row["sizes"] == [32, 64] and len(row["means"]) == 2 for row in rows)
    assert {row["axis"] for row in rows} == {"width"}


def test_what_fails_is_said_and_exits_with_one(mugrow):
    ended = checked(mugrow, "sp", "mup", *QUICK)
    assert ended.code == 1
    first, second = ended.out.split("\n\n")[:2]
    assert first.splitlines()[0] == "sp: slopes of log2 mean|x| over log2 width, 32 64; 3 seeds"
    lines = first.splitlines()
    failed = sum(line.split()[-1] == "fail" for line in lines)
    assert lines[-1] == f"verdict: FAIL, {failed} of 36"
    assert failed > 20
    assert second.splitlines()[0].startswith("mup:")
    line = next(line for line in lines if "blocks.0.mlp.up" in line)
    assert line.split()[-1] == "fail"


def test_as_many_seeds_as_it_takes_and_what_is_still_unknown(mugrow, monkeypatch):
    monkeypatch.setattr(pooling, "LOOKS", (2, 4))
    ended = checked(mugrow, "mup", *QUICK[:3], "--steps", 1)
    lines = ended.out.splitlines()
    assert lines[0].endswith("32 64; 4 seeds")
    unknown = next(line for line in lines if line.startswith("not known to ±0.05: "))
    assert "|x-x0| blocks.1.attention.o" in unknown
    (first, *_) = said = [line for line in lines if line.startswith("cannot say: ")]
    assert len(said) <= 3
    assert re.search(r"at t=1, slope [+-]\d\.\d\d ± 0\.\d\d across a bound", first)
    assert re.search(r"about \d+ seeds know it to ±0.05$", first)
    assert re.fullmatch(
        r"verdict: CANNOT SAY, \d+ of 36", next(x for x in lines if "verdict:" in x)
    )
    assert ended.code == 0


def test_umups_own_rule_is_exempt_with_its_reason(mugrow):
    ended = checked(mugrow, "umup", *QUICK)
    line = next(line for line in ended.out.splitlines() if line.startswith("exempt: "))
    assert line == "exempt: umup's embedding learns at 1/sqrt(width), its own rule"


def test_one_failing_step_fails_its_line():
    def row(step, slope, verdict):
        return Row(
            parametrization="mup", method="scratch", axis="width", module="head", kind="dx",
            step=step, slope=slope, interval=(slope - 0.01, slope + 0.01), verdict=verdict,
            reason=None, sizes=[32, 64], means=[1.0, 1.0], seeds=2,
        )  # fmt: skip

    line = _line([row(1, -0.3, "pass"), row(2, 0.2, "fail"), row(3, 0.9, "exempt")])
    assert line == {
        "": "|x-x0|",
        "module": "head",
        "t=0": "",
        "t=1": "-0.30",
        "t=2": "+0.20",
        "t=3": "+0.90",
        "steepest, 95 %": "+0.19 to +0.21",
        "verdict": "fail",
    }


@pytest.mark.integration
def test_the_figure_is_of_the_rows(mugrow, tmp_path, monkeypatch):
    drawn, as_it_is = [], coordcheck.draw_panel

    def draw_panel(axis, rows, colours):
        drawn.append(rows)
        as_it_is(axis, rows, colours)

    monkeypatch.setattr(coordcheck, "draw_panel", draw_panel)
    figure = tmp_path / "grid.svg"
    ended = checked(mugrow, "mup", *QUICK, "--json", "--figure", figure)
    rows = json.loads(ended.out)
    assert figure.read_text().startswith("<?xml")
    assert len(drawn) == 10 * 2
    assert all(json.loads(json.dumps(asdict(row))) in rows for panel in drawn for row in panel)


def test_depth_and_growth_say_what_they_are(mugrow):
    ended = checked(
        mugrow, "completep:alpha=1.0", "--depths", 2, 4, "--widths", 32, "--steps", 2,
        "--method", "stack", "--base", 1, "--seeds", 0, 1,
    )  # fmt: skip
    lines = ended.out.splitlines()
    assert (
        lines[0]
        == "completep, grown by stack: slopes of log2 mean|x| over log2 depth, 2 4; 2 seeds"
    )
    assert any(line.startswith("exempt: in depth") for line in lines)
    assert ended.err == ""


def test_a_growing_head_exempts_attention_logits(mugrow):
    ended = checked(mugrow, "mup", *QUICK, "--heads", 2, "--json")
    rows = [row for row in json.loads(ended.out) if row["module"].endswith("logits")]
    assert {(row["verdict"], row["reason"]) for row in rows} == {("exempt", "the head size grows")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mupp",), "unknown parametrization 'mupp'; did you mean 'mup'?"),
        (("mup", "completep:alfa=1"), "did you mean 'alpha'?"),
        (("mup", "--widths", 64), "a slope takes at least two widths, not 64 alone"),
        (("mup", "--widths", 32, 40), "width 40 is not a multiple of head_size 16; the nearest"),
        (("mup", "--widths", 16, 32), "width 16 is below the base's 32; a base is at most 16"),
        (("mup", "--widths", 32, 64, "--heads", 3), "width 32 is not a multiple of --heads 3"),
        (("mup", "--widths", 32, 64, "--heads", 0), "width 32 is not a multiple of --heads 0"),
        (("mup", "--base", 0), "width must be at least 1, not 0"),
        (("mup", "--depths", 1, 2), "depth 1 is below the base's 2; a base is at most 1"),
        (("mup", "--depths", 2, 4, "--widths", 32, 64), "take one of the --widths, not 32 64"),
        (("mup", "--seeds", 3), "an interval takes at least two different seeds, not 3"),
        (("mup", "--steps", 0), "steps must be at least 1, not 0"),
        (("mup", "--lr", 0), "lr must be above 0"),
        (("mup", "--lr", -1), "lr must be a finite number"),
        (("mup", "--method", "spz"), "unknown method 'spz'; did you mean 'szp'?"),
        (("mup", "--method", "szp:shrink"), "parameters as PARAMETER=VALUE, not 'shrink'"),
        (("mup", "--method", "stack"), "grows depth only"),
        (("mup", "--corpus", "synthetics"), "did you mean 'synthetic'?"),
        (("mup", "--figure", "grid.gif"), "--figure draws .svg, .png or .pdf, not grid.gif"),
    ],
)
def test_mistakes_are_one_line(mugrow, words, message):
    ended = checked(mugrow, *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
