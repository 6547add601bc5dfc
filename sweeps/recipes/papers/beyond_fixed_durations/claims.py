"""What one trunk with cool-downs says against a cosine for each horizon.

Runs have, beside what their arm is called by, a horizon and a learning rate, both in multiples of
the base run's. A schedule is judged at the best of its rates, since a constant rate's best is no
cosine's; an average and a cool-down's length at the base rate, where all else is equal.
"""

from collections.abc import Sequence

from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, final, mean, percent, total_flops
from mugrow.bench.arm import ArmName

HORIZONS = (0.5, 1.0, 2.0, 3.0)
AT_LENGTHS = (1.0, 3.0)  # the horizons at which cool-downs of several lengths are compared
RATES = (0.5, 1.0, 2.0, 4.0)
LENGTHS = (0.05, 0.1, 0.2, 0.4)  # of cool-downs, as shares of the horizon
LENGTH = 0.2
MARGIN = 0.5  # percent of the loss, within which two schedules match
COST = 0.6
TRUNK = ArmName("trunk", schedule="constant")
COSINE = ArmName("cosine to 10 %", schedule="cosine", final=0.1)
COSINE_0 = ArmName("cosine to 0", schedule="cosine", final=0.0)
SWA, EMA = (ArmName(name.upper(), schedule="constant", average=name) for name in ("swa", "ema"))


def cooled(length: float, shape: str = "linear") -> ArmName:
    """Branches that leave the trunk so early."""
    name = f"cool-down {100 * length:g} %" + (", 1-sqrt" if shape == "sqrt" else "")
    return ArmName(name, schedule="cool-down", length=length, shape=shape)


COOLED = cooled(LENGTH)


def to(steps: float, arm: ArmName, lr: float = 1.0) -> ArmName:
    """The runs of an arm that end there, at one learning rate. A trunk's is its segment."""
    return ArmName(arm, **arm.factors, steps=steps, lr=lr)


def trunk_of(steps: float) -> ArmName:
    """The segment that ends where the branch of the usual length to a horizon begins."""
    return to(round(steps * (1 - LENGTH), 6), TRUNK)


def best(steps: float, arm: ArmName) -> Quantity:
    """The loss at a horizon, at the best of the rates."""
    return quantity.lowest(*(to(steps, arm, lr) for lr in RATES))


def gap(steps: float, cosine: ArmName) -> Quantity:
    """Loss of the usual cool-down over that of a cosine to the same horizon, %."""
    return percent(best(steps, COOLED), best(steps, cosine))


def at_base(one: ArmName, other: ArmName, horizons: Sequence[float]) -> Quantity:
    """Loss of one arm over that of another at the base rate, mean over horizons, %."""
    return mean(*(percent(final(to(h, one)), final(to(h, other))) for h in horizons))


def along(arm: ArmName, steps: float, column: str) -> Quantity:
    """Of the whole trunk that an arm averages, a column where a horizon ends."""
    return quantity.logged_at(arm, column, steps / HORIZONS[-1])


def averaging(arm: ArmName, steps: float) -> Quantity:
    """Loss of averaged weights over that of the trunk's last, %."""
    return percent(along(arm, steps, "val_loss_averaged"), along(arm, steps, "val_loss"))


def closed(arm: ArmName, *horizons: float) -> Quantity:
    """The share of the way from the trunk down to its cool-downs that its average goes."""
    trunk = mean(*(along(arm, steps, "val_loss") for steps in horizons))
    average = mean(*(along(arm, steps, "val_loss_averaged") for steps in horizons))
    return (trunk - average) / (trunk - mean(*(to(steps, COOLED) for steps in horizons)))


def percent_closed(arm: ArmName, steps: float) -> Quantity:
    return 100 * closed(arm, steps)


def cosines_cost(horizons: Sequence[float]) -> Quantity:
    """FLOPs of a cosine to each of these, at the base rate."""
    first, *others = (total_flops(to(steps, COSINE)) for steps in horizons)
    return sum(others, first)


def branches_cost(horizons: Sequence[float]) -> Quantity:
    """FLOPs of a branch to each, ascending, and of the trunk once, with the last of them."""
    *others, longest = horizons
    branches = (total_flops(to(steps, COOLED)) - total_flops(trunk_of(steps)) for steps in others)
    return sum(branches, total_flops(to(longest, COOLED)))


def cost_ratio(horizons: Sequence[float]) -> Quantity:
    return quantity.each(branches_cost(horizons) / cosines_cost(horizons))


BY_FIGURE = "abstract, and the README’s figure of cosine against cool-down"
TO_0 = "abstract; here the cosine falls to 0, as the cool-down does"
TO_COSINE, TO_COSINE_0 = (
    mean(*(gap(steps, cosine) for steps in HORIZONS)) for cosine in (COSINE, COSINE_0)
)
WIDENS = gap(HORIZONS[-1], COSINE) - gap(HORIZONS[0], COSINE)
D1 = (
    rule("matches-cosine", BY_FIGURE, TO_COSINE < MARGIN).decides(
        "a constant rate with a cool-down matches the cosine or beats it",
        "loss of the 20 % cool-down over that of the cosine to a tenth, mean of four horizons, "
        "each at its best rate, %",
    ),
    rule("matches-cosine-to-0", TO_0, TO_COSINE_0.within(-MARGIN, MARGIN)).decides(
        "a constant rate with a cool-down matches the cosine",
        "loss of the 20 % cool-down over that of the cosine to 0, mean of four horizons, each at "
        "its best rate, %",
    ),
    rule("scales-alike", "abstract", WIDENS.within(-MARGIN, MARGIN)).decides(
        "it scales predictably and reliably similar to cosine",
        "the gap to the cosine to a tenth at the longest horizon minus that at the shortest, "
        "points of percent",
    ),
)
RECIPE = "the paper’s recipe, as its code’s README runs it"
FORMS = "the comparison of cool-down forms; decay-type sqrt in its code"
OVER_LONGER = at_base(COOLED, cooled(LENGTHS[-1]), AT_LENGTHS)
OVER_LINEAR = at_base(cooled(LENGTH, "sqrt"), COOLED, HORIZONS)
D2 = (
    rule("20-percent-enough", RECIPE, OVER_LONGER < MARGIN).decides(
        "a cool-down over 20 % of the steps is enough",
        "loss after a cool-down of 20 % over that after one of 40 %, mean of two horizons, %",
    ),
    rule("sqrt-beats-linear", FORMS, OVER_LINEAR < 0).decides(
        "a cool-down of the form 1 - sqrt ends lower than a linear one",
        "loss after 1 - sqrt over that after linear, both of 20 %, mean of four horizons, %",
    ),
)
SECTION = "the paper’s section on weight averaging; its number is not in our notes"
AVERAGED = mean(*(averaging(SWA, steps) for steps in HORIZONS))
D3 = (
    rule("swa-improves", "abstract", AVERAGED < 0).decides(
        "weight averaging improves the model along the trajectory at no cost",
        "loss of the averaged weights over that of the trunk, mean of four horizons, %",
    ),
    rule("swa-most-not-all", SECTION, closed(SWA, *HORIZONS).within(0.5, 1.0)).decides(
        "averaging closes most of the gap to a cool-down, but not all of it",
        "share of the cool-down’s gain over the trunk that SWA has too, four horizons",
    ),
)
SAVINGS = "its savings, as (the last run + 0.2 of the others) / all"
D4 = (
    rule("ladder-cost", SAVINGS, cost_ratio(HORIZONS) < COST).decides(
        "a ladder of horizons costs 0.6 of what separate runs cost, or less",
        "FLOPs of trunk and branches over those of the cosines, four horizons",
    ),
)
UNTESTABLE = (
    no_rule("gpu-hours", "abstract").decides(
        "scaling experiments take significantly fewer GPU hours",
        "hours on the paper’s GPUs; FLOPs are counted in their place",
    ),
)
