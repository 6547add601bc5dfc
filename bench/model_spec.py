"""What a model is: its sizes, the choices by which families of decoders differ, and their limits.

Width is the one dial: head sizes stay and their number grows, as Yang et al. (arXiv 2203.03466)
scale, unless a published model says otherwise. A model that cannot be is refused when it is made.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from mugrow.bench.errors import UserError, unknown

LARGEST_SIZE = 2**24  # of a model's width, depth and so on: a typing error beyond


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A pre-norm decoder. GPT-2 flavour by default; see ``llama`` for the other.

    ``heads = width / head_size`` and ``mlp_width = mlp_ratio * width``: width is the one dial.
    With ``kv_heads`` attention is grouped-query (Ainslie et al., arXiv 2305.13245): so many heads
    of keys and values, each read by ``heads / kv_heads`` neighbouring heads of queries. 1 is
    multi-query (Shazeer, arXiv 1911.02150), ``None`` as many as there are heads, at every width.

    What published models have beside that, each off by default:

    - ``query_heads`` and ``mlp_units`` are numbers of their own, whatever the width (Qwen3).
    - ``rope_theta``, ``rope_scaling`` and ``rotary_fraction``: see ``mugrow.bench.rotary``.
    - ``position_offset`` rows of learned positions come before the first one's (OPT has 2).
    - ``qkv_bias``: biases on q, k and v or not, where that is not as ``bias`` says (Qwen2).
    - ``qk_norm``: every head's queries and keys pass an RMSNorm of one gain for all heads (Qwen3).
    - ``parallel``: attention and MLP read the same stream and are added to it together (GPT-NeoX).
    - ``window``: a token sees so many positions, itself included (Mistral). ``None``: all.
    - ``padded_vocab``: rows of embedding and head where they are more than the tokens. Logits are
      of all rows.
    """

    width: int
    depth: int
    head_size: int = 16
    mlp_ratio: float = 4.0
    context: int = 128
    vocab_size: int = 256
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    mlp: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu"
    positions: Literal["learned", "rope"] = "learned"
    tied: bool = False
    bias: bool = True
    kv_heads: int | None = None
    query_heads: int | None = None
    mlp_units: int | None = None
    rope_theta: float = 10_000.0
    rope_scaling: str = "none"
    rotary_fraction: float = 1.0
    position_offset: int = 0
    norm_eps: float = 1e-5
    qkv_bias: bool | None = None
    qk_norm: bool = False
    parallel: bool = False
    window: int | None = None
    padded_vocab: int | None = None

    def __post_init__(self) -> None:
        for name in (*SIZES, "query_heads", "mlp_units", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
            if value is not None and value > LARGEST_SIZE:
                raise UserError(f"{name} must be at most {LARGEST_SIZE}, not {value}")
        if self.query_heads is None and self.width % self.head_size:
            down = self.width // self.head_size * self.head_size
            near = (
                down if 2 * (self.width - down) < self.head_size and down else down + self.head_size
            )
            raise UserError(
                f"width {self.width} is not a multiple of head_size {self.head_size}; "
                f"the nearest that is: {near}"
            )
        if self.kv_heads is not None:
            self._check_groups(self.kv_heads)
        self._check_mlp_ratio()
        for name in ("mlp_ratio", "rope_theta", "rotary_fraction", "norm_eps"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be a finite number above 0, not {value}")
            object.__setattr__(self, name, float(value))
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise unknown(name, value, choices)
        self._check_positions()
        if self.padded_vocab is not None and self.padded_vocab < self.vocab_size:
            raise UserError(
                f"padded_vocab {self.padded_vocab} is below the {self.vocab_size} tokens"
            )

    def _check_mlp_ratio(self) -> None:
        if self.mlp_units is None and (self.mlp_ratio <= 0 or self.mlp_ratio * self.width % 1):
            raise UserError(
                f"mlp_ratio {self.mlp_ratio} times width {self.width} is not a whole number above 0"
            )

    def _check_positions(self) -> None:
        if self.position_offset < 0:
            raise UserError(f"position_offset must be at least 0, not {self.position_offset}")
        rope_scaling(self.rope_scaling)
        if self.rotary_fraction > 1:
            raise UserError(f"rotary_fraction is at most 1, not {self.rotary_fraction}")
        if self.positions == "rope" and (self.rotary_size % 2 or not self.rotary_size):
            share = "" if self.rotary_fraction == 1 else f" of {self.head_size} that turn"
            raise UserError(
                f"rotary positions need an even head_size, not {self.rotary_size}{share}"
            )

    def _check_groups(self, kv_heads: int) -> None:
        divisors = [n for n in range(1, self.heads + 1) if self.heads % n == 0]
        if kv_heads not in divisors:
            near = min(divisors, key=lambda n: abs(n - kv_heads))
            by_width = f" (width {self.width} / head_size {self.head_size})"
            of = by_width if self.query_heads is None else ""
            raise UserError(
                f"kv_heads {kv_heads} does not divide the {self.heads} heads{of}; "
                f"the nearest that does: {near}"
            )

    @property
    def heads(self) -> int:
        """How many attention heads."""
        return self.width // self.head_size if self.query_heads is None else self.query_heads

    @property
    def attention_width(self) -> int:
        """How many rows the projection to queries has: the width, unless ``query_heads`` says."""
        return self.heads * self.head_size

    @property
    def groups(self) -> int:
        """How many heads of keys and values, which is how many groups of query heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def group_size(self) -> int:
        """How many query heads read one head of keys and values."""
        return self.heads // self.groups

    @property
    def kv_width(self) -> int:
        """How many rows the projections to keys and to values have."""
        return self.groups * self.head_size

    @property
    def mlp_width(self) -> int:
        """How many units of the MLP."""
        return int(self.mlp_ratio * self.width) if self.mlp_units is None else self.mlp_units

    @property
    def rotary_size(self) -> int:
        """How many coordinates of a head turn with the position, the first of them."""
        return int(self.head_size * self.rotary_fraction) if self.positions == "rope" else 0

    @property
    def biased_qkv(self) -> bool:
        """Whether the projections to queries, keys and values have biases."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def vocab_rows(self) -> int:
        """How many rows the embedding and the head have."""
        return self.vocab_size if self.padded_vocab is None else self.padded_vocab


SIZES = ("width", "depth", "head_size", "context", "vocab_size")
CHOICES = {
    "norm": ("layernorm", "rmsnorm"),
    "mlp": ("gelu", "gelu_tanh", "relu", "swiglu"),
    "positions": ("learned", "rope"),
}
ROPE_SCALINGS: dict[str, tuple[str, ...]] = {  # see ``mugrow.bench.rotary``
    "none": (),
    "linear": ("factor",),
    "llama3": ("factor", "low", "high", "context"),
}


def rope_scaling(text: str) -> tuple[str, dict[str, float]]:
    """``linear:factor=4`` as its name and parameters. Raises ``UserError`` for what it is not."""
    name, *given = text.split(":")
    if name not in ROPE_SCALINGS:
        raise unknown("rope_scaling", name, ROPE_SCALINGS)
    try:
        params = {key: float(value) for key, value in (one.split("=") for one in given)}
    except ValueError:
        params = {}
    positive = all(0 < value < math.inf for value in params.values())
    if tuple(params) != ROPE_SCALINGS[name] or not positive:
        usage = ":".join([name, *(f"{key}=NUMBER" for key in ROPE_SCALINGS[name])])
        raise UserError(f"rope_scaling {text!r} is not of the form {usage}")
    if name == "llama3" and params["low"] >= params["high"]:
        raise UserError(f"rope_scaling {text!r}: low must be below high")
    return name, params


def llama(**fields: Any) -> ModelSpec:
    """The LLaMA flavour: RMSNorm, SwiGLU, rotary positions, untied head, no biases."""
    flavour: dict[str, Any] = {
        "norm": "rmsnorm",
        "mlp": "swiglu",
        "positions": "rope",
        "tied": False,
        "bias": False,
    }
    return ModelSpec(**(flavour | fields))
