"""Evidence from a law fitted on a store's finals: warmstarting as extra effective tokens.

The form ``transfer_tokens`` says that a model grown by a factor g from a source with D1 tokens has

    L = L_scratch(N, D + kappa D1 g^-rho exp(-D / D_0)),

so it starts with a credit of tokens that fades as it trains. The loss that scratch has after D
tokens it reaches after x tokens, with x + credit(x) = D, and the cost ratio is x / D. The scratch
law cancels: only kappa, rho and D_0 matter, and N enters through g alone.

One law is fitted for each growth method, on its finals and all from scratch. Its interval comes
from resampling clusters: a grown run belongs to its source, so that two targets from one source are
not taken for independent. What the rows cannot identify gives no number, only the reason. Where the
growth factors span less than ``GROWTH_SPAN`` nothing can be learnt of rho, which is then held at 0:
kappa is the credit at those growth factors, and the law is used at no others.

The law cannot say that growing hurts: kappa is positive, so a cost ratio is at most 1. Where growth
does hurt, the fit ends at kappa = 0 and decides nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from mugrow.analysis.advice.evidence import Evidence, reach
from mugrow.analysis.advice.plan import GrowthPlan
from mugrow.analysis.laws.fit import FitResult, fit
from mugrow.analysis.laws.resampled import resampled_params
from mugrow.analysis.laws.transfer_tokens import FORM
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.stats import Array, Interval

REACH = 10.0
RESAMPLES = 200
GROWTH_SPAN = 1.5
TAIL = 0.025


def cost_ratio(plan: GrowthPlan, kappa: float, rho: float, d_0: float) -> float:
    """x / D, the share of the tokens that the grown target needs for the loss of scratch.

    0 where the credit alone is worth D tokens: the grown model starts below that loss.
    """
    tokens = plan.target_tokens
    credit = kappa * plan.source_tokens * plan.growth_factor**-rho

    def short(x: float) -> float:
        return float(x + credit * math.exp(-x / d_0) - tokens)

    # convex, below 0 at the start and not below it at the end: one root
    if short(0.0) >= 0:
        return 0.0
    return float(brentq(short, 0.0, tokens)) / tokens


def finals(runs: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Rows to fit: ``n, d, c, d1, g, loss``, with their ``label``, ``variant`` (see
    ``label_targets``), ``law``, ``parametrization`` and ``cluster``. A law is of one variant and of
    one way to grow: its name is the variant, and says the growth where there are several.

    Sources whose schedule ended are models from scratch as good as any target; those stopped
    before their cool-down are not.
    """
    stops = [json.loads(spec)["stop_step"] for spec in runs["spec"]]
    ended = pd.Series([stop is None for stop in stops], index=runs.index, dtype=bool)
    sources = runs[
        (runs["role"] == "source")
        & (runs["status"] == "finished")
        & (runs["method"] == BASELINE)
        & runs["final_val_loss"].notna()
        & ended
    ].assign(
        label=BASELINE, variant=BASELINE, growth="", source_params=math.nan, source_tokens=math.nan
    )
    rows = pd.concat([targets, sources], ignore_index=True)
    grown = rows["source_params"].notna()
    return pd.DataFrame(
        {
            "n": rows["params"].astype(float),
            "d": rows["tokens"].astype(float),
            "c": rows["flops"],
            "d1": rows["source_tokens"].fillna(0.0),
            "g": (rows["params"] / rows["source_params"]).fillna(1.0),
            "loss": rows["final_val_loss"],
            "label": rows["label"],
            "variant": rows["variant"],
            "law": _laws(rows),
            "parametrization": rows["parametrization"],
            "cluster": rows["source_run_id"].where(grown, rows["run_id"]),
            "scratch": rows["method"] == BASELINE,
        }
    )


def _laws(rows: pd.DataFrame) -> "pd.Series[str]":
    several = rows.groupby("variant")["growth"].transform("nunique") > 1
    return rows["variant"].where(~several, rows["variant"] + " " + rows["growth"])


def law_evidence(plan: GrowthPlan, rows: pd.DataFrame, study: str) -> list[Evidence]:
    """Evidence of one law for each growth method of ``rows`` (see ``finals``)."""
    found = []
    for (label, parametrization), grown in rows[~rows["scratch"]].groupby(
        ["label", "parametrization"], sort=False
    ):
        scratch = rows["scratch"] & (rows["parametrization"] == parametrization)
        both = pd.concat([rows[scratch], grown], ignore_index=True)
        found.append(_evidence(plan, both, f"law of {label} fitted on the store", study))
    return found


def _evidence(plan: GrowthPlan, rows: pd.DataFrame, name: str, study: str) -> Evidence:
    result = _fit(rows)
    limits = _distance(plan, rows)
    if result.status != "converged":
        limits.insert(0, f"{result.status}: {result.reason}")
    ends = (math.nan, math.nan) if limits else _ends(plan, rows, result)
    return Evidence(
        name=name,
        citation=f"study {study}",
        estimate=Interval(_ratio(plan, result.params), *ends, result.n_groups),
        ends=f"95 % bootstrap over {result.n_groups} clusters of runs",
        reach=reach(plan, rows["n"].max(), rows["d"].max(), 6 * (rows["n"] * rows["d"]).max()),
        limit="; ".join(limits),
    )


def _ends(plan: GrowthPlan, rows: pd.DataFrame, result: FitResult) -> tuple[float, float]:
    """The interval of the cost ratio. A resample without a law might be at either end."""
    draws = np.array([_ratio(plan, params) for params in _resamples(rows, result)])
    lost = np.isnan(draws)
    lo = np.quantile(np.where(lost, 0.0, draws), TAIL, method="lower")
    hi = np.quantile(np.where(lost, np.inf, draws), 1 - TAIL, method="higher")
    return float(lo), float(hi)


def _fit(rows: pd.DataFrame) -> FitResult:
    return fit(FORM, _points(rows), groups=rows["cluster"].tolist(), fixed=_fixed(rows))


def _resamples(rows: pd.DataFrame, result: FitResult) -> Sequence[Mapping[str, float]]:
    """Parameters of each resample of clusters, empty where it has none."""
    return resampled_params(
        FORM,
        _points(rows),
        result.params,
        groups=rows["cluster"].tolist(),
        resamples=RESAMPLES,
        fixed=_fixed(rows),
    )


def _points(rows: pd.DataFrame) -> dict[str, Array]:
    return {name: rows[name].to_numpy() for name in (*FORM.variables, "loss")}


def _fixed(rows: pd.DataFrame) -> dict[str, float]:
    factors = rows.loc[~rows["scratch"], "g"]
    return {"rho": 0.0} if factors.max() < GROWTH_SPAN * factors.min() else {}


def _ratio(plan: GrowthPlan, params: Mapping[str, float]) -> float:
    """nan where there are no parameters; 1 where the credit vanished, and rho and D_0 with it."""
    if not params:
        return math.nan
    if params["kappa"] == 0:
        return 1.0
    return cost_ratio(plan, params["kappa"], params["rho"], params["D_0"])


def _distance(plan: GrowthPlan, rows: pd.DataFrame) -> list[str]:
    """What keeps the law from reaching the plan: sizes too far, growth factors never seen."""
    grown = rows[~rows["scratch"]]
    asked = {"params": (plan.target_params, "n"), "tokens": (plan.target_tokens, "d")}
    far = [
        f"{name} is beyond a factor {REACH:g} of what was measured"
        for name, (value, column) in asked.items()
        if not grown[column].min() / REACH <= value <= grown[column].max() * REACH
    ]
    if not grown["g"].min() * 0.99 <= plan.growth_factor <= grown["g"].max() * 1.01:
        far.append(
            f"growth factor {plan.growth_factor:.3g} is outside "
            f"{grown['g'].min():.3g} to {grown['g'].max():.3g}"
        )
    return far
