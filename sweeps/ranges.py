"""What a study's search means under each of its parametrizations.

A study's ``log2_lr`` and ``init_std`` are meant for its first parametrization. Under one that is
searched elsewhere (``mugrow.bench.parametrization.SearchRange``), and decays otherwise, they are

    learning rates   the same grid, moved by the distance of the two ranges' middles
    initial scale    the middle of the other's own range
    weight decay     where the other's is independent of the learning rate, and the study's is not:
                     weight_decay * 2^-7.5, what AdamW decays by in the middle of its range

so muP at 2^-10 to 2^-5.5 is beside unit-scaled muP at 2^-3.5 to 2^1, with an initial scale of 1.
SP and CompleteP have muP's range, so a study of these is what it says, number by number.
Decay that a study itself sets to independent, or to none, is left alone.

A grid whose middle is more than ``FAR`` outside the range is a mistake, and refused: all its models
would train badly, and nothing would say why.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from mugrow.bench import optim
from mugrow.bench.parametrization import ADAMW, SearchRange, parse
from mugrow.bench.spec import FixedHyper, UserError
from mugrow.sweeps.study import Study

FAR = 3.0  # log2


def log2_lr(study: Study, parametrization: str) -> tuple[float, ...]:
    """The study's grid under one of its parametrizations."""
    pair = _pair(study, parametrization)
    if pair is None:
        return study.log2_lr
    first, own = pair
    away = own.middle_log2_lr - first.middle_log2_lr
    return tuple(rate + away for rate in study.log2_lr)


def base_init_std(study: Study, parametrization: str) -> float:
    """The initial scale of a sweep under one of its parametrizations that does not search it."""
    pair = _pair(study, parametrization)
    if pair is None or pair[0].init_std == pair[1].init_std:
        return study.base_init_std
    return pair[1].middle_init_std


def hyper(study: Study, parametrization: str) -> FixedHyper:
    """The study's fixed hyperparameters under one of its parametrizations."""
    fixed = study.hyper
    entry, _ = parse(parametrization)
    if entry.decay == fixed.decay or entry.decay == "scaled" or not fixed.weight_decay:
        return fixed
    decay = fixed.weight_decay * math.exp2(ADAMW.middle_log2_lr)
    return replace(fixed, decay=entry.decay, weight_decay=decay)


def check(study: Study, parametrization: str) -> None:
    """Raise a ``UserError`` where the study searches far from where the parametrization trains."""
    own = _range(study, parametrization)
    if own is None:
        return
    rates = log2_lr(study, parametrization)
    scale = base_init_std(study, parametrization)
    logs = [math.log2(one) for one in own.init_std]
    if max(_outside(_middle(rates), own.log2_lr), _outside(math.log2(scale), logs)) <= FAR:
        return
    away = own.middle_log2_lr - _middle(study.log2_lr)
    wanted = ",".join(f"{rate + round(4 * away) / 4:g}" for rate in study.log2_lr)
    low, high = own.log2_lr
    raise UserError(
        f"parametrization {parametrization!r} trains at a log2_lr of {low:g} to {high:g} and an "
        f"init_std of {_span(own.init_std)}, not at {rates[0]:g} to {rates[-1]:g} and {scale:g}; "
        f"set log2_lr={wanted} init_std={own.middle_init_std:g}"
    )


def _pair(study: Study, parametrization: str) -> tuple[SearchRange, SearchRange] | None:
    """The ranges of the first parametrization and of this one, if both are known."""
    first, own = _range(study, study.parametrizations[0]), _range(study, parametrization)
    return None if first is None or own is None else (first, own)


def _range(study: Study, parametrization: str) -> SearchRange | None:
    """Where its best rates lie; unknown for an optimizer that steps as far as the gradient says."""
    by_gradient = optim.parse(study.optimizer)[0].step_size == "gradient"
    return None if by_gradient else parse(parametrization)[0].search


def _outside(value: float, bounds: Sequence[float]) -> float:
    """How far a value lies outside of its bounds; 0 inside."""
    return max(bounds[0] - value, value - bounds[1], 0.0)


def _middle(grid: Sequence[float]) -> float:
    return (grid[0] + grid[-1]) / 2


def _span(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
