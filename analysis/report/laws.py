"""What a report says of scaling laws: sentences, tables and macros, of ``ScalingLaws``.

A status comes first, and only a law that has one which allows numbers prints any. Laws that are
unidentified for the same reason share a line: of thirty methods on one target there is one thing
to say.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mugrow.analysis import words as fmt
from mugrow.analysis.laws.growth_factor import GrowthLevel
from mugrow.analysis.laws.law import GrowthPanel, Law, ScalingLaws
from mugrow.analysis.laws.result import Ends, FitResult
from mugrow.analysis.laws.selection import FormComparison
from mugrow.analysis.report.chip import Chip
from mugrow.analysis.report.table import Table

Text = Callable[[float | None], str]
Macro = tuple[tuple[str, ...], str]
"""The parts of a macro's name, and its text."""

FEW_GROUPS = 10
NAMED = 6  # laws of one reason
KINDS = {"converged": "good", "bound_hit": "open"}  # colours of statuses; others have no numbers
INTERVALS = (
    "Intervals are central 95 % of a bootstrap that resamples runs (those grown from one source "
    "together), each resample fitted to convergence; with few runs they are too narrow."
)


@dataclass(frozen=True)
class LawAnswer:
    """One line of an answer: the status of a law, its error on the largest runs, which it had not
    seen, beside that of predicting the best small model's loss, and what it decides: the best N
    and D for the compute of the largest run."""

    chip: Chip
    law: str
    error: str
    best: str


def answers(laws: ScalingLaws) -> list[LawAnswer]:
    """A line for each law, those with numbers first."""
    with_numbers = [
        LawAnswer(
            Chip(words(law.status), KINDS[law.status]),
            f"{name(law)}: {fit.form}",
            _against_small(fit, law.selection),
            _best(law),
        )
        for law, fit in identified(laws)
    ]
    return with_numbers + [
        LawAnswer(Chip(words(law.status), "none"), name(law), fmt.MISSING, law.reason)
        for law in laws.laws
        if not law.params
    ]


def _against_small(fit: FitResult, chosen: FormComparison | None) -> str:
    if chosen is None:
        return fmt.MISSING
    return f"{error(_unseen(fit, chosen))}; best small model {error(chosen.baseline_are)}"


def _unseen(fit: FitResult, chosen: FormComparison) -> float | None:
    """The mean relative error of the fitted form on the largest runs, which it had not seen."""
    return known(next(one.are for one in chosen.scores if one.form == fit.form))


def _best(law: Law) -> str:
    """For the compute of the largest run, the last budget but one."""
    if not law.drawn or len(law.drawn.optimal) < 2:
        return fmt.MISSING
    one = law.drawn.optimal[-2]
    n, d = counts(one.n, one.interval["n"]), counts(one.d, one.interval["d"])
    outside = f", {' and '.join(one.outside)} outside the runs" if one.outside else ""
    return f"N = {n}, D = {d} for {fmt.flops(one.c)}{outside}"


def sentences(laws: ScalingLaws) -> list[str]:
    """What is known of each law, statuses first; then of growth factors."""
    found = [
        _identified(law, law.fit, law.selection)
        for law in laws.laws
        if law.params and law.fit and law.selection
    ]
    return [*found, *_unidentified(laws.laws), *_growth(laws)]


def name(law: Law | GrowthPanel) -> str:
    method = law.label if isinstance(law, Law) else law.variant
    parts = fmt.parametrization(law.parametrization), method
    return " ".join(part for part in parts if part)


def known(value: float | None) -> float | None:
    """None for a number that does not exist, or an end that is open."""
    return value if value is not None and math.isfinite(value) else None


def error(fraction: float | None) -> str:
    fraction = known(fraction)
    return fmt.MISSING if fraction is None else f"{fmt.number(100 * fraction, 2)} %"


def words(status: str) -> str:
    return status.replace("_", " ")


def _identified(law: Law, fit: FitResult, chosen: FormComparison) -> str:
    reason = f" ({law.reason})" if law.reason else ""
    text = (
        f"{name(law)}: {words(law.status)}{reason}. {fit.form}, {law.formula}, fitted to "
        f"{law.n_rows} runs. {_held_out(fit, chosen)}"
    )
    if not fit.bootstrap.resamples:
        return text + " A single run or source gives no interval."
    few = "; so few make the intervals too narrow" if fit.n_groups < FEW_GROUPS else ""
    return text + (
        f" {fit.bootstrap.converged} of {fit.bootstrap.resamples} resamples of "
        f"{fit.n_groups} runs or sources converged{few}."
    )


def _held_out(fit: FitResult, chosen: FormComparison) -> str:
    are = _unseen(fit, chosen)
    baseline = error(chosen.baseline_are)
    if are is None:
        return f"Fitted without the largest {chosen.held_out}, it predicts nothing."
    beaten = "beats" if are < chosen.baseline_are else "does not beat"
    return (
        f"Fitted without the largest {chosen.held_out} it is off by {error(are)} "
        f"on them, which {beaten} the best small model ({baseline})."
    )


def _unidentified(laws: Sequence[Law]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for law in laws:
        if not law.params:
            runs = counted(law.n_rows, "run")
            shape = f"{counted(law.sizes, 'size')}, {counted(law.horizons, 'token count')}"
            key = words(law.status), f"{runs} of {shape}: {law.reason}"
            groups.setdefault(key, []).append(name(law))
    for (state, reason), names in groups.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{', '.join(names[:NAMED])}{more}: {state}. {reason}."


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _growth(laws: ScalingLaws) -> Iterator[str]:
    for panel in laws.growth_factors.panels:
        at = f"{name(panel)} at N = {fmt.si(panel.n, '')}"
        reason = f" ({panel.reason})" if panel.reason else ""
        yield f"Growth factor of {at}: {words(panel.status)}{reason}."


def tables(laws: ScalingLaws) -> list[Table]:
    """All tables; one without rows has nothing to show."""
    return [make(laws) for make in (forms, parameters, allocations, growth_factors)]


def forms(laws: ScalingLaws) -> Table:
    """The held-out comparison; a law that was not chosen among forms has no rows."""
    rows = []
    for law in laws.laws:
        if chosen := law.selection:
            fitted = law.fit.form if law.fit else None
            rows += [
                (name(law), one.form + (" (chosen)" if one.form == fitted else ""),
                 words(one.status), one.reason, error(one.are))
                for one in chosen.scores
            ]  # fmt: skip
            small = error(chosen.baseline_are)
            rows.append((name(law), "same as the best small model", "", "", small))
    return Table(
        "law-forms",
        "Which form predicts the largest runs",
        "Each form is fitted without the tenth of the runs with the most compute; the mean "
        "relative error is on those. Of more than 3000 rows, 3000 are drawn for this comparison.",
        ("law", "form", "status", "why", "error on the largest"),
        tuple(rows),
    )


def parameters(laws: ScalingLaws) -> Table:
    rows = []
    for law, fit in identified(laws):
        for parameter, value in fit.params.items():
            low, high = fit.intervals.get(parameter) or (None, None)
            se = fit.standard_errors.get(parameter)
            rows.append(
                (name(law), f"{fit.form} ({words(law.status)})", parameter,
                 digits(value), digits(low), digits(high), digits(se))
            )  # fmt: skip
    return Table(
        "law-parameters",
        "Parameters of the laws",
        f"{INTERVALS} Parameters of one law are strongly correlated: an interval of one alone "
        "says less than that of a prediction.",
        ("law", "form (status)", "parameter", "value", "95 % from", "to", "standard error"),
        tuple(rows),
    )


def identified(laws: ScalingLaws) -> list[tuple[Law, FitResult]]:
    """The laws that have numbers, with their fits."""
    return [(law, law.fit) for law in laws.laws if law.fit and law.params]


def digits(value: float | None) -> str:
    value = known(value)
    return fmt.MISSING if value is None else fmt.signed(f"{value:.4g}")


def allocations(laws: ScalingLaws) -> Table:
    """The best N and D of budgets."""
    rows = [
        (name(law), fmt.flops(one.c),
         counts(one.n, one.interval["n"]), counts(one.d, one.interval["d"]),
         digits(one.tokens_per_parameter), _with_ends(one.loss, one.interval["loss"], fmt.loss),
         ", ".join(one.outside) or "no")
        for law in laws.laws
        if law.drawn
        for one in law.drawn.optimal
    ]  # fmt: skip
    return Table(
        "law-optimal",
        "The best model size and tokens of a budget",
        "Under C = 6 N D, with the loss expected there. The last two budgets are the largest run's "
        "and ten times it; the last column says what is outside the runs, where the law "
        "extrapolates and its interval counts resampling alone.",
        ("law", "budget C", "N", "D", "D/N", "loss (nats/token)", "outside the runs"),
        tuple(rows),
    )


def counts(value: float, pair: Ends | None) -> str:
    """Parameters or tokens with the ends of their interval."""
    return _with_ends(value, pair, fmt.tokens)


def _with_ends(value: float | None, pair: Ends | None, text: Text) -> str:
    low, high = pair or (None, None)
    return text(known(value)) + fmt.brackets(_end(low), _end(high), text)


def _end(value: float | None) -> float:
    return math.nan if value is None else value


def growth_factors(laws: ScalingLaws) -> Table:
    rows = [
        (f"{name(panel)}, N = {fmt.si(panel.n, '')}", words(level.status),
         fmt.flops(level.c), *(factor(*found) for found in factors(level).values()),
         fmt.loss(known(level.scratch_loss)), digits(level.largest_g))
        for panel in laws.growth_factors.panels
        for level in panel.levels
    ]  # fmt: skip
    return Table(
        "growth-factors",
        "The best and the break-even growth factor",
        "By target compute, which does not charge the source. Above the break-even factor scratch "
        "is better; one beyond the largest factor sampled is not given.",
        ("target", "status", "target compute", "best g", "break-even g", "loss of scratch",
         "largest g"),
        tuple(rows),
    )  # fmt: skip


def factors(level: GrowthLevel) -> dict[str, tuple[float, Ends | None]]:
    """The best and the break-even factor of a level with their ends, by words for them."""
    ends = level.interval
    return {
        "best": (level.optimum_g, ends.get("optimum_g")),
        "break even": (level.break_even_g, ends.get("break_even_g")),
    }


def factor(value: float, pair: Ends | None) -> str:
    return fmt.MISSING if known(value) is None else _with_ends(value, pair, fmt.times)


def numbers(study: str, laws: ScalingLaws) -> Iterator[Macro]:
    """Every number of the laws as a macro; see ``latex``."""
    for law in laws.laws:
        key = study, "law", law.parametrization, law.label
        yield (*key, "status"), words(law.status)
        if not (law.fit and law.params):
            continue
        yield (*key, "form"), law.fit.form
        for parameter, value in law.params.items():
            yield from ended((*key, parameter), value, law.fit.intervals.get(parameter), digits)
        for one in law.drawn.optimal if law.drawn else ():
            at = (*key, "at", f"{one.c:.3g}")
            yield from ended((*at, "n"), one.n, one.interval["n"], fmt.tokens)
            yield from ended((*at, "d"), one.d, one.interval["d"], fmt.tokens)
            yield from ended((*at, "loss"), one.loss, one.interval["loss"], fmt.loss)
    for panel in laws.growth_factors.panels:
        key = study, "growth", panel.parametrization, panel.variant
        for level in panel.levels:
            name_at = (*key, "to", f"{panel.n:.3g}", "at", f"{level.c:.3g}")
            for part, (value, pair) in factors(level).items():
                if known(value) is not None:
                    yield from ended((*name_at, part), value, pair, fmt.log2)


def ended(
    parts: tuple[str, ...], value: float | None, pair: Ends | None, text: Text
) -> Iterator[Macro]:
    """A number and, where it has an interval, its ends."""
    yield parts, text(known(value))
    if pair is not None:
        yield (*parts, "lo"), text(known(pair[0]))
        yield (*parts, "hi"), text(known(pair[1]))
