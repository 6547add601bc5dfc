"""Claims of methods that are somebody else's: measured once each, and never those of ours."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mugrow.bench import growth
from mugrow.bench.growth import method
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec, Start
from mugrow.sweeps import preserved
from mugrow.sweeps.preserved import claims_measured

STACK = method("stack")
EXACT = method("llama_pro")


def planned(small_run, *starts):
    """A plan of a source and of targets grown from it, two blocks deeper each."""
    specs = [small_run] + [
        replace(
            small_run,
            model=replace(small_run.model, depth=2 * (place + 1)),
            start=replace(start, source_run_id=small_run.run_id),
        )
        for place, start in enumerate(starts)
    ]
    stacks = [SimpleNamespace(runs=[SimpleNamespace(spec=spec)]) for spec in specs]
    return SimpleNamespace(stacks=stacks[:1], provisional=stacks[1:])


@pytest.fixture
def entries(monkeypatch):
    """Methods that are in nobody's package: ``entries[name] = entry``."""
    found = {}
    monkeypatch.setattr(growth, "FROM_FILES", found)
    return found


@pytest.fixture
def source():
    model = ModelSpec(width=16, depth=1, head_size=8, context=8, vocab_size=40)
    return RunSpec(
        model=model, base=model, parametrization="mup", hyper=HyperSpec(lr=0.01, init_std=0.1),
        schedule=ScheduleSpec(), data=DataSpec(corpus="a", corpus_sha256="0", val_tokens=16),
        batch_sequences=2, steps=2, seed=0, data_seed=0, log_every=1,
    )  # fmt: skip


def in_place(weights, small, big, init, rng, **given):
    found = EXACT.grow(weights, small, big, init, rng, **given)
    for tensor in weights.values():
        tensor.mul_(0.5)
    return {name: 0.5 * tensor for name, tensor in found.items()}


def test_a_claim_is_said_with_the_error_measured(entries, source):
    entries["true"] = replace(EXACT, name="true", preserves="the logits, exactly")
    entries["false"] = replace(STACK, name="false", preserves="all", breaks=EXACT.breaks)
    entries["modest"] = replace(EXACT, name="modest", preserves="little", breaks=STACK.breaks)
    entries["hides"] = replace(EXACT, name="hides", preserves="all", grow=in_place)
    entries["raises"] = replace(EXACT, name="raises", preserves="all", grow=lambda *given: 1 / 0)
    lines = claims_measured(planned(source, *(Start(method=name) for name in entries)))
    said = dict(zip(entries, lines, strict=True))
    assert said["true"].startswith("method 'true' says that it preserves the logits, exactly; meas")
    assert said["true"].endswith("relative difference of the logits 0, 16 × 1 to 16 × 2")
    for name in ("false", "hides"):
        assert "preserves all; measured: relative difference of the logits 0." in said[name]
        assert "(the logits are not the source's, and nothing should break)" in said[name]
    assert "(the logits are the source's, in spite of: " in said["modest"]
    assert "measured: ZeroDivisionError: division by zero, 16 × 1 to 16 × 10" in said["raises"]


def test_once_a_method_and_its_parameters_at_the_smallest_growth(entries, source):
    entries["frozen"] = replace(EXACT, name="frozen")
    starts = [Start(method="frozen", params=(("freeze", freeze),)) for freeze in (True, False)]
    lines = claims_measured(planned(source, *starts, *starts, Start(method="frozen")))
    assert [line.rpartition(", ")[2] for line in lines] == [
        "16 × 1 to 16 × 2",
        "16 × 1 to 16 × 4",
        "16 × 1 to 16 × 10",
    ]


def test_of_large_growths_the_kits_own_small_models_stand_in(entries, source, monkeypatch):
    entries["huge"] = replace(EXACT, name="huge")
    monkeypatch.setattr(preserved, "LARGEST", 1000)
    (line,) = claims_measured(planned(source, Start(method="huge")))
    assert line.endswith("0, 16 × 2 to 16 × 4")


def test_ours_cost_nothing_and_no_generator_is_moved(entries, source, monkeypatch):
    def grow(*given, **params):
        torch.manual_seed(0)
        return EXACT.grow(*given, **params)

    entries["seeds"] = replace(EXACT, name="seeds", grow=grow)
    before = torch.get_rng_state()
    assert len(claims_measured(planned(source, Start(method="seeds")))) == 1
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(preserved, "_line", lambda *given: 1 / 0)
    assert claims_measured(planned(source, Start(method="stack"), Start(method="llama_pro"))) == []
