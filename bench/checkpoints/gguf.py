"""GGUF: one file with tensors, some of them quantised in blocks, and all that is to be known.

The format of llama.cpp, read by its own library. Quantised tensors are multiplied out to float32: a
block of 32 in Q4_1 is ``scale * q + minimum`` with q of 4 bits, in Q8_0 ``scale * q`` with 8.

In files of LLaMA's kind the rows of q and k of every head are stored with the two halves that
rotary positions turn together interleaved: 0 4 1 5 2 6 3 7. Reading must undo that, of biases too:
0 2 4 6 1 3 5 7, which is no permutation that undoes itself but at a head size of 4.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mugrow.bench.checkpoints.config import Config
from mugrow.bench.checkpoints.source import Found, Published
from mugrow.bench.spec import UserError

QUANTISED = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
PERMUTED = ("llama",)
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLITS = {  # how a text is cut before pieces are merged, by tokenizer.ggml.pre
    "gpt-2": [BYTES],
    "smollm": [{"type": "Digits", "individual_digits": True}, BYTES],
}
CONTROL, USER_DEFINED = 3, 4  # token types
READ = {  # what a file may say of its architecture
    *("block_count", "context_length", "embedding_length", "feed_forward_length"),
    *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
    *("attention.key_length", "attention.value_length"),
    *("rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor"),
    *("vocab_size", "tensor_data_layout"),
}
SAYS_NOTHING: dict[str, tuple[object, ...]] = {  # what is as it is without, if it has these values
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "rope.scale_linear": (1,),
}


def read_gguf(path: Path) -> Published:
    """A GGUF file as its family's folder would be. Raises ``UserError``."""
    reader = _reader(path)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    known = {tensor.name for tensor in reader.tensors}
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    for name, kind in kinds.items():
        if kind not in QUANTISED:
            raise UserError(f"{path}: {name} is {kind}, not one of {', '.join(QUANTISED)}")
    config = _config(fields, known, f"{path}")
    rows = next((t.shape[1] for t in reader.tensors if t.name == "token_embd.weight"), 0)
    config["vocab_size"] = int(rows)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}

    def tensors() -> Iterator[Found]:
        for tensor in reader.tensors:
            shape = tuple(int(size) for size in reversed(tensor.shape))
            module = tensor.name.split(".")[-2]
            permuted = config["model_type"] in PERMUTED and module in heads

            def read(tensor: Any = tensor, shape: tuple[int, ...] = shape) -> Tensor:
                return _dequantised(tensor).view(shape)

            def unpermuted(
                tensor: Any = tensor, shape: tuple[int, ...] = shape, module: str = module
            ) -> Tensor:
                return halves_apart(_dequantised(tensor).view(shape), heads[module])

            yield Found(_name(tensor.name, path), shape, unpermuted if permuted else read)

    named = len(fields.get("tokenizer.ggml.tokens", ()))
    return Published(
        str(path), Config(config, str(path)), tensors, _beside(fields, config), named or None
    )


def _reader(path: Path) -> Any:  # the library is untyped
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UserError("reading .gguf files takes the extra: pip install 'mugrow[hf]'") from None
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UserError(
            f"{path} is damaged: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error


def _dequantised(tensor: Any) -> Tensor:
    from gguf import dequantize

    return torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype("float32"))


def halves_apart(tensor: Tensor, heads: int) -> Tensor:
    """Rows of q or k ``(H*S, ...)`` with the halves of each head one after the other again."""
    by_pair = tensor.reshape(heads, -1, 2, *tensor.shape[1:])
    return by_pair.transpose(1, 2).reshape(tensor.shape)


def _name(name: str, path: Path) -> str:
    """``blk.3.attn_q.weight`` as ``model.layers.3.self_attn.q_proj.weight``."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    if found is None or found[2] not in NAMES:
        raise UserError(f"{path}: tensor {name} cannot be expressed")
    layer = "" if found[1] is None else f"model.layers.{found[1]}."
    return f"{layer}{NAMES[found[2]]}.{found[3]}"


def _config(fields: dict[str, Any], known: set[str], where: str) -> dict[str, Any]:
    kind = fields.get("general.architecture")
    if kind not in ("llama", "qwen2", "qwen3"):
        raise UserError(f"{where}: architecture {kind!r} is not one of llama, qwen2, qwen3")

    prefix = f"{kind}."
    for key, value in fields.items():
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and name not in READ and value not in SAYS_NOTHING.get(name, ()):
            raise UserError(f"{where}: {key}={value!r} cannot be expressed")

    def given(name: str, default: float | None = None) -> float:
        value = fields.get(f"{kind}.{name}", default)
        if value is None:
            raise UserError(f"{where}: {kind}.{name} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{where}: {kind}.{name} must be a number, not {value!r}")
        return value

    heads, width = int(given("attention.head_count")), int(given("embedding_length"))
    scaling = fields.get(f"{kind}.rope.scaling.type", "none")
    head_size = int(given("attention.key_length", width // max(heads, 1)))
    for name in ("rope.dimension_count", "attention.value_length"):
        if (other := int(given(name, head_size))) != head_size:
            raise UserError(f"{where}: {kind}.{name}={other} cannot be expressed")
    config = {
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": width,
        "num_hidden_layers": int(given("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(given("attention.head_count_kv", heads)),
        "head_dim": head_size,
        "intermediate_size": int(given("feed_forward_length")),
        "max_position_embeddings": int(given("context_length")),
        "rms_norm_eps": float(f"{given('attention.layer_norm_rms_epsilon'):.6g}"),  # was float32
        "rope_theta": float(given("rope.freq_base", 10_000.0)),
        "tie_word_embeddings": "output.weight" not in known,
    }
    if scaling != "none":
        config["rope_scaling"] = {"type": scaling, "factor": float(given("rope.scaling.factor"))}
    for name in ("bos", "eos"):
        if (token := fields.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            config[f"{name}_token_id"] = int(token)
    return config


def _beside(fields: dict[str, Any], config: dict[str, Any]) -> dict[str, bytes]:
    """The tokenizer as ``tokenizers`` writes one, where it is a BPE of bytes that is cut in a way
    that is known here."""
    split = SPLITS.get(fields.get("tokenizer.ggml.pre", ""))
    if fields.get("tokenizer.ggml.model") != "gpt2" or split is None:
        return {}
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    added = [
        {
            "id": i,
            "content": token,
            "special": kind == CONTROL,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": split},
        "decoder": BYTES,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }
    about = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name in ("bos", "eos"):
        if (token := config.get(f"{name}_token_id")) is not None:
            about[f"{name}_token"] = tokens[token]
    if template := fields.get("tokenizer.chat_template"):
        about["chat_template"] = template
    return {
        "tokenizer.json": json.dumps(tokenizer, ensure_ascii=False).encode(),
        "tokenizer_config.json": json.dumps(about, indent=2).encode(),
    }
