"""What a paper's grown arms are at equal charged compute, as quantities that claims are about.

Beside a grown run a recipe lists what its compute would have bought (``mugrow.sweeps.beside``): its
shape from scratch, its own last source trained on, and other shapes, each on a whole schedule that
ends within half a step of what the grown run is charged with its sources. Their arms have the
factor ``baseline``. So nothing is interpolated along compute: a difference is that of two final
losses of a seed. The *front* is the best of the shapes that began at random, as that of a study is
(``mugrow.analysis.measure.equal_compute``): with three or more, where they bracket the lowest loss,
the vertex between them.
"""

import pandas as pd

from mugrow.analysis.measure.comparison import Baseline
from mugrow.analysis.measure.equal_compute import (
    ChargedArm,
    Difference,
    Front,
    budget_line,
    difference,
)
from mugrow.analysis.measure.measured import arm, factor_table, finals
from mugrow.analysis.measure.quantity import PerSeed, Quantity, final
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import UserError

HALF_A_STEP = 0.5 + 1e-6


def gained(name: str, baseline: Baseline) -> Quantity:
    """An arm's final loss minus that of a baseline at its charged compute, nats per token; below 0
    where growing was worth it."""
    if baseline == "front":
        return PerSeed(lambda store: from_front(store, name).by_seed)
    return final(name) - PerSeed(lambda store: _losses(store, name, baseline))


def from_front(store: Store, name: str) -> Difference:
    """An arm's final loss minus that of the front, and of which size that is. Raises ``UserError``
    where no shape was trained from random weights at its charged compute."""
    ends = _ends(store, name)
    ends = ends[_from_random(store, ends)]
    if ends.empty:
        raise UserError(f"arm {str(name)!r} has no front at its charged compute")
    charged = ChargedArm(finals(store.runs, name), float(ends["charge"].iloc[0]))
    lines, params = {}, {}
    for (width, depth), rows in ends.groupby(["width_line", "depth_line"]):
        shape = f"w{width}-d{depth}"
        lines[shape] = budget_line({charged.flops: _by_seed(rows)})
        params[shape] = float(rows["params_line"].iloc[0])
    return difference(charged, Front(lines, params))


def front_size(store: Store, name: str) -> str:
    """Of which size an arm's front is, and where it lies among those tried."""
    size = from_front(store, name).size
    assert size is not None, "within the budgets there is one"
    if size.kind == "vertex":
        return f"between sizes, near {size.shape}"
    return f"{size.shape}, {size.kind} tried" if size.kind != "best" else size.shape


def _losses(store: Store, name: str, baseline: Baseline) -> dict[int, float]:
    """By seed, the final losses of the baseline. Raises ``UserError`` where no seed has one."""
    ends = _ends(store, name)
    shape = ("width", "depth")
    if baseline == "own source":
        shapes = store.runs.set_index("run_id")[[*shape]].reindex(ends["source_run_id"])
        ends = ends.assign(**{side: shapes[side].to_numpy() for side in shape})
    alike = (ends["width_line"] == ends["width"]) & (ends["depth_line"] == ends["depth"])
    found = ends[alike & (ends["baseline"] == baseline)]
    if found.empty:
        raise UserError(f"arm {str(name)!r} has no {baseline} at its charged compute")
    return _by_seed(found)


def _ends(store: Store, name: str) -> pd.DataFrame:
    """Pairs of a seed of an arm and a run that ends a line within half a step of what it is
    charged: seed, width, depth, source_run_id and charge of the arm, and of the line's end its
    ``baseline`` and, with the suffix ``_line``, the same, its run_id, params and final loss."""
    runs = store.runs.assign(charge=store.runs["flops"] + store.runs["flops_source"].fillna(0.0))
    factors = factor_table(runs).reindex(columns=["baseline", "part"])
    ending = (runs["status"] == "finished") & factors["baseline"].notna() & factors["part"].isna()
    columns = ["seed", "width", "depth", "source_run_id", "charge"]
    lines = runs[ending].assign(
        baseline=factors["baseline"], step=runs["flops"] / runs["tokens"] * runs["batch_tokens"]
    )
    lines = lines[[*columns, "baseline", "step", "run_id", "params", "final_val_loss"]]
    lines = lines.rename(columns=lambda one: one if one in ("seed", "baseline") else f"{one}_line")
    pairs = arm(runs, name, columns).merge(lines, on="seed")
    near = (pairs["charge_line"] - pairs["charge"]).abs() <= HALF_A_STEP * pairs["step_line"]
    return pairs[near]


def _from_random(store: Store, ends: pd.DataFrame) -> pd.Series:
    """Which ends are of a line that began at random: not that of a source that was grown."""
    runs = store.runs.set_index("run_id")[["method", "source_run_id"]]
    begun = runs.reindex(ends["run_id_line"])
    while (going_on := begun["method"] == "continue").any():
        before = runs.reindex(begun["source_run_id"][going_on])
        begun = begun.copy()
        begun.loc[going_on.to_numpy()] = before.to_numpy()
    return pd.Series(begun["method"].to_numpy() == "scratch", index=ends.index)


def _by_seed(ends: pd.DataFrame) -> dict[int, float]:
    """Final losses; of several lines of a shape, the first's."""
    found = ends.drop_duplicates("seed")
    losses = found["final_val_loss_line"].astype(float)
    return dict(zip(found["seed"].astype(int), losses, strict=True))
