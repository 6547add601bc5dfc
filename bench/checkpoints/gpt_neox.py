"""GPT-NeoX and Pythia: attention and MLP in parallel, a share of each head rotary.

Black et al., arXiv 2204.06745; Biderman et al., arXiv 2304.01373. One matrix holds, head by head,
that head's rows of q, of k and of v.
"""

from typing import Any

import torch
from torch import Tensor

from mugrow.bench.checkpoints.config import (
    PLAIN_MLPS,
    Config,
    activation_name,
    mlp_size,
    rotary,
    rotary_config,
)
from mugrow.bench.checkpoints.family import EITHER, ROPE, Family, Piece, Tensors
from mugrow.bench.spec import ModelSpec, UserError


def _three(held: Tensor, spec: ModelSpec) -> Tensors:
    """``(H * 3 * S, ...)`` as three of ``(H * S, ...)``."""
    by_head = held.view(spec.heads, 3, spec.head_size, *held.shape[1:])
    return tuple(by_head[:, part].flatten(0, 1) for part in range(3))


def _one(ours: Tensors, spec: ModelSpec) -> Tensor:
    by_head = [part.reshape(spec.heads, 1, spec.head_size, *part.shape[1:]) for part in ours]
    # where tensors have no data, as for their shapes, torch.stack imports for seconds
    return torch.cat(by_head, 1).flatten(0, 2)


def _qkv(tensor: str) -> tuple[str, ...]:
    return tuple(f"blocks.{{i}}.attention.{part}.{tensor}" for part in "qkv")


LAYERS = {
    "attention.dense": "attention.o",
    "mlp.dense_h_to_4h": "mlp.up",
    "mlp.dense_4h_to_h": "mlp.down",
}
NORMS = {"input_layernorm": "norm1", "post_attention_layernorm": "norm2"}
BLOCK = "layers.{i}."
TABLE = {
    "embed_in.weight": Piece(("embed.weight",)),
    "final_layer_norm.weight": Piece(("norm.gain",)),
    "final_layer_norm.bias": Piece(("norm.bias",)),
    **{f"{BLOCK}{t}.weight": Piece((f"blocks.{{i}}.{o}.gain",)) for t, o in NORMS.items()},
    **{f"{BLOCK}{t}.bias": Piece((f"blocks.{{i}}.{o}.bias",)) for t, o in NORMS.items()},
    BLOCK + "attention.query_key_value.weight": Piece(_qkv("weight"), _three, _one),
    BLOCK + "attention.query_key_value.bias": Piece(_qkv("bias"), _three, _one),
    **{f"{BLOCK}{t}.weight": Piece((f"blocks.{{i}}.{o}.weight",)) for t, o in LAYERS.items()},
    **{f"{BLOCK}{t}.bias": Piece((f"blocks.{{i}}.{o}.bias",)) for t, o in LAYERS.items()},
}


ROTARY = {
    "rope_theta": ("rotary_emb_base", 10_000.0),
    "partial_rotary_factor": ("rotary_pct", 0.25),
}
"""What other families call it, what this one does, and what it is where nothing says."""


def _rotary(config: Config) -> dict[str, Any]:
    """``transformers`` reads this family's own names, and the others' in ``rope_parameters`` alone.
    Raises ``UserError`` where one stands elsewhere, and says what is not read."""
    words = config.words("rope_scaling") or config.words("rope_parameters")
    values = dict(config.values)
    for name, (own, default) in ROTARY.items():
        read = words.get(name, values.get(own, default))
        for other in (own, name):
            if values.get(other, read) not in (read, None):
                raise UserError(
                    f"{config.where}: {other}={values[other]!r} contradicts {read!r}, which "
                    "transformers reads"
                )
        values[name] = read
    return rotary(Config(values, config.where), shares=True)


def _spec(config: Config) -> ModelSpec:
    config.only("attention_bias", True)
    width = config.size("hidden_size")
    head_size = config.head_size("hidden_size", "num_attention_heads")
    config.only("head_dim", None, head_size)
    return ModelSpec(
        width=width,
        depth=config.size("num_hidden_layers"),
        head_size=head_size,
        context=config.size("max_position_embeddings", 2048),
        vocab_size=config.size("vocab_size"),
        positions="rope",
        mlp=config.plain_mlp("hidden_act", "gelu"),
        norm_eps=config.positive("layer_norm_eps", 1e-5),
        tied=config.flag("tie_word_embeddings", False),
        parallel=config.flag("use_parallel_residual", True),
        **mlp_size(width, config.size("intermediate_size", 4 * width)),
        **_rotary(config),
    )


def _config(spec: ModelSpec) -> dict[str, object]:
    rope = rotary_config(spec)
    return {
        "attention_bias": True,
        "hidden_act": activation_name(spec),
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "intermediate_size": spec.mlp_width,
        "max_position_embeddings": spec.context,
        "vocab_size": spec.vocab_rows,
        "layer_norm_eps": spec.norm_eps,
        "tie_word_embeddings": spec.tied,
        "use_parallel_residual": spec.parallel,
        "rotary_pct": spec.rotary_fraction,
        "partial_rotary_factor": spec.rotary_fraction,
        "rotary_emb_base": spec.rope_theta,
        **rope,
    }


GPT_NEOX = Family(
    name="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    prefix="gpt_neox.",
    head="embed_out.weight",
    table=TABLE,
    has={
        **ROPE,
        "mlp": PLAIN_MLPS,
        "tied": EITHER,
        "rotary_share": EITHER,
        "parallel": EITHER,
    },
    spec=_spec,
    config=_config,
    buffers=(r"\.attention\.(masked_)?bias$", r"rotary_emb\.inv_freq$"),
)
