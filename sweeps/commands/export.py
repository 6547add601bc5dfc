"""``mugrow export``: a stored model, as transformers loads it."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class ExportCommand:
    """Export a stored model as a folder that transformers loads.

    RUN is a run's folder, STUDY/RUN_ID, a checkpoint.safetensors, or the folder of what was
    imported or grown.
    """

    source: Annotated[Positional[Path], arg(metavar="RUN")]
    out: Annotated[Path, arg(aliases=["-o"])]
    """The folder to write to."""
    family: str | None = None
    """A model_type; by default the import's, or else the first that can be this model."""
    dtype: Literal["float32", "float16", "bfloat16", "float64"] | None = None
    """Of the tensors; as they are stored by default."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.sweeps.published import broken_torchvision, export_model

        result = export_model(self.source, self.out, family_name=self.family, dtype=self.dtype)
        if reason := broken_torchvision():
            print(f"caution: {reason}", file=sys.stderr)
        if self.json:
            print(json.dumps(asdict(result), indent=2))
            return
        print(f"{result.family} of {result.parameters:,} parameters in {result.dtype}: {self.out}")
        if result.folded:
            print("forward multipliers are folded into the weights")
