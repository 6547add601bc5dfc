"""Warmstarting: shrink a small model, pad it with zeros, perturb it with muP's own initial weights.

    mugrow reproduce warmstarting

What a muP model is tuned to when it is small it should keep when it is large (arXiv 2411.07340),
also if the large one is not drawn at random but begun from the small one. Maps of loss over
learning rate and batch size are laid beside each other, from scratch and warmstarted; pairs of
widths are trained to the end; the shrink factor is varied; and what goes on inside is watched.

Cost: at ``cpu`` about 5 minutes on two cores; at ``gpu`` 3e15 FLOPs, an estimated 3 minutes on one
large GPU; at the paper's scale, three layers of widths 32 to 640, 2e19 FLOPs.
Expected: the best rate stays from scratch and warmstarted; a clear speed-up with the source for
free, most of it at the nearest pair; the least shrunk lead at first and not at the end.

Choices. The cells of a map see equal tokens, one pass over fresh text, and so prefer small batches:
the best may be the smallest tried, and then its shift is unknown. Maps are short, a sixth of the
other runs' tokens, and their sources too, so that source and target have seen alike there as well.
A source stops before its cool-down, as the authors' ``save_wsd`` keeps it, and its target sees none
of its batches. Steps are the same at every width. What is watched of a model in training is read
off runs stopped at that step, which are bit for bit the beginning of the whole run. Maps, pairs and
seeds at ``paper`` are ours, as are context, head size and tokens; widths, batches, rates and
schedule are those of the authors' repository.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures import maps as pictures
from mugrow.analysis.measure import maps
from mugrow.analysis.measure.quantity import final
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, RunSpec, Scalar, ScheduleSpec
from mugrow.sweeps import beside
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.warmstarting import claims
from mugrow.sweeps.recipes.papers.warmstarting.claims import ABLATED, PAIRS, SHRINK, scratch, warm

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
FEWER_SEEDS = dict.fromkeys(SEEDS, range(3))  # of maps, and of what is watched
MAP_STEPS = {"cpu": 0.16, "gpu": 0.16, "paper": 1.0}  # of the run's, at its batch
SMALL_BATCHES, SMALL_LOG2_LR = (0.5, 1, 2), (-2, -1, 0, 1, 2, 3)
PAPER_BATCHES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
BATCHES = {"cpu": SMALL_BATCHES, "gpu": SMALL_BATCHES, "paper": PAPER_BATCHES}  # over the run's
PAPER_LR = 3e-3
PAPER_LOG2_LR = tuple(np.log2([1e-4 / PAPER_LR, 3e-4 / PAPER_LR, 1 / 3, 1, 10 / 3, 10]))
LOG2_LR = {"cpu": SMALL_LOG2_LR, "gpu": SMALL_LOG2_LR, "paper": PAPER_LOG2_LR}  # around the run's
WATCHED_AT = (0.0, 0.05, 0.2, 0.5)  # of the steps, beside the end; the first step at least
SLIMPAJAMA = Text("hf:cerebras/SlimPajama-627B", "hf:gpt2", 2**20, 50_257)

# the second of the authors' smallest ladder, three layers of width 64, at 20 tokens a parameter;
# the batch is the middle one of theirs
paper_scale = bases.published(
    ModelSpec(width=64, depth=3, head_size=16, context=1024, positions="rope"),
    lr=PAPER_LR, parametrization="mup", batch_sequences=128, steps=1024, log_every=32,
    schedule=ScheduleSpec(warmup=claims.WARMUP["paper"], cooldown=0.2),
)  # fmt: skip


def from_random(setting: Setting, seed: int, times: float = ABLATED[1]) -> Node:
    return Node(setting.spec(seed, times), scratch(times))


def warmstarted(
    setting: Setting, seed: int, pair: claims.Pair = ABLATED, shrink: float = SHRINK
) -> Node:
    arm = claims.shrunk(shrink) if pair == ABLATED else warm(pair)
    small = source_of(setting.spec(seed, pair[0]), uncooled=True)
    return grown(small, setting.spec(seed, pair[1]), arm, "szp", shrink=shrink)


def map_cells(setting: Setting, run: RunSpec) -> Iterator[RunSpec]:
    """A run at every batch and rate, all on as many tokens."""
    for size in BATCHES[setting.scale]:
        steps = round(run.steps / size)
        sequences = round(run.batch_sequences * size)
        row = replace(run, batch_sequences=sequences, steps=steps, log_every=steps)
        yield from (bases.at_rate(row, 2.0**away) for away in LOG2_LR[setting.scale])


def map_runs(setting: Setting, seed: int) -> Iterator[Node]:
    steps = round(setting.run.steps * MAP_STEPS[setting.scale])
    sized = {
        times: setting.spec(seed, times, steps=steps) for times in claims.SERIES[setting.scale]
    }
    for times, run in sized.items():
        for spec in map_cells(setting, run):
            yield Node(spec, maps.map_of(scratch(times)), role="proxy")
    for pair in pairwise(sized):
        arm = ArmName("source of a map", part="source", of="map")
        small = source_of(sized[pair[0]], arm, uncooled=True)
        for spec in map_cells(setting, sized[pair[1]]):
            node = grown(small, spec, maps.map_of(warm(pair)), "szp", shrink=SHRINK)
            yield replace(node, role="proxy")


def pair_runs(setting: Setting, seed: int) -> Iterator[Node]:
    for times in sorted({pair[1] for pair in PAIRS}):
        yield from_random(setting, seed, times)
    for pair in PAIRS:
        yield warmstarted(setting, seed, pair)


def shrink_runs(setting: Setting, seed: int) -> Iterable[Node]:
    varied = (warmstarted(setting, seed, shrink=shrink) for shrink in claims.SHRINKS)
    return (from_random(setting, seed), *varied)


watched_runs = each_seed(
    FEWER_SEEDS, lambda setting, seed: (from_random(setting, seed), warmstarted(setting, seed))
)


def observed(setting: Setting) -> Iterator[Judged]:
    """Runs stopped on the way, and whole."""
    for node in watched_runs(setting):
        arm = ArmName(f"{node.arm}, stopped", **node.factors, part="stopped")
        for step in sorted({max(1, round(share * node.spec.steps)) for share in WATCHED_AT}):
            spec = replace(node.spec, stop_step=step)
            started = replace(node, spec=spec, arm=arm, role="branch")
            yield Judged(node.arm, (started,), node.spec.data, "observe")
        yield Judged(node.arm, (node,), node.spec.data, "observe")


LINE_STYLES: arms.LineStyles = {
    **{scratch(times): style.line_style("scratch") for _, times in PAIRS},
    **{warm(pair): style.line_style("szp") for pair in PAIRS},
    warm((0.5, 2)): style.LineStyle(style.OKABE_ITO[1], "D"),
}
BASE = scratch(ABLATED[1])
SHRUNK = {f"λ = {shrink:g}": claims.shrunk(shrink) for shrink in claims.SHRINKS}
SHRUNK_STYLES = style.shaded([*SHRUNK])


def draw_maps(store: Store) -> Figure:
    """Scratch above, warmstarted below at the width of its target."""
    series = claims.SERIES[store.study["scale"]]
    above = {scratch(times): maps.read(store, scratch(times)).mean() for times in series}
    below = {warm(pair): maps.read(store, warm(pair)).mean() for pair in pairwise(series)}
    best: dict[Scalar, maps.Cell] = {  # of the width before
        large: above[scratch(small)].best for small, large in pairwise(series)
    }
    return pictures.draw([
        {name: (plane, best.get(name.factors["width"])) for name, plane in row.items()}
        for row in (above, below)
    ])  # fmt: skip


def draw_pairs(store: Store) -> Figure:
    targets = sorted({pair[1] for pair in PAIRS})
    figure, axes = style.panels(len(targets), 2, sharey="row")
    for row, times in zip(axes, targets, strict=True):
        names = [scratch(times), *(warm(pair) for pair in PAIRS if pair[1] == times)]
        arms.CurvePanel(names, LINE_STYLES)(row[0], store)
        arms.CurvePanel(names, LINE_STYLES, "flops", True, legend=False)(row[1], store)
        row[1].set_ylabel("")
    return figure


def shrink_ends(axis: Axes, store: Store) -> None:
    """Final losses minus that of scratch, with their intervals."""
    places = {shrink: final(claims.shrunk(shrink)) - final(BASE) for shrink in claims.SHRINKS}
    values = [quantity(store).value for quantity in places.values()]
    axis.plot(claims.SHRINKS, values, "-", color=style.GREY)
    for (shrink, quantity), line_style in zip(places.items(), SHRUNK_STYLES.values(), strict=True):
        star = np.argmin if quantity(store).value == min(values) else None
        arms.whiskers(axis, store, {shrink: quantity}, line_style, star=star)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(xlabel="shrink factor λ", ylabel="final loss − that of scratch (nats)")
    axis.set_xticks(claims.SHRINKS)


draw_shrinks = arms.row(
    arms.CurvePanel({str(BASE): BASE} | SHRUNK, {BASE: LINE_STYLES[BASE]} | SHRUNK_STYLES),
    shrink_ends,
)


def draw_watched(store: Store) -> Figure:
    """Means over seeds, with a band from the lowest to the highest."""
    figure, axes = style.panels(2, 2, sharex=True)
    for axis, (quantity, (_, words)) in zip(axes.flat, claims.WATCHED.items(), strict=True):
        for name in (BASE, warm(ABLATED)):
            at = claims.watched(store, name, quantity).groupby("step")["value"]
            line_style = LINE_STYLES[name]
            arms.band(axis, at.agg(["min", "mean", "max"]), line_style, line_style.marker, name)
        axis.set_title(words.partition(" (")[0].partition(",")[0])
    for axis in axes[1]:
        axis.set_xlabel("step")
    axes[0][0].legend()
    return figure


PAPER = Paper(
    name="warmstarting",
    arxiv="2411.07340",
    title="Warmstarting for Scaling Language Models",
    summary="rate and batch retained, speed-up and stability of shrink, zero-pad and perturb",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "W1": FigureOf(each_seed(FEWER_SEEDS, map_runs), draw_maps, claims.W1).shows(
            "Loss over learning rate and batch, from scratch and warmstarted",
            "Mean final validation loss above the lowest of the same map, all cells on equal "
            "tokens. A star marks the lowest; a circle, the small model’s, which the larger should "
            "keep. Above from scratch, below warmstarted from the width before; darker is worse.",
        ),
        "W2": FigureOf(each_seed(SEEDS, pair_runs), draw_pairs, claims.W2).shows(
            "Loss of warmstarted models and of scratch",
            "Mean validation loss with a band from the lowest to the highest seed, against tokens "
            "(left; with the source for free, FLOPs would look the same) and FLOPs with the "
            "source’s added (right). A row for each target.",
        ),
        "W3": FigureOf(each_seed(SEEDS, shrink_runs), draw_shrinks, claims.W3).shows(
            "The shrink factor",
            f"Warmstarted {warm(ABLATED)}. Left, validation loss against tokens; right, what the "
            "end differs from scratch’s by, whiskers are intervals over seeds, the lowest starred.",
        ),
        "W4": FigureOf(watched_runs, draw_watched, claims.W4, observed).shows(
            "Stability of training",
            "Gradient norms after warm-up, before clipping, at every logged step; of models as "
            "they were at some steps, the mean absolute activation (geometric mean over modules), "
            "the largest attention logit and the largest singular value of a hidden matrix, times "
            "sqrt(in / out). Bands span the seeds.",
        ),
        "W5": beside.figure(each_seed(SEEDS, pair_runs), arms=[*map(warm, PAIRS)]),
    },
    untestable=claims.UNTESTABLE,
)
