"""What is claimed of models on the line from a pre-trained to an adapted one.

The line is of eleven *shares* of the adapted model, its *chord* the losses of the two ends mixed in
the same shares.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mugrow.analysis.measure.claims import Claim, claim, untestable
from mugrow.analysis.measure.quantity import Quantity, combined, evaluated, lowest
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, Direction, named

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(11))
LITTLE = 0.01  # of the loss at home, which a mixture may cost
MOST = 0.5  # of what was forgotten
HOME, SHIFT = "at home", "under shift"


def judged(way: Direction, where: str) -> ArmName:
    return named(way, where, judged=where)


def along(way: Direction, where: str) -> dict[float, Quantity]:
    """Losses on the line by share."""
    name = judged(way, where)
    return {share: evaluated(name, share=share) for share in SHARES}


def above_chord(way: Direction, where: str, fold: Callable[[Array], float]) -> Quantity:
    """Losses between the ends minus those of the ends mixed in the same shares, folded into one."""
    share = np.array(SHARES)

    def above(values: Sequence[float]) -> float:
        losses = np.array(values)
        return float(fold((losses - (1 - share) * losses[0] - share * losses[-1])[1:-1]))

    return combined(above, *along(way, where).values())


def regained(way: Direction) -> Quantity:
    """The largest share of what was forgotten that a mixture has back which costs little at home;
    0 where none but the adapted model costs so little."""

    def most(values: Sequence[float]) -> float:
        home, shift = np.array(values).reshape(2, -1)
        cheap = home <= (1 + LITTLE) * home[-1]
        return float((shift[-1] - shift[cheap].min()) / (shift[-1] - shift[0]))

    return combined(most, *along(way, HOME).values(), *along(way, SHIFT).values())


def claims_of(way: Direction) -> Iterator[Claim[Store]]:
    up, down = way
    home, shift = along(way, HOME), along(way, SHIFT)
    *inside, adapted = list(home.values())[1:]
    yield claim(
        f"forgets-{up}",
        "fine-tuning the complete model can lead it to forget",
        "abstract",
        f"loss on {up} after adaptation to {down} minus before, nats",
        shift[1.0] - shift[0.0] > 0,
    )
    yield claim(
        f"regains-{up}",
        "mixing weights improves much under shift while preserving what was gained at home",
        "abstract of WiSE-FT; 1 % of the loss and half of the forgotten are our rule",
        f"largest share of what was forgotten of {up} regained for at most 1 % more loss on {down}",
        regained(way) > MOST,
    )
    yield claim(
        f"gains-{down}",
        "some mixture is better than the adapted model at home too (by 1.6 points on ImageNet)",
        "abstract of WiSE-FT",
        f"lowest loss on {down} between the ends minus that of the adapted model, nats",
        lowest(*inside) - adapted < 0,
    )
    yield claim(
        f"bends-{up}-to-{down}",
        "a model of mixed weights is better than its two ends are, mixed",
        "what makes WiSE-FT worth its while; our rule",
        f"loss above the chord, mean of {up} and {down} and of nine mixtures, nats",
        (above_chord(way, HOME, np.mean) + above_chord(way, SHIFT, np.mean)) / 2 < 0,
    )
    yield claim(
        f"no-barrier-{up}-to-{down}",
        "a fine-tuned model stays connected to its start without a barrier",
        "what WiSE-FT rests on; our rule",
        f"highest rise of the loss on {down} above the chord, nats",
        above_chord(way, HOME, np.max) < 0,
    )


W1 = tuple(one for way in DIRECTIONS for one in claims_of(way))

UNTESTABLE = (
    untestable(
        "small-teachers",
        "a small model made robust first, as the teacher of a fraction of the large one, "
        "makes that robust at far lower cost, and keeps its transfer and zero-shot properties",
        "abstract",
        "its method distils robust image classifiers into some layers; the suite "
        "trains language models, and has no distillation",
    ),
    untestable(
        "benchmarks",
        "large models degrade under the perturbations of ImageNet-C, -R, -S and -A",
        "abstract",
        "images; no vision model is trained here",
    ),
)
