import time

import pytest
import torch
from torch import nn

from mugrow.bench import throughput
from mugrow.bench.flops import per_token
from mugrow.bench.model import Decoder
from mugrow.bench.spec import ModelSpec

SPEC = ModelSpec(width=32, depth=2, context=16, vocab_size=40)


def test_the_usual_loop_trains_the_same_architecture():
    """Otherwise the ratio to it would compare two things."""
    plain = throughput.PlainDecoder(SPEC)
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.5)
    named = {}
    for name, tensor in plain.state_dict().items():
        module, _, last = name.rpartition(".")
        block, _, part = module.rpartition(".")
        if part == "qkv":
            for letter, rows in zip("qkv", tensor.chunk(3), strict=True):
                named[f"{block}.attention.{letter}.{last}"] = rows
        elif part == "out":
            named[f"{block}.attention.o.{last}"] = tensor
        elif part in ("up", "down"):
            named[f"{block}.mlp.{part}.{last}"] = tensor
        else:
            named[name.replace("weight", "gain") if "norm" in part else name] = tensor
    tokens = torch.randint(40, (2, 16), generator=torch.Generator().manual_seed(0))
    logits = Decoder(SPEC)(named, tokens)
    assert torch.allclose(logits, plain(tokens), rtol=1e-4, atol=1e-4)


def test_every_row_is_consistent():
    result = throughput.throughput([16, 32], [1, 3], depth=1, context=8, sequences=2, seconds=0.01)
    assert [(row["width"], row["stack"]) for row in result["rows"]] == [
        (width, stack) for width in (16, 32) for stack in (None, 1, 3)
    ]
    assert result["matmul_gflops"] > 0
    assert result["threads"] == torch.get_num_threads()
    for row in result["rows"]:
        loop = next(r for r in result["rows"] if r["width"] == row["width"] and not r["stack"])
        cost = per_token(ModelSpec(width=row["width"], depth=1, context=8))
        assert row["gflops"] == pytest.approx(row["tokens_per_s"] * cost / 1e9)
        assert row["share_of_matmul"] == pytest.approx(row["gflops"] / result["matmul_gflops"])
        # the median of ratios is not the ratio of medians, but on this side of a factor 5 of it
        assert 0.2 < row["ratio_to_loop"] * loop["tokens_per_s"] / row["tokens_per_s"] < 5
    assert all(row["ratio_to_loop"] == 1 for row in result["rows"] if row["stack"] is None)


def test_a_stacks_rate_counts_the_tokens_of_all_its_members(monkeypatch):
    """All programs take 5 ms a step, so a stack of four is four times as fast."""
    monkeypatch.setattr(throughput, "ROUNDS", 5)
    monkeypatch.setattr(throughput, "_loop", lambda *_: lambda: time.sleep(0.005))
    monkeypatch.setattr(throughput, "endless_stack", lambda *_: lambda: time.sleep(0.005))
    rows = throughput.throughput([16], [1, 4], context=8, sequences=2, seconds=0.02)["rows"]
    loop, one, four = rows
    assert loop["tokens_per_s"] <= 16 / 0.005
    assert 0.5 < one["ratio_to_loop"] < 2  # one and four, but for a busy machine
    assert 2 < four["ratio_to_loop"] < 8
    assert 2 < four["tokens_per_s"] / loop["tokens_per_s"] < 8
