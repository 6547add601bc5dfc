"""Logs and tables as people have them, each with the answer that is right for it.

``cases`` holds small files of the shapes that tools write and that reports of trouble show. Truths
are of the closed-form curves that the files were made from, of arithmetic, or were published with
the numbers (``marin4447``, ``marin8003``, ``mup66``).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mugrow.analysis.laws.families import extrapolate
from mugrow.analysis.laws.form import Options
from mugrow.analysis.laws.rows import RowPolicy
from mugrow.analysis.laws.table_fit import TableFit, fit
from mugrow.analysis.measure.logs import MethodSaving, late, read_arms, savings_of
from mugrow.analysis.read.guess import read
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError

LOGS = Path(__file__).parent / "cases" / "logs"
TABLES = Path(__file__).parent / "cases" / "tables"


def one(*names: str, at: tuple[float, ...] = (), **options: Any) -> MethodSaving:
    """The saving of the only method, in the accounting that charges most."""
    return said(*names, at=at, **options)[0]


def said(*names: str, at: tuple[float, ...] = (), **options: Any) -> tuple[MethodSaving, list[str]]:
    given = {"run": "run", "x": "step", "loss": "loss", "baseline": "scratch"} | options
    arms = read_arms([LOGS / name for name in names], **given)
    found = savings_of(arms, at)
    return found[-1], [str(note) for note in [*arms.notes, *late(found, given["baseline"])]]


def refusal(*names: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        said(*names, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def law(name: str, form: str, **columns: Any) -> TableFit:
    return fit(TABLES / name, form, **{"loss": "loss", "n": "params", "d": "tokens"} | columns)


# --- logs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ok.csv", "ok.tsv", "ok.csv.gz", "OK.CSV", "semicolon.csv", "records.json"]
)
def test_one_curve_in_the_shapes_that_tools_write(name: str) -> None:
    assert one(name).speedup == pytest.approx(1.303, abs=5e-4)


def test_blanks_round_names_and_grouped_thousands() -> None:
    assert one("spaces.csv").speedup == pytest.approx(1.149, abs=5e-4)
    frame = read_table(LOGS / "thousands.csv").frame
    assert frame["params"].tolist() == [1e7, 2e7]
    assert frame["tokens"].tolist() == [2e8, 4e8]


def test_costs_given_apart_are_given_together(mugrow: Callable[..., Any]) -> None:
    words = ("savings", LOGS / "ok.csv", "--run", "run", "--x", "step", "--loss", "loss",
             "--baseline", "scratch", "--json")  # fmt: skip
    for costs in (
        ("--source-cost", "grown=10", "--source-cost", "scratch=5"),
        ("--source-cost", "grown=10", "scratch=5"),
    ):
        ended = mugrow(*words, *costs)
        assert ended.code == 0, ended.err
        charged = json.loads(ended.out)[-1]
        assert charged["accounting"] == "source"
        assert charged["speedup"] == pytest.approx((200 + 5) / (153.55 + 10), rel=1e-4)
    ended = mugrow(*words, "--source-cost", "grown=10", "--source-cost", "grown=5")
    assert ended.code == 2
    assert "--source-cost has 'grown' twice: 10 and 5" in ended.err


def test_a_counter_that_starts_again_is_refused() -> None:
    message = refusal("step_reset.csv")
    assert "'cont'" in message
    assert "from 200 to 10" in message


def test_later_rows_replace_what_they_rewind_over() -> None:
    found, notes = said("resume_tail.csv")
    assert (found.loss, found.speedup) == pytest.approx((2.346, 1.339), abs=5e-4)
    assert notes == ["run 'scratch': resumed at step 200: 11 rows up to 300 replaced"]


def test_rows_without_a_loss_are_no_points() -> None:
    found = [
        one(name, loss="val_loss", smooth=3) for name in ("sparse100.csv", "sparse100_dropna.csv")
    ]
    assert (found[0].loss, found[0].speedup) == (found[1].loss, found[1].speedup)
    assert found[0].speedup == pytest.approx(1.392, abs=5e-4)


@pytest.mark.parametrize("smooth", [1, 21, 101])
def test_smoothing_leaves_a_clean_curve_as_it_is(smooth: int) -> None:
    assert one("dense_clean.csv", smooth=smooth).speedup == pytest.approx(1.397, abs=5e-4)


def test_a_baseline_that_diverged_is_named() -> None:
    for smooth in (1, 3, 21):
        found, notes = said("baseline_nan_tail.csv", smooth=smooth)
        assert found.speedup == pytest.approx(1.296, abs=5e-4)
        assert len(notes) == 1
        assert "'scratch'" in notes[0]
        assert "behind step 200" in notes[0]


def test_a_baseline_that_was_logged_late_gives_a_bound() -> None:
    found, notes = said("late_baseline.csv", at=(2.4,))
    assert (found.state, math.isnan(found.speedup)) == ("baseline_logged_late", True)
    assert found.bound is not None
    assert found.bound > 1.299
    assert "at most the bound" in notes[-1]


@pytest.mark.parametrize(
    ("name", "columns", "command"),
    [
        ("one_row.csv", {"x": "tokens"}, "mugrow fit"),
        (
            "wandb_runs.csv",
            {"run": "Name", "x": "tokens", "loss": "val/loss", "baseline": "scratch-768"},
            "--n n_params --d tokens --loss 'val/loss'",
        ),
    ],
)
def test_a_row_a_run_is_a_table_for_fit(name: str, columns: dict[str, str], command: str) -> None:
    message = refusal(name, **columns)
    assert "has one row a run" in message
    assert command in message


def test_seeds_under_one_name_need_their_column() -> None:
    assert "--seeds seed" in refusal("seeds.csv")
    assert one("seeds.csv", seeds="seed").n_seeds == 3


def test_a_panel_of_wandb() -> None:
    for names in ({"x": "step", "loss": "loss"}, {"x": "Step", "loss": "train/loss"}):
        found = one("wandb_wide.csv", baseline="scratch-s0", **names)
        assert (found.method, found.state) == ("grown-s0", "reached")


def test_files_are_runs_by_their_names() -> None:
    for names in ({"x": "step", "loss": "loss"}, {"x": "Step", "loss": "Value"}):
        found = one("tb_scratch.csv", "tb_grown.csv", baseline="tb_scratch", **names)
        assert (found.method, found.state) == ("tb_grown", "reached")
    log = read(LOGS / "190M-1xC.csv", loss="eval/c4_en-validation/CrossEntropyLoss").log
    assert log is not None
    assert log.names() == ["190M-1xC"]
    assert log.x == "_step"


def test_a_trainer_state() -> None:
    understood = read(LOGS / "trainer_state.json")
    assert (understood.x, understood.loss) == ("step", "loss")
    assert [(run.points, run.x_last) for run in understood.runs] == [(20, 200)]
    evaluated = read(LOGS / "trainer_state.json", loss="eval_loss")
    assert evaluated.runs[0].loss_last == pytest.approx(2.40355, abs=1e-5)


def test_nested_keys_are_paths() -> None:
    for loss in ("metrics.train.loss", "loss"):
        assert one("nested.jsonl", run="run.name", loss=loss).speedup == pytest.approx(
            1.303, abs=5e-4
        )


def test_scores_of_lm_eval_are_told_what_they_are() -> None:
    message = refusal("results_lm_eval.json")
    assert "lm-eval" in message
    assert "Needed is" in message


@pytest.mark.parametrize(
    ("name", "where"),
    [("str_NaN.jsonl", "step 11"), ("str_nan.jsonl", "step 11"), ("nonfinite.jsonl", "step 10")],
)
def test_words_for_what_is_not_finite(name: str, where: str) -> None:
    _, notes = said(name)
    assert len(notes) == 1
    assert "'scratch'" in notes[0]
    assert where in notes[0]


# --- tables ------------------------------------------------------------------------------------


def test_a_published_extrapolation() -> None:
    options = Options(fixed={"c": 1.6}, predict=[[1e21], [1e22], [1e23]])
    policy = RowPolicy(where="C < 5e20")
    found = fit(TABLES / "marin4447.csv", "power", loss="macro", variables={"x": "C"},
                policy=policy, options=options)  # fmt: skip
    assert found.fit.params["a"] == pytest.approx(94.354, abs=5e-4)
    assert found.fit.params["b"] == pytest.approx(-0.093903, abs=5e-7)
    losses = [one.loss for one in found.fit.predictions]
    assert losses == pytest.approx([2.606, 2.411, 2.253], abs=5e-4)


def test_published_isoflops_show_their_budgets(mugrow: Callable[..., Any]) -> None:
    words = ("--form", "isoflop", "--c", "budget", "--d", "tokens", "--n", "budget / (6 * tokens)")
    ended = mugrow("fit", TABLES / "marin8003.csv", *words, "--loss", "paloma macro")
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if line.split()[:1] == ["3e+18"]]
    assert float(line.split()[2]) == pytest.approx(5.08e9, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "lr"), [("sweep_lr.csv", "lr"), ("sweep_learning_rate.csv", "learning_rate")]
)
def test_a_sweep_is_not_one_law(name: str, lr: str) -> None:
    with pytest.raises(UserError, match="mix learning rates, up to 5 at the same n, d"):
        law(name, "chinchilla")
    found = law(name, "chinchilla", policy=RowPolicy(best=True))
    assert found.fit.params["E"] == pytest.approx(1.8, abs=1e-6)
    assert len(found.rows.rows) == 15


def test_sizes_that_differ_in_the_seventh_digit_are_one() -> None:
    found = {
        name: {one.fitted: one.mean.value for one in extrapolate(
            TABLES / name, n="N", d="D", loss="loss")}
        for name in ("ladder_exact.csv", "ladder_jitter.csv")
    }  # fmt: skip
    exact, jitter = found.values()
    assert exact["as good as the best fitted"] == pytest.approx(9.304, abs=5e-4)
    assert jitter == pytest.approx(exact, rel=1e-3)


def test_an_abandoned_branch_of_a_table_of_curves() -> None:
    found = law("fit_resume.csv", "chinchilla", policy=RowPolicy(run="run"))
    assert found.fit.params["E"] == pytest.approx(1.8, abs=1e-6)
    assert found.fit.params["B"] == pytest.approx(1000, rel=1e-6)


def test_units_and_far_budgets_are_cautioned_of() -> None:
    found = law("same_d_curves.csv", "chinchilla", n="params (M)", d="tokens (B)", loss="val loss",
                options=Options(optimal=[1e20]))  # fmt: skip
    assert any("in units of 1e+06" in text for text in found.cautions)
    assert any("15.9 orders of magnitude above" in text for text in found.cautions)
    found = law("fit_units.csv", "chinchilla", n="params / 1e6", options=Options(optimal=[1e22]))
    assert any("are both in the same units?" in text for text in found.cautions)
    assert law("fit_units.csv", "chinchilla", options=Options(optimal=[1e19])).cautions == ()


def test_few_groups_are_cautioned_of() -> None:
    few = law("fit_seeds.csv", "chinchilla", policy=RowPolicy(group="seed"),
              options=Options(bootstrap=5))  # fmt: skip
    assert any("3 groups are too few" in text for text in few.cautions)
    assert law("fit_seeds.csv", "chinchilla", options=Options(bootstrap=5)).cautions == ()


def test_labels_with_a_suffix_are_numbers() -> None:
    columns = {"n": "params_label", "c": "budget_label", "d": "total_tokens", "loss": "val_loss"}
    found = law("marinfold.csv", "isoflop", **columns)
    assert found.rows.points["n"].tolist() == [4.6e6, 11.6e6, 28.1e6, 49.5e6]
    assert found.rows.points["c"].tolist() == [3e17] * 4


def test_numbers_of_the_command_line_may_have_a_suffix(mugrow: Callable[..., Any]) -> None:
    with_suffix = mugrow("advise", "--params", "1.3B", "--tokens", "26B", "--json")
    plain = mugrow("advise", "--params", "1300000000", "--tokens", "2.6e10", "--json")
    assert with_suffix.code == 0, with_suffix.err
    assert with_suffix.out == plain.out
    assert "'1.3Q'" in mugrow("advise", "--params", "1.3Q", "--tokens", "26B").err


def test_parabolas_beside_the_parametric_law() -> None:
    found = law("iso_wide.csv", "isoflop", n="N", d="D", c="C", options=Options(optimal=[1e24]))
    (caution,) = [text for text in found.cautions if "parabolas" in text]
    assert "4.352e+10" in caution
    assert "4.13e+10" in caution


def test_an_optimum_too_small_for_a_float() -> None:
    """A ZeroDivisionError where the ratio of tokens to no parameters was taken."""
    found = law("underflow.csv", "kaplan", n="n", d="d", options=Options(optimal=[1e14]),
                policy=RowPolicy(where="m == 'b'", allow_mixed=True))  # fmt: skip
    assert found.fit.optimal[0].n == 0
    assert found.fit.optimal[0].tokens_per_parameter == math.inf
