"""Equal compute on a table of logs whose answer is known."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from mugrow.analysis.measure.lengths import (
    MethodAtEqualCompute,
    at_equal_compute,
    equal_compute,
    several_lengths,
)
from mugrow.analysis.measure.logs import read_arms, savings_of
from mugrow.analysis.read.plain import to_json
from mugrow.bench.spec import UserError

SLOPE = 0.2  # nats a factor e in steps
GAIN = 0.04
NOISE = {"x": 0.01, "y": -0.02, "z": 0.01}  # of the method beside the baseline; its mean is 0


def final(steps: float) -> float:
    return 4 - SLOPE * math.log(steps)


def rows(method: str, seed: str, steps: int, loss: float) -> list[dict[str, Any]]:
    """High until its schedule's end, as a run is that decays late."""
    run = {"method": method, "seed": seed, "run": f"{method}-{seed}-{steps}"}
    return [run | {"step": at, "loss": loss + high} for at, high in
            ((steps // 2, 0.5), (steps, 0.0))]  # fmt: skip


def log(lengths: tuple[int, ...] = (100, 200, 400), grown: int = 150) -> pd.DataFrame:
    """A baseline on a straight line, and a method that is better at its own length by ``GAIN``."""
    found = []
    for place, (seed, noise) in enumerate(NOISE.items()):
        for steps in lengths:
            found += rows("base", seed, steps, final(steps) + 0.1 * place)
        found += rows("grown", seed, grown, final(grown) + 0.1 * place - GAIN + noise)
    return pd.DataFrame(found)


OPTIONS: dict[str, Any] = {
    "run": "method", "seeds": "seed", "x": "step", "loss": "loss", "baseline": "base",
}  # fmt: skip


def compared(
    folder: Path, frame: pd.DataFrame, length: str = "run", **options: Any
) -> list[MethodAtEqualCompute]:
    path = folder / "log.csv"
    frame.to_csv(path, index=False)
    return equal_compute(path, **(OPTIONS | {"length": length} | options))


def test_a_method_at_its_own_last_x(tmp_path: Path) -> None:
    (row,) = compared(tmp_path, log())
    assert (row.method, row.accounting, row.charged, row.n_seeds) == ("grown", "target", 150, 3)
    assert (row.state, row.speedup_state, row.bound) == ("reached", "reached", None)
    assert row.loss == pytest.approx(final(150) + 0.1 - GAIN)
    assert row.difference == pytest.approx(-GAIN)
    width = stdtrit(2, 0.975) * math.sqrt(0.0006 / 2 / 3)  # Student's, of NOISE
    assert row.difference_lo == pytest.approx(-GAIN - width)
    assert row.difference_hi == pytest.approx(-GAIN + width)
    assert row.speedup == pytest.approx(math.exp(GAIN / SLOPE))
    assert row.speedup_lo == pytest.approx(math.exp((GAIN - width) / SLOPE))


def test_costs_are_charged_and_the_baseline_s_move_its_line(tmp_path: Path) -> None:
    target, source, full = compared(tmp_path, log(), source_cost=50.0, tuning_cost=20.0)
    assert [one.accounting for one in (target, source, full)] == ["target", "source", "full"]
    assert [one.charged for one in (target, source, full)] == [150, 200, 220]
    assert source.difference == pytest.approx(-GAIN + SLOPE * math.log(200 / 150))
    assert source.speedup == pytest.approx(math.exp(GAIN / SLOPE) * 150 / 200)
    # the line of lengths 100 and 200 is charged 120 and 220 with tuning
    assert full.difference == pytest.approx(final(150) - GAIN - final(200))


def test_nothing_is_continued_beyond_the_lengths(tmp_path: Path) -> None:
    (above,) = compared(tmp_path, log(grown=500))
    assert (above.state, above.speedup_state) == ("above_budgets", "above_budgets")
    assert math.isnan(above.difference)
    assert math.isnan(above.speedup)
    assert above.bound == pytest.approx(400 / 500)
    (below,) = compared(tmp_path, log(grown=60))
    assert below.state == "below_budgets"
    assert (below.speedup_state, below.bound) == ("below_budgets", pytest.approx(100 / 60))


def test_each_length_of_a_method_is_compared(tmp_path: Path) -> None:
    frame = log()
    more = [row for seed in "xyz" for row in rows("grown", seed, 300, final(300))]
    found = compared(tmp_path, pd.concat([frame, pd.DataFrame(more)]))
    assert [one.charged for one in found] == [150, 300]


def test_ends_a_second_apart_are_one_length(tmp_path: Path) -> None:
    frame = log()
    frame["hours"] = frame["step"] * (1 + 0.004 * frame["seed"].map({"x": 0, "y": 1, "z": 2}))
    (row,) = compared(tmp_path, frame, x="hours")
    assert row.n_seeds == 3
    assert row.charged == pytest.approx(150 * 1.004)
    assert row.difference == pytest.approx(-GAIN, abs=1e-9)


@pytest.mark.parametrize("length", ["planned", "run"])
def test_seeds_of_one_length_may_take_hours_that_differ(tmp_path: Path, length: str) -> None:
    """By a fifth, more than ends may lie apart: told by what was planned, or by their order."""
    frame = log()
    frame["planned"] = frame.groupby("run")["step"].transform("max")
    frame["hours"] = frame["step"] * frame["seed"].map({"x": 0.9, "y": 1.0, "z": 1.1})
    (row,) = compared(tmp_path, frame, length, x="hours")
    assert (row.state, row.n_seeds) == ("reached", 3)
    assert row.charged == pytest.approx(150)
    assert row.difference == pytest.approx(-GAIN, abs=1e-9)


def test_runs_that_overlap_are_not_put_in_order(tmp_path: Path) -> None:
    """By hours the second of one seed is shorter than the first of another: no length is told."""
    frame = log(lengths=(100, 130, 400))
    frame["hours"] = frame["step"] * frame["seed"].map({"x": 0.65, "y": 1.0, "z": 1.25})
    (row,) = compared(tmp_path, frame, x="hours")
    assert row.n_seeds < 3


def test_a_column_that_is_measured_along_a_run_is_no_length(tmp_path: Path) -> None:
    frame = pd.concat([log()] * 20, ignore_index=True)
    frame["hours"] = frame.index / 10
    for column in ("hours", "step"):
        frame["step"] = frame.index + 1
        with pytest.raises(UserError, match=rf"column {column!r} has another value in each of the"):
            compared(tmp_path, frame, column)
    finals = log()[log()["step"] == log().groupby("run")["step"].transform("max")]
    (row,) = compared(tmp_path, finals, "step")  # a table of final losses, a row a run
    assert row.difference == pytest.approx(-GAIN)


def test_one_length_a_seed_is_not_measurable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="baseline 'base' has one length a seed by column 'run'"):
        compared(tmp_path, log(lengths=(100,)))
    arms = read_arms(tmp_path / "log.csv", **OPTIONS)
    assert not several_lengths(arms)
    assert at_equal_compute(arms) == []


def test_seeds_are_no_lengths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two runs of one seed of 'grown' end at the same x"):
        compared(tmp_path, log(), seeds=None)
    with pytest.raises(UserError, match="unknown column 'runs'; did you mean 'run'"):
        compared(tmp_path, log(), length="runs")


def test_a_fixed_loss_is_that_of_the_longest(tmp_path: Path) -> None:
    log(grown=800).to_csv(tmp_path / "log.csv", index=False)
    (row,) = savings_of(read_arms(tmp_path / "log.csv", **OPTIONS, length="run"))
    assert row.loss == pytest.approx(final(400) + 0.1)


def test_the_command_prints_equal_compute_first(mugrow: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log().to_csv(path, index=False)
    words = ("savings", path, "--run", "method", "--seeds", "seed", "--x", "step", "--loss", "loss",
             "--baseline", "base")  # fmt: skip
    lengths = mugrow(*words, "--length", "run")
    assert lengths.code == 0, lengths.err
    assert lengths.out.index("equal charged compute") < lengths.out.index("fixed loss")
    both = json.loads(mugrow(*words, "--length", "run", "--json").out)
    assert both.keys() == {"equal_compute", "fixed_loss"}
    assert both["equal_compute"] == to_json(compared(tmp_path, log()))
    assert both["fixed_loss"][0]["method"] == "grown"


def test_the_command_says_where_it_is_not_measurable(mugrow: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log(lengths=(200,)).to_csv(path, index=False)
    words = ("savings", path, "--run", "method", "--seeds", "seed", "--x", "step", "--loss", "loss",
             "--baseline", "base")  # fmt: skip
    plain, as_json = mugrow(*words), mugrow(*words, "--json")
    note = "equal compute is not measurable here"
    assert plain.out.startswith(note)
    assert "ceiling" in plain.out.splitlines()[0]
    assert (as_json.err.count(note), as_json.err.count("\n")) == (1, 1)
    assert [row["method"] for row in json.loads(as_json.out)] == ["grown"]


NUMBERS = st.one_of(st.floats(0.1, 10), st.sampled_from([1, 2, 0, -1, 1e300, math.nan, math.inf]))
POINTS = st.fixed_dictionaries(
    {"method": st.sampled_from(["base", "grown"]), "step": NUMBERS, "loss": NUMBERS,
     "seed": st.sampled_from("xyz"), "run": st.sampled_from("abc")}
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.lists(POINTS, max_size=12))
def test_any_table_is_numbers_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, points: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "lengths.jsonl"
    path.write_text("\n".join(map(json.dumps, [*log().to_dict("records"), *points])))
    try:
        found = equal_compute(path, **(OPTIONS | {"length": "run"}))
    except UserError:
        return
    for row in found:
        json.dumps(to_json(row), allow_nan=False)
        assert (row.bound is None) == (row.speedup_state in ("reached", "outside"))
