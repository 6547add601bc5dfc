"""``mugrow grow``: a stored model, grown outside any study."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from mugrow.bench.spec import Scalar, Start

ROUNDING = 1e-4  # of logits, whose weights are rounded to 6e-8


@dataclass(frozen=True)
class GrowCommand:
    """Grow a stored run and say what was preserved.

    RUN is a run's folder, STUDY/RUN_ID, a checkpoint.safetensors, or what `mugrow import` wrote.
    """

    source: Annotated[Positional[Path], arg(metavar="RUN")]
    out: Annotated[Path, arg(aliases=["-o"])]
    """The folder to write the grown checkpoint to."""
    method: str
    """A growth method, see `mugrow list methods`, or a Python file that defines `METHOD`."""
    width: int | None = None
    """The target's width; the source's by default."""
    depth: int | None = None
    """The target's depth; the source's by default."""
    head_size: int | None = None
    """The target's head size; the source's by default."""
    mlp_ratio: float | None = None
    """The target's MLP width over its width; the source's by default."""
    kv_heads: int | None = None
    """The target's heads of keys and values; the source's by default."""
    query_heads: int | None = None
    """The target's heads of queries, where they do not follow from its width."""
    mlp_units: int | None = None
    """The target's units of the MLP, where they do not follow from its width."""
    set: Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of the method to change."""
    optimizer: Literal["fresh", "carry"] = "fresh"
    """Whether Adam's moments are grown too."""
    noise: float = 0.0
    """Of the target's own initial weights, added to break the symmetry of copies."""
    seed: int | None = None
    """Draws what is random; the source's by default."""
    corpus: str | None = None
    """Where the source's corpus lies, for a method that learns; of an import, any text."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.sweeps.grow import grow

        start = Start(
            method=self.method,
            params=_params(chain(*self.set)),
            optimizer=self.optimizer,
            noise=self.noise,
        )
        result = grow(
            self.source,
            self.out,
            start,
            width=self.width,
            depth=self.depth,
            head_size=self.head_size,
            mlp_ratio=self.mlp_ratio,
            kv_heads=self.kv_heads,
            query_heads=self.query_heads,
            mlp_units=self.mlp_units,
            seed=self.seed,
            corpus=self.corpus,
        )
        if self.json:
            print(json.dumps(asdict(result), indent=2))
            return
        claim = "exactly the source's" if result.breaks is None else f"changed: {result.breaks}"
        print(f"{result.source_shape} to {result.target_shape} by {result.method}: {self.out}")
        print(f"preserves: {result.preserves}")
        print(f"logits here: {claim}")
        print(f"measured: relative difference {result.logit_error:.2g}, weights in float32")
        if result.breaks is None and not result.logit_error < ROUNDING:
            print("caution: that is more than rounding; what the method says is not so here")
        print(f"optimizer state: {result.optimizer}")


def _params(assignments: Iterable[str]) -> tuple[tuple[str, Scalar], ...]:
    from mugrow.bench.entries import assigned, scalar

    given = assigned(assignments, "--set takes PARAMETER=VALUE")
    return tuple(sorted((key, scalar(value)) for key, value in given.items()))
