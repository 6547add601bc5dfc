"""The gallery: a card for each study and paper, made from its committed claims.

A card has a picture, the title, how many claims have which verdict, and the way to the page.
Markdown links are used throughout, so that the site's strict build checks every one of them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from mugrow.sweeps.docs.render import Rendered

WIDTH = 720  # of a picture, pixels
VERDICTS = "reports/verdicts.html"
COLOURS = {"reproduced": "good", "transfers": "good", "contradicted": "bad", "drifts": "bad"}
ORDER = ("reproduced", "contradicted", "transfers", "drifts", "censored")  # then the undecided
INTRODUCTION = """\
# Gallery

Every study and paper whose rows are committed, rendered from those rows when this site was built.
A claim is a quantity with a range that was fixed before the runs; its verdict follows from the
interval over seeds ([how to read a report](how-to/reading-a-report.md)). What a paper claims is
counted apart from questions of ours, which it does not answer.
"""
TEXT = '<main id="top">'
BACK = f'{TEXT}\n<p class="note"><a href="{{}}gallery.html">mugrow: gallery</a></p>'


class Ends(TypedDict):
    lo: float | None
    hi: float | None


class FinalJson(TypedDict):
    """What is read here of an arm's final loss in ``summary.json``."""

    minus_scratch: Ends | None


class VersusJson(TypedDict):
    """Of an arm against one baseline."""

    baseline: str
    verdict: str


class ComparedJson(TypedDict):
    """Of an arm at equal charged compute."""

    versus: list[VersusJson]


class Word(TypedDict):
    word: str


class Kept(TypedDict):
    """Of a transfer ladder."""

    axis: str
    method: str
    parametrization: str
    variant: str
    verdict: Word


class Kepts(TypedDict):
    ladders: list[Kept]


class SummaryJson(TypedDict):
    finals: list[FinalJson]
    equal_compute: list[ComparedJson]
    transfer: Kepts


@dataclass(frozen=True)
class Card:
    """``lines`` are said of it, ``claims`` each with its verdict, and so ``questions``, which the
    paper does not answer; ``page`` and ``picture`` are paths from the gallery."""

    name: str
    title: str
    lines: tuple[str, ...]
    claims: tuple[tuple[str, str], ...]
    page: str
    picture: str | None
    questions: tuple[tuple[str, str], ...] = ()

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many claims have each, the decided ones first."""
        return counted(self.claims)


def counted(claims: Sequence[tuple[str, str]]) -> Mapping[str, int]:
    """How many have each verdict, the decided ones first."""
    words = [word for _, word in claims]
    found = [word for word in ORDER if word in words]
    found += sorted(set(words) - set(ORDER))
    return {word: words.count(word) for word in found}


def write(rendered: Sequence[Rendered], docs: Path) -> None:
    """Write ``docs/gallery.md``, the pictures of its cards and the page of every claim; pages get a
    way back to it."""
    from mugrow.analysis.report.verdicts import build_verdicts

    sections = [INTRODUCTION]
    for kind, title in (("study", "Studies"), ("paper", "Papers")):
        cards = [card(one, docs) for one in rendered if one.evidence.kind == kind]
        if cards:
            sections.append(section(title, cards))
    papers = [one.folder for one in rendered if one.evidence.kind == "paper"]
    if papers:
        _lead_back(build_verdicts(sorted(papers), docs / VERDICTS), "../")
        sections.insert(1, f"[Every claim on one page, to filter]({VERDICTS}).\n")
    (docs / "gallery.md").write_text("\n".join(sections), encoding="utf-8")
    for one in rendered:
        _lead_back(one.page, "../../../")


def _lead_back(path: Path, up: str) -> None:
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace(TEXT, BACK.format(up), 1), encoding="utf-8")


def section(title: str, cards: Sequence[Card]) -> str:
    """Markdown of the cards under their heading, by name."""
    shown = "\n".join(markdown(one) for one in sorted(cards, key=lambda one: one.name))
    return f'## {title}\n\n<div class="gallery" markdown>\n\n{shown}\n</div>\n'


def card(one: Rendered, docs: Path) -> Card:
    """From the tables and the figures in the rendered folder, which lies below ``docs``."""
    make = of_paper if one.evidence.kind == "paper" else of_study
    page = one.page.relative_to(docs).as_posix()
    return make(one.folder, page, _picture(one, docs))


def of_paper(folder: Path, page: str, picture: str | None) -> Card:
    """Its claims are those of its ledger, the questions those of it that are ours."""
    from mugrow.analysis.report.paper import lines_of, read_ledger

    ledger = read_ledger(folder)
    claims, questions = (
        tuple((line["says"], line["verdict"]) for line in lines_of(whose, ledger))
        for whose in ("paper", "ours")
    )
    title = f"{ledger['title']} (arXiv {ledger['arxiv']})"
    return Card(folder.name, title, (), claims, page, picture, questions)


def of_study(folder: Path, page: str, picture: str | None) -> Card:
    """Its claims are the verdicts on its ladders; of grown models, how many beat what."""
    summary: SummaryJson = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    study: dict[str, object] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    ladders = summary["transfer"]["ladders"]
    claims = tuple((_kept(one), one["verdict"]["word"]) for one in ladders)
    title = str(study.get("title", folder.name))
    return Card(folder.name, title, tuple(_growth(summary)), claims, page, picture)


def _kept(one: Kept) -> str:
    """A ladder in words: what is kept along what."""
    of = f"{one['parametrization']}, {one['variant']}" if one["variant"] else one["parametrization"]
    grown = "" if one["method"] == "scratch" else f", grown by {one['method']}"
    return f"the learning rate along {one['axis']}, {of}{grown}"


def _growth(summary: SummaryJson) -> Iterator[str]:
    if compared := summary["equal_compute"]:
        counts = Counter(
            one["baseline"]
            for row in compared
            for one in row["versus"]
            if one["verdict"] == "better"
        )
        beaten = f"{counts['scratch']} beat scratch, {counts['own source']} their own source"
        yield (
            f"Of {len(compared)} grown arms at equal charged compute {beaten} trained on, and "
            f"{counts['front']} the best size for it."
        )
        return
    differences = [row["minus_scratch"] for row in summary["finals"] if row["minus_scratch"]]
    if differences:
        lower = sum(ends["hi"] is not None and ends["hi"] < 0 for ends in differences)
        yield (
            f"{lower} of {len(differences)} grown arms end below scratch for certain, on the same "
            "target tokens. Equal charged compute is not measurable in its rows."
        )


def _picture(one: Rendered, docs: Path) -> str | None:
    """The page's first figure, made small; its path from ``docs``."""
    from PIL import Image

    shown = re.findall(r'id="figure-([^"]+)">[^<]*</h3>\s*<figure', one.page.read_text("utf-8"))
    if not shown:
        return None
    path = docs / "reports" / "pictures" / f"{one.evidence.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(one.page.parent / "figures" / f"{shown[0]}.png") as whole:
        small = whole.convert("RGB")
        small.thumbnail((WIDTH, 2 * WIDTH))
        small.save(path, optimize=True)
    return path.relative_to(docs).as_posix()


def markdown(card: Card) -> str:
    """One card."""
    parts = ['<div class="card" markdown>', ""]
    if card.picture is not None:
        parts += [f"[![Figure of {card.name}]({card.picture}){{ loading=lazy }}]({card.page})", ""]
    parts += [f"### [{card.name}]({card.page}) {{ #{card.name} }}", "", escaped(card.title), ""]
    if card.claims:
        parts += [_badges(card.verdicts), ""]
    if card.questions:
        parts += [f"Questions of ours: {_badges(counted(card.questions))}", ""]
    if card.lines:
        parts += [*(f"- {escaped(line)}" for line in card.lines), ""]
    for title, claims in (("All claims", card.claims), ("Questions of ours", card.questions)):
        if claims:
            parts += [f"<details markdown><summary>{title}</summary>", ""]
            parts += [f"- {escaped(says)}: **{escaped(word)}**" for says, word in claims]
            parts += ["", "</details>", ""]
    return "\n".join([*parts, "</div>", ""])


def _badges(verdicts: Mapping[str, int]) -> str:
    return " ".join(
        f'<span class="verdict {COLOURS.get(word, "open")}">{count} {word}</span>'
        for word, count in verdicts.items()
    )


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~^$])", r"\\\1", text.replace("&", "&amp;"))
