"""``config.json``, read so that nothing it says is passed over in silence.

A value is asked for by name, with the default that ``transformers`` has. What a model of ours
cannot be is asked for with ``only``: any other value is refused by its name.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from mugrow.bench.spec import ModelSpec, UserError

ACTIVATIONS = {  # their names of ours
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "swiglu",
    "swish": "swiglu",
}
PlainMlp = Literal["gelu", "gelu_tanh", "relu"]  # one without a gate
PLAIN_MLPS: tuple[PlainMlp, ...] = get_args(PlainMlp)


class Config:
    """The values of a ``config.json``; ``where`` is what a mistake is reported of."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def get(self, name: str, default: Any = None) -> Any:
        """A value, the default where there is none."""
        return self.values.get(name, default)

    def number(self, name: str, default: float | None = None) -> float:
        """A number. Raises ``UserError`` for anything else."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{self.where}: {name} must be a number, not {value!r}")
        return value

    def size(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number, not below ``least``. Raises ``UserError`` for anything else."""
        value = self.number(name, default)
        if value % 1 or value < least:
            raise UserError(
                f"{self.where}: {name} must be a whole number, at least {least}, not {value!r}"
            )
        return int(value)

    def size_if_any(self, name: str, default: int | None = None) -> int | None:
        """A whole number above 0, ``None`` where null stands for it. Raises as ``size`` does."""
        return None if self.get(name, default) is None else self.size(name, default)

    def flag(self, name: str, default: bool) -> bool:
        """True or false. Raises ``UserError`` for anything else, which "false" would be."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise UserError(f"{self.where}: {name} must be true or false, not {value!r}")
        return value

    def words(self, name: str) -> dict[str, Any]:
        """An object within, empty where there is none. Raises ``UserError`` for anything else."""
        value = self.get(name) or {}
        if not isinstance(value, dict):
            raise UserError(f"{self.where}: {name} must be an object, not {value!r}")
        return value

    def names(self, name: str) -> list[Any]:
        """A list within, empty where there is none. Raises ``UserError`` for anything else."""
        value = self.get(name) or []
        if not isinstance(value, list):
            raise UserError(f"{self.where}: {name} must be a list, not {value!r}")
        return value

    def only(self, name: str, value: Any, *others: Any) -> None:
        """Raise ``UserError`` unless it is the one value, the default, or one of the others."""
        found = self.get(name, value)
        if found not in (value, *others):
            raise UserError(f"{self.where}: {name}={found!r} cannot be expressed, only {value!r}")

    def activation(self, name: str, default: str, *known: str) -> str:
        """Our name of an activation, one of ``known``."""
        found = str(self.get(name, default))
        if ACTIVATIONS.get(found) not in known:
            theirs = [word for word, ours in ACTIVATIONS.items() if ours in known]
            raise UserError(
                f"{self.where}: {name}={found!r} cannot be expressed, only {' or '.join(theirs)}"
            )
        return ACTIVATIONS[found]

    def plain_mlp(self, name: str, default: str) -> PlainMlp:
        """Our name of the activation of an MLP without a gate."""
        return self.activation(name, default, *PLAIN_MLPS)  # type: ignore[return-value]  # of these


def rotary(config: Config, share: float = 1.0) -> dict[str, Any]:
    """Base, scaling and share, from ``rope_parameters`` or from the words older files have."""
    new, old = config.words("rope_parameters"), config.words("rope_scaling")
    if any(isinstance(value, dict) for value in new.values()):
        raise UserError(f"{config.where}: rope_parameters by layer cannot be expressed")
    given = Config({**config.values, **old, **new}, config.where)
    base = given.number("rope_theta", given.get("rotary_emb_base", 10_000.0))
    share = given.number("partial_rotary_factor", given.get("rotary_pct", share))
    kind = given.get("rope_type", given.get("type", "default"))
    scaling = "none"
    if kind == "linear":
        scaling = f"linear:factor={given.number('factor'):g}"
    elif kind == "llama3":
        low, high = given.number("low_freq_factor"), given.number("high_freq_factor")
        context = given.number("original_max_position_embeddings")
        scaling = (
            f"llama3:factor={given.number('factor'):g}:low={low:g}:high={high:g}"
            f":context={context:.0f}"
        )
    elif kind != "default":
        raise UserError(
            f"{config.where}: rope_scaling {kind!r} cannot be expressed, only linear or llama3"
        )
    return {"rope_theta": base, "rope_scaling": scaling, "rotary_fraction": share}


def rotary_config(spec: ModelSpec) -> dict[str, Any]:
    """``rope_theta`` and ``rope_scaling`` of a model, in the words that all versions read."""
    name, *given = spec.rope_scaling.split(":")
    values = {key: float(value) for key, value in (one.split("=") for one in given)}
    scaling: dict[str, Any] | None = None
    if name == "linear":
        scaling = {"rope_type": name, **values}
    if name == "llama3":
        scaling = {
            "rope_type": name,
            "factor": values["factor"],
            "low_freq_factor": values["low"],
            "high_freq_factor": values["high"],
            "original_max_position_embeddings": int(values["context"]),
        }
    return {"rope_theta": spec.rope_theta, "rope_scaling": scaling}


def mlp_size(width: int, units: int) -> dict[str, Any]:
    """The MLP's size as the ratio to the width that grows with it, where there is one."""
    ratio = units / width
    exact = ratio * width == units and math.isfinite(ratio)
    return {"mlp_ratio": ratio} if exact else {"mlp_units": units}


def activation_name(spec: ModelSpec) -> str:
    """Their name of an activation."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == spec.mlp)
