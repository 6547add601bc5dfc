"""Forms are ranked by what they predict of the runs that they did not see."""

from pathlib import Path

import numpy as np
import pytest

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.form import Points
from mugrow.analysis.laws.rows import RowPolicy, select
from mugrow.analysis.laws.selection import comparable, compare, largest
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError

EPOCH = Path("../shared/data/laws/epoch_chinchilla/svg_extracted_data.csv")
FORMS = ("chinchilla", "chinchilla_tied", "chinchilla_pinned", "kaplan", "skaling", "power")


def law(alpha: float = 0.34, beta: float = 0.28) -> Points:
    """Noise-free points of a Chinchilla law on a grid of 6 x 6."""
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e10, 6),
                                                 np.geomspace(1e9, 1e12, 6)))  # fmt: skip
    return {"n": n, "d": d, "loss": 1.7 + 400 / n**alpha + 410 / d**beta}


@pytest.mark.skipif(not EPOCH.exists(), reason=f"{EPOCH} is not here")
def test_published_hold_out_errors() -> None:
    """Fitted below 1e21 FLOPs, tested on the 23 points above: the best objective does not win."""
    columns = {"n": "`Model Size`", "d": "`Training FLOP` / (6 * `Model Size`)",
               "c": "`Training FLOP`", "loss": "loss"}  # fmt: skip
    table = read_table(EPOCH).frame
    fifth = float(table["loss"].nlargest(5).iloc[-1])
    points = select(table, columns, RowPolicy(where=f"loss < {fifth!r}")).points
    forms = comparable(map(get_form, FORMS), points)
    comparison = compare(forms, points, points["c"] >= 1e21)
    assert (comparison.held_out, comparison.kept) == (23, 217)
    assert {score.form: round(100 * score.are, 2) for score in comparison.scores} == {
        "chinchilla_tied": 0.84,
        "skaling": 0.94,
        "chinchilla": 1.05,
        "kaplan": 2.13,
    }
    assert comparison.winner == "chinchilla_tied"
    assert comparison.baseline_are > 0.025
    objectives = {score.form: score.objective for score in comparison.scores}
    assert min(objectives, key=objectives.__getitem__) == "skaling"


def test_the_true_form_wins_and_predicts() -> None:
    points = law()
    forms = [get_form("kaplan"), get_form("chinchilla")]
    comparison = compare(forms, points, largest(points))
    assert comparison.winner == "chinchilla"
    assert comparison.scores[0].are < 1e-8
    assert comparison.scores[1].are > 1e-3
    lowest = points["loss"][~largest(points)].min()
    held = points["loss"][largest(points)]
    assert comparison.baseline_are == pytest.approx(np.mean(abs(held - lowest) / held))


def test_the_largest_are_held_out_with_their_ties() -> None:
    points = law()
    held = largest(points)
    compute = points["n"] * points["d"]
    assert held.sum() == 6  # 4 are a tenth of 36; the fourth ties with two more
    assert compute[held].min() > compute[~held].max()
    assert (largest(points | {"c": points["n"]}) == (points["n"] == 1e10)).all()


def test_no_form_is_better_than_the_best_small_model_by_refusal() -> None:
    points = law()
    flat = points | {"loss": np.full(36, 3.0)}
    comparison = compare([get_form("chinchilla")], flat, largest(flat))
    assert comparison.winner is None
    assert comparison.scores[0].are is None
    assert comparison.scores[0].status == "unidentified"


def test_runs_of_one_size_have_no_largest() -> None:
    points = {"n": np.ones(4), "d": np.ones(4), "loss": np.arange(1.0, 5.0)}
    with pytest.raises(UserError, match="all rows are of one size"):
        compare([get_form("chinchilla")], points, largest(points))


def test_only_forms_of_the_same_variables_are_compared() -> None:
    names = [form.name for form in comparable(map(get_form, FORMS), law(), {})]
    assert names == ["chinchilla", "chinchilla_tied", "kaplan", "skaling"]
    fixed = {"alpha": 0.34, "beta": 0.28}
    pinned = comparable([get_form("chinchilla_pinned")], law(), fixed)
    assert [form.name for form in pinned] == ["chinchilla_pinned"]
