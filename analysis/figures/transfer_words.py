"""Ladders, sizes and operators' settings as a reader sees them, in figures and tables alike."""

from typing import Protocol

from mugrow.analysis import words as fmt
from mugrow.analysis.transfer.optimum import Known
from mugrow.analysis.transfer.results import LadderResult, SettingResult

NO_LOSS: dict[Known, str] = {
    "diverged": "diverges",
    "unknown": "was not finished",
    "untested": "was not tried",
}


class Labelled(Protocol):
    """A ladder or an operator's setting, compared or skipped."""

    @property
    def parametrization(self) -> str: ...
    @property
    def variant(self) -> str: ...


def name(one: Labelled) -> str:
    """``μP, tied``; grown ladders begin their variant with the method."""
    return ", ".join(filter(None, (fmt.parametrization(one.parametrization), one.variant)))


def axis(ladder: LadderResult) -> str:
    """``width``, or ``growth in width``, whose sizes are factors."""
    return f"growth in {ladder.axis}" if ladder.by_growth else ladder.axis


def size(ladder: LadderResult, value: float) -> str:
    """``w64``, ``×2`` of a growth factor, ``16.4 k`` tokens."""
    if ladder.by_growth:
        return f"×{value:.3g}"
    if ladder.axis in ("width", "depth"):
        return f"{ladder.axis[0]}{value:.0f}"
    return fmt.tokens(value)


def setting(one: SettingResult) -> str:
    """``shrink at log2 lr −7.38``."""
    return f"{one.parameter} at log2 lr {fmt.log2(one.log2_lr)}"


def value(number: float) -> str:
    """A value of an operator's setting: ``0.4``."""
    return fmt.signed(f"{number:g}")


def no_loss(regret_at: Known) -> str:
    """Why there is no regret, where there is none: ``diverges``, ``not tried``."""
    return NO_LOSS[regret_at].removeprefix("was ")
