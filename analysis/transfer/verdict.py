"""One word on a ladder, by a rule fixed before the transfer studies were run.

    transfers     the interval of the drift is within ±0.2 log2 per doubling, and that of the
                  regret at the largest size is below 1 %
    drifts        the interval of the drift is outside ±0.2, or that of the regret above 1 %
    censored      a best rate is at the edge of its grid: the optimum may lie beyond
    inconclusive  anything else: the intervals are too wide to tell

0.2 is the slope up to which good muP is measured to stay in width; over SP's -1 it is a fifth. 1 %
of the loss is what a rate twice too high costs in public sweeps (step law, 2503.04715). The
proxy is the smallest size; of grown models it is the source, with the rate it was given. Regret is
of the losses tested, between the places where the ladder's shape has both bowls lowest
(``transfer.shape``): best rates tested jump by whole steps of the grid, and a parabola is wrong on
bowls that are steeper above than below.

An operator's own setting has no drift, since nobody knows its scale: its verdict is on the regret
alone, at every growth larger than the one where it was best.

``transfers`` is a statement on a range. A ladder that only doubles may pass where the next doubling
fails, so the sizes are always printed beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mugrow.analysis.transfer.metrics import Drift, Pair, SizeOptimum
from mugrow.analysis.transfer.operator_regret import GrowthOptimum

Word = Literal["transfers", "drifts", "censored", "inconclusive"]

DRIFT = 0.2  # log2 per doubling
REGRET_PERCENT = 1.0
RULE = (
    f"transfers: the interval of the drift is within ±{DRIFT} log2 per doubling and that of the "
    f"regret (of the losses tested) at the largest size is below {REGRET_PERCENT:g} %; drifts: the "
    f"interval of the drift is outside ±{DRIFT}, or that of the regret above {REGRET_PERCENT:g} %; "
    "censored: a best rate is at the edge of its grid; inconclusive: anything else"
)
SETTING_RULE = (
    "transfers: the interval of what it costs to keep the smallest growth's best value is below "
    f"{REGRET_PERCENT:g} % of the loss at every larger one; drifts: it is above at one of them; "
    "censored: a best value is the lowest or the highest tried; inconclusive: anything else"
)


@dataclass(frozen=True)
class TransferVerdict:
    """``why`` is what decided, without numbers: those stand beside it."""

    word: Word
    why: str


def verdict(rungs: Sequence[SizeOptimum], drift: Drift, widest: Pair) -> TransferVerdict:
    """Of a ladder's rungs, its drift, and the smallest size's best rate at the largest."""
    if edges := [f"{rung.size:.4g} ({rung.edge})" for rung in rungs if rung.edge]:
        return TransferVerdict(
            "censored", f"the best rate is at the grid's edge at {', '.join(edges)}"
        )
    if widest.regret_at == "diverged":
        return TransferVerdict("drifts", "the proxy's best rate diverges at the largest size")
    if drift.slope.n < 2:
        return TransferVerdict("inconclusive", "one seed gives no interval")
    slope, regret = drift.slope, widest.decisive_percent
    if slope.lo > DRIFT or slope.hi < -DRIFT:
        return TransferVerdict("drifts", f"the drift is beyond ±{DRIFT}")
    if regret.lo > REGRET_PERCENT:
        return TransferVerdict("drifts", f"the regret is above {REGRET_PERCENT:g} %")
    within = {
        "the drift": slope.lo >= -DRIFT and slope.hi <= DRIFT,
        "the regret": regret.hi < REGRET_PERCENT,
    }
    if all(within.values()):
        return TransferVerdict("transfers", "drift and regret are within the tolerance")
    untested = " (the proxy's best rate was not finished there)" * math.isnan(regret.value)
    unsure = " and ".join(name for name, inside in within.items() if not inside)
    return TransferVerdict("inconclusive", f"{unsure} may be within or beyond{untested}")


def setting_verdict(rungs: Sequence[GrowthOptimum]) -> TransferVerdict:
    """Of an operator's setting, from its growths, the smallest first."""
    if edges := [f"{rung.name} ({rung.edge})" for rung in rungs if rung.edge]:
        where = ", ".join(edges)
        return TransferVerdict(
            "censored", f"the best value is at the edge of those tried at {where}"
        )
    kept = [(rung.name, rung.kept) for rung in rungs if rung.kept is not None]
    if lost := [name for name, one in kept if one.regret_at == "diverged"]:
        return TransferVerdict(
            "drifts", f"the smallest growth's best value diverges at {', '.join(lost)}"
        )
    if rungs[0].lowest_loss.n < 2:
        return TransferVerdict("inconclusive", "one seed gives no interval")
    if dear := [name for name, one in kept if one.regret_percent.lo > REGRET_PERCENT]:
        return TransferVerdict(
            "drifts", f"the regret is above {REGRET_PERCENT:g} % at {', '.join(dear)}"
        )
    unsure = [name for name, one in kept if not one.regret_percent.hi < REGRET_PERCENT]
    if not unsure:
        return TransferVerdict("transfers", "the regret is within the tolerance")
    return TransferVerdict(
        "inconclusive", f"the regret may be within or beyond at {', '.join(unsure)}"
    )
