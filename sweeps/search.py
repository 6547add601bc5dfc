"""The search of one sweep, in generations of trials, replayed from the runs that have ended.

A sweep is one proxy under one parametrization, searched over the base learning rate and the
initial scale; the one that is transferred from also over multipliers of modules, where a study has
any (``mugrow.bench.modules``). A generation of trials is asked for at once and trains as one stack,
a run for each trial and seed; when all have ended their outcomes are told, in the order of their
numbers, and the next generation is asked for. A trial's value is the mean over seeds of the final
validation loss.

No state of the search is stored. The finished runs decide the outcomes, the outcomes decide the
next trials (``mugrow.sweeps.sampling``), so a search that was killed is replayed from the runs it
left. The learning rate's axis has steps of 1/8 in log2, so rounding cannot make a replay drift.

A sampler may ask for the same point twice. It is then the same runs, trained and billed once.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from mugrow.bench import growth, optim
from mugrow.bench.flops import per_token
from mugrow.bench.parametrization import canonical, parse
from mugrow.bench.spec import DataSpec, ModelSpec, Multiplier, RunSpec, UserError
from mugrow.sweeps import ranges
from mugrow.sweeps.module_range import ModuleRange
from mugrow.sweeps.override import override
from mugrow.sweeps.sampling import OUTCOME_BLIND, Point, Space, Told, ask
from mugrow.sweeps.study import MOST_TRIALS, Proxy, Study

STEPS_PER_LOG2 = 8

State = Literal["waiting", "complete", "pruned", "diverged", "failed"]
Finished = Mapping[str, Mapping[str, Any]]  # run id -> row of runs.parquet, of ended runs


@dataclass(frozen=True)
class Search:
    """One proxy under one parametrization. ``data`` pins the corpus of its runs; a ``whole`` search
    is over initial scales and multipliers too: that of the sweep that is transferred from, and of a
    variant that changes which multipliers are searched. The ``study`` of a variant is the study
    with its changes."""

    study: Study
    data: DataSpec
    parametrization: str
    proxy: Proxy
    variant: str = ""
    whole: bool = False

    @cached_property
    def name(self) -> str:
        """The sweep's name in the tables: ``mup-w32-d2``, and what else tells it apart."""
        parts = [self.parametrization, f"w{self.proxy.width}", f"d{self.proxy.depth}"]
        parts += [f"tokens{self.proxy.tokens:g}"] * (self.proxy.tokens != 1)
        parts += [f"batch{self.proxy.batch}"] * (self.proxy.batch != 1)
        return "-".join([*parts, self.variant] if self.variant else parts)

    @property
    def model(self) -> ModelSpec:
        """The shape that is trained."""
        return self.study.shape(self.proxy.width, self.proxy.depth)

    @property
    def init_std(self) -> tuple[float, ...]:
        """The initial scales searched; one, where the search is not ``whole``."""
        return self.study.init_std if self.whole else (self.base_init_std,)

    @property
    def base_init_std(self) -> float:
        """The initial scale where it is not searched."""
        return ranges.base_init_std(self.study, self.parametrization)

    @property
    def log2_lr(self) -> tuple[float, ...]:
        """The axis: the study's own points for ``grid``, else steps of 1/8 across their range; by
        ``mugrow.sweeps.ranges`` where the parametrization's lies elsewhere."""
        points = ranges.log2_lr(self.study, self.parametrization)
        if self.study.sampler == "grid":
            return points
        low, high = points[0], points[-1]
        return tuple(
            low + step / STEPS_PER_LOG2 for step in range(int((high - low) * STEPS_PER_LOG2) + 1)
        )

    @property
    def budget(self) -> int:
        """How many trials it has."""
        if self.study.sampler == "grid":
            return len(self.log2_lr) * len(self.init_std)
        flops = self.study.search_flops
        if flops is None:
            return self.study.trials
        runs = self.specs(self.log2_lr[0], self.base_init_std)
        trial_flops = sum(run.tokens * per_token(run.model) for run in runs)
        if flops < trial_flops:
            raise UserError(
                f"search_flops {flops:g} pay for no trial of {self.name}; the nearest that do: "
                f"{trial_flops:g}"
            )
        if flops // trial_flops > MOST_TRIALS:
            raise UserError(
                f"search_flops {flops:g} pay for more than {MOST_TRIALS} trials of {self.name}; at "
                f"most {MOST_TRIALS * trial_flops:g}"
            )
        return int(flops // trial_flops)

    @property
    def space(self) -> Space:
        """What a sampler sees of the sweep."""
        study, names = self.study, tuple(one.name for one in self.modules)
        sizes = tuple(map(len, self.axes))
        return Space(f"{study.name}/{self.name}", study.sampler, sizes, names, study.generation)

    @property
    def modules(self) -> tuple[ModuleRange, ...]:
        """The multipliers searched; none, where the search is not ``whole``."""
        return self.study.modules if self.whole else ()

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """The places of what is searched: log2 rates, initial scales, log2 of each multiplier."""
        return self.log2_lr, self.init_std, *(one.log2_times for one in self.modules)

    def specs(
        self, log2_lr: float, init_std: float, log2_modules: tuple[float, ...] = ()
    ) -> tuple[RunSpec, ...]:
        """The runs of one trial, one for each seed, with multipliers of 1 where none are given: the
        same objects whenever they are asked for, for a study is planned again whenever a stack has
        ended."""
        point = (log2_lr, init_std, *log2_modules)
        if point not in self._made:
            self._made[point] = self._specs(log2_lr, init_std, log2_modules)
        return self._made[point]

    @cached_property
    def _made(self) -> dict[tuple[float, ...], tuple[RunSpec, ...]]:
        return {}

    def _specs(
        self, log2_lr: float, init_std: float, log2_modules: tuple[float, ...]
    ) -> tuple[RunSpec, ...]:
        study, proxy, model = self.study, self.proxy, self.model
        fixed = ranges.hyper(study, self.parametrization)
        searched = (
            Multiplier(one.name, math.exp2(log2))
            for one, log2 in zip(self.modules, log2_modules, strict=False)
        )
        fixed = replace(fixed, modules=(*fixed.modules, *searched))
        hyper = fixed.at(lr=math.exp2(log2_lr), init_std=init_std)
        optimizer = optim.canonical(study.optimizer)
        steps = round(study.proxy_steps * proxy.tokens / proxy.batch)
        return tuple(
            RunSpec(
                model=model,
                base=study.model,
                parametrization=self.parametrization,
                hyper=hyper,
                optimizer=optimizer,
                precision=study.precision,  # type: ignore[arg-type]  # checked there
                schedule=study.schedule,
                data=self.data,
                batch_sequences=study.batch_sequences * proxy.batch,
                steps=steps,
                step_ratio=step_ratio(study, self.parametrization, steps),
                log_every=study.log_every,
                seed=seed,
                data_seed=seed,
            )
            for seed in study.seeds
        )


def step_ratio(study: Study, parametrization: str, steps: int) -> float:
    """How many steps of the smallest proxy, where hyperparameters are meant, one step of a run of
    so many stands for; 1 under a parametrization without a rule for batch and duration."""
    entry, _ = parse(parametrization)
    return 1.0 if entry.at_step_ratio is None else study.proxy_steps / steps


@lru_cache(maxsize=16)
def searches(study: Study, data: DataSpec) -> tuple[Search, ...]:
    """All sweeps of a study, the one that is transferred from first. Raises ``UserError`` for
    parametrizations, optimizers and settings that do not exist or do not go together, and for a
    search far from where a parametrization trains."""
    found = [
        Search(study, data, canonical(text), proxy, whole=(place, proxy) == (0, study.proxies[0]))
        for place, text in enumerate(study.parametrizations)
        for proxy in study.proxies
    ]
    for variant in study.variants:
        varied = override(study, variant.changes)
        found += [
            Search(
                varied,
                data,
                canonical(varied.parametrizations[0]),
                proxy,
                variant.name,
                whole=varied.modules != study.modules and proxy == varied.proxies[0],
            )
            for proxy in varied.proxies
        ]
    for sweep in found:
        ranges.check(sweep.study, sweep.parametrization)
        ends = tuple(zip(*((one.low, one.high) for one in sweep.modules), strict=True))
        for log2_modules in ends or ((),):
            run = sweep.specs(sweep.log2_lr[0], sweep.init_std[0], log2_modules)[0]
            optim.check_optimizer(run)
            for steps in _transferred_steps(study) if sweep is found[0] else ():
                ratio = step_ratio(study, run.parametrization, steps)
                optim.check_optimizer(replace(run, step_ratio=ratio))
    return tuple(found)


def _transferred_steps(study: Study) -> Iterator[int]:
    """Of what takes the hyperparameters found: all places that may be found must train there."""
    if study.ladder:
        yield study.target_steps
        if any(growth.method(method.name).needs_source for method in study.methods):
            yield study.source_steps


@dataclass(frozen=True)
class Trial:
    """One point of a sweep. ``value`` is the mean final loss over seeds, in nats per token, and
    ``None`` unless the trial is complete."""

    number: int
    generation: int
    log2_lr: float
    init_std: float
    specs: tuple[RunSpec, ...]
    state: State = "waiting"
    value: float | None = None
    log2_modules: tuple[float, ...] = ()  # of the multipliers searched

    @property
    def lr(self) -> float:
        """The base learning rate itself."""
        return math.exp2(self.log2_lr)


@dataclass(frozen=True)
class SearchState:
    """How far a sweep's search is. ``trials`` are all that were asked for, ended or waiting, by
    number. ``stand_ins`` are in place of those that cannot be asked for yet: as many, as dear,
    spread over the range of learning rates."""

    trials: tuple[Trial, ...]
    stand_ins: tuple[Trial, ...]

    @property
    def done(self) -> bool:
        """Whether every trial was asked for and has ended."""
        return not self.stand_ins and all(trial.state != "waiting" for trial in self.trials)


def replay(search: Search, finished: Finished) -> SearchState:
    """Ask for every trial that the finished runs allow. The same runs give the same trials."""
    trials: list[Trial] = []
    size = search.budget if search.study.sampler in OUTCOME_BLIND else search.study.generation
    while len(trials) < search.budget and all(trial.state != "waiting" for trial in trials):
        history = tuple(_told(search, trial) for trial in trials)
        points = ask(search.space, history, min(size, search.budget - len(trials)))
        trials += [
            _asked(search, number, point, finished)
            for number, point in enumerate(points, len(trials))
        ]
    return SearchState(tuple(trials), tuple(_stand_ins(search, len(trials))))


def _asked(search: Search, number: int, point: Point, finished: Finished) -> Trial:
    log2_lr, init_std, *modules = (
        axis[place] for axis, place in zip(search.axes, point, strict=True)
    )
    log2_modules = tuple(modules)
    specs = search.specs(log2_lr, init_std, log2_modules)
    found = trial_of(number, log2_lr, init_std, specs, finished)
    generation = number // search.study.generation
    return replace(found, generation=generation, log2_modules=log2_modules)


def trial_of(
    number: int, log2_lr: float, init_std: float, specs: tuple[RunSpec, ...], finished: Finished
) -> Trial:
    """A trial of generation 0 with the outcome that its runs have had so far."""
    state, value = _outcome([finished.get(spec.run_id) for spec in specs])
    return Trial(number, 0, log2_lr, init_std, specs, state, value)


def _outcome(rows: list[Mapping[str, Any] | None]) -> tuple[State, float | None]:
    """A trial stands and falls with all of its seeds."""
    ended = [row for row in rows if row is not None]
    if len(ended) < len(rows):
        return "waiting", None
    statuses = {row["status"] for row in ended}
    for bad in ("failed", "diverged", "pruned"):
        if bad in statuses:
            return bad, None
    return "complete", sum(row["final_val_loss"] for row in ended) / len(ended)


def _stand_ins(search: Search, asked: int) -> Iterator[Trial]:
    low, high = search.log2_lr[0], search.log2_lr[-1]
    init_std = search.base_init_std
    for number in range(asked, search.budget):
        log2_lr = low + (high - low) * (number + 0.5) / search.budget
        specs = search.specs(log2_lr, init_std)
        yield Trial(number, number // search.study.generation, log2_lr, init_std, specs)


def _told(search: Search, trial: Trial) -> Told:
    """A diverged trial is told as complete, with twice the loss of a uniform guess: worse than
    all that trained, so a sampler learns to stay away, and no further, since a huge value would
    flatten the differences that a Gaussian process has to see."""
    values = (trial.log2_lr, trial.init_std, *trial.log2_modules)
    point = tuple(axis.index(value) for axis, value in zip(search.axes, values, strict=True))
    if trial.state == "diverged":
        return Told(point, "complete", 2 * math.log(search.study.model.vocab_size))
    assert trial.state != "waiting"
    return Told(point, trial.state, trial.value)


def first_asked(trials: Iterable[Trial]) -> Iterator[tuple[Trial, list[RunSpec]]]:
    """Each trial with its own runs: none where an earlier trial is at the same point."""
    seen: set[str] = set()
    for trial in trials:
        yield trial, [spec for spec in trial.specs if spec.run_id not in seen]
        seen |= {spec.run_id for spec in trial.specs}


def trial_rows(
    name: str, search: Search, trials: Sequence[Trial], finished: Finished
) -> list[dict[str, Any]]:
    """Rows of ``trials.parquet``. A run asked for twice is on the first trial's bill."""
    return [
        {
            "study": search.study.name,
            "sweep": name,
            "parametrization": search.parametrization,
            "width": trial.specs[0].model.width,
            "depth": trial.specs[0].model.depth,
            "sampler": search.study.sampler,
            "number": trial.number,
            "generation": trial.generation,
            "state": trial.state,
            "lr": trial.lr,
            "init_std": trial.init_std,
            "modules": json.dumps(dict(trial.specs[0].hyper.modules)) if search.modules else None,
            "value": trial.value,
            "flops": sum(finished[s.run_id]["flops"] for s in specs if s.run_id in finished),
            "run_ids": [spec.run_id for spec in trial.specs],
        }
        for trial, specs in first_asked(trials)
    ]
