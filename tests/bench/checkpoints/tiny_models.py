"""Tiny random models of every family, made and saved by transformers itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="the oracles are transformers' own models: mugrow[hf]")

import transformers

transformers.logging.set_verbosity_error()
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "max_position_embeddings": 64,
    "vocab_size": 96,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA = SIZES | {"num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 5e5}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 1e4,
}
GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "vocab_size": 96,
    "bos_token_id": 1,
    "eos_token_id": None,
}
NEOX = SIZES | {"hidden_act": "gelu"}
OPT = {name: size for name, size in SIZES.items() if name != "intermediate_size"} | {
    "ffn_dim": 80,
    "word_embed_proj_dim": 32,
    "pad_token_id": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt2 untied": ("gpt2", GPT2 | {"tie_word_embeddings": False, "n_inner": 50}),
    "llama 2": ("llama", LLAMA | {"num_key_value_heads": 4}),
    "llama 3": ("llama", LLAMA | {"rope_parameters": LLAMA3}),
    "llama linear, biased": (
        "llama",
        LLAMA
        | {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4}}
        | {"attention_bias": True, "mlp_bias": True},
    ),
    "smollm2": ("llama", LLAMA | {"tie_word_embeddings": True}),
    "mistral": ("mistral", LLAMA | {"sliding_window": 7, "head_dim": 16}),
    "qwen2": ("qwen2", LLAMA),
    "qwen3": ("qwen3", LLAMA | {"head_dim": 16}),
    "pythia": ("gpt_neox", NEOX),
    "neox in series": (
        "gpt_neox",
        NEOX | {"use_parallel_residual": False, "rotary_pct": 0.5, "rotary_emb_base": 5e5},
    ),
    "opt": ("opt", OPT),
}


def model_of(name: str, **changes: Any) -> Any:
    """A model with every bias and gain drawn at random, in float32."""
    kind, config = MODELS[name]
    config = transformers.AutoConfig.for_model(kind, **(config | changes))
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5
            gain = float(parameter.dim() == 1 and bool((parameter == 1).all()))
            parameter.copy_(gain + scale * torch.randn(parameter.shape, generator=rng))
    return model


def saved(name: str, folder: Path, **changes: Any) -> Any:
    """Such a model, saved to a folder."""
    model = model_of(name, **changes)
    model.save_pretrained(folder)
    return model


def tokens(length: int = 24) -> torch.Tensor:
    """``(2, length)`` of the vocabulary."""
    return torch.randint(2, 96, (2, length), generator=torch.Generator().manual_seed(2))
