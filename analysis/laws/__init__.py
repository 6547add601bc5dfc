"""Scaling laws: one form a file, and one fitter for all of them.

``get_form(name)`` imports an entry. Forms from other packages register under the entry-point group
``mugrow.forms``, each pointing at a ``Form``.

What a file is for, besides the forms named below:

* ``form`` what a law is, ``fit`` fits it to rows, ``result`` is what comes back; inside, ``points``
  checks, ``problem`` and ``objective`` state, ``separable`` starts, ``minimise`` ends, ``status``
  judges, ``resample`` resamples, ``decisions`` predicts and allocates.
* ``rows`` which rows of a table enter, ``selection`` which form to believe.
* ``scaling`` the laws of a set of runs (``law``), ``growing`` what growing changes by them,
  ``table_rows`` the same from anyone's table.
* ``extrapolation`` and ``families`` how well small models predict a large one.
* ``parabola``, ``power_line``, ``allocation``, ``schedules``: what several procedures share.
"""

from mugrow.analysis.laws.form import Form
from mugrow.bench.entries import Registry

REGISTRY = Registry(
    noun="form",
    type=Form,
    package=__name__,
    constant="FORM",
    builtin=(
        "chinchilla",
        "chinchilla_tied",
        "chinchilla_pinned",
        "skaling",
        "kaplan",
        "kaplan_steps",
        "power",
        "gadre",
        "bnsl",
        "transfer_tokens",
        "isoflop",
        "envelope",
        "growth_factor",
        "momentum",
        "multipower",
    ),
    group="mugrow.forms",
)
names, get_form = REGISTRY.names, REGISTRY.get
