"""Tensors on disk: safetensors, written whole or not at all, never a pickle.

A run's ``checkpoint.safetensors`` holds its named weights; ``state.safetensors`` its optimizer's
buffers under the same names, each prefixed with the buffer's (``m.`` and ``v.`` for AdamW). A stack
in flight saves one file of its own (see ``mugrow.bench.run``). Damage (a truncated, changed or
foreign file) is a ``Damaged`` error that names the file; the caller decides whether to set it
aside. The format has no checksum: a run's files have theirs in ``SHA256SUMS`` beside them, and a
stack's file, which is replaced again and again, has one of its tensors among its metadata.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as content_of
from torch import Tensor

from mugrow.bench.checksums import Damaged as Damaged
from mugrow.bench.checksums import check_sum, read_sums, sha256, sha256_of_file
from mugrow.bench.files import write_bytes


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write tensors and metadata as one file, whole or not at all; returns its sha256."""
    # as arrays: the same bytes as of tensors, each of which safetensors takes 0.1 ms to look at
    whole = {name: tensor.detach().contiguous().cpu().numpy() for name, tensor in tensors.items()}
    content = content_of(whole, dict(metadata))
    write_bytes(path, content)
    return sha256(content)


def check(path: Path) -> None:
    """Raise ``Damaged`` for a file that is not whole, or ``FileNotFoundError``. The header says how
    long the file must be, so the tensors need not be read."""
    with _opened(path):
        pass


def verify(path: Path) -> None:
    """Raise ``Damaged`` for a file whose content is not that of its checksum, where its folder has
    checksums, and whatever ``check`` raises. Reads all of it."""
    check_sum(path, sha256_of_file(path), read_sums(path.parent))
    check(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and metadata, of a file that is verified. Raises ``Damaged``, or
    ``OSError``, of which ``FileNotFoundError`` is one.

    They are copied into memory aligned as torch aligns it: in the file they begin at any multiple
    of eight bytes, and a matrix product rounds otherwise there.
    """
    verify(path)
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})


def metadata(path: Path) -> dict[str, str]:
    """What a file says of itself. Raises as ``load`` does, and reads the header alone."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """The sha256 of a text and tensors: their names, shapes, types and bytes."""
    found = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        whole = tensor.detach().contiguous().cpu()
        found.update(f"{name} {whole.dtype} {tuple(whole.shape)} ".encode())
        found.update(whole.numpy().data if whole.numel() else b"")
    return found.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:  # safe_open is untyped
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise Damaged(path, error) from error
