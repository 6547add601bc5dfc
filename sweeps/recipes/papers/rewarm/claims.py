"""What ``rewarm`` measures, and the claims that it decides.

A model trained *upstream* goes on *downstream*. Losses of an arm are tables, a row a step on the
downstream text and a column a seed; of arms that share a seed the batches are the same.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, difference, finals, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

Direction = tuple[str, str]  # upstream, downstream
DIRECTIONS: tuple[Direction, ...] = (("novels", "code"), ("code", "novels"))
LENGTHS = (0, 0.5, 1, 2)  # of the warm-up, over the base run's
RATES = (0.5, 1, 2)  # the highest, over the base run's
LOW = 0.1  # what a decay ends at, over its highest rate
EARLY = 0.25  # of the steps
MARGIN = 0.5  # percent of the loss, within which the length hardly matters
SAME, SCRATCH, CONSTANT = "re-warmed on the same text", "from scratch", "constant low rate"


def trained(text: str) -> str:
    """The arm pre-trained on a text."""
    return f"{text}: pre-trained"


def again(text: str) -> str:
    """The arm re-warmed on the text that it was pre-trained on."""
    return f"{text}: {SAME}"


def scratch(text: str) -> str:
    return f"{text}: {SCRATCH}"


def named(direction: Direction, what: str) -> str:
    return f"{direction[0]} to {direction[1]}: {what}"


def rewarmed(direction: Direction, length: float = 1, rate: float = 1) -> str:
    """The arm re-warmed over ``length`` times the base run's warm-up to ``rate`` times its rate."""
    return named(direction, f"{length:g}× warm-up, {rate:g}× rate")


def constant(direction: Direction) -> str:
    return named(direction, CONSTANT)


def on_own(store: Store, name: str) -> pd.DataFrame:
    """Losses on the text that an arm trains on, at every logged step."""
    own = arm(store.runs, name)[["run_id", "seed", "spec"]]
    own = own.assign(first=[json.loads(text)["first_step"] for text in own["spec"]])
    rows = own.merge(store.curves, on="run_id")
    rows["at"] = rows["first"] + rows["step"]
    return rows.pivot_table(index="at", columns="seed", values="val_loss")


def on_upstream(store: Store, direction: Direction, name: str) -> pd.DataFrame:
    """Losses on the upstream text where they were evaluated, at 0 those before."""
    rows = store.evaluations[store.evaluations["arm"] == name]
    if rows.empty:
        raise UserError(f"arm {name!r} was not evaluated")
    specs = store.runs.set_index("run_id")["spec"]
    ends = [json.loads(specs[ids[0]]) for ids in rows["run_ids"]]
    rows = rows.assign(at=[spec["stop_step"] or spec["steps"] for spec in ends])
    after = rows.pivot_table(index="at", columns="seed", values="value")
    before = pd.DataFrame([finals(store.runs, trained(direction[0]))], index=[0])
    return pd.concat([before[after.columns], after])


def final(losses: pd.DataFrame) -> dict[int, float]:
    """By seed, the last row."""
    return {int(str(seed)): float(loss) for seed, loss in losses.iloc[-1].items()}


def rise(losses: pd.DataFrame) -> Interval:
    """The highest loss in the first quarter of the steps minus the one before them, in nats."""
    steps = losses.index.to_numpy()
    early = losses[(steps > 0) & (steps <= EARLY * steps[-1])]

    def statistic(drawn: Sequence[int]) -> float:
        seeds = list(drawn)
        return float(early[seeds].mean(axis=1).max() - losses.loc[0, seeds].mean())

    return over_seeds([int(str(seed)) for seed in losses.columns], statistic)


def percent(one: dict[int, float], other: dict[int, float]) -> Interval:
    """How far ``one`` lies above ``other``, in percent, paired by seed."""
    ratio = {seed: 100 * one[seed] / other[seed] for seed in one.keys() & other.keys()}
    return difference(ratio, dict.fromkeys(ratio, 100.0))


def ends(store: Store, direction: Direction, name: str) -> tuple[dict[int, float], ...]:
    """Final losses of an arm by seed: downstream, upstream."""
    return final(on_own(store, name)), final(on_upstream(store, direction, name))


def raised_upstream(store: Store, direction: Direction) -> Interval:
    return rise(on_upstream(store, direction, rewarmed(direction)))


def raised(store: Store, name: str) -> Interval:
    return rise(on_own(store, name))


def against_constant(store: Store, direction: Direction) -> Interval:
    """Final downstream losses re-warmed minus those at the constant low rate, nats."""
    names = rewarmed(direction), constant(direction)
    return difference(*(final(on_own(store, name)) for name in names))


def against_scratch(store: Store, direction: Direction) -> Interval:
    """Likewise minus those from scratch."""
    own = final(on_own(store, rewarmed(direction)))
    return difference(own, finals(store.runs, scratch(direction[1])))


def longest_warmup(store: Store, direction: Direction, side: int) -> Interval:
    """The final loss after the longest warm-up over that after none, %; ``side`` as in ``ends``."""
    names = (rewarmed(direction, length=length) for length in (LENGTHS[-1], LENGTHS[0]))
    return percent(*(ends(store, direction, name)[side] for name in names))


def highest_rate(store: Store, direction: Direction, side: int) -> Interval:
    """The final loss after the highest rate minus that after the lowest, nats."""
    names = (rewarmed(direction, rate=rate) for rate in (RATES[-1], RATES[0]))
    return difference(*(ends(store, direction, name)[side] for name in names))


def shift_claims() -> Iterator[Claim[Store]]:
    """Of re-warming as such, in both directions."""
    for up, down in DIRECTIONS:
        way = up, down
        yield Claim(
            f"raises-upstream-{up}",
            "re-warming first increases the loss on upstream data",
            "abstract",
            f"highest loss on {up} in the first quarter of training on {down}, minus before, nats",
            partial(raised_upstream, direction=way),
            low=0.0,
        )
        yield Claim(
            f"raises-downstream-{down}",
            "re-warming first increases the loss on downstream data",
            "abstract",
            f"highest loss on {down} in the first quarter of training on it, minus before, nats",
            partial(raised, name=rewarmed(way)),
            low=0.0,
        )
        yield Claim(
            f"beats-constant-{down}",
            "in the longer run re-warming improves the downstream performance",
            "abstract",
            f"final loss on {down}, re-warmed minus at the constant low rate, nats",
            partial(against_constant, direction=way),
            high=0.0,
        )
        yield Claim(
            f"beats-scratch-{down}",
            "re-warmed models outperform models trained from scratch, even for a large downstream "
            "dataset",
            "abstract",
            f"final loss on {down} after as many tokens as upstream, re-warmed minus from scratch, "
            "nats",
            partial(against_scratch, direction=way),
            high=0.0,
        )


def length_claims() -> Iterator[Claim[Store]]:
    for way in DIRECTIONS:
        for side, text in enumerate(reversed(way)):
            yield Claim(
                f"length-{way[0]}-to-{way[1]}-on-{text}",
                "the length of the warm-up hardly matters",
                "its comparison of warm-ups over 0, 0.5, 1 and 2 % of the steps",
                f"final loss on {text} after {way[0]} to {way[1]} with the longest warm-up over "
                "that with none, %",
                partial(longest_warmup, direction=way, side=side),
                low=-MARGIN,
                high=MARGIN,
            )


def rate_claims() -> Iterator[Claim[Store]]:
    where = "its comparison of maximum learning rates"
    for up, down in DIRECTIONS:
        for side, text, says in (
            (0, down, "a larger maximum rate learns more of the downstream data"),
            (1, up, "a larger maximum rate forgets more of the upstream data"),
        ):
            yield Claim(
                f"rate-{up}-to-{down}-on-{text}",
                says,
                where,
                f"final loss on {text} after {up} to {down}, {RATES[-1]:g} times the rate minus "
                f"{RATES[0]:g} times, nats",
                partial(highest_rate, direction=(up, down), side=side),
                low=0.0 if side else float("-inf"),
                high=float("inf") if side else 0.0,
            )


def same_claims() -> Iterator[Claim[Store]]:
    for text, _ in DIRECTIONS:
        yield Claim(
            f"same-{text}",
            "re-warming raises the loss even where the data stays the same",
            "its experiment of re-warming on the upstream data",
            f"highest loss on {text} in the first quarter of more {text}, minus before, nats",
            partial(raised, name=again(text)),
            low=0.0,
        )
