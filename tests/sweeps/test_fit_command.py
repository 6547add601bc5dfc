"""``mugrow fit`` and ``mugrow savings`` as their users call them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EPOCH = Path("../shared/data/laws/epoch_chinchilla/svg_extracted_data.csv")
TRUTH = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
KEYS = {
    *("form", "status", "params", "objective", "delta", "n_rows", "n_groups", "starts"),
    *("starts_at_optimum", "condition", "intervals", "standard_errors", "bootstrap"),
    *("predictions", "optimal", "exclusions"),
}


def grid() -> pd.DataFrame:
    """Noise-free finals of a law on a 5 x 5 grid, under names that need quotes."""
    n, d = (
        one.ravel() for one in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
    )
    loss = TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"]
    return pd.DataFrame({"Model Size": n, "<i>6ND</i>": 6 * n * d, "loss": loss, "corpus": "c4"})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    grid().to_csv(tmp_path / "grid.csv", index=False)
    return tmp_path / "grid.csv"


@pytest.fixture
def fit(mugrow: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Path, *words: object, form: str = "chinchilla", loss: str = "loss") -> Any:
        n, d = "`Model Size`", "`<i>6ND</i>` / (6 * `Model Size`)"
        given = {"--form": form, "--n": n, "--d": d, "--loss": loss}
        others = [word for pair in given.items() if pair[0] not in words for word in pair]
        return mugrow("fit", path, *others, *words)

    return call


def test_json_recovers_the_truth(fit: Callable[..., Any], table: Path) -> None:
    words = ("--bootstrap", 20, "--predict", "1e8,1e10", "2e9,3e12", "--optimal", "1e20", "1e21")
    done = fit(table, *words, "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row.keys() >= KEYS
    assert row["status"] == "converged"
    assert row["params"] == pytest.approx(TRUTH, rel=1e-6)
    assert (row["n_rows"], row["n_groups"], row["exclusions"]) == (25, 25, [])
    assert row["bootstrap"]["resamples"] == 20
    assert [one["n"] for one in row["predictions"]] == [1e8, 2e9]
    truth = TRUTH["E"] + TRUTH["A"] / 2e9 ** TRUTH["alpha"] + TRUTH["B"] / 3e12 ** TRUTH["beta"]
    assert row["predictions"][1]["loss"] == pytest.approx(truth)
    for one in row["optimal"]:
        assert 6 * one["n"] * one["d"] == pytest.approx(one["c"])
        assert one["tokens_per_parameter"] == pytest.approx(one["d"] / one["n"])


def test_text_says_the_status_first(fit: Callable[..., Any], table: Path) -> None:
    done = fit(table, "--optimal", "1e21", "--predict", "1e9,1e11", "--where", "loss < 3.5")
    assert done.code == 0, done.err
    assert done.out.startswith("chinchilla: converged\n")
    assert "rows: not in --where" in done.out
    assert "tokens_per_parameter" in done.out
    assert "nan" not in done.out


def test_intervals_are_shown(fit: Callable[..., Any], table: Path) -> None:
    done = fit(table, "--bootstrap", 20, "--optimal", "1e21")
    assert "20 resamples converged" in done.out
    assert "standard error" in done.out
    assert "n from" in done.out


def test_exclusions_are_a_table(fit: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    frame = grid()
    frame.loc[3, "loss"] = np.nan
    frame.to_csv(table, index=False)
    where = ("--where", '`Model Size` > 1.1e7 and corpus == "c4"', "--json")
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"left_out.{suffix}"
        done = fit(table, *where, "--exclusions", path)
        written = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
        assert written.to_dict("records") == json.loads(done.out)["exclusions"]
    assert dict(zip(written["row"], written["reason"], strict=True)) == {
        **dict.fromkeys((0, 5, 10, 15, 20), "not in --where"),
        3: "no finite loss: the run diverged or did not end",
    }
    assert fit(table, "--exclusions", "left_out.txt").code == 2


def test_exclusions_are_written_when_no_form_can_be_fitted(
    fit: Callable[..., Any], table: Path, tmp_path: Path
) -> None:
    path = tmp_path / "left_out.csv"
    where = ("--where", "`Model Size` < 1.1e7", "--exclusions", path)
    done = fit(table, *where, form="chinchilla,kaplan")
    assert (done.code, done.out) == (2, "")
    assert set(pd.read_csv(path)["reason"]) == {"not in --where"}


def test_forms_are_compared(fit: Callable[..., Any], table: Path) -> None:
    row = json.loads(fit(table, "--json", form="chinchilla,kaplan").out)
    assert row["form"] == row["selection"]["winner"] == "chinchilla"
    assert [one["form"] for one in row["selection"]["scores"]] == ["chinchilla", "kaplan"]
    text = fit(table, form="kaplan,chinchilla").out
    assert "chinchilla ← winner" in text
    assert "the best small model" in text


def test_fixed_parameters(fit: Callable[..., Any], table: Path) -> None:
    words = ("--fixed", "alpha=0.34", "beta=0.28", "--json")
    row = json.loads(fit(table, *words, form="chinchilla_pinned").out)
    assert row["params"] == pytest.approx(TRUTH, rel=1e-6)


def test_a_store_is_a_table(mugrow: Callable[..., Any]) -> None:
    runs = Path("results/reference/small/runs.parquet")
    words = ("fit", runs, "--form", "chinchilla", "--n", "params", "--d", "tokens",
             "--loss", "final_val_loss", "--json")  # fmt: skip
    mixed = mugrow(*words, "--where", 'method == "scratch"')
    assert (mixed.code, mixed.out) == (2, "")
    assert "the rows mix learning rates" in mixed.err
    done = mugrow(*words, "--where", 'method == "scratch" and role == "target"')
    row = json.loads(done.out)
    assert row["status"] == "unidentified"  # as many tokens at every size
    assert row["params"] == {}
    assert done.code == 0  # an answer, as "cannot say" is one of other commands


@pytest.mark.skipif(not EPOCH.exists(), reason=f"{EPOCH} is not here")
def test_the_command_of_the_readme_on_published_points(mugrow: Callable[..., Any]) -> None:
    done = mugrow("fit", EPOCH, "--form", "chinchilla", "--n", "`Model Size`",
                  "--d", "`Training FLOP` / (6 * `Model Size`)", "--loss", "loss",
                  "--where", "loss < 3.44", "--json")  # fmt: skip
    row = json.loads(done.out)
    assert row["n_rows"] == 240
    assert row["objective"] == pytest.approx(0.00101827402, rel=1e-6)
    assert row["params"]["alpha"] == pytest.approx(0.347311, rel=2e-4)


def test_a_law_of_whole_curves_reads_every_row(mugrow: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    steps = np.arange(1, 201)
    frames = []
    for run, end in (("a", 0.1), ("b", 1.0)):
        lr = 3e-4 * np.where(steps <= 100, 1.0, np.linspace(1.9, 2 * end - 0.1, 200).clip(end, 1))
        loss = 2.5 + 0.5 * np.cumsum(lr) ** -0.5
        frames.append(pd.DataFrame({"run": run, "step": steps, "lr": lr, "loss": loss}))
    pd.concat(frames).to_csv(path, index=False)
    done = mugrow("fit", path, "--form", "momentum", "--s", "step", "--lr", "lr", "--loss", "loss",
                  "--run", "run", "--json")  # fmt: skip
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert (row["n_rows"], row["n_groups"], row["exclusions"]) == (400, 2, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--form", "chinchila"), "unknown form 'chinchila'; did you mean 'chinchilla'"),
        (("--form", "isoflop"), "form 'isoflop' reads n, d, c: --c is missing"),
        (("--form", "gadre"), "--var m=EXPR is missing"),
        (("--form", "envelope", "--c", "loss"), "a law of whole curves needs --run"),
        (("--where", "loss > 99"), "no row of the table matches"),
        (("--where", "los > 3"), "unknown column 'los'; did you mean 'loss'"),
        (("--loss", "__import__('os')"), "not an expression on columns"),
        (("--predict", "1e9"), "2 numbers, not 1"),
        (("--predict", "1e9,x"), "--predict takes numbers, not 'x'"),
        (("--optimal", "-1"), "budget"),
        (("--fixed", "alpha"), "--fixed takes NAME=VALUE"),
        (("--fixed", "alpa=1"), "did you mean 'alpha'"),
        (("--var", "m"), "--var takes NAME=VALUE"),
        (("--delta", "0"), "delta"),
        (("--bootstrap", "-3"), "bootstrap"),
        (("--group", "corpora"), "did you mean 'corpus'"),
    ],
)
def test_mistakes_are_one_line(
    fit: Callable[..., Any], table: Path, words: tuple[str, ...], message: str
) -> None:
    done = fit(table, *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


BAD: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "two runs": lambda frame: frame.head(2),
    "one size": lambda frame: frame.assign(**{"Model Size": 1e8}),
    "equal losses": lambda frame: frame.assign(loss=3.0),
    "a zero": lambda frame: frame.assign(loss=frame["loss"].where(frame.index != 2, 0.0)),
    "a negative size": lambda frame: frame.assign(**{"Model Size": -frame["Model Size"]}),
    "no loss": lambda frame: frame.assign(loss=np.nan),
    "infinite losses": lambda frame: frame.assign(loss=np.inf),
    "text": lambda frame: frame.assign(loss="three"),
    "no column": lambda frame: frame.drop(columns="loss"),
    "two columns": lambda frame: frame.assign(other=1.0).rename(columns={"other": "loss"}),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("form", ["chinchilla", "kaplan", "isoflop"])
def test_bad_tables_give_no_number(
    fit: Callable[..., Any], tmp_path: Path, name: str, form: str
) -> None:
    BAD[name](grid()).to_csv(tmp_path / "bad.csv", index=False)
    done = fit(tmp_path / "bad.csv", "--json", "--c", "`<i>6ND</i>`", form=form)
    if done.code == 2:
        assert done.err.count("\n") == 1
    else:
        assert done.code == 0
        row = json.loads(done.out)
        assert row["status"] != "converged"
        assert row["params"] == {}


CELLS = st.one_of(st.floats(), st.integers(-1, 5), st.none(), st.sampled_from(["x", "1"]))
NUMBERS = st.one_of(st.floats(0.5, 20), st.sampled_from([1.0, 2.0, 4.0]), CELLS)
ROWS = st.fixed_dictionaries({"n": NUMBERS, "d": NUMBERS, "loss": NUMBERS})


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.lists(ROWS, max_size=8), st.sampled_from(["chinchilla", "kaplan", "isoflop"]))
def test_any_table_ends_in_json_or_one_line(
    mugrow: Callable[..., Any], tmp_path: Path, rows: list[dict[str, Any]], form: str
) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    done = mugrow("fit", path, "--form", form, "--n", "n", "--d", "d", "--c", "n * d",
                  "--loss", "loss", "--json")  # fmt: skip
    if done.code == 0:
        assert json.loads(done.out)["form"] == form
        assert "NaN" not in done.out
    else:
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_forms_are_listed(mugrow: Callable[..., Any]) -> None:
    rows = json.loads(mugrow("list", "forms", "--json").out)
    chinchilla = next(row for row in rows if row["name"] == "chinchilla")
    assert chinchilla["reads"] == "n, d"
    assert "2203.15556" in chinchilla["paper"]


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Two seeds of a baseline and of a method twice as fast, whose names are markup."""
    steps = 2.0 ** np.arange(11)
    frames = [
        pd.DataFrame({"run": run, "seed": seed, "step": steps / speed,
                      "loss": 5 - 0.25 * np.arange(11) + 0.01 * seed})
        for run, speed in (("$x^", 1), ("_<b>", 2)) for seed in (0, 1)
    ]  # fmt: skip
    pd.concat(frames).to_csv(tmp_path / "curves.csv", index=False)
    return tmp_path / "curves.csv"


@pytest.mark.parametrize(("suffix", "magic"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_the_whole_curve_is_drawn(
    mugrow: Callable[..., Any], curves: Path, tmp_path: Path, suffix: str, magic: bytes
) -> None:
    figure = tmp_path / f"savings{suffix}"
    words = ("savings", curves, "--run", "run", "--x", "6 * step", "--loss", "loss", "--seeds",
             "seed", "--baseline", "$x^", "--figure", figure, "--json")  # fmt: skip
    done = mugrow(*words, "--source-cost", "_<b>=192", "--tuning-cost", "96")
    assert done.code == 0, done.err
    assert figure.read_bytes().startswith(magic)
    speedups = {row["accounting"]: row["speedup"] for row in json.loads(done.out)}
    final, half = 6 * 1024, 6 * 512
    assert speedups == {
        "target": pytest.approx(2.0),
        "source": pytest.approx(final / (half + 192)),
        "full": pytest.approx((final + 96) / (half + 192 + 96)),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--figure", "curve.gif"), "--figure draws .svg, .png or .pdf"),
        (("--source-cost", "much"), "--source-cost takes one number"),
        (("--source-cost", "1", "2"), "--source-cost takes one number"),
        (("--source-cost", "y=1"), "unknown run 'y'"),
        (("--tuning-cost", "-1"), "tuning cost must be a finite number, at least 0, not -1.0"),
    ],
)
def test_mistakes_of_savings(
    mugrow: Callable[..., Any], curves: Path, words: tuple[str, ...], message: str
) -> None:
    flags = ("--run", "run", "--x", "step", "--loss", "loss", "--baseline", "$x^")
    done = mugrow("savings", curves, *flags, *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
