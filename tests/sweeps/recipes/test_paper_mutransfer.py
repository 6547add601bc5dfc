"""muTransfer's first figure on tiny models, and its measures on bowls that are known."""

import numpy as np
import pandas as pd
import pytest
from planned_papers import setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName, factors_json
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.mutransfer import paper as mutransfer
from mugrow.sweeps.recipes.papers.mutransfer.paper import PAPER, widest_gain, worst_step
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setattr(bases, "BASIN_SEEDS", range(2))
    monkeypatch.setattr(bases, "BASIN_LOG2_LR", tuple(np.arange(-2.0, 2.5, 0.5)))
    monkeypatch.setitem(bases.BASIN_WIDTHS, "cpu", (1, 2))
    assert len(reproduced(PAPER, steps=12, log_every=6).runs) == 2 * 2 * 2 * 9


def test_its_runs_are_those_of_nanolm():
    given = setting(PAPER)
    theirs = {node.spec.run_id for node in nanolm.basin_runs(given)}
    assert {node.spec.run_id for node in mutransfer.runs(given)} == theirs


def test_the_paper_scale_has_the_papers_widths():
    runs = mutransfer.runs(setting(PAPER, "paper", 50257))
    widths = {node.spec.model.width for node in runs}
    assert widths == {128, 256, 512, 1024, 2048, 4096, 8192}


# --- bowls that are known ----------------------------------------------------------------------


def bowls(drift, gain=0.1, noise=0.0):
    """Losses 2 - gain log2(width / 32) + 0.1 (log2 lr - best)^2, the best of parametrization p at
    -7 + drift[p] log2(width / 32)."""
    draw, rows = np.random.default_rng(0), []
    for name, slope in drift.items():
        for doublings in range(3):
            for seed in range(3):
                for log2_lr in np.arange(-10, -3.5, 0.5):
                    away = log2_lr - (-7 + slope * doublings)
                    loss = 2 - gain * doublings + 0.1 * away**2 + 0.02 * seed
                    arm = ArmName(f"{name} basins", parametrization=name, width=2**doublings,
                                  log2_lr=log2_lr)  # fmt: skip
                    rows.append({
                        "arm": arm, "factors": factors_json(arm), "seed": seed,
                        "final_val_loss": loss + draw.normal(0, noise),
                    })  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {})


def test_at_the_narrow_ones_rate_what_the_widest_gains():
    store = bowls({"mup": 0.0, "sp": -1.0})
    assert widest_gain(store, "mup")(store).value == pytest.approx(-0.1)
    assert widest_gain(store, "sp")(store).value == pytest.approx(-0.1 + 0.1 * (4 - 1))


def test_the_worst_step_is_over_rates_and_widths():
    store = bowls({"mup": 0.0})
    assert worst_step(store)(store).value == pytest.approx(-0.1)
    # bests at -7, -7.5 and -8: at -6, the widest loses 0.1 (2^2 - 1.5^2) and gains 0.1
    store = bowls({"mup": -0.5})
    assert worst_step(store)(store).value == pytest.approx(0.1 * (4 - 2.25) - 0.1)


@pytest.mark.parametrize(("drift", "verdict"), [(-1.0, "reproduced"), (0.0, "contradicted")])
def test_verdicts_come_out_both_ways(drift, verdict):
    store = bowls({"mup": 0.0 if drift else -1.0, "sp": drift}, noise=1e-4)
    claims = [one for one in PAPER.figures["1"].claims if "wider" in one.name]
    assert {row.verdict for row in ledger(claims, store)} == {verdict}
