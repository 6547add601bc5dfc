"""What a study's search means under each of its parametrizations, and what is refused."""

import math
import re
from dataclasses import replace

import pytest
from fake_runs import DATA, STUDY

from mugrow.bench.optim import lion
from mugrow.bench.parametrization import REGISTRY, parametrization, umup
from mugrow.bench.spec import FixedHyper, UserError
from mugrow.sweeps import ranges
from mugrow.sweeps.override import override
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.search import searches
from mugrow.sweeps.study import Variant

BOTH = replace(STUDY, parametrizations=("mup", "umup"))
UMUP = replace(
    STUDY, parametrizations=("umup", "mup"), log2_lr=(-3.0, -2.0, -1.0, 0.0), init_std=(1.0,)
)


def test_a_family_of_one_range_is_searched_as_the_study_says():
    family = ("mup", "sp", "sp_embedding", "completep:alpha=0.5", "completedp", "mup_package")
    study = replace(STUDY, parametrizations=family, hyper=FixedHyper(weight_decay=0.3))
    for search in searches(study, DATA):
        assert search.log2_lr == study.log2_lr
        assert search.base_init_std == study.base_init_std
        (spec, _) = search.specs(-7.0, 0.04)
        assert spec.hyper == study.hyper.at(lr=2.0**-7, init_std=0.04)


def test_unit_scaled_mup_beside_mup_is_searched_near_one():
    study = override(recipe("quick"), ["parametrizations=mup,umup"])
    runs = [r.spec for r in plan(study, DATA, {}).runs if r.spec.parametrization == "umup"]
    rates = sorted({math.log2(spec.hyper.lr) for spec in runs})
    assert rates == pytest.approx([-2.5, -1.75, -1.0, -0.25, 0.5, 1.25, 2.0], abs=1e-12)
    assert {spec.hyper.init_std for spec in runs} == {1.0}
    assert {spec.hyper.decay for spec in runs} == {"independent"}
    (decay,) = {spec.hyper.weight_decay for spec in runs}
    assert decay == pytest.approx(0.1 * 2**-7.5)
    plain = plan(recipe("quick"), DATA, {}).runs
    beside = plan(study, DATA, {}).runs
    assert [r.spec.run_id for r in beside if r.spec.parametrization == "mup"] == [
        r.spec.run_id for r in plain if r.spec.parametrization == "mup"
    ]


def test_the_study_is_meant_for_its_first_parametrization():
    first, _, second, _ = searches(UMUP, DATA)
    assert (first.parametrization, second.parametrization) == ("umup", "mup")
    assert first.log2_lr == UMUP.log2_lr
    assert first.init_std == UMUP.init_std
    assert second.log2_lr == (-9.5, -8.5, -7.5, -6.5)
    assert second.init_std == (pytest.approx(0.1),)
    assert second.specs(-7.5, 0.1)[0].hyper.decay == "scaled"


def test_spectral_has_a_range_of_its_own_and_the_same_scale():
    study = replace(STUDY, parametrizations=("mup", "spectral"))
    assert ranges.log2_lr(study, "spectral") == tuple(rate + 2 for rate in STUDY.log2_lr)
    assert ranges.base_init_std(study, "spectral") == STUDY.base_init_std


@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_a_sampler_asks_within_the_moved_range(sampler):
    study = replace(BOTH, sampler=sampler)
    umups = [search for search in searches(study, DATA) if search.parametrization == "umup"]
    for search in umups:
        assert (search.log2_lr[0], search.log2_lr[-1]) == (-3.5, 2.5)
        assert search.log2_lr[1] - search.log2_lr[0] == 1 / 8


@pytest.mark.parametrize(
    "fixed",
    [FixedHyper(weight_decay=0.0), FixedHyper(decay="independent", weight_decay=2.0**-13)],
)
def test_decay_that_is_none_or_independent_is_as_asked(fixed):
    assert ranges.hyper(replace(BOTH, hyper=fixed), "umup") == fixed


def test_a_far_search_is_refused_and_its_line_says_what_to_set():
    study = replace(STUDY, parametrizations=("umup",))
    with pytest.raises(UserError) as refused:
        searches(study, DATA)
    line = str(refused.value)
    assert "parametrization 'umup' trains at a log2_lr of -3 to 1 and an init_std of 1" in line
    assert "not at -10 to -4 and 0.04" in line
    assert "\n" not in line
    assignments = re.findall(r"\S+=\S+", line)
    assert len(assignments) == 2
    (first, *_) = searches(override(study, assignments), DATA)
    assert first.log2_lr == (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0)
    assert first.init_std == (1.0,)


def test_either_alone_is_refused_too():
    for far in ({"log2_lr": STUDY.log2_lr}, {"init_std": (0.1,)}):
        with pytest.raises(UserError, match="'umup' trains at"):
            searches(replace(UMUP, **far), DATA)


def test_a_variant_is_held_to_its_own_range():
    changes = ("parametrizations=umup",)
    with pytest.raises(UserError, match="'umup' trains at"):
        searches(replace(STUDY, variants=(Variant("unit", changes),)), DATA)


@pytest.mark.parametrize(("away", "far"), [(-6.5, False), (-6.75, True), (6.5, False), (7, True)])
def test_far_is_the_middle_more_than_three_doublings_outside(away, far):
    """Of 2^-11 to 2^-4, whose middle is 2^-7.5."""
    study = replace(STUDY, log2_lr=tuple(-7.5 + away + step for step in (-1, 0, 1)))
    if far:
        with pytest.raises(UserError, match="'mup' trains at a log2_lr of -11 to -4"):
            ranges.check(study, "mup")
    else:
        ranges.check(study, "mup")


def test_an_unknown_range_moves_and_refuses_nothing(monkeypatch):
    monkeypatch.setattr(umup, "PARAMETRIZATION", replace(umup.PARAMETRIZATION, search=None))
    assert ranges.log2_lr(BOTH, "umup") == STUDY.log2_lr
    assert ranges.base_init_std(BOTH, "umup") == STUDY.base_init_std
    ranges.check(BOTH, "umup")


def test_ranges_are_of_optimizers_that_set_their_own_step(monkeypatch):
    study = replace(STUDY, parametrizations=("sp",), optimizer="lion", log2_lr=(0.0, 1.0))
    with pytest.raises(UserError, match="'sp' trains at"):
        ranges.check(study, "sp")
    monkeypatch.setattr(lion, "OPTIMIZER", replace(lion.OPTIMIZER, step_size="gradient"))
    ranges.check(study, "sp")


@pytest.mark.parametrize("name", REGISTRY.builtin)
def test_every_one_of_ours_says_where_it_is_searched(name):
    found = parametrization(name).search
    assert found is not None
    low, high = found.log2_lr
    assert low < found.middle_log2_lr < high
    assert 0 < found.init_std[0] <= found.middle_init_std <= found.init_std[1]
