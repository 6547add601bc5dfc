from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mugrow.bench import throughput
from mugrow.bench.flops import per_token
from mugrow.bench.model import Decoder
from mugrow.bench.products import quicker_by_onednn
from mugrow.bench.spec import ModelSpec

SPEC = ModelSpec(width=32, depth=2, context=16, vocab_size=40)


@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_the_usual_loop_trains_the_same_architecture(positions):
    """Otherwise the ratio to it would compare two things."""
    spec = replace(SPEC, positions=positions)
    plain = throughput.PlainDecoder(spec)
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
    logits = Decoder(spec)(named, tokens)
    assert torch.allclose(logits, plain(tokens), rtol=1e-4, atol=1e-4)


def test_every_row_is_consistent():
    shape = {"depth": 1, "context": 8, "sequences": 2, "positions": "learned"}
    result = throughput.throughput({16: [1, 3], 32: []}, **shape, seconds=0.01, rounds=3)
    assert [(row["width"], row["program"], row["stack"]) for row in result["rows"]] == [
        (16, "loop", None),
        (16, "fused loop", None),
        (16, "stack", 1),
        (16, "stack", 3),
        (32, "loop", None),
        (32, "fused loop", None),
    ]
    assert result["matmul_gflops"] > 0
    assert (result["onednn_gflops"] is not None) == quicker_by_onednn()
    assert result["threads"] == torch.get_num_threads()
    for row in result["rows"]:
        of_width = [one for one in result["rows"] if one["width"] == row["width"]]
        cost = per_token(ModelSpec(width=row["width"], depth=1, context=8))
        assert row["gflops"] == pytest.approx(row["tokens_per_s"] * cost / 1e9)
        peak = max(result["matmul_gflops"], result["onednn_gflops"] or 0)
        assert row["share_of_matmul"] == pytest.approx(row["gflops"] / peak)
        # the median of ratios is not the ratio of medians, but on this side of a factor 5 of it
        for loop, column in zip(of_width, ("ratio_to_loop", "ratio_to_fused"), strict=False):
            assert 0.2 < row[column] * loop["tokens_per_s"] / row["tokens_per_s"] < 5
        assert row["tokens_per_s"] < 1.5 * row["tokens_per_cpu_s"]  # one thread
    assert all(row["ratio_to_loop"] == 1 for row in result["rows"] if row["program"] == "loop")
    fused = [row for row in result["rows"] if row["program"] == "fused loop"]
    assert all(row["ratio_to_fused"] == row["cpu_ratio_to_fused"] == 1 for row in fused)
    one, three = (row["step_mb"] for row in result["rows"][2:4])
    assert 2 < three / one < 4


def test_a_stacks_rate_counts_the_tokens_of_all_its_members(monkeypatch):
    """All programs take 5 ms a step, and the fused loop 10, by a clock that only they move: a stack
    of four is four times as fast as a loop, and eight times as the fused one."""
    now = [0.0]

    def taking(seconds):
        def step():
            now[0] += seconds

        return step

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    monkeypatch.setattr(throughput, "time", clock)
    monkeypatch.setattr(throughput, "matmul_gflops", lambda *_, **__: 1.0)
    monkeypatch.setattr(throughput, "_loop", lambda *words: taking(0.01 if words[-1] else 0.005))
    monkeypatch.setattr(throughput, "endless_stack", lambda *_: taking(0.005))
    shape = {"context": 8, "sequences": 2, "seconds": 0.02, "rounds": 5}
    loop, _, one, four = throughput.throughput({16: [1, 4]}, **shape)["rows"]
    assert loop["tokens_per_s"] == loop["tokens_per_cpu_s"] == pytest.approx(16 / 0.005)
    assert one["ratio_to_loop"] == pytest.approx(1)
    assert four["ratio_to_loop"] == pytest.approx(4)
    assert four["ratio_to_fused"] == four["cpu_ratio_to_fused"] == pytest.approx(8)
    assert four["tokens_per_s"] == pytest.approx(4 * loop["tokens_per_s"])


def test_what_is_slower_than_the_fused_loop_is_said():
    row = {"program": "stack", "stack": 3, "width": 64, "ratio_to_fused": 1.2}
    slow = row | {"cpu_ratio_to_fused": 0.914}
    fast, loop = row | {"cpu_ratio_to_fused": 1.0}, slow | {"stack": None}
    assert throughput.below_the_loop([loop, fast, slow]) == [
        "below the fused loop: stack of 3, width 64: 1.20 a second, 0.91 a CPU second"
    ]
