"""Published checkpoints into this suite's form, to be grown, and back into theirs.

An imported model is a run's folder, of a run that was never made: ``Start(method="import")`` with
the family and the content's hash stands where a start would be, so what is grown from it has the
weights themselves in its identity. It has no rate that was tuned and no corpus; the scale of new
weights is the family's own (``initializer_range``).
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mugrow.bench import checkpoint, growth
from mugrow.bench.checkpoints import family
from mugrow.bench.checkpoints.config import ACTIVATIONS
from mugrow.bench.checkpoints.family import Family
from mugrow.bench.checkpoints.lineage import (
    BESIDE,
    LINEAGE,
    Step,
    new_folder,
    read_lineage,
    save,
)
from mugrow.bench.checkpoints.reading import (
    DTYPES,
    content_sha256,
    family_for,
    folded,
    read_weights,
    spec_of,
    their_tensors,
)
from mugrow.bench.checkpoints.source import WEIGHTS, Published, opened, read_json
from mugrow.bench.checkpoints.vocabulary import vocabulary
from mugrow.bench.checksums import Damaged, sha256_of_file, write_sums
from mugrow.bench.model import Weights, count
from mugrow.bench.parametrization import rules_of
from mugrow.bench.record import write_json
from mugrow.bench.spec import (
    IMPORT,
    DataSpec,
    HyperSpec,
    ModelSpec,
    RunSpec,
    ScheduleSpec,
    Start,
    UserError,
    canonical_json,
    run_spec_from_json,
)
from mugrow.sweeps.grow import CHECKPOINT, find, growth_again

STALE = (  # of an imported config.json, what may no longer be so
    *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "auto_map"),
    *("rope_parameters", "rope_scaling", "layer_types", "quantization_config"),
)
NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


@dataclass(frozen=True)
class ImportedModel:
    """What was imported. ``sha256`` is of the weights; ``tokenizer`` the file that its tokenizer is
    in, ``None`` where none came with it; ``tokens`` how many that has, ``None`` where it does not
    say; ``rows`` how many the embedding has."""

    family: str
    run_id: str
    sha256: str
    parameters: int
    dtype: str
    context: int
    tokens: int | None
    rows: int
    tokenizer: str | None = None


@dataclass(frozen=True)
class ExportedModel:
    """What was exported: its family, how many parameters, in what dtype; ``folded`` says whether
    forward multipliers other than one are in the weights now."""

    family: str
    run_id: str
    parameters: int
    dtype: str
    folded: bool


def import_model(source: str | Path, out: str | Path) -> ImportedModel:
    """Read a published checkpoint and write it to the new folder ``out``, to be grown.

    ``source`` is a folder with ``config.json`` and safetensors, ``hf:NAME`` or a ``.gguf`` file.
    The weights keep their dtype. Raises ``UserError``, with nothing written, for what cannot be
    found, read or expressed.

    >>> import mugrow
    >>> mugrow.import_model("hf:HuggingFaceTB/SmolLM2-135M", "smol").family  # doctest: +SKIP
    'llama'
    """
    published = opened(str(source))
    one, found = spec_of(published)
    tokenizer, tokens = vocabulary(published.beside, published.where)
    if tokenizer is None and published.tokens is not None:
        tokenizer, tokens = Path(source).name, published.tokens
    model = _padded(found, tokens, published)
    with new_folder(Path(out)) as folder:
        weights = read_weights(published, one, model)
        content = content_sha256(weights)
        run = _run(published, one, model, content)
        dtype = _dtype(weights)
        _write_beside(folder / BESIDE, published)
        step = {
            "step": "import",
            "source": published.where if published.where.startswith("hf:") else Path(source).name,
            "family": one.name,
            "sha256": content,
            "dtype": dtype,
            "run_id": run.run_id,
        }
        write_json(folder / LINEAGE, [step])
        write_json(folder / "spec.json", asdict(run))
        sums = {CHECKPOINT: save(folder / CHECKPOINT, weights, {"spec": canonical_json(run)})}
        write_sums(folder, sums | {"spec.json": sha256_of_file(folder / "spec.json")})
    return ImportedModel(
        family=one.name,
        run_id=run.run_id,
        sha256=content,
        parameters=count(model)[0],
        dtype=dtype,
        context=model.context,
        tokens=tokens,
        rows=model.vocab_rows,
        tokenizer=tokenizer,
    )


def _padded(model: ModelSpec, tokens: int | None, published: Published) -> ModelSpec:
    """The model with as many tokens as its tokenizer has."""
    if tokens is None or tokens == model.vocab_size:
        return model
    if tokens > model.vocab_size:
        raise UserError(
            f"{published.where}: the tokenizer has {tokens} tokens, and config.json vocab_size "
            f"{model.vocab_size}"
        )
    return ModelSpec(**(vars(model) | {"vocab_size": tokens, "padded_vocab": model.vocab_size}))


def _run(published: Published, one: Family, model: ModelSpec, sha256: str) -> RunSpec:
    """The run that an imported model stands for; of no rate, batch or corpus."""
    std = published.config.positive(one.init_std, 0.02)
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=0.0, init_std=std),
        schedule=ScheduleSpec(kind="constant", warmup=0.0),
        data=DataSpec(corpus="imported", corpus_sha256=sha256, tokenizer="imported"),
        batch_sequences=1,
        steps=1,
        seed=0,
        data_seed=0,
        start=Start(method=IMPORT, params=(("family", one.name), ("sha256", sha256))),
    )


def _dtype(weights: Weights) -> str:
    """The dtype of most of the weights."""
    sizes: dict[str, int] = {}
    for tensor in weights.values():
        name = str(tensor.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + tensor.numel()
    return max(sizes, key=lambda name: sizes[name])


def _write_beside(folder: Path, published: Published) -> None:
    folder.mkdir()
    for name, text in published.beside.items():
        (folder / name).write_bytes(text)
    write_json(folder / "config.json", published.config.values)


def export_model(
    source: str | Path, out: str | Path, *, family_name: str | None = None, dtype: str | None = None
) -> ExportedModel:
    """Write a stored model to the new folder ``out``, as ``transformers`` loads it.

    ``source`` is a run's folder, STUDY/RUN_ID, a checkpoint, or what was imported or grown.
    ``family_name`` is a family's ``model_type``, by default that of the import, or else the first
    that can be this model; ``dtype`` is ``float32``, ``float16``, ``bfloat16`` or ``float64``, by
    default as it is stored. Raises ``UserError``, with nothing written, for what cannot be found
    or be so.

    >>> import mugrow
    >>> mugrow.export_model("smol", "smol-hf").family  # doctest: +SKIP
    'llama'
    """
    if dtype is not None and dtype not in NAMES:
        raise UserError(f"dtype {dtype!r} is not one of {', '.join(NAMES)}")
    path = find(Path(source))
    run, weights = _stored(path)
    origin, since = _origin(path.parent, run)
    model, beside = run.model, origin / BESIDE
    original = read_json(beside / "config.json") if beside.is_dir() else {}
    one = _family(model, family_name or original.get("model_type"))
    multipliers = rules_of(run.parametrization, model, run.base).multipliers
    plain = folded(weights, model, multipliers)
    tensors = _cast(their_tensors(plain, one, model), dtype)
    lineage = [*read_lineage(origin), *since]
    stored = _dtype(tensors)
    config = _config(one, model, original, stored)
    with new_folder(Path(out)) as folder:
        for file in sorted(beside.iterdir()) if beside.is_dir() else ():
            if file.name != "config.json":
                (folder / file.name).write_bytes(file.read_bytes())
        write_json(folder / "config.json", config)
        card = _card(one, run, lineage, stored)
        (folder / "README.md").write_text(card, encoding="utf-8")
        about = {"format": "pt", "mugrow.lineage": json.dumps(lineage, sort_keys=True)}
        save(folder / WEIGHTS, tensors, about)
    changed = any(plain[name] is not weights[name] for name in weights)
    return ExportedModel(one.name, run.run_id, count(model)[0], stored, changed)


@cache
def broken_torchvision() -> str | None:
    """Why ``transformers``, which imports torchvision wherever that is installed, cannot be
    imported here, in one line; ``None`` where it can, or is not here.

    The build of torchvision on PyPI beside a CPU build of torch is such a one.
    """
    if find_spec("transformers") is None or find_spec("torchvision") is None:
        return None
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError of a missing operator, ImportError, OSError
        return (
            "transformers cannot be imported here: torchvision, which it imports, is not of the "
            f"build of torch ({str(error).splitlines()[0]}); pip uninstall torchvision"
        )
    return None


def _stored(path: Path) -> tuple[RunSpec, Weights]:
    try:
        weights, metadata = checkpoint.load(path)
    except Damaged as error:
        raise UserError(str(error)) from error
    if "spec" not in metadata:
        raise UserError(f"{path} does not say of which model it is: not a mugrow checkpoint")
    return run_spec_from_json(metadata["spec"]), weights


def _origin(home: Path, run: RunSpec) -> tuple[Path, list[Step]]:
    """The folder of the import that a run began with, and the runs since. Of a run that began with
    none its own folder, and the run alone."""
    folder, above, since = home, run, list[Step]()
    while not (folder / LINEAGE).is_file():
        since.insert(0, _trained(above, folder))
        folder = folder.parent / (above.start.source_run_id or "")
        if above.start.source_run_id is None or not (folder / CHECKPOINT).is_file():
            return home, since[-1:]
        above = run_spec_from_json(checkpoint.metadata(folder / CHECKPOINT)["spec"])
    return folder, since


def _family(model: ModelSpec, name: str | None) -> Family:
    if name is None:
        return family_for(model)
    one = family(name)
    one.check(model)
    return one


def _cast(tensors: Weights, dtype: str | None) -> Weights:
    """In that dtype. Raises ``UserError`` for numbers that are beyond it."""
    if dtype is None:
        return tensors
    cast = {name: tensor.to(NAMES[dtype]) for name, tensor in tensors.items()}
    for name, tensor in cast.items():
        if not tensor.isfinite().all():
            largest = float(tensors[name].abs().max())
            raise UserError(f"{name} holds {largest:g}, which is beyond {dtype}; take bfloat16")
    return cast


def _config(one: Family, model: ModelSpec, original: dict[str, Any], dtype: str) -> dict[str, Any]:
    """``config.json``: what the import said that still holds, and what the model is now."""
    same = original if original.get("model_type") == one.name else {}
    kept = {name: value for name, value in same.items() if name not in STALE}
    said = one.config(model)
    for name in ("hidden_act", "activation_function"):  # two words may mean one activation
        if name in kept and ACTIVATIONS.get(kept[name]) == ACTIVATIONS.get(str(said.get(name))):
            said[name] = kept[name]
    about = {"architectures": [one.architecture], "model_type": one.name, "torch_dtype": dtype}
    return kept | said | about


def _trained(run: RunSpec, home: Path) -> Step:
    """The step of a run of a study, in the folder ``home``: what its spec knows, and what its
    growth preserved, measured where its source's checkpoint is."""
    step: dict[str, Any] = {"step": "train", "run_id": run.run_id, "steps": run.train_steps}
    if run.start.source_run_id is None:
        return step
    entry = growth.method(run.start.method)
    step |= {"method": entry.name, "source_run_id": run.start.source_run_id}
    step["preserves"] = entry.preserves
    source = home.parent / run.start.source_run_id / CHECKPOINT
    if not source.is_file():
        return step | {"unmeasured": "its source's checkpoint is not here"}
    try:
        breaks, error = growth_again(run, source)
    except UserError as reason:
        return step | {"unmeasured": str(reason)}
    return step | {"breaks": breaks, "logit_error": error}


def _card(one: Family, run: RunSpec, lineage: list[Step], dtype: str) -> str:
    """The model card: what it is, and how it came about."""
    model = run.model
    lines = [
        "---",
        "library_name: transformers",
        "tags: [mugrow]",
        "---",
        f"# A {one.name} of {count(model)[0]:,} parameters",
        "",
        f"Width {model.width}, {model.depth} blocks, {model.heads} heads of {model.head_size} "
        f"({model.groups} of keys and values), {dtype}. Written by mugrow; run `{run.run_id}`.",
        "",
        "## Lineage",
        "",
        *(f"{number}. {_in_words(step)}" for number, step in enumerate(lineage, start=1)),
        "",
    ]
    return "\n".join(lines)


def _in_words(step: Step) -> str:
    if step["step"] == "import":
        return (
            f"Imported from `{step['source']}`, a {step['family']} in {step['dtype']} "
            f"(sha256 of the weights {step['sha256'][:16]}…)."
        )
    if step["step"] == "grow":
        return (
            f"Grown by `{step['method']}` from {step['source_shape']} to {step['target_shape']}. "
            f"The method preserves {step['preserves']}; {_measured(step)}."
        )
    words = f"Trained for {step['steps']} steps (run `{step['run_id']}`)"
    if "method" in step:
        words += (
            f", from run `{step['source_run_id']}` grown by `{step['method']}`. The method "
            f"preserves {step['preserves']}; {_measured(step)}"
        )
    return words + "."


def _measured(step: Step) -> str:
    """What a growth was found to preserve, before any training."""
    if "unmeasured" in step:
        return f"its error was not measured: {step['unmeasured']}"
    kept = "exactly the source's" if step["breaks"] is None else f"changed: {step['breaks']}"
    return (
        f"here, before any training, the logits are {kept}, measured relative difference "
        f"{step['logit_error']:.2g}"
    )
