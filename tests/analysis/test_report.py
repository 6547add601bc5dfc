"""The report: whole and self-contained, escaped, equal to the summary, and honest when partial."""

import copy
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis import figures
from mugrow.analysis import words as fmt
from mugrow.analysis.measure import recovery
from mugrow.analysis.measure.savings import State
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.report import imported, latex, tables, transfer, words
from mugrow.analysis.report.build import build
from mugrow.analysis.report.table import Table
from mugrow.analysis.stats import Interval
from mugrow.analysis.summary import ArmSaving, Summary, summarize
from mugrow.analysis.transfer.results import transfer_results
from mugrow.analysis.transfer.sweep import by_setting
from mugrow.bench.record import write_json

NOT_SWEPT = (  # and no budgets
    "transfer_depth", "transfer_tokens", "transfer_batch", "transfer_growth", "operator_settings",
    "equal_compute", "differences",
)  # fmt: skip
MACRO = re.compile(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}$")


SUMMARIZED: list[Summary] = []  # the study is the same for every test: summarize it once


@pytest.fixture
def summary(request: pytest.FixtureRequest) -> Summary:
    if not SUMMARIZED:
        SUMMARIZED.append(summarize(load(request.getfixturevalue("study_dir"))))
    return copy.deepcopy(SUMMARIZED[0])


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the quickest figure only: the others have their own tests."""
    monkeypatch.setattr(figures, "FIGURES", {"costs": figures.FIGURES["costs"]})


def keep(directory: Path, table: str, wanted: Any) -> None:
    """Rewrite a table of the store with the rows for which ``wanted(row)`` holds."""
    path = directory / f"{table}.parquet"
    old = pq.read_table(path)
    mask = [wanted(row) for row in old.to_pylist()]
    pq.write_table(old.filter(mask), path)


def macros_of(text: str) -> dict[str, str]:
    found = [MACRO.match(line) for line in text.splitlines() if not line.startswith("%")]
    assert all(found), text
    names = [match[1] for match in found if match]
    assert len(names) == len(set(names))
    return {match[1]: match[2] for match in found if match}


def test_the_whole_report(study_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled: list[int] = []
    label = recovery.label_targets
    monkeypatch.setattr(
        recovery, "label_targets", lambda runs: labelled.append(len(runs)) or label(runs)
    )
    page = build(study_dir)
    assert len(labelled) == 1  # once for the summary and all figures
    html = page.read_text(encoding="utf-8")
    report = study_dir / "report"
    assert page == report / "index.html"
    of_study = {
        name: one for name, one in figures.FIGURES.items()
        if one.section != figures.LAWS and name not in NOT_SWEPT
    }  # fmt: skip
    for name, entry in of_study.items():
        assert (report / "figures" / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert (report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert entry.caption in html
    assert html.count('<svg role="img"') == len(of_study)
    assert html.count("unidentified. 2 runs of 1 size, 1 token count: ") == 1  # all three methods
    assert not re.search(r'(src|href)\s*=\s*"(?!#|data:)', html)
    assert not re.search(r"<script[^>]* src|<link|@import|url\((?!#)|fetch\(|import\(", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)) <= (
        {(name, "") for name in ids} | {("", name) for name in ids}
    )
    assert "mugrow run quick" in html
    assert html.count("Not drawn") == 1  # what compares budgets
    saved = json.loads((study_dir / "summary.json").read_text())
    assert saved == to_json(summarize(load(study_dir)))


@pytest.mark.usefixtures("one_figure")
def test_building_twice_gives_the_same_bytes(study_dir: Path) -> None:
    build(study_dir)
    files = sorted(path for path in (study_dir / "report").rglob("*") if path.is_file())
    first = [path.read_bytes() for path in files]
    build(study_dir)
    assert [path.read_bytes() for path in files] == first
    assert (
        len(files) == 3 + 1 + 1 + (4 + len(tables.TABLES)) + 7 + 4
    )  # SVG, PNG, CSV, page, macros, tables


@pytest.mark.usefixtures("one_figure")
def test_text_from_files_is_escaped(study_dir: Path) -> None:
    study = json.loads((study_dir / "study.json").read_text())
    evil = "<script>alert(1)</script>"
    write_json(study_dir / "study.json", study | {"title": evil, "note": evil})
    html = build(study_dir).read_text(encoding="utf-8")
    assert evil not in html
    assert (
        html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4
    )  # title, heading, both in the configuration


@pytest.mark.usefixtures("one_figure")
def test_page_holds_the_numbers_and_the_circumstances(study_dir: Path, summary: Summary) -> None:
    html = build(study_dir).read_text(encoding="utf-8")
    for row in summary.finals:
        assert fmt.interval(row.loss, fmt.loss) in html
    runs = load(study_dir).runs
    assert all(run_id in html for run_id in runs["run_id"])
    assert runs["corpus_sha256"].iloc[0] in html
    assert "2.13.0" in html
    assert "loss was nan at step 30" in html
    assert "interval of the paired t test over seeds, with 2 seeds" in html


def test_macros_equal_the_summary(summary: Summary) -> None:
    found = macros_of(latex.macros(summary))
    for row in summary.savings:
        if (row.label, row.at) != ("szp", "scratch final"):
            continue
        name = f"mugrowQuickWonetwoeightDtwoSzpSpeedup{row.accounting.capitalize()}"
        assert float(found[name]) == pytest.approx(row.speedup.value, abs=0.005)
        assert float(found[f"{name}Lo"]) == pytest.approx(row.speedup.lo, abs=0.005)
        assert float(found[f"{name}Hi"]) == pytest.approx(row.speedup.hi, abs=0.005)
        assert found[f"{name}State"] == "reached"
    scratch = next(row for row in summary.finals if row.label == "scratch")
    name = "mugrowQuickWonetwoeightDtwoScratchLoss"
    assert float(found[name]) == pytest.approx(scratch.loss.value, abs=5e-5)
    name = "mugrowQuickSpWidth"
    assert found[f"{name}WthreetwoToWsixfourShift"] == r"\ensuremath{-}1.00"
    assert (found[f"{name}Verdict"], found[f"{name}Drift"]) == ("drifts", r"\ensuremath{-}1.00")


def test_a_censored_macro_is_a_bound(summary: Summary) -> None:
    found = macros_of(latex.macros(summary))
    row = next(row for row in summary.savings if row.state == "never_reached")
    name = "mugrowQuickWonetwoeightDtwoHypercloningSpeedupTarget"
    assert found[name] == rf"\ensuremath{{<}}{row.bound:.2f}"
    assert found[f"{name}State"] == "never reached"
    assert f"{name}Lo" not in found


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_macro_names_are_letters_and_values_balance(parts: list[str]) -> None:
    assert re.fullmatch(r"[A-Za-z]+", latex.camel("mugrow", *parts))
    escaped = re.sub(r"\\[{}]", "", latex.escape("".join(parts)))
    assert escaped.count("{") == escaped.count("}")
    assert not re.search(r"(?<!\\)[&%$#_]", escaped)


def test_macro_names_tell_variants_apart() -> None:
    names = {latex.camel("m", f"szp(shrink={value})") for value in ("0.2", "0.02", "-0.2", "2")}
    assert len(names) == 4
    assert latex.camel("m", "w64-d2", "zero_pad") == "mWsixfourDtwoZeroPad"


def test_a_newline_ends_no_comment_of_latex() -> None:
    found = latex.commands("a\nb\x1b \\input{c}", [(("x", "y"), "1\n2")])
    comment, macro = found.splitlines()
    assert comment == r"% Numbers of the study a b \input{c}."
    assert macro == r"\newcommand{\mugrowXY}{1 2}"
    item = Table("t", "A\ntitle", "and\r\na note", ("a", "b"), (("1", "2"),))
    assert latex.table(item).splitlines()[0] == "% A title. and a note"


def test_latex_tables_hold_the_numbers(summary: Summary) -> None:
    for item in tables.of_summary(summary):
        text = latex.table(item)
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 1 + len(item.rows)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(item.columns) - 1}
    finals = latex.table(tables.finals(summary))
    for row in summary.finals:
        assert f"{row.loss.value:.4f} [{row.loss.lo:.4f}" in finals


def test_without_scratch_nothing_is_said_of_it(summary: Summary) -> None:
    every = {item.name: item for item in tables.of_summary(summary)}
    for item in tables.of_summary(summary, scratch=False):
        assert "scratch" not in " ".join((item.title, item.note, *item.columns))
        assert all(len(row) == len(item.columns) for row in item.rows)
        assert len(item.columns) == len(every[item.name].columns) or item.name in (
            "equal-compute",
            "finals",
        )
    for name in ("equal_compute", "curves", "methods", "recovery", "costs"):
        assert "scratch" not in " ".join(figures.FIGURES[name].words(scratch=False))


def comparison(
    state: State, *, bound: float | None = None, speedup: Interval | None = None
) -> ArmSaving:
    return ArmSaving(
        at_loss=2.5, accounting="target", state=state, speedup=speedup, bound=bound,
        limit=bound, seeds_reached=4, seeds=4,
        target="w128-d2", method="szp", label="szp", at="scratch final",
    )  # fmt: skip


def speedup(value: float, lo: float, hi: float, n: int = 3) -> ArmSaving:
    return comparison("reached", speedup=Interval(value, lo, hi, n))


@pytest.mark.parametrize(
    ("row", "verdict", "text"),
    [
        (speedup(1.5, 1.2, 1.8), "saved", "szp 1.50× [1.20, 1.80]"),
        (speedup(1.5, 1.2, math.inf), "saved", "szp 1.50× [1.20, ?]"),
        (speedup(1.5, 0.9, 1.8), "undecided", "szp 1.50× [0.90, 1.80]"),
        (speedup(1.5, -math.inf, 1.8), "undecided", "szp 1.50× [?, 1.80]"),
        (speedup(0.8, 0.7, 0.9), "cost", "szp 0.80× [0.70, 0.90]"),
        (speedup(1.5, math.nan, math.nan, n=1), "one seed", "szp 1.50×"),
        (comparison("never_reached", bound=0.93), "never_reached", "szp (speed-up below 0.93×)"),
        (
            comparison("baseline_never_reached", bound=1.4),
            "baseline_never_reached",
            "szp (speed-up above 1.40×)",
        ),
        (comparison("outside_range"), "outside_range", "szp"),
    ],
)
def test_a_verdict_needs_its_interval(row: ArmSaving, verdict: str, text: str) -> None:
    assert words.verdict(row) == verdict
    (found,) = words.outcomes("target only", [row], [row])
    assert (found.verdict, found.first) == (words.VERDICTS[verdict], text)


def test_an_arm_that_lost_seeds_names_the_loss_it_was_compared_at() -> None:
    rows = [speedup(1.5, 1.2, 1.8), speedup(1.4, 1.2, 1.8), speedup(1.3, 1.2, 1.8)]
    rows[2] = replace(rows[2], label="stack", at_loss=2.6)
    (found,) = words.outcomes("target only", rows, rows)
    assert found.first.endswith("stack 1.30× [1.20, 1.80] (at 2.6000, on the seeds it finished)")


def test_of_many_methods_the_best_are_named_and_the_others_unfold() -> None:
    rows = [replace(speedup(1 + n / 10, 1.01, 9.0), label=f"m{n}") for n in range(5)]
    (found,) = words.outcomes("target only", rows, rows)
    assert found.count == 5
    assert [part.split()[0] for part in found.first.split("; ")] == ["m4", "m3", "m2"]
    assert [part.split()[0] for part in found.others.split("; ")] == ["m1", "m0"]


def test_headline_covers_every_accounting_and_the_transfer(summary: Summary) -> None:
    ((target, said),) = words.growth(summary).items()
    assert "w128-d2" in target
    assert len({row.accounting for row in said}) == 3
    methods = {(row.verdict, row.first.split()[0]) for row in said}
    assert methods == {("saved compute", "szp"), ("never reached it", "hypercloning")}
    mup, sp = words.transferred(summary)
    assert (mup.verdict, *mup.ladders) == (
        "transfers",
        "μP, width w32 w64 (drift 0.00 [0.00, 0.00] log2 per doubling, regret 0.00 % [0.00, 0.00])",
    )
    assert sp.verdict == "does not transfer"
    assert sp.ladders[0].startswith("SP, width w32 w64 (drift −1.00 [")


def test_a_rate_that_diverges_at_the_target_is_said(summary: Summary) -> None:
    high = Interval(math.inf, math.nan, math.nan, 2)
    ladder, *others = summary.transfer.ladders
    pair = replace(ladder.pairs[0], regret_nats=high, regret_percent=high, regret_at="diverged")
    ladder = replace(ladder, pairs=(pair, *ladder.pairs[1:]))
    summary = replace(summary, transfer=replace(summary.transfer, ladders=(ladder, *others)))
    first = next(transfer.sentences(summary.transfer))
    assert first.endswith("keeping the smallest size’s diverges there.")
    assert "regret diverges" in next(words.transferred(summary)).ladders[0]


def test_every_ladder_has_its_row_of_verdicts(summary: Summary) -> None:
    """Lingle's table: yes or no, and the numbers behind it."""
    (mup, sp) = transfer.verdicts(summary.transfer).rows
    assert mup[:4] == ("μP", "width", "w32 w64", "yes")
    assert (sp[3], sp[-2:]) == ("no", ("no", "2"))
    assert "−1.00" in sp[5]
    skipped = transfer.skipped(summary.transfer).rows
    assert {row[1] for row in skipped} == {"w32-d2, init std 0.02", "w32-d2, init std 0.08"}


def test_warnings(study_dir: Path, summary: Summary) -> None:
    runs = load(study_dir).runs
    optima = (replace(summary.optima[0], edge="high"), *summary.optima[1:])
    summary = replace(summary, optima=optima)
    text = "\n".join(words.warnings(summary, runs))
    assert "on the high edge" in text
    assert f"Among {len(runs)} runs: 1 diverged, 1 pruned" in text
    assert "2 seeds are few" in text
    assert "2 of 2 source runs stop before the end of their schedule, at step 80 of 100" in text
    assert "compares a decayed baseline with a method that has still to decay" in text
    assert "target runs" not in text


def test_arms_that_failed_before_their_first_step_have_no_ceiling(
    study_dir: Path, summary: Summary
) -> None:
    runs = load(study_dir).runs
    assert "a ceiling" in words.ceilings(summary, runs)
    untrained = [replace(final, flops=0.0) for final in summary.finals]
    assert words.ceilings(replace(summary, finals=tuple(untrained)), runs) == ""


def test_one_seed_has_no_intervals(study_dir: Path) -> None:
    keep(study_dir, "runs", lambda row: row["seed"] == 0)
    summary = summarize(load(study_dir))
    assert "One seed gives no interval" in words.intervals(summary)
    assert {row.verdict for row in next(iter(words.growth(summary).values()))} >= {
        "one seed, so no interval"
    }


@pytest.mark.usefixtures("one_figure")
def test_a_study_without_targets_says_so(study_dir: Path) -> None:
    build(study_dir)
    keep(study_dir, "runs", lambda row: row["role"] == "proxy")
    html = build(study_dir).read_text(encoding="utf-8")
    assert "No target has finished" in html
    assert ": figure &#39;costs&#39; needs a finished target" in html
    assert not list((study_dir / "report" / "figures").iterdir())  # none left of the first build


def test_what_cannot_be_said_has_its_reason(summary: Summary, study_dir: Path) -> None:
    store = load(study_dir)
    assert words.missing(summary, store) == []
    still = replace(summary, transfer=replace(summary.transfer, ladders=()), savings=())
    assert words.missing(still, store) == [
        "No two sizes have sweeps to compare: nothing can be said on transfer.",
        "No target has both a grown and a from-scratch run: there are no savings.",
    ]
    grown = replace(store, study=store.study | {"source": f"tiny@{'a1' * 32}", "source_flops": 2e9})
    (said,) = words.missing(still, grown)
    assert "the source is the imported tiny (sha256 of its weights a1a1a1a1a1a1a1a1…)" in said
    assert "it is charged 2 GFLOP" in said
    assert imported.compared_with(grown) == ("own source",) != imported.compared_with(store)


def test_a_study_with_nothing_says_so(study_dir: Path) -> None:
    for table in ("runs", "curves", "trials"):
        keep(study_dir, table, lambda row: False)
    html = build(study_dir).read_text(encoding="utf-8")
    assert "<li>There are no runs: nothing has been trained yet, or nothing was kept.</li>" in html
    plain = [one for one in figures.FIGURES.values() if one.section == "study"]
    assert f"Not drawn: {len(plain)} figures" in html
    chapters = re.findall(r'<h2 id="([^"]+)"', html)
    assert chapters == ["made"]
    assert "One seed gives no interval" not in html
    assert "<dt>corpus</dt>" not in html  # of which there is none
    assert macros_of((study_dir / "report" / "macros.tex").read_text()) == {"mugrowQuickSeeds": "0"}


def test_a_study_of_which_nothing_finished_says_what_became_of_it(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURES", {})
    rows = load(study_dir).runs
    lost = {"status": "diverged", "final_val_loss": None, "final_bpb": None, "reason": "inf"}
    path = study_dir / "runs.parquet"
    table = pq.read_table(path)
    changed = [row | lost for row in table.to_pylist()]
    pq.write_table(table.from_pylist(changed, schema=table.schema), path)
    html = build(study_dir).read_text(encoding="utf-8")
    assert f"<li>No run has finished: {len(rows)} diverged.</li>" in html
    for chapter in ("Figures", "Scaling laws", "What each method saves"):
        assert f">{chapter}</h" not in html
    assert ">Final losses</h3>" in html  # which says how many of each diverged


@pytest.mark.usefixtures("one_figure")
def test_a_study_of_one_width_says_why_nothing_shows_transfer(study_dir: Path) -> None:
    only = ("proxy", "mup", 64)
    keep(
        study_dir, "runs", lambda row: row["role"] != "proxy" or
        (row["role"], row["parametrization"], row["width"]) == only,
    )  # fmt: skip
    html = build(study_dir).read_text(encoding="utf-8")
    assert (
        "No two sizes have sweeps to compare, hence no verdict and no figure of the learning rate "
        "along a size: of mup w64-d2, init std 0.04, it is the only sweep: "
        "a ladder takes two sizes."
    ) in html


def test_macros_say_what_an_operators_setting_costs(summary: Summary) -> None:
    directory = Path(__file__).parents[2] / "results" / "reference" / "transfer-growth"
    summary = replace(summary, transfer=transfer_results(by_setting(load(directory).runs)))
    found = macros_of(latex.macros(summary))
    assert found["mugrowQuickMupSzpShrinkVerdict"] == "inconclusive"
    assert found["mugrowQuickMupSzpShrinkOnepointfiveBest"] == "0.6"
    kept = summary.transfer.operator_settings.compared[1].rungs[2].kept
    assert kept is not None
    name = "mugrowQuickMupSzpShrinkOnepointfiveToFourRegretPercentHi"
    assert found[name] == f"{kept.regret_percent.hi:.2f}"


@pytest.mark.usefixtures("one_figure")
def test_a_study_without_baseline_or_proxies_says_so(study_dir: Path) -> None:
    keep(
        study_dir, "runs", lambda row: row["role"] != "proxy" and
        not (row["role"] == "target" and row["method"] == "scratch"),
    )  # fmt: skip
    keep(study_dir, "trials", lambda row: False)
    html = build(study_dir).read_text(encoding="utf-8")
    assert "No proxy has finished" in html
    assert "No target has both a grown and a from-scratch run" in html


@given(st.floats(min_value=1e-3, max_value=1e27))
def test_si_keeps_three_digits(value: float) -> None:
    number, *unit = fmt.si(value, "FLOP").split()
    factor = dict(zip("kMGTPEZY", (1000.0**rank for rank in range(1, 9)), strict=True))
    assert float(number) * factor.get(unit[0].removesuffix("FLOP"), 1.0) == pytest.approx(
        value, rel=5.1e-3
    )
    if 1 <= value < 9.99e26:
        assert 1 <= float(number) < 1000


def test_numbers_as_text() -> None:
    assert fmt.loss(2.67451) == "2.6745"
    assert fmt.number(-0.00001, 4) == "0.0000"
    assert fmt.number(-0.25, 2) == "−0.25"
    assert fmt.loss(None) == fmt.MISSING
    assert fmt.interval(Interval(1.234, 1.1, 1.31, 3), fmt.times) == ("1.23× [1.10, 1.31]")
    assert fmt.flops(999.9e9) == "1 TFLOP"
    assert fmt.flops(0) == "0 FLOP"
    assert [fmt.seconds(s) for s in (5, 300, 9000)] == ["5 s", "5 min", "2.5 h"]
    never = comparison("never_reached", bound=0.93)
    assert fmt.speedup(never) == "never reached (speed-up below 0.93×)"
    assert fmt.speedup_short(never) == "never reached (< 0.93×)"
