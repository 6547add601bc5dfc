"""What a checkpoint was made of, step by step, and the files that go with it.

A folder of an imported model has, beside ``checkpoint.safetensors`` and ``spec.json``, its family's
own ``config.json`` and the files of its tokenizer in ``published/``, and in ``lineage.json`` a list
of steps: the import, and every growth since. Growing such a folder hands both on.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mugrow.bench.record import write_json
from mugrow.bench.spec import UserError

BESIDE, LINEAGE = "published", "lineage.json"
Step = Mapping[str, Any]


def read_lineage(folder: Path) -> list[Step]:
    """The steps, none where the folder has no such file."""
    path = folder / LINEAGE
    steps: list[Step] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return steps


def hand_on(source: Path, out: Path, step: Step) -> None:
    """What goes with an imported model, to the folder of what was made of it."""
    if (source / BESIDE).is_dir():
        shutil.copytree(source / BESIDE, out / BESIDE)
    write_json(out / LINEAGE, [*read_lineage(source), step])


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that gets its name when all is in it, or leaves nothing. Raises ``UserError`` where
    there is one already."""
    if out.exists():
        raise UserError(f"{out} exists already")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        os.rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
