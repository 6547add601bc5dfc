"""The searches of a study as an Optuna storage: ``optuna-dashboard study.log`` opens it.

The file is Optuna's own journal (``optuna.storages.journal``), which it reads as it grows, so
trials can be watched while the study runs. It is a view: searches are replayed from the runs that
have ended (``mugrow.sweeps.search``), and what is written here is never read back for them. A sweep
is a study there; a trial that waits for its runs is running. One that diverged is complete, at
infinity: that is how good its point is. NaN is no value that Optuna has.

The journal is only appended to, by who writes the study's tables and has the folder alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from mugrow.bench.entries import in_one_line
from mugrow.sweeps.sampling import quiet

JOURNAL = "study.log"
MOST_AT_ONCE = 500  # trials of one call that may be followed by others: each takes a millisecond
STATES = {
    "waiting": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
}

# One for all trials of a sweep, or plots of several find nothing in common. A generation may look
# where none has before, so what the earlier ones span is not it.
ANYWHERE = FloatDistribution(2.0**-40, 2.0**20, log=True)

Row = Mapping[str, Any]  # of trials.parquet


class Journal:
    """The journal in a study's folder, opened when there is a first trial."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.path, self.say = folder / JOURNAL, say
        self.storage: JournalStorage | None = None
        self.studies: dict[str, _Sweep] = {}
        self.is_foreign = False

    def write(self, trials: Iterable[Row], most: int | None = MOST_AT_ONCE) -> None:
        """Append what is new of these rows of ``trials.parquet``, of at most so many trials."""
        rows = [row for row in trials if row["lr"] > 0]
        if not rows or self.is_foreign:
            return
        with quiet():
            try:
                storage = self._opened()
            except Exception as error:  # what lies there is no journal, and Optuna has many words
                self.is_foreign = True
                return self.say(f"{self.path} is no Optuna journal, and left alone: "
                                f"{in_one_line(error)}")  # fmt: skip
            for row in rows:
                if most == 0:
                    return
                changed = self._sweep(storage, row["sweep"]).write(row)
                most = most - changed if most is not None else None

    def _opened(self) -> JournalStorage:
        if self.storage is None:
            _mend(self.path)
            self.storage = JournalStorage(JournalFileBackend(str(self.path)))
        return self.storage

    def _sweep(self, storage: JournalStorage, name: str) -> "_Sweep":
        if name not in self.studies:
            known = {study.study_name for study in storage.get_all_studies()}
            opened = optuna.load_study if name in known else optuna.create_study
            self.studies[name] = _Sweep(storage, opened(study_name=name, storage=storage))
        return self.studies[name]


class _Sweep:
    """One sweep as a study of Optuna's."""

    def __init__(self, storage: JournalStorage, study: optuna.Study) -> None:
        self.storage, self.study = storage, study
        self.known: dict[int, tuple[int, TrialState]] = {}
        for trial in study.get_trials(deepcopy=False):
            self._know(trial)

    def _know(self, trial: FrozenTrial) -> None:
        self.known[trial.user_attrs.get("trial", trial.number)] = trial._trial_id, trial.state

    def write(self, row: Row) -> int:
        """Whether anything was new of this trial."""
        state, value = _outcome(row)
        trial_id, before = self.known.get(row["number"], (None, None))
        if before == state or (state == TrialState.RUNNING and before is not None):
            return 0  # one that is done again keeps its outcome until it has another
        if trial_id is not None and before == TrialState.RUNNING:
            self.storage.set_trial_state_values(trial_id, state, None if value is None else [value])
            self.known[row["number"]] = trial_id, state
            return 1
        self.study.add_trial(_trial(row, state, value))
        self._know(self.study.get_trials(deepcopy=False)[-1])
        return 1


def _outcome(row: Row) -> tuple[TrialState, float | None]:
    if row["state"] == "diverged":
        return TrialState.COMPLETE, math.inf
    value = row["value"]
    if value is not None and math.isnan(value):
        return TrialState.FAIL, None
    return STATES[row["state"]], value


def _trial(row: Row, state: TrialState, value: float | None) -> FrozenTrial:
    params = {name: row[name] for name in ("lr", "init_std") if row[name] > 0}
    return create_trial(
        state=state,
        value=value,
        params=params,
        distributions=dict.fromkeys(params, ANYWHERE),
        user_attrs={
            "trial": row["number"],
            "generation": row["generation"],
            "state": row["state"],
            "runs": ", ".join(row["run_ids"]),
        },
    )


def _mend(path: Path) -> None:
    """Cut off a line that a program had half written when it was killed, and remove its lock.
    Raises ``ValueError`` for a file that is no journal."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.startswith(b'{"op_code"'):
        raise ValueError("it begins otherwise")
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
