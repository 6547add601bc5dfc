"""GGUF files, written here by the format's own library, against what they were written from."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints.gguf import NAMES, halves_apart
from mugrow.bench.checkpoints.llama import LLAMA
from mugrow.bench.checkpoints.reading import their_tensors
from mugrow.bench.checks.cases import random_weights
from mugrow.bench.model import Decoder
from mugrow.bench.spec import UserError, llama, run_spec_from_json
from mugrow.sweeps.published import import_model

gguf = pytest.importorskip("gguf", reason="reading .gguf files takes the extra: mugrow[hf]")
SPEC = llama(
    width=64, depth=2, head_size=8, kv_heads=2, mlp_ratio=2, vocab_size=32, context=16, tied=True
)
THEIRS = {theirs: ours for ours, theirs in NAMES.items()}


def interleaved(tensor, heads):
    """As llama.cpp's converter stores q and k: the two halves of each head by turns."""
    rows = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return rows.transpose(1, 2).reshape(tensor.shape)


def as_it_is(writer, name, data):
    return data


def write(path, kind="F32", arch="llama", edit=as_it_is, theta=5e4, spec=SPEC, say=lambda w: None):
    """A model, and the weights that the file holds after quantisation."""
    weights = random_weights(spec, dtype=torch.float32)
    writer = gguf.GGUFWriter(path, arch)
    say(writer)
    writer.add_context_length(16)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(theta)
    held = {}
    for name, tensor in their_tensors(weights, LLAMA, spec).items():
        *layer, module, part = name.removeprefix("model.").split(".")
        if layer:
            module = ".".join([*layer[2:], module])
        ours = THEIRS[module if layer or module == "lm_head" else f"model.{module}"]
        full = f"blk.{layer[1]}.{ours}.{part}" if layer else f"{ours}.{part}"
        if ours in ("attn_q", "attn_k") and arch == "llama":
            tensor = interleaved(tensor, 8 if ours == "attn_q" else 2)
        plain = tensor.dim() == 1
        quantised = getattr(gguf.GGMLQuantizationType, "F32" if plain else kind)
        data = gguf.quantize(tensor.contiguous().numpy(), quantised)
        held[full] = torch.from_numpy(gguf.dequantize(data, quantised).copy())
        data = edit(writer, full, data)
        if data is not None:
            writer.add_tensor(full, data, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights, held


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_every_kind_of_tensor_is_read_as_the_library_reads_it(kind, tmp_path):
    weights, held = write(tmp_path / "model.gguf", kind)
    import_model(tmp_path / "model.gguf", tmp_path / "in")
    again, metadata = checkpoint.load(tmp_path / "in" / "checkpoint.safetensors")
    model = run_spec_from_json(metadata["spec"]).model
    assert (model.rope_theta, model.norm_eps, model.tied) == (5e4, 1e-5, True)
    assert {name: w.shape for name, w in again.items()} == {n: w.shape for n, w in weights.items()}
    assert torch.equal(again["blocks.1.mlp.gate.weight"], held["blk.1.ffn_gate.weight"])
    for part, heads in (("q", 8), ("k", 2)):
        want = halves_apart(held[f"blk.0.attn_{part}.weight"], heads)
        assert torch.equal(again[f"blocks.0.attention.{part}.weight"], want)
    if kind == "F32":
        assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize(("arch", "changes"), [("qwen2", "qkv_bias"), ("qwen3", "qk_norm")])
def test_qwens_rows_are_as_they_are_with_biases_and_norms(arch, changes, tmp_path):
    spec = replace(SPEC, tied=False, **{changes: True})
    weights, _ = write(tmp_path / "model.gguf", arch=arch, spec=spec)
    import_model(tmp_path / "model.gguf", tmp_path / "in")
    again, metadata = checkpoint.load(tmp_path / "in" / "checkpoint.safetensors")
    model = run_spec_from_json(metadata["spec"]).model
    assert model == replace(spec, rope_theta=5e4, norm_eps=1e-5)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_linear_scaling_is_read_and_what_is_not_known_refused(tmp_path):
    path = tmp_path / "model.gguf"

    def linear(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.0)

    write(path, say=linear)
    import_model(path, tmp_path / "in")
    _, metadata = checkpoint.load(tmp_path / "in" / "checkpoint.safetensors")
    assert run_spec_from_json(metadata["spec"]).model.rope_scaling == "linear:factor=2"
    for say, reason in (
        (lambda w: w.add_float32("llama.rope.scale_linear", 4.0), "rope.scale_linear=4.0 cannot"),
        (lambda w: w.add_uint32("llama.attention.sliding_window", 8), "sliding_window=8 cannot"),
        (lambda w: w.add_logit_scale(0.5), "llama.logit_scale=0.5 cannot be expressed"),
        (lambda w: w.add_value_length(4), "llama.attention.value_length=4 cannot be expressed"),
    ):
        write(path, say=say)
        with pytest.raises(UserError, match=re.escape(reason)):
            import_model(path, tmp_path / "other")
    write(path, say=lambda w: w.add_expert_count(0))
    import_model(path, tmp_path / "other")


def test_tokens_that_are_not_written_beside_are_counted(tmp_path):
    def with_tokens(count):
        def say(writer):
            writer.add_tokenizer_model("llama")  # SentencePiece's
            writer.add_token_list([f"w{i}" for i in range(count)])

        return say

    write(tmp_path / "model.gguf", say=with_tokens(30))
    result = import_model(tmp_path / "model.gguf", tmp_path / "in")
    assert (result.tokens, result.rows, result.tokenizer) == (30, 32, "model.gguf")
    write(tmp_path / "model.gguf", say=with_tokens(33))
    with pytest.raises(UserError, match="the tokenizer has 33 tokens, and"):
        import_model(tmp_path / "model.gguf", tmp_path / "other")


def test_halves_are_put_apart_again():
    rows = torch.arange(8)
    assert interleaved(rows, 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert halves_apart(rows, 1).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.equal(halves_apart(interleaved(rows, 1), 1), rows)
    assert torch.equal(halves_apart(torch.arange(4), 1), interleaved(torch.arange(4), 1))


def test_rows_that_are_left_interleaved_change_the_logits(tmp_path):
    weights, held = write(tmp_path / "model.gguf")
    import_model(tmp_path / "model.gguf", tmp_path / "in")
    again, metadata = checkpoint.load(tmp_path / "in" / "checkpoint.safetensors")
    decoder = Decoder(run_spec_from_json(metadata["spec"]).model)
    tokens = torch.arange(16)[None]
    left = again | {"blocks.0.attention.q.weight": held["blk.0.attn_q.weight"]}
    right = decoder(again, tokens)
    assert (decoder(left, tokens) - right).abs().max() > 1e-3
    assert torch.equal(right, decoder(weights, tokens))


def test_what_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "model.gguf"

    def refused(match, **options):
        write(path, **options)
        with pytest.raises(UserError, match=match) as error:
            import_model(path, tmp_path / "in")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "in").exists()

    def with_frequencies(writer, name, data):
        if name == "output_norm.weight":
            writer.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32))
        return data

    def without_one(writer, name, data):
        return None if name == "blk.1.ffn_up.weight" else data

    refused("architecture 'gemma' is not one of llama", arch="gemma")
    refused("tensor rope_freqs.weight cannot be expressed", edit=with_frequencies)
    refused("tensor model.layers.1.mlp.up_proj.weight is missing", edit=without_one)
    refused(r"is Q5_0, not one of F32", kind="Q5_0")
    write(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="is damaged"):
        import_model(path, tmp_path / "in")


def test_its_tokenizer_is_written_beside(tmp_path):
    from tokenizers import Tokenizer

    alphabet = [chr(code) for code in range(33, 62)]
    words = ["<|end|>", *alphabet, "<=", "<=="]

    def with_tokenizer(writer, name, data):
        if name == "output_norm.weight":
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("smollm")
            writer.add_token_list(words)
            writer.add_token_types([3, *[1] * 31])
            writer.add_token_merges(["< =", "<= ="])
            writer.add_eos_token_id(0)
            writer.add_chat_template("{{ messages }}")
        return data

    write(tmp_path / "model.gguf", edit=with_tokenizer)
    result = import_model(tmp_path / "model.gguf", tmp_path / "in")
    assert (result.tokens, result.rows) == (32, 32)
    beside = tmp_path / "in" / "published"
    tokenizer = Tokenizer.from_file(str(beside / "tokenizer.json"))
    ids = tokenizer.encode("<==12<|end|>").ids
    assert [words[i] for i in ids] == ["<==", "1", "2", "<|end|>"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<==12"
    about = json.loads((beside / "tokenizer_config.json").read_text())
    assert (about["eos_token"], about["chat_template"]) == ("<|end|>", "{{ messages }}")
    assert json.loads((beside / "config.json").read_text())["eos_token_id"] == 0
