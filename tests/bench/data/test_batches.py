"""Batches depend on (seed, step) alone; validation is fixed; a spec pins the text it is about."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.data.batches import _tokenize, load, resolve, train_batch, val_windows
from mugrow.bench.data.synthetic import cross_entropy, entropy_rate
from mugrow.bench.spec import UserError

STEADY = settings(deadline=None, derandomize=True)
STREAM = np.arange(50_000, dtype=np.uint16)


@pytest.fixture
def books(tmp_path, monkeypatch):
    """A folder of 40 texts of 400 bytes."""
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"book {number:3d} says hello. " * 20)
    return folder


def test_batch_is_a_function_of_seed_and_step() -> None:
    batch = train_batch(STREAM, 3, 7, 16, 32)
    assert batch.shape == (16, 33)
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch, train_batch(STREAM, 3, 7, 16, 32))
    np.testing.assert_array_equal(batch - batch[:, :1], np.tile(np.arange(33), (16, 1)))
    np.testing.assert_array_equal(batch[:4], train_batch(STREAM, 3, 7, 4, 32))


@STEADY
@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_neighbouring_steps_and_seeds_share_no_draws(seed: int, step: int) -> None:
    big = np.arange(2**22, dtype=np.uint32)
    here = train_batch(big, seed, step, 64, 1)[:, 0]
    for other in (
        train_batch(big, seed, step + 1, 64, 1),
        train_batch(big, seed, step + 2, 64, 1),
        train_batch(big, seed + 1, step, 64, 1),
    ):
        assert len(np.intersect1d(here, other[:, 0])) < 4  # by chance: 64² / 2²² = 0.001


@STEADY
@given(st.integers(2, 40), st.integers(1, 40))
def test_windows_stay_inside_and_reach_both_ends(size: int, context: int) -> None:
    tokens = np.arange(size, dtype=np.uint16)
    if size <= context:
        with pytest.raises(UserError, match=f"context {context} is too long"):
            train_batch(tokens, 0, 0, 4, context)
        return
    batch = train_batch(tokens, 0, 0, 2000, context)
    assert (batch.min(), batch.max()) == (0, size - 1)


def test_offsets_are_uniform() -> None:
    first = np.concatenate(
        [train_batch(STREAM[:101], 0, step, 100, 1)[:, 0] for step in range(400)]
    )
    counts = np.bincount(first, minlength=100)
    chi_squared = ((counts - 400) ** 2 / 400).sum()
    assert 60 < chi_squared < 150  # 99 degrees of freedom, six deviations


@STEADY
@given(st.integers(1, 64), st.integers(1, 500), st.integers(1, 500))
def test_validation_targets_are_each_scored_once(context: int, tokens: int, more: int) -> None:
    val = np.arange(tokens + more, dtype=np.uint16)
    if context > tokens:
        with pytest.raises(UserError, match=f"context {context} is longer than the {tokens}"):
            val_windows(val, context, tokens)
        return
    windows = val_windows(val, context, tokens)
    assert windows.shape == (tokens // context, context + 1)
    assert len(np.unique(windows[:, 1:])) == windows[:, 1:].size
    assert (np.diff(windows, axis=1) == 1).all()
    assert windows[0, 0] == 0
    assert len(windows) == 1 or windows[-1, -1] == len(val) - 1


def test_bytes_corpus_end_to_end(books) -> None:
    spec = resolve(str(books), val_tokens=512)
    assert (spec.corpus, spec.tokenizer, spec.val_tokens) == ("books", "bytes", 512)
    data = load(spec, str(books))
    assert data.vocab_size == 256
    assert len(data.train) + len(data.val) == 40 * (20 * 21 + 1)
    held_out = {text[:8] for text in data.val.tobytes().split(b"\0")[:-1]}
    assert len(held_out) == math.ceil(0.05 * 40)
    assert not any(name in data.train.tobytes() for name in held_out)
    windows = val_windows(data.val, 64, 512)
    assert data.bits_per_byte(math.log(256), windows) == pytest.approx(8)
    assert load(spec, str(books)) is data


def test_bits_per_byte_counts_the_bytes_of_the_scored_targets(books) -> None:
    data = load(resolve(str(books), "bpe:300", 32), str(books))
    windows = val_windows(data.val, 16, 32)
    assert data.token_bytes is not None
    spelled = sum(int(data.token_bytes[token]) for row in windows for token in row[1:])
    assert spelled > 32
    assert data.bits_per_byte(2.0, windows) == pytest.approx(2.0 * 32 / spelled / math.log(2))


def test_spec_pins_the_text(books) -> None:
    spec = resolve(str(books), val_tokens=512)
    (books / "7.txt").write_text("another text")
    _tokenize.cache_clear()
    with pytest.raises(UserError, match="not the text this run is about") as error:
        load(spec, str(books))
    assert "\n" not in str(error.value)
    assert resolve(str(books), val_tokens=512).corpus_sha256 != spec.corpus_sha256


def test_identity_does_not_depend_on_the_machines_folders(books, tmp_path) -> None:
    spec = resolve(str(books), val_tokens=512)
    moved = books.rename(tmp_path / "elsewhere")
    (tmp_path / "deep").mkdir()
    assert resolve(str(moved.rename(tmp_path / "deep" / "books")), val_tokens=512) == spec


def test_too_short_for_validation_says_what_fits(books) -> None:
    held_out = len(load(resolve(str(books), val_tokens=1), str(books)).val)
    resolve(str(books), val_tokens=held_out - 1)
    for val_tokens in (held_out, 10**6, 0, -1):
        with pytest.raises(UserError, match=f"val_tokens {val_tokens} .*below {held_out}$"):
            resolve(str(books), val_tokens=val_tokens)


def test_token_files_bring_their_vocabulary(tmp_path) -> None:
    np.arange(1000, dtype="<u2").tofile(tmp_path / "train.bin")
    np.array([5, 50256, 7], "<u2").tofile(tmp_path / "val.bin")
    path = str(tmp_path / "train.bin")
    spec = resolve(path, val_tokens=2)
    assert spec.tokenizer == "none"
    assert resolve(path, "none", 2) == spec
    data = load(spec, path)
    assert data.vocab_size == 50304
    assert data.train[np.arange(1000)].tolist() == list(range(1000))
    assert data.val[np.arange(3)].tolist() == [5, 50256, 7]
    assert math.isnan(data.bits_per_byte(1.0, val_windows(data.val, 2, 2)))
    with pytest.raises(UserError, match=r"'bpe:300' does not fit corpus 'train\.bin'"):
        resolve(path, "bpe:300", 2)
    (tmp_path / "val.bin").write_bytes(b"")
    _tokenize.cache_clear()
    with pytest.raises(UserError, match="is empty"):
        resolve(path, val_tokens=2)


def test_tokenizer_none_is_for_token_ids_only(books) -> None:
    with pytest.raises(UserError, match="unknown tokenizer 'none'"):
        resolve(str(books), "none", 512)


def test_synthetic_corpus_has_one_unbroken_chain_per_split() -> None:
    spec = resolve("synthetic")
    data = load(spec)
    assert data.vocab_size == 64
    assert (len(data.train), len(data.val)) == (2**21, 2**18)
    for tokens in (data.train, data.val):
        assert cross_entropy(tokens) == pytest.approx(entropy_rate(), abs=0.02)
    with pytest.raises(UserError, match="not the text"):
        load(dataclasses.replace(spec, corpus_sha256="0" * 64))
