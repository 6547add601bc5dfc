"""Tensors on disk: safetensors, written whole or not at all, never a pickle.

A run's ``checkpoint.safetensors`` holds its named weights; ``state.safetensors`` its optimizer's
buffers under the same names, each prefixed with the buffer's (``m.`` and ``v.`` for AdamW). A stack
in flight saves one file of its own (see ``mugrow.bench.run``). Damage (a truncated or foreign file)
is a ``Damaged`` error that names the file; the caller decides whether to set it aside.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mugrow.bench.record import write_atomically


class Damaged(Exception):
    """A file of the store that cannot be read as what it should be."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} is damaged: {(str(reason) or repr(reason)).splitlines()[0]}")
        self.path = path


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as one file, whole or not at all."""
    whole = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(whole, temporary, dict(metadata)))


def check(path: Path) -> None:
    """Raise ``Damaged`` for a file that is not whole, or ``FileNotFoundError``. The header says how
    long the file must be, so the tensors need not be read."""
    with _opened(path):
        pass


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and metadata. Raises ``Damaged``, or ``FileNotFoundError``.

    They are copied into memory aligned as torch aligns it: in the file they begin at any multiple
    of eight bytes, and a matrix product rounds otherwise there.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:  # safe_open is untyped
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise Damaged(path, error) from error
