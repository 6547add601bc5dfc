"""A study whose source is a published checkpoint: what it brings, and which runs there are.

    the import      evaluated on the study's text, and charged what it cost, or sunk
      |  a cut      as many of its blocks as a step's source has, healed for ``source_steps``
      v
    tuning          every arm, and the source trained on, for ``proxy_steps`` at each of ``log2_lr``
      v
    targets         each arm at its own best rate, with every seed
    own source      trained on at its own best rate, to the compute that each arm has paid

Nothing is trained from scratch. What pretraining took, no study of this suite can afford, and a
model that has read a few hundred batches loses to one that has read a trillion tokens by nats: it
would say nothing of growing. So what an arm has to beat is *the original trained on* at equal
charged compute. Both have paid for the same source, so what is charged for it, or sunk, moves that
comparison nowhere: it is in what the tables say was paid.

The checkpoint brings its shape, its tokenizer and the scale of new weights. It is one draw, and the
seeds of a study do not draw it anew: they draw the order of the batches, and what growth draws. So
an interval over seeds holds these for *this* source, and says nothing of another checkpoint, or of
another healing. A rate is tuned with the first seed, as many trials for each arm.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mugrow.bench.checkpoints.imported import ImportedModel, read_imported
from mugrow.bench.data import batches
from mugrow.bench.entries import scalar, split
from mugrow.bench.growth import check_growth, stages
from mugrow.bench.growth import method as growth_method
from mugrow.bench.model import Multipliers
from mugrow.bench.parametrization import canonical, rules_of
from mugrow.bench.spec import (
    IMPORT,
    DataSpec,
    FixedHyper,
    ModelSpec,
    RunSpec,
    Scalar,
    ScheduleSpec,
    Start,
    UserError,
)
from mugrow.sweeps.baselines import charge, step_flops
from mugrow.sweeps.budgets import Budget, budget_line
from mugrow.sweeps.plan import (
    Arm,
    Plan,
    PlannedRun,
    PlannedStack,
    SkippedGrowth,
    at_budgets,
    shapes_of,
    source_run,
    stack_size,
    stacks_of,
    start_from,
    supported,
    sweep_name,
    target_run,
)
from mugrow.sweeps.search import Finished, Search, Trial, trial_of, trial_rows
from mugrow.sweeps.stack_size import Gpus
from mugrow.sweeps.study import BASELINE, Method, Proxy, Step, Study
from mugrow.sweeps.transferred import Transferred, transferred

Started = Callable[[RunSpec], RunSpec]
"""From a run as if from scratch to one with its start."""

ORIGINAL = Method("continue", optimizer="carry")  # a source trained on, as it stands
NO_SCRATCH = (
    "the source is imported, and its pretraining is more than a study can afford; what an arm has "
    "to beat is the source trained on"
)


def pinned_source(study: Study) -> tuple[Study, DataSpec]:
    """The study on the content of its source and of its corpus, read by the source's tokenizer.

    Its ``model`` is the imported one at the study's context; sweeps are the arms' own. Raises
    ``UserError`` for a folder that holds no import or another than was imported, a corpus that has
    not its tokens, and settings that do not go with it.
    """
    folder = Path(study.source)
    found = read_imported(folder)
    model = _at_context(found, study, folder)
    data = _tokens(study, folder, model)
    width, depth = model.width, model.depth
    named = f"{folder.resolve().name}@{found.sha256}"
    fixed = replace(
        study,
        source=named,
        model=model,
        corpus=data.corpus,
        tokenizer=data.tokenizer,
        parametrizations=study.parametrizations[:1],
        proxy_widths=(width,),
        proxy_depths=(),
        token_factors=(),
        batch_factors=(),
        variants=(),
        init_std=(found.init_std,),
        target_log2_lr=(),
        front=(),
        methods=tuple(replace(method, sweep=False) for method in study.methods),
        ladder=tuple(
            replace(step, source_width=width, source_depth=depth) if step.from_imported else step
            for step in study.ladder
        ),
    )
    parametrization = canonical(fixed.parametrizations[0])
    if rules_of(parametrization, model, model).multipliers != Multipliers():
        raise UserError(
            f"parametrization {parametrization!r} multiplies in the forward pass, which the source "
            "was not trained with; take 'sp' or 'mup'"
        )
    return fixed, data


def _at_context(found: ImportedModel, study: Study, folder: Path) -> ModelSpec:
    context = study.model.context
    if context > found.model.context:
        raise UserError(
            f"model.context {context} is more than the {found.model.context} of source "
            f"{str(folder)!r}"
        )
    return replace(found.model, context=context)


def _tokens(study: Study, folder: Path, model: ModelSpec) -> DataSpec:
    """The study's text in the source's tokens."""
    if study.tokenizer not in ("bytes", "none"):  # what studies have that say nothing
        raise UserError(
            f"tokenizer {study.tokenizer!r} is not the one of source {str(folder)!r}, which reads "
            "text with its own; leave tokenizer out"
        )
    return batches.resolve_own(study.corpus, folder, model, study.val_tokens)


def imported_run(study: Study, data: DataSpec) -> RunSpec:
    """The source as a run of no steps, which is its evaluation. No hyperparameter counts in it."""
    assert study.source_sha256 is not None, "the source has not been read"
    untrained = FixedHyper(weight_decay=0.0, clip=0.0)
    return RunSpec(
        model=study.model,
        base=study.model,
        parametrization=canonical(study.parametrizations[0]),
        hyper=untrained.at(lr=1.0, init_std=study.base_init_std),
        schedule=ScheduleSpec(kind="constant", warmup=0.0),
        data=data,
        batch_sequences=study.batch_sequences,
        steps=1,
        stop_step=0,
        seed=0,
        data_seed=0,
        start=Start(method=IMPORT, params=(("sha256", study.source_sha256),)),
        log_every=study.log_every,
        precision=study.precision,  # type: ignore[arg-type]  # checked there
    )


@dataclass(frozen=True)
class _Tuning:
    """A sweep of one arm: its ``trials``, and its optimum once all have ended."""

    name: str
    search: Search
    trials: tuple[Trial, ...]

    @property
    def ended(self) -> bool:
        return all(trial.state != "waiting" for trial in self.trials)

    @property
    def optimum(self) -> Transferred | None:
        """``None`` where no trial was completed."""
        return transferred(self.trials)

    @property
    def runs(self) -> dict[str, PlannedRun]:
        return {
            spec.run_id: PlannedRun(spec, "proxy", self.name, trial.number)
            for trial in self.trials
            for spec in trial.specs
        }


class _Planning:
    """What is known of the runs so far, stack by stack, and what is still provisional."""

    def __init__(self, study: Study, data: DataSpec, finished: Finished, gpus: Gpus | None) -> None:
        self.study, self.data, self.finished = study, data, finished
        self.size = stack_size(study, gpus)
        self.runs: dict[str, PlannedRun] = {}
        self.known: list[PlannedStack] = []
        self.provisional: list[PlannedStack] = []
        self.tunings: list[_Tuning] = []
        self.skipped: list[SkippedGrowth] = []

    def add(self, level: Mapping[str, PlannedRun], known: bool) -> None:
        """Stacks of these runs, which depend on none but earlier ones."""
        new = {run_id: run for run_id, run in level.items() if run_id not in self.runs}
        self.runs |= new
        stacks = stacks_of(new.values(), self.runs, self.size)
        (self.known if known else self.provisional).extend(stacks)

    def at(self, model: ModelSpec, log2_lr: float, started: Started) -> list[RunSpec]:
        """A whole schedule of ``target_steps`` at a rate, started so, for each seed; at its end it
        is evaluated on more text."""
        study = replace(self.study, proxy_steps=self.study.target_steps)
        data = replace(self.data, final_val_tokens=study.final_val_tokens)
        found = _search(study, data, model).specs(log2_lr, study.base_init_std)
        return [started(run) for run in found]

    def tune(
        self, name: str, model: ModelSpec, started: Started, known: bool
    ) -> tuple[Transferred | None, bool]:
        """The best rate of an arm of that shape that is ``started`` so, from trials of
        ``proxy_steps`` with the first seed; a stand-in, and False, until it is known. ``None``
        where no trial was completed."""
        study = replace(self.study, seeds=self.study.seeds[:1])
        search, init_std = _search(study, self.data, model), study.base_init_std
        trials = []
        for number, log2_lr in enumerate(search.log2_lr):
            specs = tuple(map(started, search.specs(log2_lr, init_std)))
            trials.append(trial_of(number, log2_lr, init_std, specs, self.finished))
        tuning = _Tuning(name, search, tuple(trials))
        self.add(tuning.runs, known)
        if known:
            self.tunings.append(tuning)
        if known and tuning.ended:
            return tuning.optimum, True
        middle = search.log2_lr[len(search.log2_lr) // 2]
        return Transferred(middle, init_std, math.nan, None, "argmin"), False

    def plan(self) -> Plan:
        return Plan(
            stacks=tuple(self.known),
            provisional=tuple(self.provisional),
            trials=tuple(
                row
                for one in self.tunings
                for row in trial_rows(one.name, one.search, one.trials, self.finished)
            ),
            optima={
                one.name: best
                for one in self.tunings
                if one.ended and (best := one.optimum) is not None
            },
            skipped=tuple(self.skipped),
        )


def _search(study: Study, data: DataSpec, model: ModelSpec) -> Search:
    proxy = Proxy(model.width, model.depth)
    return Search(study, data, canonical(study.parametrizations[0]), proxy)


def plan_imported(
    study: Study, data: DataSpec, finished: Finished, *, gpus: Gpus | None = None
) -> Plan:
    """``mugrow.sweeps.plan.plan`` of a study whose source is imported. Raises ``UserError`` for
    names and growths that no run can have."""
    planning = _Planning(study, data, finished, gpus)
    arms = list(_arms(study, planning))
    imported = imported_run(study, data)
    cost = 0.0 if study.source_sunk else study.source_flops
    first = PlannedRun(imported, "source", sweep="", charged_flops=cost)
    planning.runs[imported.run_id] = first
    planning.known.append(PlannedStack((first,)))
    for shape in dict.fromkeys(shapes_of(study, step)[0] for step, _ in arms):
        source, known = _healed(planning, imported, shape)
        if source is None:
            reason = f"no rate heals w{shape.width}-d{shape.depth}: every trial of it failed"
            planning.skipped += [
                SkippedGrowth(step, method, reason)
                for step, method in arms
                if shapes_of(study, step)[0] == shape
            ]
            continue
        of_shape = [arm for arm in arms if shapes_of(study, arm[0])[0] == shape]
        charges = [_targets(planning, source, arm, known) for arm in of_shape]
        if study.budgets:
            _trained_on(planning, source, charges, known)
    return planning.plan()


def _arms(study: Study, planning: _Planning) -> Iterator[Arm]:
    """The growths that are run; those that are not go to ``skipped``, each with its reason."""
    fitting: list[Method] = []
    for method in study.methods:
        if reason := _unfit(study, method):
            planning.skipped += [SkippedGrowth(step, method, reason) for step in study.ladder]
        else:
            fitting.append(method)
    if not fitting:
        raise UserError(
            f"none of the methods {', '.join(map(str, study.methods))} grows an imported source"
        )
    if not study.ladder:
        raise UserError("a study with a source needs a ladder, as in ladder=imported:WIDTH:DEPTH")
    for step in study.ladder:
        _check_cut(study, step)
    ladder, skipped = supported(replace(study, methods=tuple(fitting)))
    planning.skipped += skipped
    for step, method in ladder:
        small, big = shapes_of(study, step)
        many = len(stages(growth_method(method.name), small, big, dict(method.params)))
        reason = None
        if many > 1:
            reason = f"it grows in {many} stages, and arms here are tuned in one"
        elif method.optimizer == "carry" and small == study.model:
            reason = "an imported source comes without the optimizer's state to carry"
        if reason is None:
            yield step, method
        else:
            planning.skipped.append(SkippedGrowth(step, method, reason))


def _unfit(study: Study, method: Method) -> str | None:
    if method.name == BASELINE:
        return NO_SCRATCH
    if not growth_method(method.name).needs_source:
        return f"it begins with random weights, and {NO_SCRATCH}"
    return None


def _check_cut(study: Study, step: Step) -> None:
    """Raise the ``UserError`` of a step whose source is no cut of the imported model."""
    small = shapes_of(study, step)[0]
    if small == study.model:
        return
    name, params = _cut(study)
    entry = growth_method(name)
    if not entry.shrinks:
        raise UserError(f"cut {name!r} does not shrink; prune and inheritune do")
    if small.width != study.model.width or small.depth > study.model.depth:
        raise UserError(
            f"the ladder has {step}, and the source is w{study.model.width}-d{study.model.depth}: "
            "a step begins with imported, or with fewer of its blocks"
        )
    check_growth(entry, study.model, small, dict(params))


def _healed(
    planning: _Planning, imported: RunSpec, shape: ModelSpec
) -> tuple[RunSpec | None, bool]:
    """The source of that shape: the import itself, or a cut of it at the best of its own rates, and
    whether it is known. ``None`` where none of them trains."""
    study = planning.study
    if shape == imported.model:
        return imported, True
    name, params = _cut(study)
    start = start_from(Method(name, params), imported)
    sweep = f"{name}-w{shape.width}-d{shape.depth}"
    best, known = planning.tune(sweep, shape, lambda run: replace(run, start=start), True)
    if best is None:
        return None, True
    search = _search(replace(study, seeds=study.seeds[:1]), planning.data, shape)
    (proxy,) = search.specs(best.log2_lr, study.base_init_std)
    source = replace(source_run(study, proxy, shape), start=start)
    planning.add({source.run_id: PlannedRun(source, "source", sweep)}, known)
    return source, known


def _targets(planning: _Planning, source: RunSpec, arm: Arm, known: bool) -> float:
    """Tune an arm and plan its targets. Returns the FLOPs of one, its source's not counted."""
    step, method = arm
    model = shapes_of(planning.study, step)[1]
    start = start_from(method, source)

    def started(run: RunSpec) -> RunSpec:
        return target_run(replace(run, start=start), method)

    sweep = sweep_name(step, method)
    best, tuned = planning.tune(sweep, model, started, known)
    if best is None:
        reason = f"no trial of sweep {sweep} was completed, so there is no rate for it"
        planning.skipped.append(SkippedGrowth(step, method, reason))
        return charge(planning.at(model, 0.0, started)[:1])
    found = planning.at(model, best.log2_lr, started)
    planning.add({run.run_id: PlannedRun(run, "target", sweep) for run in found}, known and tuned)
    return charge(found[:1])


def _trained_on(
    planning: _Planning, source: RunSpec, charges: Sequence[float], known: bool
) -> None:
    """Tune the source trained on, and plan it to the compute of each arm, on whole schedules."""
    study, model = planning.study, source.model
    stateless = source.start.method == IMPORT
    start = start_from(replace(ORIGINAL, optimizer="fresh") if stateless else ORIGINAL, source)
    sweep = f"{ORIGINAL.name}-w{model.width}-d{model.depth}"
    best, tuned = planning.tune(sweep, model, lambda run: replace(run, start=start), known)
    if best is None:
        return
    started = planning.at(model, best.log2_lr, lambda run: replace(run, start=start))
    horizons = {round(paid / step_flops(started[0])) for paid in charges}
    lines = (budget_line(run, horizons, study.final_val_tokens) for run in started)
    budgets: list[tuple[Budget, ...]] = list(zip(*lines, strict=True))
    for level in at_budgets(budgets, sweep, planning.runs):
        planning.add(level, known and tuned)


def _cut(study: Study) -> tuple[str, tuple[tuple[str, Scalar], ...]]:
    """The method by which sources are cut, as in ``prune:keep=ends``, and its parameters."""
    name, given = split("method", study.cut)
    return name, tuple((key, scalar(value)) for key, value in given.items())
