"""GPT-2: LayerNorm, tanh GELU, learned positions, biases everywhere.

Radford et al., 2019. Its matrices are ``Conv1D``'s, stored ``(in, out)``, and those of q, k and v
lie side by side in one.
"""

import torch
from torch import Tensor

from mugrow.bench.checkpoints.config import PLAIN_MLPS, Config, activation_name, mlp_size
from mugrow.bench.checkpoints.family import EITHER, Family, Piece, Tensors
from mugrow.bench.spec import ModelSpec, UserError


def _turned(held: Tensor, spec: ModelSpec) -> Tensors:
    return (held.mT,)


def _turned_back(ours: Tensors, spec: ModelSpec) -> Tensor:
    return ours[0].mT


def _three(held: Tensor, spec: ModelSpec) -> Tensors:
    """``(D, 3 D)`` as three of ``(D, D)``, or ``(3 D,)`` as three of ``(D,)``."""
    return tuple((held.mT if held.dim() == 2 else held).chunk(3))


def _one(ours: Tensors, spec: ModelSpec) -> Tensor:
    whole = torch.cat(ours)
    return whole.mT if whole.dim() == 2 else whole


def _qkv(tensor: str) -> tuple[str, ...]:
    return tuple(f"blocks.{{i}}.attention.{part}.{tensor}" for part in "qkv")


LAYERS = {"attn.c_proj": "attention.o", "mlp.c_fc": "mlp.up", "mlp.c_proj": "mlp.down"}
NORMS = {"ln_f": "norm", "h.{i}.ln_1": "blocks.{i}.norm1", "h.{i}.ln_2": "blocks.{i}.norm2"}
TABLE = {
    "wte.weight": Piece(("embed.weight",)),
    "wpe.weight": Piece(("positions.weight",)),
    **{f"{theirs}.weight": Piece((f"{ours}.gain",)) for theirs, ours in NORMS.items()},
    **{f"{theirs}.bias": Piece((f"{ours}.bias",)) for theirs, ours in NORMS.items()},
    "h.{i}.attn.c_attn.weight": Piece(_qkv("weight"), _three, _one),
    "h.{i}.attn.c_attn.bias": Piece(_qkv("bias"), _three, _one),
    **{
        f"h.{{i}}.{theirs}.weight": Piece((f"blocks.{{i}}.{ours}.weight",), _turned, _turned_back)
        for theirs, ours in LAYERS.items()
    },
    **{
        f"h.{{i}}.{theirs}.bias": Piece((f"blocks.{{i}}.{ours}.bias",))
        for theirs, ours in LAYERS.items()
    },
}


ALSO = {  # names that transformers takes for these too
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}


def _own_names(config: Config) -> Config:
    """By this family's own names. Raises ``UserError`` where both are there and differ."""
    values = dict(config.values)
    for other, own in ALSO.items():
        if other in values and values.setdefault(own, values[other]) != values[other]:
            raise UserError(
                f"{config.where}: {other}={values[other]!r} contradicts {own}={values[own]!r}"
            )
    return Config(values, config.where)


def _spec(config: Config) -> ModelSpec:
    config = _own_names(config)
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    config.only("add_cross_attention", False)
    width = config.size("n_embd", 768)
    return ModelSpec(
        width=width,
        depth=config.size("n_layer", 12),
        head_size=config.head_size("n_embd", "n_head", (768, 12)),
        context=config.size("n_positions", 1024),
        vocab_size=config.size("vocab_size", 50257),
        mlp=config.plain_mlp("activation_function", "gelu_new"),
        norm_eps=config.positive("layer_norm_epsilon", 1e-5),
        tied=config.flag("tie_word_embeddings", True),
        **mlp_size(width, config.size_if_any("n_inner") or 4 * width),
    )


def _config(spec: ModelSpec) -> dict[str, object]:
    return {
        "activation_function": activation_name(spec),
        "n_embd": spec.width,
        "n_layer": spec.depth,
        "n_head": spec.heads,
        "n_inner": spec.mlp_width,
        "n_positions": spec.context,
        "vocab_size": spec.vocab_rows,
        "layer_norm_epsilon": spec.norm_eps,
        "tie_word_embeddings": spec.tied,
    }


GPT2 = Family(
    name="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer.",
    head="lm_head.weight",
    table=TABLE,
    has={"mlp": PLAIN_MLPS, "tied": EITHER},
    spec=_spec,
    config=_config,
    buffers=(r"\.attn\.(masked_)?bias$",),
    depth="n_layer",
)
