"""Prices: rates of devices that are not here, what is timed here, and what need not be started."""

import json
import math
import re
import sys
from dataclasses import replace

import pytest
from fake_runs import ALONE, DATA, STUDY, run_all

from mugrow.bench.flops import per_token
from mugrow.bench.spec import ModelSpec, UserError
from mugrow.bench.split import Split
from mugrow.sweeps import estimate, price
from mugrow.sweeps.estimate import Estimate, on
from mugrow.sweeps.execute import of_study
from mugrow.sweeps.price import Machine, bill, machine
from mugrow.sweeps.rates import (
    DEVICES,
    LAUNCH_S,
    LAUNCHES_A_LAYER,
    Device,
    Row,
    device_of,
    moved_bytes,
    word_of,
)

GPT2 = ModelSpec(width=768, depth=12, head_size=64, context=1024, vocab_size=50257, tied=True)


# --- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", DEVICES)
def test_every_rate_is_possible_and_has_a_source(word):
    device = DEVICES[word]
    rows = device.measured.rows
    assert [row.width for row in rows] == sorted({row.width for row in rows})
    for row in rows:
        assert 0.2 < row.flops_per_s / device.measured.peaks["bf16"] < 0.8
        assert row.source
    assert device.peaks["bf16"] == pytest.approx(2 * device.peaks["tf32"], rel=0.01)
    assert not any(row.ours for row in rows)  # until one is measured: see the chapter
    assert all(device.sources)


@pytest.mark.parametrize("word", DEVICES)
def test_what_was_measured_is_what_is_priced(word):
    """Of a shape that has a row, by products alone: memory and launches must not be the slower."""
    device = DEVICES[word].measured
    for row in device.rows:
        shape = ModelSpec(
            width=row.width,
            depth=row.depth,
            head_size=64,
            context=row.context,
            vocab_size=row.vocab_size,
            tied=True,
        )
        assert device.tokens_per_s(shape, 32, 1, "bf16") == pytest.approx(row.tokens_per_s)


def test_the_share_is_interpolated_between_widths_and_held_beyond():
    rows = (Row(256, 4, 1000.0, "here"), Row(1024, 4, 1000.0, "here"))
    device = Device(1, 1e12, {"bf16": 1e9}, "a sheet", rows)
    low, high = (row.flops_per_s / 1e9 for row in rows)
    assert device.share(32) == device.share(256) == low
    assert device.share(4096) == device.share(1024) == high
    assert device.share(512) == pytest.approx((low + high) / 2)


def test_a_step_takes_as_long_as_the_slowest_of_three():
    fast = Device(1, 1e30, {"bf16": 1e30}, "a sheet", (Row(768, 12, 1e25, "here"),))
    launches = LAUNCHES_A_LAYER * GPT2.depth * LAUNCH_S
    assert fast.step_s(GPT2, 8, 1, "bf16") == launches
    narrow = replace(fast, bytes_per_s=1e9)
    assert narrow.step_s(GPT2, 8, 3, "bf16") == moved_bytes(GPT2, 8, 3) / 1e9 > launches
    slow = replace(fast, peaks={"bf16": 1e12}, rows=(Row(768, 12, 1.0, "here"),))
    products = 3 * 8 * GPT2.context * per_token(GPT2) / (slow.share(768) * 1e12)
    assert slow.step_s(GPT2, 8, 3, "bf16") == pytest.approx(products)


def test_members_of_a_small_stack_are_free_until_they_are_not():
    small = ModelSpec(width=32, depth=2, context=64, vocab_size=256)
    rates = [DEVICES["h100"].tokens_per_s(small, 8, members, "bf16") for members in (1, 8, 4096)]
    assert rates[1] == pytest.approx(8 * rates[0])
    assert rates[2] < 4096 * rates[0]


def test_float32_costs_what_its_peak_says():
    bf16, float32 = (DEVICES["a100"].step_s(GPT2, 64, 1, one) for one in ("bf16", "float32"))
    assert float32 / bf16 == pytest.approx(312 / 19.5)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA H200", "h200"),
        ("Tesla T4", None),
    ],
)
def test_a_gpu_is_known_by_its_name(name, word):
    assert word_of(name) == word


def test_a_device_that_is_not_in_the_table_is_named():
    with pytest.raises(UserError) as error:
        device_of("h1000")
    assert str(error.value) == "unknown device of --price: 'h1000'; did you mean 'h100'?"


# --- estimates ----------------------------------------------------------------------------------


def test_pruned_members_cost_nothing_and_the_last_one_costs_a_whole_step():
    """By the table half the members may take as long as all; timed here they take half."""
    proxies = run_all(ALONE)[0].stacks[0]
    stack = replace(proxies, rungs=((25, 3), (50, 1)))
    whole = replace(stack, rungs=())
    device = replace(DEVICES["h100"], peaks={**DEVICES["h100"].peaks, "float32": 1e30})
    launched = [Estimate(1, on(device)).seconds(one) for one in (stack, whole)]
    assert launched[0] == pytest.approx(launched[1])
    timed = [Estimate(1, lambda spec, members: 1e5).seconds(one) for one in (stack, whole)]
    assert timed[0] < timed[1]


def test_a_step_that_would_take_long_is_timed_on_fewer_sequences(monkeypatch):
    tried = []
    monkeypatch.setattr(estimate, "_rate", lambda model, few: tried.append(few) or 1.0)
    spec = run_all(ALONE)[0].runs[0].spec
    estimate.timed_here(spec, 1)
    estimate.timed_here(replace(spec, model=replace(GPT2, width=64, depth=2, context=64)), 1)
    estimate.timed_here(replace(spec, model=GPT2), 1)
    assert tried[0] == spec.batch_sequences
    assert 1 <= tried[1] < spec.batch_sequences
    assert tried[2] == 1


def test_what_is_too_large_to_try_is_not_tried(monkeypatch):
    def probe(*_, **__):
        raise AssertionError

    monkeypatch.setattr(estimate, "probe", probe)
    monkeypatch.setattr(estimate, "_matmul_gflops", lambda: 100.0)
    rate = estimate._rate.__wrapped__(GPT2, 8)
    assert rate == 0.5 * 100e9 / per_token(GPT2)


# --- bills --------------------------------------------------------------------------------------


@pytest.fixture
def nothing_is_timed(monkeypatch):
    def timed(*_):
        raise AssertionError("something was timed")

    monkeypatch.setattr(estimate, "_rate", timed)


def test_a_bill_by_the_table(nothing_is_timed, tmp_path):
    plan = of_study(STUDY, DATA).plan({})
    found = bill(of_study(STUDY, DATA), tmp_path, Machine(4, "a100"))
    assert found.device_s == pytest.approx(sum(
        Estimate(1, on(DEVICES["a100"])).seconds(stack)
        for stack in (*plan.stacks, *plan.provisional)
    ))  # fmt: skip
    assert found.device_s / 4 <= found.estimated_s <= found.device_s
    assert found.sources == DEVICES["a100"].sources
    largest = found.largest
    assert 0 < largest.whole_bytes < found.memory_bytes == 0.9 * 80e9
    assert largest.split == Split(largest.members, largest.sequences)
    assert not [*tmp_path.iterdir()]


def test_of_a_device_of_which_nothing_is_known_there_is_no_time(nothing_is_timed, tmp_path):
    found = bill(of_study(ALONE, DATA), tmp_path, Machine(1, None))
    assert (found.estimated_s, found.device_s) == (None, None)
    assert found.flops > 0


def test_machines_that_need_not_be_here():
    assert machine(None, "cuda", None, "local", "h100") == Machine(1, "h100")
    assert machine(None, "cuda", "cuda:0..7", "local", "h100") == Machine(8, "h100")
    assert machine(3, "cuda:1", None, "local", "h100") == Machine(3, "h100")
    assert machine(None, "cpu", None, "slurm:partition=a,jobs=16", None) == Machine(16, "measured")
    assert machine(None, "cuda", None, "ray", "a100") == Machine(256, "a100")


def test_a_gpu_that_is_here_is_looked_up(monkeypatch):
    monkeypatch.setattr(price, "gpu_here", lambda: "h200")
    assert machine(None, "cuda", None, "local", None).price == "h200"
    monkeypatch.setattr(price, "gpu_here", lambda: None)
    assert machine(None, "cuda", None, "local", None).price is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((None, "cpu", None, "slrum", None), "unknown engine 'slrum'; did you mean 'slurm'?"),
        ((None, "cpu", None, "local", "h10"), "unknown device of --price: 'h10'"),
        ((None, "gpu", None, "local", None), "device 'gpu' is none; devices are as cpu, cuda"),
        ((None, "cpu", "cuda:7..0", "local", None), "devices 'cuda:7..0' are no range"),
        ((None, "cpu", "cuda:0..7", "slurm", None), "--devices are of this machine"),
        ((None, "cuda", None, "local", "measured"), "--price measured times the cores of this"),
        ((0, "cpu", None, "local", None), "workers must be at least 1, not 0"),
    ],
)
def test_machines_that_cannot_be(words, said):
    with pytest.raises(UserError) as error:
        machine(*words)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


# --- the command --------------------------------------------------------------------------------


def test_a_study_is_priced_without_its_gpu_and_engine(tiny, mugrow, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    on_ray = ("--on", "ray:tasks=8", "--device", "cuda", "--price", "h100", "--dry-run")
    ended = mugrow(*tiny, *on_ray, "--out", tmp_path / "study")
    assert (ended.code, ended.err) == (0, "")
    first, *sources = ended.out[ended.out.index("30 runs") :].splitlines()
    assert "with 8 workers on h100" in first
    assert first.endswith("by a table, not measured:")
    assert [line.strip() for line in sources] == list(DEVICES["h100"].sources)
    said = json.loads(mugrow(*tiny, *on_ray, "--json", "--out", tmp_path / "study").out)
    assert (said["price"], said["sources"]) == ("h100", list(DEVICES["h100"].sources))
    assert math.isfinite(said["device_s"])


def test_a_gpu_of_which_nothing_is_known_is_told_what_to_say(tiny, mugrow, tmp_path, monkeypatch):
    monkeypatch.setattr(price, "gpu_here", lambda: None)
    ended = mugrow(*tiny, "--device", "cuda", "--dry-run", "--out", tmp_path / "study")
    assert ended.code == 0
    last = ended.out.splitlines()[-1]
    assert last.endswith("for a time say on what: --price a100 or a100-40gb or h100 or h200")


def test_what_is_trained_has_no_price(tiny, mugrow, tmp_path):
    ended = mugrow(*tiny, "--price", "h100", "--out", tmp_path / "study")
    assert ended.code == 2
    assert ended.err == "mugrow: --price is of --dry-run: without it runs train on --device\n"


def test_a_stack_that_would_not_fit_is_told(tiny, mugrow, tmp_path, monkeypatch):
    dry_run = (*tiny, "--price", "h100", "--dry-run", "--out", tmp_path / "study")
    monkeypatch.setitem(DEVICES, "h100", replace(DEVICES["h100"], memory_gb=1e-6))
    assert "0.0009 MB it has not enough even in parts" in one_line(mugrow(*dry_run).out)
    monkeypatch.setitem(DEVICES, "h100", replace(DEVICES["h100"], memory_gb=4e-3))
    said = re.search(
        r"the largest stack, (\d+) members of width (\d+) and depth 1 on (\d+) sequences, takes .*"
        r"; of 3\.6 MB a step takes (\d+) of its members and (\d+) of their sequences at a time",
        one_line(mugrow(*dry_run).out),
    )
    found = json.loads(mugrow(*dry_run, "--json").out)
    largest = found["largest_stack"]
    shown = ("members", "width", "sequences")
    assert [*map(int, said.groups())] == [
        *(largest[name] for name in shown),
        *(largest["split"][name] for name in ("members", "sequences")),
    ]
    assert largest["split"]["members"] < largest["members"]
    assert found["largest_stack_bytes"] == largest["whole_bytes"] > found["memory_bytes"]


def test_a_stated_memory_is_checked_and_told(tiny, mugrow, tmp_path):
    dry_run = (*tiny, "--dry-run", "--price", "a100", "--out", tmp_path / "study")
    refused = mugrow(*dry_run, "--memory", "100KB")
    assert (refused.code, refused.out) == (2, "")
    assert re.fullmatch(r"mugrow: a member of width \d+ .* more than 0\.1 MB\n", refused.err)
    told = mugrow(*dry_run, "--memory", "1GB")
    assert "of 1 GB a step takes" in one_line(told.out)


def one_line(text):
    return " ".join(text.split())
