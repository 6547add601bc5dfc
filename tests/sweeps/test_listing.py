"""Listings: the catalogue of our own entries is what the entries say."""

import json
from importlib.metadata import EntryPoint

import pytest

from mugrow.analysis import laws
from mugrow.bench import entries, evaluation, growth, optim, parametrization
from mugrow.sweeps import engines, listing, trackers
from mugrow.sweeps.recipes import papers

REGISTRIES = {
    "methods": growth.REGISTRY,
    "parametrizations": parametrization.REGISTRY,
    "optimizers": optim.REGISTRY,
    "forms": laws.REGISTRY,
    "figures": papers.REGISTRY,
    "papers": papers.REGISTRY,
    "evaluations": evaluation.REGISTRY,
    "engines": engines.REGISTRY,
    "trackers": trackers.REGISTRY,
}


@pytest.fixture
def no_plug_ins(monkeypatch):
    monkeypatch.setattr(entries, "all_installed", lambda group: ())
    entries._installed.cache_clear()
    yield
    entries._installed.cache_clear()


def test_the_catalogue_is_what_the_entries_say(no_plug_ins):
    """Otherwise: ``python -m mugrow.sweeps.listing``."""
    made, written = json.loads(listing.written_catalogue()), listing.catalogue()
    assert made.keys() == written.keys()
    for kind, rows in made.items():
        assert rows == written[kind], kind


@pytest.mark.parametrize("kind", listing.GROUPS)
def test_a_listing_is_the_same_from_the_catalogue_and_from_the_entries(no_plug_ins, kind):
    assert listing.listing(kind) == listing.LISTS[kind]()


def test_the_groups_are_the_registries():
    assert {kind: (registry.group,) for kind, registry in REGISTRIES.items()} == listing.GROUPS


def test_a_plug_in_is_listed_too(monkeypatch):
    one = EntryPoint("absent", "absent_module:ENTRY", "mugrow.methods")
    monkeypatch.setattr(entries, "all_installed", lambda group: (one,))
    entries._installed.cache_clear()
    assert "absent" in [row["name"] for row in listing.listing("methods")]
    entries._installed.cache_clear()


def test_what_an_engine_needs_is_of_this_machine(monkeypatch, no_plug_ins):
    monkeypatch.setattr(listing, "find_spec", lambda package: None)
    needs = {row["name"]: row["needs"] for row in listing.listing("engines")}
    assert needs["local"] == ""
    assert needs["ray"] == "ray: pip install 'mugrow[ray]'"
    monkeypatch.setattr(listing, "find_spec", lambda package: package)
    assert {row["name"]: row["needs"] for row in listing.listing("engines")}["ray"] == "ray"
