"""The plan: which stacks of runs a study is made of, given the runs that have ended.

    proxies of a sweep -> its optimum -> sources at that optimum -> targets grown from them
                                                                 -> the same at other rates

``plan`` is pure. It is called at the start and again whenever a stack has ended: the stacks it
returns are all that are known so far, in an order in which each comes after what it depends on,
whether finished or not. How runs are grouped into stacks does not depend on what has finished, so
a resumed study trains the same programs. What cannot be known yet is in ``provisional``: the same
shapes, tokens and FLOPs, with a stand-in for the optimum, so that the whole can be priced.

Seeds: a proxy and a target of seed s train on the batches of data seed s, so all methods of a seed
see the same tokens. A source's data seed is s + 1,000,000: were it s, a grown target would meet
its source's first batches again, and its savings would be partly a second epoch's.
"""

import hashlib
import json
import math
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal

from mugrow.analysis.measure.sequential import Looks, decide
from mugrow.bench.arm import factors_of
from mugrow.bench.growth import check_growth, check_start, stages
from mugrow.bench.growth import method as growth_method
from mugrow.bench.parametrization import hyper_of
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec, Scalar, Start, UserError
from mugrow.bench.stack import stack_key
from mugrow.sweeps.baselines import Baselines, baselines
from mugrow.sweeps.budgets import Budget
from mugrow.sweeps.sampling import OUTCOME_BLIND
from mugrow.sweeps.search import (
    Finished,
    Search,
    Trial,
    first_asked,
    replay,
    searches,
    step_ratio,
    trial_of,
    trial_rows,
)
from mugrow.sweeps.stack_size import Gpus, StackSize
from mugrow.sweeps.study import BASELINE, STACK_WIDTH, Method, Step, Study
from mugrow.sweeps.transferred import Transferred, transferred

Arm = tuple[Step, Method]
Role = Literal["proxy", "source", "target", "trunk", "branch"]

SOURCE_DATA_SEEDS = 1_000_000
STAGE_DATA_SEEDS = 10_000_000


@dataclass(frozen=True)
class PlannedRun:
    """A run and its part in the study. ``sweep`` is the one whose trial it is, or whose optimum
    it uses; its bill is the run's tuning bill. ``arm`` is what a study that is written out run by
    run calls it, ``charged_flops`` what an imported model is said to have cost."""

    spec: RunSpec
    role: Role
    sweep: str
    trial: int | None = None
    arm: str | None = None
    charged_flops: float | None = None

    @property
    def factors(self) -> Mapping[str, Scalar]:
        """What its arm varies, by name; nothing without an arm."""
        return factors_of(self.arm)


@dataclass(frozen=True)
class PlannedStack:
    """Runs of one shape that train as one program. At each rung ``(step, keep)``, the ``keep``
    best trials go on."""

    runs: tuple[PlannedRun, ...]
    rungs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        assert len({stack_key(run.spec) for run in self.runs}) == 1, "members differ in shape"

    @cached_property
    def key(self) -> str:
        """Its identity: 16 hex digits of the sha256 of its runs' ids and its rungs."""
        text = json.dumps([[run.spec.run_id for run in self.runs], self.rungs])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def trials(self) -> tuple[int | None, ...]:
        """The trial of each member: seeds of one trial are pruned together."""
        return tuple(run.trial for run in self.runs)


@dataclass(frozen=True)
class SkippedGrowth:
    """A part of the ladder that is not run, and why."""

    step: Step
    method: Method
    reason: str


@dataclass(frozen=True)
class Plan:
    """``trials`` are rows of ``trials.parquet``; ``optima`` are of the sweeps done, by name."""

    stacks: tuple[PlannedStack, ...]
    provisional: tuple[PlannedStack, ...]
    trials: tuple[dict[str, Any], ...]
    optima: Mapping[str, Transferred]
    skipped: tuple[SkippedGrowth, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """The runs that are known, in the order of their stacks."""
        return tuple(run for stack in self.stacks for run in stack.runs)


def depends(stack: PlannedStack) -> frozenset[str]:
    """The run ids of the sources that must have ended before the stack can start."""
    sources = {run.spec.start.source_run_id for run in stack.runs}
    return frozenset(source for source in sources if source is not None)


def plan(
    study: Study,
    data: DataSpec,
    finished: Finished,
    *,
    most: bool = False,
    gpus: Gpus | None = None,
) -> Plan:
    """All that is known of a study's runs. ``finished`` maps the run ids of ended runs to rows of
    ``runs.parquet``. ``most``: what it comes to if no look decides an arm, and every budget is
    needed. ``gpus`` are what it trains on, if it does. Raises ``UserError`` for names and growths
    that no run can have."""
    size = stack_size(study, gpus)
    ladder, skipped = supported(study)
    all_searches = searches(study, data)
    states = {search.name: replay(search, finished) for search in all_searches}
    optima = {name: transferred(state.trials) for name, state in states.items() if state.done}
    known: list[PlannedStack] = []
    provisional: list[PlannedStack] = []
    for search in all_searches:
        known += _of_sweep(search, states[search.name].trials, size)
        provisional += _of_sweep(search, states[search.name].stand_ins, size)

    main = all_searches[0]
    best = optima.get(main.name, _stand_in(main))
    if best is None:
        reason = f"no trial of sweep {main.name} was completed, so there is no optimum to transfer"
        skipped += [SkippedGrowth(step, method, reason) for step, method in ladder]
    else:
        if most:
            grown = _all_looks(main, best, ladder, size)
        else:
            ended = finished if main.name in optima else {}
            grown = _until_decided(main, best, ladder, ended, size)
        (known if main.name in optima else provisional).extend(grown)
    billed = {search.name: (search, states[search.name].trials) for search in all_searches}
    if (found := optima.get(main.name)) is not None:
        billed |= {
            sweep_name(step, method): (main, _target_trials(main, found, step, method, finished))
            for step, method in ladder
            if method.sweep
        }
    return Plan(
        stacks=tuple(known),
        provisional=tuple(provisional),
        trials=tuple(
            row
            for name, (search, trials) in billed.items()
            for row in trial_rows(name, search, trials, finished)
        ),
        optima={name: optimum for name, optimum in optima.items() if optimum is not None},
        skipped=tuple(skipped),
    )


def stack_size(study: Study, gpus: Gpus | None) -> StackSize:
    """How a study's runs are put into stacks."""
    return StackSize(study.stack_width, gpus, STACK_WIDTH)


def supported(study: Study) -> tuple[list[tuple[Step, Method]], list[SkippedGrowth]]:
    """The ladder's steps with the methods that can take them. A method that can take some is
    skipped at the others, with its reason; one that can take none is the user's mistake."""
    reasons = {
        (step, method): _refusal(study, step, method)
        for step in study.ladder
        for method in study.methods
    }
    for step in study.ladder:
        source, target = shapes_of(study, step)
        smaller = target.width < source.width or target.depth < source.depth
        if smaller and not any(growth_method(method.name).shrinks for method in study.methods):
            raise UserError(f"a target of the ladder is smaller than its source: {step}")
    for method in study.methods:
        refusals = [reasons[step, method] for step in study.ladder]
        if refusals and None not in refusals:
            raise UserError(str(refusals[0]))
    taken = [pair for pair, reason in reasons.items() if reason is None]
    skipped = [
        SkippedGrowth(*pair, reason) for pair, reason in reasons.items() if reason is not None
    ]
    return taken, skipped


def _refusal(study: Study, step: Step, method: Method) -> str | None:
    source, target = shapes_of(study, step)
    entry = growth_method(method.name)
    try:
        check_growth(entry, source, target, dict(method.params))
        check_start(entry, method.start())
        if method.new_rate != 1 and source == target:
            raise UserError(
                f"{step} adds nothing to a source; leave new_rate of {method.name!r} at 1"
            )
    except UserError as error:
        return str(error)
    return None


def shapes_of(study: Study, step: Step) -> tuple[ModelSpec, ModelSpec]:
    source = study.shape(step.source_width, step.source_depth)
    return source, study.shape(step.target_width, step.target_depth)


def _of_sweep(search: Search, trials: Iterable[Trial], size: StackSize) -> list[PlannedStack]:
    """A stack for each generation, of the runs that no earlier trial has asked for; or as many
    trials as fit, where memory decides and no outcome does. One generation at a time would leave
    all processes but one idle, so a search that waits for outcomes is cut by a ``stack_width`` that
    the study states, where none of a generation is pruned."""
    generations: dict[int, list[PlannedRun]] = {}
    for trial, specs in first_asked(trials):
        planned = [PlannedRun(spec, "proxy", search.name, trial.number) for spec in specs]
        generations.setdefault(trial.generation, []).extend(planned)
    blind = search.study.sampler in OUTCOME_BLIND
    if size.by_memory is not None and blind and not search.study.rungs:
        return stacks_of(chain.from_iterable(generations.values()), {}, size)
    if search.study.stack_width is not None and not blind and not search.study.rungs:
        return [part for runs in generations.values() for part in stacks_of(runs, {}, size)]
    return [
        PlannedStack(tuple(runs), _rungs(search.study, len({run.trial for run in runs})))
        for runs in generations.values()
        if runs
    ]


def _rungs(study: Study, trials: int) -> tuple[tuple[int, int], ...]:
    return tuple(
        (max(1, round(rung.at * study.proxy_steps)), max(1, round(rung.keep * trials)))
        for rung in study.rungs
    )


def _stand_in(search: Search) -> Transferred:
    """The middle of the grid, in place of an optimum not known yet."""
    grid = search.study.log2_lr
    middle, init_std = grid[len(grid) // 2], search.study.base_init_std
    return Transferred(middle, init_std, loss=math.nan, edge=None, used="argmin")


def _until_decided(
    search: Search,
    best: Transferred,
    ladder: list[tuple[Step, Method]],
    finished: Finished,
    size: StackSize,
) -> list[PlannedStack]:
    """The stacks of ``_grown``; with ``looks``, of more seeds too, look by look, for the arms that
    are not decided yet and what they are compared with."""
    study = search.study
    looks = Looks(study.looks, study.error_rate) if study.looks else None
    stacks: list[PlannedStack] = []
    differences: dict[Arm, dict[int, float]] = {}
    for seeds in study.seeds_by_look:
        part = replace(search, study=replace(study, seeds=seeds, looks=()))
        new, arms, compared = _grown(part, best, ladder, finished, size)
        stacks += new
        if looks is None:
            break
        grown = {arm: chains for arm, chains in arms.items() if arm[1].name != BASELINE}
        for arm, chains in grown.items():
            found = compared.differences(chains, study.against, finished)
            if found is None:
                return stacks
            differences[arm] = differences.get(arm, {}) | found
        undecided = {arm for arm in grown if decide(differences[arm], looks).state == "go on"}
        if not undecided:
            break
        shapes = {shapes_of(study, step)[1] for step, _ in undecided}
        ladder = [
            (step, method)
            for step, method in ladder
            if (step, method) in undecided
            or (method.name == BASELINE and shapes_of(study, step)[1] in shapes)
        ]
    return stacks


def _all_looks(
    search: Search, best: Transferred, ladder: list[tuple[Step, Method]], size: StackSize
) -> list[PlannedStack]:
    """The stacks of all arms at all looks, with scratch at all budgets."""
    stacks: list[PlannedStack] = []
    for seeds in search.study.seeds_by_look:
        part = replace(search, study=replace(search.study, seeds=seeds, looks=()))
        stacks += _grown(part, best, ladder, None, size)[0]
    return stacks


def _grown(
    search: Search,
    best: Transferred,
    ladder: list[tuple[Step, Method]],
    finished: Finished | None,
    size: StackSize,
) -> tuple[list[PlannedStack], dict[Arm, list[list[RunSpec]]], Baselines]:
    """Stacks of all sources, of what is grown between them and the targets, and of all targets,
    with the hyperparameters of ``best``; then of the budget lines that they are compared with. Runs
    of one shape are sorted by seed, so that those compared with each other train together. Beside
    them the arms, and what they are compared with; without ``finished`` at all budgets."""
    levels: list[dict[str, PlannedRun]] = [{}]  # level 0 the sources, then one for each stage
    targets: dict[str, PlannedRun] = {}
    arms: dict[Arm, list[list[RunSpec]]] = {}
    for proxy in _compared(search, best):
        for step, method in ladder:
            chain = _chain(search.study, proxy, step, method)
            arms.setdefault((step, method), []).append(chain)
            for level, run in enumerate(chain[:-1]):
                levels += [{}] * (level == len(levels))
                levels[level][run.run_id] = PlannedRun(run, "source", search.name)
            targets[chain[-1].run_id] = PlannedRun(chain[-1], "target", search.name)
    others = {  # the targets at other rates; at the transferred one they are the targets
        spec.run_id: PlannedRun(spec, "proxy", sweep_name(step, method), trial.number)
        for step, method in ladder
        if method.sweep
        for trial in _target_trials(search, best, step, method, {})
        for spec in trial.specs
        if spec.run_id not in targets
    }
    runs = {run_id: run for level in (*levels, targets) for run_id, run in level.items()}
    compared = baselines(search.study, arms.values(), finished)
    budgets = [budget for line in compared.lines for budget in line.budgets]
    ends = at_budgets(budgets, search.name, {*runs, *others})
    stacks = [
        stack
        for level in (*levels, targets, others, *ends)
        for stack in stacks_of(level.values(), runs, size)
    ]
    return stacks, arms, compared


def _compared(search: Search, best: Transferred) -> list[RunSpec]:
    """A run of each seed at the transferred optimum, with a final evaluation."""
    return [
        replace(run, data=replace(run.data, final_val_tokens=search.study.final_val_tokens))
        for run in search.specs(best.log2_lr, best.init_std, best.log2_modules)
    ]


def at_budgets(
    budgets: Sequence[tuple[Budget, ...]], sweep: str, planned: Container[str]
) -> Iterator[dict[str, PlannedRun]]:
    """The runs of budget lines that are not ``planned``, the seeds of each budget a level: all
    segments of trunks, then what ends each budget's schedule. Their rates are the ``sweep``'s."""
    segments = [
        each for budget in budgets for each in zip(*(one.trunk for one in budget), strict=True)
    ]
    finals = [tuple(one.final for one in budget) for budget in budgets]
    seen: set[str] = set()
    for place, each in enumerate([*segments, *finals]):
        new = [run for run in each if run.run_id not in planned and run.run_id not in seen]
        seen |= {run.run_id for run in new}
        role: Literal["trunk", "branch"] = "trunk" if place < len(segments) else "branch"
        yield {run.run_id: PlannedRun(run, role, sweep) for run in new}


def sweep_name(step: Step, method: Method) -> str:
    """The sweep of a step's targets."""
    if method.name == BASELINE:
        return f"{method}-w{step.target_width}-d{step.target_depth}"
    return f"{method}-{step}"


def _target_trials(
    search: Search, best: Transferred, step: Step, method: Method, finished: Finished
) -> tuple[Trial, ...]:
    """A step's targets at the learning rates around the one transferred, a trial for each rate.
    Their source is the same: what was trained once, at the optimum, is grown for all."""
    targets = [_chain(search.study, proxy, step, method)[-1] for proxy in _compared(search, best)]
    return tuple(
        trial_of(
            number,
            best.log2_lr + away,
            best.init_std,
            tuple(
                replace(spec, hyper=replace(spec.hyper, lr=math.exp2(best.log2_lr + away)))
                for spec in targets
            ),
            finished,
        )
        for number, away in enumerate(search.study.target_log2_lr)
    )


def _chain(study: Study, proxy: RunSpec, step: Step, method: Method) -> list[RunSpec]:
    """A source, whatever is grown from it on the way, and the target: each grown from the one
    before. A method without a source has the target alone."""
    entry = growth_method(method.name)
    small, big = shapes_of(study, step)
    params = all_params(method.name, dict(method.params))
    target = in_steps(study, replace(proxy, model=big), study.target_steps)
    if method.name == BASELINE:
        return [target]
    if not entry.needs_source:
        return [replace(target, start=replace(method.start(), params=params))]
    chain = [source_run(study, proxy, small)]
    shapes = stages(entry, small, big, dict(params))
    for number, shape in enumerate(shapes, start=1):
        source = chain[-1]
        start = start_from(method, source)
        if number == len(shapes):
            chain.append(target_run(replace(target, start=start), method))
            continue
        # a stage is trained like a source, on tokens that no other run sees
        first_step = method.first_step(source.last_step)
        run = source_run(study, proxy, shape)
        run = replace(
            run,
            data_seed=run.data_seed + number * STAGE_DATA_SEEDS,
            steps=first_step + run.steps,
            stop_step=first_step + run.last_step,
            start=start,
            first_step=first_step,
        )
        chain.append(replace(run, rewarm_steps=round(method.rewarm * run.train_steps)))
    return chain


def start_from(method: Method, source: RunSpec) -> Start:
    """A start from the end of a source by a method, with all of its parameters."""
    return replace(
        method.start(),
        params=all_params(method.name, dict(method.params)),
        source_run_id=source.run_id,
        source_step=source.last_step,
    )


def target_run(grown: RunSpec, method: Method) -> RunSpec:
    """A target with its start, at the place in its schedule at which the method begins it, for as
    many steps of its own. Warm-up and cool-down stay as long as a target from scratch has them: a
    longer cool-down would be credited to the method."""
    first_step = method.first_step(grown.start.source_step or 0)
    steps, schedule = first_step + grown.steps, grown.schedule
    share = grown.steps / steps
    cut = replace(schedule, warmup=schedule.warmup * share, cooldown=schedule.cooldown * share)
    run = replace(grown, steps=steps, schedule=cut, first_step=first_step)
    return replace(run, rewarm_steps=round(method.rewarm * run.train_steps))


def source_run(study: Study, proxy: RunSpec, model: ModelSpec) -> RunSpec:
    """A source of that shape, trained up to where its cool-down would begin."""
    steps = study.source_steps
    wsd = study.schedule.kind == "wsd"
    return replace(
        in_steps(study, replace(proxy, model=model), steps),
        stop_step=cooldown_start(study.schedule, steps) if wsd else None,
        data_seed=proxy.seed + SOURCE_DATA_SEEDS,
    )


def in_steps(study: Study, run: RunSpec, steps: int) -> RunSpec:
    """The run with a horizon of so many steps. What is trained on beyond it, and other budgets of
    it, keep its rates: they share a trunk. Raises ``UserError`` where its parametrization cannot
    take hyperparameters so far."""
    run = replace(run, steps=steps, step_ratio=step_ratio(study, run.parametrization, steps))
    hyper_of(run)
    return run


def all_params(name: str, given: Mapping[str, Scalar]) -> tuple[tuple[str, Scalar], ...]:
    """All parameters of a method are written down, so a default that changes later renames the
    run."""
    defaults = growth_method(name).params
    given = defaults | dict(given)
    return tuple((name, _as(defaults[name], given[name])) for name in sorted(defaults))


def _as(default: Scalar, value: Scalar) -> Scalar:
    """1 and 1.0 are one identity."""
    return float(value) if isinstance(default, float) else value


def stacks_of(
    runs: Iterable[PlannedRun], all_runs: Mapping[str, PlannedRun], size: StackSize
) -> list[PlannedStack]:
    """Runs grouped by shape, and each group cut into stacks of that ``size``. What acts while its
    target trains acts on a whole stack, so its runs are in stacks of their own."""
    groups: dict[Hashable, list[PlannedRun]] = {}
    for run in runs:
        start, key = run.spec.start, stack_key(run.spec)
        if growth_method(start.method).during is not None or start.new_rate != 1:
            source = all_runs.get(start.source_run_id or "")
            key = (*key, start.method, start.params, start.new_rate, source and source.spec.model)
        groups.setdefault(key, []).append(run)
    stacks = []
    for members in groups.values():
        most = size.of(members[0].spec, len(members))
        cuts = range(0, len(members), most)
        stacks += [PlannedStack(tuple(members[cut : cut + most])) for cut in cuts]
    return stacks
