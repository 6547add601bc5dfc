"""The folder of a study: is it ours, whose else is it, and what does it say of itself.

``study.json`` holds the configuration, and a folder holds one study: other settings are other
runs, and their tables would be mixed. A setting that was added later is at its default where it is
absent.
"""

import fcntl
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mugrow.bench.checksums import Damaged, check_sum, read_sums, sha256
from mugrow.bench.method_file import files_of
from mugrow.bench.record import set_aside, write_atomically, write_json
from mugrow.bench.spec import UserError
from mugrow.sweeps.experiment import Experiment
from mugrow.sweeps.lease import Lease, Leases
from mugrow.sweeps.plan import Plan

RUN_ID = re.compile("[0-9a-f]{16}")
METHODS = "methods"  # copies of the methods that come from a file
TABLES = "tables"  # the lease of who writes a study's tables
LOOK_EVERY_S = 0.5

ADDED_SETTINGS: dict[str, Any] = {  # what a study had that was written without them
    "optimizer": "adamw",
    "budgets": [],
    "front": [],
    "final_val_tokens": 0,
    "looks": [],
    "against": "scratch",
    "error_rate": 0.05,
}


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """A folder that holds studies, or is to. Versions before leases had it for themselves, by a
    lock: one of those and this one refuse each other's."""
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"--out {folder} is a link to what is not there: {folder.readlink()}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file, not a folder")
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").exists()
    if foreign and not (folder / "study.json").exists():
        raise UserError(f"--out {folder} is not empty and holds no study; choose another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is in use by an older version of mugrow") from None
        except OSError:
            pass  # a file system without locks
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, no other program writes what belongs to the study as a whole."""
    leases = Leases(folder)
    while not isinstance(lease := leases.take(TABLES, ()), Lease):
        time.sleep(LOOK_EVERY_S)
    with lease.held():
        yield


def claim(experiment: Experiment, folder: Path, say: Callable[[str], None]) -> None:
    """Write ``study.json``, or refuse a folder that holds another study."""
    path = folder / "study.json"
    both = [experiment.configuration, experiment.defaults]
    ours, defaults = json.loads(json.dumps(both, default=asdict))
    if path.exists():
        try:
            written = _claimed(path)
        except Damaged as error:
            say(f"{error}; set aside as {set_aside(path).name}")
        else:
            older = {key: ADDED_SETTINGS[key] for key in ours.keys() & ADDED_SETTINGS}
            theirs = _completed(older | written, defaults)
            keys = sorted(ours.keys() | theirs.keys())
            differ = [key for key in keys if ours.get(key) != theirs.get(key)]
            if not differ:
                return
            other = [key for key in differ if key in written or key not in older]
            if not other:
                settings = " ".join(f"{key}={_as_set(older[key])}" for key in differ)
                raise UserError(
                    f"{folder} holds this study from before there was {' and '.join(differ)}; "
                    f"to go on with it add --set {settings}"
                )
            key = other[0]
            _check_method_files(folder, theirs.get(key), ours.get(key))
            raise UserError(
                f"{folder} holds another study: its {key} is {theirs.get(key)!r}, not "
                f"{ours.get(key)!r}; choose another --out"
            )
    write_json(path, ours)


def _claimed(path: Path) -> dict[str, Any]:
    """What ``study.json`` says. Raises ``Damaged`` where it is not what was written, or no study's
    configuration."""
    content = path.read_bytes()
    sums = read_sums(path.parent)
    if sums is not None and path.name in sums:  # it is written before there are any
        check_sum(path, sha256(content), sums)
    try:
        written = json.loads(content)
    except ValueError as error:
        raise Damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(written, dict) or not isinstance(written.get("name"), str):
        raise Damaged(path, "it is no study's configuration, which has a name")
    return written


def _check_method_files(folder: Path, theirs: object, ours: object) -> None:
    """Raise the ``UserError`` of a method's file that has changed since the study began."""
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return
    names = [[one["name"] for one in each if isinstance(one, dict) and "name" in one]
             for each in (theirs, ours)]  # fmt: skip
    of_files = [{name.partition("@")[0]: name for name in each if "@" in name} for each in names]
    for name in of_files[0].keys() & of_files[1].keys():
        before, now = (found[name] for found in of_files)
        if before != now:
            raise UserError(
                f"the file of method {name!r} has changed: {folder} was begun with {before}, kept "
                f"in {folder / METHODS}, and this is {now}; choose another --out"
            )


def keep_methods(first: Plan, folder: Path) -> None:
    """Copies of the methods that come from a file, so that what was run can be read later."""
    stacks = (*first.stacks, *first.provisional)
    for file in files_of({run.spec.start.method for stack in stacks for run in stack.runs}):
        copy = partial(Path.write_text, data=file.text, encoding="utf-8")
        write_atomically(folder / METHODS / f"{file.name}.py", copy)


def _as_set(value: object) -> str:
    """A setting that was added later as ``--set`` takes it."""
    return "" if value == [] else str(value)


def _completed(found: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the settings that it lacks at their defaults; records of a list, as
    methods, with the fields that the default's first has."""
    completed = dict(defaults)
    for key, value in found.items():
        nested = defaults.get(key)
        if isinstance(value, dict) and isinstance(nested, dict):
            value = _completed(value, nested)
        elif isinstance(value, list) and isinstance(nested, list) and nested:
            records = isinstance(nested[0], dict)
            value = [nested[0] | one if records else one for one in value]
        completed[key] = value
    return completed
