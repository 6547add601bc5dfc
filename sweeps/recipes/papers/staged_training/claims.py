"""What Staged Training claims, and how each claim is measured on our arms.

Savings are in percent of the compute that scratch pays for the loss it has at ``AIMED_AT`` of its
steps at a constant rate. The paper's own are at the loss where a model is trained best; here, at
a small scale, that is far beyond the end of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mugrow.analysis.measure import dynamics
from mugrow.analysis.measure.claims import Claim, claim, untestable
from mugrow.analysis.measure.dynamics import Trace, of_curves
from mugrow.analysis.measure.quantity import Quantity, combined, each, final, highest, logged
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName

GROW_AT = (0.25, 0.5, 0.75, 1.0)  # of the steps at a constant rate
MAIN = 0.75  # about the paper's own: 0.75 in width and 0.58 in depth at BASE, 0.81, 0.88 at LARGE
AIMED_AT = 0.8  # of the same steps
JUDGED_OVER = 0.2  # of them: how far after growth the slope is compared
SCRATCH = ArmName("scratch", stage="scratch")


@dataclass(frozen=True)
class Way:
    """A way to grow: by what factors in width and depth, the ratio ``rho`` of steps at equal loss,
    and the slope to grow at; the last two are constants of the authors' released code."""

    name: str
    title: str
    width: int
    depth: int
    rho: float
    threshold: float

    def source(self, at: float = GROW_AT[-1]) -> ArmName:
        """The small model, trained for so much of the steps at a constant rate."""
        return ArmName(f"{self.name} small {at:g}", way=self.name, stage="small", at=at)

    def grown(self, at: float = MAIN) -> ArmName:
        return ArmName(f"{self.name} {at:g}", way=self.name, stage="grown", at=at)

    def changed(self, change: str) -> ArmName:
        """Grown as usual but for an ablation."""
        return ArmName(f"{self.name}, {change}", **self.grown().factors, change=change)


WIDTH = Way("width", "twice the width", 2, 1, 1.776, -0.0475)
DEPTH = Way("depth", "twice the depth", 1, 2, 1.412, -0.0575)
BOTH = Way("both", "twice both", 2, 2, 2.455, -0.03)
WAYS = (WIDTH, DEPTH, BOTH)
EARLIER = {name: ArmName(name, method=name) for name in ("bert2bert", "stack", "gong")}
NO_NOISE, NO_MOMENTS = WIDTH.changed("no noise"), "no moments"
RESTARTED, MOVED = "restarted", "not re-positioned"


def saving(arm: str) -> Quantity:
    """Percent of scratch's compute that an arm saves."""

    def share(grown: Trace, scratch: Trace) -> float:
        last = scratch.constant
        return dynamics.saved(grown, scratch, AIMED_AT * last, last)

    return 100 * of_curves(share, arm, SCRATCH)


def jump(way: Way) -> Quantity:
    """The loss right after growth minus the source's last, in nats."""
    return logged(way.grown(), "val_loss", "first") - final(way.source(MAIN))


def spike(arm: str) -> Quantity:
    """The highest loss after growth minus the loss at growth, in nats; 0 where it only falls."""
    first = logged(arm, "val_loss", "first")
    return each(highest(logged(arm, "val_loss", "highest"), first)) - first


def slope_kept(arm: str) -> Quantity:
    return of_curves(
        lambda grown, scratch: dynamics.kept_slope(grown, scratch, JUDGED_OVER * scratch.constant),
        *(arm, SCRATCH),
    )


def step_ratio(way: Way) -> Quantity:
    return of_curves(
        lambda small, scratch: dynamics.step_ratio(small, scratch, MAIN * scratch.constant),
        *(way.source(), SCRATCH),
    )


def slope(way: Way, at: float) -> Quantity:
    """tau of the small model."""
    return of_curves(lambda small: dynamics.slope(small, at * small.constant), way.source())


def slope_of_best(way: Way) -> Quantity:
    """tau of the small model at the growth point that saves most."""

    def of_best(values: Sequence[float]) -> float:
        savings, slopes = np.split(np.array(values), 2)
        return float(slopes[np.argmax(savings)])

    savings = (saving(way.grown(at)) for at in GROW_AT)
    return combined(of_best, *savings, *(slope(way, at) for at in GROW_AT))


ABSTRACT = "abstract"
CONSTANTS = "constants of the authors' released code"
NOTEBOOKS = "numbers of the authors' released notebooks"
ABLATIONS = "the authors' ablations, for which no number is at hand"


def of_slope(way: Way, name: str, where: str, arm: ArmName) -> Claim[Store]:
    return claim(
        name,
        f"grown to {way.title}, the loss falls as it does from scratch at the same loss",
        where,
        "fall in the next fifth of the steps over scratch's from the same loss, ratio",
        slope_kept(arm).within(0.8, 1.25),
    )


def of_timing(way: Way, paper: str, where: str, low: float) -> tuple[Claim[Store], ...]:
    return (
        claim(
            f"saving-{way.name}",
            f"growing to {way.title} saves {paper} of the compute, earlier stages counted",
            where,
            f"compute saved at the loss of scratch at {AIMED_AT:g} of its steps, %",
            saving(way.grown()) > low,
        ),
        claim(
            f"grow-when-{way.name}",
            f"the slope at which to grow to {way.title} is {way.threshold}",
            CONSTANTS,
            "small model's slope tau at the growth point that saves most",
            slope_of_best(way).within(1.5 * way.threshold, 0.5 * way.threshold),
        ),
    )


def of_ablations(way: Way) -> tuple[Claim[Store], ...]:
    saves_less = {
        NO_MOMENTS: "without the grown moments less is saved",
        RESTARTED: "with the schedule begun anew, its warm-up too, less is saved",
    }
    return (
        *(
            claim(
                f"{change.replace(' ', '-')}-{way.name}",
                f"{says} ({way.title})",
                ABLATIONS,
                "compute saved by the whole method minus that by the ablation, percentage points",
                saving(way.grown()) - saving(way.changed(change)) > 0,
            )
            for change, says in saves_less.items()
        ),
        claim(
            f"position-{way.name}",
            f"left at the small model's step of the schedule, it ends worse ({way.title})",
            ABLATIONS,
            "final loss minus that of the re-positioned, which has more steps left, nats",
            final(way.changed(MOVED)) - final(way.grown()) > 0,
        ),
        claim(
            f"no-spike-{way.name}",
            f"with its moments and at its place in the schedule the loss has no spike "
            f"({way.title})",
            ABLATIONS,
            "highest loss after growth minus the loss at growth, nats",
            spike(way.grown()) < 0.02,
        ),
    )


def against(other: str, way: Way, named: str) -> Claim[Store]:
    return claim(
        f"beats-{other}",
        f"staged growth to {way.title} saves more than {named}",
        "comparison with earlier operators and schedules, for which no number is at hand",
        "compute saved minus the other's, percentage points",
        saving(way.grown()) - saving(EARLIER[other]) > 0,
    )


S1 = tuple(
    one
    for way in WAYS
    for one in (
        claim(
            f"loss-preserved-{way.name}",
            f"growing to {way.title} leaves the loss as it was",
            ABSTRACT,
            "loss right after growth minus the small model's, nats",
            jump(way).within(-0.01, 0.01),
        ),
        claim(
            f"final-{way.name}",
            f"grown to {way.title}, the model ends with the loss of one from scratch",
            ABSTRACT,
            "final loss minus that from scratch, at the end of the same schedule, nats",
            final(way.grown()) - final(SCRATCH) < 0.01,
        ),
    )
)
S2 = tuple(
    claim(
        f"rho-{way.name}",
        f"a model of {way.title} needs {way.rho} times fewer steps for the same loss",
        CONSTANTS,
        f"steps of the small over those of the large, at the small one's loss at {MAIN:g}",
        step_ratio(way).within(0.75 * way.rho, 1.25 * way.rho),
    )
    for way in WAYS
)
S3 = tuple(of_slope(way, f"dynamics-{way.name}", ABSTRACT, way.grown()) for way in WAYS)
S4 = (
    *of_timing(WIDTH, "22 to 25 %", NOTEBOOKS, 11.0),
    *of_timing(DEPTH, "13 to 15 %", NOTEBOOKS, 6.5),
    *of_timing(BOTH, "up to 22 %", ABSTRACT, 0.0),
)
EXACT = "the exact operator; there, dropout parts the copies"
S5 = (
    *of_ablations(WIDTH),
    *of_ablations(DEPTH),
    of_slope(WIDTH, "symmetry-width", EXACT, NO_NOISE),
)
S6 = (
    against("bert2bert", WIDTH, "bert2BERT's operator"),
    against("stack", DEPTH, "stacked copies"),
    against("gong", DEPTH, "Gong et al.'s progressive stacking"),
)
UNTESTABLE = (
    untestable(
        "zero-shot",
        "the perplexities of Wikitext-103 and LAMBADA are preserved too",
        "the paper's evaluation",
        "needs corpora and a tokenizer that are not at hand; the loss on held-out text stands in",
    ),
    untestable(
        "gpt2-large",
        "22 % of the compute of GPT-2 LARGE, 768M parameters, is saved",
        "abstract",
        "its size: the recipe is there at --scale paper",
    ),
)
