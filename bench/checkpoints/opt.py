"""OPT: ReLU, learned positions whose first two rows belong to no position, a tied head.

Zhang et al., arXiv 2205.01068. The one of 350M has its norms behind the branches and an embedding
narrower than the stream; both are refused.
"""

from mugrow.bench.checkpoints.config import PLAIN_MLPS, Config, activation_name, mlp_size
from mugrow.bench.checkpoints.family import EITHER, Family, Piece
from mugrow.bench.spec import ModelSpec, UserError

OFFSET = 2
NORM_EPS = 1e-5  # config.json has no word for it
LAYERS = {
    **{f"self_attn.{part}_proj": f"attention.{part}" for part in "qkv"},
    "self_attn.out_proj": "attention.o",
    "fc1": "mlp.up",
    "fc2": "mlp.down",
}
NORMS = {"self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}
BLOCK = "layers.{i}."
TABLE = {
    "embed_tokens.weight": Piece(("embed.weight",)),
    "embed_positions.weight": Piece(("positions.weight",)),
    "final_layer_norm.weight": Piece(("norm.gain",)),
    "final_layer_norm.bias": Piece(("norm.bias",)),
    **{f"{BLOCK}{t}.weight": Piece((f"blocks.{{i}}.{o}.gain",)) for t, o in NORMS.items()},
    **{f"{BLOCK}{t}.bias": Piece((f"blocks.{{i}}.{o}.bias",)) for t, o in NORMS.items()},
    **{f"{BLOCK}{t}.weight": Piece((f"blocks.{{i}}.{o}.weight",)) for t, o in LAYERS.items()},
    **{f"{BLOCK}{t}.bias": Piece((f"blocks.{{i}}.{o}.bias",)) for t, o in LAYERS.items()},
}


def _spec(config: Config) -> ModelSpec:
    width = config.size("hidden_size", 768)
    config.only("do_layer_norm_before", True)
    config.only("_remove_final_layer_norm", False)
    config.only("enable_bias", True)
    config.only("layer_norm_elementwise_affine", True)
    config.only("word_embed_proj_dim", width, None)
    return ModelSpec(
        width=width,
        depth=config.size("num_hidden_layers", 12),
        head_size=config.head_size("hidden_size", "num_attention_heads", (768, 12)),
        context=config.size("max_position_embeddings", 2048),
        position_offset=OFFSET,
        vocab_size=config.size("vocab_size", 50272),
        mlp=config.plain_mlp("activation_function", "relu"),
        norm_eps=NORM_EPS,
        tied=config.flag("tie_word_embeddings", True),
        **mlp_size(width, config.size("ffn_dim", 4 * width)),
    )


def _config(spec: ModelSpec) -> dict[str, object]:
    if spec.norm_eps != NORM_EPS:
        raise UserError(f"an opt cannot have norm_eps={spec.norm_eps}, only {NORM_EPS}")
    return {
        "activation_function": activation_name(spec),
        "hidden_size": spec.width,
        "word_embed_proj_dim": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "ffn_dim": spec.mlp_width,
        "max_position_embeddings": spec.context,
        "vocab_size": spec.vocab_rows,
        "do_layer_norm_before": True,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": spec.tied,
    }


OPT = Family(
    name="opt",
    architecture="OPTForCausalLM",
    prefix="model.decoder.",
    head="lm_head.weight",
    table=TABLE,
    has={
        "mlp": PLAIN_MLPS,
        "tied": EITHER,
        "position_offset": (OFFSET,),
    },
    spec=_spec,
    config=_config,
    init_std="init_std",
)
