"""Methods that break the contract, as a run or ``mugrow grow`` meets them."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import RUN, start_of

from mugrow.bench.growth import GrowthMethod, MethodError, Moments, method
from mugrow.bench.guarded import grown, is_ours, own_generators
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import Start, UserError
from mugrow.bench.stack import Carried
from mugrow.bench.start import Source, beginning_from

SMALL = RUN.model
BIG = replace(SMALL, depth=2)


def deeper(weights, init, new: Callable[[torch.Tensor], torch.Tensor] = torch.clone):
    return {
        name: weights[name].clone() if name in weights else new(init[name])
        for name in parameters(BIG)
    }


def changed(tensors, change):
    for tensor in tensors.values():
        change(tensor)


def first(grown, change):
    name = next(iter(grown))
    return grown | {name: change(grown[name])}


def without_first(grown):
    return dict(list(grown.items())[1:])


def exits():
    raise SystemExit(0)


WRONG = {
    "in place": (lambda w, i, r: (changed(w, lambda t: t.mul_(0.5)), deeper(w, i))[1],
                 "changed the source that it was given"),
    "init": (lambda w, i, r: (changed(i, torch.Tensor.zero_), deeper(w, i))[1],
             "changed the target's own draw that it was given"),
    "alias": (lambda w, i, r: {n: w.get(n, i[n]) for n in i}, "in its source's own storage"),
    "double": (lambda w, i, r: {n: t.double() for n, t in deeper(w, i).items()}, "float64, not"),
    "missing": (lambda w, i, r: without_first(deeper(w, i)), "other tensors than the target's"),
    "extra": (lambda w, i, r: deeper(w, i) | {"more": torch.ones(1)}, "target's: more"),
    "nan": (lambda w, i, r: first(deeper(w, i), lambda t: t * torch.nan), "numbers not finite"),
    "parameter": (lambda w, i, r: first(deeper(w, i), torch.nn.Parameter), "a gradient to track"),
    "clock": (
        lambda w, i, r: deeper(
            w, i, lambda t: torch.as_tensor(np.random.default_rng().normal(size=t.shape)).to(t)
        ),
        "is not the same twice",
    ),
    "none": (lambda w, i, r: None, "returned NoneType, not tensors by name"),
    "numbers": (lambda w, i, r: dict.fromkeys(i, 1.0), "as 1.0, not"),
    "exits": (lambda w, i, r: exits(), "raised SystemExit: 0"),
    "stops": (lambda w, i, r: stops(), "raised BaseException: no Exception"),
}  # fmt: skip


def entry_of(grow, name="theirs", **more) -> GrowthMethod:
    def called(weights, small, big, init, rng):
        return grow(weights, init, rng)

    return GrowthMethod(
        name, "s", "p", ("depth",), "nothing", lambda small, big: None, called, **more
    )


def begin(monkeypatch, entry, source, **start):
    monkeypatch.setattr("mugrow.bench.start.growth.method", lambda name: entry)
    spec = replace(RUN, model=BIG, start=Start(method=entry.name, source_run_id="a", **start))
    return beginning_from(spec, source, lambda step: torch.zeros(1))


@pytest.fixture
def source() -> Source:
    return Source(Decoder(SMALL, {}), start_of(RUN))


@pytest.mark.parametrize("kind", WRONG)
def test_what_check_finds_ends_the_run_and_leaves_the_source_alone(monkeypatch, source, kind):
    grow, said = WRONG[kind]
    before = {name: tensor.clone() for name, tensor in source.weights.items()}
    with pytest.raises(MethodError, match=said):
        begin(monkeypatch, entry_of(grow), source)
    assert all(torch.equal(source.weights[name], before[name]) for name in before)


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: torch.randn_like(t),
        lambda t: torch.as_tensor(np.random.normal(size=t.shape)).to(t),  # noqa: NPY002
        lambda t: t + random.random(),
        lambda t: (torch.manual_seed(0), torch.randn_like(t))[1],
    ],
    ids=["torch", "numpy", "python", "seeded"],
)
def test_global_generators_are_the_runs_own_and_put_back(monkeypatch, source, draw):
    entry = entry_of(lambda w, i, r: deeper(w, i, draw))
    once = begin(monkeypatch, entry, source).weights
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    random.seed(11)
    again = begin(monkeypatch, entry, source).weights
    assert all(torch.equal(once[name], again[name]) for name in once)
    drawn = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    random.seed(11)
    assert drawn == (torch.rand(1), np.random.rand(), random.random())  # noqa: NPY002


def test_moments_are_guarded_too(monkeypatch, source):
    def grow_moments(moments, small, big, rng):
        changed(moments.m, torch.Tensor.zero_)
        return Moments(*(deeper(part, init, torch.zeros_like) for part in moments))

    init = start_of(replace(RUN, model=BIG))
    entry = entry_of(lambda w, i, r: deeper(w, i), grow_moments=grow_moments)
    moments = {b: {n: torch.ones_like(t) for n, t in source.weights.items()} for b in "mv"}
    carried = replace(source, carried=Carried(moments, 3.0))
    with pytest.raises(MethodError, match="changed the source's m that it was given"):
        begin(monkeypatch, entry, carried, optimizer="carry")


def test_ours_are_asked_once_and_others_twice(monkeypatch):
    calls = []
    theirs = entry_of(lambda w, i, r: (calls.append(1), deeper(w, i))[1])
    weights, init = start_of(RUN), start_of(replace(RUN, model=BIG))
    given = (weights, Decoder(SMALL, {}), Decoder(BIG, {}), init, lambda: generator("growth", 0))
    grown(theirs, *given, {})
    assert len(calls) == 2
    monkeypatch.setattr("mugrow.bench.guarded.is_ours", lambda entry: True)
    grown(theirs, *given, {})
    assert len(calls) == 3
    monkeypatch.undo()
    assert is_ours(method("stack"))
    assert not is_ours(replace(method("stack")))  # another's, under its name


def test_a_lack_of_memory_is_no_mistake_of_the_methods(monkeypatch, source):
    def grow(weights, init, rng):
        raise MemoryError

    with pytest.raises(MemoryError):
        begin(monkeypatch, entry_of(grow), source)


def test_generators_are_put_back_when_a_method_raises():
    before = torch.get_rng_state()

    def draws_and_raises():
        with own_generators(generator("growth", 0)):
            torch.rand(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draws_and_raises()
    assert torch.equal(torch.get_rng_state(), before)


def stops():
    raise BaseException("no Exception at all")


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"name": "a\nb"}, r"a method's name must be .* not 'a\\nb'"),
        ({"name": "../x"}, "not '../x'"),
        ({"name": ""}, "not ''"),
        ({"name": 7}, "not 7"),
        ({"axes": 3}, "axes of method 'theirs' must be a tuple of width and depth, not 3"),
        ({"axes": ("heads",)}, r"not \('heads',\)"),
        ({"supports": None}, "supports of method 'theirs' must be a function"),
        ({"grow": None}, "grow of method 'theirs' must be a function"),
    ],
)
def test_a_fact_that_cannot_be_is_told_when_it_is_said(fact, said):
    with pytest.raises(UserError, match=said):
        replace(entry_of(lambda w, i, r: deeper(w, i)), **fact)
