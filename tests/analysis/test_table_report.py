"""The report of anyone's table: complete, escaped, equal to its numbers, and honest."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from law_studies import run_rows
from test_report import macros_of

from mugrow.analysis import words as fmt
from mugrow.analysis.laws.law import ScalingLaws
from mugrow.analysis.laws.rows import RowPolicy
from mugrow.analysis.laws.scaling import scaling_laws
from mugrow.analysis.laws.table_rows import Columns
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.report import latex, laws, table_report
from mugrow.analysis.report.table_report import build_table
from mugrow.bench.spec import UserError

LAWS = Path(__file__).parents[3] / "shared" / "data" / "laws"
EVIL = "<script>alert(1)</script>"


def table_of(path: Path, method: str = "szp") -> Path:
    """The runs of the laws' study as a table with names of its own."""
    runs = pd.DataFrame(run_rows())
    runs = runs[(runs["role"] == "target") & runs["method"].isin(["scratch", "szp"])]
    names = {"params": "size", "tokens": "seen", "final_val_loss": "nats", "method": "arm"}
    table = runs[list(names)].rename(columns=names).replace({"arm": {"szp": method}})
    table.to_csv(path, index=False)
    return path


COLUMNS = Columns(n="size", d="seen", loss="nats", method="arm")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScalingLaws]:
    """The report of a table of two methods, one of them with a wicked name, and its laws."""
    folder = tmp_path_factory.mktemp("table")
    table = table_of(folder / "a&b <i>.csv", EVIL)
    kept: list[ScalingLaws] = []

    def keep(*words: Any) -> ScalingLaws:
        kept.append(scaling_laws(*words))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_report, "scaling_laws", keep)
        page = build_table(table, folder / "out", COLUMNS, resamples=20)
    return page.parent, kept[0]


@pytest.fixture(scope="module")
def report(made: tuple[Path, ScalingLaws]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def found(made: tuple[Path, ScalingLaws]) -> ScalingLaws:
    return made[1]


@pytest.mark.integration
def test_the_file_has_the_numbers_of_the_laws(report: Path, found: ScalingLaws) -> None:
    assert json.loads((report / "laws.json").read_text()) == to_json(found)


def test_the_whole_report_of_a_table(report: Path, found: ScalingLaws) -> None:
    html = unescape((report / "index.html").read_text(encoding="utf-8"))
    assert {one.label: one.status for one in found.laws} == {
        "scratch": "converged", EVIL: "converged",
    }  # fmt: skip
    files = {path.relative_to(report).as_posix() for path in report.rglob("*.*")}
    drawn = {f"figures/{name}.{kind}" for name in ("laws", "residuals", "contour")
             for kind in ("svg", "png", "csv")}  # fmt: skip
    listed = {f"tables/{one.name}.tex" for one in laws.tables(found)}
    assert files == {"index.html", "laws.json", "macros.tex"} | drawn | listed
    for sentence in laws.sentences(found):
        assert sentence in html
    for one in laws.tables(found):
        assert all(cell in html for row in one.rows for cell in row)
    assert "No figure: loss against the growth factor needs 4 growth factors" in html
    assert "20 of 20 resamples" in html
    assert "Every row counts as a run of its own" in html
    assert html.index("What the runs identify") < html.index("<figure>")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_answer_comes_first_and_has_the_numbers(report: Path, found: ScalingLaws) -> None:
    html = unescape((report / "index.html").read_text(encoding="utf-8"))
    answer = html[html.index('id="answer"') : html.index("<strong>Mind</strong>")]
    assert len(laws.answers(found)) == answer.count('class="chip good"') == 2
    for law in found.laws:
        assert law.drawn is not None
        assert law.selection is not None
        budget = law.drawn.optimal[-2]  # the largest run's
        assert budget.c == pytest.approx(6 * (law.drawn.points.n * law.drawn.points.d).max())
        assert f"N = {fmt.tokens(budget.n)} [" in answer
        assert f"best small model {100 * law.selection.baseline_are:.2f} %" in answer


def test_an_answer_without_numbers_gives_the_reason(tmp_path: Path) -> None:
    table = table_of(tmp_path / "runs.csv")
    columns = Columns(n="size", d="seen", loss="nats", policy=RowPolicy(where="size < 50000"))
    html = build_table(table, tmp_path / "out", columns).read_text()
    answer = html[html.index('id="answer"') : html.index("<strong>Mind</strong>")]
    assert '<span class="chip none">unidentified</span>' in answer
    assert "the simplest law needs 5</td>" in answer


def test_macros_equal_the_numbers(report: Path, found: ScalingLaws) -> None:
    macros = macros_of((report / "macros.tex").read_text())
    for law in found.laws:
        assert law.fit is not None
        assert law.drawn is not None
        name = latex.camel("mugrow", "a&b <i>", "law", law.label)
        assert macros[f"{name}Status"] == "converged"
        assert float(macros[f"{name}E"]) == pytest.approx(law.params["E"], rel=1e-3)
        low, high = law.fit.intervals["E"]
        assert float(macros[f"{name}ELo"]) == pytest.approx(low, rel=1e-3)
        assert float(macros[f"{name}EHi"]) == pytest.approx(high, rel=1e-3)
        best = law.drawn.optimal[-1]
        at = latex.spelled(f"{best.c:.3g}")
        assert float(macros[f"{name}At{at}Loss"]) == pytest.approx(best.loss, abs=1e-4)


def test_names_of_a_table_are_escaped(report: Path) -> None:
    html = (report / "index.html").read_text()
    assert EVIL not in html
    assert "<i>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_rows_left_out_are_counted(tmp_path: Path) -> None:
    table = table_of(tmp_path / "runs.csv")
    policy = RowPolicy(where='arm == "scratch" and size < 50000')
    columns = Columns(n="size", d="seen", loss="nats", policy=policy)
    html = build_table(table, tmp_path / "out", columns).read_text()
    assert "Left out 40 rows: not in --where." in html
    assert "unidentified. 5 runs of 1 size, 5 token counts" in html


def test_nothing_is_written_for_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    table = table_of(tmp_path / "runs.csv")
    with pytest.raises(UserError, match="--n is missing, and the table has no column 'params'"):
        build_table(table, tmp_path / "out", Columns())
    with pytest.raises(UserError, match="unknown form"):
        build_table(table, tmp_path / "out", COLUMNS, forms=("chinchila",))
    assert not (tmp_path / "out").exists()


def test_two_runs_are_a_status_and_no_number(tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text("n,d,loss\n1e6,1e8,3.0\n2e6,2e8,2.8\n")
    page = build_table(table, tmp_path / "out", Columns(n="n", d="d", loss="loss"))
    html = page.read_text(encoding="utf-8")
    assert "all runs: unidentified. 2 runs of 2 sizes, 2 token counts: 1 different (N, D)" in html
    assert "<figure>" not in html
    assert macros_of((page.parent / "macros.tex").read_text()) == {
        "mugrowTwoLawAllRunsStatus": "unidentified"
    }


def test_macros_of_names_that_differ_in_signs_only() -> None:
    names = latex.numbered(["mA", "mALo", "mA", "mALo", "mA", "mATwo"])
    assert names == ["mA", "mALo", "mATwo", "mALoTwo", "mAThree", "mATwoTwo"]


@pytest.mark.integration
@pytest.mark.skipif(not LAWS.exists(), reason="needs the run tables in ../shared/data")
def test_the_published_points_of_chinchilla(tmp_path: Path) -> None:
    table = LAWS / "epoch_chinchilla" / "svg_extracted_data.csv"
    fifth = pd.read_csv(table)["loss"].nlargest(5).iloc[-1]
    columns = Columns(
        n="`Model Size`",
        d="`Training FLOP` / (6 * `Model Size`)",
        loss="loss",
        policy=RowPolicy(where=f"loss < {float(fifth)!r}"),
    )
    build_table(table, tmp_path, columns, forms=("chinchilla",), resamples=20)
    (law,) = json.loads((tmp_path / "laws.json").read_text())["laws"]
    checks = json.loads((LAWS / "acceptance_checks.json").read_text())
    expected = next(one for one in checks if one["id"] == "chinchilla_epoch_true_optimum")
    assert law["n_rows"] == 240
    for name, value in law["params"].items():
        assert value == pytest.approx(expected["expect"][name], rel=expected["rtol"][name])
