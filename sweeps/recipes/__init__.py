"""Studies by name, one a file: a recipe's ``study()`` says what is run, its docstring why."""

from importlib import import_module

from mugrow.bench.spec import unknown
from mugrow.sweeps.study import Study

RECIPES = {
    "quick": "tune, transfer and grow at toy scale, end to end in minutes",
    "zoo": "every growth method on one target, from half its width, half its depth or twice it",
    "small": "two rungs of growth up to width 256, in width and in depth, on real prose",
    "transfer-width": "does the best learning rate stay as width grows, by parametrization",
    "transfer-depth": "and as depth grows, under muP, depth-muP and CompleteP",
    "transfer-growth": "and after growth by four operators, at three growth factors",
    "breakers": "eight choices that may break its transfer, each switched alone",
}


def recipe(name: str) -> Study:
    """The study called ``name``; ``UserError`` when there is none."""
    if name not in RECIPES:
        raise unknown("study", name, RECIPES)
    study = import_module(f"mugrow.sweeps.recipes.{name.replace('-', '_')}").study()
    assert isinstance(study, Study)
    return study
