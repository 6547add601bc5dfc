"""Plug-ins of others: what is wrong with one is its own matter, and is said."""

import json
import sys
from importlib.metadata import EntryPoint

import pytest

from mugrow.analysis import laws
from mugrow.bench import entries, evaluation, growth, optim, parametrization
from mugrow.bench.spec import UserError
from mugrow.sweeps import engines, listing, recipes, trackers
from mugrow.sweeps.recipes import papers

REGISTRIES = {
    "methods": growth.REGISTRY,
    "parametrizations": parametrization.REGISTRY,
    "optimizers": optim.REGISTRY,
    "forms": laws.REGISTRY,
    "evaluations": evaluation.REGISTRY,
    "studies": recipes.REGISTRY,
    "papers": papers.REGISTRY,
    "engines": engines.REGISTRY,
    "trackers": trackers.REGISTRY,
}
BROKEN = {
    "exits": "import sys\nsys.exit(0)\n",
    "raises": 'raise BaseException("x")\n',
    "syntax": "def (\n",
    "other": "ENTRY = 1\n",
    "lacks": "",
}


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install modules: ``plug_in(registry, name="code")``, each an entry point of that name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    found: dict[str, list[EntryPoint]] = {}

    def install(registry, **codes):
        for name, code in codes.items():
            module = f"plugged_{registry.noun}_{name}"
            sys.modules.pop(module, None)
            (tmp_path / f"{module}.py").write_text(code)
            one = EntryPoint(name, f"{module}:ENTRY", registry.group)
            found.setdefault(registry.group, []).append(one)
        entries._installed.cache_clear()

    monkeypatch.setattr(entries, "all_installed", lambda group: tuple(found.get(group, ())))
    entries._installed.cache_clear()
    yield install
    entries._installed.cache_clear()


@pytest.mark.parametrize("kind", REGISTRIES)
def test_broken_plug_ins_are_rows_of_every_listing(plug_in, kind):
    registry = REGISTRIES[kind]
    ours = [row["name"] for row in listing.listing(kind)]
    plug_in(registry, **BROKEN)
    rows = {row["name"]: row for row in listing.listing(kind)}
    assert list(rows) == [*ours, *sorted(BROKEN)]
    for name in BROKEN:
        assert f"plug-in {registry.noun} {name!r}" in rows[name]["summary"]
        assert rows[name].keys() == rows[ours[0]].keys()
    assert "cannot be loaded: SystemExit: 0" in rows["exits"]["summary"]
    assert "is not a " in rows["other"]["summary"]


def test_a_plug_in_that_lies_about_its_fields_is_a_row(plug_in):
    code = (
        "from mugrow.bench.growth import GrowthMethod\n"
        'ENTRY = GrowthMethod("odd", "s", "p", 3, "nothing", lambda a, b: None, grow=None)\n'
    )
    plug_in(growth.REGISTRY, odd=code)
    (row,) = [row for row in listing.listing("methods") if row["name"] == "odd"]
    assert row["summary"].startswith(
        "plug-in method 'odd' cannot be loaded: axes of method 'odd' must be a tuple of width and"
    )


def test_a_plug_in_with_a_name_of_ours_is_ignored_and_told(plug_in):
    plug_in(growth.REGISTRY, szp=BROKEN["exits"])
    rows = [row for row in listing.listing("methods") if row["name"] == "szp"]
    assert rows[0]["summary"] == growth.method("szp").summary
    assert rows[1]["summary"] == (
        "ignored: plug-in plugged_method_szp:ENTRY has the name of a method of ours"
    )


def test_two_plug_ins_of_one_name_are_told_apart(plug_in, monkeypatch):
    both = [EntryPoint("twin", f"{module}:ENTRY", "mugrow.methods") for module in ("one", "two")]
    monkeypatch.setattr(entries, "all_installed", lambda group: tuple(both))
    entries._installed.cache_clear()
    assert growth.REGISTRY.ignored() == {
        "twin": "plug-in one:ENTRY is ignored: another has its name"
    }


def test_all_forms_are_fitted_but_the_broken(plug_in, mugrow, tmp_path):
    plug_in(laws.REGISTRY, exits=BROKEN["exits"])
    loaded, reasons = laws.REGISTRY.loadable()
    assert len(loaded) == len(laws.REGISTRY.builtin)
    assert len(reasons) == 1
    table = tmp_path / "table.csv"
    rows = [(n, d) for n in (1e6, 4e6, 16e6, 64e6) for d in (1e8, 4e8, 16e8)]
    lines = (f"{n:g},{d:g},{1.5 + 400 * n**-0.3 + 900 * d**-0.3}" for n, d in rows)
    table.write_text("n,d,loss\n" + "\n".join(lines))
    ended = mugrow("fit", table, "--form", "all", "--loss", "loss", "--n", "n", "--d", "d")
    assert ended.code == 0
    assert "plug-in form 'exits' cannot be loaded: SystemExit: 0" in ended.err


def test_check_all_goes_through_the_others(plug_in, mugrow, monkeypatch):
    plug_in(growth.REGISTRY, exits=BROKEN["exits"], szp="")
    monkeypatch.setattr("mugrow.sweeps.check.check_method", lambda *given, **more: iter(()))
    ended = mugrow("check", "--all", "--json")
    assert ended.code == 1
    assert [row["method"] for row in json.loads(ended.out)] == ["exits"]
    assert "has the name of a method of ours" in ended.err


PAPER = """
from mugrow.sweeps.paper import Paper, PaperFigure, Text
from mugrow.sweeps.recipes.papers import bases
class Odd(BaseException): pass
def runs(setting):
    {raises}
    yield
figure = PaperFigure("title", "caption", runs, lambda store: None)
{entry} = Paper(
    name="own", arxiv="0000.00000", title="On growing", summary="two arms",
    bases={{"cpu": bases.cpu}}, corpora={{"text": {{"cpu": Text("stdlib")}}}},
    figures={{"F1": figure}},
)
"""
RAISED = {
    "import sys; sys.exit(0)": "SystemExit: 0",
    "raise SystemExit": "SystemExit",
    "1 / 0": "ZeroDivisionError: division by zero",
    "raise Odd('x')": "Odd: x",
    "setting.nothing": "AttributeError: 'Setting' object has no attribute 'nothing'",
}


@pytest.mark.parametrize("raises", RAISED)
def test_what_a_papers_own_code_raises_is_one_line_with_its_place(
    plug_in, mugrow, tmp_path, raises
):
    file = tmp_path / "own.py"
    file.write_text(PAPER.format(raises=raises, entry="PAPER"))
    plug_in(papers.REGISTRY, own=PAPER.format(raises=raises, entry="ENTRY"))
    for word, module in ((file, file), ("own", tmp_path / "plugged_paper_own.py")):
        ended = mugrow("reproduce", word, "--dry-run")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"mugrow: {module}:6 raised {RAISED[raises]}\n"


def test_a_broken_plug_in_by_its_name_is_one_line(plug_in):
    plug_in(growth.REGISTRY, **BROKEN)
    for name in BROKEN:
        with pytest.raises(UserError, match=f"plug-in method '{name}'"):
            growth.method(name)
