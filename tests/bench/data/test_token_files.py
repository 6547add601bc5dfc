"""Token ids by the width that their file says, and what is refused where none does."""

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.data.batches import resolve
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.token_files import END_OF_TEXT, open_token_file
from mugrow.bench.spec import UserError

STEADY = settings(deadline=None, derandomize=True)
CODES = {"uint16": 8, "int32": 4, "int64": 5}


def token_documents(path, dtype=None):
    """All ids of a file, looked at, a part a document."""
    file = open_token_file(path, dtype)
    return np.split(file.ids, file.ends(file.largest()))


@pytest.fixture(scope="module")
def ids():
    """80,000 ids of a vocabulary of 40,000, frequent ones first, as in text."""
    draw = np.random.default_rng(0)
    return np.minimum(draw.pareto(0.7, 80_000) * 20, 39_999).astype(np.int64)


def header(path, ids, magic=20240520, version=1, dtype="<u2", count=None):
    ints = np.zeros(256, "<i4")
    ints[:3] = magic, version, len(ids) if count is None else count
    path.write_bytes(ints.tobytes() + ids.astype(dtype).tobytes())
    return path


def megatron(folder, ids, ends, dtype="uint16", name="data"):
    """Two sequences a document, as Megatron writes them."""
    kind = np.dtype(dtype)
    starts = [0, *ends]
    lengths = [part for a, b in zip(starts, ends, strict=False) for part in (1, b - a - 1)]
    begins = np.cumsum([0, *lengths[:-1]]) * kind.itemsize
    (folder / f"{name}.idx").write_bytes(
        struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, CODES[dtype], len(lengths), len(ends) + 1)
        + np.array(lengths, "<i4").tobytes()
        + begins.astype("<i8").tobytes()
        + np.arange(0, 2 * len(ends) + 1, 2, dtype="<i8").tobytes()
    )
    ids.astype(dtype).tofile(folder / f"{name}.bin")
    return folder / f"{name}.bin"


def test_the_same_ids_are_the_same_corpus_whatever_their_file(tmp_path, ids):
    found = set()
    for dtype in ("uint16", "uint32", "int32", "int64", "uint64"):
        path = tmp_path / f"{dtype}.bin"
        ids.astype(dtype).tofile(path)
        word = str(path) if dtype == "uint16" else f"{path}:token_dtype={dtype}"
        found.add(read_corpus(word).corpus_sha256)
        np.save(tmp_path / "ids.npy", ids.astype(dtype))
        found.add(read_corpus(str(tmp_path / "ids.npy")).corpus_sha256)
    found.add(read_corpus(str(header(tmp_path / "gpt2.bin", ids))).corpus_sha256)
    llama = header(tmp_path / "llama.bin", ids, 20240801, 7, "<u4")
    found.add(read_corpus(str(llama)).corpus_sha256)
    assert len(found) == 1


def test_ids_beyond_16_bits_are_kept(tmp_path, ids):
    np.save(tmp_path / "ids.npy", wide := ids * 3)
    corpus = read_corpus(str(tmp_path / "ids.npy"))
    kept = [part[np.arange(len(part))] for part in (corpus.train, corpus.val)]
    assert np.array_equal(np.sort(np.concatenate(kept)), np.sort(wide))
    assert resolve(str(tmp_path / "ids.npy"), val_tokens=64).tokenizer == "none"
    wide.astype("<u4").view("<u2").tofile(tmp_path / "ids.bin")
    misread = read_corpus(f"{tmp_path / 'ids.bin'}:token_dtype=uint16")
    assert misread.corpus_sha256 != corpus.corpus_sha256


@pytest.mark.parametrize(
    ("dtype", "likely"), [("uint32", "uint32"), ("int32", "uint32"), ("int64", "uint64")]
)
@pytest.mark.parametrize("vocabulary", [4, 100, 40_000, 200_000])
def test_wider_ids_are_not_read_as_uint16(tmp_path, ids, dtype, likely, vocabulary):
    path = tmp_path / "ids.bin"
    wide = ids * 5 % vocabulary
    wide.astype(dtype).tofile(path)
    with pytest.raises(UserError, match=f"give --token-dtype, which looks like {likely}$"):
        token_documents(path)
    assert np.array_equal(np.concatenate(token_documents(path, dtype)), wide)


@STEADY
@given(st.integers(2, 50_000), st.integers(0, 2**32))
def test_ids_of_uint16_are_read_whatever_their_vocabulary(tmp_path_factory, vocabulary, seed):
    drawn = np.random.default_rng(seed).integers(vocabulary, size=20_000)
    path = tmp_path_factory.getbasetemp() / "drawn.bin"
    drawn.astype("<u2").tofile(path)
    assert np.array_equal(np.concatenate(token_documents(path)), drawn)


def test_a_text_is_no_token_file(tmp_path):
    path = tmp_path / "text.bin"
    path.write_text("The quick brown fox jumps over the lazy dog, and then some more.\n" * 400)
    with pytest.raises(UserError, match=r"even and at odd places are alike.*is it a text\?"):
        token_documents(path)


@STEADY
@given(st.lists(st.sampled_from([1, 2, END_OF_TEXT]), min_size=1, max_size=30))
def test_documents_make_up_the_stream(tmp_path_factory, ids):
    path = tmp_path_factory.getbasetemp() / "stream.bin"
    np.array(ids, "<u2").tofile(path)
    documents = token_documents(path)
    assert np.concatenate(documents).tolist() == ids
    assert all(document[-1] == END_OF_TEXT for document in documents[:-1])
    assert sum(map(bool, map(len, documents))) == ids.count(END_OF_TEXT) + (ids[-1] != END_OF_TEXT)


@pytest.mark.parametrize("dtype", CODES)
def test_an_index_says_type_and_documents(tmp_path, ids, dtype):
    ends = [300, 1000, 5000]
    path = megatron(tmp_path, ids[:5000], ends, dtype)
    for given_path in (path, path.with_suffix(".idx")):
        documents = token_documents(given_path)
        assert [len(one) for one in documents] == [300, 700, 4000]
        assert np.array_equal(np.concatenate(documents), ids[:5000])


def test_train_and_val_have_one_type(tmp_path, ids):
    header(tmp_path / "train.bin", ids)
    header(tmp_path / "val.bin", ids[:100] + 70_000, 20240801, 7, "<u4")
    corpus = read_corpus(str(tmp_path / "train.bin"))
    assert corpus.train[np.arange(len(ids))].tolist() == ids.tolist()
    assert corpus.val[np.arange(100)].tolist() == (ids[:100] + 70_000).tolist()
    assert corpus.vocab_size > 70_000


def broken(folder, ids, case):
    """A file with one thing wrong, its dtype if one is given, and what the error must say."""
    path = folder / "ids.bin"
    if case == "odd":
        path.write_bytes(b"123")
        return path, None, "has 3 bytes: uint16 token ids need an even size"
    if case == "not of four":
        path.write_bytes(b"123456")
        return path, "uint32", "has 6 bytes: uint32 token ids need a multiple of 4"
    if case == "unknown dtype":
        return path, "unit32", "unknown token dtype 'unit32'; did you mean 'uint32'"
    if case == "too wide":
        ids.astype("<u2").tofile(path)
        return path, "uint32", "which is no token id: say how wide its ids are, --token-dtype uint1"
    if case == "negative":
        (-ids - 1).astype("<i4").tofile(path)
        return path, "int32", "at 0, which is no token id"
    if case == "empty":
        path.write_bytes(b"")
        return path, None, "is empty"
    if case == "cut header":
        return header(path, ids, count=99_999), None, "not 199998: 99999 ids of uint16; is it whole"
    if case == "other version":
        return header(path, ids, version=2), None, "of magic 20240520 and version 2, not 1"
    if case == "other header":
        return header(path, ids, 7, 2), None, "of magic 7; known are 20240520 and 20240801"
    if case == "big-endian":
        ids.astype(">u2").tofile(path)
        return path, None, "it is big-endian, it seems, and ids are read as little-endian"
    if case == "big-endian header":
        path.write_bytes(struct.pack(">256i", 20240520, 1, 9, *[0] * 253) + b"1" * 18)
        return path, None, "has a header that is big-endian"
    if case == "big-endian uint32":
        ids.astype(">u4").tofile(path)
        return path, "uint32", "is no token id: it is big-endian, it seems"
    if case == "fractions":
        np.random.default_rng(0).normal(size=9000).astype("<f4").tofile(path)
        return path, None, "are unlike, as the halves of wider numbers, or of fractions, are"
    if case == "too large":
        np.save(folder / "ids.npy", ids + 2**20)
        return folder / "ids.npy", None, f"has {ids[0] + 2**20} at 0, which is no token id"
    if case == "header without end":
        (path := folder / "ids.npy").write_bytes(b"\x93NUMPY\1\0\x10\0{'descr': '<u2'(" + b"12")
        return path, None, "is not a whole .npy file"
    if case == "pipe":
        os.mkfifo(path)
        return path, None, "is no regular file"
    if case == "no array":
        (path := folder / "ids.npy").write_bytes(b"no")
        return path, None, "is not a whole .npy file"
    if case in ("floats", "two axes"):
        given_ids = ids * 1.5 if case == "floats" else ids.reshape(2, -1)
        np.save(folder / "ids.npy", given_ids)
        return folder / "ids.npy", None, "is not one axis of whole numbers, but"
    if case == "disagrees":
        np.save(folder / "ids.npy", ids)
        return folder / "ids.npy", "uint16", "says itself that its ids are int64, not uint16"
    path = megatron(folder, ids[:900], [300, 900])
    index = path.with_suffix(".idx")
    if case == "index without ids":
        path.unlink()
        return index, None, "has no data.bin beside it"
    if case == "index of another":
        ids[:899].astype("<u2").tofile(path)
        return path, None, "has 1798 bytes, and its index says 900 ids of uint16"
    if case == "cut index":
        index.write_bytes(index.read_bytes()[:-1])
        return path, None, "is not whole"
    assert case == "no index"
    index.write_bytes(b"index")
    return path, None, "is not an index of Megatron's"


@pytest.mark.parametrize(
    "case",
    [
        *("odd", "not of four", "unknown dtype", "too wide", "negative", "empty", "cut header"),
        *("other version", "other header", "no array", "floats", "two axes", "disagrees"),
        *("index without ids", "index of another", "cut index", "no index", "big-endian"),
        *("big-endian header", "big-endian uint32", "fractions", "too large", "pipe"),
        "header without end",
    ],
)
def test_what_cannot_be_ids_is_one_line(tmp_path, ids, case):
    path, dtype, line = broken(tmp_path, ids, case)
    with pytest.raises(UserError) as error:
        token_documents(path, dtype)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_an_index_is_checked_where_the_ids_are_split_already(tmp_path, ids):
    megatron(tmp_path, ids[:900], [300, 900], name="train")
    megatron(tmp_path, ids[:900], [300, 900], name="val")
    assert len(read_corpus(str(tmp_path / "train.bin")).val) == 900
    ids[:800].astype("<u2").tofile(tmp_path / "val.bin")
    with pytest.raises(UserError, match="has 1600 bytes, and its index says 900 ids of uint16"):
        read_corpus(str(tmp_path / "train.bin"))
