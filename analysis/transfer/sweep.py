"""The sweeps of a store: runs equal in everything but learning rate and seed.

What a run was asked to be is in its row, as the JSON of its spec. Flattened, ``model.width`` and so
on, and without learning rate and seeds, that is the sweep's *setting*. The source of a grown run
is compared by its own spec, not by its id, which differs from seed to seed.

The surprising fact: a target belongs to a sweep too, where its proxies are equal to it in all but
the learning rate. It is the sweep's run at the rate that was transferred. A setting of targets
alone was not searched: it is no sweep, and is kept for what compares settings at one rate.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.transfer.optimum import Array, Optimum, optimum

Setting = Mapping[str, Any]
Seed = tuple[int, int]  # of weights, of batches

SEEDS = {"seed", "data_seed"}
OTHER_NAMES = {"log_every", "data.corpus", "start.source_run_id"}  # decide no final loss
SINCE_ADDED = {"optimizer": "adamw"}  # what a spec says that was written without them
WORST_FIRST = ("incomplete", "diverged", "failed", "pruned", "finished")


@dataclass(frozen=True)
class Source:
    """What a sweep's models were grown from: a run at the transferred learning rate, its own FLOPs
    and those of the search that found the rate."""

    width: int
    depth: int
    log2_lr: float
    flops: float
    flops_tuning: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """Losses of one setting. ``log2_lr`` has shape (points,), ascending; ``loss`` (seeds, points),
    with inf for diverged and nan for pruned, failed or not run. ``status`` is a point's worst over
    its seeds; ``run_flops`` those of one finished run, ``search_flops`` those of all runs.
    ``searched`` says that proxies were run, so that there is a search for a rate."""

    setting: Setting
    seeds: tuple[Seed, ...]
    log2_lr: Array
    loss: Array
    status: tuple[str, ...]
    run_flops: float = math.nan
    search_flops: float = math.nan
    source: Source | None = None
    run_ids: tuple[str, ...] = ()
    searched: bool = True

    @property
    def width(self) -> int:
        return int(self.setting["model.width"])

    @property
    def depth(self) -> int:
        return int(self.setting["model.depth"])

    @property
    def parametrization(self) -> str:
        return str(self.setting["parametrization"])

    @property
    def method(self) -> str:
        return str(self.setting["start.method"])

    @property
    def mean_loss(self) -> Array:
        """Mean over seeds, shape (points,). A point counts only if every seed finished it."""
        return np.asarray(self.loss.mean(axis=0))

    @property
    def finished(self) -> bool:
        return bool(np.isfinite(self.mean_loss).any())

    @property
    def optimum(self) -> Optimum:
        return optimum(self.log2_lr, self.mean_loss)


def sweeps(runs: pd.DataFrame) -> list[Sweep]:
    """The sweeps among the runs, by parametrization, method, depth and width."""
    return [one for one in by_setting(runs) if one.searched]


def by_setting(runs: pd.DataFrame) -> list[Sweep]:
    """The proxies and targets of every setting, in the order of ``sweeps``."""
    sources = {row["run_id"]: row for row in _rows(runs[runs["role"] == "source"])}
    groups: dict[str, list[dict[str, Any]]] = {}
    by_role = runs[runs["role"].isin(["proxy", "target"])].sort_values("role", kind="stable")
    for row in _rows(by_role):
        row["setting"] = setting(json.loads(row["spec"]), sources.get(row["source_run_id"]))
        groups.setdefault(json.dumps(row["setting"], sort_keys=True), []).append(row)
    found = [_sweep(rows, sources) for rows in groups.values()]
    return sorted(found, key=lambda one: (one.parametrization, one.method, one.depth, one.width,
                                          one.setting["hyper.init_std"]))  # fmt: skip


def _rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in runs.to_dict("records")]


def setting(spec: dict[str, Any], source: dict[str, Any] | None) -> dict[str, Any]:
    """A spec, flattened, without learning rate and seeds; with its source's, which has a rate."""
    fields = flat(SINCE_ADDED | spec)
    own = {key: value for key, value in fields if key not in SEEDS | OTHER_NAMES | {"hyper.lr"}}
    if source is None:
        # a source that the store does not have leaves its id: nothing else is known of it
        missing = spec["start"]["source_run_id"]
        return own if missing is None else own | {"source.run_id": missing}
    its = dict(flat(SINCE_ADDED | json.loads(source["spec"])))
    return own | {
        f"source.{key}": value for key, value in its.items() if key not in SEEDS | OTHER_NAMES
    }


def flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``model.width`` and so on; a start's parameters, which are pairs, by their names."""
    for key, value in spec.items():
        name = f"{prefix}{key}"
        if name.endswith("start.params"):
            yield from ((f"{name}.{parameter}", its) for parameter, its in value)
        elif isinstance(value, dict):
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def _sweep(rows: list[dict[str, Any]], sources: Mapping[str, dict[str, Any]]) -> Sweep:
    specs = [json.loads(row["spec"]) for row in rows]
    of_row = [(int(spec["seed"]), int(spec["data_seed"])) for spec in specs]
    seeds, lrs = sorted(set(of_row)), sorted({row["lr"] for row in rows})
    loss = np.full((len(seeds), len(lrs)), np.nan)
    status = [["incomplete"] * len(lrs) for _ in seeds]
    for seed, row in zip(of_row, rows, strict=True):
        place = seeds.index(seed), lrs.index(row["lr"])
        status[place[0]][place[1]] = str(row["status"])
        outcome = {"finished": row["final_val_loss"], "diverged": math.inf}
        loss[place] = outcome.get(row["status"], math.nan)
    finished = [row["flops"] for row in rows if row["status"] == "finished"]
    return Sweep(
        setting=rows[0]["setting"],
        seeds=tuple(seeds),
        log2_lr=np.log2(lrs),
        loss=loss,
        status=tuple(worst(column) for column in zip(*status, strict=True)),
        run_flops=float(np.mean(finished)) if finished else math.nan,
        search_flops=float(sum(row["flops"] for row in rows)),
        source=_source([sources[row["source_run_id"]] for row in rows
                        if row["source_run_id"] in sources]),
        run_ids=tuple(row["run_id"] for row in rows),
        searched=any(row["role"] == "proxy" for row in rows),
    )  # fmt: skip


def _source(rows: list[dict[str, Any]]) -> Source | None:
    """The sources of all seeds as one: they differ in nothing else."""
    if not rows:
        return None
    first = rows[0]
    return Source(
        width=int(first["width"]),
        depth=int(first["depth"]),
        log2_lr=math.log2(first["lr"]),
        flops=float(np.mean([row["flops"] for row in rows])),
        flops_tuning=float(first["flops_tuning"]),
    )


def worst(statuses: Iterable[str]) -> str:
    """One word for a point: a diverged seed outweighs a pruned one, a missing one all."""
    return min(statuses, key=WORST_FIRST.index)
