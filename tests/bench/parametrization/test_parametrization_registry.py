"""Naming a parametrization: its parameters, one spelling, and others' in plug-ins."""

from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.bench import entries
from mugrow.bench import parametrization as registry
from mugrow.bench.model import parameters
from mugrow.bench.parametrization import (
    Parametrization,
    Rule,
    Rules,
    canonical,
    names,
    parametrization,
    parse,
    rules_of,
    sp,
)
from mugrow.bench.spec import ModelSpec, UserError

MODEL = ModelSpec(width=16, depth=2, head_size=8, context=8, vocab_size=32)


@pytest.mark.parametrize("name", names())
def test_every_one_has_a_rule_for_every_parameter_and_facts_to_list(name):
    entry = parametrization(name)
    assert entry.name == name
    assert entry.summary
    assert entry.paper
    assert entry.choices.keys() <= entry.params.keys()
    for key, words in entry.choices.items():
        assert entry.params[key] == words[0]
    rules = rules_of(name, ModelSpec(**vars(MODEL) | {"width": 32, "depth": 4}), MODEL)
    assert (
        rules.tensors.keys()
        == parameters(ModelSpec(**vars(MODEL) | {"width": 32, "depth": 4})).keys()
    )
    for rule in rules.tensors.values():
        assert all(value >= 0 for value in rule[:4])


def test_parameters_are_read_by_signature():
    entry, params = parse("completep:alpha=0.5")
    assert entry.name == "completep"
    assert params == {"alpha": 0.5}
    assert entry.params == {"alpha": 1.0}
    assert parse("sp")[1] == sp.PARAMETRIZATION.params == {}


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("mup", "mup"),
        ("completep:alpha=1", "completep"),
        ("completep:alpha=1.0", "completep"),
        ("completep:alpha=.5", "completep:alpha=0.5"),
        ("completep:alpha=5e-1", "completep:alpha=0.5"),
        ("completep:alpha=-0", "completep:alpha=0.0"),
        ("mup:gains=frozen:attention=sqrt", "mup:attention=sqrt:gains=frozen"),
        ("mup:gains=trained:decay=unscaled", "mup:decay=unscaled"),
    ],
)
def test_one_parametrization_has_one_spelling(text, one):
    assert canonical(text) == one
    assert canonical(one) == one
    assert rules_of(text, MODEL, MODEL) == rules_of(one, MODEL, MODEL)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_is_lost_in_its_spelling(alpha):
    _, params = parse(canonical(f"completep:alpha={alpha!r}"))
    assert params.get("alpha", 1.0) == alpha


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("muP", "unknown parametrization 'muP'; did you mean 'mup'?"),
        ("complete", "unknown parametrization 'complete'; did you mean 'completep'?"),
        ("", "unknown parametrization ''; there are: completedp, completep, mup, "),
        ("completep:alhpa=1", "unknown parameter of parametrization 'completep': 'alhpa'; "
         "did you mean 'alpha'?"),
        ("sp:alpha=1", "parametrization 'sp' has no parameters, so no 'alpha'"),
        ("completep:alpha", "go parameters as PARAMETER=VALUE, not 'alpha'"),
        ("completep:alpha=half", "alpha of parametrization 'completep' must be a finite number "
         "like 1.0, not 'half'"),
        ("completep:alpha=nan", "must be a finite number like 1.0, not 'nan'"),
        ("completep:alpha=1:alpha=2", "alpha is given twice: '1' and '2'"),
        ("mup:attention=sqr", "unknown attention of parametrization 'mup': 'sqr'; "
         "did you mean 'sqrt'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_nearest_right_name(text, message):
    for ask in (parse, canonical, lambda text: rules_of(text, MODEL, MODEL)):
        with pytest.raises(UserError) as error:
            ask(text)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def halved(model: ModelSpec, base: ModelSpec, *, by: float = 2.0) -> Rules:
    return Rules(
        {name: Rule(lr=1 / by) for name in parameters(model)}, sp.rules(model, base).multipliers
    )


HALVED = Parametrization("halved", "half the rate", "none", halved)


@pytest.fixture
def plug_in(monkeypatch):
    """Installs entry points of the group; the registry looks them up anew."""

    def install(**plugins: str) -> None:
        points = [EntryPoint(n, value, registry.REGISTRY.group) for n, value in plugins.items()]
        monkeypatch.setattr(entries, "entry_points", lambda group: points)
        entries._installed.cache_clear()

    yield install
    monkeypatch.undo()
    entries._installed.cache_clear()
    rules_of.cache_clear()


def test_a_plug_in_is_listed_and_has_parameters_as_others(plug_in):
    plug_in(halved=f"{__name__}:HALVED")
    assert names()[-1] == "halved"
    assert canonical("halved:by=2") == "halved"
    assert rules_of("halved:by=4", MODEL, MODEL).tensors["norm.gain"].lr == 0.25
