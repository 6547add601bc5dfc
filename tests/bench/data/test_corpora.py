"""Which documents a corpus has, which are held out, and what is said when it cannot be read."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.data.corpora import Corpus, corpora, read_corpus
from mugrow.bench.data.held_out import HELD_OUT, digest, hold_out
from mugrow.bench.data.readers import (
    SECTION_BYTES,
    stdlib_documents,
    text_file_documents,
    text_folder_documents,
)
from mugrow.bench.data.records import parquet_documents
from mugrow.bench.spec import UserError

DOCUMENTS = st.lists(st.binary(max_size=40), min_size=1, max_size=40)
STEADY = settings(deadline=None, derandomize=True)
SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "corpora"


def lines(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def folder_of_texts(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


@STEADY
@given(DOCUMENTS)
def test_split_loses_nothing_and_shares_nothing(documents: list[bytes]) -> None:
    train, val = hold_out(documents)
    assert Counter(train) + Counter(val) == Counter(documents)
    assert not set(train) & set(val)
    assert sum(map(len, val)) >= HELD_OUT * sum(map(len, documents))
    assert list(train) == [document for document in documents if document in set(train)]


@STEADY
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_split_ignores_the_order_of_documents(documents: list[bytes], random) -> None:
    shuffled = random.sample(documents, len(documents))
    assert hold_out(shuffled)[1] == hold_out(documents)[1]


def test_split_holds_out_about_the_share_it_should() -> None:
    documents = [f"document {number}".encode() for number in range(10_000)]
    assert len(hold_out(documents)[1]) == pytest.approx(500, abs=5)


@STEADY
@given(DOCUMENTS, DOCUMENTS)
def test_digest_is_equal_only_for_equal_lists(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_document_borders_and_the_split_count_in_the_hash() -> None:
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert digest([b"ab", b""]) != digest([b"ab"])
    splits = [((b"a",), (b"b",)), ((b"b",), (b"a",)), ((b"a",), (b"c",)), ((b"c",), (b"b",))]
    assert len({Corpus("books", *split).sha256 for split in splits}) == len(splits)


def test_stdlib_is_this_interpreters_sources_without_tests() -> None:
    corpus = read_corpus("stdlib")
    documents = set(corpus.train) | set(corpus.val)
    assert Path(sys.modules["json"].__file__ or "").read_bytes() in documents
    assert not any(b"class TestCase_ListAsserts" in document for document in documents)
    assert not any(b"build_time_vars = {" in document for document in documents)
    assert len(documents) > 300
    assert 0.05 <= sum(map(len, corpus.val)) / sum(map(len, documents)) < 0.15
    assert read_corpus("stdlib").sha256 == corpus.sha256


def test_stdlib_leaves_out_tests_machine_paths_and_other_encodings(tmp_path, monkeypatch) -> None:
    kept = {"json/a.py": "one", "unittest/b.py": "two", "c.py": "é"}
    dropped = (
        "test/d.py",
        "x/tests/e.py",
        "site-packages/f.py",
        "_sysconfigdata_linux.py",
        "g.txt",
    )
    folder_of_texts(tmp_path, kept | dict.fromkeys(dropped, "no"))
    (tmp_path / "latin.py").write_bytes("é".encode("latin-1"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert stdlib_documents() == ["é".encode(), b"one", b"two"]


@STEADY
@given(st.lists(st.sampled_from(["x" * 9000, "\n\n", "\n", " \r\n\n"]), max_size=30))
def test_sections_of_a_text_make_up_the_text(tmp_path_factory, parts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "sections.txt"
    path.write_bytes(text := "".join(parts).encode())
    sections = [*text_file_documents(path)]
    assert b"".join(sections) == text
    assert all(len(section) >= SECTION_BYTES for section in sections[:-1])
    assert all(section.endswith(b"\n") for section in sections[:-1])


def test_text_file_is_cut_at_blank_lines_only(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * SECTION_BYTES + b"\ny\n \nsecond")
    assert [*text_file_documents(path)][1] == b"second"


def test_folder_documents_do_not_depend_on_where_the_folder_is(tmp_path) -> None:
    texts = {"b.txt": "bee", "a/z.txt": "zed", "c.md": "not this", "a.txt": "ay"}
    here = read_corpus(str(folder_of_texts(tmp_path / "here" / "books", texts)))
    there = read_corpus(str(folder_of_texts(tmp_path / "there" / "books", texts)))
    assert here == there
    assert sorted(here.train + here.val) == [b"ay", b"bee", b"zed"]
    assert here.name == "books"


def test_folder_documents_come_in_the_order_of_their_paths(tmp_path) -> None:
    names = [f"{number:02d}" for number in range(40)]
    folder = folder_of_texts(tmp_path, {f"{name}.txt": name for name in reversed(names)})
    assert [*text_folder_documents(folder)[0]] == [name.encode() for name in names]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_parquet_rows_are_documents(tmp_path, kind) -> None:
    rows = pa.array(["first", None, "zweite ü"], kind)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "title": ["a", "b", "c"], "text": rows}), path)
    assert [*parquet_documents(path)] == [b"first", b"", "zweite ü".encode()]
    pq.write_table(pa.table({"id": [1, 2, 3], "body": rows}), path)
    assert [*parquet_documents(path)] == [b"first", b"", "zweite ü".encode()]


def test_train_bin_takes_val_bin_beside_it_for_validation(tmp_path) -> None:
    train, val = np.arange(20_000, dtype="<u2"), np.arange(5, dtype="<u2")
    train.tofile(tmp_path / "train.bin")
    alone = read_corpus(str(tmp_path / "train.bin"))
    assert len(alone.train) + len(alone.val) == len(train)
    val.tofile(tmp_path / "val.bin")
    both = read_corpus(str(tmp_path / "train.bin"))
    assert np.array_equal(both.train[np.arange(len(train))], train)
    assert np.array_equal(both.val[np.arange(len(val))], val)
    assert (len(both.train), len(both.val)) == (len(train), len(val))
    assert both.corpus_sha256 != alone.corpus_sha256


def test_every_corpus_is_listed_with_one_line() -> None:
    assert list(corpora())[:2] == ["stdlib", "synthetic"]
    assert all(line and "\n" not in line for line in corpora().values())


def broken(folder: Path, case: str) -> tuple[Path, str]:
    """A corpus with one thing wrong, and what the error must say beside its name."""
    path = folder / case
    if case == "empty.txt":
        path.write_bytes(b" \n")
        return path, "is empty"
    if case == "latin.txt":
        path.write_bytes(b"caf\xe9 au lait")
        return path, "not UTF-8: byte 0xe9 at 3"
    if case == "single.txt":
        path.write_bytes(b"one document")
        return path, "too short"
    if case == "folder":
        path.mkdir()
        return path, "holds no .txt"
    if case == "odd.bin":
        path.write_bytes(b"123")
        return path, "has 3 bytes"
    if case == "table.csv":
        path.write_bytes(b"text\nhello")
        return path, ".parquet"
    if case == "columns.parquet":
        pq.write_table(pa.table({"title": ["a"], "author": ["b"], "year": [1900]}), path)
        return path, "title (string), author (string), year (int64)"
    assert case == "truncated.parquet"
    pq.write_table(pa.table({"text": ["some text"] * 100}), path)
    path.write_bytes(path.read_bytes()[:-20])
    return path, "not a whole Parquet file"


CASES = [
    "empty.txt",
    "latin.txt",
    "single.txt",
    "folder",
    "odd.bin",
    "table.csv",
    "columns.parquet",
    "truncated.parquet",
]


@pytest.mark.parametrize("case", CASES)
def test_broken_corpus_is_one_line(tmp_path, case) -> None:
    path, reason = broken(tmp_path, case)
    with pytest.raises(UserError) as error:
        read_corpus(str(path))
    assert reason in lines(error)
    assert case in lines(error)


@STEADY
@given(st.integers(min_value=0, max_value=600), st.binary(max_size=3))
def test_no_damage_to_parquet_gets_past_the_reader(tmp_path_factory, cut, junk) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    pq.write_table(pa.table({"text": [f"some text {row}" for row in range(100)]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)] + junk)
    with pytest.raises(UserError, match="not a whole Parquet file"):
        [*parquet_documents(path)]


def test_bad_utf8_in_a_folder_and_in_parquet_is_located(tmp_path) -> None:
    folder_of_texts(tmp_path / "books", {"good.txt": "fine"})
    (tmp_path / "books" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"bad\.txt' is not UTF-8: byte 0xff at 0"):
        read_corpus(str(tmp_path / "books"))
    rows = pa.array([b"fine", b"ab\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": rows}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 1' is not UTF-8: byte 0xff at 2"):
        read_corpus(str(tmp_path / "a.parquet"))


def test_missing_corpus_names_the_nearest(tmp_path) -> None:
    (tmp_path / "shakespeare.txt").write_text("words")
    with pytest.raises(UserError, match=r"shakespeare\.txt"):
        read_corpus(str(tmp_path / "shakespear.txt"))
    with pytest.raises(UserError, match="did you mean 'stdlib'"):
        read_corpus("stdlb")
    with pytest.raises(UserError) as error:
        read_corpus("/no/such/folder/x.txt")
    assert "x.txt" in lines(error)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the corpora in ../shared/data")
def test_real_corpora() -> None:
    wikitext = read_corpus(str(SHARED / "wikitext-2.valid.txt"))
    assert sum(map(len, wikitext.train + wikitext.val)) == 1_121_681
    eltec = read_corpus(str(SHARED / "eltec-eng.parquet"))
    assert len(eltec.train) + len(eltec.val) == 99
    assert eltec.name == "eltec-eng.parquet"
