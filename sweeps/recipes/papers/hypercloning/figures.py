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
    names = {str(arm): claims.named(arm, family) for arm in (RANDOM, CLONE)}
    title = f"{family}: twice the width"
    return arms.CurvePanel(names, LINE_STYLES, title=title, legend=family == "GPT")


def quality_panel(axis: Axes, store: Store) -> None:
    """The longer a clone's source was trained, the darker."""
    scale = store.study["scale"]
    clones = {t: claims.after(t) for t in claims.LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
    names = {f"clone of a source trained for {t:g} times the steps": n for t, n in clones.items()}
    line_styles = {RANDOM: LINE_STYLES[RANDOM]} | style.shaded([*names])
    arms.CurvePanel({str(RANDOM): RANDOM} | names, line_styles).draw(axis, store)


def asymmetry_panel(axis: Axes, store: Store) -> None:
    for mode in MODES:
        rows = arms.points(store, mode).groupby("tokens")["asymmetry"]
        means = rows.mean().clip(lower=FLOOR)
        axis.plot(means.index, means, **LINE_STYLES[mode].keywords, label=mode)
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
