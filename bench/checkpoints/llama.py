"""LLaMA and its kin: RMSNorm, SwiGLU, rotary positions, grouped keys and values.

Touvron et al., arXiv 2302.13971 and 2307.09288; LLaMA 3, arXiv 2407.21783; SmolLM2, arXiv
2502.02737. Mistral (arXiv 2310.06825) has a sliding window, Qwen2 (arXiv 2407.10671) biases on q, k
and v, Qwen3 (arXiv 2505.09388) a norm of queries and keys and heads of a size of their own. Their
tensors are stored as ours, one by one.
"""

from dataclasses import replace
from typing import Any

from mugrow.bench.checkpoints.config import Config, mlp_size, rotary, rotary_config
from mugrow.bench.checkpoints.family import EITHER, ROPE, Family, Piece
from mugrow.bench.spec import ModelSpec, UserError

LAYER, BLOCK = "layers.{i}.", "blocks.{i}."
PARTS = {
    "input_layernorm.weight": "norm1.gain",
    "post_attention_layernorm.weight": "norm2.gain",
    "self_attn.q_norm.weight": "attention.q_norm.gain",
    "self_attn.k_norm.weight": "attention.k_norm.gain",
    **{
        f"self_attn.{part}_proj.{tensor}": f"attention.{part}.{tensor}"
        for part in "qkvo"
        for tensor in ("weight", "bias")
    },
    **{
        f"mlp.{part}_proj.{tensor}": f"mlp.{part}.{tensor}"
        for part in ("gate", "up", "down")
        for tensor in ("weight", "bias")
    },
}
TABLE = {
    "embed_tokens.weight": Piece(("embed.weight",)),
    "norm.weight": Piece(("norm.gain",)),
    **{LAYER + theirs: Piece((BLOCK + ours,)) for theirs, ours in PARTS.items()},
}
HAS: dict[str, tuple[object, ...]] = {
    **ROPE,
    "norm": ("rmsnorm",),
    "mlp": ("swiglu",),
    "tied": EITHER,
    "bias": (False,),
    "qkv_bias": (False,),
    "grouped": EITHER,
    "free_heads": EITHER,
}


def _shape(config: Config) -> ModelSpec:
    """What all of them say alike."""
    config.activation("hidden_act", "silu", "swiglu")
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    head_size = config.size_if_any("head_dim") or config.head_size(
        "hidden_size", "num_attention_heads"
    )
    groups = config.size_if_any("num_key_value_heads") or heads
    if heads % groups:
        raise UserError(
            f"{config.where}: num_key_value_heads {groups} does not divide num_attention_heads "
            f"{heads}"
        )
    return ModelSpec(
        width=width,
        depth=config.size("num_hidden_layers"),
        head_size=head_size,
        query_heads=None if heads * head_size == width else heads,
        kv_heads=None if groups == heads else groups,
        context=config.size("max_position_embeddings"),
        vocab_size=config.size("vocab_size"),
        norm="rmsnorm",
        mlp="swiglu",
        positions="rope",
        bias=False,
        norm_eps=config.positive("rms_norm_eps", 1e-6),
        tied=config.flag("tie_word_embeddings", False),
        **mlp_size(width, config.size("intermediate_size")),
        **rotary(config),
    )


def _config(spec: ModelSpec) -> dict[str, Any]:
    return {
        "hidden_act": "silu",
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.groups,
        "head_dim": spec.head_size,
        "intermediate_size": spec.mlp_width,
        "max_position_embeddings": spec.context,
        "vocab_size": spec.vocab_rows,
        "rms_norm_eps": spec.norm_eps,
        "tie_word_embeddings": spec.tied,
        **rotary_config(spec),
    }


def _kinds(config: Config) -> set[str]:
    """What kinds of attention the layers have, as far as ``layer_types`` says."""
    return {str(kind) for kind in config.names("layer_types")}


def _one_kind(config: Config, kind: str) -> None:
    """Raise ``UserError`` where ``layer_types`` has another."""
    if other := _kinds(config) - {kind}:
        raise UserError(f"{config.where}: layer_types {other.pop()!r} cannot be expressed here")


def _llama(config: Config) -> ModelSpec:
    _one_kind(config, "full_attention")
    bias = config.flag("attention_bias", False)
    if bias != config.flag("mlp_bias", False):
        raise UserError(
            f"{config.where}: attention_bias={bias} without the same mlp_bias cannot be expressed"
        )
    return replace(_shape(config), bias=bias)


def _llama_config(spec: ModelSpec) -> dict[str, Any]:
    return {**_config(spec), "attention_bias": spec.bias, "mlp_bias": spec.bias}


def _mistral(config: Config) -> ModelSpec:
    window = config.size_if_any("sliding_window", 4096)
    _one_kind(config, "full_attention" if window is None else "sliding_attention")
    return replace(_shape(config), window=window)


def _mistral_config(spec: ModelSpec) -> dict[str, Any]:
    return {**_config(spec), "sliding_window": spec.window}


def _window(config: Config, spec: ModelSpec) -> ModelSpec:
    """Qwen's window, if used, is of the layers that ``layer_types`` says or else of those from
    ``max_window_layers`` on: here of all or none."""
    used = config.flag("use_sliding_window", False)
    window = config.size_if_any("sliding_window", 4096) if used else None
    first = config.size("max_window_layers", 28, least=0) if window else spec.depth
    sliding, full = {"sliding_attention"}, {"full_attention"}
    by_place = (full if first else set()) | (sliding if first < spec.depth else set())
    kinds = _kinds(config) or by_place
    if other := kinds - full - (sliding if window else set()):
        raise UserError(f"{config.where}: layer_types {other.pop()!r} cannot be expressed here")
    if window is None or window >= spec.context or kinds == full:
        return spec
    if kinds != sliding:
        said = "layer_types" if _kinds(config) else f"max_window_layers={first}"
        raise UserError(
            f"{config.where}: {said}: a sliding_window of some layers and not of others cannot be "
            "expressed"
        )
    return replace(spec, window=window)


def _qwen_config(spec: ModelSpec) -> dict[str, Any]:
    kind = "full_attention" if spec.window is None else "sliding_attention"
    return {
        **_config(spec),
        "use_sliding_window": spec.window is not None,
        "sliding_window": spec.window,
        "max_window_layers": spec.depth if spec.window is None else 0,
        "layer_types": [kind] * spec.depth,
    }


def _qwen2(config: Config) -> ModelSpec:
    return _window(config, replace(_shape(config), qkv_bias=True))


def _qwen3(config: Config) -> ModelSpec:
    config.only("attention_bias", False)
    shape = _shape(Config({"head_dim": 128, **config.values}, config.where))
    return _window(config, replace(shape, qk_norm=True))


def _qwen3_config(spec: ModelSpec) -> dict[str, Any]:
    return {**_qwen_config(spec), "attention_bias": False}


ROTATIONS = (r"rotary_emb\.inv_freq$",)
LLAMA = Family(
    name="llama",
    architecture="LlamaForCausalLM",
    prefix="model.",
    head="lm_head.weight",
    table=TABLE,
    has=HAS | {"bias": EITHER, "qkv_bias": EITHER},
    spec=_llama,
    config=_llama_config,
    buffers=ROTATIONS,
)
MISTRAL = replace(
    LLAMA,
    name="mistral",
    architecture="MistralForCausalLM",
    has=HAS | {"window": EITHER},
    spec=_mistral,
    config=_mistral_config,
)
QWEN2 = replace(
    LLAMA,
    name="qwen2",
    architecture="Qwen2ForCausalLM",
    has=HAS | {"window": EITHER, "qkv_bias": (True,)},
    spec=_qwen2,
    config=_qwen_config,
)
QWEN3 = replace(
    LLAMA,
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    has=HAS | {"window": EITHER, "qk_norm": (True,)},
    spec=_qwen3,
    config=_qwen3_config,
)
