"""A page of docs/ says what the program does, and the README's table what is measured."""

import re
import shlex
from pathlib import Path

import pytest

from mugrow.bench.checks import CHECKS
from mugrow.bench.checks.table import BEGIN, COLUMNS, END, row
from mugrow.bench.growth import method, names

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    text = "".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.M | re.S))
    return [shlex.split(line)[1:] for line in text.splitlines()]


def table_in_readme() -> dict[str, list[str]]:
    """The cells of every method's row, by name."""
    text = README[README.index(BEGIN) + len(BEGIN) : README.index(END)]
    lines = [line[2:-2].split(" | ") for line in text.strip().splitlines()]
    assert tuple(lines[0]) == COLUMNS
    return {cells[0].strip("`"): cells for cells in lines[2:]}


def test_the_commands_of_the_walk_through_work(mugrow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for slow in ("smoke", "coordinates"):
        monkeypatch.delitem(CHECKS, slow)
    assert len(commands()) == 3
    for words in commands():
        ended = mugrow(*words)
        assert ended.code == 0, ended.err
    module = tmp_path / "my_twist.py"
    old, new = "torch.zeros_like(init[name])", "init[name].clone()"
    assert f"replace `{old}` by\n`{new}`" in PAGE
    module.write_text(module.read_text().replace(old, new))
    ended = mugrow("check", "./my_twist.py", "--quick")
    assert ended.code == 1
    (shown,) = re.findall(r"^  failed: .*$", PAGE, flags=re.M)
    assert shown in ended.out


def test_the_page_shows_what_new_writes(tmp_path, mugrow):
    mugrow("new", "method", "my_twist", "-o", tmp_path)
    project = (tmp_path / "mugrow-my-twist" / "pyproject.toml").read_text()
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.M | re.S)
    assert shown in project


def test_the_table_has_every_method_in_order():
    assert tuple(table_in_readme()) == names()


@pytest.mark.parametrize("name", names())
def test_a_row_is_what_the_method_says_and_what_is_measured(name):
    """Errors are compared to a factor of ten: their last digits differ between machines."""
    entry = method(name)
    *facts, measured = row(entry)
    *shown, error = table_in_readme()[name]
    assert shown == facts
    numbers, expected = (re.findall(r"[\de.-]+", words) for words in (error, measured))
    assert len(numbers) == len(expected)
    for ours, theirs in zip(map(float, numbers), map(float, expected), strict=True):
        assert theirs / 10.5 <= ours <= 10.5 * theirs
