"""What ``emulator`` claims of a small model's tuning that is added to a large base.

Models are known by their width over the small one's, and evaluated on both texts. What stands in
for a tuned one is evaluated at several strengths.
"""

from mugrow.analysis.measure.claims import claim, untestable
from mugrow.analysis.measure.quantity import Quantity, at_scale, evaluated, lowest, percent
from mugrow.bench.arm import ArmName

BASE, TUNED = "novels", "code"  # what the models are trained on, and tuned on
TEXTS = (TUNED, BASE)
LARGE = {  # depths over the small model's, by width over the small model's
    "cpu": {2: 1.0, 4: 1.0},
    "gpu": {2: 1.0, 4: 1.0},
    "paper": {2: 2.5},
}
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
MOST = 0.5  # of a gap
MARGIN = 0.5  # percent of the loss, within which a strength is as good as the best
LARGEST = {scale: max(widths) for scale, widths in LARGE.items()}


def model(kind: str, width: int) -> ArmName:
    """A ``base``, a ``tuned`` model, or what is ``emulated``."""
    size = "" if kind == "emulated" else "small " if width == 1 else "large "
    width_text = f", {width}× width" if width > 1 else ""
    return ArmName(f"{size}{kind}{width_text}", model=kind, width=width)


def on(text: str, name: ArmName) -> ArmName:
    """What an evaluation of a model on a text is called."""
    return name.varied(f"on {text}", corpus=text)


def loss(kind: str, width: int, text: str = TUNED) -> Quantity:
    """Of a model on a text, nats per token; what is emulated at strength 1."""
    if kind == "emulated":
        return emulated(width, text)[1.0]
    return evaluated(on(text, model(kind, width)))


def emulated(width: int, text: str = TUNED) -> dict[float, Quantity]:
    """Losses of the stand-in by strength."""
    name = on(text, model("emulated", width))
    return {strength: evaluated(name, strength=strength) for strength in STRENGTHS}


def closed(width: int) -> Quantity:
    """The share of the gap between the large base and the large tuned model."""
    base, tuned = loss("base", width), loss("tuned", width)
    return (base - loss("emulated", width)) / (base - tuned)


def against_small(text: str) -> Quantity:
    """The loss of the largest stand-in on a text minus that of the small tuned model."""
    ours = at_scale(lambda scale: loss("emulated", LARGEST[scale], text))
    return ours - loss("tuned", 1, text)


def over_best(width: int) -> Quantity:
    """How far the loss at strength 1 lies above that at the best strength, in percent."""
    return percent(loss("emulated", width), lowest(*emulated(width).values()))


E1 = (
    claim(
        "closes-most",
        "up-scaling essentially emulates the result of fine-tuning the large pre-trained model",
        "abstract; most of the gap is our rule",
        "share of the gap in loss on code from the largest base to the same model tuned",
        at_scale(lambda scale: closed(LARGEST[scale])) > MOST,
    ),
    claim(
        "beats-small-tuned",
        "up-scaling consistently improves on the small fine-tuned model",
        "abstract, of helpfulness and factuality; here of the loss on code",
        "loss on code of the small tuning on the largest base minus that of the small "
        "tuned model, nats",
        against_small(TUNED) < 0,
    ),
    claim(
        "keeps-knowledge",
        "scaling up pre-training tends to improve factuality",
        "abstract; the loss on the bases’ own text stands for what they know",
        "loss on novels of the small tuning on the largest base minus that of the "
        "small tuned model, nats",
        against_small(BASE) < 0,
    ),
)

E2 = (
    claim(
        "no-hyperparameter",
        "up-scaling needs no additional hyperparameters",
        "abstract; as good as the best strength, within half a percent, is our rule",
        "loss on code at strength 1 over that at the best of six strengths, %",
        at_scale(lambda scale: over_best(LARGEST[scale])) < MARGIN,
    ),
)

UNTESTABLE = (
    untestable(
        "helpfulness",
        "scaling up fine-tuning tends to improve helpfulness; up-scaling improves helpfulness "
        "and factuality in the Llama, Llama-2 and Falcon families",
        "abstract",
        "answers to people, which a far larger model judges; neither is at hand",
    ),
    untestable(
        "dial",
        "competing traits, helpful and harmless, are adjusted at test time without training",
        "abstract",
        "no model here has either trait; E2 turns the same dial between two texts",
    ),
)
