"""``mugrow report TABLE``: flags, where it writes, and one line for a mistake."""

import json

import pytest


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.csv"
    sizes = [(n, d) for n in (1e6, 2e6, 4e6, 8e6) for d in (1e8, 3e8, 1e9)]
    lines = [f"{n},{d},{1.8 + 60 / n**0.3 + 100 / d**0.3:.4f},a" for n, d in sizes]
    path.write_text("\n".join(["size,seen,nats,arm", *lines]) + "\n")
    return path


FLAGS = ("--n", "size", "--d", "seen", "--loss", "nats", "--form", "chinchilla", "--bootstrap", "5")


def test_a_table_is_reported_beside_the_caller(table, mugrow):
    ended = mugrow("report", table, *FLAGS)
    assert (ended.code, ended.err, ended.out) == (0, "", "report: own-report/index.html\n")
    assert (table.parent / "own-report" / "index.html").is_file()


def test_json_is_every_number(table, mugrow, tmp_path):
    ended = mugrow(
        "report", table, *FLAGS, "--method", "arm", "--json", "--out", tmp_path / "there"
    )
    (law,) = json.loads(ended.out)["laws"]
    assert (law["label"], law["form"], law["bootstrap"]["resamples"]) == ("a", "chinchilla", 5)
    assert law["params"]["alpha"] == pytest.approx(0.3, rel=1e-2)
    assert json.loads((tmp_path / "there" / "laws.json").read_text())["laws"] == [law]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--n", "siz"), "did you mean 'size'"),
        (("--form", "chinchila"), "did you mean 'chinchilla'"),
        (("--bootstrap", "0"), "--bootstrap must be at least 1, not 0"),
        (("--baseline", "b", "--method", "arm"), "unknown method 'b'"),
    ],
)
def test_a_mistake_is_one_line(table, mugrow, words, line):
    pairs = zip(FLAGS[::2], FLAGS[1::2], strict=True)
    others = [word for pair in pairs if pair[0] not in words for word in pair]
    ended = mugrow("report", table, *others, *words)
    assert (ended.code, ended.out) == (2, "")
    assert line in ended.err
    assert ended.err.count("\n") == 1
    assert not (table.parent / "own-report").exists()


def test_flags_of_a_table_are_refused_for_a_study(mugrow, tmp_path):
    ended = mugrow("report", tmp_path, "--n", "size")
    assert (ended.code, ended.err) == (2, f"mugrow: --n is for a table; {tmp_path} is none\n")


def test_several_folders_that_cannot_have_an_index_are_refused_before_any_is_built(
    mugrow, tmp_path
):
    one, other = tmp_path / "one", tmp_path / "other"
    assert mugrow("report", str(one), str(one)).err == f"mugrow: {one} is named twice\n"
    taken = tmp_path / "taken"
    taken.touch()
    refused = mugrow("report", str(one), str(other), "--out", str(taken))
    assert refused.err == f"mugrow: {taken} is a file; --out takes a folder\n"
