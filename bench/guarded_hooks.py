"""Hooks that may be somebody else's: what a method does while its target trains, at every step.

They are held to what ``mugrow.bench.guarded`` asks of growing: global generators of their own,
seeded by the step, so that a run that is stopped goes on the same; what they are given stays as it
is; what they return can be trained with. They are asked twice at the first step alone. Whatever one
raises is the method's, and ends its runs and no others; an error of the disk beside it does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from threading import RLock
from typing import TypeVar

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, MethodError, blamed
from mugrow.bench.guarded import check_kept, check_same, copies, is_ours, own_generators
from mugrow.bench.model import Shapes, Weights, shapes
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import ModelSpec

Result = TypeVar("Result")
ONE_AT_A_TIME = RLock()  # threads that train members share the global generators


def guarded_hooks(
    entry: GrowthMethod, during: object, model: ModelSpec, alone: bool = False
) -> During:
    """The hooks of ``entry`` on a target ``model``. With ``alone`` they may not draw from the
    global generators at all, as `mugrow check` wants it. They raise ``MethodError``."""
    if not isinstance(during, During):
        found = type(during).__name__
        raise MethodError(f"method {entry.name!r} returned {found} from during, not its hooks")
    kind = _Blamed if is_ours(entry) else _Guarded
    hooks = kind(entry.name, during, model, alone)
    return During(
        lift=hooks.lift,
        used=hooks.used if during.used else None,
        rates=hooks.rates if during.rates else None,
        norm_mask=hooks.norm_mask if during.norm_mask else None,
    )


@dataclass(frozen=True)
class _Blamed:
    """Hooks of ours, whose mistakes have a name."""

    name: str
    during: During
    model: ModelSpec
    alone: bool

    def lift(self, start: Weights) -> Weights:
        with blamed(self.name):
            return self.during.lift(start)

    def used(self, trained: Weights, t: int, rng: torch.Generator | None) -> Weights:
        assert self.during.used is not None
        with blamed(self.name):
            return self.during.used(trained, t, rng)

    def rates(self, t: int) -> Mapping[str, float | Tensor]:
        assert self.during.rates is not None
        with blamed(self.name):
            return self.during.rates(t)

    def norm_mask(self, t: int) -> Tensor | None:
        assert self.during.norm_mask is not None
        with blamed(self.name):
            return self.during.norm_mask(t)


class _Guarded(_Blamed):
    """Hooks of others."""

    def lift(self, start: Weights) -> Weights:
        given = copies(start)
        call = partial(super().lift, given)
        once, again = (self._asked("lift", call, generator("lift")) for _ in range(2))
        self._check("lift", _no_tensors(once) or _not_finite(once))
        check_kept(self.name, given, start, "the weights to lift")
        check_same(self.name, once, again)
        return once

    def used(self, trained: Weights, t: int, rng: torch.Generator | None) -> Weights:
        before, state = copies(trained), None if rng is None else rng.get_state()
        call = partial(super().used, trained, t, rng)
        seed = generator("used", t) if rng is None else rng
        once = self._asked("used", call, seed)
        self._check("used", _no_tensors(once) or _of_other_shapes(once, shapes(self.model)))
        check_kept(self.name, trained, before, "the weights in training")
        if t == 0:
            if rng is not None and state is not None:
                rng.set_state(state)
            check_same(self.name, once, self._asked("used", call, seed))
        return once

    def rates(self, t: int) -> Mapping[str, float | Tensor]:
        found = self._asked("rates", partial(super().rates, t), generator("rates", t))
        with blamed(self.name):
            self._check("rates", _no_rates(found, self._of_trained))
        return found

    def norm_mask(self, t: int) -> Tensor | None:
        found = self._asked("norm_mask", partial(super().norm_mask, t), generator("norm_mask", t))
        if found is not None:
            self._check("norm_mask", _no_mask(found, (self.model.width,)))
        return found

    @cached_property
    def _of_trained(self) -> Shapes:
        zeros = {name: torch.zeros(shape) for name, shape in shapes(self.model).items()}
        return {name: tuple(tensor.shape) for name, tensor in self.lift(zeros).items()}

    def _asked(self, hook: str, call: Callable[[], Result], rng: torch.Generator) -> Result:
        with ONE_AT_A_TIME, own_generators(rng, f"{hook} of {self.name}" if self.alone else None):
            return call()

    def _check(self, hook: str, wrong: str | None) -> None:
        if wrong:
            raise MethodError(f"method {self.name!r} returned from {hook} {wrong}")


def _no_tensors(found: object) -> str | None:
    if not isinstance(found, Mapping):
        return f"{type(found).__name__}, not tensors by name"
    for name, one in found.items():
        if not isinstance(one, Tensor) or not one.is_floating_point():
            return f"{name} as {str(one)[:40]!r}, not a tensor of floats"
    return None


def _not_finite(tensors: Weights) -> str | None:
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if not tensors:
        return "no tensors"
    return f"{broken[0]} with numbers not finite" if broken else None


def _of_other_shapes(tensors: Weights, wanted: Shapes) -> str | None:
    if tensors.keys() != wanted.keys():
        return f"other tensors than the model's: {min(tensors.keys() ^ wanted.keys())}"
    for name, shape in wanted.items():
        if (found := tuple(tensors[name].shape)) != tuple(shape):
            return f"{name} of the shape {found}, not {tuple(shape)}"
    return None


def _no_mask(found: object, shape: tuple[int, ...]) -> str | None:
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        return f"no tensor of the shape {shape}"
    return None if found.isfinite().all() else "numbers not finite"


def _no_rates(found: object, trained: Shapes) -> str | None:
    if not isinstance(found, Mapping):
        return f"{type(found).__name__}, not rates by name"
    for name, rate in found.items():
        if name not in trained:
            return f"a rate of {name}, which is not trained"
        if not torch.as_tensor(rate).isfinite().all():
            return f"a rate of {name} that is not finite"
        torch.as_tensor(rate).expand(trained[name])
    return None
