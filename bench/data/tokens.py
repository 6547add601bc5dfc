"""Token ids for training: two streams, which need not be in memory.

A file of ids is mapped: its pages are the system's, shared by every process that looks at them, so
a worker needs memory for the windows that it draws and not for the corpus. Documents that are held
out lie between those that are trained on. So that neither is copied, a stream may be in *pieces*:

    file      | a  b | c | d  e  f | g |        c and g are held out
    train     a  b  d  e  f                     begins 0, 3;  stops 2, 5
    val       g  c                              begins 6, 2;  stops 1, 2

The id at place i of a stream lies in the first piece whose stop is above i.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mugrow.bench.data.sidecar import Sidecar
from mugrow.bench.data.stamps import Stamp, changed
from mugrow.bench.spec import UserError

Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Ids (n,) that lie in ``ids`` from ``begins`` (p,) on, as many as ``lengths`` (p,) say."""

    ids: Ids
    begins: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64] = field(init=False)
    shifts: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        stops = np.cumsum(self.lengths)
        object.__setattr__(self, "stops", stops)
        object.__setattr__(self, "shifts", self.begins - (stops - self.lengths))

    def __len__(self) -> int:
        return int(self.stops[-1])

    def __getitem__(self, places: npt.NDArray[np.int64]) -> Ids:
        """The ids at these places of the stream, of their shape."""
        piece = np.searchsorted(self.stops, places, side="right")
        found: Ids = self.ids[places + self.shifts[piece]]
        return found


Tokens = Ids | Pieces


@dataclass(frozen=True, eq=False)
class TokenData:
    """Token ids of the training (n,) and the held-out (m,) documents, each in one stream.

    ``token_bytes`` has shape (vocab_size,): how many bytes of text each id stands for; ``None``
    where that is not known, as for most files of token ids, whose tokenizer is ``none``.
    ``left_out`` says what of the corpus was not read. ``sidecar`` says whose ids they are, where a
    file has one, and ``largest_id`` is known of files of ids. ``stamps`` are those of the files
    that the ids lie in, where they are somebody's.
    """

    name: str
    corpus_sha256: str
    train: Tokens
    val: Tokens
    vocab_size: int
    token_bytes: npt.NDArray[np.int64] | None
    tokenizer: str = "none"
    left_out: str = ""
    sidecar: Sidecar | None = None
    largest_id: int | None = None
    stamps: tuple[Stamp, ...] = ()

    def bits_per_byte(self, nats_per_token: float, windows: npt.NDArray[np.int64]) -> float:
        """The mean loss over the targets of ``windows``, per byte of text; NaN if not known."""
        if self.token_bytes is None:
            return math.nan
        targets = windows[:, 1:]
        tokens_per_byte = targets.size / int(self.token_bytes[targets].sum())
        return nats_per_token * tokens_per_byte / math.log(2)

    def check_unchanged(self) -> None:
        """Raise ``UserError`` where a file was written to while its ids were in use."""
        if (path := changed(self.stamps)) is not None:
            raise UserError(
                f"corpus '{path}' was changed while it was trained on: once it is as it was, the "
                "same command goes on from the last save before"
            )
