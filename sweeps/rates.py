"""How fast devices train: what a bill of a machine that is not at hand is made from.

A step of a stack takes as long as the slowest of three, since a GPU does all at once:

    products    its FLOPs, by ``mugrow.bench.flops``, over a sustained rate
    memory      the bytes that it moves over the device's bandwidth
    launches    the kernels that it starts, one after the other

The sustained rate is a share of the device's peak. How large a share depends on how wide the model
is: the rows below were measured on whole training steps in bfloat16; between their widths the
share is interpolated over log width, and beyond them the nearest is taken. At the precision of a
run it is that share of that precision's peak.

Bytes a step of K members with P parameters each on N tokens, D layers of width W, V the vocabulary:

    28 K P               AdamW in float32: weights and two moments read and written, gradient read
    K N (4 * 34 D W)     activations written, read again, and their gradients likewise
    K N 4 * 4 V          logits, in float32, the same

(34 bytes a unit of a layer: Korthikanti et al. 2022, arXiv:2205.05198, eq. 2.) Attention's scores
are not counted, as fused kernels do not write them.

Rows that are ``ours`` are marked so wherever they are used. So far there are none: no GPU was at
hand.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mugrow.bench.flops import per_token
from mugrow.bench.model import count
from mugrow.bench.spec import ModelSpec, unknown

MEASURED = "measured"
LAUNCHES_A_LAYER = 146  # counted, eager: 284 of 2 layers, 1745 of 12, from 1 to 64 members alike
LAUNCH_S = 5e-6  # assumed, of PyTorch's dispatch; it has been measured on no device here
FOUNDRY = (
    "llm-foundry at 061f2c7, scripts/train/benchmarking/README.md: MPT, bfloat16, one device of 8"
)


@dataclass(frozen=True)
class Row:
    """What was measured: the shape of a model, and the tokens a second of one device."""

    width: int
    depth: int
    tokens_per_s: float
    source: str
    context: int = 2048
    vocab_size: int = 50368
    ours: bool = False

    @property
    def flops_per_s(self) -> float:
        """The rate of its products, counted as everywhere here."""
        shape = ModelSpec(
            width=self.width,
            depth=self.depth,
            head_size=64,
            context=self.context,
            vocab_size=self.vocab_size,
            tied=True,
        )
        return self.tokens_per_s * per_token(shape)


@dataclass(frozen=True)
class Device:
    """A device by its data sheet: memory in GB, bandwidth in bytes/s, and peaks of dense products
    in FLOP/s by precision. ``rows`` are what was measured on it, by ascending width; a device
    without has those of ``like``, which has the same cores."""

    memory_gb: float
    bytes_per_s: float
    peaks: Mapping[str, float]
    source: str
    rows: Sequence[Row] = ()
    like: str = ""

    @property
    def measured(self) -> "Device":
        """The one whose rows count."""
        return self if self.rows else DEVICES[self.like]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its numbers are from."""
        rows = dict.fromkeys(
            f"measured by mugrow: {row.source}" if row.ours else row.source
            for row in self.measured.rows
        )
        return (self.source, *rows)

    def share(self, width: int) -> float:
        """Of the peak in bfloat16, by the width of a model."""
        measured = self.measured
        known = [
            (math.log2(row.width), row.flops_per_s / measured.peaks["bf16"])
            for row in measured.rows
        ]
        at = min(max(math.log2(width), known[0][0]), known[-1][0])
        for (low, a), (high, b) in itertools.pairwise(known):
            if at <= high:
                return a + (b - a) * (at - low) / (high - low)
        return known[-1][1]

    def step_s(self, model: ModelSpec, sequences: int, members: int, precision: str) -> float:
        """Seconds of a step of a stack."""
        tokens = members * sequences * model.context
        products = tokens * per_token(model) / (self.share(model.width) * self.peaks[precision])
        memory = moved_bytes(model, sequences, members) / self.bytes_per_s
        return max(products, memory, LAUNCHES_A_LAYER * model.depth * LAUNCH_S)

    def tokens_per_s(self, model: ModelSpec, sequences: int, members: int, precision: str) -> float:
        """Of all members of a stack together."""
        step_s = self.step_s(model, sequences, members, precision)
        return members * sequences * model.context / step_s


def moved_bytes(model: ModelSpec, sequences: int, members: int) -> float:
    """What a step of a stack moves between memory and chip."""
    tokens = sequences * model.context
    activations = tokens * (4 * 34 * model.depth * model.width + 4 * 4 * model.vocab_rows)
    return members * (28.0 * count(model)[0] + activations)


# peaks of dense products in FLOP/s, which devices of the same cores share
A100 = {"bf16": 312e12, "tf32": 156e12, "float32": 19.5e12, "float64": 9.7e12}
H100 = {"bf16": 989e12, "tf32": 494e12, "float32": 67e12, "float64": 34e12}

DEVICES: Mapping[str, Device] = {
    "a100": Device(
        memory_gb=80,
        bytes_per_s=2.039e12,
        peaks=A100,
        source="NVIDIA A100 data sheet, 80 GB SXM",
        rows=(
            Row(768, 12, 142830, FOUNDRY),
            Row(1024, 24, 58782, FOUNDRY),
            Row(1536, 24, 32434, FOUNDRY),
            Row(2048, 24, 20513, FOUNDRY),
            Row(2560, 32, 10811, FOUNDRY),
            Row(4096, 32, 4641, FOUNDRY),
        ),
    ),
    "a100-40gb": Device(
        memory_gb=40,
        bytes_per_s=1.555e12,
        peaks=A100,
        source="NVIDIA A100 data sheet, 40 GB SXM",
        rows=(
            Row(768, 12, 136334, FOUNDRY),
            Row(1024, 24, 55995, FOUNDRY),
            Row(1536, 24, 30173, FOUNDRY),
            Row(2048, 24, 19271, FOUNDRY),
            Row(2560, 32, 10065, FOUNDRY),
            Row(4096, 32, 3679, FOUNDRY),
        ),
    ),
    "h100": Device(
        memory_gb=80,
        bytes_per_s=3.35e12,
        peaks=H100,
        source="NVIDIA H100 data sheet, SXM, without sparsity",
        rows=(
            Row(1536, 24, 63147, FOUNDRY),
            Row(2048, 24, 45455, FOUNDRY),
            Row(2560, 32, 27046, FOUNDRY, context=1024),
            Row(4096, 32, 10643, FOUNDRY),
        ),
    ),
    "h200": Device(
        memory_gb=141,
        bytes_per_s=4.8e12,
        peaks=H100,
        source="NVIDIA H200 data sheet, SXM, without sparsity; shares of the H100",
        like="h100",
    ),
}


def device_of(word: str) -> Device | None:
    """What ``--price`` names; ``None`` where this machine is to be timed. Raises ``UserError``."""
    if word == MEASURED:
        return None
    if word not in DEVICES:
        raise unknown("device of --price:", word, (*DEVICES, MEASURED))
    return DEVICES[word]


def word_of(name: str) -> str | None:
    """The device of the table that a driver calls by this name, as ``NVIDIA H100 80GB HBM3``."""
    lowered = name.lower()
    if "a100" in lowered and "40gb" in lowered:
        return "a100-40gb"
    return next((word for word in DEVICES if word in lowered), None)
