"""What Staged Training claims, and how each claim is measured on our arms.

Savings are in percent of the compute that scratch pays for the loss it has at ``AIMED_AT`` of its
steps at a constant rate. The paper's own are at the loss where a model is trained best; here, at
a small scale, that is far beyond the end of training.
"""

from collections.abc import Sequence
from functools import partial

from mugrow.analysis.figures import style
from mugrow.analysis.measure import dynamics
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.dynamics import constant_part, kept_slope, seeds_of
from mugrow.analysis.measure.measured import minus, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.sweeps.recipes.papers.staged_training.figures import Way

GROW_AT = (0.25, 0.5, 0.75, 1.0)  # of the steps at a constant rate
MAIN = 0.75  # about the paper's own: 0.75 in width and 0.58 in depth at BASE, 0.81, 0.88 at LARGE
AIMED_AT = 0.8  # of the same steps
JUDGED_OVER = 0.2  # of them: how far after growth the slope is compared


def source_arm(way: str, part: float) -> str:
    return f"{way} small {part:g}"


def grown_arm(way: str, part: float) -> str:
    return f"{way} {part:g}"


def _way(name: str, title: str, factor: int, rho: float, threshold: float, look: style.Look) -> Way:
    """Ratios of steps and thresholds are the constants of the authors' released code."""
    small, big = source_arm(name, GROW_AT[-1]), grown_arm(name, MAIN)
    return Way(name, title, factor, rho, threshold, look, small, big)


WIDTH = _way("width", "twice the width", 4, 1.776, -0.0475, style.look("staged"))
DEPTH = _way("depth", "twice the depth", 2, 1.412, -0.0575, style.Look("#0072B2", "s"))
BOTH = _way("both", "twice both", 8, 2.455, -0.03, style.Look("#D55E00", "^"))
WAYS = (WIDTH, DEPTH, BOTH)


def share(store: Store, name: str, seeds: Sequence[int]) -> float:
    """Percent of scratch's compute that an arm saves."""
    last = constant_part(store, "scratch")
    return 100 * dynamics.saved(store, name, "scratch", AIMED_AT * last, last, seeds)


def saved(store: Store, name: str) -> Interval:
    return over_seeds(seeds_of(store, "scratch", name), partial(share, store, name))


def saves_more(store: Store, one: str, other: str) -> Interval:
    """Percentage points between the savings of two arms."""
    return over_seeds(
        seeds_of(store, "scratch", one, other),
        lambda seeds: share(store, one, seeds) - share(store, other, seeds),
    )


def slope_kept(store: Store, name: str) -> Interval:
    return kept_slope(store, name, "scratch", JUDGED_OVER * constant_part(store, "scratch"))


def step_ratio(store: Store, way: Way) -> Interval:
    at = MAIN * constant_part(store, "scratch")
    return dynamics.step_ratio(store, way.small, "scratch", at)


def slope_of_best(store: Store, way: Way) -> Interval:
    """tau of the small model at the growth point that saves most."""
    last = constant_part(store, "scratch")

    def slope(seeds: Sequence[int]) -> float:
        found = {part: share(store, grown_arm(way.name, part), seeds) for part in GROW_AT}
        best = max(found, key=found.__getitem__)
        return dynamics.slope(dynamics.trace(store, way.small, seeds), best * last)

    return over_seeds(seeds_of(store, *(grown_arm(way.name, part) for part in GROW_AT)), slope)


NOTEBOOKS = "numbers of the authors' released notebooks"
CONSTANTS = "constants of the authors' released code"
ABSTRACT = "abstract"
ABLATIONS = "the authors' ablations, for which no number is at hand"


def claims_of_growth(way: Way) -> tuple[Claim[Store], ...]:
    return (
        Claim(
            f"loss-preserved-{way.name}",
            f"growing to {way.title} leaves the loss as it was",
            ABSTRACT,
            "loss right after growth minus the small model's, nats",
            lambda store: dynamics.jump(store, way.grown),
            low=-0.01,
            high=0.01,
        ),
        Claim(
            f"final-{way.name}",
            f"grown to {way.title}, the model ends with the loss of one from scratch",
            ABSTRACT,
            "final loss minus that from scratch, at the end of the same schedule, nats",
            lambda store: minus(store, way.grown, "scratch"),
            high=0.01,
        ),
    )


def claim_of_steps(way: Way) -> Claim[Store]:
    return Claim(
        f"rho-{way.name}",
        f"a model of {way.title} needs {way.rho} times fewer steps for the same loss",
        CONSTANTS,
        f"steps of the small over those of the large, at the small one's loss at {MAIN:g}",
        lambda store: step_ratio(store, way),
        low=0.75 * way.rho,
        high=1.25 * way.rho,
    )


def claim_of_slope(way: Way, name: str = "", arm: str = "") -> Claim[Store]:
    return Claim(
        name or f"dynamics-{way.name}",
        f"grown to {way.title}, the loss falls as it does from scratch at the same loss",
        ABSTRACT if not name else "the exact operator; there, dropout parts the copies",
        "fall in the next fifth of the steps over scratch's from the same loss, ratio",
        lambda store: slope_kept(store, arm or way.grown),
        low=0.8,
        high=1.25,
    )


def claims_of_timing(way: Way, paper: str, where: str, low: float) -> tuple[Claim[Store], ...]:
    return (
        Claim(
            f"saving-{way.name}",
            f"growing to {way.title} saves {paper} of the compute, earlier stages counted",
            where,
            f"compute saved at the loss of scratch at {AIMED_AT:g} of its steps, %",
            lambda store: saved(store, way.grown),
            low=low,
        ),
        Claim(
            f"grow-when-{way.name}",
            f"the slope at which to grow to {way.title} is {way.threshold}",
            CONSTANTS,
            "small model's slope tau at the growth point that saves most",
            lambda store: slope_of_best(store, way),
            low=1.5 * way.threshold,
            high=0.5 * way.threshold,
        ),
    )


def claims_of_ablations(way: Way) -> tuple[Claim[Store], ...]:
    saves_less = {
        "no moments": "without the grown moments less is saved",
        "restarted": "with the schedule begun anew, its warm-up too, less is saved",
    }
    moved = f"{way.name}, not re-positioned"
    return (
        *(
            Claim(
                f"{name.replace(' ', '-')}-{way.name}",
                f"{says} ({way.title})",
                ABLATIONS,
                "compute saved by the whole method minus that by the ablation, percentage points",
                partial(saves_more, one=way.grown, other=f"{way.name}, {name}"),
                low=0.0,
            )
            for name, says in saves_less.items()
        ),
        Claim(
            f"position-{way.name}",
            f"left at the small model's step of the schedule, it ends worse ({way.title})",
            ABLATIONS,
            "final loss minus that of the re-positioned, which has more steps left, nats",
            lambda store: minus(store, moved, way.grown),
            low=0.0,
        ),
        Claim(
            f"no-spike-{way.name}",
            f"with its moments and at its place in the schedule the loss has no spike "
            f"({way.title})",
            ABLATIONS,
            "highest loss after growth minus the loss at growth, nats",
            lambda store: dynamics.spike(store, way.grown),
            high=0.02,
        ),
    )


def claim_against(other: str, way: Way, named: str) -> Claim[Store]:
    return Claim(
        f"beats-{other}",
        f"staged growth to {way.title} saves more than {named}",
        "comparison with earlier operators and schedules, for which no number is at hand",
        "compute saved minus the other's, percentage points",
        lambda store: saves_more(store, way.grown, other),
        low=0.0,
    )
