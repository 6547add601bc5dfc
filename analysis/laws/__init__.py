"""Scaling laws: one form a file, and one fitter for all of them.

``get_form(name)`` imports an entry. Forms from other packages register under the entry-point group
``mugrow.forms``, each pointing at a ``Form``.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from bench.spec import UserError, unknown

if TYPE_CHECKING:
    from analysis.laws.form import Form

NAMES = (
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
)
GROUP = "mugrow.forms"


def names() -> tuple[str, ...]:
    """The names of all forms, those of other packages last."""
    others = {entry.name for entry in entry_points(group=GROUP)} - set(NAMES)
    return (*NAMES, *sorted(others))


def get_form(name: str) -> "Form":
    """The form called ``name``; ``UserError`` when there is none, or when its package is broken."""
    from analysis.laws.form import Form

    if name in NAMES:
        entry = import_module(f"analysis.laws.{name}").FORM
        assert isinstance(entry, Form)
        return entry
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise unknown("form", name, names())
    try:
        loaded = found[0].load()
    except Exception as error:  # whatever another package raises on import
        raise _broken(name, found[0].value, str(error) or type(error).__name__) from None
    if not isinstance(loaded, Form) or loaded.name != name:
        raise _broken(name, found[0].value, f"it is not a Form of the name {name!r}")
    return loaded


def _broken(name: str, where: str, why: str) -> UserError:
    line = " ".join(why.split())
    return UserError(f"form {name!r} of another package ({where}) cannot be used: {line}")
