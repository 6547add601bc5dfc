"""Evidence of a store with budgets: speed-ups at equal charged compute, carried as cost ratios."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mugrow.analysis.advice.advise import Advice, Question, WeighedEvidence, advise
from mugrow.analysis.read.store import Store, load

SEEDS = (0, 1, 2)
PARAMS, TOKENS = 1e8, 2e9  # scratch's; its flops are 1
SHARE = 0.25  # of the source: half the size on half the tokens
NOISE = (0.001, -0.002, 0.001)


def scratch_loss(flops: float) -> float:
    return 3.0 - 0.2 * math.log2(flops)


def row(name: str, role: str, method: str, width: int, flops: float, loss: float, seed: int,
        source: str | None = None, paid: float = 0.0) -> dict[str, Any]:  # fmt: skip
    params = PARAMS * width / 64
    return {
        "run_id": f"{name}-{seed}", "role": role, "method": method, "width": width, "depth": 2,
        "source_run_id": source and f"{source}-{seed}", "seed": seed, "status": "finished",
        "final_val_loss": loss, "flops": flops, "flops_source": paid, "params": params,
        "tokens": TOKENS * flops * PARAMS / params, "batch_tokens": 1e6, "parametrization": "mup",
        "flops_tuning": 0.0,
        "spec": json.dumps({
            "parametrization": "mup", "hyper": {}, "batch_sequences": 8, "optimizer": "adamw",
            "data": {"corpus_sha256": "0"}, "model": {"width": width}, "steps": 2000,
            "stop_step": None,
            "schedule": {"kind": "wsd", "cooldown_fraction": 0.2, "warmup_fraction": 0.0},
            "start": {"method": method, "params": {}, "source_step": None},
        }),
    }  # fmt: skip


def store(speedup: float, base: Store, budgets: bool = True) -> Store:
    """Scratch at 1, 2 and 4; szp, charged 1.25, is as good as scratch at ``speedup`` times that."""
    rows = []
    for seed in SEEDS:
        last = 0.1 * seed
        rows += [
            row("scratch", "target", "scratch", 64, 1.0, scratch_loss(1) + last, seed),
            row("source", "source", "scratch", 32, SHARE, 9.0, seed),
            row("szp", "target", "szp", 64, 1.0,
                scratch_loss(1.25 * speedup) + last + NOISE[seed], seed, "source", SHARE),
        ]  # fmt: skip
        if budgets:
            rows += [
                row("trunk", "trunk", "scratch", 64, 1.6, 9.0, seed),
                row("two", "branch", "continue", 64, 0.4, scratch_loss(2) + last, seed, "trunk",
                    1.6),
                row("trunk2", "trunk", "continue", 64, 1.6, 9.0, seed, "trunk", 1.6),
                row("four", "branch", "continue", 64, 0.8, scratch_loss(4) + last, seed, "trunk2",
                    3.2),
            ]  # fmt: skip
    points = [
        {"run_id": run["run_id"], "step": step, "flops": run["flops"] * step / 100,
         "val_loss": run["final_val_loss"] + (100 - step) / 100}
        for run in rows for step in (0, 50, 100)
    ]  # fmt: skip
    study = {"name": "own"}
    return replace(base, runs=pd.DataFrame(rows), curves=pd.DataFrame(points), study=study)


@pytest.fixture
def base(study_dir: Path) -> Store:
    return load(study_dir)


def asked(found: Store) -> Advice:
    """For a target that scratch trains for what szp was charged."""
    return advise(
        Question(params=PARAMS, tokens=1.25 * TOKENS, source_params=PARAMS / 2,
                 source_tokens=2 * SHARE * TOKENS),
        found,
    )  # fmt: skip


def evidence(advice: Advice) -> WeighedEvidence:
    (one,) = [one for one in advice.evidence if " measured at " in one.name]
    return one


def test_the_speedup_at_equal_charged_compute_is_the_evidence(base: Store) -> None:
    advice = asked(store(1.2, base))
    one = evidence(advice)
    assert one.name == "szp measured at w64-d2"
    assert (one.state, one.decides, one.at_least) == ("reached", True, False)
    assert one.interval.startswith("speed-up 1.20× [1.1")
    assert "at equal charged compute, 95 % of a paired t test over 3 seeds" in one.interval
    own = 1 / 1.25
    assert one.cost_ratio.value == pytest.approx(own / 1.2)
    assert one.savings["source"].value == pytest.approx(1 - own / 1.2 - SHARE / 1.25)
    assert advice.verdict == "grow"
    assert "speed-up 1.20×" in advice.rule


@pytest.mark.parametrize(("speedup", "verdict"), [
    (1.0, "too close to call"), (0.95, "scratch"), (1.05, "grow"),
])  # fmt: skip
def test_at_its_own_charge_the_saving_has_the_sign_of_the_speedup(
    base: Store, speedup: float, verdict: str
) -> None:
    """Unlike savings at a fixed loss it can show that growing does not pay."""
    assert asked(store(speedup, base)).verdict == verdict


def test_a_speedup_beyond_the_budgets_stays_a_bound(base: Store) -> None:
    advice = asked(store(4.0, base))  # as good as 5, where 4 is the last budget
    one = evidence(advice)
    assert one.state == "above_budgets"
    assert one.interval.startswith("speed-up > 3.20× [3.20, ?]")
    assert one.cost_ratio.value == one.cost_ratio.hi == pytest.approx(1 / 4)
    assert one.cost_ratio.lo == 0
    assert advice.verdict == "grow"
    worse = asked(store(0.5, base))  # worse than 1, the first
    one = evidence(worse)
    assert one.state == "below_budgets"
    assert one.interval.startswith("speed-up < 0.80× [0.00, 0.80]")
    assert one.cost_ratio.value == one.cost_ratio.lo == pytest.approx(1)
    assert one.cost_ratio.hi == math.inf
    assert worse.verdict == "scratch"


def test_without_budgets_it_is_at_a_fixed_loss_as_before(base: Store) -> None:
    one = evidence(asked(store(1.2, base, budgets=False)))
    assert one.at_least
    assert "equal charged compute" not in one.interval


def test_the_command_says_that_a_bound_is_one(
    base: Store, mugrow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = store(4.0, base)
    monkeypatch.setattr("mugrow.analysis.read.store.load", lambda path: found)
    words = ("--params", PARAMS, "--tokens", 1.25 * TOKENS, "--store", "own",
             "--source-params", PARAMS / 2, "--source-tokens", 2 * SHARE * TOKENS)  # fmt: skip
    ended = mugrow("advise", *words)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("GROW: ")
    (line,) = [
        line for line in ended.out.splitlines() if "szp measured at" in line and "yes" in line
    ]
    assert "> 55%" in line
