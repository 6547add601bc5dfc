"""Texts in JSON lines, plain or compressed, in folders, and the options behind a path."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mugrow.bench.data.corpora import below, read_corpus, split_options
from mugrow.bench.data.records import json_documents, parquet_documents
from mugrow.bench.spec import UserError

TEXTS = [f"text number {number} ü" for number in range(40)]


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def compressed(kind, text):
    if kind == "gzip":  # of two members, as tools that append write them
        half = len(text) // 2
        return gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode())
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(text.encode())
    return sink.getvalue().to_pybytes()


def test_the_same_texts_are_the_same_corpus_whatever_their_file(tmp_path):
    text = lines({"id": "x", "text": one} for one in TEXTS)
    files = {
        "a.jsonl": text.encode(),
        "b.jsonl.gz": compressed("gzip", text),
        "c.jsonl.zst": compressed("zstd", text),
        "d.json": json.dumps([{"text": one} for one in TEXTS]).encode(),
        "e.json.gz": compressed("gzip", text),
        "f.jsonl:text_field=meta.body": lines({"meta": {"body": one}} for one in TEXTS).encode(),
        "g.jsonl": ("\n" + lines({"text": one} for one in [None, *TEXTS])).encode(),
        "h.jsonl": lines({"body": one, "n": 3} for one in TEXTS).encode(),
    }
    found = set()
    for word, content in files.items():
        (tmp_path / word.partition(":")[0]).write_bytes(content)
        found.add(read_corpus(str(tmp_path / word)).sha256)
    assert len(found) == 1


def test_a_compressed_text_is_a_text(tmp_path):
    text = "\n\n".join(TEXTS * 100)
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.txt.gz").write_bytes(compressed("gzip", text))
    plain, packed = (read_corpus(str(tmp_path / name)) for name in ("a.txt", "a.txt.gz"))
    assert plain.sha256 == packed.sha256


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty"),
        (b"{", "line 1 is not JSON: JSONDecodeError"),
        (b'{"text": "a"}\n{"text": "b"\n', "line 2 is not JSON"),
        (b'{"text": "a"}\n{"txt": "b"}', "line 2 has no field 'text'; give --text-field, one of t"),
        (b'{"text": "a"}\n{"text": 3}', "line 2: 'text' is no text, but int"),
        (b'["a"]', "line 1 is no JSON object, but list"),
        (b'{"a": "x", "m": {"b": "xxx"}, "c": "xx"}', "no field 'text'; give --text-field, one of "
         "m.b, c, a"),
        (b'{"a": 1}', "has no field 'text'; its fields: a"),
        (b'{"text": "\\ud800"}', "is not Unicode: '\\ud800' at 0"),
        (b"\xff\xfe", "line 1 is not JSON"),
        (b"[" * 100_000, "line 1 is not JSON: RecursionError"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_line(tmp_path, content, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_corpus(str(path))
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert "a.jsonl" in str(error.value)


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("mugrow.bench.data.records.LARGEST_LINE", 100)
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="line 1 has 100 bytes"):
        [*json_documents(path)]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_what_is_not_compressed_or_is_cut_is_one_line(tmp_path, ending):
    path = tmp_path / f"a.jsonl.{ending}"
    whole = compressed("gzip" if ending == "gz" else "zstd", lines([{"text": "a"}] * 10_000))
    for content in (b"plain text", whole[:-20], b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"not a whole \.{ending} file|is empty") as error:
            read_corpus(str(path))
        assert "\n" not in str(error.value)


def test_a_nested_field_of_that_very_name_comes_first(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"m.b": "flat", "m": {"b": "deep"}}')
    assert [*json_documents(path, "m.b")] == [b"flat"]


def test_nulls_and_blank_texts_are_counted(tmp_path):
    texts = [{"text": text} for text in ("a", None, "b", " \n", "")]
    for name, write in (("a.jsonl", lines), ("a.json", json.dumps)):
        (tmp_path / name).write_text(write(texts))
        corpus = read_corpus(str(tmp_path / name))
        assert sorted(corpus.train + corpus.val) == [b"a", b"b"]
        assert corpus.left_out == "3 blank or null"
    folder = tmp_path / "dataset"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a", None, "b"]}), folder / "train.parquet")
    for word in (f"hf:{folder}", str(folder / "train.parquet")):
        assert read_corpus(word).left_out == "1 blank or null"
    (tmp_path / "a.txt").write_text("a \n\n \n\n" * 20_000)  # its ends are not documents' own
    assert read_corpus(str(tmp_path / "a.txt")).left_out == ""


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "notes"
    files = {"a.md": "ay", "b/c.md": "see", "d.rst": "dee", "e.txt": "ee", "f.txt": "ef"}
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / ".hidden").mkdir()
    (home / ".hidden" / "g.md").write_text("no")
    (home / "latin.md").write_bytes(b"caf\xe9")
    return home


def test_a_folder_by_patterns_and_what_is_left_out(folder):
    corpus = read_corpus(f"{folder}:glob=*.md,*.rst")
    assert sorted(corpus.train + corpus.val) == [b"ay", b"dee", b"see"]
    assert corpus.left_out == "2 .txt, 1 hidden, 1 that are not UTF-8 (latin.md…)"
    assert corpus.name == "notes"
    plain = read_corpus(str(folder))
    assert sorted(plain.train + plain.val) == [b"ee", b"ef"]
    assert plain.left_out == "4 .md, 1 .rst"
    below_b = read_corpus(f"{folder}:glob=*.txt,b/*")
    assert sorted(below_b.train + below_b.val) == [b"ee", b"ef", b"see"]


def test_links_and_what_is_no_file_are_counted(folder):
    (folder / "nowhere.md").symlink_to(folder / "gone")
    (folder / "away").symlink_to(folder / "b", target_is_directory=True)
    (folder / "same.md").symlink_to(folder / "a.md")  # to a file: it is read
    os.mkfifo(folder / "pipe.md")
    corpus = read_corpus(f"{folder}:glob=*.md")
    assert sorted(corpus.train + corpus.val) == [b"ay", b"ay", b"see"]
    assert corpus.left_out.endswith(
        "1 that are not UTF-8 (latin.md…), 1 that are links to folders, "
        "1 that are links to nothing, 1 that are no files"
    )
    named = read_corpus(f"{folder}:glob=away/*.md,*.txt")
    assert sorted(named.train + named.val) == [b"ee", b"ef", b"see"]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("notes:glob=*.mdx", "holds no text that matches '*.mdx'; it holds 4 .md"),
        ("notes:glob=/etc/*", "--glob '/etc/*' is no pattern of files in a folder"),
        ("notes:glob=../*", "--glob '../*' is no pattern of files in a folder"),
        ("notes:glob=", "glob of corpus '{0}/notes' is empty"),
        ("notes:glbo=*.md", "unknown option of a corpus 'glbo'; did you mean 'glob'"),
        ("notes:glob=*:glob=*", "glob is given twice"),
        ("notes:text_field=a", "takes no text_field: that is for files of records"),
        ("notes/e.txt:text_field=a", "takes no text_field"),
        ("notes/e.txt:token_dtype=uint16", "takes no token_dtype: that is for files of token ids"),
        ("notes/a.md", "is none of .txt, .jsonl, .parquet, .bin, .npy or a folder of texts"),
        ("x" * 300, "cannot read corpus"),
    ],
)
def test_options_that_do_not_fit_are_one_line(folder, word, line):
    with pytest.raises(UserError) as error:
        read_corpus(str(folder.parent / word))
    assert line.format(folder.parent) in str(error.value)
    assert "\n" not in str(error.value)


def test_names_take_no_options():
    with pytest.raises(UserError, match="corpus 'stdlib' takes no glob"):
        read_corpus("stdlib:glob=*.py")


def test_a_path_with_a_colon_is_a_path(tmp_path):
    path = tmp_path / "a:glob=b.txt"
    path.write_text("\n\n".join(TEXTS * 2000))
    assert split_options(str(path)) == (str(path), {})
    assert read_corpus(str(path)).name == "a:glob=b.txt"


def test_a_corpus_below_a_folder(tmp_path):
    (tmp_path / "data").mkdir()
    assert below(tmp_path, "stdlib") == "stdlib"
    assert below(tmp_path, "a.txt") == str(tmp_path / "a.txt")
    assert below(tmp_path, "hf:allenai/c4:en@2") == "hf:allenai/c4:en@2"
    assert below(tmp_path, "hf:data@2") == f"hf:{tmp_path / 'data'}@2"


def test_the_flags_of_the_command_are_the_options(mugrow, folder):
    dry = ("run", "quick", "--dry-run", "--corpus", folder)
    ended = mugrow(*dry, "--glob", "*.md")
    assert ended.err.startswith("mugrow: val_tokens 8192 does not fit corpus")
    assert "which has" in ended.err
    ended = mugrow(*dry, "--text-field", "body")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "takes no text_field" in ended.err


def test_endings_in_capitals_and_arrays_behind_blanks_are_read(tmp_path):
    texts = [{"text": f"text {number}"} for number in range(60)]
    array = json.dumps(texts).encode()
    contents = {
        "a.JSONL": lines(texts).encode(),
        "a.ndjson": lines(texts).encode(),
        "A.JSONL.GZ": compressed("gzip", lines(texts)),
        "a.json": b" \n" + array,
        "b.json": b"\xef\xbb\xbf" + array,
    }
    found = set()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found.add(read_corpus(str(tmp_path / name)).sha256)
    assert len(found) == 1


def test_a_column_may_be_stored_as_a_dictionary(tmp_path):
    rows = pa.array(["first", None, "second", "first"]).dictionary_encode()
    pq.write_table(pa.table({"text": rows}), tmp_path / "a.parquet")
    assert [*parquet_documents(tmp_path / "a.parquet")] == [b"first", b"", b"second", b"first"]


def test_a_link_to_nothing_is_said(tmp_path):
    (tmp_path / "a.txt").symlink_to("gone.txt")
    with pytest.raises(UserError, match=r"a\.txt' is a link to what is not there"):
        read_corpus(str(tmp_path / "a.txt"))


def test_the_pattern_that_is_offered_finds_what_is_there(folder):
    for file in folder.rglob("*.md"):
        file.rename(file.with_suffix(".org"))
    for file in folder.glob("*.txt"):
        file.unlink()
    with pytest.raises(UserError, match=r"holds 4 \.org, 1 \.rst: --glob '\*\.org'$"):
        read_corpus(str(folder))
