"""What Staged Training claims, and how each claim is measured on our arms.

Savings are in percent of the compute that scratch pays for the loss it has at ``AIMED_AT`` of its
steps at a constant rate. The paper's own are at the loss where a model is trained best; here, at
a small scale, that is far beyond the end of training.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mugrow.analysis.measure import dynamics
from mugrow.analysis.measure.claims import Claim, Whose, no_rule, rule
from mugrow.analysis.measure.dynamics import Trace, of_curves
from mugrow.analysis.measure.quantity import Quantity, final, logged
from mugrow.analysis.measure.selection import AtBest
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
    """The highest loss after growth minus the loss at growth, in nats; below 0 where it falls."""
    return logged(arm, "val_loss", "highest") - logged(arm, "val_loss", "first")


def slope_kept(arm: str) -> Quantity:
    def kept(grown: Trace, scratch: Trace) -> float:
        return dynamics.kept_slope(grown, scratch, JUDGED_OVER * scratch.constant)

    return of_curves(kept, arm, SCRATCH)


def step_ratio(way: Way) -> Quantity:
    def rho(small: Trace, scratch: Trace) -> float:
        return dynamics.step_ratio(small, scratch, MAIN * scratch.constant)

    return of_curves(rho, way.source(), SCRATCH)


def slope(way: Way, at: float) -> Quantity:
    """tau of the small model."""
    return of_curves(lambda small: dynamics.slope(small, at * small.constant), way.source())


def slope_of_best(way: Way) -> Quantity:
    """tau of the small model at the growth point that saves most."""

    losses = tuple(-1 * saving(way.grown(at)) for at in GROW_AT)
    return AtBest(losses, tuple(slope(way, at) for at in GROW_AT))


ABSTRACT = "abstract"
CONSTANTS = "constants of the authors' released code"
NOTEBOOKS = "numbers of the authors' released notebooks"
ABLATIONS = "the authors' ablations, for which no number is at hand"
COMPARISON = "comparison with earlier operators and schedules, for which no number is at hand"
EXACT = "our question: the exact operator without the dropout that parts the copies there"


def of_slope(way: Way, name: str, where: str, arm: ArmName, whose: Whose = "paper") -> Claim[Store]:
    return rule(name, where, slope_kept(arm).within(0.8, 1.25), whose=whose).decides(
        f"grown to {way.title}, the loss falls as it does from scratch at the same loss",
        "fall in the next fifth of the steps over scratch's from the same loss, ratio",
    )


def of_timing(way: Way, paper: str, where: str, low: float) -> Iterator[Claim[Store]]:
    near = slope_of_best(way).within(1.5 * way.threshold, 0.5 * way.threshold)
    yield rule(f"saving-{way.name}", where, saving(way.grown()) > low).decides(
        f"growing to {way.title} saves {paper} of the compute, earlier stages counted",
        f"compute saved at the loss of scratch at {AIMED_AT:g} of its steps, %",
    )
    yield rule(f"grow-when-{way.name}", CONSTANTS, near).decides(
        f"the slope at which to grow to {way.title} is {way.threshold}",
        "small model's slope tau at the growth point that saves most",
    )


def of_ablations(way: Way) -> Iterator[Claim[Store]]:
    name, grown, moved = way.name, way.grown(), way.changed(MOVED)
    for change, says in (
        (NO_MOMENTS, "without the grown moments less is saved"),
        (RESTARTED, "with the schedule begun anew, its warm-up too, less is saved"),
    ):
        less = saving(grown) - saving(way.changed(change)) > 0
        yield rule(f"{change.replace(' ', '-')}-{name}", ABLATIONS, less).decides(
            f"{says} ({way.title})",
            "compute saved by the whole method minus that by the ablation, percentage points",
        )
    yield rule(f"position-{name}", ABLATIONS, final(moved) - final(grown) > 0).decides(
        f"left at the small model's step of the schedule, it ends worse ({way.title})",
        "final loss minus that of the re-positioned, which has more steps left, nats",
    )
    yield rule(f"no-spike-{name}", ABLATIONS, spike(grown) < 0.02).decides(
        f"with its moments and at its place in the schedule the loss has no spike ({way.title})",
        "highest loss after growth minus the loss at growth, nats",
    )


def against(other: str, way: Way, named: str) -> Claim[Store]:
    more = saving(way.grown()) - saving(EARLIER[other])
    return rule(f"beats-{other}", COMPARISON, more > 0).decides(
        f"staged growth to {way.title} saves more than {named}",
        "compute saved minus the other's, percentage points",
    )


def of_losses(way: Way) -> Iterator[Claim[Store]]:
    yield rule(f"loss-preserved-{way.name}", ABSTRACT, jump(way).within(-0.01, 0.01)).decides(
        f"growing to {way.title} leaves the loss as it was",
        "loss right after growth minus the small model's, nats",
    )
    yield rule(f"final-{way.name}", ABSTRACT, final(way.grown()) - final(SCRATCH) < 0.01).decides(
        f"grown to {way.title}, the model ends with the loss of one from scratch",
        "final loss minus that from scratch, at the end of the same schedule, nats",
    )


def of_rho(way: Way) -> Claim[Store]:
    near = step_ratio(way).within(0.75 * way.rho, 1.25 * way.rho)
    return rule(f"rho-{way.name}", CONSTANTS, near).decides(
        f"a model of {way.title} needs {way.rho} times fewer steps for the same loss",
        f"steps of the small over those of the large, at the small one's loss at {MAIN:g}",
    )


S1 = tuple(one for way in WAYS for one in of_losses(way))
S2 = tuple(map(of_rho, WAYS))
S3 = tuple(of_slope(way, f"dynamics-{way.name}", ABSTRACT, way.grown()) for way in WAYS)
S4 = (
    *of_timing(WIDTH, "22 to 25 %", NOTEBOOKS, 11.0),
    *of_timing(DEPTH, "13 to 15 %", NOTEBOOKS, 6.5),
    *of_timing(BOTH, "up to 22 %", ABSTRACT, 0.0),
)
EXACT_SLOPE = of_slope(WIDTH, "symmetry-width", EXACT, NO_NOISE, "ours")
S5 = (*of_ablations(WIDTH), *of_ablations(DEPTH), EXACT_SLOPE)
S6 = (
    against("bert2bert", WIDTH, "bert2BERT's operator"),
    against("stack", DEPTH, "stacked copies"),
    against("gong", DEPTH, "Gong et al.'s progressive stacking"),
)
UNTESTABLE = (
    no_rule("zero-shot", "the paper's evaluation").decides(
        "the perplexities of Wikitext-103 and LAMBADA are preserved too",
        "needs corpora and a tokenizer that are not at hand; the loss on held-out text stands in",
    ),
    no_rule("gpt2-large", "abstract").decides(
        "22 % of the compute of GPT-2 LARGE, 768M parameters, is saved",
        "its size: the recipe is there at --scale paper",
    ),
)
