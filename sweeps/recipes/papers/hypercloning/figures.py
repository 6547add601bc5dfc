"""Pictures of clones beside random models, and of how far clones come apart."""

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.asymmetry import FLOOR, LOCKED
from mugrow.analysis.measure.quantity import evaluated, final
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.hypercloning import claims
from mugrow.sweeps.recipes.papers.hypercloning.claims import CLONE, LARGE, MODES, RANDOM

TRAINED = {"cpu": 1.0, "gpu": 1.0, "paper": 1.2}  # a source's steps over the target's
LOOKS: arms.Looks = {
    RANDOM: style.look("scratch"),
    LARGE: style.look("scratch"),
    CLONE: style.look("hypercloning"),
    claims.NOISY: style.Look(style.OKABE_ITO[0], "s"),
    claims.DIAGONAL: style.Look(style.OKABE_ITO[2], "D"),
    claims.FROM_SMALL: style.Look(style.OKABE_ITO[4], "v"),
    claims.FROM_MIDDLE: style.look("hypercloning"),
}


def family_panel(family: str) -> arms.CurvePanel:
    looks: arms.Looks = {claims.named(arm, family): LOOKS[arm] for arm in (RANDOM, CLONE)}
    title = f"{family}: twice the width"
    return arms.CurvePanel([*looks], looks, title=title, legend=family == "GPT")


def quality_panel(axis: Axes, store: Store) -> None:
    """The longer a clone's source was trained, the darker."""
    scale = store.study["scale"]
    names = {t: claims.after(t) for t in claims.LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
    shades = style.shades([(1, place) for place in range(len(names))])
    looks: dict[str, style.Look] = {
        name: style.Look(shades[1, place], style.MARKERS[place])
        for place, name in enumerate(names.values())
    }
    looks[RANDOM] = LOOKS[RANDOM]
    arms.curves(axis, store, [RANDOM, *names.values()], "tokens", looks=looks)
    words = {n: f"clone of a source trained for {t:g} times the steps" for t, n in names.items()}
    shown = {RANDOM: None, **words}
    axis.legend(handles=[style.handle(name, text, looks[name]) for name, text in shown.items()])


def asymmetry_panel(axis: Axes, store: Store) -> None:
    for mode in MODES:
        rows = arms.points(store, mode).groupby("tokens")["asymmetry"]
        means, look = rows.mean().clip(lower=FLOOR), LOOKS[mode]
        axis.plot(means.index, means, marker=look.marker, color=look.colour, label=mode)
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
    arms.CurvePanel([RANDOM, *MODES], LOOKS),
    arms.DotPanel(GAINS, "final loss − that of random (nats)", LOOKS),
    widths=(3, 2),
)
draw_quality = arms.row(arms.AnyPanel(quality_panel))
draw_factors = arms.row(arms.CurvePanel([LARGE, claims.FROM_SMALL, claims.FROM_MIDDLE], LOOKS))
draw_symmetry = arms.row(
    arms.AnyPanel(asymmetry_panel),
    arms.DotPanel(RANKS, "rank of hidden matrices (share of full)", LOOKS),
    widths=(3, 2),
)
