"""How a file of token ids is split, found once and kept beside it.

The bounds of its ids, where its documents end, the hash of each and which are held out: all of that
needs every id of the file, and is a few numbers when it is known. They are kept in a hidden file
beside, ``.NAME.split.npz``, or in the cache where that folder is not ours to write, for as long as
the file has the stamp that it had (``mugrow.bench.data.stamps``). Where neither can be written they
are found again. An ``.npz`` carries checksums: a damaged one is found again, too.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mugrow.bench.data.cache import cache_folder, write_npz
from mugrow.bench.data.held_out import corpus_sha256, digest_of_hashes, hold_out_places
from mugrow.bench.data.stamps import Stamp, changed, settle
from mugrow.bench.data.token_files import TokenFile, narrowest, pieces
from mugrow.bench.data.tokens import Ids, Pieces
from mugrow.bench.spec import UserError

VERSION = 1  # of what is kept


@dataclass(frozen=True, eq=False)
class Split:
    """The corpus's hash, its largest id, and where the pieces of both streams lie: rows of
    (begin, length) in ids, of shape (p, 2)."""

    sha256: str
    largest: int
    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]


def stream(ids: Ids, spans: npt.NDArray[np.int64]) -> Pieces:
    """The ids of these pieces, one behind the other."""
    return Pieces(ids, spans[:, 0], spans[:, 1])


def split(corpus: str, file: TokenFile, token_dtype: str | None) -> tuple[Split, tuple[Stamp, ...]]:
    """The documents of a file, split by the rule of ``held_out``, and the stamps of what was read.
    Raises ``UserError``."""
    return _kept([file], token_dtype, lambda: _found(corpus, file))


def given_split(
    train: TokenFile, val: TokenFile, token_dtype: str | None
) -> tuple[Split, tuple[Stamp, ...]]:
    """A corpus whose held-out ids lie in a file of their own. Raises ``UserError``."""
    return _kept([train, val], token_dtype, lambda: _found_given(train, val))


def _found(corpus: str, file: TokenFile) -> Split:
    ids, largest = file.ids, file.largest()
    kind = narrowest(largest)
    stops = np.append(file.ends(largest), len(ids))
    spans = np.stack([np.append(0, stops[:-1]), np.diff(stops, prepend=0)], axis=1)
    spans = spans[spans[:, 1] > 0]
    hashes = [_sha256(ids[begin : begin + length], kind) for begin, length in spans.tolist()]
    train, val = hold_out_places(hashes, (spans[:, 1] * kind.itemsize).tolist())
    if not train:
        raise UserError(
            f"corpus {corpus!r} is too short: its one document of {len(ids)} ids leaves none to "
            "hold out for validation"
        )
    parts = [digest_of_hashes(hashes[place] for place in part) for part in (train, val)]
    sha256 = corpus_sha256(parts[0], parts[1], kind.str)
    return Split(sha256, largest, _joined(spans[train]), spans[val])


def _found_given(train: TokenFile, val: TokenFile) -> Split:
    largest = max(train.largest(), val.largest())
    for file in (train, val):
        if file.index is not None:
            file.ends(largest)  # not needed, but an index that contradicts its ids is refused
    kind = narrowest(largest)
    parts = [digest_of_hashes([_sha256(file.ids, kind)]) for file in (train, val)]
    whole = (np.array([[0, len(file.ids)]], np.int64) for file in (train, val))
    return Split(corpus_sha256(parts[0], parts[1], kind.str), largest, *whole)


def _sha256(ids: Ids, kind: np.dtype[np.unsignedinteger]) -> bytes:
    """Of a document, its ids in their narrowest type."""
    found = hashlib.sha256()
    for _, part in pieces(ids):
        found.update(np.ascontiguousarray(part, kind).data)
    return found.digest()


def _joined(spans: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same pieces, those that touch as one."""
    begins, stops = spans[:, 0], spans.sum(1)
    first = np.append(True, begins[1:] != stops[:-1])
    last = np.append(first[1:], True)
    return np.stack([begins[first], stops[last] - begins[first]], axis=1)


def _kept(
    files: Sequence[TokenFile], token_dtype: str | None, find: Callable[[], Split]
) -> tuple[Split, tuple[Stamp, ...]]:
    """What was found before, if it is of these very files; else found and kept. A file that is
    changed meanwhile has another stamp than what is kept of it, and is refused."""
    stamps = tuple(one for file in files for one in file.stamps)
    key, places = _key(stamps, token_dtype), _places(files[0].path)
    found = next(filter(None, (_load(place, key) for place in places)), None)
    if found is None:
        settle(stamps)
        found = find()
        _keep(places, key, found)
    if (path := changed(stamps)) is not None:
        raise UserError(f"corpus '{path}' was changed while it was read")
    return found, stamps


def _keep(places: Iterable[Path], key: str, found: Split) -> None:
    """In the first place that can be written; where none can, it costs time and nothing else."""
    for place in places:
        with contextlib.suppress(OSError):
            return write_npz(place, {"key": np.array(key), **vars(found)})


def _places(path: Path) -> tuple[Path, Path]:
    """Where the split of a file may be kept."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return path.with_name(f".{path.name}.split.npz"), cache_folder() / f"split-{name}.npz"


def _key(stamps: Sequence[Stamp], token_dtype: str | None) -> str:
    """What the kept numbers depend on; a folder that was moved keeps them."""
    files = [(Path(one.path).name, *one[1:]) for one in stamps]
    return json.dumps([VERSION, token_dtype, files])


def _load(place: Path, key: str) -> Split | None:
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            return Split(
                sha256=str(arrays["sha256"]),
                largest=int(arrays["largest"]),
                train=arrays["train"],
                val=arrays["val"],
            )
    except Exception:  # missing, or damaged in whatever way: it can always be found again
        return None
