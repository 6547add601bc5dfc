"""What counts as the same size, token count or budget, and which rows are of the same point.

Programs count parameters and tokens a little differently from run to run, and tables round them, so
sizes, token counts and budgets that differ by at most ``SAME`` of their value are one wherever they
are compared. Laws are fitted to the numbers as they stand.

Rows that agree in everything a law reads should agree in their loss, but for the noise of seeds.
Where they do not, something else was varied: with every learning rate of a sweep in one fit, a
published exponent came out as 0.20, with the best of each point as 0.14.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.stats import Array

SAME = 1e-4
MEASURED = ("n", "d", "c")  # the variables that are counts of parameters, tokens and FLOPs
ROUNDING = 1e-9  # of losses that are equal
LEARNING_RATES = ("lr", "learning_rate", "peak_lr", "lr_peak", "max_lr", "lr_max",
                  "learning_rate_peak", "base_lr")  # fmt: skip
REPLICATES = ("seed", "replicate", "replica", "repeat")
VARIED = (*LEARNING_RATES, "weight_decay", "wd", "batch_size", "batch", "width", "depth",
          "n_layers", "optimizer", "schedule", "corpus", "data", "dataset", "method", "arm",
          "parametrization", "init_std", "warmup", "beta1", "beta2", "dropout",
          "epochs")  # fmt: skip


def alike(values: Array, tolerance: float = SAME) -> Array:
    """Each of ``values`` (rows,) as the first one in their order that it equals; what is not a
    finite number above 0 stays as it is."""
    found = values.copy()
    usable = np.flatnonzero(np.isfinite(values) & (values > 0))
    order = usable[np.argsort(values[usable], kind="stable")]
    equal_from = values[order] / (1 + tolerance)  # the lowest that each one equals
    start = 0
    while start < len(order):
        end = int(np.searchsorted(equal_from, values[order[start]], side="right"))
        same = order[start:end]
        found[same] = values[same.min()]
        start = end
    return found


def replicate_columns(columns: Iterable[str]) -> list[str]:
    """The columns that number runs which should differ by chance alone."""
    return [name for name in columns if any(word in name.lower() for word in REPLICATES)]


def learning_rate_column(columns: Iterable[str]) -> str | None:
    """The column of learning rates, by its name."""
    names = {name.lower().split("/")[-1].split(".")[-1]: name for name in columns}
    return next((names[name] for name in LEARNING_RATES if name in names), None)


def cells(columns: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.int64]:
    """A number for each row (rows,): the same where all columns agree."""
    codes = [pd.factorize(column, use_na_sentinel=False)[0] for column in columns]
    frame = pd.DataFrame(dict(enumerate(codes)))
    return np.asarray(frame.groupby(list(frame.columns)).ngroup(), dtype=np.int64)


def differing(cell: npt.NDArray[np.int64], loss: Array) -> npt.NDArray[np.bool_]:
    """The rows of cells (rows,) whose losses are not all equal."""
    grouped = pd.Series(loss).groupby(cell)
    low, high = grouped.transform("min"), grouped.transform("max")
    return (high - low > ROUNDING * high.abs()).to_numpy()


def tells_apart(
    table: pd.DataFrame, cell: npt.NDArray[np.int64], known: Collection[str]
) -> str | None:
    """The column that says what rows of one cell differ in: a setting by its name, or else one
    whose values come back in other cells, as those of a measurement do not."""
    found = []
    for name in table.columns:
        if name in known:
            continue
        codes, values = pd.factorize(table[name].astype(str))
        pairs = pd.DataFrame({"cell": cell, "code": codes})
        sizes = pairs.groupby("cell")["code"]
        if (sizes.nunique() < sizes.size()).any():
            continue
        setting = name.lower().split("/")[-1].split(".")[-1] in VARIED
        if setting or len(values) <= len(table) // 2:
            found.append((not setting, len(values), str(name)))
    return min(found)[2] if found else None
