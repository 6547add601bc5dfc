"""``config.json``, read so that nothing it says is passed over in silence.

A value is asked for by name, with the default that ``transformers`` has. What a model of ours
cannot be is asked for with ``only``: any other value is refused by its name.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from mugrow.bench.errors import UserError
from mugrow.bench.model_spec import LARGEST_SIZE, ModelSpec

ACTIVATIONS = {  # their names of ours
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
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

    def positive(self, name: str, default: float | None = None) -> float:
        """A finite number above 0. Raises ``UserError`` for anything else, which NaN would be."""
        value = self.number(name, default)
        if not 0 < value < math.inf:
            raise UserError(f"{self.where}: {name} must be a finite number above 0, not {value!r}")
        return value

    def size(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number from ``least`` to ``LARGEST_SIZE``. Raises ``UserError`` for anything
        else."""
        value = self.number(name, default)
        if not least <= value <= LARGEST_SIZE or value % 1:
            raise UserError(
                f"{self.where}: {name} must be a whole number from {least} to {LARGEST_SIZE}, not "
                f"{value!r}"
            )
        return int(value)

    def head_size(
        self, width: str, heads: str, defaults: tuple[int | None, int | None] = (None, None)
    ) -> int:
        """The size of a head, by the names of the width and the number of heads. Raises
        ``UserError`` where the one is no multiple of the other."""
        D, H = (self.size(name, size) for name, size in zip((width, heads), defaults, strict=True))
        if D % H:
            raise UserError(f"{self.where}: {width} {D} is not a multiple of {heads} {H}")
        return D // H

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


def rotary(config: Config, shares: bool = False) -> dict[str, Any]:
    """Base, scaling and share, from ``rope_parameters`` or from the words older files have. Without
    ``shares`` a family turns all of a head, whatever its file says, so anything else is refused."""
    given = _rotary_words(config)
    both = Config({**config.values, **given.values}, config.where)
    share = 1.0
    if shares:
        share = both.positive("partial_rotary_factor", 1.0)
        if share > 1:
            raise UserError(f"{config.where}: partial_rotary_factor is at most 1, not {share!r}")
    else:
        both.only("partial_rotary_factor", 1, None)
    base = both.positive("rope_theta", 10_000.0)
    return {"rope_theta": base, "rope_scaling": _scaling(given, both), "rotary_fraction": share}


def _rotary_words(config: Config) -> Config:
    """What a file says of rotary positions in one place: ``rope_parameters``, or ``rope_scaling``
    of older files, of which ``transformers`` would take the second. Raises ``UserError`` where both
    are there and differ, or are not the same for all layers."""
    new, old = (
        {"rope_type" if key == "type" and "rope_type" not in words else key: value
         for key, value in words.items()}
        for words in (config.words("rope_parameters"), config.words("rope_scaling"))
    )  # fmt: skip
    if any(isinstance(value, dict) for value in (*new.values(), *old.values())):
        raise UserError(f"{config.where}: rope_parameters by layer cannot be expressed")
    if new and old and new != old:
        raise UserError(f"{config.where}: rope_scaling contradicts rope_parameters")
    given = Config(old or new, config.where)
    for name in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        inside, outside = given.get(name), config.get(name)
        if inside is not None and outside is not None and inside != outside:
            raise UserError(
                f"{config.where}: {name}={outside!r} contradicts {inside!r} of "
                f"{'rope_scaling' if old else 'rope_parameters'}"
            )
    return given


def _scaling(given: Config, both: Config) -> str:
    """Our name of how frequencies are scaled: of what is ``given`` of them, and in ``both`` of what
    the file says elsewhere."""
    kind = given.get("rope_type", "default")
    if kind == "linear":
        return f"linear:factor={_digits(given.positive('factor'))}"
    if kind == "llama3":
        low, high = given.positive("low_freq_factor"), given.positive("high_freq_factor")
        if low >= high:
            raise UserError(
                f"{given.where}: low_freq_factor {low!r} must be below high_freq_factor {high!r}"
            )
        context = both.size("original_max_position_embeddings")
        factor = _digits(given.positive("factor"))
        return f"llama3:factor={factor}:low={_digits(low)}:high={_digits(high)}:context={context}"
    if kind != "default":
        raise UserError(
            f"{given.where}: rope_scaling {kind!r} cannot be expressed, only linear or llama3"
        )
    return "none"


def _digits(number: float) -> str:
    """A number in as few digits as give it back."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))


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
