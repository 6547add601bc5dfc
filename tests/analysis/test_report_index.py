"""The page of several reports: every folder with its verdicts, and links that lead there."""

import shutil
from pathlib import Path

import pytest

from mugrow.analysis import figures
from mugrow.analysis.report.index import build_index
from mugrow.bench.spec import UserError

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {"costs": figures.FIGURES["costs"]})
    shutil.copytree(REFERENCE / "quick", tmp_path / "quick")
    shutil.copytree(REFERENCE / "papers" / "gstack", tmp_path / "papers" / "gstack")
    return [tmp_path / "quick", tmp_path / "papers" / "gstack"]


def test_every_folder_has_its_verdicts_and_a_link(folders, tmp_path):
    paper = folders[1] / "report" / "index.html"
    paper.parent.mkdir()
    paper.touch()
    page = build_index(folders, tmp_path / "out" / "reports")
    text = page.read_text(encoding="utf-8")
    assert 'href="../../quick/report/index.html">quick</a>' in text
    assert (page.parent / "../../quick/report/index.html").resolve().is_file()
    assert 'href="../../papers/gstack/report/index.html">gstack</a>' in text
    assert 'chip better">beats scratch</span>' in text
    assert "reproduced</span>" in text


def test_no_link_leads_to_a_page_that_is_missing(folders, tmp_path):
    text = build_index(folders[1:], tmp_path / "out").read_text(encoding="utf-8")
    assert "<td>gstack</td>" in text


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no runs.parquet; is it a directory of `mugrow run`"):
        build_index([tmp_path], tmp_path / "out")
