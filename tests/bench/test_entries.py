"""Entries by name: ours, plug-ins of other packages, and the parameters typed behind a name."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.laws import REGISTRY as FORMS
from mugrow.bench import entries
from mugrow.bench.entries import assigned, check_params, in_one_line, scalar, with_params
from mugrow.bench.growth import REGISTRY as METHODS
from mugrow.bench.parametrization import REGISTRY as PARAMETRIZATIONS
from mugrow.bench.spec import UserError

REGISTRIES = [METHODS, PARAMETRIZATIONS, FORMS]


class Plugin:
    """An entry point as an installer leaves it."""

    value = "their_package:ENTRY"

    def __init__(self, name: str, loaded: object) -> None:
        self.name, self.loaded = name, loaded

    def load(self) -> object:
        if isinstance(self.loaded, BaseException):
            raise self.loaded
        return self.loaded


@pytest.fixture
def install(monkeypatch):
    """Installs one plug-in, in every group."""

    def done(name: str, loaded: object) -> None:
        monkeypatch.setattr(entries, "entry_points", lambda group: [Plugin(name, loaded)])
        entries._installed.cache_clear()

    yield done
    entries._installed.cache_clear()


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_every_entry_is_called_what_its_module_is(registry):
    assert [registry.get(name).name for name in registry.builtin] == list(registry.builtin)
    with pytest.raises(UserError, match=rf"unknown {registry.noun} 'x{registry.builtin[0]}'"):
        registry.get(f"x{registry.builtin[0]}")


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_a_plug_in_is_listed_last_and_loaded(registry, install):
    theirs = replace(registry.get(registry.builtin[0]), name="theirs")
    install("theirs", theirs)
    assert registry.names() == (*registry.builtin, "theirs")
    assert registry.is_plugin("theirs")
    assert registry.get("theirs") is theirs


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
@pytest.mark.parametrize(
    "loaded", [ImportError("no\nmodule"), KeyError(), SystemExit(), 3, "called otherwise"]
)
def test_a_broken_plug_in_is_one_line(registry, loaded, install):
    install("theirs", registry.get(registry.builtin[0]) if isinstance(loaded, str) else loaded)
    with pytest.raises(UserError, match=rf"^plug-in {registry.noun} 'theirs'") as error:
        registry.get("theirs")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_a_file_that_ends_the_program_is_one_line(registry, tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text("import sys; sys.exit(3)")
    with pytest.raises(UserError, match=r"theirs\.py cannot be imported: SystemExit: 3$"):
        registry.from_file(path)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_who_stops_the_program_stops_it(registry, install, tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.from_file(path)
    install("theirs", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        registry.get("theirs")


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_a_plug_in_takes_no_name_of_ours(registry, install):
    name = registry.builtin[0]
    install(name, ImportError("never loaded"))
    assert registry.get(name).name == name
    assert registry.names().count(name) == 1


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_value_is_read_as_what_it_was_written_from(value):
    read = scalar(str(value).lower() if isinstance(value, bool) else repr(value))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "True", "", "1e999", "even"])
def test_what_is_no_finite_number_stays_a_word(text):
    assert scalar(text) == text


def test_parameters_behind_a_name():
    assert with_params("method", "szp") == ("szp", {})
    expected = ("szp", {"shrink": 0.2, "steps": 3, "how": "even", "on": True})
    assert with_params("method", "szp:shrink=0.2:steps=3:how=even:on=true") == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [(["a"], "wanted x, not 'a'"), (["a=1", "a=2"], "a is given twice: '1' and '2'")],
)
def test_what_is_no_assignment_is_refused(parts, message):
    with pytest.raises(UserError, match=message):
        assigned(parts, "wanted x")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rat": 1.0}, "unknown parameter of it: 'rat'; did you mean 'rate'"),
        ({"rate": "even"}, "rate of it must be a finite number like 0.5, not 'even'"),
        ({"rate": math.inf}, "rate of it must be a finite number like 0.5, not inf"),
        ({"rate": True}, "rate of it must be a finite number like 0.5, not True"),
        ({"steps": 0}, "steps of it must be a whole number, at least 1, like 3, not 0"),
        ({"steps": 1.5}, "steps of it must be a whole number, at least 1, like 3, not 1.5"),
        ({"on": 1}, "on of it must be true or false, like True, not 1"),
        ({"how": "evn"}, "unknown how of it: 'evn'; did you mean 'even'"),
    ],
)
def test_a_parameter_is_of_its_defaults_kind(params, message):
    defaults = {"rate": 0.5, "steps": 3, "on": True, "how": "even"}
    with pytest.raises(UserError, match=message):
        check_params("it", defaults, {"how": ("even", "odd")}, params)
    check_params("it", defaults, {"how": ("even", "odd")}, {**defaults, "rate": 1})


def test_an_error_without_a_message_is_its_name():
    assert in_one_line(KeyError()) == "KeyError"
    assert in_one_line(ValueError("first\nsecond")) == "ValueError: first"
