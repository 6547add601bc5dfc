import json
import sys

import pytest
from fake_runs import DATA, run_all

from mugrow.bench import entries
from mugrow.bench.spec import UserError, run_spec_from_json
from mugrow.bench.spec import canonical_json as to_json
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import RECIPES, REGISTRY, configured, recipe

# but those that grow an import, see test_imported
TUNED = [name for name in RECIPES if not recipe(name).source]


@pytest.mark.parametrize("name", TUNED)
def test_every_recipe_plans_without_running(name):
    study = recipe(name)
    assert study.name == name
    found = plan(study, DATA, {})
    assert found.stacks
    planned = [*found.stacks, *found.provisional]
    roles = {run.role for stack in planned for run in stack.runs}
    grown = {"source", "target"} if study.ladder else set()
    assert roles == {"proxy"} | grown | ({"trunk", "branch"} if study.budgets and grown else set())
    for stack in planned:
        spec = stack.runs[0].spec
        assert run_spec_from_json(to_json(spec)) == spec


@pytest.mark.integration
@pytest.mark.parametrize("name", TUNED)
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


# --- studies of others ---------------------------------------------------------------------------

FUNCTION = """
from dataclasses import replace
from mugrow.sweeps.recipes.quick import study as quick

def study():
    return replace(quick(), name="theirs", title="A study of theirs")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one study: its module, and the metadata an installer leaves."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def done(code: str) -> None:
        (tmp_path / "their_studies.py").write_text(code)
        about = tmp_path / "their_studies-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-studies\nVersion: 0\n")
        entry = f"[{REGISTRY.group}]\ntheirs = their_studies:study\n"
        (about / "entry_points.txt").write_text(entry)
        entries._installed.cache_clear()
        sys.modules.pop("their_studies", None)

    yield done
    entries._installed.cache_clear()


@pytest.mark.parametrize("code", [FUNCTION, FUNCTION + "study = study()"])
def test_a_study_of_another_package_is_listed_and_planned(install, mugrow, code):
    install(code)
    study = recipe("theirs")
    assert (study.name, study.model) == ("theirs", recipe("quick").model)
    rows = json.loads(mugrow("list", "studies", "--json").out)
    assert rows[-1] == {"name": "theirs", "summary": "A study of theirs"}
    assert [row["name"] for row in rows[:-1]] == list(RECIPES)
    with pytest.raises(UserError, match="unknown study 'thiers'; did you mean 'theirs'"):
        recipe("thiers")


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import bench.spec", "it imports bench.spec; import mugrow.bench.spec instead"),
        ("study = 3", "their_studies:study is not a Study of the name 'theirs'"),
        (FUNCTION.replace('"theirs"', '"mine"'), "is not a Study of the name 'theirs'"),
        ("def study(): raise KeyError('x')", "cannot be loaded: KeyError: 'x'"),
        ("def study(size): pass", "cannot be loaded: TypeError"),
    ],
)
def test_a_broken_study_is_one_line(install, mugrow, code, line):
    install(code)
    ended = mugrow("run", "theirs")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("mugrow: plug-in study 'theirs'")
    assert line in ended.err
    (row,) = [
        r for r in json.loads(mugrow("list", "studies", "--json").out) if r["name"] == "theirs"
    ]
    assert line in row["summary"]


def test_a_study_in_a_file(tmp_path, mugrow):
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    study = configured(str(path), ["seeds=7"], corpus="synthetic")
    assert (study.name, study.seeds, study.corpus) == ("theirs", (7,), "synthetic")
    path.write_text("studdy = 3")
    assert mugrow("run", path).err == f"mugrow: {path} has no study that is a Study\n"
    path.write_text("1 / 0")
    assert mugrow("run", path).err == (
        f"mugrow: {path} cannot be imported: ZeroDivisionError: division by zero\n"
    )
    assert mugrow("run", tmp_path / "none.py").err == f"mugrow: no such file: {tmp_path}/none.py\n"
