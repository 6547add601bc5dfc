"""Corpora of the hub: read from a folder of the same library's making, and kept in the cache."""

import builtins

import numpy as np
import pyarrow as pa
import pytest

from mugrow.bench.data import streamed
from mugrow.bench.data.batches import load, resolve
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.streamed import parse, streamed_documents
from mugrow.bench.spec import UserError

TEXTS = [f"document {number} says {number * number} times nothing. " * 400 for number in range(200)]


@pytest.fixture
def datasets():
    """The library, if it is installed. It takes seconds to import, so not while tests are found."""
    return pytest.importorskip("datasets")


@pytest.fixture
def folder(datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict({"id": list(range(200)), "text": TEXTS})
    (tmp_path / "made").mkdir()
    made.to_parquet(tmp_path / "made" / "train.parquet")
    return tmp_path / "made"


def test_words():
    assert parse("hf:allenai/c4:en@2000") == ("allenai/c4", "en", 2000)
    assert parse("hf:openwebtext") == ("openwebtext", None, 1000)
    for word in ("hf:", "hf:a:b:c", "hf:a@", "hf:a@0", "hf:a@1GB"):
        with pytest.raises(UserError, match="NAME"):
            parse(word)


def test_a_folder_is_read_in_its_order(folder):
    assert [*streamed_documents(f"hf:{folder}")] == [text.encode() for text in TEXTS]


def test_no_more_is_read_than_asked_for(folder):
    found = streamed_documents(f"hf:{folder}@1")
    sizes = [len(document) for document in found]
    assert sum(sizes) >= 1_000_000 > sum(sizes[:-1])


def test_it_is_a_corpus_like_any_other(folder):
    word = f"hf:{folder}"
    corpus = read_corpus(word)
    assert set(corpus.train) | set(corpus.val) == {text.encode() for text in TEXTS}
    spec = resolve(word, val_tokens=1024)
    assert load(spec, word).vocab_size == 256
    assert spec.corpus == word


def test_what_came_from_the_hub_is_read_once(folder, monkeypatch):
    rows = [{"text": "a text"}, {"text": " "}, {"text": "another"}]
    asked = []
    monkeypatch.setattr(streamed, "_rows", lambda wanted: asked.append(wanted) or iter(rows))
    for _ in range(2):
        assert [*streamed_documents("hf:someone/something")] == [b"a text", b" ", b"another"]
    assert len(asked) == 1


def test_what_breaks_midway_leaves_nothing_behind(folder, monkeypatch, tmp_path):
    def broken(wanted):
        yield {"text": "a text"}
        raise UserError("the network is gone")

    monkeypatch.setattr(streamed, "_rows", broken)
    with pytest.raises(UserError, match="gone"):
        streamed_documents("hf:someone/something")
    assert not list((tmp_path / "cache").glob("*"))


def test_a_dataset_without_text_is_one_line(datasets, folder):
    datasets.Dataset.from_dict({"label": [1, 2]}).to_parquet(folder / "train.parquet")
    with pytest.raises(UserError, match="has no text column named 'text'; its columns: label"):
        [*streamed_documents(f"hf:{folder}")]


def test_a_folder_without_data_is_one_line(datasets, tmp_path):
    with pytest.raises(UserError, match="cannot be streamed") as error:
        [*streamed_documents(f"hf:{tmp_path}")]
    assert "\n" not in str(error.value)


def test_without_the_library_it_says_how_to_get_it(monkeypatch, folder):
    real = builtins.__import__

    def missing(name, *rest, **named):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install 'mugrow\[datasets\]'"):
        streamed_documents("hf:someone/something")


def test_a_folder_needs_no_library(datasets, folder, monkeypatch):
    """Parquet, Arrow and JSON files give what the library gives, in its order, of its split."""
    halves = [datasets.Dataset.from_dict({"text": part}) for part in (TEXTS[:90], TEXTS[90:])]
    home = folder.parent
    for form in ("parquet", "json"):
        for number, half in enumerate(halves):
            for name in (f"{form}/data/train-{number}", f"plain-{form}/{number}"):
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                getattr(half, f"to_{form}")(home / f"{name}.{form}")
        getattr(halves[0], f"to_{form}")(home / form / "data" / f"test-0.{form}")
    folders = ["parquet", "json", "plain-parquet", "plain-json"]
    theirs = [[*streamed._streamed(f"hf:{home / name}", None)] for name in folders]
    whole = datasets.Dataset.from_dict({"title": ["a"] * 200, "text": TEXTS})
    whole.save_to_disk(home / "saved", num_shards=3)
    datasets.DatasetDict({"train": whole, "test": halves[0]}).save_to_disk(home / "splits")
    monkeypatch.setattr(streamed, "_rows", None)
    found = [[*streamed_documents(f"hf:{home / name}")] for name in folders]
    assert found == theirs == [[text.encode() for text in TEXTS]] * 4
    for name in ("saved", "splits"):
        assert [*streamed_documents(f"hf:{home / name}")] == found[0]
        assert set(streamed_documents(f"hf:{home / name}", "title")) == {b"a"}
    with pytest.raises(UserError, match="no text column named 'body'"):
        [*streamed_documents(f"hf:{home / 'saved'}", "body")]
    (home / "only").mkdir()
    halves[0].to_parquet(home / "only" / "test-0.parquet")
    with pytest.raises(UserError, match="has no split train, but test-0"):
        streamed_documents(f"hf:{home / 'only'}")


def test_what_is_not_read_is_said(folder):
    assert read_corpus(f"hf:{folder}@1").left_out == "what is beyond the first 1 MB, see @MB"
    assert read_corpus(f"hf:{folder}").left_out == ""


def test_damage_to_an_arrow_file_is_one_line_or_another_text(tmp_path):
    """Arrow itself reads wherever an offset points, and ends the program there."""
    table = pa.table({"text": [f"number {number} and more" for number in range(200)]})
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    whole = path.read_bytes()
    at = whole.index(np.array([0, len("number 0 and more")], "<i4").tobytes()) + 400
    path.write_bytes(whole[:at] + b"\xff\xff\xff\x7f" + whole[at + 4 :])
    with pytest.raises(UserError, match="is not a whole Arrow file: ArrowInvalid"):
        [*streamed_documents(f"hf:{tmp_path}")]
