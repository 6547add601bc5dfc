"""From a published checkpoint to a ``ModelSpec`` and its weights, and back.

Every tensor of the file must be one of the family's, of the shape that ``config.json`` says, and
every tensor of the family must be there: nothing is made up and nothing left over. A tensor is read
when it is needed and let go when its parts are copied, so memory holds the model once, and one
tensor beside it.

The way back folds the forward multipliers of a parametrization into weights, since ``transformers``
has none: exact where they are one, or a power of two.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from mugrow.bench.checkpoints import FAMILIES, family
from mugrow.bench.checkpoints.family import Family
from mugrow.bench.checkpoints.source import Found, Published
from mugrow.bench.growth.zero_pad import on_scores
from mugrow.bench.model import Multipliers, Weights, parameters
from mugrow.bench.spec import ModelSpec, UserError

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def spec_of(published: Published) -> tuple[Family, ModelSpec]:
    """Its family and shape. Raises ``UserError`` for what cannot be expressed, of that what
    ``transformers`` reads of every family: attention that looks ahead, layers that differ, weights
    in a file of another name."""
    config = published.config
    if config.get("quantization_config") is not None:
        raise UserError(f"{config.where}: quantization_config cannot be expressed")
    config.only("is_causal", True)
    config.only("per_layer_config", None, {})
    config.only("transformers_weights", None)
    kind = config.get("model_type")
    if kind is None:
        raise UserError(f"{config.where} does not say its model_type")
    one = family(str(kind))
    try:
        return one, one.spec(config)
    except UserError as error:
        known = str(error).startswith(config.where)
        raise error if known else UserError(f"{config.where}: {error}") from error


def read_weights(published: Published, one: Family, spec: ModelSpec) -> Weights:
    """Our tensors by name, in the dtype of the file. Raises ``UserError``."""
    names = [found.name for found in published.tensors()]
    if (blocks := one.blocks(names)) != spec.depth:
        raise UserError(
            f"{published.config.where}: {one.depth}={spec.depth}, and the tensors are of {blocks} "
            "blocks"
        )
    bare = not any(name.startswith(one.prefix) for name in names)
    pieces, weights, head = one.pieces(spec), dict[str, Tensor](), None
    for found in published.tensors():
        name = found.name
        if bare and name != one.head:
            name = one.prefix + name
        if one.is_buffer(name) and name not in pieces:
            continue
        if spec.tied and name == one.head:
            head = _read(found, published)
            continue
        if name not in pieces:
            raise UserError(
                f"{published.where}: tensor {found.name} is none that a {one.name} of this "
                "config.json has"
            )
        piece = pieces.pop(name)
        if found.shape != (shape := one.shape(piece, spec)):
            raise UserError(
                f"{published.where}: {found.name} has shape {found.shape}, and by config.json "
                f"{shape}"
            )
        for ours, part in zip(piece.ours, piece.split(_read(found, published), spec), strict=True):
            weights[ours] = part.clone(memory_format=torch.contiguous_format)
    if pieces:
        raise UserError(
            f"{published.where}: tensor {next(iter(pieces))} is missing, {len(pieces)} in all"
        )
    if head is not None and not torch.equal(head, weights["embed.weight"]):
        raise UserError(
            f"{published.where}: {one.head} is not the embedding, and config.json says "
            "tie_word_embeddings=True"
        )
    return {name: weights[name] for name in parameters(spec)}


def _read(found: Found, published: Published) -> Tensor:
    tensor = found.read()
    if tensor.dtype not in DTYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(f"{published.where}: {found.name} is {kind}, which cannot be expressed")
    if not tensor.isfinite().all():
        raise UserError(f"{published.where}: {found.name} holds numbers that are not finite")
    return tensor


def family_for(spec: ModelSpec) -> Family:
    """The first family that can be this model. Raises ``UserError`` with the nearest's reason."""
    reasons = []
    for one in FAMILIES.values():
        try:
            one.check(spec)
        except UserError as error:
            reasons.append(str(error))
            continue
        return one
    raise UserError(f"no family has all that this model has: {'; '.join(reasons)}")


def their_tensors(weights: Weights, one: Family, spec: ModelSpec) -> Weights:
    """The family's tensors by their full names."""
    return {
        name: piece.join(tuple(weights[ours] for ours in piece.ours), spec).contiguous()
        for name, piece in one.pieces(spec).items()
    }


def folded(weights: Weights, spec: ModelSpec, multipliers: Multipliers) -> Weights:
    """Weights that do without multipliers what these do with them."""
    return {
        name: tensor * factor if (factor := _factor(name, spec, multipliers)) != 1 else tensor
        for name, tensor in weights.items()
    }


def _factor(name: str, spec: ModelSpec, multipliers: Multipliers) -> float:
    if name in (("norm.gain", "norm.bias") if spec.tied else ("head.weight",)):
        return multipliers.output
    if on_scores(name, spec):
        return multipliers.attention
    layer = name.split(".")[-2]
    branches = {"o": multipliers.residual_attention, "down": multipliers.residual_mlp}
    return branches.get(layer, 1.0)


def content_sha256(weights: Mapping[str, Tensor]) -> str:
    """Of all tensors with their names, dtypes and shapes: the identity of what was imported."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
