"""Inheritune end to end on tiny models, and its measures on arms whose answers are known."""

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
from planned_papers import own_figures, planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.recipes.papers.inheritune import paper as inheritune
from mugrow.sweeps.recipes.papers.inheritune.paper import (
    FROM_SCRATCH,
    FULL,
    HYBRID,
    INHERITED,
    MATCHING_SHARE,
    NARROW,
    NEW,
    OLD,
    PAPER,
    PARTS,
    REFERENCE,
    STACKED,
    TWICE,
    by_block,
    late_minus_early,
)
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm

PLANNED = cache(lambda: planned(PAPER).runs)


@pytest.mark.parametrize(
    ("scale", "vocabulary", "depths"),
    [("cpu", 256, {2, 4, 6, 8}), ("gpu", 256, {4, 8, 12, 16}), ("paper", 50257, {9, 18, 27, 36})],
)
def test_every_scale_can_be_planned_sources_first(scale, vocabulary, depths):
    assert {run.spec.model.depth for run in planned(PAPER, scale, vocabulary).runs} == depths


def test_heirs_are_of_a_reference_on_other_batches():
    runs = {run.spec.run_id: run for run in PLANNED()}
    arms = [*INHERITED.values(), *PARTS.values()]
    for run in runs.values():
        if run.arm in arms:
            source = runs[run.spec.start.source_run_id]
            assert (source.arm, source.role) == (REFERENCE, "source")
            assert source.spec.model.depth == 8
            assert source.spec.data_seed == run.spec.data_seed + 1_000_000
    assert {run.arm for run in runs.values()} >= {*arms, FULL, OLD, TWICE, STACKED, HYBRID, NARROW}


def test_a_quarter_of_the_depth_is_a_run_of_nanolm_too():
    ids = {run.spec.run_id for run in PLANNED() if run.arm == FROM_SCRATCH[0.25]}
    assert len(ids) == 3
    assert ids < {node.spec.run_id for node in nanolm.law_runs(setting(PAPER))}


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(inheritune.SEEDS, "cpu", range(2))
    monkeypatch.setitem(inheritune.FEWER, "cpu", range(1))
    model = ModelSpec(width=32, depth=1, head_size=16, context=16)
    some = replace(PAPER, figures=own_figures(PAPER))
    store = reproduced(some, model=model, base=model, batch_sequences=1, steps=10, log_every=5)
    # of a quarter's depth: from scratch, inherited, and the first rounds of stacked and hybrid
    assert len(store.runs) == 2 * 5 + (2 + 1 + 2) + (2 + 2) + 3
    assert by_block(store, "rank").shape == by_block(store, "mass").shape == (2, 4)


# --- arms whose answers are known --------------------------------------------------------------


def planted(ahead, slope=-0.1, full=2e9):
    """Final losses 2.0 minus what an arm is ``ahead``, and attention whose rank moves by ``slope``
    a block, its mass the other way. The full model costs ``full`` FLOPs, a half 1e9."""
    names = {FULL, OLD, TWICE, NEW, STACKED, HYBRID, NARROW, *PARTS.values(),
             FROM_SCRATCH[0.25], FROM_SCRATCH[0.75], *INHERITED.values()}  # fmt: skip
    rows, curves = [], []
    for name in sorted(names):
        for seed in range(5):
            final = 2.0 - ahead.get(name, 0.0) + 0.02 * seed
            flops = full if name == FULL else 1e9
            rows.append({
                "run_id": f"{name}{seed}", "arm": name, "seed": seed, "status": "finished",
                "final_val_loss": final, "flops_tuning": 0.0,
                "flops_source": 2e9 if name.startswith("half inherited") else 0.0,
            })  # fmt: skip
            curves += [
                {"run_id": f"{name}{seed}", "step": step, "tokens": step,
                 "flops": flops * step / 100, "val_loss": final + 1 - step / 100}
                for step in (0, 50, 100)
            ]  # fmt: skip
    seen = [
        {"arm": REFERENCE, "seed": seed, "quantity": f"{quantity}/blocks.{block}",
         "value": 0.5 + sign * slope * block / 8 + 0.001 * seed}
        for quantity, sign in (("rank", 1), ("mass", -1)) for seed in range(5)
        for block in range(12)
    ]  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(curves), pd.DataFrame(), {"scale": "cpu"},
                 pd.DataFrame(seen))  # fmt: skip


def test_blocks_are_in_the_order_of_their_numbers():
    # blocks 9, 10, 11 against 0, 1, 2: 9 blocks further
    assert list(by_block(planted({}), "rank").columns) == list(range(12))
    found = late_minus_early("rank")(planted({}, slope=-0.1))
    assert found.value == pytest.approx(-0.1 * 9 / 8)
    assert found.hi < 0


@pytest.mark.parametrize(
    ("ahead", "share"),
    [
        ({INHERITED[0.75]: 0.1}, 0.75),
        ({NEW: 0.1, INHERITED[0.75]: 0.1}, 0.5),
        ({FULL: 0.1}, 1.0),
    ],
)
def test_the_smallest_depth_that_matches(ahead, share):
    others = dict.fromkeys(INHERITED.values(), -0.1)
    found = MATCHING_SHARE(planted({**others, **ahead}))
    before = max(at for at in (0.25, 0.5, 0.75) if at < share)
    assert (found.value, found.lo, found.hi) == (share, before, share)  # it lies between the two


REPRODUCED = {
    NEW: 0.3, FULL: 0.2, TWICE: 0.4, STACKED: 0.1, HYBRID: 0.1, INHERITED[0.75]: 0.4,
    INHERITED[0.25]: 0.1, **dict.fromkeys(PARTS.values(), 0.2), PARTS["both"]: 0.3,
}  # fmt: skip
OPPOSITE = {
    NEW: -0.3, FULL: 0.2, TWICE: -0.4, INHERITED[0.75]: -0.2, INHERITED[0.25]: -0.1,
    **dict.fromkeys(PARTS.values(), -0.2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("store", "verdict"),
    [
        (planted(REPRODUCED), "reproduced"),
        (planted(OPPOSITE, slope=0.1, full=5e8), "contradicted"),
    ],
)
def test_verdicts_come_out_both_ways(store, verdict):
    claims = [one for one in PAPER.claims(own_figures(PAPER)) if one.measure is not None]
    rows = {row.claim: row.verdict for row in ledger(claims, store)}
    # a half and its reference together cost more than the full model
    assert rows.pop("reference-charged") == "contradicted"
    assert set(rows.values()) == {verdict}, rows
    assert len(rows) == 4 + 3 + 2 + 2 + 3
