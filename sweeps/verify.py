"""A store gone through from end to end: is everything what was written, and of the run it says?

Every file is read whole and held against its checksum, the identity it carries and the values that
it can have. Nothing is changed: what is damaged is named with what `mugrow run` or `mugrow
reproduce` on the folder would do about it.

    runs/          checksums; curve, checkpoint and state of this very run; a spec that has its id
    stacks/        checksum of each saved state
    evaluations/   checksum of the numbers
    *.parquet      checksums; every run with a curve; values; rows as the runs' own
    study.json     its checksum; a configuration with a name
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mugrow.analysis.read.store import load
from mugrow.bench.checksums import SUMS, Damaged
from mugrow.bench.record import read_run
from mugrow.bench.run import load_state
from mugrow.bench.run import verify as verify_run
from mugrow.bench.spec import IMPORT, UserError, is_of_run
from mugrow.bench.start import read_source
from mugrow.sweeps.evaluate import read_numbers
from mugrow.sweeps.study_folder import RUN_ID

SAME = ("status", "final_val_loss", "flops", "tokens", "spec")
"""Columns of ``runs.parquet`` that a run's own record has, too."""


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
    checksums: only what they say of themselves was looked at."""

    folder: Path
    runs: int
    stacks: int
    evaluations: int
    tables: int
    unchecked: int
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
    studies = [
        one for one in (folder, *sorted(folder.iterdir())) if (one / "runs.parquet").exists()
    ]
    grown = folder / "checkpoint.safetensors"
    if not (runs or stacks or evaluations or studies or grown.exists()):
        raise UserError(f"{folder} holds no runs and no tables of runs; nothing to verify")
    damage: list[Damage] = []
    for path in runs:
        damage += _damage(partial(_run, folder, path.name), "the run would be done again")
    for path in stacks:
        damage += _damage(partial(load_state, path), "the stack would begin again")
    for path in evaluations:
        damage += _damage(partial(read_numbers, path), "it would be evaluated again")
    for study in studies:
        damage += _tables(study, folder)
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
        damage=tuple(damage),
    )


def _damage(check: Callable[[], object], then: str) -> Iterator[Damage]:
    try:
        check()
    except Damaged as error:
        yield Damage(error.path, str(error.reason), then)


def _run(folder: Path, run_id: str) -> None:
    verify_run(folder, run_id)
    record = read_run(folder / "runs" / run_id)
    if record is None:
        return
    path, row = folder / "runs" / run_id / "curve.parquet", record[0]
    try:
        own = is_of_run(row["spec"], run_id)
    except UserError as error:
        raise Damaged(path, error) from error
    if not own:
        raise Damaged(path, "its spec is that of another run")


def _tables(study: Path, pool: Path) -> Iterator[Damage]:
    """Of a study's tables, which are collected from the runs in a pool."""
    path, then = study / "runs.parquet", "the tables would be collected again"
    try:
        runs = load(study).runs
    except UserError as error:
        yield Damage(path, str(error), then)
        return
    for row in runs.to_dict("records"):
        try:
            if not is_of_run(row["spec"], row["run_id"]):
                yield Damage(path, f"run {row['run_id']} has another's spec", then)
            record = read_run(pool / "runs" / row["run_id"])
        except UserError as error:
            yield Damage(path, f"of run {row['run_id']}, {error}", then)
        except Damaged:
            continue  # it is named already
        else:
            own = record[0] if record is not None else row
            # what an import is charged is what the study says
            same = SAME if row["method"] != IMPORT else [name for name in SAME if name != "flops"]
            wrong = [name for name in same if _differ(own[name], row[name])]
            if wrong:
                yield Damage(path, f"{wrong[0]} of run {row['run_id']} is not the run's own", then)


def _differ(own: object, here: object) -> bool:
    none = own is None or own != own  # NaN
    return not (none and (here is None or here != here)) and own != here
