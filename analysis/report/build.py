"""Build a study's report: read the store, write ``summary.json`` and everything under ``report/``.

``report/index.html`` is one file: its figures are inline SVG and its style is inline, so it can be
mailed, printed and opened without a network. Everything that came from a file is escaped.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mugrow.analysis import figures
from mugrow.analysis.laws.law import ScalingLaws
from mugrow.analysis.measure.comparison import has_budgets
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.report import (
    charts,
    equal_compute,
    glossary,
    imported,
    latex,
    laws,
    modules,
    origins,
    page,
    tables,
    transfer,
    words,
)
from mugrow.analysis.report.drawn import DrawnFigure, Shared, draw_figures, told
from mugrow.analysis.report.helper import Helper, state_of
from mugrow.analysis.report.table import Table
from mugrow.analysis.summary import Summary, summarize
from mugrow.analysis.transfer.results import TransferResults
from mugrow.analysis.words import ACCOUNTINGS
from mugrow.bench.record import write_atomically, write_json

QUESTION = (
    "How much compute does growing a trained small model into a larger one save over training the "
    "larger one from scratch, when both use hyperparameters tuned on small proxies?"
)


def build(directory: str | Path) -> Path:
    """Write the report of the study in ``directory``; returns the path of its HTML page.

    Raises ``UserError`` when the directory's tables are missing or unreadable. A study that has
    not finished gives a report that says what it does not have yet.

    >>> import mugrow
    >>> mugrow.report("results/quick")  # doctest: +SKIP
    PosixPath('results/quick/report/index.html')
    """
    return build_with(Path(directory), None)


def build_with(directory: Path, other: Helper | None) -> Path:
    """``build``, with a process that draws figures too, if one has been started."""
    shared = None
    if other is not None:
        shared = other.begin(list(figures.FIGURES), state_of(directory), told)
    store = load(directory)
    return write_report(directory, store, summarize(store), shared)


def write_report(
    directory: Path, store: Store, summary: Summary, shared: Shared | None = None
) -> Path:
    """``build`` of what has been read from ``directory`` and summarized."""
    report = directory / "report"
    write_json(directory / "summary.json", to_json(summary))
    listed = tables.of_summary(summary, has_scratch(store))
    on_transfer = transfer.tables(summary.transfer)
    on_laws = laws.tables(summary.laws)
    write_tables([*listed, *on_transfer, *on_laws], report / "tables")
    write_text(report / "macros.tex", latex.macros(summary))
    drawn = draw_figures(figures.FIGURES, summary, store, report / "figures", shared)
    written = report / "index.html"
    sections = (
        moving(summary.transfer, drawn, on_transfer),
        scaling(summary.laws, drawn, on_laws),
    )
    write_text(written, render(summary, store, drawn, *sections, tables.nonempty(listed)))
    return written


def has_scratch(store: Store) -> bool:
    """Whether there is a target from scratch; a study that grows an import has none."""
    return not imported.is_imported(store)


def write_tables(listed: Iterable[Table], folder: Path) -> None:
    for table in listed:
        write_text(folder / f"{table.name}.tex", latex.table(table))


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@dataclass(frozen=True)
class ScalingSection:
    """What a page says on scaling laws; ``absent`` are the reasons of figures not drawn."""

    sentences: list[str]
    figures: list[DrawnFigure]
    absent: list[str]
    tables: list[Table]


@dataclass(frozen=True)
class TransferSection:
    """What a page says on transfer; ``nothing`` says why there is none."""

    sentences: list[str]
    nothing: str
    rule: str
    intervals: str
    figures: list[DrawnFigure]
    tables: list[Table]


def scaling(
    found: ScalingLaws, drawn: Iterable[DrawnFigure], listed: Iterable[Table]
) -> ScalingSection:
    """A reason that several figures share is said once."""
    shown = [figure for figure in drawn if figure.section == figures.LAWS]
    reasons = (figure.reason for figure in shown if figure.reason)
    return ScalingSection(
        sentences=laws.sentences(found),
        figures=shown,
        absent=list(dict.fromkeys(reasons)) if found.laws else [],
        tables=tables.nonempty(listed),
    )


def moving(
    found: TransferResults, drawn: Iterable[DrawnFigure], listed: Iterable[Table]
) -> TransferSection:
    """Figures of axes that the study has no ladder along are left out."""
    selected = [figure for figure in drawn if figure.section == figures.TRANSFER]
    return TransferSection(
        sentences=list(transfer.sentences(found)),
        nothing="" if found.ladders else transfer.nothing(found),
        rule=found.rule,
        intervals=found.intervals,
        figures=[figure for figure in selected if figure.svg],
        tables=tables.nonempty(listed),
    )


def render(
    summary: Summary,
    store: Store,
    drawn: list[DrawnFigure],
    on_transfer: TransferSection,
    on_laws: ScalingSection,
    listed: list[Table],
) -> str:
    answers = list(equal_compute.answers(summary.equal_compute, imported.compared_with(store)))
    growth, transferred = words.growth(summary), list(words.transferred(summary))
    return page.rendered(
        "template.html.j2",
        title=store.study.get("title", summary.study),
        study=summary.study,
        question=question(summary, store),
        tuned=[*modules.sentences(summary.modules), *origins.sentences(summary.origins)],
        answers=answers,
        no_budgets="" if has_budgets(store.runs) else equal_compute.NO_BUDGETS,
        comparisons=" ".join(
            (equal_compute.intervals(summary.equal_compute), imported.one_source(store))
        ).strip(),
        looks=equal_compute.looks(summary.looks),
        tuning=imported.tuning(summary)
        if imported.is_imported(store)
        else equal_compute.tuning(summary.equal_compute, summary.finals),
        growth=growth,
        ceilings=words.ceilings(summary, store.runs),
        transferred=transferred,
        explained=glossary.explained(
            said(answers, growth, transferred), store.runs["method"], store.runs["parametrization"]
        ),
        intervals=words.intervals(summary),
        missing=words.missing(summary, store),
        warnings=words.warnings(summary, store.runs),
        figures=[figure for figure in drawn if figure.section == "study"],
        charts=charts.of_study(summary, store, {figure.name: figure.says for figure in drawn}),
        transfer=on_transfer,
        laws=on_laws,
        tables=listed,
        runs=tables.runs(store.runs),
        macros=page.script_of(latex.by_macro(latex.quotable(summary)), "macros-data"),
        circumstances=circumstances(store.runs),
        configuration=json.dumps(store.study, indent=2, sort_keys=True, ensure_ascii=False),
        accountings=ACCOUNTINGS,
    )


def question(summary: Summary, store: Store) -> str:
    """What the page is asked; searches over modules and origins have questions of their own."""
    if summary.modules is not None or summary.origins:
        return str(store.study.get("question", QUESTION))
    return imported.QUESTION if imported.is_imported(store) else QUESTION


def said(
    answers: Iterable[equal_compute.Answer],
    growth: Mapping[str, Iterable[words.Outcome]],
    transferred: Iterable[words.Transferred],
) -> Iterator[str]:
    """The texts of the answer."""
    for answer in answers:
        yield answer.title
        yield from (f"{row.difference} {row.speedup}" for row in answer.rows)
    for rows in growth.values():
        yield from (row.first for row in rows)
    for one in transferred:
        yield from one.ladders


def circumstances(runs: pd.DataFrame) -> dict[str, str]:
    """Where the runs ran and on what, each value that occurs."""
    columns = ("corpus", "corpus_sha256", "device", "threads", "versions")
    return {
        column.replace("_", " "): "; ".join(sorted(map(str, runs[column].dropna().unique())))
        for column in columns
    }
