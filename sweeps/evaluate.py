"""Evaluating what a study has trained: each evaluation once, its numbers kept in the pool.

``POOL/evaluations/ID.json`` holds the numbers of one evaluation; its id hashes all that decides
them, so papers share evaluations as they share runs, and what was stopped goes on. Of runs that did
not finish there is nothing to evaluate: their rows are missing.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mugrow.bench.data.batches import load
from mugrow.bench.entries import check_params
from mugrow.bench.evaluation import EvaluationSpec, evaluate, evaluation
from mugrow.bench.record import EVALUATION_SCHEMA, read_run, write_json, write_table
from mugrow.bench.spec import DataSpec, Scalar
from mugrow.sweeps.graph import Node


@dataclass(frozen=True)
class Judged:
    """An evaluation of the runs ``nodes``, in the order that its kind names its models, on the
    validation windows of ``data``; ``arm`` is what the recipe calls it."""

    arm: str
    nodes: tuple[Node, ...]
    data: DataSpec
    kind: str = "loss"
    params: tuple[tuple[str, Scalar], ...] = ()

    def __post_init__(self) -> None:
        entry = evaluation(self.kind)
        assert len(self.nodes) == len(entry.models), f"{self.kind} takes {entry.models}"
        check_params(f"evaluation {self.kind!r}", entry.params, {}, dict(self.params))

    @property
    def spec(self) -> EvaluationSpec:
        return EvaluationSpec(
            kind=self.kind,
            run_ids=tuple(node.spec.run_id for node in self.nodes),
            data=self.data,
            params=tuple(sorted(self.params)),
        )


def evaluate_all(
    wanted: Iterable[Judged], pool: Path, folder: Path, corpus_paths: Mapping[str, str]
) -> None:
    """Write ``evaluations.parquet`` in ``folder``, if anything is wanted."""
    wanted = list(wanted)
    run_ids = {run_id for one in wanted for run_id in one.spec.run_ids}
    finished = {run_id for run_id in run_ids if _finished(run_id, pool)}
    items = [one for one in wanted if finished.issuperset(one.spec.run_ids)]
    if not items:
        return
    rows: list[dict[str, Any]] = []
    console = Console(stderr=True, highlight=False)
    with console.status("evaluating") as status:
        for done, one in enumerate(items):
            status.update(f"evaluating: {done} of {len(items)}")
            rows += _rows(one, _numbers(one.spec, pool, corpus_paths))
    write_table(folder / "evaluations.parquet", rows, EVALUATION_SCHEMA)


def _finished(run_id: str, pool: Path) -> bool:
    record = read_run(pool / "runs" / run_id)
    return record is not None and record[0]["status"] == "finished"


def _numbers(spec: EvaluationSpec, pool: Path, corpus_paths: Mapping[str, str]) -> dict[str, float]:
    path = pool / "evaluations" / f"{spec.evaluation_id}.json"
    if path.exists():
        kept: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    data = load(spec.data, corpus_paths.get(spec.data.corpus_sha256))
    found = evaluate(spec, pool, data)
    write_json(path, found)
    return found


def _rows(one: Judged, numbers: Mapping[str, float]) -> list[dict[str, Any]]:
    spec = one.spec
    return [
        {
            "evaluation_id": spec.evaluation_id,
            "arm": one.arm,
            "how": spec.kind,
            "params": json.dumps(dict(spec.params), sort_keys=True),
            "run_ids": list(spec.run_ids),
            "seed": one.nodes[0].spec.seed,
            "corpus": spec.data.corpus,
            "quantity": quantity,
            "value": value,
        }
        for quantity, value in numbers.items()
    ]
