"""What ``rewarm`` claims of a model that is trained *upstream* and goes on *downstream*.

Of arms that share a seed the batches are the same. A run is kept at several steps, where what is
left of the upstream text is evaluated.
"""

from collections.abc import Iterator, Mapping

from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import Quantity, chosen, each, evaluated, final, percent
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers import shift
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, Direction, rewarmed

LENGTHS = (0, 0.5, 1, 2)  # of the warm-up, over the base run's
RATES = (0.5, 1, 2)  # the highest, over the base run's
EARLY = 0.25  # of the steps
MARGIN = 0.5  # percent of the loss, within which the length hardly matters
SAME, SCRATCH, CONSTANT = "re-warmed on the same text", "from scratch", "constant low rate"


def again(text: str) -> ArmName:
    """The arm re-warmed on the text that it was pre-trained on."""
    return ArmName(f"{text}: {SAME}", **rewarmed((text, text)).factors)


def scratch(text: str) -> ArmName:
    return ArmName(f"{text}: {SCRATCH}", downstream=text, until=1)


def constant(way: Direction) -> ArmName:
    return shift.named(way, CONSTANT, schedule="constant", until=1)


def downstream(store: Store, name: ArmName) -> dict[float, Quantity]:
    """Losses on the text that an arm trains on, by step, of all segments; where one begins as
    another ends, their mean."""
    runs = arm(store.runs, str(name))
    steps, until = runs["tokens"] / runs["batch_tokens"], factor_table(runs)["until"]
    runs = runs.assign(until=until, steps=steps).sort_values("until")
    begin = runs.groupby("seed")["steps"].cumsum() - runs["steps"]
    points = runs[["run_id", "seed"]].assign(begin=begin).merge(store.curves, on="run_id")
    points["at"] = points["begin"] + points["step"]
    return quantity.rows(points.pivot_table(index="at", columns="seed", values="val_loss"))


def upstream(name: ArmName) -> dict[float, Quantity]:
    """Losses on the upstream text by the share of the steps; at 0 the one before."""
    kept = {until: evaluated(shift.segment(name, until)) for until in shift.STOPS}
    return {0: final(shift.trained(str(name.factors["upstream"])))} | kept


def rise(losses: Mapping[float, Quantity]) -> Quantity:
    """The highest loss in the first quarter of the steps minus the one before them, in nats."""
    early = [loss for at, loss in losses.items() if 0 < at <= EARLY * max(losses)]
    return quantity.highest(*early) - losses[0]


def raised(name: ArmName) -> Quantity:
    """What the loss rises by on the text that an arm trains on."""
    return chosen(lambda store: rise(downstream(store, name)))


def ends(name: ArmName) -> tuple[Quantity, Quantity]:
    """Final losses of an arm: downstream, upstream."""
    return final(name), evaluated(name)


def over_none(way: Direction, length: float, side: int) -> Quantity:
    """The final loss after a warm-up over that after none, %; ``side`` as in ``ends``."""
    some, none = (ends(rewarmed(way, one))[side] for one in (length, LENGTHS[0]))
    return each(percent(some, none))


def of_shift(way: Direction) -> Iterator[Claim[Store]]:
    """Of re-warming as such."""
    up, down = way
    ours, low, new = rewarmed(way), final(constant(way)), final(scratch(down))
    yield rule(f"raises-upstream-{up}", "abstract", rise(upstream(ours)) > 0).decides(
        "re-warming first increases the loss on upstream data",
        f"highest loss on {up} in the first quarter of training on {down}, minus before, nats",
    )
    yield rule(f"raises-downstream-{down}", "abstract", raised(ours) > 0).decides(
        "re-warming first increases the loss on downstream data",
        f"highest loss on {down} in the first quarter of training on it, minus before, nats",
    )
    yield rule(f"beats-constant-{down}", "abstract", final(ours) - low < 0).decides(
        "in the longer run re-warming improves the downstream performance",
        f"final loss on {down}, re-warmed minus at the constant low rate, nats",
    )
    yield rule(f"beats-scratch-{down}", "abstract", final(ours) - new < 0).decides(
        "re-warmed models outperform models trained from scratch, even for a large downstream "
        "dataset",
        f"final loss on {down} after as many tokens as upstream, re-warmed minus from scratch, "
        "nats",
    )


def of_length(way: Direction) -> Iterator[Claim[Store]]:
    for side, text in enumerate(reversed(way)):
        holds = over_none(way, LENGTHS[-1], side).within(-MARGIN, MARGIN)
        yield rule(f"length-{way[0]}-to-{way[1]}-on-{text}", COMPARED_LENGTHS, holds).decides(
            "the length of the warm-up hardly matters",
            f"final loss on {text} after {way[0]} to {way[1]} with the longest warm-up over "
            "that with none, %",
        )


def of_rate(way: Direction) -> Iterator[Claim[Store]]:
    low, high = (ends(rewarmed(way, rate=rate)) for rate in (RATES[0], RATES[-1]))
    learns, forgets = (one - other for one, other in zip(high, low, strict=True))
    for text, does, holds in (
        (way[1], "learns more of the downstream data", learns < 0),
        (way[0], "forgets more of the upstream data", forgets > 0),
    ):
        yield rule(f"rate-{way[0]}-to-{way[1]}-on-{text}", COMPARED_RATES, holds).decides(
            f"a larger maximum rate {does}",
            f"final loss on {text} after {way[0]} to {way[1]}, {RATES[-1]:g} times the rate minus "
            f"{RATES[0]:g} times, nats",
        )


def of_same(way: Direction) -> Iterator[Claim[Store]]:
    yield rule(f"same-{way[0]}", ON_THE_SAME, raised(again(way[0])) > 0).decides(
        "re-warming raises the loss even where the data stays the same",
        f"highest loss on {way[0]} in the first quarter of more {way[0]}, minus before, nats",
    )


COMPARED_LENGTHS = "its comparison of warm-ups over 0, 0.5, 1 and 2 % of the steps"
COMPARED_RATES = "its comparison of maximum learning rates"
ON_THE_SAME = "its experiment of re-warming on the upstream data"
R1, R2, R3, R4 = (
    tuple(one for way in DIRECTIONS for one in claims(way))
    for claims in (of_shift, of_length, of_rate, of_same)
)

UNTESTABLE = (
    no_rule("at-410M", "abstract").decides(
        "all of it at 410M parameters, after 300B tokens of the Pile, on 297B of SlimPajama",
        "neither the size nor the tokens are within reach; the paper’s scale plans them",
    ),
)
