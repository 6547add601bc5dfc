"""Evaluations: what trained models are worth together, or changed, without training any further.

An evaluation is a pure function of the checkpoints of one or several runs and of the validation
windows of a corpus, which need not be the one they were trained on; its result is a few numbers by
name. One kind a file in this folder, or a plug-in: an entry point of the group
``mugrow.evaluations`` whose value is an ``Evaluation``.

Losses are means over all validation tokens, in nats per token.
"""

import hashlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mugrow.bench.cross_entropy import cross_entropy
from mugrow.bench.data.batches import TokenData, val_windows
from mugrow.bench.entries import Registry, keyword_params
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import DataSpec, Scalar, UserError, sorted_json
from mugrow.bench.start import read_source

AT_ONCE = 64  # windows in one forward pass


class Model(NamedTuple):
    """A checkpoint that can be run: the decoder, and its weights by name."""

    decoder: Decoder
    weights: Weights

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Shape ``(B, T, V)``."""
        return self.decoder(self.weights, tokens_BT)


@dataclass(frozen=True)
class Evaluation:
    """One kind. ``evaluate(models, windows, **params)`` takes as many models as ``models`` names
    and windows ``(W, T + 1)``; its keyword-only arguments are its parameters."""

    name: str
    summary: str
    paper: str
    models: tuple[str, ...]
    evaluate: Callable[..., dict[str, float]]

    @property
    def params(self) -> dict[str, Scalar]:
        """Its own parameters and their defaults."""
        return keyword_params(self.evaluate)


REGISTRY = Registry(
    noun="evaluation",
    type=Evaluation,
    package=__name__,
    constant="EVALUATION",
    builtin=tuple(sorted(module.name for module in pkgutil.iter_modules(__path__))),
    group="mugrow.evaluations",
)
names, evaluation = REGISTRY.names, REGISTRY.get


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """What decides an evaluation's numbers: its kind and parameters, the runs in the order that the
    kind names its models, and the corpus."""

    kind: str
    run_ids: tuple[str, ...]
    data: DataSpec
    params: tuple[tuple[str, Scalar], ...] = ()

    @property
    def evaluation_id(self) -> str:
        """16 hex digits, of a text in which the kind is called ``how``, as in the table, and of
        what an evaluation reads: ``val_tokens``."""
        fields = asdict(self)
        fields["how"] = fields.pop("kind")
        del fields["data"]["final_val_tokens"]
        return hashlib.sha256(sorted_json(fields).encode()).hexdigest()[:16]


@torch.no_grad()
def evaluate(spec: EvaluationSpec, pool: Path, data: TokenData) -> dict[str, float]:
    """The numbers of an evaluation, from the checkpoints in ``pool``. Raises ``UserError`` where
    models do not go together, and ``FileNotFoundError`` and ``Damaged`` for missing checkpoints."""
    entry = evaluation(spec.kind)
    assert len(spec.run_ids) == len(entry.models), entry.models
    models = [_read(pool / "runs" / run_id) for run_id in spec.run_ids]
    context = min(model.decoder.spec.context for model in models)
    windows = torch.from_numpy(val_windows(data.val, context, spec.data.val_tokens))
    return entry.evaluate(models, windows, **dict(spec.params))


def _read(home: Path) -> Model:
    path = home / "checkpoint.safetensors"
    source, run = read_source(path, "float32", carry=False, run_id=home.name)
    rules = rules_of(run.parametrization, run.model, run.base)
    return Model(Decoder(run.model, rules.multipliers), source.weights)


def loss_of(logits: Callable[[Tensor], Tensor], windows: Tensor) -> float:
    """Mean loss over the targets of ``windows`` of whatever gives logits ``(B, T, V)``."""
    sums = [
        float(cross_entropy(logits(part[:, :-1])[None], part[None, :, 1:])) * len(part)
        for part in torch.split(windows, AT_ONCE)
    ]
    return sum(sums) / len(windows)


def same_shape(models: Sequence[Model]) -> None:
    """Raise ``UserError`` unless all models are of one shape."""
    first, *others = (model.decoder for model in models)
    for other in others:
        if other != first:
            raise UserError(f"models of different shapes cannot share weights: {other.spec}")


def matrices(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The hidden matrices, which compression and spectra are about."""
    return ((name, w) for name, w in weights.items() if name.startswith("blocks") and w.ndim == 2)


def changed(model: Model, weights: Mapping[str, Tensor]) -> Model:
    """The model with some of its weights replaced."""
    return model._replace(weights={**model.weights, **weights})
