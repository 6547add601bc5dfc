"""What the pages say is so: links and paths resolve, commands parse, numbers are measured."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from mugrow.bench.checks import CHECKS
from mugrow.bench.checks.table import BEGIN, COLUMNS, END, row
from mugrow.bench.growth import method, names
from mugrow.sweeps.cli import parsed
from mugrow.sweeps.docs.build import ROOT_PAGES
from mugrow.sweeps.docs.reference import pages
from mugrow.sweeps.recipes import recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "own-method.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").rglob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
]
MADE = {ROOT / "docs" / name.lower() for name in ROOT_PAGES} | {ROOT / "docs" / "gallery.md"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WORDS = {
    "accounting", "arm", "budget", "claim", "drift", "factor", "growth-method",
    "ladder", "ledger", "member", "operator", "proxy", "recipe", "regret",
    "run", "rung", "search", "source", "stack", "start", "store",
    "study", "sweep", "target", "transfer", "trial", "verdict",
}  # fmt: skip


def of_repository(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def mugrow_commands(page: Path) -> list[list[str]]:
    """The arguments of every call of the program in a page's blocks."""
    text = page.read_text(encoding="utf-8")
    every = re.findall(r"^```(.*?)\n(.*?)^```$", text, flags=re.M | re.S)
    blocks = [block for language, block in every if language in ("", "bash")]
    lines = [line for line in "".join(blocks).splitlines() if "mugrow " in line]
    calls = [call.split("#")[0] for line in lines for call in line.split(" && ")]
    words = [shlex.split(call) for call in calls]
    return [call[1:] for call in words if call and Path(call[0]).name == "mugrow"]


def commands():
    text = "".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.M | re.S))
    return [shlex.split(line)[1:] for line in text.splitlines()]


def table_in_readme() -> dict[str, list[str]]:
    """The cells of every method's row, by name."""
    text = README[README.index(BEGIN) + len(BEGIN) : README.index(END)]
    lines = [line[2:-2].split(" | ") for line in text.strip().splitlines()]
    assert tuple(lines[0]) == COLUMNS
    return {cells[0].strip("`"): cells for cells in lines[2:]}


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.parametrize("page", PAGES, ids=of_repository)
def test_every_relative_link_resolves(page):
    made = MADE | {ROOT / "docs" / "reference" / name for name in pages(ROOT)}
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        target = (page.parent / link).resolve()
        assert target.exists() or target in made, link


@pytest.mark.parametrize(
    "page", [page for page in PAGES if mugrow_commands(page)], ids=of_repository
)
def test_every_command_parses(page, monkeypatch):
    """The program's own parser takes it: flags, numbers, the number of words."""
    for words in mugrow_commands(page):
        parsed(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=of_repository)
def test_files_that_are_named_exist(page):
    """The log and the changelog tell of files that were."""
    if page.name in ("log.md", "CHANGELOG.md"):
        return
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:bench|sweeps|analysis|docs|tests|results)/[\w./-]+)`", text):
        if "NAME" not in name and not name.startswith("results/my-"):
            assert (ROOT / name).exists(), name


def test_the_files_in_the_picture_exist():
    picture = (ROOT / "docs" / "pictures" / "a-runs-way.svg").read_text(encoding="utf-8")
    named = re.findall(r"(?:bench|sweeps|analysis)/[\w/]+(?:\.py)?", picture)
    assert len(named) >= 8
    for name in named:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=of_repository)
def test_python_blocks_are_python(page):
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S):
        compile(block, str(page), "exec")


def test_the_two_forms_of_the_pages_study_are_one(tmp_path):
    page = (ROOT / "docs" / "how-to" / "own-study.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
    scope: dict[str, object] = {}
    exec(block, scope)
    (block,) = re.findall(r"^```toml\n(name = .*?)^```$", page, flags=re.M | re.S)
    (tmp_path / "my-study.toml").write_text(block)
    assert recipe(tmp_path / "my-study.toml") == scope["study"]()


def test_the_sweep_of_the_page_is_answered_as_it_says(mugrow, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "how-to" / "own-sweep.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(.*?)\n(.*?)^```$", page, flags=re.M | re.S)
    table, said, python = (text for language, text in blocks if language != "bash")
    (tmp_path / "sweep.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    ended = mugrow("transfer", "sweep.csv", "--size", "width", "--lr", "lr", "--loss", "loss")
    assert ended.err + ended.out[: ended.out.index("\n\n")] + "\n" == said
    exec(python, {})
    assert "one seed gives no interval" in capsys.readouterr().out


def test_the_quick_starts_python_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "quick-start.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
    exec(block, {})
    assert "final_val_loss" in capsys.readouterr().out


def test_the_glossary_has_one_meaning_a_word():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^(\S.*)\n:   \S", text, flags=re.M)
    assert len(words) == len(set(words)) == text.count("\n:   ")
    assert {word.replace(" ", "-") for word in words} >= WORDS
    sections = text.split("\n## ")[1:]
    for section in sections:
        terms = re.findall(r"^(\S.*)\n:   ", section, flags=re.M)
        assert terms == sorted(terms)


def test_the_version_is_said_once():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, flags=re.M)[0] == VERSION
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION


def test_hooks_need_no_network():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        assert {hook["language"] for hook in repository["hooks"]} == {"system"}
