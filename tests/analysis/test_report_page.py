"""Pages: a contents list of what is there, and one file with all that it needs."""

import re
from hashlib import sha256

from mugrow.analysis.report import page as pages
from mugrow.analysis.report.charts import Chart, Scale
from mugrow.analysis.report.page import HERE, Heading, contents, headings, scripts
from mugrow.analysis.report.table import Table

UPLOT = {  # of version 1.6.32 as it is published
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def test_headings_are_found_with_their_text():
    page = '<h2 id="a">One &amp; <em>two</em></h2><h3 id="b">\n  three</h3><h2>no id</h2>'
    assert [*headings(page)] == [Heading(2, "a", "One & two"), Heading(3, "b", "three")]


def test_parts_stand_below_their_chapter():
    found = contents(iter([Heading(2, "a", "A"), Heading(3, "b", "<B>"), Heading(2, "c", "C")]))
    assert re.findall(r'href="#(\w)"', found) == ["a", "b", "c"]
    assert '<li><a href="#a">A</a><ol><li><a href="#b">&lt;B&gt;</a></li></ol></li>' in found


def test_a_page_of_one_chapter_has_no_contents():
    assert contents(iter([Heading(2, "a", "A"), Heading(3, "b", "B")])) == ""
    assert contents(iter([])) == ""


def test_the_library_is_as_published_and_brings_its_licence():
    for name, known in UPLOT.items():
        content = (HERE / "vendor" / "uplot" / name).read_bytes()
        assert sha256(content).hexdigest() == known, name
    assert "Permission is hereby granted, free of charge" in scripts(charts=True)
    assert "uPlot" not in scripts(charts=False)


def test_no_script_ends_early():
    """What stands in a script element must not hold the word that ends it."""
    for part in scripts(charts=True).split("<script>\n")[1:]:
        assert part.count("</script") == 1


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_has_the_contrast_that_aa_asks_for():
    """Of every colour of words on every ground, in light and in dark: 4.5 to 1."""
    text = (HERE / "page.css").read_text(encoding="utf-8")
    palettes = [dict(re.findall(r"--([\w-]+): (#\w+)", block))
                for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL)]  # fmt: skip
    assert len(palettes) == 2
    for colours in palettes:
        for ink in ("ink", "soft-ink", "mark", "good", "bad", "open", "none"):
            for ground in ("paper", "soft"):
                pair = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, ground)


def test_a_table_is_looked_through_once_for_its_numbers(monkeypatch):
    """And not once a cell: ten thousand rows took an hour."""
    looked = []
    numeric = Table.numeric.fget
    monkeypatch.setattr(Table, "numeric", property(lambda own: looked.append(1) or numeric(own)))
    table = Table("t", "T", "", ("a", "b"), tuple(("x", str(n)) for n in range(30)))
    text = pages.rendered(
        "across.html.j2", title="t", reference="scratch", targets={}, left_out=(), explained=[],
        table=table, charts={"curves": Chart("c", "t", "p", (), Scale("", ""), ())},
    )  # fmt: skip
    assert len(looked) == 1
    assert text.count('<td class="number">') == 30
