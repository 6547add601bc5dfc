import pytest
from fake_runs import DATA, run_all

from mugrow.bench.spec import UserError, run_spec_from_json
from mugrow.bench.spec import canonical_json as to_json
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_plans_without_running(name):
    study = recipe(name)
    assert study.name == name
    found = plan(study, DATA, {})
    assert found.stacks
    planned = [*found.stacks, *found.provisional]
    roles = {run.role for stack in planned for run in stack.runs}
    assert roles == ({"proxy", "source", "target"} if study.ladder else {"proxy"})
    for stack in planned:
        spec = stack.runs[0].spec
        assert run_spec_from_json(to_json(spec)) == spec


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_fit_for_its_claims(name):
    """A parabola needs five rates; intervals need seeds; a comparison needs all of its arms."""
    study = recipe(name)
    assert len(study.log2_lr) >= 7
    assert len(study.init_std) == 1 or len(study.init_std) >= 3  # fixed, or searched
    assert len(study.seeds) >= 2
    assert max(b - a for a, b in zip(study.log2_lr, study.log2_lr[1:], strict=False)) <= 1
    if study.ladder:
        done, _ = run_all(study)
        used = {run.spec.start.method for run in done.runs if run.role == "target"}
        assert used == {method.name for method in study.methods}


def test_an_unknown_recipe():
    with pytest.raises(UserError, match="unknown study 'quikc'; did you mean 'quick'"):
        recipe("quikc")
