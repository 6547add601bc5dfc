"""nanoLM on tiny models, and its predictions where the law is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planned_papers import setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import factors_json
from mugrow.bench.model import count
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm
from mugrow.sweeps.recipes.papers.nanolm.paper import (
    PAPER,
    error_percent,
    of_width,
    predicted,
    widest_minus_narrower,
)

SIZES = (8.53, 21.56, 39.09, 61.12, 87.65, 118.68, 154.21)  # in millions: muScaling's models
HELD_OUT = (200.0, 676.48, 1446.72)
WIDTHS = (*nanolm.FITTED["paper"], *nanolm.HELD_OUT["paper"])


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setattr(bases, "BASIN_SEEDS", range(2))
    monkeypatch.setattr(nanolm, "LAW_SEEDS", range(2))
    monkeypatch.setattr(bases, "BASIN_LOG2_LR", (-1.0, 0.0, 1.0))
    monkeypatch.setitem(nanolm.BASINS, "cpu", (1, 2))
    monkeypatch.setitem(nanolm.FITTED, "cpu", (1, 2, 3, 4))
    monkeypatch.setitem(nanolm.HELD_OUT, "cpu", (5, 6))
    store = reproduced(PAPER)
    assert set(store.runs["arm"]) == {"mup", "sp", "mup basins", "sp basins"}
    assert len(store.runs) == 2 * 2 * (2 * 3 + 6)


def test_the_paper_scale_has_the_papers_models():
    runs = list(nanolm.law_runs(setting(PAPER, "paper", 32128)))
    widths = sorted({node.spec.model.width for node in runs})
    assert widths == [128, 256, 384, 512, 640, 768, 896, 1024, 2048, 3072]
    hidden = {node.spec.model.width: count(node.spec.model)[1] for node in runs}
    assert hidden[3072] == pytest.approx(12 * 6 * 3072**2, rel=0.01)


# --- laws that are known -----------------------------------------------------------------------


def law_store(loss, noise=0.0, seeds=range(3)):
    """Both parametrizations at muScaling's sizes and two held out, ``loss(params in M, name)``."""
    draw = np.random.default_rng(0)
    rows = [
        {
            "arm": name, "factors": factors_json(of_width(name, width)), "seed": seed,
            "status": "finished", "params": round(size * 1e6),
            "final_val_loss": loss(size, name) + draw.normal(0, noise),
        }
        for name in ("mup", "sp")
        for width, size in zip(WIDTHS, (*SIZES, *HELD_OUT), strict=True)
        for seed in seeds
    ]  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {"scale": "paper"})


def law(size, name="mup"):
    return 2.469 * size**-0.423 + 2.923


def test_the_published_law_predicts_the_published_loss():
    found = predicted([s * 1e6 for s in SIZES], [law(size) for size in SIZES], 1446.72e6)
    assert found == pytest.approx(3.0369, abs=5e-4)  # the published coefficients are rounded


@pytest.mark.parametrize(("bend", "largest"), [(1.02, 1), (0.97, 2)])
def test_an_error_is_of_the_prediction_over_the_truth(bend, largest):
    """The law holds but at the held-out model in question."""
    off = (1446.72, 676.48)[largest - 1]
    store = law_store(lambda size, name: law(size) * (bend if size == off else 1))
    found = error_percent("mup", largest)(store)
    assert found.value == pytest.approx(100 * (1 / bend - 1), abs=1e-3)
    assert found.hi - found.lo < 1e-3


def test_what_no_model_was_held_out_from_is_no_prediction():
    """A bend at the held-out models moves nothing that is fitted."""
    straight = error_percent("mup", 1)(law_store(lambda size, name: law(size)))
    bent = error_percent("mup", 1)(law_store(lambda size, name: law(size) + (size > 600)))
    assert straight.value == pytest.approx(0, abs=1e-3)
    assert bent.value < -20


def test_a_rise_is_over_the_best_of_the_narrower():
    store = law_store(lambda size, name: law(size) + 0.5 * (size > 100))
    assert widest_minus_narrower("sp")(store).value == pytest.approx(
        law(1446.72) + 0.5 - law(87.65)
    )


@pytest.mark.integration
def test_verdicts_come_out_both_ways():
    def verdicts(store):
        claims = PAPER.figures["M2"].claims
        return {row.claim: row.verdict for row in ledger(claims, store)}

    def sp_rises(size, name):
        return law(size) + (0.3 if name == "sp" and size > 1000 else 0)

    good = verdicts(law_store(sp_rises, noise=1e-4))
    assert set(good.values()) == {"reproduced"}
    bad = verdicts(law_store(lambda size, name: law(size) * (1.02 if size > 600 else 1), 1e-4))
    assert set(bad.values()) == {"contradicted"}
    noisy = verdicts(law_store(sp_rises, noise=0.1))
    assert noisy["predicts-largest"] == "inconclusive at this scale"


def test_the_base_shape_is_part_of_every_run():
    given = setting(PAPER)
    for node in (*nanolm.basin_runs(given), *nanolm.law_runs(given)):
        assert node.spec.base == given.run.model
        assert replace(node.spec.model, width=32) == given.run.model
