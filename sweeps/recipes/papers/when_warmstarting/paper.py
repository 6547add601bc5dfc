"""When is warmstarting effective: the growth factor, and tokens per parameter (arXiv 2605.13405).

    mugrow reproduce when-warmstarting

A model is begun from one g times smaller: shrunk, padded with zeros and perturbed (SZP), or with
copies of its units (Net2Net). Of one size and one budget, the final loss is a parabola in ln g. Its
minimum is said to be near 2, its crossing of scratch, g = 1, at 4 to 5, and gains to be largest
below 20 tokens per parameter.

Cost: at ``cpu`` 20 minutes on two shared cores; at ``gpu`` 7e15 FLOPs, an estimated 10 to 20
minutes on one large GPU; at ``paper``, up to 1.2 billion parameters, 2e21 FLOPs.
Expected: gains that shrink with tokens per parameter, largest at a g below 2 and gone by about 5;
Net2Net ahead of SZP at g = 1.5 and far behind beyond 2.5. (A trial with two seeds, up to 15
thousand parameters, was so.)

Choices. N counts embeddings, as theirs does (their 14,562,560 is eight layers of width 128 with a
vocabulary padded to 50,688), and C is 6 N D of the target; the source is free, as by default there,
and one pair of claims charges it. A source has 20 tokens per parameter of its own and stops before
its cool-down; its target sees none of its batches. What each run is trained on is a whole schedule
of its own; levels of less compute are read off its curve, at a constant rate until the cool-down.
Heads are small so that widths are many. Targets at ``cpu`` have 6 to 42 thousand parameters, more
than a third of them embeddings of bytes: exponents need not be theirs. The best size is found at
four budgets, since on a front of few sizes and horizons the plan decides it. The shrink factor is
0.4 unless it is varied; of SZP the paper takes the best over it. A law of Net2Net, which only two
sizes have, is left out. Rates and batches are searched by a grid at 10 tokens per parameter, not by
Hyperband. Four seeds; three of Net2Net, of other shrink factors, and of the grid.
"""

from collections.abc import Iterator
from dataclasses import replace

from mugrow.analysis.figures import arms
from mugrow.analysis.measure.maps import map_of
from mugrow.bench.arm import ArmName
from mugrow.bench.model import count
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec, Scalar, ScheduleSpec
from mugrow.sweeps import beside
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import Base, FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.when_warmstarting import claims, figures, tables
from mugrow.sweeps.recipes.papers.when_warmstarting.tables import CLONE, NET2NET, SZP, USUAL, named

FACTORS_AT = {"cpu": (10, 20), "gpu": (10, 20, 30), "paper": (10, 20, 30)}
GRID_AT = 10
LOG2_LR = (-2, -1, 0, 1, 2)  # around the run's
BATCHES = (0.5, 1, 2)  # over the run's
SEEDS = {"cpu": range(4), "gpu": range(4), "paper": range(4)}
FEWER_SEEDS = dict.fromkeys(SEEDS, range(3))  # of Net2Net, shrink factors, rates and batches
BY_ABOUT_TWO = (SZP, NET2NET)
LOGGED = 16  # rows of a curve; half as many in the grid
SLIMPAJAMA = Text("hf:cerebras/SlimPajama-627B", "hf:gpt2", 25 * 2**14, 50_257)


def at_usual(base: Base, head_size: int, batch: int | None = None) -> Base:
    """Its run with heads of this size and no weight decay, for 20 tokens per parameter."""

    def usual(data: DataSpec, vocabulary: int) -> RunSpec:
        run = base(data, vocabulary)
        model = replace(run.model, head_size=head_size)
        hyper = replace(run.hyper, weight_decay=0.0)
        batch_sequences = batch or run.batch_sequences
        run = replace(run, model=model, base=model, hyper=hyper, batch_sequences=batch_sequences)
        return replace(run, steps=round(USUAL * count(model)[0] / run.batch_tokens))

    return usual


# eight layers with heads of 64, tuned at width 128; the batch is among those searched
paper_scale = bases.published(
    ModelSpec(width=128, depth=8, head_size=64, context=1024, positions="rope"),
    lr=3e-3, parametrization="mup", batch_sequences=64, steps=1, log_every=10,
    schedule=ScheduleSpec(warmup=0.01, cooldown=0.2),
)  # fmt: skip


def sized(setting: Setting, width: int, horizon: int, seed: int, batch: float = 1) -> RunSpec:
    """A run of this width to a horizon in tokens per parameter."""
    run = setting.run
    spec = setting.spec(seed, width / run.model.width)
    parameters = count(spec.model)[0] / count(run.model)[0]
    steps = max(1, round(run.steps * parameters * horizon / USUAL / batch))
    sequences = round(run.batch_sequences * batch)
    log_every = max(1, round(steps / LOGGED))
    return replace(spec, batch_sequences=sequences, steps=steps, log_every=log_every)


def scratch(setting: Setting, seed: int, width: int, horizon: int = USUAL) -> Node:
    return Node(sized(setting, width, horizon, seed), named(tables.SCRATCH, width, 0, horizon))


def warmstarted(
    setting: Setting, seed: int, method: str, width: int, small: int, horizon: int = USUAL,
    shrink: float = tables.SHRINK,
) -> Node:  # fmt: skip
    """A model grown from one of width ``small``."""
    params: dict[str, dict[str, Scalar]] = {SZP: {"shrink": shrink}, CLONE: {"mode": "noisy"}}
    start = source_of(sized(setting, small, USUAL, seed), uncooled=True)
    target = sized(setting, width, horizon, seed)
    arm = named(method, width, small, horizon, shrink)
    return grown(start, target, arm, method, FRESH, **params.get(method, {}))


def isoflop_runs(setting: Setting, seed: int) -> Iterator[Node]:
    """Five sizes at each budget, from scratch and grown, and where the smallest of them is best
    one smaller from scratch."""
    sizes = tables.SIZES[setting.scale].isoflop()
    middle = count(sized(setting, sorted(sizes)[len(sizes) // 2], USUAL, seed).model)[0]
    least = min(sizes.values())

    def spending(budget: int, width: int) -> RunSpec:
        run = sized(setting, width, USUAL, seed)
        tokens = budget * middle**2 / count(run.model)[0]
        steps = max(1, round(tokens / run.batch_tokens))
        return replace(run, steps=steps, log_every=max(1, round(steps / LOGGED)))

    for budget in tables.BUDGETS:
        for width in [least, *sizes] if budget in tables.FEWER_TOKENS else sizes:
            yield Node(spending(budget, width), tables.at_budget(tables.SCRATCH, width, 0, budget))
        for width, small in sizes.items():
            start = source_of(sized(setting, small, USUAL, seed), uncooled=True)
            arm = tables.at_budget(SZP, width, small, budget)
            run = spending(budget, width)
            yield grown(start, run, arm, SZP, FRESH, shrink=tables.SHRINK)


def ladder_runs(setting: Setting) -> Iterator[Node]:
    for width, small, horizon in tables.SIZES[setting.scale].rungs():
        for seed in setting.of(SEEDS):
            yield scratch(setting, seed, width, horizon)
            yield warmstarted(setting, seed, SZP, width, small, horizon)


def factor_runs(setting: Setting) -> Iterator[Node]:
    for width, sources in tables.SIZES[setting.scale].factors.items():
        for horizon in FACTORS_AT[setting.scale]:
            for seed in setting.of(SEEDS):
                yield scratch(setting, seed, width, horizon)
                for small in sources:
                    yield warmstarted(setting, seed, SZP, width, small, horizon)
                    if seed in setting.of(FEWER_SEEDS):
                        yield warmstarted(setting, seed, NET2NET, width, small, horizon)


def shrink_runs(setting: Setting, seed: int) -> Iterator[Node]:
    width, sources = tables.SIZES[setting.scale].shrunk
    yield scratch(setting, seed, width)
    yield warmstarted(setting, seed, CLONE, width, sources[0])
    for small in sources:
        for shrink in tables.SHRINKS:
            yield warmstarted(setting, seed, SZP, width, small, shrink=shrink)


def grid_runs(setting: Setting, seed: int) -> Iterator[Node]:
    """Every learning rate and batch, on as many tokens; logged at other steps, so that no cell is a
    run of another arm."""
    widths = tables.SIZES[setting.scale].grid
    start = source_of(sized(setting, widths[0], USUAL, seed), uncooled=True)
    for batch in BATCHES:
        runs = (sized(setting, width, GRID_AT, seed, batch) for width in widths)
        rows = [replace(run, log_every=2 * run.log_every) for run in runs]
        for away in LOG2_LR:
            small, large = (bases.at_rate(run, 2.0**away) for run in rows)
            yield Node(small, map_of(claims.SMALL), role="proxy")
            yield Node(large, map_of(claims.LARGE), role="proxy")
            started = grown(start, large, map_of(claims.GROWN), SZP, shrink=tables.SHRINK)
            yield replace(started, role="proxy")


def of_larger(setting: Setting, seed: int) -> Iterator[Node]:
    """The larger target grown by about two by either method."""
    sizes = tables.SIZES[setting.scale]
    small, _ = sizes.ladder[sizes.larger]
    yield scratch(setting, seed, sizes.larger)
    for method in BY_ABOUT_TWO:
        yield warmstarted(setting, seed, method, sizes.larger, small)


def by_about_two(scale: str) -> list[ArmName]:
    sizes = tables.SIZES[scale]
    small, _ = sizes.ladder[sizes.larger]
    return [named(method, sizes.larger, small) for method in BY_ABOUT_TWO]


def smaller(setting: Setting, seed: int) -> list[Node]:
    """On the front, the size from which that source would be grown."""
    sizes = tables.SIZES[setting.scale]
    small, _ = sizes.ladder[sizes.larger]
    return [scratch(setting, seed, sizes.ladder[small][0])]


FREE = "Compute is 6 N D of the target."
PAPER = Paper(
    name="when-warmstarting",
    arxiv="2605.13405",
    title="When is Warmstarting Effective for Scaling Language Models?",
    summary="the best growth factor, break-even with scratch, and laws of grown models",
    bases={
        "cpu": at_usual(bases.cpu, head_size=4),
        "gpu": at_usual(bases.gpu, head_size=16, batch=8),
        "paper": at_usual(paper_scale, head_size=64),
    },
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "F1": FigureOf(ladder_runs, arms.row(figures.frontier), claims.F1).shows(
            "Loss against compute, scratch and grown by about two",
            "Means over seeds of every size and horizon, those on the front filled, with the power "
            f"law through them drawn on. The largest size, starred, was held out. {FREE}",
        ),
        "F2": FigureOf(factor_runs, figures.growth_factors, claims.F2).shows(
            "Loss against the growth factor at equal compute",
            "A row for each method and target, a column for each number of tokens per parameter. "
            "Parabolas in ln g through all seeds, at eight levels of compute; blue, the best "
            f"factor; red, where scratch is as good. {FREE}",
        ),
        "F3": FigureOf(ladder_runs, figures.contour, claims.F3).shows(
            "SZP minus scratch over parameters and tokens",
            "Left, the difference of the two laws: solid, break-even; dashed, D = 20 N; hatched "
            "where 95 % intervals of the laws overlap, or a law at a bound has none. Right, what "
            "was measured at each size and horizon, mean over seeds.",
        ),
        "F4": FigureOf(each_seed(FEWER_SEEDS, shrink_runs), figures.shrinks, claims.F4).shows(
            "The shrink factor",
            "A panel for each source. Validation loss at 20 tokens per parameter, bands span the "
            "seeds; the clone preserves the source’s function, and is at twice the width alone.",
        ),
        "F5": FigureOf(
            each_seed(SEEDS, isoflop_runs),
            arms.row(*figures.ISOFLOPS, figures.best_sizes),
            claims.F5,
        ).shows(
            "The best size at each budget",
            "Final loss of five or six sizes at each budget, means over seeds; right, the best "
            "size between those tried, with power laws. The front of F1 cannot tell it, for its "
            "sizes share no budget.",
        ),
        "F6": FigureOf(ladder_runs, figures.coefficients, claims.F6).shows(
            "Coefficients of L = A / N^α + B / D^β + E",
            "Whiskers are 95 % intervals of 300 resamples of runs, without the size held out. Few "
            "sizes do not identify the coefficients, whatever the fit’s R².",
        ),
        "F7": FigureOf(each_seed(FEWER_SEEDS, grid_runs), figures.draw_ranks, claims.F7).shows(
            "Rank correlation of losses over learning rates and batches",
            "Left, of the small model’s final losses with the larger one’s. Right, of losses along "
            "training with the final ones, means over seeds of one grid at each model.",
        ),
        "F8": FigureOf(each_seed(FEWER_SEEDS, grid_runs), figures.heat_maps).shows(
            "Loss over learning rate and batch",
            "Mean final validation loss above the lowest of the same map, all cells on equal "
            "tokens. A star marks the lowest, a circle the small model’s.",
        ),
        "F9": FigureOf(factor_runs, arms.row(figures.tokens, figures.training)).shows(
            "Tokens against compute of all runs, and training curves",
            "Left, a point for each size and horizon. Right, validation loss of the largest target "
            "with several sources, at 20 tokens per parameter; bands span the seeds.",
        ),
        "F10": beside.figure(
            each_seed(FEWER_SEEDS, of_larger),
            arms=by_about_two,
            front=each_seed(FEWER_SEEDS, smaller),
            note="The charge is in FLOPs, not 6 N D, and all have one rate.",
        ),
    },
    untestable=claims.UNTESTABLE,
    stack_width=384,
)
