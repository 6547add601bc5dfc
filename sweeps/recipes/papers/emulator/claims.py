"""What ``emulator`` measures, and the claims that it decides."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import common_seeds, difference, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

BASE, TUNED = "novels", "code"  # what the models are trained on, and tuned on
TEXTS = (TUNED, BASE)
LARGE: Mapping[str, tuple[tuple[int, float], ...]] = {  # widths and depths over the small model's
    "cpu": ((2, 1), (4, 1)),
    "gpu": ((2, 1), (4, 1)),
    "paper": ((2, 2.5),),
}
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
MOST = 0.5  # of a gap
MARGIN = 0.5  # percent of the loss, within which a strength is as good as the best
SMALL_BASE, SMALL_TUNED = "small base", "small tuned"
Losses = dict[int, float]  # by seed, nats per token


def base_of(times: int) -> str:
    return f"large base, {times}× width"


def tuned_of(times: int) -> str:
    return f"large tuned, {times}× width"


def emulated(times: int) -> str:
    return f"emulated, {times}× width"


def largest(store: Store) -> int:
    return LARGE[store.study["scale"]][-1][0]


def multiples(store: Store) -> list[int]:
    return [width for width, _ in LARGE[store.study["scale"]]]


def on(text: str, name: str) -> str:
    """What an evaluation of ``name`` on a text is called."""
    return f"{name}, on {text}"


def losses(store: Store, name: str, text: str = TUNED, strength: float | None = None) -> Losses:
    """Of an arm, or of what stands in for one at a strength. Raises ``UserError``."""
    rows = store.evaluations[store.evaluations["arm"] == on(text, name)]
    if strength is not None:
        rows = rows[[json.loads(params)["strength"] == strength for params in rows["params"]]]
    if rows.empty:
        raise UserError(f"no evaluation of {on(text, name)!r}")
    return dict(zip(rows["seed"].astype(int), rows["value"].astype(float), strict=True))


def closed(store: Store) -> Interval:
    """The share of the gap between the large base and the large tuned model."""
    times = largest(store)
    base, tuned = (losses(store, name) for name in (base_of(times), tuned_of(times)))
    ours = losses(store, emulated(times), strength=1.0)

    def share(seeds: Sequence[int]) -> float:
        whole = sum(base[seed] - tuned[seed] for seed in seeds)
        return sum(base[seed] - ours[seed] for seed in seeds) / whole

    return over_seeds(common_seeds([base, tuned, ours]), share)


def against_small(text: str) -> Callable[[Store], Interval]:
    """The stand-in's loss on a text minus that of the small tuned model."""

    def measure(store: Store) -> Interval:
        ours = losses(store, emulated(largest(store)), text, 1.0)
        return difference(ours, losses(store, SMALL_TUNED, text))

    return measure


def over_best(store: Store) -> Interval:
    """How far the loss at strength 1 lies above that at the best strength, in percent."""
    name = emulated(largest(store))
    by_strength = {strength: losses(store, name, strength=strength) for strength in STRENGTHS}

    def over(seeds: Sequence[int]) -> float:
        means = {at: np.mean([own[seed] for seed in seeds]) for at, own in by_strength.items()}
        return 100 * float(means[1.0] / min(means.values()) - 1)

    return over_seeds(common_seeds(list(by_strength.values())), over)


SCALING_CLAIMS: tuple[Claim[Store], ...] = (
    Claim(
        "closes-most",
        "up-scaling essentially emulates the result of fine-tuning the large pre-trained model",
        "abstract; most of the gap is our rule",
        "share of the gap in loss on code from the largest base to the same model tuned",
        closed,
        low=MOST,
    ),
    Claim(
        "beats-small-tuned",
        "up-scaling consistently improves on the small fine-tuned model",
        "abstract, of helpfulness and factuality; here of the loss on code",
        "loss on code of the small tuning on the largest base minus that of the small "
        "tuned model, nats",
        against_small(TUNED),
        high=0.0,
    ),
    Claim(
        "keeps-knowledge",
        "scaling up pre-training tends to improve factuality",
        "abstract; the loss on the bases’ own text stands for what they know",
        "loss on novels of the small tuning on the largest base minus that of the "
        "small tuned model, nats",
        against_small(BASE),
        high=0.0,
    ),
)
STRENGTH_CLAIMS: tuple[Claim[Store], ...] = (
    Claim(
        "no-hyperparameter",
        "up-scaling needs no additional hyperparameters",
        "abstract; as good as the best strength, within half a percent, is our rule",
        "loss on code at strength 1 over that at the best of six strengths, %",
        over_best,
        high=MARGIN,
    ),
)
