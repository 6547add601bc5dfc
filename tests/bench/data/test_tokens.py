"""A stream in pieces gives the ids that the pieces hold, and a file's change is noticed."""

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.bench.data.batches import train_batch, val_windows
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.stamps import TICK_S, changed, settle, stamp
from mugrow.bench.data.tokens import Pieces, TokenData
from mugrow.bench.spec import UserError

SPANS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), min_size=1, max_size=9)


@given(SPANS)
def test_a_stream_in_pieces_is_its_pieces_one_behind_the_other(spans):
    ids = np.arange(1000, dtype="<u2") * 3
    begins, lengths = np.array(spans, np.int64).T
    pieces = Pieces(ids, begins, lengths)
    whole = np.concatenate([ids[begin : begin + length] for begin, length in spans])
    assert len(pieces) == len(whole)
    assert np.array_equal(pieces[np.arange(len(whole))], whole)
    context = min(4, len(whole) - 1)
    if context:
        drawn = (train_batch(stream, 1, 2, 3, context) for stream in (pieces, whole))
        assert np.array_equal(*drawn)
        assert np.array_equal(*(val_windows(one, context, context) for one in (pieces, whole)))


def test_what_was_written_since_is_noticed(tmp_path):
    path = tmp_path / "ids.bin"
    path.write_bytes(b"1234")
    before = stamp(path)
    data = TokenData("ids.bin", "", np.arange(2), np.arange(2), 2, None, stamps=(before,))
    data.check_unchanged()
    assert changed([before]) is None
    os.utime(path, ns=(0, before.modified_ns))  # who reads it changes nothing
    path.write_bytes(b"1324")
    os.utime(path, ns=(0, before.modified_ns))  # same size and time of writing, other inode times
    assert changed([before]) == path
    with pytest.raises(UserError, match=r"ids\.bin' was changed while it was trained on"):
        data.check_unchanged()
    path.unlink()
    assert changed([before]) == path


def test_a_file_is_read_a_tick_after_its_last_change(tmp_path, monkeypatch):
    path = tmp_path / "ids.bin"
    path.write_bytes(b"1234")
    slept = []
    monkeypatch.setattr("mugrow.bench.data.stamps.time.sleep", slept.append)
    just = stamp(path)._replace(changed_ns=time.time_ns() + 2**30)
    for age_ns, waits in ((0, True), (int(TICK_S * 1e9), False), (10**12, False)):
        now_ns = just.changed_ns + age_ns
        monkeypatch.setattr("mugrow.bench.data.stamps.time.time_ns", lambda now_ns=now_ns: now_ns)
        settle([just._replace(changed_ns=0), just])
        assert bool(slept) == waits
        slept.clear()


def test_a_split_waits_for_the_tick_to_end(tmp_path, monkeypatch):
    np.random.default_rng(0).integers(300, size=30_000).astype("<u2").tofile(tmp_path / "ids.bin")
    asked = []
    monkeypatch.setattr("mugrow.bench.data.splits.settle", asked.extend)
    for _ in range(2):
        read_corpus(str(tmp_path / "ids.bin"))
    assert asked == [stamp(tmp_path / "ids.bin")]  # not again for what is kept
