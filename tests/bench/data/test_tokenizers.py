"""Encodings against the text they encode, and the cache against damage."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.data import tokenizers
from mugrow.bench.data.tokenizers import encode, spelled, trained
from mugrow.bench.spec import UserError

TEXTS = [
    b"the cat sat on the mat. " * 20,
    "naïve café – the mat ".encode() * 10,
    b"def f(): pass\n",
]
TRAINED = trained(TEXTS, 300)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def decode(tokenizer, ids: np.ndarray, vocab_size: int) -> bytes:
    """Independent of the library's decoder: GPT-2's byte alphabet, inverted."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + number): byte for number, byte in enumerate(others)}
    pieces = (
        bytes(alphabet[character] for character in tokenizer.id_to_token(int(token)))
        if token != vocab_size - 1
        else b"|"
        for token in ids
    )
    return b"".join(pieces)


def test_bytes_are_their_own_ids_with_a_zero_after_each_document() -> None:
    train, val, token_bytes = encode("bytes", [b"ab", "é".encode()], [b"c"])
    assert train.tolist() == [97, 98, 0, 0xC3, 0xA9, 0]
    assert val.tolist() == [99, 0]
    assert token_bytes.tolist() == [1] * 256


@given(st.text(max_size=60))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_bpe_spells_any_text(text: str) -> None:
    ids = spelled(TRAINED, [text.encode(), b"x"])
    assert decode(TRAINED.tokenizer, ids, 300) == text.encode() + b"|x|"
    assert ids.max() == 299
    assert ids.dtype == np.uint16


def test_token_bytes_add_up_to_the_text(cache) -> None:
    train, val, token_bytes = encode("bpe:300", TEXTS[:2], TEXTS[2:])
    assert token_bytes[train].sum() == sum(len(text) + 1 for text in TEXTS[:2])
    assert token_bytes[val].sum() == len(TEXTS[2]) + 1
    assert len(token_bytes) == 300
    assert len(train) < sum(map(len, TEXTS[:2])) / 2


def test_bpe_sees_the_training_documents_only(cache) -> None:
    train, val = [b"aaaa bbbb " * 50], [b"zqzqzqzq " * 50]
    encoded = encode("bpe:300", train, val)
    assert encoded.token_bytes[encoded.train].max() > 1
    assert (encoded.token_bytes[encoded.val[:-1]] == 1).sum() > 300  # no pair of z and q merged


def test_many_documents_are_encoded_in_order() -> None:
    documents = [str(number).encode() for number in range(50)]
    vocabulary = trained(documents, 257)
    text = decode(vocabulary.tokenizer, spelled(vocabulary, documents), 257)
    assert text == b"".join(document + b"|" for document in documents)


def test_large_vocabularies_have_ids_that_hold_them() -> None:
    for size, dtype in ((2**16, np.uint16), (2**16 + 1, np.uint32)):
        padded = replace(TRAINED, token_bytes=np.ones(size, np.int64))
        assert spelled(padded, TEXTS).dtype == dtype


def write_tokenizer(path: Path, vocabulary: tokenizers.Vocabulary, end: str) -> None:
    copy = library.Tokenizer.from_str(vocabulary.tokenizer.to_str())
    copy.add_special_tokens([end])
    copy.decoder = library.decoders.ByteLevel()
    copy.save(str(path))


def test_a_given_tokenizer_ends_documents_with_its_own_token(cache, tmp_path) -> None:
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path, TRAINED, "</s>")
    train, val, token_bytes = encode(f"hf:{path}", TEXTS[:2], TEXTS[2:])
    ids = spelled(TRAINED, TEXTS[:2])
    end = len(token_bytes) - 1
    assert train[-1] == val[-1] == end
    assert np.array_equal(np.where(ids == 299, end, ids), train)
    assert token_bytes[train].sum() == sum(len(text) + 1 for text in TEXTS[:2])

    write_tokenizer(path, trained(TEXTS[:1], 270), "</s>")  # another at the same path
    assert len(encode(f"hf:{path}", TEXTS[:2], TEXTS[2:]).token_bytes) < len(token_bytes)


def test_a_given_tokenizer_that_cannot_be_used_is_one_line(cache, tmp_path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", TRAINED, "<pad>")
    (tmp_path / "broken.json").write_text("{")
    for name, reason in (("tokenizer", "has none of <|endoftext|>"), ("broken", "cannot be read")):
        with pytest.raises(UserError, match=reason) as error:
            encode(f"hf:{tmp_path / name}.json", TEXTS, TEXTS)
        assert "\n" not in str(error.value)


def test_second_encoding_comes_from_the_cache(cache, monkeypatch) -> None:
    first = encode("bpe:300", TEXTS[:2], TEXTS[2:])
    with monkeypatch.context() as patch:
        patch.setattr(tokenizers, "trained", lambda *_: pytest.fail("trained again"))
        second = encode("bpe:300", TEXTS[:2], TEXTS[2:])
        with pytest.raises(pytest.fail.Exception):
            encode("bpe:301", TEXTS[:2], TEXTS[2:])
        with pytest.raises(pytest.fail.Exception):
            encode("bpe:300", TEXTS[:2], TEXTS[:1])
        with pytest.raises(pytest.fail.Exception):
            encode("bpe:300", TEXTS[:1], TEXTS[2:])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "other"])
def test_damaged_cache_is_built_again(cache, damage) -> None:
    train = np.array(encode("bpe:300", TEXTS[:2], TEXTS[2:]).train)  # a copy: the file is cut below
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    at = whole.index(train.tobytes()) + 3
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "flipped": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
            "other": b"not an archive",
        }[damage]
    )
    again = encode("bpe:300", TEXTS[:2], TEXTS[2:])
    np.testing.assert_array_equal(again.train, train)
    assert path.read_bytes() == whole


def test_unwritable_cache_is_no_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "file" / "cache"))
    assert encode("bpe:300", TEXTS[:2], TEXTS[2:]).train.size


def test_training_gives_the_same_pieces_in_every_process() -> None:
    program = (
        "from mugrow.bench.data.tokenizers import trained; import hashlib;"
        "documents = [f'{n * n} and {n ** 3:x} words'.encode() for n in range(500)];"
        "print(hashlib.sha256(trained(documents, 600).tokenizer.to_str().encode()).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len(runs[0].stdout) == 65
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bpe:abc", "bpe:4096"),
        ("bpe:10", "257"),
        ("bpe:", "257"),
        ("bpe:-5", "257"),
        ("bpe:99999999999999", "1048576"),
        ("byte", "did you mean 'bytes'"),
    ],
)
def test_unknown_tokenizers_are_one_line(name, hint) -> None:
    with pytest.raises(UserError) as error:
        encode(name, TEXTS, TEXTS)
    assert hint in str(error.value)
    assert repr(name) in str(error.value)
    assert "\n" not in str(error.value)
