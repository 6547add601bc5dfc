"""Pages: a contents list of what is there, and one file with all that it needs."""

import re
from hashlib import sha256

from mugrow.analysis.report.page import HERE, Heading, contents, headings, scripts

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
