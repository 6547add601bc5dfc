"""Which budget lines a study needs: for every target, what its grown arms are compared with.

What an arm has paid, its *charge*, is known before anything trains: the FLOPs of its own steps, of
those that its method learns on, and of its sources' up to the checkpoints used. So

    scratch          a line of the target's shape, at the study's ``budgets``
    own sources      a line of each last source, at the charges of the arms grown from it
    the front        a line of each shape of the study's ``front``, at the charges of all arms

A shape of the front that is a source's or a target's has no line beside theirs; a source's then
has a budget at all charges. A source may serve several targets.
Which budgets scratch has beyond the first three depends on the losses that come out, so lines are
asked for anew as runs end. A budget's runs are one stack, its seeds: what is added later changes
nothing of what has been trained.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mugrow.analysis.measure.equal_compute import BudgetLine, ChargedArm, difference
from mugrow.analysis.measure.equal_compute import budget_line as line_of
from mugrow.bench.flops import per_token
from mugrow.bench.growth import method as growth_method
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import ModelSpec, RunSpec
from mugrow.sweeps.budgets import Budget, bracketing, budget_line
from mugrow.sweeps.search import Finished
from mugrow.sweeps.study import BASELINE, Study

Chain = Sequence[RunSpec]  # a source, what is grown between, and the target

LEAST_BUDGETS = 3


@dataclass(frozen=True)
class Line:
    """A line of all seeds: for each of its budgets, in ascending order, one entry a seed, and what
    it is charged. ``whole`` are runs that end a budget and are planned elsewhere: scratch's."""

    budgets: tuple[tuple[Budget, ...], ...]
    flops: tuple[float, ...]
    whole: tuple[RunSpec, ...] = ()

    def losses(self, finished: Finished) -> BudgetLine | None:
        """Its final losses; None until all of its runs have ended."""
        ends = dict(zip(self.flops, self.budgets, strict=True))
        runs = {flops: [budget.final for budget in budgets] for flops, budgets in ends.items()}
        if self.whole:
            runs[charge(self.whole[:1])] = list(self.whole)
        every = [run.run_id for each in runs.values() for run in each]
        if not all(run_id in finished for run_id in every):
            return None
        return line_of({flops: _by_seed(each, finished) for flops, each in runs.items()})


@dataclass(frozen=True)
class Baselines:
    """The lines of a study's targets: scratch by shape, sources by the run ids of their seeds, and
    the front's other shapes."""

    scratch: Mapping[ModelSpec, Line]
    sources: Mapping[tuple[str, ...], Line]
    front: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        return (*self.scratch.values(), *self.sources.values(), *self.front)

    def of(self, arm: Sequence[Chain], against: str) -> Line | None:
        """What an arm is compared with: ``scratch``, or its ``own source``."""
        if against == BASELINE:
            return self.scratch.get(arm[0][-1].model)
        return self.sources.get(_source_ids(arm)) if len(arm[0]) > 1 else None

    def differences(
        self, arm: Sequence[Chain], against: str, finished: Finished
    ) -> dict[int, float] | None:
        """By seed, an arm's final loss minus that of what it is compared with at its charge, in
        nats per token; None until all of their runs have ended, and nothing where there is no
        line."""
        targets = [chain[-1] for chain in arm]
        line = self.of(arm, against)
        if line is None:
            return {}
        losses = line.losses(finished)
        if losses is None or not all(run.run_id in finished for run in targets):
            return None
        charged = ChargedArm(_by_seed(targets, finished), charge(arm[0]))
        return dict(difference(charged, losses).by_seed)


def charge(chain: Chain) -> float:
    """FLOPs that the last run of a chain and all before it take."""
    return sum((run.train_steps + _learning_steps(run)) * step_flops(run) for run in chain)


def step_flops(run: RunSpec) -> float:
    return run.batch_tokens * per_token(run.model)


def horizon_at(chain: Chain, charged: float) -> int:
    """The step of its schedule at which the last run of a chain, trained on, has been charged so
    much with all before it."""
    last = chain[-1]
    return last.last_step + round((charged - charge(chain)) / step_flops(last))


def trained_on(
    source: RunSpec, horizons: Iterable[int], final_val_tokens: int
) -> tuple[Budget, ...]:
    """A source's own line: what it has trained is the first of the trunk, where there is one. Of
    one that has cooled down the line is begun anew."""
    uncooled = source.last_step <= cooldown_start(source.schedule, source.steps)
    trunk = (source,) if source.schedule.kind == "wsd" and uncooled else ()
    return budget_line(source, horizons, final_val_tokens, trunk)


def _learning_steps(run: RunSpec) -> int:
    """Those on which the method itself is trained."""
    entry = growth_method(run.start.method)
    if entry.learning_steps is None:
        return 0
    return int((entry.params | dict(run.start.params))[entry.learning_steps])


def baselines(
    study: Study, chains: Iterable[Sequence[Chain]], finished: Finished | None
) -> Baselines:
    """The lines that these arms need, given the runs that have ended; None for all that they may
    need. An arm is its chains, one a seed; one of a single run that is not grown is scratch.
    Nothing for a target that nothing is grown into."""
    arms: dict[ModelSpec, list[Sequence[Chain]]] = {}
    scratch: dict[ModelSpec, Sequence[RunSpec]] = {}
    for arm in chains:
        target = arm[0][-1]
        if len(arm[0]) == 1 and target.start.method == BASELINE:
            scratch[target.model] = [chain[-1] for chain in arm]
        else:
            arms.setdefault(target.model, []).append(arm)
    grown = {model: arms[model] for model in scratch if model in arms}
    if not study.budgets or not grown:
        return Baselines({}, {})
    charges = sorted({charge(arm[0]) for of_target in grown.values() for arm in of_target})
    sources: dict[tuple[str, ...], Sequence[Chain]] = {}
    of_source: dict[tuple[str, ...], set[float]] = {}
    for of_target in grown.values():
        for arm in of_target:
            if len(arm[0]) > 1:
                key = _source_ids(arm)
                sources[key] = [chain[:-1] for chain in arm]
                of_source.setdefault(key, set()).add(charge(arm[0]))
    on_front = [study.shape(shape.width, shape.depth) for shape in study.front]
    there = {source[0][-1].model for source in sources.values()} | grown.keys()
    any_scratch = next(iter(scratch.values()))
    return Baselines(
        scratch={
            model: _scratch_line(study, scratch[model], arms_of, finished)
            for model, arms_of in grown.items()
        },
        sources={
            key: _source_line(
                study, source, charges if source[0][-1].model in on_front else of_source[key]
            )
            for key, source in sources.items()
        },
        front=tuple(
            _front_line(study, [replace(run, model=model) for run in any_scratch], charges)
            for model in on_front
            if model not in there
        ),
    )


def _source_ids(arm: Sequence[Chain]) -> tuple[str, ...]:
    return tuple(chain[-2].run_id for chain in arm)


def _scratch_line(
    study: Study,
    scratch: Sequence[RunSpec],
    arms: Sequence[Sequence[Chain]],
    finished: Finished | None,
) -> Line:
    """At the study's budgets, as far as they are needed, but 1, which is scratch itself."""
    own = charge([scratch[0]])
    multiples = list(study.budgets)
    one = multiples.index(1)
    highest = max(charge(arm[0]) for arm in arms) / own
    covering = next((i for i, m in enumerate(multiples) if i >= one and m >= highest), None)
    last = len(multiples) - 1 if covering is None else covering
    upwards, others = range(one, last + 1), range(last + 1, len(multiples))
    preferred = [*upwards, *reversed(range(one)), *others]
    first = preferred[: max(len(upwards), LEAST_BUDGETS)]

    horizons = [round(multiple * study.target_steps) for multiple in multiples]
    cut = [horizon for horizon in horizons if horizon != study.target_steps]
    by_seed = [_by_horizon(budget_line(run, cut, study.final_val_tokens)) for run in scratch]

    if finished is None:
        return replace(_zipped(by_seed, set(cut), ()), whole=tuple(scratch))

    def final(place: int) -> list[RunSpec]:
        if place == one:
            return list(scratch)
        return [of_seed[horizons[place]].final for of_seed in by_seed]

    chosen = bracketing(
        first,
        len(multiples),
        lambda place: _mean_loss(final(place), finished),
        [_mean_loss([chain[-1] for chain in arm], finished) for arm in arms],
    )
    line = _zipped(by_seed, {horizons[place] for place in chosen}, ())
    return replace(line, whole=tuple(scratch))


def _source_line(study: Study, sources: Sequence[Chain], charges: Iterable[float]) -> Line:
    """The source trained on until it has been charged as much; first to the end of its own
    schedule, where the line begins."""
    paid = charge(sources[0])
    horizons = {horizon_at(sources[0], charged) for charged in charges if charged > paid}
    horizons.add(sources[0][-1].steps)
    by_seed = [
        _by_horizon(trained_on(chain[-1], horizons, study.final_val_tokens)) for chain in sources
    ]
    return _zipped(by_seed, horizons, sources[0][:-1])


def _front_line(study: Study, first: Sequence[RunSpec], charges: Sequence[float]) -> Line:
    """From half of the lowest charge on."""
    step = step_flops(first[0])
    horizons = {round(charged / step) for charged in (*charges, min(charges) / 2)}
    by_seed = [_by_horizon(budget_line(run, horizons, study.final_val_tokens)) for run in first]
    return _zipped(by_seed, horizons, ())


def _by_horizon(budgets: Iterable[Budget]) -> dict[int, Budget]:
    return {budget.horizon: budget for budget in budgets}


def _zipped(
    by_seed: Sequence[Mapping[int, Budget]], horizons: Iterable[int], before: Chain
) -> Line:
    """The line at these horizons, each charged what came ``before`` its first run too."""
    there = sorted(set(horizons) & by_seed[0].keys())
    first = [by_seed[0][horizon] for horizon in there]
    return Line(
        budgets=tuple(tuple(of_seed[horizon] for of_seed in by_seed) for horizon in there),
        flops=tuple(charge([*before, *budget.trunk, budget.final]) for budget in first),
    )


def _by_seed(runs: Iterable[RunSpec], finished: Finished) -> dict[int, float]:
    """Final losses of those that have one."""
    losses = {run.seed: finished[run.run_id]["final_val_loss"] for run in runs}
    return {seed: float(loss) for seed, loss in losses.items() if loss is not None}


def _mean_loss(runs: Sequence[RunSpec], finished: Finished) -> float | None:
    """Over seeds; None until all have ended, nan where one of them has no loss."""
    rows = [finished.get(run.run_id) for run in runs]
    if any(row is None for row in rows):
        return None
    losses = [row["final_val_loss"] for row in rows if row is not None]
    return fmean(float("nan") if loss is None else loss for loss in losses)
