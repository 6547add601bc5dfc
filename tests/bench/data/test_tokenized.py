"""Texts become the ids that their documents have, however often the program is stopped."""

import json

import numpy as np
import pytest
import tokenizers as library

from mugrow.bench.data import tokenized
from mugrow.bench.data.batches import _tokenize, load, resolve
from mugrow.bench.data.held_out import digest
from mugrow.bench.data.tokenized import tokenize
from mugrow.bench.data.tokenizers import given, spelled, trained
from mugrow.bench.spec import UserError

TEXTS = [f"document {n} says {n * n} and {n**3:x} words. " * (1 + n % 5) for n in range(90)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUGROW_CACHE", str(tmp_path / "cache"))
    _tokenize.cache_clear()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder as transformers writes it, whose tokenizer cuts and pads texts, if it may."""
    found = trained([text.encode() for text in TEXTS], 400).tokenizer
    found.add_special_tokens(["<|endoftext|>"])
    found.decoder = library.decoders.ByteLevel()
    found.enable_truncation(5)
    found.enable_padding(length=1000)
    folder = tmp_path_factory.mktemp("tokenizer")
    found.save(str(folder / "tokenizer.json"))
    return f"hf:{folder}"


@pytest.fixture
def texts(tmp_path):
    return written(tmp_path / "texts.jsonl", TEXTS)


def written(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def test_a_file_has_the_ids_of_the_documents(tmp_path, texts, tokenizer):
    out = tmp_path / "ids.bin"
    found = tokenize([texts], tokenizer, out)
    documents = [text.encode() for text in TEXTS]
    ids = np.fromfile(out, "<u2")
    assert np.array_equal(ids, spelled(given(tokenizer.removeprefix("hf:")), documents))
    about = json.loads((tmp_path / "ids.bin.json").read_text())
    assert about["source_sha256"] == digest(documents) == found.source_sha256
    assert (about["documents"], about["tokens"]) == (90, len(ids)) == (90, found.tokens)
    assert about["text_bytes"] == sum(map(len, documents))
    assert np.array(about["token_bytes"])[ids].sum() == about["text_bytes"] + 90
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []

    spec = resolve(str(out), val_tokens=32)
    data = load(spec, str(out))
    end = about["separator"]
    assert (data.vocab_size, spec.tokenizer) == (about["vocab_size"], "none")
    assert end == data.vocab_size - 1
    both = [np.array(part[np.arange(len(part))]) for part in (data.train, data.val)]
    assert sum(int((part == end).sum()) for part in both) == 90
    assert all(part[-1] == end for part in both)


def test_bytes_are_ids_of_a_byte_each(tmp_path, texts):
    tokenize([texts], "bytes", tmp_path / "ids.bin")
    ids = np.fromfile(tmp_path / "ids.bin", "<u2")
    assert bytes(ids.astype(np.uint8)) == b"".join(text.encode() + b"\0" for text in TEXTS)
    assert load(resolve(word := str(tmp_path / "ids.bin"), val_tokens=32), word).vocab_size == 256


def test_ids_of_large_vocabularies_take_four_bytes(tmp_path, texts, tokenizer, monkeypatch):
    real = tokenized.given

    def padded(name):
        one = real(name)
        object.__setattr__(one, "token_bytes", np.ones(2**16 + 1, np.int64))
        return one

    monkeypatch.setattr(tokenized, "given", padded)
    assert tokenize([texts], tokenizer, tmp_path / "ids.bin").dtype == "uint32"
    assert (
        load(resolve(word := str(tmp_path / "ids.bin"), val_tokens=32), word).vocab_size == 65_537
    )


def test_several_corpora_are_one_behind_the_other(tmp_path, texts):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "a.md").write_text("first")
    (folder / "b.md").write_text(" \n")
    (folder / "c.rst").write_text("not this")
    found = tokenize([texts, f"{folder}:glob=*.md"], "bytes", tmp_path / "ids.bin")
    assert found.documents == 91
    assert (tmp_path / "ids.bin").read_bytes().endswith(b"f\0i\0r\0s\0t\0\0\0")
    assert found.left_out == {f"{folder}:glob=*.md": "1 .rst, 1 blank or null"}


@pytest.mark.parametrize("kind", ["bytes", "hf"])
def test_a_program_that_was_stopped_goes_on(tmp_path, texts, tokenizer, kind, monkeypatch):
    word = tokenizer if kind == "hf" else "bytes"
    whole = tmp_path / "whole.bin"
    tokenize([texts], word, whole)
    monkeypatch.setattr(tokenized, "SAVE_EVERY_S", -1)
    out, starts = tmp_path / "ids.bin", []
    for stop in range(60):
        calls = 0

        def show(progress, stop=stop):
            nonlocal calls
            if progress.doing == "encoding":
                if not calls:
                    starts.append(progress.done_bytes)
                calls += 1
                if calls > stop % 13:
                    raise KeyboardInterrupt

        if out.exists():
            break
        try:
            tokenize([texts], word, out, show)
        except KeyboardInterrupt:
            assert not out.exists()
            part = tmp_path / ".ids.bin.part"
            with part.open("ab") as file:  # what was written behind the last save is dropped
                file.write(b"\7" * (stop % 5))
    assert out.read_bytes() == whole.read_bytes()
    assert len(starts) > 5
    assert starts == sorted(set(starts))  # each began behind the one before
    names = [(tmp_path / f"{name}.bin.json").read_text() for name in ("ids", "whole")]
    assert names[0] == names[1]


@pytest.mark.parametrize("what", ["texts", "tokenizer", "note", "part"])
def test_nothing_of_another_is_gone_on_with(tmp_path, texts, what, monkeypatch):
    monkeypatch.setattr(tokenized, "SAVE_EVERY_S", -1)
    out = tmp_path / "ids.bin"

    def show(progress):
        if progress.doing == "encoding" and progress.done_bytes > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize([texts], "bytes", out, show)
    note = tmp_path / ".ids.bin.part.json"
    wanted = TEXTS
    if what == "texts":
        wanted = ["another", *TEXTS[1:]]
        written(tmp_path / "texts.jsonl", wanted)
    elif what == "tokenizer":
        note.write_text(note.read_text().replace('"tokenizer_sha256": "', '"tokenizer_sha256": "0'))
    elif what == "note":
        note.write_text('{"documents": 3')
    else:
        (tmp_path / ".ids.bin.part").write_bytes(b"")
    tokenize([texts], "bytes", out)
    ids = np.fromfile(out, "<u2").astype(np.uint8)
    assert bytes(ids) == b"".join(text.encode() + b"\0" for text in wanted)


def test_what_is_there_already_is_left_or_refused(tmp_path, texts, tokenizer):
    out = tmp_path / "ids.bin"
    found = tokenize([texts], "bytes", out)
    before = out.stat()
    assert tokenize([texts], "bytes", out) == found
    assert out.stat() == before
    with pytest.raises(UserError, match="exists, of other tokenizer; remove it"):
        tokenize([texts], tokenizer, out)
    other = written(tmp_path / "other.jsonl", TEXTS[1:])
    with pytest.raises(UserError, match="exists, of other texts; remove it"):
        tokenize([other], "bytes", out)
    out.write_bytes(out.read_bytes()[:-2])
    with pytest.raises(UserError, match="exists and is not what was written"):
        tokenize([texts], "bytes", out)
    (tmp_path / "ids.bin.json").unlink()
    with pytest.raises(UserError, match="exists and has no sidecar"):
        tokenize([texts], "bytes", out)


def test_two_programs_do_not_write_one_file(tmp_path, texts):
    out = tmp_path / "ids.bin"

    def show(progress):
        if progress.doing == "encoding" and progress.done_bytes > 1000:
            with pytest.raises(UserError, match="being written by another mugrow tokenize"):
                tokenize([texts], "bytes", out)

    assert tokenize([texts], "bytes", out, show).documents == 90


def test_texts_that_change_meanwhile_are_refused(tmp_path, texts):
    def show(progress):
        if progress.doing == "reading" and progress.done_bytes == sum(map(len, TEXTS)):
            written(tmp_path / "texts.jsonl", ["another", *TEXTS[1:]])

    with pytest.raises(UserError, match="was changed while it was read"):
        tokenize([texts], "bytes", tmp_path / "ids.bin", show)
    assert not (tmp_path / "ids.bin").exists()


def test_a_tokenizer_that_made_other_ids_is_refused(tmp_path, texts, tokenizer):
    out = tmp_path / "ids.bin"
    tokenize([texts], tokenizer, out)
    assert resolve(str(out), tokenizer, 32).tokenizer == "none"
    smaller = trained([text.encode() for text in TEXTS], 300).tokenizer
    smaller.add_special_tokens(["</s>"])
    smaller.save(str(tmp_path / "smaller.json"))
    with pytest.raises(UserError, match=r"with a vocabulary of 400, not of hf:.* with 300"):
        resolve(str(out), f"hf:{tmp_path / 'smaller.json'}", 32)
    same_size = trained([text.encode() for text in TEXTS[:50]], 400).tokenizer
    same_size.add_special_tokens(["</s>"])
    same_size.save(str(tmp_path / "another.json"))
    with pytest.raises(UserError, match=r"which is not hf:.*another\.json"):
        resolve(str(out), f"hf:{tmp_path / 'another.json'}", 32)
    with pytest.raises(UserError, match="use 'none'"):
        resolve(str(out), "bpe:400", 32)


@pytest.mark.parametrize(
    ("corpus", "tokenizer", "out", "line"),
    [
        ("texts.jsonl", "bytes", "ids.npy", "writes token ids to a file NAME.bin"),
        ("texts.jsonl", "bpe:400", "ids.bin", "is trained on a study's own training documents"),
        ("texts.jsonl", "byte", "ids.bin", "unknown tokenizer 'byte'; did you mean 'bytes'"),
        ("texts.jsonl", "hf:", "ids.bin", "unknown tokenizer 'hf:'"),
        ("texts.jsonl", "hf:.", "ids.bin", "tokenizer 'hf:.' has no tokenizer.json there"),
        ("synthetic", "bytes", "ids.bin", "corpus 'synthetic' is token ids already"),
        ("ids.npy", "bytes", "ids.bin", "is token ids already"),
        ("empty.txt", "bytes", "ids.bin", "corpus 'empty.txt' is empty"),
        ("late.jsonl", "bytes", "ids.bin", "'late.jsonl', line 3 is not JSON"),
        ("none.txt", "bytes", "ids.bin", "no file or folder 'none.txt' for a corpus"),
        ("texts.jsonl:text_field=body", "bytes", "ids.bin", "has no field 'body'"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    mugrow, monkeypatch, tmp_path, texts, corpus, tokenizer, out, line
):
    monkeypatch.chdir(tmp_path)
    np.save("ids.npy", np.arange(9))
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "late.jsonl").write_text('{"text": "a"}\n' * 2 + "{")
    before = sorted(tmp_path.iterdir())
    ended = mugrow("tokenize", corpus, "--tokenizer", tokenizer, "-o", out)
    assert ended.code == 2
    assert line in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_says_what_was_written(mugrow, monkeypatch, tmp_path, texts, tokenizer):
    monkeypatch.chdir(tmp_path)
    ended = mugrow("tokenize", "texts.jsonl", "--tokenizer", tokenizer, "-o", "ids.bin")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("ids.bin: ")
    assert "tokens of uint16, a vocabulary of 400; 90 documents" in ended.out
    words = ("tokenize", "texts.jsonl", "--tokenizer", tokenizer, "-o", "ids.bin", "--json")
    found = json.loads(mugrow(*words).out)
    assert (found["path"], found["documents"]) == ("ids.bin", 90)
