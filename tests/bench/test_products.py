"""What a CPU's products are of changes speed and last bits, and neither precision nor settings."""

from dataclasses import replace

import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of, vary

from mugrow.bench import products, train
from mugrow.bench.precision import float32_products
from mugrow.bench.products import by_onednn, quicker_by_onednn, wide_amd
from mugrow.bench.spec import ModelSpec, RunSpec, llama
from mugrow.bench.split import Split
from mugrow.bench.stack import Stack, StackState, begin

ZEN5 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"
MODEL = ModelSpec(width=16, depth=1, head_size=16, context=32, vocab_size=32)


@pytest.mark.parametrize(
    ("cpuinfo", "wide"),
    [
        (ZEN5, True),
        (ZEN5.replace("26", "27"), True),
        (ZEN5.replace("26", "25"), False),
        (ZEN5.replace("AuthenticAMD", "GenuineIntel"), False),
        ("processor\t: 0\nFeatures\t: asimd\n", False),
        ("", False),
    ],
)
def test_a_cpu_is_known_by_its_maker_and_family(cpuinfo, wide):
    assert wide_amd(cpuinfo) == wide


@pytest.mark.parametrize("rounds", [False, True])
def test_products_of_rounded_factors_are_no_products_of_float32(rounds, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(ZEN5)
    monkeypatch.setattr(products, "CPUINFO", cpuinfo)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name in ("bmm", "mm"):
        monkeypatch.setattr(torch, name, multiplied(getattr(torch, name), rounds))
    assert quicker_by_onednn.__wrapped__() != rounds


def multiplied(product, rounds):
    def of(a, b):
        a, b = (a.bfloat16(), b.bfloat16()) if rounds else (a, b)
        return product(a.double(), b.double()).float()

    return of


@pytest.fixture
def quicker(monkeypatch):
    monkeypatch.setattr(products, "quicker_by_onednn", lambda: True)


def test_small_products_are_not_worth_the_call(quicker):
    assert by_onednn(MODEL, 8 * 32)
    assert not by_onednn(MODEL, 4 * 32)
    assert by_onednn(replace(MODEL, width=32), 4 * 32)
    assert not by_onednn(replace(MODEL, width=32, context=16), 4 * 32)


def precision_in_training(
    run: RunSpec, monkeypatch: pytest.MonkeyPatch, split: Split | None = None
) -> list[str]:
    """Of a CPU's products, whenever members are worked on."""
    seen: list[str] = []
    in_groups = train._Program._in_groups

    def looked(program, work, most):
        seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return in_groups(program, work, most)

    monkeypatch.setattr(train._Program, "_in_groups", looked)
    trained([run], split)
    return seen


LARGE = vary(model=MODEL, base=MODEL, batch_sequences=8, steps=2)


@pytest.mark.parametrize(
    ("run", "taken"),
    [
        (LARGE, True),
        (replace(LARGE, batch_sequences=4), False),
        (replace(LARGE, model=replace(MODEL, window=8), base=replace(MODEL, window=8)), False),
        (replace(LARGE, precision="bf16"), False),
    ],
)
def test_a_run_is_trained_by_one_library_and_settings_are_put_back(
    run, taken, quicker, monkeypatch
):
    before = torch.backends.mkldnn.matmul.fp32_precision
    assert set(precision_in_training(run, monkeypatch)) == {"bf16" if taken else "ieee"}
    assert torch.backends.mkldnn.matmul.fp32_precision == before == "none"


def test_where_memory_is_stated_attention_keeps_no_probabilities_and_products_are_mkls(
    quicker, monkeypatch
):
    assert set(precision_in_training(LARGE, monkeypatch, Split(1, 8))) == {"ieee"}


def test_settings_are_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), float32_products("float32", "cpu", onednn=True):
        _ = 1 / 0
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


def trained(runs: list[RunSpec], split: Split | None = None) -> StackState:
    stack = Stack(runs, split=split)
    state = begin(stack, [start_of(run) for run in runs])
    for _ in train.advance(stack, state, skewed_tokens()):
        pass
    return state


needs_it = pytest.mark.skipif(
    not quicker_by_onednn(), reason="this CPU's products are MKL's in any case"
)
RUNS = [replace(LARGE, steps=RUN.steps, seed=seed) for seed in range(5)]


@needs_it
def test_a_stack_trains_the_same_but_for_rounding(monkeypatch):
    ours = trained(RUNS)
    monkeypatch.setattr(products, "quicker_by_onednn", lambda: False)
    theirs = trained(RUNS)
    for one, other in zip(ours.curves, theirs.curves, strict=True):
        assert [row["val_loss"] for row in one] == pytest.approx(
            [row["val_loss"] for row in other], rel=1e-5
        )
    assert not torch.equal(ours.optimizer.weights_KP, theirs.optimizer.weights_KP)


@needs_it
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_no_bit_of_a_product_depends_on_members_beside(at_once):
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(7, *shape, generator=rng) for shape in ((256, 32), (32, 96)))
    with float32_products("float32", "cpu", onednn=True):
        together = torch.bmm(a, b)
        parts = [torch.bmm(*pair) for pair in zip(a.split(at_once), b.split(at_once), strict=True)]
    assert torch.equal(torch.cat(parts), together)


def test_llama_flavours_are_taken_too(quicker, monkeypatch):
    model = llama(width=32, depth=1, head_size=16, context=32, vocab_size=32)
    run = replace(LARGE, model=model, base=model)
    assert set(precision_in_training(run, monkeypatch)) == {"bf16"}
    grouped = replace(model, kv_heads=1)
    other = replace(LARGE, model=grouped, base=grouped)
    assert set(precision_in_training(other, monkeypatch)) == {"ieee"}
