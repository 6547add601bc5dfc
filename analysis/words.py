"""Numbers as text, the same everywhere: in figures, on the page and in LaTeX.

Losses carry four decimals, speed-ups two and a ``×``, compute an SI prefix. An interval stands in
brackets after its value. What is missing prints as ``–``, never as ``nan``.
"""

import math
from collections.abc import Callable

from mugrow.analysis.measure.savings import Accounting, Saving
from mugrow.analysis.stats import Interval

MISSING = "–"
MINUS = "−"
ACCOUNTINGS: dict[Accounting, str] = {
    "target": "target only",
    "source": "target + source",
    "full": "target + source + tuning",
}


def signed(text: str) -> str:
    """Typographic minus signs."""
    return text.replace("-", MINUS)


def number(value: float | None, decimals: int) -> str:
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{decimals}f}"
    return signed(text.removeprefix("-") if float(text) == 0 else text)


def loss(value: float | None) -> str:
    return number(value, 4)


def log2(value: float | None) -> str:
    return number(value, 2)


def percent(value: float | None) -> str:
    return _with_unit(number(value, 2), " %")


def percent_of_one(value: float | None) -> str:
    """A fraction as a percentage: 0.25 -> ``25.0 %``."""
    return MISSING if value is None else _with_unit(number(100 * value, 1), " %")


def times(value: float | None) -> str:
    return _with_unit(number(value, 2), "×")


def _with_unit(text: str, unit: str) -> str:
    return text if text == MISSING else text + unit


def si(value: float | None, unit: str) -> str:
    """Three significant digits with an SI prefix: 1.23e12 FLOP -> ``1.23 TFLOP``."""
    if value is None or not math.isfinite(value):
        return MISSING
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
    rank = max(0, math.floor(math.log10(abs(value)) / 3)) if value else 0
    if rank < len(prefixes) - 1 and float(f"{value / 1000**rank:.3g}") >= 1000:
        rank += 1  # 999.9 rounds up into the next prefix
    rank = min(rank, len(prefixes) - 1)
    return f"{value / 1000**rank:.3g} {prefixes[rank]}{unit}".rstrip()


def flops(value: float | None) -> str:
    return si(value, "FLOP")


def tokens(value: float | None) -> str:
    """12345.6 -> ``12.3 k``; in the brackets of an interval too."""
    return si(value, "")


def seconds(value: float | None) -> str:
    if value is None:
        return MISSING
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def interval(item: Interval | None, text: Callable[[float | None], str]) -> str:
    """``1.23× [1.10, 1.31]``; the value alone when there is no interval."""
    if item is None or not math.isfinite(item.value):
        return MISSING
    return text(item.value) + brackets(item.lo, item.hi, text)


def brackets(lo: float, hi: float, text: Callable[[float | None], str]) -> str:
    """`` [lo, hi]``; an end without a number is open: ``[1.10, ?]``. Without both, nothing."""
    finite = [math.isfinite(end) for end in (lo, hi)]
    if math.isnan(lo) and math.isnan(hi):
        return ""
    low, high = (
        text(end).rstrip("×% ") if known else "?"
        for end, known in zip((lo, hi), finite, strict=True)
    )
    return f" [{low}, {high}]"


def speedup(saving: Saving) -> str:
    """The speed-up, or in words why there is none."""
    bound = times(saving.bound)
    if saving.state == "never_reached":
        return f"never reached (speed-up below {bound})" if saving.bound else "never reached"
    if saving.state == "baseline_never_reached":
        return f"scratch never reached it (above {bound})" if saving.bound else "scratch never did"
    if saving.state == "outside_range":
        return "outside the range of the curves"
    return interval(saving.speedup, times)


def speedup_short(saving: Saving) -> str:
    """``speedup`` where there is little room."""
    sign = {"never_reached": "<", "baseline_never_reached": ">"}.get(saving.state)
    if sign is None:
        return speedup(saving)
    who = "never reached" if sign == "<" else "scratch never reached"
    return f"{who} ({sign} {times(saving.bound)})"


def parametrization(text: str) -> str:
    """Of a parametrization with parameters, ``mup:gains=frozen``, the name alone is changed."""
    name, colon, params = text.partition(":")
    return {"mup": "μP", "sp": "SP"}.get(name, name) + colon + params
