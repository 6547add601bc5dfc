"""What a sidecar says is true of its file, or refused."""

import json

import numpy as np
import pytest

from mugrow.bench.data.batches import _tokenize, load, resolve, val_windows
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.sidecar import read_sidecar, sidecar_of
from mugrow.bench.spec import UserError

IDS = np.random.default_rng(0).integers(300, size=60_000)
IDS[:258] %= 299
IDS[257] = 299  # the largest, here first


@pytest.fixture
def path(tmp_path):
    IDS.astype("<u4").tofile(tmp_path / "ids.bin")
    return tmp_path / "ids.bin"


def beside(path, **about):
    sidecar_of(path).write_text(json.dumps({"dtype": "uint32", **about}))
    return str(path)


def test_a_file_is_what_its_sidecar_says(path):
    token_bytes = [1 + token % 5 for token in range(310)]
    word = beside(path, vocab_size=310, separator=299, tokens=60_000, token_bytes=token_bytes)
    data = load(spec := resolve(word, val_tokens=128), word)
    assert (data.vocab_size, data.tokenizer, spec.tokenizer) == (310, "none", "none")
    windows = val_windows(data.val, 16, 128)
    bytes_ = sum(token_bytes[token] for row in windows for token in row[1:])
    assert data.bits_per_byte(np.log(2), windows) == pytest.approx(128 / bytes_)
    assert data.val.ids[data.val.begins[0] - 1] == 299  # a document begins behind a separator
    assert read_corpus(f"{word}:token_dtype=uint32").corpus_sha256 == spec.corpus_sha256


def test_without_a_vocabulary_it_is_that_of_the_largest_id(path):
    data = read_corpus(beside(path))
    assert (data.vocab_size, data.largest_id) == (320, 299)


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ("[]", "says no dtype, so it is no sidecar of ids.bin"),
        ("{}", "says no dtype"),
        ('{"dtype": "uint32"', "the sidecar of ids.bin, is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ({"dtype": "float32"}, "dtype is 'float32', not one of uint8"),
        ({"dtype": ["uint16"]}, "not one of uint8"),
        ({"dtype": "uint64", "tokens": 60_000}, "has 30000 ids, and its sidecar says 60000"),
        ({"tokens": 59_999}, "has 60000 ids, and its sidecar says 59999: is it whole?"),
        ({"tokens": "many"}, "tokens is 'many', not a whole number"),
        ({"vocab_size": 299}, "has 299 at 257, and its sidecar says a vocabulary of 299"),
        ({"vocab_size": 0}, "vocab_size is '0', not a whole number from 1 to 1048577"),
        ({"vocab_size": True}, "vocab_size is 'True', not a whole number"),
        ({"vocab_size": 300, "separator": 300}, "separator is '300', not a whole number from 0 to"),
        ({"vocab_size": 300, "token_bytes": [1]}, "token_bytes is no list of vocab_size whole"),
        ({"token_bytes": [1]}, "token_bytes is no list"),
        ({"sha256": "0" * 64}, "is not the file of its sidecar, or damaged: its sha256 is not 000"),
        ({"sha256": 7}, "sha256 is '7', not a text"),
        ({"separator": 310}, "is too short: its one document of 60000 ids"),
    ],
)
def test_what_contradicts_its_file_is_one_line(path, about, line):
    text = about if isinstance(about, str) else json.dumps({"dtype": "uint32", **about})
    sidecar_of(path).write_text(text)
    with pytest.raises(UserError) as error:
        read_corpus(str(path))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_other_widths_than_the_sidecars_are_refused(path, tmp_path):
    word = beside(path)
    with pytest.raises(UserError, match="says itself that its ids are uint32, not uint16"):
        read_corpus(f"{word}:token_dtype=uint16")
    np.save(tmp_path / "ids.npy", IDS)
    with pytest.raises(UserError, match=r"ids\.npy' is int64, and its sidecar says uint32"):
        read_corpus(beside(tmp_path / "ids.npy"))
    assert read_sidecar(tmp_path / "other.bin") is None


def test_train_and_val_of_other_vocabularies_are_refused(tmp_path):
    for name in ("train", "val"):
        IDS.astype("<u4").tofile(tmp_path / f"{name}.bin")
    beside(tmp_path / "train.bin", vocab_size=310)
    word = beside(tmp_path / "val.bin", vocab_size=320).replace("val.bin", "train.bin")
    with pytest.raises(UserError, match=r"val\.bin' says a vocabulary of 320, and '.*' 310"):
        read_corpus(word)
    sidecar_of(tmp_path / "val.bin").unlink()
    (IDS % 7 + 303).astype("<u2").tofile(tmp_path / "val.bin")
    assert read_corpus(word).vocab_size == 310
    (IDS % 7 + 306).astype("<u2").tofile(tmp_path / "val.bin")
    _tokenize.cache_clear()
    with pytest.raises(UserError, match=r"val\.bin' has id 312, and the sidecar of train\.bin"):
        read_corpus(word)
