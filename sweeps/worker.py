"""What a worker does: train a stack, if nobody else does, and say how that ended.

Its results lie in the pool. Several programs may have handed the same stack to their workers, so
it takes the lease first, and looks what has ended meanwhile.
"""

from pathlib import Path

from mugrow.bench.files import remove, temporaries
from mugrow.bench.run import RUN_FILES, Job, is_committed, run_stack, stack_files
from mugrow.sweeps.lease import LeaseLost, Leases, Process


def train(job: Job, silent: frozenset[str] = frozenset()) -> Process | None:
    """Train a stack to its end, unless its runs have ended. Returns the process that does so where
    another holds its lease; leases of the names ``silent`` count for nothing. Raises as
    ``run_stack`` does."""
    folder = Path(job.folder)
    stacks = folder / "stacks"
    runs = [run.run_id for run in job.runs]
    lease = Leases(stacks, silent).take(job.key, runs)
    if isinstance(lease, Process):
        return lease
    try:
        with lease.held():
            _tidy(folder, job.key, runs)
            if all(is_committed(folder, run_id) for run_id in runs):
                for path in stack_files(folder, job.key):
                    remove(path)
            else:
                run_stack(job)
    except LeaseLost:
        return Leases(stacks).holder(job.key, runs)
    return None


def _tidy(folder: Path, key: str, runs: list[str]) -> None:
    """Remove the half-written files of who had the lease before: they are nobody's now."""
    names = [path.name for path in stack_files(folder, key)]
    found = temporaries(folder / "stacks", names)
    for run_id in runs:
        found += temporaries(folder / "runs" / run_id, RUN_FILES)
    for path in found:
        remove(path)
