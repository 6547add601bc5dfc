"""Does growing a trained model save compute, once the small model and the tuning are paid for?

Everything that the program ``mugrow`` prints, these functions return, as typed objects and data
frames. A name is imported when it is first used, so ``import mugrow`` is quick and brings no torch.

>>> import mugrow
>>> store = mugrow.load("results/reference/quick")
>>> mugrow.transfer(store).ladders[0].verdict.word
'drifts'
>>> figure = mugrow.draw("costs", store)
>>> type(figure)
<class 'matplotlib.figure.Figure'>
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mugrow.analysis.advice.advise import Question, advise
    from mugrow.analysis.laws.families import extrapolate
    from mugrow.analysis.laws.table_fit import fit
    from mugrow.analysis.measure.across import compare
    from mugrow.analysis.measure.claims import Claim
    from mugrow.analysis.measure.lengths import equal_compute
    from mugrow.analysis.measure.logs import savings
    from mugrow.analysis.read.guess import read
    from mugrow.analysis.read.store import Store, load
    from mugrow.analysis.read.table import Table, read_table
    from mugrow.analysis.report.build import build as report
    from mugrow.analysis.stats import Interval
    from mugrow.analysis.summary import Summary, summarize
    from mugrow.analysis.transfer.results import transfer
    from mugrow.bench.coordcheck import coordcheck
    from mugrow.bench.errors import UserError
    from mugrow.bench.growth import GrowthMethod
    from mugrow.bench.optim import Optimizer
    from mugrow.bench.parametrization import Parametrization
    from mugrow.bench.spec import RunSpec
    from mugrow.sweeps.check import check
    from mugrow.sweeps.draw import draw
    from mugrow.sweeps.grow import grow
    from mugrow.sweeps.listing import listing
    from mugrow.sweeps.paper import Paper
    from mugrow.sweeps.published import export_model, import_model
    from mugrow.sweeps.recipes import configured as recipe
    from mugrow.sweeps.reproduce import reproduce
    from mugrow.sweeps.run import bill, run
    from mugrow.sweeps.study import Method, Study
    from mugrow.sweeps.verify import verify
    from mugrow.sweeps.watch import watch

    __version__: str

# Where links were not made (an unpacked sdist, a clone without them), the parts lie beside this.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "bench")):
    __path__.append(os.path.dirname(os.path.dirname(__file__)))

_HOMES = {  # of every public name: its module, and what it is called there, if otherwise
    "Claim": "analysis.measure.claims",
    "GrowthMethod": "bench.growth",
    "Interval": "analysis.stats",
    "Method": "sweeps.study",
    "Optimizer": "bench.optim",
    "Paper": "sweeps.paper",
    "Parametrization": "bench.parametrization",
    "Question": "analysis.advice.advise",
    "RunSpec": "bench.spec",
    "Store": "analysis.read.store",
    "Study": "sweeps.study",
    "Summary": "analysis.summary",
    "Table": "analysis.read.table",
    "UserError": "bench.errors",
    "advise": "analysis.advice.advise",
    "bill": "sweeps.run",
    "check": "sweeps.check",
    "compare": "analysis.measure.across",
    "coordcheck": "bench.coordcheck",
    "draw": "sweeps.draw",
    "equal_compute": "analysis.measure.lengths",
    "export_model": "sweeps.published",
    "extrapolate": "analysis.laws.families",
    "fit": "analysis.laws.table_fit",
    "grow": "sweeps.grow",
    "import_model": "sweeps.published",
    "listing": "sweeps.listing",
    "load": "analysis.read.store",
    "read": "analysis.read.guess",
    "read_table": "analysis.read.table",
    "recipe": "sweeps.recipes:configured",
    "report": "analysis.report.build:build",
    "reproduce": "sweeps.reproduce",
    "run": "sweeps.run",
    "savings": "analysis.measure.logs",
    "summarize": "analysis.summary",
    "transfer": "analysis.transfer.results",
    "verify": "sweeps.verify",
    "watch": "sweeps.watch",
}

__all__ = [
    "Claim",
    "GrowthMethod",
    "Interval",
    "Method",
    "Optimizer",
    "Paper",
    "Parametrization",
    "Question",
    "RunSpec",
    "Store",
    "Study",
    "Summary",
    "Table",
    "UserError",
    "advise",
    "bill",
    "check",
    "compare",
    "coordcheck",
    "draw",
    "equal_compute",
    "export_model",
    "extrapolate",
    "fit",
    "grow",
    "import_model",
    "listing",
    "load",
    "read",
    "read_table",
    "recipe",
    "report",
    "reproduce",
    "run",
    "savings",
    "summarize",
    "transfer",
    "verify",
    "watch",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # of its own takes as long as all the rest

        return version("mugrow")
    if name not in _HOMES:
        raise AttributeError(f"module 'mugrow' has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    found = getattr(import_module(f"mugrow.{module}"), there or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "analysis", "bench", "sweeps"])
