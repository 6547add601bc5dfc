"""Evaluating what a study has trained: each evaluation once, its numbers kept in the pool.

``POOL/evaluations/ID.json`` holds the numbers of one evaluation; its id hashes all that decides
them, so papers share evaluations as they share runs, and what was stopped goes on. Of runs that did
not finish there is nothing to evaluate: their rows are missing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mugrow.bench.checksums import Damaged, sha256
from mugrow.bench.data.batches import load
from mugrow.bench.entries import check_params
from mugrow.bench.evaluation import EvaluationSpec, evaluate, evaluation
from mugrow.bench.record import (
    EVALUATION_SCHEMA,
    read_run,
    set_aside,
    table_of,
    write_json,
    write_tables,
)
from mugrow.bench.spec import DataSpec, Scalar, sorted_json
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
    """Write ``evaluations.parquet`` in ``folder``, if anything is wanted. Raises ``Damaged`` for a
    checkpoint that is not what was written."""
    wanted = list(wanted)
    run_ids = {run_id for one in wanted for run_id in one.spec.run_ids}
    finished = {run_id for run_id in run_ids if _finished(run_id, pool)}
    items = [one for one in wanted if finished.issuperset(one.spec.run_ids)]
    if not items:
        return
    rows: list[dict[str, Any]] = []
    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with console.status("evaluating") as status:
        for done, one in enumerate(items):
            status.update(f"evaluating: {done} of {len(items)}")
            rows += _rows(one, _numbers(one.spec, pool, corpus_paths, say))
    write_tables(folder, {"evaluations.parquet": table_of(rows, EVALUATION_SCHEMA)})


def _finished(run_id: str, pool: Path) -> bool:
    record = read_run(pool / "runs" / run_id)
    return record is not None and record[0]["status"] == "finished"


def _numbers(
    spec: EvaluationSpec, pool: Path, corpus_paths: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, float]:
    path = pool / "evaluations" / f"{spec.evaluation_id}.json"
    try:
        return read_numbers(path)
    except FileNotFoundError:
        pass
    except Damaged as error:
        say(f"{error}; set aside as {set_aside(path).name}, it will be evaluated again")
    data = load(spec.data, corpus_paths.get(spec.data.corpus_sha256))
    found = evaluate(spec, pool, data)
    write_numbers(path, found)
    return found


def write_numbers(path: Path, numbers: Mapping[str, float]) -> None:
    """Keep the numbers of the evaluation that the file is named by."""
    kept = {"evaluation": path.stem, "numbers": numbers, "sha256": _checksum(numbers)}
    write_json(path, kept)


def read_numbers(path: Path) -> dict[str, float]:
    """The numbers that are kept in a file, by quantity. Before there were checksums they were all
    that it holds. Raises ``Damaged`` for what is no such file, and ``OSError``."""
    try:
        kept = json.loads(path.read_bytes())
    except ValueError as error:
        raise Damaged(path, f"it is not JSON: {error}") from error
    checked = isinstance(kept, dict) and isinstance(kept.get("numbers"), dict)
    numbers = kept["numbers"] if checked else kept
    if not isinstance(numbers, dict) or not numbers or not all(map(_is_number, numbers.values())):
        raise Damaged(path, "it holds no numbers by name")
    if checked and kept.get("sha256") != _checksum(numbers):
        raise Damaged(path, "its numbers do not match their checksum")
    if checked and kept.get("evaluation", path.stem) != path.stem:
        raise Damaged(path, f"it is of evaluation {kept['evaluation']}")
    return numbers


def _checksum(numbers: Mapping[str, float]) -> str:
    return sha256(sorted_json(numbers).encode())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
