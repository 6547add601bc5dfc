"""A file of ids is split as it was when it was read whole; what is kept of it is true or not used;
and a worker needs no memory for it."""

import hashlib
import multiprocessing
import os
import re
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mugrow.bench.data import splits
from mugrow.bench.data.batches import _tokenize, load, load_again, resolve, train_batch, val_windows
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.token_files import TokenFile
from mugrow.bench.spec import UserError

IDS = np.arange(100_000) * 7919 % 5000
ENDED = IDS.copy()
ENDED[699::700] = 50_256
GIVEN = {  # the hashes of version 0.1, which read the files whole
    "blocks.bin": "dd6f7c9f530d7ae451228d9c3c0f40b80d4b91ce442e5ae0aa9af492b6e47ed7",
    "ended.bin": "33b266708183440dde5216f1b803924b10f74df81130707de66c87a9374e9cf0",
    "wide.npy": "d77387f534d9ceef9d757aa232e237761ffe010de352ac6156133dccd4c2e0c5",
    "train.bin": "20e2fffbd801e43f490afd088175f5a9956a5993959569965f839a143bb5d32a",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "cache"))
    _tokenize.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path):
    return written(tmp_path, "ended.bin")


def written(folder, name):
    ids = {"ended.bin": ENDED, "wide.npy": IDS * 20}.get(name, IDS)
    if name == "wide.npy":
        np.save(folder / name, ids)
    else:
        ids.astype("<u2").tofile(folder / name)
    if name == "train.bin":
        ids[:3000].astype("<u2").tofile(folder / "val.bin")
    return folder / name


def never(*_):
    pytest.fail("looked at all ids")


@pytest.mark.parametrize("at_once", [1000, 2**20])
@pytest.mark.parametrize("name", GIVEN)
def test_the_hash_is_what_it_was(tmp_path, monkeypatch, name, at_once):
    monkeypatch.setattr("mugrow.bench.data.token_files.AT_ONCE", at_once)
    assert read_corpus(str(written(tmp_path, name))).corpus_sha256 == GIVEN[name]


def test_the_streams_are_the_documents_split_by_their_hash(path):
    data = read_corpus(str(path))
    documents = np.split(ENDED.astype("<u2"), np.flatnonzero(ENDED == 50_256) + 1)
    order = sorted(documents, key=lambda one: hashlib.sha256(one.tobytes()).digest())
    count = len(data.val) // 700
    assert 0.05 <= len(data.val) / len(ENDED) < 0.07
    assert np.array_equal(data.val[np.arange(len(data.val))], np.concatenate(order[:count]))
    held_out = {one.tobytes() for one in order[:count]}
    train = [one for one in documents if one.tobytes() not in held_out]
    assert np.array_equal(data.train[np.arange(len(data.train))], np.concatenate(train))
    assert data.train.ids.base is not None  # a view of what is mapped


def test_a_second_reader_looks_at_no_ids(path, monkeypatch):
    first = read_corpus(str(path))
    assert [one.name for one in path.parent.glob(".*")] == [".ended.bin.split.npz"]
    monkeypatch.setattr(TokenFile, "largest", never)
    second = read_corpus(str(path))
    assert (second.corpus_sha256, second.vocab_size) == (first.corpus_sha256, 50_304)
    every = np.arange(len(first.val))
    assert np.array_equal(second.val[every], first.val[every])
    moved = path.parent.rename(path.parent.parent / "moved") / path.name
    assert read_corpus(str(moved)).corpus_sha256 == first.corpus_sha256


@pytest.mark.parametrize("how", ["bytes", "same size and time", "another", "val.bin", "sidecar"])
def test_a_changed_file_is_noticed(tmp_path, how):
    path = written(tmp_path, "train.bin")
    spec = resolve(str(path), val_tokens=64)
    before = path.stat()
    if how == "val.bin":
        (tmp_path / "val.bin").write_bytes(IDS[:2999].astype("<u2").tobytes())
    elif how == "sidecar":
        (tmp_path / "train.bin.json").write_text('{"dtype": "uint16", "tokens": 7}')
        _tokenize.cache_clear()  # as in another process
    elif how == "another":
        ENDED.astype("<u2").tofile(tmp_path / "new")
        (tmp_path / "new").rename(path)
    else:
        with path.open("r+b") as file:
            file.write(b"\1\1")
        if how == "same size and time":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert path.stat().st_size == before.st_size
    with pytest.raises(UserError, match=r"is not the text this run is about|says 7") as error:
        load(spec, str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "of another version"])
def test_a_damaged_split_is_found_again(path, damage, monkeypatch):
    spans = read_corpus(str(path)).val.begins
    kept = path.with_name(f".{path.name}.split.npz")
    whole = kept.read_bytes()
    at = whole.index(spans[:1].tobytes()) + 1
    flipped = whole[:at] + b"\1" + whole[at + 1 :]
    if damage == "of another version":
        monkeypatch.setattr(splits, "VERSION", 0)
    else:
        kept.write_bytes({"cut": whole[:900], "empty": b"", "flipped": flipped}[damage])
    assert read_corpus(str(path)).corpus_sha256 == GIVEN[path.name]
    assert damage == "of another version" or kept.read_bytes() == whole


def test_a_folder_that_is_not_ours_is_left_alone(path, monkeypatch, cache):
    real = splits.write_npz

    def refused(place, arrays):
        if place.parent == path.parent:
            raise PermissionError(13, "Permission denied", str(place))
        real(place, arrays)

    monkeypatch.setattr(splits, "write_npz", refused)
    assert read_corpus(str(path)).corpus_sha256 == GIVEN[path.name]
    assert [one.name[:6] for one in cache.iterdir()] == ["split-"]
    with monkeypatch.context() as patch:
        patch.setattr(TokenFile, "largest", never)
        read_corpus(str(path))
    (cache / next(cache.iterdir()).name).unlink()
    cache.rmdir()
    cache.write_text("in the way")
    assert read_corpus(str(path)).corpus_sha256 == GIVEN[path.name]  # kept nowhere


def test_a_file_that_changes_while_it_is_read_is_refused(path, monkeypatch):
    real = TokenFile.largest

    def meanwhile(file):
        with path.open("r+b") as other:
            other.write(b"\1\1")
        return real(file)

    monkeypatch.setattr(TokenFile, "largest", meanwhile)
    with pytest.raises(UserError, match=r"ended\.bin' was changed while it was read"):
        read_corpus(str(path))
    monkeypatch.undo()
    assert read_corpus(str(path)).corpus_sha256 != GIVEN[path.name]


def test_a_worker_holds_windows_and_not_the_corpus(tmp_path):
    path = tmp_path / "ids.bin"
    np.random.default_rng(0).integers(50_000, size=4_000_000, dtype="<u2").tofile(path)  # 8 MB
    spec = resolve(str(path), val_tokens=2048)
    _tokenize.cache_clear()
    tracemalloc.start()
    try:
        data = load_again(spec, str(path))
        for step in range(3):
            train_batch(data.train, 0, step, 8, 64)
        windows = val_windows(data.val, 64, 2048)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert windows.nbytes == 2048 // 64 * 65 * 8
    assert peak_bytes < 2_000_000


def anonymous_mb():
    """Memory of this process that is no mapped file."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024


def added_mb(spec, path):
    """What a corpus adds to a worker that trains on it, between others."""
    import mugrow.bench.run  # noqa: F401  # what a worker has anyway

    before = anonymous_mb()
    data = load_again(spec, path)
    for step in range(100):
        train_batch(data.train, 0, step, 32, 256)
    windows = val_windows(data.val, 256, spec.val_tokens)
    time.sleep(1)  # so that the other worker is there
    return os.getpid(), anonymous_mb() - before, len(windows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ids", "text"])
def test_200_mb_add_less_than_20_to_each_worker(tmp_path, kind):
    draw = np.random.default_rng(0)
    path = tmp_path / ("ids.bin" if kind == "ids" else "words.txt")
    with path.open("wb") as file:
        for _ in range(20):
            if kind == "ids":
                file.write(draw.integers(50_000, size=5_000_000, dtype="<u2").tobytes())
            else:
                words = draw.integers(97, 123, size=10_000_000, dtype="u1")
                words[::6], words[::1000], words[1::1000] = 32, 10, 10
                file.write(words.tobytes())
    assert path.stat().st_size == 200_000_000
    spec = resolve(str(path))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as workers:
        found = list(workers.map(added_mb, [spec] * 2, [str(path)] * 2))
    assert len({process for process, *_ in found}) == 2
    assert all(windows == 128 for *_, windows in found)
    assert all(megabytes < 20 for _, megabytes, _ in found), found
