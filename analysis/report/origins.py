"""What a report says of the rates of old and new units after growth: the answer, and its table."""

from collections.abc import Iterator, Sequence

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.origin_rates import OriginRate
from mugrow.analysis.report.table import Table


def sentences(found: Sequence[OriginRate]) -> Iterator[str]:
    """For every method and target the best ratio, and whether it is better than one rate."""
    groups: dict[tuple[str, str], list[OriginRate]] = {}
    for one in found:
        groups.setdefault((one.method, one.target), []).append(one)
    for (method, target), ratios in groups.items():
        best = min(ratios, key=lambda one: one.loss.value)
        tried = ", ".join(f"{one.new_rate:g}" for one in ratios)
        said = f"New units of {target} grown by {method}, at {tried} times the rate of old ones: "
        if best.new_rate == 1:
            yield said + "best at one rate for both."
            continue
        away = best.minus_one
        decided = "better" if away.hi < 0 else "undecided"
        yield (
            f"{said}{best.new_rate:g} has the lowest loss, {fmt.interval(away, fmt.loss)} nats "
            f"beside one rate for both: {decided}."
        )


def table(found: Sequence[OriginRate]) -> Table:
    """A row a ratio."""
    return Table(
        "origins",
        "Rates of new units after growth",
        "Each ratio at its own best rate of those tried, which old units have; differences from "
        "one rate for both are paired by seed, negative is better. At an edge a better rate may "
        "lie beyond those tried.",
        ("target", "method", "new over old", "log2 of the rate", "edge", "loss (nats/token)",
         "minus one rate (nats)"),
        tuple(
            (one.target, one.method, f"{one.new_rate:g}", fmt.log2(one.log2_lr),
             "yes" if one.on_edge else "no", fmt.interval(one.loss, fmt.loss),
             fmt.interval(one.minus_one, fmt.loss) if one.new_rate != 1 else fmt.MISSING)
            for one in found
        ),
    )  # fmt: skip
