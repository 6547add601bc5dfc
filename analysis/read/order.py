"""The order of a run's rows: what a log says that was written, stopped, resumed and exported.

A run is a sequence, and the order of its rows in the file is part of what it says. With x what was
paid (steps, tokens),

- x that falls throughout is a file with the newest row first: it is reversed;
- one or a few falls of x, each followed by a rise, are resumes from a checkpoint: later rows
  replace all those they rewind over, also where the abandoned ones went further;
- a fall to the run's first x or below it is a second run, or a counter that started again: x alone
  does not tell where it belongs, so it is refused; so is one over most of the run behind which the
  loss goes on from before the fall, and not from where it was at that x;
- any other disorder is refused too, unless x is said to be all the order there is (``--sorted``);
- of rows at one x the last counts; where many have company, several runs share a name.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mugrow.analysis.stats import Array

Rows = npt.NDArray[np.intp]

FEW = 5  # falls, or one in so many rows:
ROWS_A_RESUME = 20
CLEARLY = 4  # times nearer to the loss before a fall than to that at its x
FEW_TWICE = 4  # at most one in so many values of x may have two rows that differ in loss


@dataclass(frozen=True)
class Resume:
    """A rewind to ``x`` in row ``row``: ``dropped`` rows before it, up to ``end``, are replaced."""

    row: int
    x: float
    end: float
    dropped: int


@dataclass(frozen=True, eq=False)
class Order:
    """The ``rows`` of a run to keep, with x strictly ascending, and what was done to get there.

    ``newest_first``: the file's order was reversed. ``repeats`` counts the rows that say what
    another says, ``twice`` has each x at which a later row with another loss replaced one.
    """

    rows: Rows
    newest_first: bool = False
    resumes: tuple[Resume, ...] = ()
    repeats: int = 0
    twice: tuple[float, ...] = ()


@dataclass(frozen=True)
class Disorder:
    """Why rows are no run: in row ``row`` x is ``x``, after ``before``. ``several`` runs may share
    the name; else the rows are in no order."""

    row: int
    before: float
    x: float
    several: bool
    reason: str


def in_order(x: Array, loss: Array, by_x: bool = False) -> Order | Disorder:
    """The order of rows (rows,) of one run, as they stand in its file; x is finite, ``loss`` may be
    nan. ``by_x`` sorts them whatever the file says."""
    rows = np.arange(len(x))
    if by_x:
        rows = np.argsort(x, kind="stable")
        return _one_an_x(x, loss, Order(rows))
    steps = np.diff(x)
    newest_first = bool((steps < 0).sum() > (steps > 0).sum())
    if newest_first:
        rows = rows[::-1]
    found = _resumed(x[rows], loss[rows])
    if isinstance(found, Disorder):
        return replace(found, row=int(rows[found.row]))
    kept, resumes = found
    resumes = tuple(replace(one, row=int(rows[one.row])) for one in resumes)
    return _one_an_x(x, loss, Order(rows[kept], newest_first, resumes))


def _resumed(x: Array, loss: Array) -> tuple[Rows, tuple[Resume, ...]] | Disorder:
    """The rows that no later one rewinds over, with x never falling."""
    falls = np.flatnonzero(np.diff(x) < 0) + 1
    if not len(falls):
        return np.arange(len(x)), ()
    again = x[falls] <= x[0]
    goes_on = np.array([row + 1 < len(x) and x[row + 1] >= x[row] for row in falls])
    few = max(FEW, len(x) // ROWS_A_RESUME)
    # a fall right behind another, but for a run of one row at the end
    broken = ~goes_on & ~(again & (falls == len(x) - 1))
    at = None
    if broken.any():
        at, several, reason = falls[broken][0], False, "its rows are in no order"
    elif 2 * again.sum() >= len(falls):
        at, several, reason = falls[again][0], True, "it starts again"
    elif len(falls) > few:
        at, several, reason = falls[few], False, f"it falls {len(falls)} times"
    elif again.any():
        at, several, reason = falls[again][0], True, "it starts again"
    if at is not None:
        return Disorder(int(at), float(x[at - 1]), float(x[at]), several, reason)
    kept = np.arange(falls[0])
    resumes = []
    for start, end in zip(falls, [*falls[1:], len(x)], strict=True):
        left = int(np.searchsorted(x[kept], x[start], side="left"))
        if 2 * left < len(kept) and _counts_anew(x, loss, kept, int(start)):
            before = float(x[start - 1])
            return Disorder(int(start), before, float(x[start]), True, "its counter starts again")
        last = float(x[kept[-1]])
        resumes.append(Resume(int(start), float(x[start]), last, len(kept) - left))
        kept = np.concatenate([kept[:left], np.arange(start, end)])
    return kept, tuple(resumes)


def _counts_anew(x: Array, loss: Array, kept: Rows, start: int) -> bool:
    """Whether the loss in row ``start`` goes on from that before the fall, however early its x."""
    at_its_x = float(np.interp(x[start], x[kept], loss[kept]))
    return bool(CLEARLY * abs(loss[start] - loss[start - 1]) < abs(loss[start] - at_its_x))


def _one_an_x(x: Array, loss: Array, order: Order) -> Order | Disorder:
    """Of rows at one x the last; ``x[order.rows]`` never falls."""
    rows = order.rows
    followed = np.append(np.diff(x[rows]) == 0, False)
    if not followed.any():
        return order
    places = np.flatnonzero(followed)
    one, other = loss[rows[places]], loss[rows[places + 1]]
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    twice = x[rows[places[~same]]]
    distinct = len(rows) - len(places)
    if len(twice) > max(1, distinct // FEW_TWICE):
        at = places[~same][0]
        value = float(x[rows[at]])
        reason = f"{len(twice)} rows repeat an x with another loss"
        return Disorder(int(rows[at + 1]), value, value, True, reason)
    return replace(
        order,
        rows=rows[~followed],
        repeats=int(same.sum()),
        twice=tuple(float(value) for value in dict.fromkeys(twice)),
    )
