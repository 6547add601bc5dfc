"""``mugrow import``: a published checkpoint, made ready to be grown."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class ImportCommand:
    """Import a published checkpoint, to be grown.

    SOURCE is a folder with config.json and safetensors, hf:NAME, or a .gguf file. Families: gpt2,
    llama (SmolLM2), mistral, qwen2, qwen3, gpt_neox (Pythia), opt.
    """

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    out: Annotated[Path, arg(aliases=["-o"])]
    """The folder to write the checkpoint to."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.sweeps.published import import_model

        result = import_model(self.source, self.out)
        if self.json:
            print(json.dumps(asdict(result), indent=2))
            return
        print(f"{result.family} of {result.parameters:,} parameters in {result.dtype}: {self.out}")
        if result.tokenizer is None:
            print(f"no tokenizer; the vocabulary has {result.rows} rows")
        elif result.tokens is None:
            print(
                f"tokenizer: {result.tokenizer} does not say how many tokens it has; they are not "
                f"compared with the {result.rows} rows"
            )
        else:
            print(f"tokenizer: {result.tokens} tokens in {result.rows} rows")
