"""Scaling laws: one form a file, and one fitter for all of them.

``get_form(name)`` imports an entry. Forms from other packages register under the entry-point group
``mugrow.forms``, each pointing at a ``Form``.
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
