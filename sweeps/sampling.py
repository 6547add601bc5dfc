"""Optuna's samplers as a pure function: the outcomes so far -> the next points to try.

Nothing of Optuna is stored: a study in memory is filled with the past and asked, then dropped.
That a replay asks for the same points takes three things:

* the sampler is built anew for each trial, seeded by (sweep, trial number). One that goes on from
  a seed repeats itself on resume: its random stream restarts, the trials do not;
* Optuna sees whole numbers, places on the two axes, which no rounding can move;
* every default that has changed between Optuna's releases is passed by name.

A Sobol sequence is a stateful sampler: Optuna counts its place in the study it is asked for, so the
trials of the past are asked for again instead of filled in.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

STARTUP_TRIALS = 10
OUTCOME_BLIND = ("grid", "qmc")  # their points do not depend on what earlier ones found
AXES = ("log2_lr_place", "init_std_place")
Point = tuple[int, int]  # places on the axes


@dataclass(frozen=True)
class Space:
    """What is searched: ``sizes`` are the numbers of places on the axes. ``name`` is the seed."""

    name: str
    sampler: str
    sizes: tuple[int, int]

    @property
    def free(self) -> dict[str, int]:
        """The axes that leave a choice, with their sizes."""
        sizes = zip(AXES, self.sizes, strict=True)
        return {axis: size for axis, size in sizes if size > 1}


class Told(NamedTuple):
    """An ended trial; ``value`` is None unless it is complete."""

    point: Point
    state: Literal["complete", "pruned", "failed"]
    value: float | None


@lru_cache(maxsize=256)
def ask(space: Space, history: tuple[Told, ...], count: int) -> tuple[Point, ...]:
    """The next ``count`` points after the trials of ``history``, all asked for at once."""
    past = () if space.sampler in OUTCOME_BLIND else history
    with quiet():
        study = optuna.create_study(direction="minimize")
        for told in past:
            study.add_trial(_past_trial(space, told))
        if space.sampler == "grid":
            for point in _grid(space):
                study.enqueue_trial(dict(zip(AXES, point, strict=True)))
        points = []
        for number in range(len(past), len(history) + count):
            study.sampler = _sampler(space, number)
            points.append(_suggest(space, study.ask()))
    return tuple(points[-count:])


def _suggest(space: Space, trial: optuna.Trial) -> Point:
    places = {axis: trial.suggest_int(axis, 0, size - 1) for axis, size in space.free.items()}
    lr, init = (places.get(axis, 0) for axis in AXES)
    return lr, init


def _past_trial(space: Space, told: Told) -> optuna.trial.FrozenTrial:
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    places = dict(zip(AXES, told.point, strict=True))
    return create_trial(
        state=TrialState[states[told.state]],
        value=told.value,
        params={axis: places[axis] for axis in space.free},
        distributions={axis: IntDistribution(0, size - 1) for axis, size in space.free.items()},
    )


def _grid(space: Space) -> list[Point]:
    """All learning rates at one initial scale, then at the next."""
    lrs, inits = space.sizes
    return [(lr, init) for init in range(inits) for lr in range(lrs)]


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
