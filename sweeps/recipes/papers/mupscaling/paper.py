"""muP upscaling: a rate and a noise tuned on a tiny pair of widths (arXiv 2602.10545).

    mugrow reproduce mupscaling

A trained model's units are each repeated twice, with the optimizer's state carried, noise parts the
copies, and the wide model trains on. Under muP, the paper says, the best learning rate of this
second training and the best noise do not depend on the width: both are found on a tiny pair
(n, 2n) and used on a large one.

Cost: at ``cpu`` about 5 minutes on two cores, beyond the basins of ``nanolm``, which are its sweeps
from scratch; at ``gpu`` 6e16 FLOPs, an estimated 10 minutes on one large GPU; at the paper's scale,
GPT-2 of 8 layers and widths to 1024, 2e20 FLOPs.
Expected: bowls of rate and noise above one another; the upscaled model far below scratch at equal
steps, and less so with its base paid for. Without noise it trains as its base does, but only where
no gradient is clipped: the norm that clipping looks at is not the same at two widths.

Choices. Heads have one size and multiply, where the paper's eight grow. A base stops before its
cool-down and the upscaled model begins the schedule anew, warm-up included, for as many steps as
scratch. Rates at one noise and noises at one rate take the place of a grid of both; where they lie
was seen on the narrowest pair, as a user of the method would. Wider pairs have fewer rates, and no
noise of 0. Scratch is tuned with as many trials as the upscaled, nine. The units of noise are the
target's own initial weights. At ``paper`` base rate and initial scale are ours.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import BOWLS, arms, lr_sweeps, operator_settings, style
from mugrow.analysis.measure.quantity import recorded
from mugrow.analysis.read.store import Store
from mugrow.analysis.transfer.ladder import SCRATCH
from mugrow.analysis.transfer.results import transfer_results
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps import beside
from mugrow.sweeps.budgets import CARRY
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.mupscaling import claims
from mugrow.sweeps.recipes.papers.mupscaling.claims import BARS, METHOD, Point, cheaper

BASES = {"cpu": (0.5, 1, 2), "gpu": (0.5, 1, 2, 4), "paper": (0.25, 0.5, 1)}  # over the run's width
LOG2_LR = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # of upscaled training, around the run's
FEW_LOG2_LR = LOG2_LR[1:-1]
NOISES = (0.5, 1.0, 1.5, 2.0, 3.0)
NOISE, NOISY_LOG2_LR = 1.5, 0.5  # where rates are swept, and where noises are
CHOSEN: Point = (NOISY_LOG2_LR, 2.0)  # what is tuned on the narrowest pair at cpu
SEEDS = {"cpu": range(3), "gpu": range(5), "paper": range(1)}
BASIN_SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(3)}  # those of nanolm
WEB = Text("hf:HuggingFaceFW/fineweb-edu:sample-10BT", "bpe:8192", 2**20, vocab_size=8192)

# GPT-2 of 8 layers and width 512; twice the 10,000 steps that are taken of it, at a constant rate
paper_scale = bases.published(
    ModelSpec(width=512, depth=8, head_size=64, context=1024),
    lr=2.0**bases.LOG2_LR, parametrization="mup", schedule=ScheduleSpec(kind="constant"),
    batch_sequences=512, steps=2 * 10_000, log_every=500,
)  # fmt: skip


def base(setting: Setting, seed: int, times: float) -> Node:
    """Trained up to its cool-down, on batches that no wide model sees."""
    run = bases.halved(setting).spec(seed, times, parametrization="mup")
    return source_of(run, ArmName(claims.BASE, width=times), uncooled=True)


def upscaled(setting: Setting, seed: int, times: float, point: Point) -> Node:
    """Twice the width of its base, at a rate and a noise of its own."""
    target = bases.halved(setting).spec(seed, 2 * times, parametrization="mup")
    target = bases.at_rate(target, 2.0 ** point[0])
    name, small = claims.upscaled(2 * times, point), base(setting, seed, times)
    node = grown(small, target, name, METHOD, CARRY, noise=point[1])
    return replace(node, role="proxy")


def swept(setting: Setting, seed: int) -> Iterator[Node]:
    for times in BASES[setting.scale]:
        yield from bases.basin(setting, 2 * times, "mup", seed)


def of_rates(setting: Setting, seed: int) -> Iterator[Node]:
    for place, times in enumerate(BASES[setting.scale]):
        for log2_lr in FEW_LOG2_LR if place else LOG2_LR:
            yield upscaled(setting, seed, times, (log2_lr, NOISE))


def of_noises(setting: Setting, seed: int) -> Iterator[Node]:
    for place, times in enumerate(BASES[setting.scale]):
        for noise in NOISES if place else (0.0, *NOISES):
            yield upscaled(setting, seed, times, (NOISY_LOG2_LR, noise))


def equivalent(setting: Setting, seed: int) -> Iterator[Node]:
    """The narrowest pair without noise in double precision, and its base trained on."""
    times = BASES[setting.scale][0]
    small = base(setting, seed, times)
    double = ArmName(claims.BASE, width=times, dtype="float64")
    small = replace(small, spec=replace(small.spec, dtype="float64"), arm=double)
    for clip in (0, 1):
        wide = upscaled(setting, seed, times, (NOISY_LOG2_LR, 0.0)).spec
        wide = replace(wide, dtype="float64", hyper=replace(wide.hyper, clip=clip))
        narrow = replace(wide, model=small.spec.model)
        yield grown(small, wide, claims.clipped(claims.WITHOUT_NOISE, clip), METHOD, CARRY)
        yield grown(small, narrow, claims.clipped(claims.CONTINUED, clip), "continue", CARRY)


scratch_runs = each_seed(BASIN_SEEDS, swept)
rate_runs, noise_runs = each_seed(SEEDS, of_rates), each_seed(SEEDS, of_noises)


def cross_runs(setting: Setting) -> list[Node]:
    return [*scratch_runs(setting), *rate_runs(setting), *noise_runs(setting)]


def curve_runs(setting: Setting) -> list[Node]:
    """With all that tuning takes."""
    return [*cross_runs(setting), *each_seed(SEEDS, equivalent)(setting)]


def of_widest(setting: Setting, seed: int) -> Iterator[Node]:
    """Scratch at the run's rate, and the widest pair upscaled."""
    widest = BASES[setting.scale][-1]
    for node in bases.basin(setting, 2 * widest, "mup", seed):
        if node.factors["log2_lr"] == 0:
            yield node
    yield upscaled(setting, seed, widest, CHOSEN)


def narrower(setting: Setting, seed: int) -> list[Node]:
    """On the front, half as wide as the base."""
    times = BASES[setting.scale][-2]
    return [Node(bases.halved(setting).spec(seed, times, parametrization="mup"), SCRATCH)]


LINE_STYLES: arms.LineStyles = {
    claims.BASE: style.LineStyle(style.GREY, "s"),
    claims.WIDE: style.line_style(SCRATCH),
    claims.TUNED: style.line_style(METHOD),
}
COLOUR = style.line_style(METHOD).colour
tuned_panel = arms.CurvePanel(claims.at_tuned, LINE_STYLES)


def draw_bowls(store: Store, method: str) -> Figure:
    found = claims.bowls(store, method)
    source, swept = found[-1].source, transfer_results(found).sweeps
    rungs = tuple((float(one.width), f"width {one.width}", one) for one in swept)
    return lr_sweeps.bowls([lr_sweeps.BowlPanel("", rungs, source.log2_lr if source else None)])


def draw_noises(store: Store) -> Figure:
    return operator_settings.operator_settings(transfer_results(claims.settings(store)))


def draw_gaps(axis: Axes, store: Store) -> None:
    for clip, line, label in ((0, "-", "no clipping"), (1, "--", claims.CLIPPED)):
        apart = claims.gaps(store, clip).clip(lower=1e-17)
        axis.plot(apart.index, apart, line, color=COLOUR)[0].set_label(label)
    axis.set(yscale="log", xlabel="steps", ylabel="|wide without noise − base| (nats)")
    axis.legend()


def draw_bars(axis: Axes, store: Store) -> None:
    places = np.arange(len(BARS))
    heights: dict[str, list[float]] = {
        "printed": [float(bar) for bar in BARS.values()],
        "attention to all": [cheaper(ratio, causal=False) for ratio in BARS],
        "causal attention": [cheaper(ratio, causal=True) for ratio in BARS],
    }
    colours = (style.FAINT, *style.OKABE_ITO)
    for place, (label, bars) in enumerate(heights.items()):
        axis.bar(places + 0.28 * (place - 1), bars, 0.28, color=colours[place], label=label)
    axis.set(yscale="log", ylabel="times cheaper", xlabel="GPT-2 small’s width over n")
    axis.set_xticks(places, [str(ratio) for ratio in BARS])
    axis.legend(title="FLOPs of a token")


def draw_tuning(axis: Axes, store: Store) -> None:
    """Tuning of each arm, over what a run of the widest pair takes: it serves every one of them."""
    _, wide, _ = claims.at_tuned(store)
    whole = recorded(wide, "flops")(store).value
    shares = {name: flops / whole for name, flops in claims.tuning_flops(store).items()}
    colours = [LINE_STYLES[name].colour for name in shares]
    bars = axis.bar([name.removeprefix("wide ") for name in shares], list(shares.values()), 0.6,
                    color=colours)  # fmt: skip
    axis.bar_label(bars, fmt="%.3g")
    axis.set(ylabel="tuning, runs of the widest")


def draw_ours(axis: Axes, store: Store) -> None:
    flops = store.runs[store.runs["arm"] == claims.UPSCALED].groupby("width")["flops"].mean()
    bars = axis.bar(flops.index.astype(str), flops.iloc[-1] / flops, 0.6, color=COLOUR)
    axis.bar_label(bars, fmt="%.3g")
    axis.set(xlabel="width after upscaling", ylabel="times cheaper, a run")


PAPER = Paper(
    name="mupscaling",
    arxiv="2602.10545",
    title="μpscaling small models: Principled warm starts and hyperparameter transfer",
    summary="rate and noise of upscaled training, tuned on a tiny pair of widths",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(WEB),
    figures={
        "U1": FigureOf(scratch_runs, lambda store: draw_bowls(store, SCRATCH), claims.U1).shows(
            "Loss against learning rate from scratch at each width",
            BOWLS,
        ),
        "U2": FigureOf(cross_runs, lambda store: draw_bowls(store, METHOD), claims.U2).shows(
            "Loss against learning rate of upscaled models at one noise",
            BOWLS + " The dashed line is the base’s rate. Widths are those after upscaling.",
        ),
        "U3": FigureOf(noise_runs, draw_noises, claims.U3).shows(
            "Loss against noise of upscaled models at one rate",
            "Mean final loss, with a band from the lowest to the highest seed; a star marks the "
            "lowest mean. Noise is in units of the wide model’s own initial weights.",
        ),
        "U4": FigureOf(curve_runs, arms.row(tuned_panel, draw_gaps), claims.U4).shows(
            "Upscaled training beside its base and beside scratch",
            "Left, the widest pair at rate and noise as tuned on the narrowest, and scratch at the "
            "rate best for the narrowest: mean validation loss with a band from the lowest to the "
            "highest seed. Right, narrowest pair in double precision: the distance between the "
            "losses of the wide model without noise and of its base trained on, a line a seed, "
            "with and without clipping of the gradient; below 1e-17 it is drawn there.",
        ),
        "U5": FigureOf(
            cross_runs, arms.row(draw_bars, draw_ours, draw_tuning, widths=(3, 2, 2)), claims.U5
        ).shows(
            "How much cheaper tuning a narrow pair is",
            "Left, training FLOPs of a token of GPT-2 small over those at its width over n: as the "
            "paper prints them, and counted here. Middle, of the runs that are tuned here. Right, "
            "what tuning of either arm takes on the narrowest pair, as many trials each, the base "
            "counted; it is paid once, for any number of wide models.",
        ),
        "U6": beside.figure(
            each_seed(SEEDS, of_widest),
            arms=lambda scale: [claims.upscaled(2 * BASES[scale][-1], CHOSEN)],
            front=each_seed(SEEDS, narrower),
            note="The upscaled has the rate and noise that nine trials find best on the narrowest "
            "pair at cpu, the others the run’s rate, within half a doubling of the best of as many "
            "trials from scratch; tuning is not in the charge.",
        ),
    },
    untestable=claims.UNTESTABLE,
)
