"""Pictures of clones beside random models, and of how far clones come apart."""

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.asymmetry import FLOOR, LOCKED
from mugrow.analysis.measure.quantity import evaluated, final
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.hypercloning import claims
from mugrow.sweeps.recipes.papers.hypercloning.claims import CLONE, LARGE, MODES, RANDOM

TRAINED = {"cpu": 1.0, "gpu": 1.0, "paper": 1.2}  # a source's steps over the target's
LINE_STYLES: arms.LineStyles = {
    RANDOM: style.line_style("scratch"),
    LARGE: style.line_style("scratch"),
    CLONE: style.line_style("hypercloning"),
    claims.NOISY: style.LineStyle(style.OKABE_ITO[0], "s"),
    claims.DIAGONAL: style.LineStyle(style.OKABE_ITO[2], "D"),
    claims.FROM_SMALL: style.LineStyle(style.OKABE_ITO[4], "v"),
    claims.FROM_MIDDLE: style.line_style("hypercloning"),
}


def family_panel(family: str) -> arms.CurvePanel:
    line_styles: arms.LineStyles = {
        claims.named(arm, family): LINE_STYLES[arm] for arm in (RANDOM, CLONE)
    }
    title = f"{family}: twice the width"
    return arms.CurvePanel([*line_styles], line_styles, title=title, legend=family == "GPT")


def quality_panel(axis: Axes, store: Store) -> None:
    """The longer a clone's source was trained, the darker."""
    scale = store.study["scale"]
    names = {t: claims.after(t) for t in claims.LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
    shades = style.shades([(1, place) for place in range(len(names))])
    line_styles: dict[str, style.LineStyle] = {
        name: style.LineStyle(shades[1, place], style.MARKERS[place])
        for place, name in enumerate(names.values())
    }
    line_styles[RANDOM] = LINE_STYLES[RANDOM]
    arms.curves(axis, store, [RANDOM, *names.values()], "tokens", line_styles=line_styles)
    words = {n: f"clone of a source trained for {t:g} times the steps" for t, n in names.items()}
    shown = {RANDOM: None, **words}
    axis.legend(
        handles=[style.handle(name, text, line_styles[name]) for name, text in shown.items()]
    )


def asymmetry_panel(axis: Axes, store: Store) -> None:
    for mode in MODES:
        rows = arms.points(store, mode).groupby("tokens")["asymmetry"]
        means, line_style = rows.mean().clip(lower=FLOOR), LINE_STYLES[mode]
        axis.plot(means.index, means, marker=line_style.marker, color=line_style.colour, label=mode)
    axis.axhline(LOCKED, color=style.GREY, ls=":", lw=1, label="_locked")
    axis.text(0.01, LOCKED, "locked below", transform=axis.get_yaxis_transform(), va="top")
    axis.set(xscale="log", yscale="log", xlabel="tokens trained on")
    axis.set_ylabel("relative distance of clones")
    style.flops_axis(axis.xaxis)
    axis.legend()


RANKS: arms.Quantities = {arm: evaluated(arm, claims.RANKS) for arm in (RANDOM, *MODES)}
GAINS: arms.Quantities = {mode: final(mode) - final(RANDOM) for mode in MODES}
draw_families = arms.row(*map(family_panel, claims.FAMILIES))
draw_expansions = arms.row(
    arms.CurvePanel([RANDOM, *MODES], LINE_STYLES),
    arms.DotPanel(GAINS, "final loss − that of random (nats)", LINE_STYLES),
    widths=(3, 2),
)
draw_quality = arms.row(arms.AnyPanel(quality_panel))
draw_factors = arms.row(
    arms.CurvePanel([LARGE, claims.FROM_SMALL, claims.FROM_MIDDLE], LINE_STYLES)
)
draw_symmetry = arms.row(
    arms.AnyPanel(asymmetry_panel),
    arms.DotPanel(RANKS, "rank of hidden matrices (share of full)", LINE_STYLES),
    widths=(3, 2),
)
