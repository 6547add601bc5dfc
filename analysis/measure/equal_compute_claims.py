"""What a paper's grown arms are at equal charged compute, as quantities that claims are about.

Beside a grown run a recipe lists what its compute would have bought (``mugrow.sweeps.beside``): its
shape from scratch, and its own last source trained on, each on a whole schedule that ends within
half a step of what the grown run is charged with its sources. Their arms have the factor
``baseline``. So nothing is interpolated: a difference is that of two final losses of a seed.
"""

from typing import Literal

import pandas as pd

from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import PerSeed, Quantity, final
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import UserError

Baseline = Literal["scratch", "own source"]
BASELINES: tuple[Baseline, ...] = ("scratch", "own source")
HALF_A_STEP = 0.5 + 1e-6


def gained(name: str, baseline: Baseline) -> Quantity:
    """An arm's final loss minus that of a baseline at its charged compute, nats per token; below 0
    where growing was worth it."""
    return final(name) - PerSeed(lambda store: _losses(store, name, baseline))


def _losses(store: Store, name: str, baseline: Baseline) -> dict[int, float]:
    """By seed, the final losses of the baseline. Raises ``UserError`` where no seed has one."""
    runs = store.runs.assign(charge=store.runs["flops"] + store.runs["flops_source"].fillna(0.0))
    ended = runs[runs["status"] == "finished"]
    factors = factor_table(ended).reindex(columns=["baseline"])
    lines = ended[factors["baseline"] == baseline]
    lines = lines.assign(step=lines["flops"] / lines["tokens"] * lines["batch_tokens"])
    arms = arm(runs, name, ["seed", "width", "depth", "source_run_id", "charge"])
    if baseline == "own source":
        shapes = runs.set_index("run_id")[["width", "depth"]]
        sources = shapes.reindex(arms["source_run_id"]).set_axis(arms.index)
        arms = arms.assign(width=sources["width"], depth=sources["depth"])
    pairs = arms.merge(lines, on=["seed", "width", "depth"], suffixes=("", "_line"))
    near = (pairs["charge_line"] - pairs["charge"]).abs() <= HALF_A_STEP * pairs["step"]
    found: pd.DataFrame = pairs[near].drop_duplicates("seed")
    if found.empty:
        raise UserError(f"arm {str(name)!r} has no {baseline} at its charged compute")
    return dict(zip(found["seed"].astype(int), found["final_val_loss"].astype(float), strict=True))
