"""Where what took long to fetch or to encode is kept between runs."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mugrow.bench.files import write_atomically


def cache_folder() -> Path:
    """``$MUGROW_CACHE``, else ``mugrow`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    if chosen := os.environ.get("MUGROW_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mugrow"


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays, uncompressed, as one file with checksums, whole or not at all. Raises
    ``OSError``."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a name, NumPy would append .npz to it
            np.savez(file, **arrays)

    write_atomically(path, write)
