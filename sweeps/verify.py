"""A store gone through from end to end: is everything what was written, and of the run it says?

Every file is read whole and held against its checksum, the identity it carries and the values that
it can have. Nothing is changed: what is damaged, or gone, is named with what `mugrow run` or
`mugrow reproduce` on the folder would do about it.

    runs/          checksums; curve, checkpoint and state of this very run; a spec that has its id
    stacks/        checksum of each saved state
    evaluations/   checksum of the numbers; the evaluation that they are of
    methods/       the hash in the name of a method's file
    *.parquet      checksums; every run with a curve; values; what runs and evaluations hold, too
    study.json     its checksum; a configuration with a name

Tables may be all there is, as in ``results/reference``: then there is nothing to hold them against.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mugrow.analysis.read.store import FILES, WrongFile, load
from mugrow.bench.checksums import SUMS, Damaged, check_sum, read_sums, sha256_of_file
from mugrow.bench.method_file import HASH_DIGITS
from mugrow.bench.record import CURVE, CURVE_SCHEMA, completed, read_run
from mugrow.bench.run import load_state
from mugrow.bench.run import verify as verify_run
from mugrow.bench.spec import IMPORT, UserError, is_of_run
from mugrow.bench.start import read_source
from mugrow.sweeps.evaluate import read_numbers
from mugrow.sweeps.study_folder import METHODS, RUN_ID

OF_THE_STUDY = ("study", "role", "arm", "factors", "flops_source", "flops_tuning")
"""Columns of ``runs.parquet`` that a study says of a run, and no run of itself."""
DONE_AGAIN = "the run would be done again"
COLLECTED_AGAIN = "the tables would be collected again"
WRITTEN_AGAIN = {"study.json": "it would be written again"}


@dataclass(frozen=True)
class Damage:
    """A file that is not what was written: why, and what would be done about it."""

    path: Path
    reason: str
    then: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.then}"


@dataclass(frozen=True)
class Verified:
    """What was gone through in ``folder``. ``unchecked`` of the ``runs`` are from before there were
    checksums: only what they say of themselves was looked at. ``unfinished`` were being written
    when a program was stopped, and ``absent`` are in tables alone, whose folder keeps no runs: both
    would be done by the command that wrote the folder, and neither is damage."""

    folder: Path
    runs: int
    stacks: int
    evaluations: int
    tables: int
    unchecked: int
    unfinished: int
    absent: int
    damage: tuple[Damage, ...]


def verify(directory: str | Path) -> Verified:
    """Verify a folder of `mugrow run`, of `mugrow reproduce` with the papers in it, or of `mugrow
    grow`; writes nothing. Raises ``UserError`` for a folder that is none of these.

    >>> import mugrow
    >>> found = mugrow.verify("results/reference/quick")
    >>> found.damage, found.tables
    ((), 1)
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory; expected one that `mugrow run` wrote")
    runs = sorted(path for path in folder.glob("runs/*") if RUN_ID.fullmatch(path.name))
    stacks = sorted(folder.glob("stacks/*.safetensors"))
    evaluations = sorted(folder.glob("evaluations/*.json"))
    studies = [one for one in (folder, *sorted(folder.iterdir())) if _has_tables(one)]
    grown = folder / "checkpoint.safetensors"
    if not (runs or stacks or evaluations or studies or grown.exists()):
        raise UserError(f"{folder} holds no runs and no tables of runs; nothing to verify")
    damage: list[Damage] = []
    for path in runs:
        damage += _damage(partial(_run, folder, path.name), DONE_AGAIN)
    for path in stacks:
        damage += _damage(partial(load_state, path), "the stack would begin again")
    for path in evaluations:
        damage += _damage(partial(read_numbers, path), "it would be evaluated again")
    pool = folder.parent if not runs and _is_paper_of(folder) else folder
    absent = 0
    for study in studies:
        tables = _Tables(study, pool)
        damage += tables.damage()
        absent += tables.absent
        for path in sorted(study.glob(f"{METHODS}/*@*.py")):
            damage += _damage(partial(_method, path), "it would be written again")
    if grown.exists():
        carried = grown.with_name("state.safetensors").exists()
        again = "grow its source again"
        damage += _damage(lambda: read_source(grown, "float32", carry=carried), again)
    return Verified(
        folder=folder,
        runs=len(runs),
        stacks=len(stacks),
        evaluations=len(evaluations),
        tables=len(studies),
        unchecked=sum(not (path / SUMS).exists() for path in runs),
        unfinished=sum(not (path / CURVE).exists() for path in runs),
        absent=absent,
        damage=tuple({(one.path, one.reason): one for one in damage}.values()),
    )


def _has_tables(folder: Path) -> bool:
    """Whether a folder has tables of a study, or had: its checksums name them."""
    if not folder.is_dir():
        return False
    return (folder / "runs.parquet").exists() or "runs.parquet" in (read_sums(folder) or {})


def _is_paper_of(folder: Path) -> bool:
    """Whether a folder with tables and no runs is in a pool, which has the runs."""
    beside = folder.absolute().parent / "runs"
    return any(RUN_ID.fullmatch(path.name) for path in beside.glob("*"))


def _damage(check: Callable[[], object], then: str) -> Iterator[Damage]:
    try:
        check()
    except Damaged as error:
        yield Damage(error.path, str(error.reason), then)


def _run(folder: Path, run_id: str) -> None:
    verify_run(folder, run_id)
    home = folder / "runs" / run_id
    record = read_run(home)
    if record is None:
        return
    row = record[0]
    try:
        own = is_of_run(row["spec"], run_id)
    except UserError as error:
        raise Damaged(home / CURVE, error) from error
    if not own:
        raise Damaged(home / CURVE, "its spec is that of another run")
    tensors = home / "checkpoint.safetensors"
    if read_sums(home) is None and tensors.exists():  # else its content is what was written
        read_source(tensors, "float32", carry=False, run_id=run_id)


def _method(path: Path) -> None:
    """A copy of a method's file, whose name has the beginning of its sha256."""
    if not path.stem.endswith(f"@{sha256_of_file(path)[:HASH_DIGITS]}"):
        raise Damaged(path, "its content is not that of the hash in its name")


class _Tables:
    """A study's tables, which are collected from the runs in a pool. ``absent`` of their runs are
    not there to be held against, in a pool that keeps none."""

    def __init__(self, study: Path, pool: Path) -> None:
        self.study, self.pool, self.absent = study, pool, 0

    def damage(self) -> Iterator[Damage]:
        broken = [*self._files()]
        if broken:
            yield from broken
            return
        try:
            load(self.study)
        except WrongFile as error:
            yield Damage(error.path, error.reason, self._again(error.path.name))
            return
        except UserError as error:
            yield Damage(self.study, str(error), COLLECTED_AGAIN)
            return
        yield from self._rows()
        yield from self._evaluations()

    def _again(self, name: str) -> str:
        return WRITTEN_AGAIN.get(name, COLLECTED_AGAIN)

    def _files(self) -> Iterator[Damage]:
        """Files that are gone, or are not what their checksums say."""
        sums = read_sums(self.study)
        for name in FILES:
            path, again = self.study / name, self._again(name)
            if path.exists():
                yield from _damage(partial(_check_file, path, sums), again)
            elif name in (sums or {}):
                yield Damage(path, "it is gone", again)

    def _rows(self) -> Iterator[Damage]:
        """What the tables say of runs, beside what these say themselves."""
        path = self.study / "runs.parquet"
        rows = pq.read_table(path).to_pylist()
        kept = any(RUN_ID.fullmatch(one.name) for one in self.pool.glob("runs/*"))
        self.absent = 0 if kept else len(rows)
        own: dict[str, Mapping[str, Any]] = {}
        curves = _curves(self.study) if kept else {}
        for row in rows:
            run_id, home = row["run_id"], self.pool / "runs" / row["run_id"]
            try:
                if not is_of_run(row["spec"], run_id):
                    yield Damage(path, f"run {run_id} has another's spec", COLLECTED_AGAIN)
                record = read_run(home)
            except UserError as error:
                yield Damage(path, f"of run {run_id}, {error}", COLLECTED_AGAIN)
                continue
            except Damaged:
                continue  # it is named already, or below
            if record is None and kept:
                gone = home if not home.exists() else home / CURVE
                yield Damage(gone, f"it is gone, and {path} has run {run_id}", DONE_AGAIN)
            if record is None:
                continue
            own[run_id] = record[0]
            if wrong := _differing(record[0], row):
                said = f"{', '.join(wrong)} of run {run_id} is not the run's own"
                yield Damage(path, said, COLLECTED_AGAIN)
            if _plain(completed(record[1], CURVE_SCHEMA)) != curves.get(run_id, []):
                said = f"the curve of run {run_id} is not the run's own"
                yield Damage(self.study / "curves.parquet", said, COLLECTED_AGAIN)
        yield from self._sources({row["run_id"]: row for row in rows})
        yield from self._trials(own)

    def _sources(self, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Damage]:
        """Rows that are charged something else than their sources in the table cost."""
        for run_id, row in rows.items():
            source = rows.get(row["source_run_id"])
            cost = 0.0 if source is None else source["flops"] + (source["flops_source"] or 0.0)
            if source is None and row["source_run_id"] is not None:
                continue
            if row["flops_source"] is not None and abs(row["flops_source"] - cost) > 1e-9 * cost:
                said = f"flops_source of run {run_id} is not what its sources cost"
                yield Damage(self.study / "runs.parquet", said, COLLECTED_AGAIN)

    def _trials(self, own: Mapping[str, Mapping[str, Any]]) -> Iterator[Damage]:
        path = self.study / "trials.parquet"
        for row in pq.read_table(path).to_pylist():
            runs = [own[run_id] for run_id in row["run_ids"] if run_id in own]
            if len(runs) < len(row["run_ids"]) or not runs:
                continue  # waiting, or named above
            wrong = [
                name
                for name in ("lr", "init_std")
                if any(_differ(one[name], row[name]) for one in runs)
            ]
            mean = sum(one["final_val_loss"] or 0.0 for one in runs) / len(runs)
            if row["state"] == "complete" and _differ(mean, row["value"]):
                wrong.append("value")
            if wrong:
                trial = f"trial {row['number']} of {row['sweep']}"
                said = f"{', '.join(wrong)} of {trial} is not its runs' own"
                yield Damage(path, said, COLLECTED_AGAIN)

    def _evaluations(self) -> Iterator[Damage]:
        path, folder = self.study / "evaluations.parquet", self.pool / "evaluations"
        if not path.exists() or not folder.is_dir():
            return
        for row in pq.read_table(path).to_pylist():
            kept = folder / f"{row['evaluation_id']}.json"
            try:
                own = read_numbers(kept).get(row["quantity"])
            except FileNotFoundError:
                yield Damage(kept, f"it is gone, and {path} has it", "it would be evaluated again")
            except Damaged as error:
                yield Damage(kept, str(error.reason), "it would be evaluated again")
            else:
                if _differ(own, row["value"]):
                    said = f"{row['quantity']} of {kept.stem} is not the evaluation's own"
                    yield Damage(path, said, "it would be written again")


def _check_file(path: Path, sums: Mapping[str, str] | None) -> None:
    check_sum(path, sha256_of_file(path), sums)


def _curves(study: Path) -> dict[str, list[list[object]]]:
    """The logged points of each run, as a study's table has them."""
    table = completed(pq.read_table(study / "curves.parquet"), CURVE_SCHEMA)
    found: dict[str, list[list[object]]] = {}
    for point in _plain(table):
        found.setdefault(str(point[0]), []).append(point)
    return found


def _plain(table: Any) -> list[list[object]]:
    """The rows of a table of curves as values, in the columns' one order; NaN is none."""
    columns = [table[name].to_pylist() for name in CURVE_SCHEMA.names]
    return [[None if one != one else one for one in row] for row in zip(*columns, strict=True)]


def _differing(own: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The columns of a run's row that the run itself has otherwise. What an import is charged is
    what the study says."""
    said = (*OF_THE_STUDY, "flops") if own["method"] == IMPORT else OF_THE_STUDY
    both = [name for name in own if name in here and name not in said]
    return [name for name in both if _differ(own[name], here[name])]


def _differ(own: object, here: object) -> bool:
    none = own is None or own != own  # NaN
    return not (none and (here is None or here != here)) and own != here
