"""An imported model where it is used: read, verified by its content, and run at a study's context.

The folder is one of `mugrow import`. Its run holds the sha256 of the weights, so whoever uses it
can tell that they are still those: a file that was replaced, checksums and all, is found out.

A study trains at a context of its own, at most the model's. Rotary positions do not know the
context; of learned ones the first rows are taken, which are all that a shorter text ever reads.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints.lineage import BESIDE
from mugrow.bench.checkpoints.reading import content_sha256
from mugrow.bench.checksums import Damaged
from mugrow.bench.model import Weights, parameters
from mugrow.bench.spec import IMPORT, ModelSpec, RunSpec, UserError, run_spec_from_json

CHECKPOINT = "checkpoint.safetensors"
OWN = "imported@"
"""What a tokenizer's name in a ``DataSpec`` begins with, if it is an imported model's own."""


@dataclass(frozen=True, eq=False)
class ImportedModel:
    """A model as it was imported: ``sha256`` is of its ``weights``, whose dtype is the file's."""

    model: ModelSpec
    init_std: float
    sha256: str
    weights: Weights


def read_imported(folder: Path) -> ImportedModel:
    """The model in a folder of `mugrow import`. Raises ``UserError`` for another folder, and for
    weights that are not those that were imported."""
    try:
        weights, metadata = checkpoint.load(folder / CHECKPOINT)
        run = run_spec_from_json(metadata.get("spec", ""))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"source {str(folder)!r} is no imported checkpoint; to make one: "
            f"mugrow import SOURCE -o {folder.name or 'FOLDER'}"
        ) from None
    except Damaged as error:
        raise UserError(f"source {str(folder)!r}: {error}") from error
    except UserError:
        raise UserError(
            f"source {str(folder)!r} is no imported checkpoint: it does not say of which model"
        ) from None
    sha256 = _content(run, folder)
    names = parameters(run.model)
    if weights.keys() != names.keys():
        different = sorted(weights.keys() ^ names.keys())[0]
        raise UserError(f"source {str(folder)!r} has other tensors than its model: {different}")
    weights = {name: weights[name] for name in names}
    if (found := content_sha256(weights)) != sha256:
        raise UserError(
            f"source {str(folder)!r} has changed since it was imported: the sha256 of its weights "
            f"is {found[:12]}…, not {sha256[:12]}…"
        )
    return ImportedModel(run.model, run.hyper.init_std, sha256, weights)


def _content(run: RunSpec, folder: Path) -> str:
    if run.start.method != IMPORT:
        raise UserError(
            f"source {str(folder)!r} is a run begun by {run.start.method!r}, not an imported "
            "checkpoint"
        )
    return str(dict(run.start.params)["sha256"])


def imported_weights(spec: RunSpec, folder: Path) -> Weights:
    """The weights that an imported run has, from the folder of its import. Raises ``UserError``
    where those are not the ones that the run names."""
    found = read_imported(folder)
    if (wanted := str(dict(spec.start.params)["sha256"])) != found.sha256:
        raise UserError(
            f"source {str(folder)!r} is another checkpoint than the one this run is about: the "
            f"sha256 of its weights is {found.sha256[:12]}…, not {wanted[:12]}…"
        )
    kind = getattr(torch, spec.dtype)
    return {name: tensor.to(kind) for name, tensor in at_context(found, spec.model).items()}


def at_context(found: ImportedModel, model: ModelSpec) -> Mapping[str, torch.Tensor]:
    """Its weights, of learned positions the first that the ``model`` has."""
    positions = found.weights.get("positions.weight")
    if positions is None:
        return found.weights
    first = positions[: model.context + model.position_offset].clone()
    return found.weights | {"positions.weight": first}


def tokenizer_file(folder: Path) -> Path:
    """The tokenizer that came with an imported model. Raises ``UserError`` where none did."""
    path = folder / BESIDE / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"source {str(folder)!r} came without a tokenizer.json, so no text can be read for it; "
            "give a corpus of its token ids"
        )
    return path


def tokenizer_name(path: Path) -> str:
    """What a run's identity holds of an own tokenizer: the beginning of its file's sha256."""
    return OWN + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
