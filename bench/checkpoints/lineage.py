"""What a checkpoint was made of, step by step, and the files that go with it.

A folder of an imported model has, beside ``checkpoint.safetensors`` and ``spec.json``, its family's
own ``config.json`` and the files of its tokenizer in ``published/``, and in ``lineage.json`` a list
of steps: the import, and every growth since. Growing such a folder hands both on.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from mugrow.bench.checksums import sha256_of_file
from mugrow.bench.files import check_new, flush, named, temporary_of
from mugrow.bench.record import write_json

BESIDE, LINEAGE = "published", "lineage.json"
Step = Mapping[str, Any]


def read_lineage(folder: Path) -> list[Step]:
    """The steps, none where the folder has no such file."""
    path = folder / LINEAGE
    steps: list[Step] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return steps


def hand_on(source: Path, out: Path, step: Step) -> None:
    """What goes with an imported model, to the folder of what was made of it; of a run that was
    none, nothing."""
    if not (source / LINEAGE).is_file():
        return
    if (source / BESIDE).is_dir():
        shutil.copytree(source / BESIDE, out / BESIDE)
    write_json(out / LINEAGE, [*read_lineage(source), step])


def keep_lineage(source: Path, home: Path) -> None:
    """What goes with an imported model, to the folder of a run that is this model."""
    if (source / BESIDE).is_dir():
        shutil.copytree(source / BESIDE, home / BESIDE, dirs_exist_ok=True)
    write_json(home / LINEAGE, read_lineage(source))


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Write tensors straight to a file of a folder that has no name yet, without a second copy of
    them in memory; returns the file's sha256."""
    save_file(dict(tensors), path, dict(about))
    flush(path)
    return sha256_of_file(path)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that gets its name when all is in it, or leaves nothing. Raises ``UserError`` where
    there is one already."""
    check_new(out)
    temporary = temporary_of(out)
    try:
        with named(out):
            temporary.mkdir(parents=True)
            yield temporary
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
