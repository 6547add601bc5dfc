"""Samplers as a pure function: the outcomes so far -> the next points to try.

Nothing of Optuna is stored: a study in memory is filled with the past and asked, then dropped.
That a replay asks for the same points takes three things:

* the sampler is built anew for each trial, seeded by (sweep, trial number). One that goes on from
  a seed repeats itself on resume: its random stream restarts, the trials do not;
* Optuna sees whole numbers, places on the two axes, which no rounding can move;
* every default that has changed between Optuna's releases is passed by name.

A Sobol sequence is a stateful sampler: Optuna counts its place in the study it is asked for, so the
trials of the past are asked for again instead of filled in.

Two are not Optuna's, for more axes than a model of the loss can be had of from few trials:

* ``trust``, a random search in a trust region (arXiv 2512.22382 has one, whose details could not be
  read; these are ours). A trial is uniform in a box around the best so far, at first the middle of
  all axes, which is also the first trial. The box's share of each axis grows by ``GROWS`` when a
  trial is the best yet and shrinks by the fourth root of that when it is not, so it stays where one
  in five is (Rechenberg's rule of success); it is never less than a place to either side;
* ``cmaes``, covariance matrix adaptation by the package of that name, where it is installed. Its
  state is made anew by asking for all past generations again.
"""

import hashlib
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from mugrow.bench.spec import UserError

STARTUP_TRIALS = 10
OUTCOME_BLIND = ("grid", "qmc")  # their points do not depend on what earlier ones found
AXES = ("log2_lr_place", "init_std_place")
Point = tuple[int, ...]  # places on the axes
GROWS = 1.5
CMA_SIGMA = 0.6  # at first, of an axis that reaches from -1 to 1


@dataclass(frozen=True)
class Space:
    """What is searched: ``sizes`` are the numbers of places on the axes, the two of ``AXES`` and
    ``more``. ``name`` is the seed; so many trials are a ``generation``."""

    name: str
    sampler: str
    sizes: tuple[int, ...]
    more: tuple[str, ...] = ()
    generation: int = 8

    @property
    def axes(self) -> tuple[str, ...]:
        """Their names."""
        return (*AXES, *self.more)

    @property
    def free(self) -> dict[str, int]:
        """The axes that leave a choice, with their sizes."""
        sizes = zip(self.axes, self.sizes, strict=True)
        return {axis: size for axis, size in sizes if size > 1}


class Told(NamedTuple):
    """An ended trial; ``value`` is None unless it is complete."""

    point: Point
    state: Literal["complete", "pruned", "failed"]
    value: float | None


@lru_cache(maxsize=256)
def ask(space: Space, history: tuple[Told, ...], count: int) -> tuple[Point, ...]:
    """The next ``count`` points after the trials of ``history``, all asked for at once. Raises
    ``UserError`` where a sampler's package is not installed."""
    if space.sampler in OURS:
        return OURS[space.sampler](space, history, count)
    past = () if space.sampler in OUTCOME_BLIND else history
    with quiet():
        study = optuna.create_study(direction="minimize")
        for told in past:
            study.add_trial(_past_trial(space, told))
        if space.sampler == "grid":
            for point in _grid(space):
                study.enqueue_trial(dict(zip(space.axes, point, strict=True)))
        points = []
        for number in range(len(past), len(history) + count):
            study.sampler = _sampler(space, number)
            points.append(_suggest(space, study.ask()))
    return tuple(points[-count:])


def _suggest(space: Space, trial: optuna.Trial) -> Point:
    places = {axis: trial.suggest_int(axis, 0, size - 1) for axis, size in space.free.items()}
    return tuple(places.get(axis, 0) for axis in space.axes)


def _past_trial(space: Space, told: Told) -> optuna.trial.FrozenTrial:
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    places = dict(zip(space.axes, told.point, strict=True))
    return create_trial(
        state=TrialState[states[told.state]],
        value=told.value,
        params={axis: places[axis] for axis in space.free},
        distributions={axis: IntDistribution(0, size - 1) for axis, size in space.free.items()},
    )


def _grid(space: Space) -> list[Point]:
    """All learning rates at one initial scale, then at the next."""
    places = product(*map(range, reversed(space.sizes)))
    return [tuple(reversed(point)) for point in places]


def _sampler(space: Space, number: int) -> BaseSampler:
    seed = _seed(space, number)
    random = RandomSampler(seed=seed)
    match space.sampler:
        case "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=STARTUP_TRIALS,
                n_ei_candidates=24,
                multivariate=True,
                constant_liar=True,
            )
        case "gp":
            return GPSampler(
                seed=seed,
                n_startup_trials=STARTUP_TRIALS,
                independent_sampler=random,
                deterministic_objective=False,
            )
        case "qmc":  # one sequence, so one seed
            return QMCSampler(
                qmc_type="sobol",
                scramble=True,
                seed=_seed(space, 0),
                independent_sampler=random,
                warn_independent_sampling=False,
            )
    return random


def _in_trust_region(space: Space, history: tuple[Told, ...], count: int) -> tuple[Point, ...]:
    sizes = np.array(space.sizes)
    best, lowest, share = (sizes - 1) // 2, math.inf, 1.0
    for told in history:
        if told.value is not None and told.value < lowest:
            best, lowest, share = np.array(told.point), told.value, min(1.0, share * GROWS)
        else:
            share /= GROWS**0.25
    reach = np.maximum(share * (sizes - 1) / 2, 1.0)
    points = []
    for number in range(len(history), len(history) + count):
        rng = np.random.Generator(np.random.Philox(_seed(space, number)))
        away = rng.uniform(-1, 1, len(sizes)) * reach * (number > 0)
        points.append(_nearest(space, best + away))
    return tuple(points)


def _by_cma(space: Space, history: tuple[Told, ...], count: int) -> tuple[Point, ...]:
    if space.generation < 2:
        raise UserError("generation must be at least 2 for sampler 'cmaes', not 1")
    try:
        from cmaes import CMA
    except ImportError:
        raise UserError(
            "sampler 'cmaes' needs the package cmaes: pip install cmaes; or take 'trust'"
        ) from None
    half = (np.array(space.sizes) - 1) / 2
    search = CMA(
        mean=np.zeros(len(half)),
        sigma=CMA_SIGMA,
        bounds=np.repeat([[-1.0, 1.0]], len(half), axis=0),
        seed=_seed(space, 0),
        population_size=space.generation,
    )
    worst = max((told.value for told in history if told.value is not None), default=0.0)
    for first in range(0, len(history) - space.generation + 1, space.generation):
        generation = history[first : first + space.generation]
        losses = (worst if told.value is None else told.value for told in generation)
        search.tell([(search.ask(), loss) for loss in losses])
    return tuple(_nearest(space, half + half * search.ask()) for _ in range(count))


def _nearest(space: Space, places: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Point:
    """On the axes."""
    last = np.array(space.sizes) - 1
    return tuple(int(place) for place in np.clip(np.rint(places), 0, last))


OURS = {"trust": _in_trust_region, "cmaes": _by_cma}


def _seed(space: Space, number: int) -> int:
    text = f"{space.name}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna announces each study it makes and each sampler it calls experimental. Verbosity and
    warning filters are as before when we leave."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
