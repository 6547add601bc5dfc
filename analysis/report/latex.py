"""LaTeX for a paper: booktabs tables, and one macro for every number worth quoting.

``\\input{macros.tex}`` and write ``\\mugrowQuickWonetwoeightDtwoSzpSpeedupTarget``: the number in
the text then changes with the study. A macro's name holds letters only, so digits are spelled. An
interval adds ``Lo`` and ``Hi``. A speed-up that is a bound reads as one, ``<0.93``, and ``State``
says why.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mugrow.analysis import words as fmt
from mugrow.analysis.figures import transfer_words as words
from mugrow.analysis.measure.comparison import EqualCompute
from mugrow.analysis.report import laws
from mugrow.analysis.report.table import Table
from mugrow.analysis.stats import Interval
from mugrow.analysis.summary import AT_FINAL, ArmSaving, Summary
from mugrow.analysis.transfer.results import LadderResult, SettingResult

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPOKEN = {str(value): word for value, word in enumerate(DIGITS)} | {".": "point"}
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "×": r"\ensuremath{\times}", "μ": r"\ensuremath{\mu}", "λ": r"\ensuremath{\lambda}",
    "κ": r"\ensuremath{\kappa}", "∞": r"\ensuremath{\infty}", "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}", "–": "--", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
}  # fmt: skip
WORD = {"never_reached": "<", "baseline_never_reached": ">"}


def escape(text: str) -> str:
    return "".join(ESCAPES.get(c, c if c.isprintable() else " ") for c in text)


def comment(text: str) -> str:
    """A comment, which a newline would end."""
    return f"% {' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())}"


def table(item: Table) -> str:
    """A booktabs ``tabular``; the first two columns are text, the others numbers on the right."""
    columns = "ll" + "r" * (len(item.columns) - 2)
    body = [" & ".join(map(escape, row)) + r" \\" for row in item.rows]
    lines = [
        comment(f"{item.title}. {item.note}"),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape, item.columns)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def macros(summary: Summary) -> str:
    """One ``\\newcommand`` a line, for every number of the summary that a paper would quote."""
    return commands(summary.study, quotable(summary))


def quotable(summary: Summary) -> list[tuple[tuple[str, ...], str]]:
    """(parts of the name, text) of every number that a paper would quote."""
    return [*numbers(summary), *laws.numbers(summary.study, summary.laws)]


def by_macro(named: Sequence[tuple[tuple[str, ...], str]]) -> dict[str, str]:
    """Texts by the names of their macros; a name that is taken gets a number."""
    names = numbered(camel("mugrow", *parts) for parts, _ in named)
    return dict(zip(names, (text for _, text in named), strict=True))


def commands(study: str, named: Sequence[tuple[tuple[str, ...], str]]) -> str:
    """The macros of (parts of the name, text), a line each."""
    lines = [rf"\newcommand{{\{name}}}{{{escape(text)}}}" for name, text in by_macro(named).items()]
    return "\n".join([comment(f"Numbers of the study {study}."), *lines]) + "\n"


def numbered(names: Iterable[str]) -> list[str]:
    """The names, with the second of a kind called ``NameTwo``: methods may differ in signs only."""
    count: Counter[str] = Counter()
    given: dict[str, None] = {}
    for name in names:
        unique = name
        while unique in given:
            count[name] += 1
            unique = name + spelled(str(count[name] + 1))
        given[unique] = None
    return list(given)


def camel(first: str, *parts: str) -> str:
    """A name of letters only: ``("mugrow", "w64", "zero_pad")`` -> ``mugrowWsixfourZeroPad``."""
    return first + "".join(map(spelled, parts))


def spelled(text: str) -> str:
    text = re.sub(r"-(?=[0-9.])", "minus", text)
    letters = "".join(SPOKEN.get(c, c if c.isascii() and c.isalpha() else " ") for c in text)
    return "".join(word[0].upper() + word[1:] for word in letters.split())


def numbers(summary: Summary) -> Iterator[tuple[tuple[str, ...], str]]:
    """(parts of the name, text) of every number."""
    study = summary.study
    yield (study, "seeds"), str(summary.n_seeds)
    for best in summary.optima:
        key = (study, best.parametrization, best.variant, f"w{best.width}", f"d{best.depth}")
        yield (*key, "best lr"), f"{best.lr:.3g}"
        yield (*key, "best log2 lr"), fmt.log2(best.log2_lr)
        yield (*key, "best init"), f"{best.init_std:.3g}"
        yield (*key, "best loss"), fmt.loss(best.loss)
    for ladder in summary.transfer.ladders:
        yield from transferred(study, ladder)
    for one in summary.transfer.operator_settings.compared:
        yield from kept(study, one)
    for final in summary.finals:
        arm = (study, final.target, final.label)
        yield from interval((*arm, "loss"), final.loss, 4)
        yield from interval((*arm, "bpb"), final.bpb, 4)
        yield from interval((*arm, "minus scratch"), final.minus_scratch, 4)
    for row in summary.equal_compute:
        yield from against(study, row)
    for saving in summary.savings:
        yield from saved(study, saving)


def transferred(study: str, ladder: LadderResult) -> Iterator[tuple[tuple[str, ...], str]]:
    """A ladder's verdict and drift, and of its smallest size's best rate the shift and regret."""
    key = (study, ladder.parametrization, ladder.variant, words.axis(ladder))
    yield (*key, "verdict"), ladder.verdict.word
    yield from interval((*key, "drift"), ladder.drift.slope, 2)
    for pair in ladder.from_smallest:
        begin = words.size(ladder, pair.proxy)
        jump = (*key, begin, "to", words.size(ladder, pair.target))
        yield from interval((*jump, "shift"), pair.shift_argmin_log2, 2)
        yield from interval((*jump, "vertex shift"), pair.shift_vertex_log2, 2)
        yield from interval((*jump, "regret"), pair.decisive_nats, 4)
        yield from interval((*jump, "regret percent"), pair.decisive_percent, 2)


def kept(study: str, one: SettingResult) -> Iterator[tuple[tuple[str, ...], str]]:
    """An operator's setting: verdict, best values, and the regret of the smallest growth's best."""
    key = study, one.parametrization, one.variant, one.parameter
    yield (*key, "verdict"), one.verdict.word
    for rung in one.rungs:
        yield (*key, rung.name, "best"), words.value(rung.best)
    for rung in one.rungs:
        if rung.kept is not None:
            jump = (*key, one.rungs[0].name, "to", rung.name)
            yield from interval((*jump, "regret"), rung.kept.regret_nats, 4)
            yield from interval((*jump, "regret percent"), rung.kept.regret_percent, 2)


def interval(
    name: tuple[str, ...], item: Interval | None, decimals: int
) -> Iterator[tuple[tuple[str, ...], str]]:
    if item is not None:
        for end, value in (("", item.value), ("lo", item.lo), ("hi", item.hi)):
            yield (*name, end), fmt.number(value, decimals)


def against(study: str, row: EqualCompute) -> Iterator[tuple[tuple[str, ...], str]]:
    """An arm's charge, and its difference from each baseline at it, with the verdict."""
    key = (study, row.target, row.label)
    yield (*key, "charge"), fmt.flops(row.charge)
    yield from interval((*key, "equal compute speedup"), row.speedup, 2)
    for versus in row.versus:
        name = (*key, "minus", versus.baseline)
        yield (*name, "verdict"), versus.verdict
        yield from interval(name, versus.difference, 4)


def saved(study: str, row: ArmSaving) -> Iterator[tuple[tuple[str, ...], str]]:
    """Speed-up and saving of one accounting; losses other than scratch's final are in the name."""
    at = () if row.at == AT_FINAL else ("at", row.at)
    key = (study, row.target, row.label)
    name = (*key, "speedup", row.accounting, *at)
    yield (*name, "state"), row.state.replace("_", " ")
    if row.state == "reached":
        yield from interval(name, row.speedup, 2)
        yield from interval((*key, "saving", row.accounting, *at), row.saving, 3)
    elif row.bound is not None:
        yield name, WORD[row.state] + fmt.number(row.bound, 2)
