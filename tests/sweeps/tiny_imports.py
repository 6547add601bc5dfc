"""A tiny imported checkpoint, as `mugrow import` leaves one, made without transformers: LLaMA of
three blocks with grouped keys and values, and a tokenizer of single letters."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mugrow.bench import checkpoint
from mugrow.bench.checks.cases import random_weights
from mugrow.bench.model import Weights
from mugrow.bench.spec import (
    DataSpec,
    HyperSpec,
    ModelSpec,
    RunSpec,
    ScheduleSpec,
    canonical_json,
    llama,
)
from mugrow.sweeps.published import export_model, import_model

MODEL = llama(
    width=16, depth=3, head_size=8, context=64, vocab_size=97, kv_heads=1, tied=True, mlp_ratio=2.0
)
LETTERS = 96  # and the end of a document


def write_tokenizer(path: Path) -> None:
    """A token a printable ASCII character, and one that ends a document."""
    words = {chr(code): code - 32 for code in range(33, 127)} | {"Ġ": 0, "Ċ": 95}
    tokenizer = Tokenizer(models.BPE(words | {"<|endoftext|>": LETTERS}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(path))


def written_run(
    path: Path, weights: Weights, model: ModelSpec, parametrization: str = "sp",
    base: ModelSpec | None = None,
) -> RunSpec:  # fmt: skip
    """Write a checkpoint with the spec of a run that would leave it, which is returned."""
    run = RunSpec(
        model=model,
        base=base or model,
        parametrization=parametrization,
        hyper=HyperSpec(lr=0.01, init_std=0.02),
        schedule=ScheduleSpec(),
        data=DataSpec(corpus="stdlib", corpus_sha256=""),
        batch_sequences=1,
        steps=1,
        seed=0,
        data_seed=0,
    )
    checkpoint.save(path, weights, {"spec": canonical_json(run)})
    return run


def imported(folder: Path, model: ModelSpec = MODEL, seed: int = 0) -> Path:
    """The folder ``folder / "tiny"`` of an import of random weights."""
    own = folder / "own" / "checkpoint.safetensors"
    written_run(own, random_weights(model, seed=seed), model)
    export_model(own, folder / "hf")
    write_tokenizer(folder / "hf" / "tokenizer.json")
    import_model(folder / "hf", folder / "tiny")
    return folder / "tiny"
