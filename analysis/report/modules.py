"""What a report says of a search over multipliers of modules: the answer, and a table of worths."""

from collections.abc import Iterator, Sequence

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.importance import MARGIN
from mugrow.analysis.measure.module_search import ModuleSearch
from mugrow.analysis.report.table import Table


def sentences(found: ModuleSearch | None) -> Iterator[str]:
    """What the searches found, which multipliers were worth something, and which are flat."""
    if found is None:
        return
    best = found.by_module
    yield (
        f"Tuned by module ({best.sweep}) the best of {best.trials} trials ends at "
        f"{fmt.loss(best.loss)} nats per token, for {fmt.flops(best.flops)}."
    )
    for other in found.beside:
        away = other.loss - best.loss
        side = "above" if away > 0 else "below"
        yield (
            f"{other.sweep} ends at {fmt.loss(other.loss)}, {fmt.loss(abs(away))} {side} it, after "
            f"{other.trials} trials at {other.points} points, for {fmt.flops(other.flops)}."
        )
    if found.beside:
        yield (
            "Each is the lowest of its trials on the seeds that chose it: compare them on others."
        )
    if found.at_the_end:
        yield (
            f"{_listed(found.at_the_end)} best at the end of what was tried: with wider ranges a "
            "next search may find better."
        )
    if found.why_not:
        yield f"What each multiplier is worth is not told: {found.why_not}."
        return
    sure = [one.name for one in found.worths if one.low >= MARGIN]
    flat = [one.name for one in found.worths if one.flat]
    yield (
        f"Of {len(found.worths)} multipliers {_listed(sure)} worth more than {MARGIN:g} nats, and "
        f"{_listed(flat)} flat, worth less: a next search can leave such out. Of the others these "
        "trials cannot tell; runs without one of them, on other seeds, can."
    )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none is"
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def table(found: ModuleSearch | None) -> Table:
    """A row a multiplier, the most important first."""
    best = found.log2_times if found else {}
    return Table(
        "modules",
        "What each multiplier is worth",
        "Worth is what setting a multiplier to 1 costs, all others left as they are, by a "
        "quadratic fitted around the best trial; flat is one whose whole interval is below "
        f"{MARGIN:g} nats, so that it need not be searched.",
        ("multiplier", "worth (nats)", "best, times", "best trial, times", "flat"),
        tuple(
            (one.name, f"{fmt.loss(one.worth)} [{fmt.loss(one.low)}, {fmt.loss(one.high)}]",
             f"{2**one.best_log2:.2f}", f"{2 ** best.get(one.name, 0.0):.2f}",
             "yes" if one.flat else "no")
            for one in (found.worths if found else ())
        ),
    )  # fmt: skip
