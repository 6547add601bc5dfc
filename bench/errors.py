"""Mistakes of who asks: one line that names the value and the nearest right one."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user asked for: one line, shown without a traceback, exit code 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist; it names the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    return UserError(f"unknown {kind} {name!r}; {hint}")


def shortened(value: object) -> str:
    """A value as it is shown in an error."""
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]}..."
