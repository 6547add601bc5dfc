"""Pages are made from committed rows, and a study that breaks stops the build."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

import mugrow
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.report.paper import questions_line, read_ledger, summary_line
from mugrow.analysis.report.verdicts import build_verdicts, lines_of
from mugrow.analysis.summary import summarize
from mugrow.bench.record import write_json
from mugrow.bench.spec import UserError
from mugrow.sweeps.docs import gallery, reference
from mugrow.sweeps.docs.build import build, configuration
from mugrow.sweeps.docs.render import committed, render

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "results" / "reference"
BEFORE = ROOT / "tests" / "stores" / "before_budgets"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with one paper, of which there is no recipe, and no study."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", root / "docs")
    shutil.copy(ROOT / "mkdocs.yml", root)
    broken = root / "results" / "reference" / "papers" / "broken"
    broken.mkdir(parents=True)
    shutil.copy(REFERENCE / "papers" / "gstack" / "study.json", broken)
    return root


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "said", "claims"),
    [
        ("transfer-depth", "inconclusive", 3),
        ("mutransfer", "not testable here", 6),
    ],
)
def test_a_page_and_a_card_are_made_from_committed_rows(name, said, claims, tmp_path):
    before = contents(REFERENCE)
    (evidence,) = committed(REFERENCE, [name])
    done = render(evidence, tmp_path / "reports")
    assert done.error is None
    assert "<svg" in done.page.read_text(encoding="utf-8")
    assert contents(REFERENCE) == before
    gallery.write([done], tmp_path)
    back = re.search(r'href="([^"]+)">mugrow: gallery', done.page.read_text(encoding="utf-8"))
    assert back
    assert (done.page.parent / back[1]).resolve() == (tmp_path / "gallery.html").resolve()
    shown = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    card = gallery.card(done, tmp_path)
    assert gallery.markdown(card) in shown
    assert card.page == f"reports/{name}/report/index.html"
    assert card.picture is not None
    assert (tmp_path / card.picture).is_file()
    assert sum(card.verdicts.values()) == len(card.claims) == claims
    assert f">{card.verdicts[said]} {said}</span>" in gallery.markdown(card)


def test_every_claim_is_on_one_page_with_a_link_to_it(tmp_path):
    """Of two papers: as many rows as their ledgers have lines, each with its paper's operators."""
    folders = [REFERENCE / "papers" / name for name in ("gstack", "mutransfer")]
    for folder in folders:
        shutil.copytree(folder, tmp_path / "reports" / folder.name)
    moved = [tmp_path / "reports" / folder.name for folder in folders]
    page = build_verdicts(moved, tmp_path / "reports" / "verdicts.html")
    text = page.read_text(encoding="utf-8")
    lines = [line for folder in folders for line in read_ledger(folder)["claims"]]
    assert text.count("<tr><td><span class=") == len(lines)
    assert 'href="gstack/report/index.html#claim-' in text
    (operators,) = {line.operators for line in lines_of(moved[0], tmp_path / "reports")}
    assert {"scratch", "stack"} <= set(operators)
    for name in operators:
        assert f"<option>{name}</option>" in text


def test_questions_of_ours_are_counted_apart():
    card = gallery.of_paper(REFERENCE / "papers" / "robustify", "page", None)
    assert card.verdicts == {"reproduced": 2, "not testable here": 2}
    assert gallery.counted(card.questions) == {"reproduced": 4, "contradicted": 4}
    text = gallery.markdown(card)
    claims, questions = text.split("<summary>Questions of ours</summary>")
    assert "Questions of ours: <span" in claims
    assert "lead it to forget" in claims
    assert "mixing weights" not in claims
    assert questions.count("\n- ") == 8


def test_a_ledger_that_does_not_say_whose_its_claims_are_is_the_papers(tmp_path):
    found = read_ledger(REFERENCE / "papers" / "robustify")
    for line in found["claims"]:
        del line["whose"]
    (tmp_path / "ledger.json").write_text(json.dumps(found), encoding="utf-8")
    card = gallery.of_paper(tmp_path, "page", None)
    assert (len(card.claims), card.questions) == (12, ())
    assert summary_line(tmp_path).endswith("| 6 | 4 | 0 | 2 |")
    assert questions_line(tmp_path) is None


def test_of_grown_arms_it_is_counted_which_beat_what():
    (line,) = gallery.of_study(REFERENCE / "quick", "page", None).lines
    assert line == (
        "Of 2 grown arms at equal charged compute 1 beat scratch, 0 their own source trained on, "
        "and 0 the best size for it."
    )


def test_without_budgets_a_card_says_what_cannot_be_measured(tmp_path):
    folder = Path(shutil.copytree(BEFORE, tmp_path / "zoo"))
    write_json(folder / "summary.json", to_json(summarize(load(folder))))
    (line,) = gallery.of_study(folder, "page", None).lines
    assert line.startswith("20 of 32 grown arms end below scratch for certain")  # of two seeds
    assert line.endswith("Equal charged compute is not measurable in its rows.")


def test_all_that_is_committed_is_found_and_a_wrong_name_is_not():
    found = {one.name: one.kind for one in committed(REFERENCE)}
    assert found["zoo"] == "study"
    assert found["gstack"] == "paper"
    assert len(found) == len(list(REFERENCE.rglob("study.json")))
    with pytest.raises(UserError, match=r"gstak.*gstack"):
        committed(REFERENCE, ["gstak"])


def test_decided_claims_come_first():
    claims = tuple((word, word) for word in ("not testable here", "contradicted", "reproduced"))
    card = gallery.Card("name", "title", (), (*claims, claims[1]), "page", None)
    assert list(card.verdicts.items()) == [
        ("reproduced", 1),
        ("contradicted", 2),
        ("not testable here", 1),
    ]


def test_text_of_a_claim_is_no_markup():
    assert gallery.escaped("a_b [c](d) <e> & *f*") == r"a\_b \[c\](d) \<e\> &amp; \*f\*"


def test_a_study_that_breaks_stops_the_build(checkout, tmp_path):
    out = tmp_path / "site"
    out.mkdir()
    said: list[str] = []
    (line,) = build(checkout, out, (), 1, said.append)
    assert line.startswith("broken: UserError: unknown paper 'broken'")
    assert list(out.iterdir()) == []
    assert len(said) == 1


def test_damaged_rows_are_told_in_one_line(tmp_path):
    damaged = tmp_path / "reference" / "damaged"
    damaged.mkdir(parents=True)
    shutil.copy(REFERENCE / "quick" / "study.json", damaged)
    (damaged / "runs.parquet").write_bytes(b"PAR1")
    (evidence,) = committed(tmp_path / "reference")
    error = render(evidence, tmp_path / "reports").error
    assert error is not None
    assert "runs.parquet" in error
    assert "\n" not in error


def test_the_command_ends_with_the_lines_of_what_broke(checkout, monkeypatch, mugrow):
    monkeypatch.chdir(checkout)
    monkeypatch.setattr("mugrow.sweeps.docs.build.build", lambda *given: ["broken: why"])
    ended = mugrow("docs", "build")
    assert (ended.code, ended.out) == (1, "broken: why\n")


def test_a_folder_with_something_else_is_not_replaced(checkout):
    with pytest.raises(UserError, match="something else"):
        build(checkout, checkout / "docs", (), 1, print)
    assert (checkout / "docs" / "index.md").is_file()


def test_outside_of_a_checkout_it_says_so(tmp_path):
    with pytest.raises(UserError, match="checkout"):
        build(tmp_path, tmp_path / "site", (), 1, print)


def test_the_api_has_a_page_for_every_package_and_a_block_for_every_module():
    pages = reference.pages(ROOT)
    assert {"mugrow.md", "bench.md", "bench.growth.md", "sweeps.md", "analysis.laws.md"} <= set(
        pages
    )
    assert not [name for name in pages if name.startswith("sweeps.recipes.papers")]
    assert "::: mugrow.bench.spec\n" in pages["bench.md"]
    assert "::: mugrow.bench.growth.stack\n" in pages["bench.growth.md"]


def test_the_first_page_lists_what_is_exported(monkeypatch):
    monkeypatch.setattr(mugrow, "__all__", ("UserError", "recipe", "__version__"))
    page = reference.of_names([])
    assert re.findall("^::: (.*)$", page, flags=re.M) == ["mugrow.UserError", "mugrow.recipe"]


def test_the_menu_has_every_page_and_each_exists():
    pages = reference.pages(ROOT)

    def files(menu: object) -> list[str]:
        if isinstance(menu, str):
            return [menu]
        parts = menu.values() if isinstance(menu, dict) else menu
        return [name for part in parts for name in files(part)]

    named = files(configuration(ROOT, pages)["nav"])
    assert len(named) == len(set(named))
    assert {f"reference/{name}" for name in pages} <= set(named)
    made = {"gallery.md", "changelog.md", "contributing.md"} | {
        f"reference/{name}" for name in pages
    }
    assert set(named) - made == {
        path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }


def test_nothing_is_fetched():
    found = configuration(ROOT, reference.pages(ROOT))
    assert found["theme"]["font"] is False
    assert "://" not in str(found["extra_css"]) + str(found["extra"])
    for name in ("stylesheets/mugrow.css", "javascripts/iframe-worker.js"):
        assert "://" not in (ROOT / "docs" / name).read_text(encoding="utf-8")
