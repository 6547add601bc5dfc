"""The letter of the contract: what ``grow`` returns, and what it leaves alone.

A result is the target's in names, shapes and dtype; it is a pure function of the source, the
target's draw and the generator's state; and it shares no storage with the source, since what is
trained next would change it. The value of each check is a number of tensors that are wrong, and
none may be.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mugrow.bench.checks.cases import Case, grow, initial, random_weights
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case
from mugrow.bench.growth import GrowthMethod, Moments
from mugrow.bench.guarded import generator_states, kept_generators, moved, seed_generators
from mugrow.bench.model import Weights, shapes
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import ModelSpec
from mugrow.bench.stack import Carried

NOBODYS_SEED = 3_141_592_653


@each_case("shapes")
def names_and_shapes(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """Names, shapes, dtype, and no number that is not finite."""
    grown = grow(entry, case, params, random_weights(case.small), initial(case)).weights
    return _none_wrong(_unlike_target(grown, case.big, torch.float64))


@each_case("seed")
def seed(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The same twice, to the bit, from the generator it is given and no other."""
    with left_alone() as wrong:
        once, again = (
            grow(entry, case, params, random_weights(case.small), initial(case)).weights
            for _ in range(2)
        )
    return _none_wrong(wrong + _changed(once, again, "differs when it is grown again"))


@each_case("source")
def source(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """What was given is as before, also after the result is written over."""
    given, init = random_weights(case.small), initial(case)
    kept = {name: tensor.clone() for name, tensor in given.items()}
    drawn = {name: tensor.clone() for name, tensor in init.items()}
    grown = grow(entry, case, params, given, init).weights
    wrong = _changed(kept, given, "of the source was changed")
    wrong += _changed(drawn, init, "of the target's draw was changed")
    for tensor in grown.values():
        tensor.zero_()
    if not wrong and entry.needs_source:
        wrong = _changed(kept, given, "of the result shares its storage with the source")
    return _none_wrong(wrong)


@each_case("dtype")
def dtype(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """Everything in the dtype of the source and the target's draw."""
    wrong = []
    for kind in (torch.float32, torch.bfloat16):
        given, init = random_weights(case.small, dtype=kind), initial(case, kind)
        grown = grow(entry, case, params, given, init).weights
        wrong += _unlike_target(grown, case.big, kind)
    return _none_wrong(wrong)


@each_case("moments")
def moments(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The optimizer's state, grown the same way: what is like a gradient, and like its square."""
    if entry.grow_moments is None:
        return CaseVerdict("skip", reason="the optimizer's state is not carried")
    given = random_moments(case.small)
    kept = Moments(*({name: t.clone() for name, t in part.items()} for part in given))
    with left_alone() as wrong:
        once, again = (grow_moments(entry, case, params, given) for _ in range(2))
    wrong += [f"m: {what}" for what in _unlike_target(once.m, case.big, torch.float64)]
    wrong += [f"v: {what}" for what in _unlike_target(once.v, case.big, torch.float64)]
    wrong += [f"v: {name} is negative" for name, t in once.v.items() if (t < 0).any()]
    for part, repeated, before, after in zip(once, again, kept, given, strict=True):
        wrong += _changed(part, repeated, "differs when it is grown again")
        wrong += _changed(before, after, "of the source's moments was changed")
    return _none_wrong(wrong)


@contextmanager
def left_alone() -> Iterator[list[str]]:
    """Whether the global generators are, in a list that is filled when this is left; they are put
    back, whatever happens. They begin where nobody's seed puts them: a method that seeds them moves
    them, though it did before."""
    wrong: list[str] = []
    with kept_generators():
        seed_generators(NOBODYS_SEED)
        seeded = generator_states()
        yield wrong
        wrong += [f"it {used}" for used in [moved(seeded)] if used]


def random_moments(spec: ModelSpec) -> Moments:
    """Moments of order one, by parameter name."""
    second = {name: tensor.square() for name, tensor in random_weights(spec, 3).items()}
    return Moments(random_weights(spec, 2), second)


def grow_moments(entry: GrowthMethod, case: Case, params: Params, given: Moments) -> Moments:
    """The moments of the target, from those of the source; the generator is the weights'."""
    assert entry.grow_moments is not None
    small, big = case.decoder(case.small), case.decoder(case.big)
    return Moments(*entry.grow_moments(given, small, big, generator("growth", 0), **params))


def grow_carried(entry: GrowthMethod, case: Case, params: Params, given: Carried) -> Carried:
    """AdamW's state, as a run that begins with it has it."""
    moments = grow_moments(entry, case, params, Moments(**given.buffers))
    return Carried(moments._asdict(), given.updates)


def _unlike_target(grown: Mapping[str, Tensor], target: ModelSpec, kind: torch.dtype) -> list[str]:
    """What is wrong with the tensors of a grown model."""
    wanted = shapes(target)
    wrong = [f"{name} is missing" for name in wanted.keys() - grown.keys()]
    wrong += [f"{name} is not a tensor of the target" for name in grown.keys() - wanted.keys()]
    for name in wanted.keys() & grown.keys():
        tensor = grown[name]
        if tuple(tensor.shape) != wanted[name]:
            wrong.append(f"{name} has shape {tuple(tensor.shape)}, not {wanted[name]}")
        elif tensor.dtype != kind:
            wrong.append(f"{name} is {tensor.dtype}, not {kind}")
        elif not tensor.isfinite().all():
            wrong.append(f"{name} holds numbers that are not finite")
    return sorted(wrong)


def _changed(before: Weights, after: Weights, what: str) -> list[str]:
    return [
        f"{name} {what}"
        for name, tensor in before.items()
        if name not in after or not torch.equal(tensor, after[name])
    ]


def _none_wrong(wrong: list[str]) -> CaseVerdict:
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return at_most(float(len(wrong)), 0.0, wrong[0] + more if wrong else "")
