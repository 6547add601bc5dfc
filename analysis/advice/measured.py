"""Evidence from a store: what its grown targets needed, measured, beside scratch.

A measured cost ratio is one point: one target, one growth factor, one source. It is carried over
to another plan unchanged, which is an assumption, so it decides only near by: within a factor
``NEAR`` in parameters, tokens, compute, growth factor and the source's tokens a parameter. Farther
away a law has to carry it (``mugrow.analysis.advice.fitted``).

Where the study has budgets it is measured at equal charged compute (``comparison``). Of a speed-up
s over scratch at the charge C = C_own + C_source

    cost ratio = C_own / (s C)

since s C is what scratch needs for the grown loss. It stands for a target that scratch trains for
C: there the saving is above 0 exactly where s is above 1. An s that scratch's budgets only bound
bounds the ratio.

Without budgets it is measured at a fixed loss, the one that scratch ends at after its cool-down,
which the grown arm meets before or inside its own. So it is too high by what the cool-down was
worth: a saving is *at least* what it says, which can show that growing pays and never that it does
not.
"""

import json
import math
from dataclasses import dataclass

import pandas as pd

from mugrow.analysis import words
from mugrow.analysis.advice.evidence import Bound, Evidence, reach
from mugrow.analysis.advice.plan import GrowthPlan
from mugrow.analysis.measure.arms import BASELINE, arm, curves_by_run, label_targets
from mugrow.analysis.measure.comparison import EqualCompute, compared
from mugrow.analysis.measure.equal_compute import State
from mugrow.analysis.measure.savings import Saving, headline
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

NEAR = 2.0
BOUNDS: dict[State, Bound] = {
    "above_budgets": "above_budgets",
    "below_budgets": "below_budgets",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredGrowth:
    """One grown arm of a store beside scratch: where it was measured, and its cost ratio.

    ``tokens`` are the target's, or at equal charged compute those that scratch trains on for the
    charge. ``speedup`` is what the cost ratio is of there, in words, and empty at a fixed loss;
    ``bound`` says that both are bounds.
    """

    study: str
    label: str
    target: str
    params: float
    tokens: float
    source_params: float
    source_tokens: float
    cost_ratio: Interval
    speedup: str = ""
    bound: Bound | None = None

    @property
    def growth_factor(self) -> float:
        return self.params / self.source_params

    @property
    def source_ratio(self) -> float:
        """Tokens a parameter of the source."""
        return self.source_tokens / self.source_params

    def is_near(self, params: float, tokens: float) -> bool:
        """Whether a target is within ``NEAR`` in parameters, tokens and compute."""
        return all(_near(ratio) for ratio in self._distances(params, tokens).values())

    def _distances(self, params: float, tokens: float) -> dict[str, float]:
        return {
            "params": params / self.params,
            "tokens": tokens / self.tokens,
            "compute": params * tokens / (self.params * self.tokens),
        }

    def evidence(self, plan: GrowthPlan) -> Evidence:
        distances = {
            **self._distances(plan.target_params, plan.target_tokens),
            "growth factor": plan.growth_factor / self.growth_factor,
            "source tokens a parameter": plan.source_tokens
            / plan.source_params
            / self.source_ratio,
        }
        seeds = self.cost_ratio.n
        far = [f"{name} {ratio:.3g}" for name, ratio in distances.items() if not _near(ratio)]
        limits = [f"beyond a factor {NEAR:g} of what was measured: {', '.join(far)}"] if far else []
        if math.isnan(self.cost_ratio.lo):
            limits.append("1 seed: no interval")
        ends = ", ".join(
            filter(None, (self.speedup, f"95 % of a paired t test over {seeds} seeds"))
        )
        return Evidence(
            name=f"{self.label} measured at {self.target}",
            citation=f"study {self.study}",
            estimate=self.cost_ratio,
            ends=ends,
            reach=reach(plan, self.params, self.tokens, 6 * self.params * self.tokens),
            limit="; ".join(limits),
            at_least=not self.speedup,
            bound=self.bound,
        )


def _near(ratio: float) -> bool:
    return 1 / NEAR <= ratio <= NEAR


def target_runs(store: Store) -> pd.DataFrame:
    """The finished targets as ``with_origins`` has them.

    Raises ``UserError`` where no grown target stands beside one from scratch.
    """
    targets = with_origins(store.runs, label_targets(store.runs))
    scratch = set(targets.loc[targets["method"] == BASELINE, "target"])
    beside = targets[targets["source_params"].notna() & targets["target"].isin(scratch)]
    if beside.empty:
        raise UserError(
            f"study {store.study['name']!r} has no finished target grown from a source beside one "
            "from scratch; advice from a store needs both"
        )
    return targets


def with_origins(runs: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Those of ``targets`` (see ``label_targets``) that finished, and what they grew from.

    ``source_params`` and ``source_tokens`` (up to the checkpoint used) are nan for scratch;
    ``growth`` is how the shape grew, as in ``w×2``, and empty for scratch.
    """
    targets = targets[(targets["status"] == "finished") & targets["final_val_loss"].notna()]
    by_id = runs.drop_duplicates("run_id", keep="last").set_index("run_id")
    sources = by_id.reindex(targets["source_run_id"]).set_index(targets.index)
    steps = [json.loads(spec)["start"]["source_step"] for spec in targets["spec"]]
    until = pd.Series(steps, targets.index, dtype=float) * sources["batch_tokens"]
    return targets.assign(
        source_params=sources["params"].astype(float),
        source_tokens=until.fillna(sources["tokens"]).astype(float),
        growth=_growth(targets, sources),
    )


def _growth(targets: pd.DataFrame, sources: pd.DataFrame) -> list[str]:
    """How the shape of each target grew from its source, a row each; empty without a source."""
    factors = {name[0]: targets[name] / sources[name] for name in ("width", "depth")}
    return [
        " ".join(f"{name}×{by.loc[row]:.3g}" for name, by in factors.items() if _grew(by.loc[row]))
        for row in targets.index
    ]


def _grew(factor: float) -> bool:
    return not math.isnan(factor) and factor != 1


def measure(store: Store, targets: pd.DataFrame) -> list[MeasuredGrowth]:
    """The cost ratio of every arm that grew from a smaller source: at equal charged compute where
    that was measured, else at scratch's final loss."""
    return at_equal_compute(store, targets) or at_fixed_loss(store, targets)


def at_equal_compute(store: Store, targets: pd.DataFrame) -> list[MeasuredGrowth]:
    """None where the study has no budgets. Arms without a seed in common with scratch's line are
    left out, and equal runs are one."""
    arms = dict(iter(targets.groupby(["target", "label"], sort=False)))
    found = []
    for row in compared(store.runs, targets):
        rows, scratch = arms[row.target, row.label], arms.get((row.target, BASELINE))
        grew = bool((rows["source_params"] < rows["params"]).all())
        if not grew or scratch is None or math.isnan(row.speedup.value):
            continue
        own = float(rows["flops"].mean()) / row.charge
        s = row.speedup
        found.append(
            MeasuredGrowth(
                study=str(store.study["name"]),
                label=row.label,
                target=row.target,
                params=float(rows["params"].mean()),
                tokens=row.charge * float((scratch["tokens"] / scratch["flops"]).mean()),
                source_params=float(rows["source_params"].mean()),
                source_tokens=float(rows["source_tokens"].mean()),
                cost_ratio=Interval(
                    own / s.value, own / s.hi, own / s.lo if s.lo else math.inf, s.n
                ),
                speedup=_in_words(row),
                bound=BOUNDS.get(row.speedup_state),
            )
        )
    return found


def _in_words(row: EqualCompute) -> str:
    sign = {"above_budgets": "> ", "below_budgets": "< "}.get(row.speedup_state, "")
    return f"speed-up {sign}{words.interval(row.speedup, words.times)} at equal charged compute"


def at_fixed_loss(store: Store, targets: pd.DataFrame) -> list[MeasuredGrowth]:
    """At scratch's final loss. Arms without a seed in common with scratch, and losses that both
    arms had from the start, have no cost ratio and are left out."""
    curves = curves_by_run(store.curves, set(targets["run_id"]))
    found = []
    for target, arms in targets.groupby("target", sort=False):
        baseline = arm(arms[arms["method"] == BASELINE], curves)
        grown = arms[arms["source_params"] < arms["params"]]
        for label, rows in grown.groupby("label", sort=False):
            method = arm(rows, curves)
            seeds = len(set(baseline.curves) & set(method.curves))
            savings = [saving for _, saving in headline(baseline, method)]
            ratio = _cost_ratio(savings, seeds)
            if ratio is not None:
                found.append(
                    MeasuredGrowth(
                        study=str(store.study["name"]),
                        label=str(label),
                        target=str(target),
                        params=float(rows["params"].mean()),
                        tokens=float(rows["tokens"].mean()),
                        source_params=float(rows["source_params"].mean()),
                        source_tokens=float(rows["source_tokens"].mean()),
                        cost_ratio=ratio,
                    )
                )
    return found


def _cost_ratio(savings: list[Saving], seeds: int) -> Interval | None:
    """1 / speed-up on the target alone, at the first loss of ``savings``.

    Where the arm never got there its cost is above a limit, and the interval is open.
    """
    for saving in savings:
        if saving.accounting != "target":
            continue
        if saving.speedup is not None:
            s = saving.speedup
            return Interval(1 / s.value, _inverse(s.hi), _inverse(s.lo), seeds)
        if saving.state == "never_reached" and saving.bound:
            ends = (1 / saving.limit, math.inf) if saving.limit else (math.nan, math.nan)
            return Interval(math.inf, *ends, seeds)
        break
    return None


def _inverse(speedup: float) -> float:
    """Minus infinity is an end left open by a method that may never get there."""
    return math.inf if speedup == -math.inf else 1 / speedup
