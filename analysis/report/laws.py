"""The chapter on scaling laws: its sentences, tables and macros, from what ``chapter`` found.

A status comes first, and only a law that has one which allows numbers prints any. Laws that are
unidentified for the same reason share a line: of thirty methods on one target there is one thing
to say.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mugrow.analysis.report import format as fmt
from mugrow.analysis.report.tables import Table

Row = dict[str, Any]

FEW_GROUPS = 10
INTERVALS = (
    "Intervals are central 95 % of a bootstrap that resamples runs (those grown from one source "
    "together), each resample fitted to convergence; with few runs they are too narrow."
)


def sentences(laws: Row) -> list[str]:
    """What is known of each law, statuses first; then of growth factors."""
    found = [one for one in laws["laws"] if one.get("params")]
    return [*map(_identified, found), *_unidentified(laws["laws"]), *_growth(laws)]


def name(law: Row) -> str:
    own = (fmt.parametrization(law["parametrization"]), law.get("label") or law.get("variant"))
    return " ".join(part for part in own if part)


def error(fraction: float | None) -> str:
    return fmt.MISSING if fraction is None else f"{fmt.number(100 * fraction, 2)} %"


def status(law: Row) -> str:
    return str(law["status"].replace("_", " "))


def _identified(law: Row) -> str:
    reason = f" ({law['reason']})" if law["reason"] else ""
    chosen, resampled = law["selection"], law["bootstrap"]
    text = (
        f"{name(law)}: {status(law)}{reason}. {law['form']}, {law['formula']}, fitted to "
        f"{law['n_rows']} runs. {_held_out(law, chosen)}"
    )
    if not resampled["resamples"]:
        return text + " A single run or source gives no interval."
    few = "; so few make the intervals too narrow" if law["n_groups"] < FEW_GROUPS else ""
    return text + (
        f" {resampled['converged']} of {resampled['resamples']} resamples of "
        f"{law['n_groups']} runs or sources converged{few}."
    )


def _held_out(law: Row, chosen: Row) -> str:
    are = next(one["are"] for one in chosen["scores"] if one["form"] == law["form"])
    baseline = error(chosen["baseline_are"])
    if are is None:
        return f"Fitted without the largest {chosen['held_out']}, it predicts nothing."
    beaten = "beats" if are < chosen["baseline_are"] else "does not beat"
    return (
        f"Fitted without the largest {chosen['held_out']} it is off by {error(are)} "
        f"on them, which {beaten} the best small model ({baseline})."
    )


def _unidentified(laws: Sequence[Row]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for law in laws:
        if not law.get("params"):
            runs = counted(law["n_rows"], "run")
            shape = f"{counted(law['sizes'], 'size')}, {counted(law['horizons'], 'token count')}"
            key = status(law), f"{runs} of {shape}: {law['reason']}"
            groups.setdefault(key, []).append(name(law))
    for (state, reason), names in groups.items():
        yield f"{', '.join(names)}: {state}. {reason}."


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _growth(laws: Row) -> Iterator[str]:
    for panel in laws["growth_factors"]["panels"]:
        at = f"{name(panel)} at N = {fmt.si(panel['n'], '')}"
        reason = f" ({panel['reason']})" if panel["reason"] else ""
        yield f"Growth factor of {at}: {status(panel)}{reason}."


def tables(laws: Row) -> list[Table]:
    return [make(laws) for make in (forms, parameters, allocations, growth_factors)]


def forms(laws: Row) -> Table:
    """The held-out comparison; a law that was not chosen among forms has no rows."""
    rows = []
    for law in laws["laws"]:
        if chosen := law.get("selection"):
            rows += [
                (name(law), one["form"] + (" (chosen)" if one["form"] == law["form"] else ""),
                 status(one), one["reason"], error(one["are"]))
                for one in chosen["scores"]
            ]  # fmt: skip
            small = error(chosen["baseline_are"])
            rows.append((name(law), "same as the best small model", "", "", small))
    return Table(
        "law-forms",
        "Which form predicts the largest runs",
        "Each form is fitted without the tenth of the runs with the most compute; the mean "
        "relative error is on those. Of more than 3000 rows, 3000 are drawn for this comparison.",
        ("law", "form", "status", "why", "error on the largest"),
        tuple(rows),
    )


def parameters(laws: Row) -> Table:
    rows = []
    for law in laws["laws"]:
        for parameter, value in law.get("params", {}).items():
            ends = law["intervals"].get(parameter) or (None, None)
            se = law["standard_errors"].get(parameter)
            rows.append(
                (name(law), f"{law['form']} ({status(law)})", parameter,
                 digits(value), *map(digits, ends), digits(se))
            )  # fmt: skip
    return Table(
        "law-parameters",
        "Parameters of the laws",
        f"{INTERVALS} Parameters of one law are strongly correlated: an interval of one alone "
        "says less than that of a prediction.",
        ("law", "form (status)", "parameter", "value", "95 % from", "to", "standard error"),
        tuple(rows),
    )


def digits(value: float | None) -> str:
    return fmt.MISSING if value is None else fmt.signed(f"{value:.4g}")


def allocations(laws: Row) -> Table:
    """The best N and D of budgets."""
    rows = [
        (name(law), fmt.flops(one["c"]), counts(one, "n"), counts(one, "d"),
         digits(one["tokens_per_parameter"]), loss(one), ", ".join(one["outside"]) or "no")
        for law in laws["laws"]
        for one in law.get("optimal", ())
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


def counts(allocation: Row, what: str) -> str:
    return fmt.si(allocation[what], "") + ends(allocation, what, fmt.tokens)


def loss(allocation: Row) -> str:
    return fmt.loss(allocation["loss"]) + ends(allocation, "loss", fmt.loss)


def ends(allocation: Row, what: str, text: Callable[[float | None], str]) -> str:
    low, high = allocation["interval"][what] or (None, None)
    return fmt.brackets(low, high, text)


def growth_factors(laws: Row) -> Table:
    rows = [
        (f"{name(panel)}, N = {fmt.si(panel['n'], '')}", level["status"].replace("_", " "),
         fmt.flops(level["c"]), *(factor(level, key) for key in ("optimum_g", "break_even_g")),
         fmt.loss(level["scratch_loss"]), digits(level["largest_g"]))
        for panel in laws["growth_factors"]["panels"]
        for level in panel["levels"]
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


def factor(level: Row, key: str) -> str:
    if level[key] is None:
        return fmt.MISSING
    low, high = level["interval"].get(key) or (None, None)
    return fmt.times(level[key]) + fmt.brackets(low, high, fmt.times)


def numbers(study: str, laws: Row) -> Iterator[tuple[tuple[str, ...], str]]:
    """(parts of a macro's name, text) of every number of the chapter; see ``latex``."""
    for law in laws["laws"]:
        key = study, "law", law["parametrization"], law["label"]
        yield (*key, "status"), status(law)
        if not law.get("params"):
            continue
        yield (*key, "form"), law["form"]
        for parameter, value in law["params"].items():
            yield from ended((*key, parameter), value, law["intervals"].get(parameter), digits)
        for one in law["optimal"]:
            at = (*key, "at", f"{one['c']:.3g}")
            for what, text in (("n", fmt.tokens), ("d", fmt.tokens), ("loss", fmt.loss)):
                yield from ended((*at, what), one[what], one["interval"][what], text)
    for panel in laws["growth_factors"]["panels"]:
        key = study, "growth", panel["parametrization"], panel["variant"]
        for level in panel["levels"]:
            name_at = (*key, "to", f"{panel['n']:.3g}", "at", f"{level['c']:.3g}")
            for part, what in (("best", "optimum_g"), ("break even", "break_even_g")):
                if level[what] is not None:
                    pair = level["interval"].get(what)
                    yield from ended((*name_at, part), level[what], pair, fmt.log2)


def ended(
    parts: tuple[str, ...],
    value: float | None,
    pair: Sequence[float | None] | None,
    text: Callable[[float | None], str],
) -> Iterator[tuple[tuple[str, ...], str]]:
    """A number and, where it has an interval, its ends."""
    yield parts, text(value)
    if pair is not None:
        yield (*parts, "lo"), text(pair[0])
        yield (*parts, "hi"), text(pair[1])
