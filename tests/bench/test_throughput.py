import time

import pytest
import torch
from torch import nn

from bench import throughput
from bench.flops import per_token
from bench.model import Decoder
from bench.spec import ModelSpec

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
        assert row["ratio_to_loop"] == row["tokens_per_s"] / loop["tokens_per_s"]


def test_a_stacks_rate_counts_the_tokens_of_all_its_members():
    def step() -> None:
        time.sleep(0.005)

    rates = throughput._rates({None: step, 1: step, 4: step}, tokens=10, seconds=0.02, device="cpu")
    assert rates[None] <= 10 / 0.005
    assert 0.5 < rates[1] / rates[None] < 2  # one and four, but for a busy machine
    assert 2 < rates[4] / rates[None] < 8


def test_the_time_of_a_call_does_not_depend_on_how_many_fit():
    def step() -> None:
        time.sleep(0.01)

    assert 0.01 <= throughput._timed(step, 0, "cpu") < 0.1
    assert 0.01 <= throughput._timed(step, 0.2, "cpu") < 0.1


def test_probe_gives_a_rate_for_a_stack():
    model = ModelSpec(width=16, depth=1, context=8)
    began = time.perf_counter()
    rate = throughput.probe(model, sequences=2, members=4)
    assert 0 < rate < 1e9
    assert time.perf_counter() - began < 20
