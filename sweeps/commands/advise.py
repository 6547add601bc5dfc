"""``mugrow advise``: grow a model, or train it from scratch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.arguments import Amount
from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from mugrow.analysis.advice.advise import (
        Advice,
        HeldOut,
        ProposedStart,
        ScratchLaw,
        Timing,
        WeighedEvidence,
    )
    from mugrow.analysis.advice.experiment import SettlingExperiment
    from mugrow.analysis.stats import Interval


@dataclass(frozen=True)
class AdviseCommand:
    """Grow a model or train it from scratch, from what size, when, and what it would save."""

    params: Annotated[Amount | None, arg(metavar="N")] = None
    """Parameters of the target; needed."""
    tokens: Annotated[Amount | None, arg(metavar="D")] = None
    """Tokens the target would train on from scratch; needed."""
    source_params: Annotated[Amount | None, arg(metavar="N")] = None
    """Parameters of the source; one is proposed by default."""
    source_tokens: Annotated[Amount | None, arg(metavar="D")] = None
    """Tokens the source trains on before it grows."""
    source_sunk: bool = False
    """The source exists already: its compute does not count in the verdict."""
    tuning_budget: Annotated[Amount, arg(metavar="FLOPS")] = 0.0
    """FLOPs of tuning, charged to both arms in the full accounting."""
    store: Annotated[Path | None, arg(metavar="DIR")] = None
    """A study's folder with scratch and grown targets, to advise from its own runs."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        params, tokens = self._target()
        from mugrow.analysis.advice.advise import Question, advise
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.store import load

        question = Question(
            params=params,
            tokens=tokens,
            source_params=self.source_params,
            source_tokens=self.source_tokens,
            source_sunk=self.source_sunk,
            tuning_flops=self.tuning_budget,
        )
        advice = advise(question, None if self.store is None else load(self.store))
        if self.json:
            print(json.dumps(to_json(advice), indent=2))
        else:
            _show(advice)

    def _target(self) -> tuple[float, float]:
        """Its parameters and tokens. Raises ``UserError`` for what is missing."""
        of_source = _missing({"--source-params": self.source_params,
                              "--source-tokens": self.source_tokens})  # fmt: skip
        if self.params is None or self.tokens is None:
            asked = _missing({"--params": self.params, "--tokens": self.tokens}) + " of the target"
            if self.source_sunk and of_source:
                asked += f", and {of_source} of the source that is sunk"
            raise UserError(f"advise needs {asked}, as in --params 1e9 --tokens 2e10")
        if self.source_sunk and of_source == "--source-params and --source-tokens":
            raise UserError(f"--source-sunk needs {of_source}: which source?")
        if (self.source_params is None) != (self.source_tokens is None):
            raise UserError("--source-params and --source-tokens describe one source: give both")
        return self.params, self.tokens


def _missing(options: Mapping[str, float | None]) -> str:
    return " and ".join(name for name, value in options.items() if value is None)


def _show(advice: "Advice") -> None:
    target, source = advice.target, advice.source
    counted = "sunk" if source.sunk else "charged"
    given = "proposed" if source.proposed else "no proposal"
    proposed = f" ({given}: {source.rule})" if source.rule else ""
    print(f"{advice.verdict.upper()}: {advice.rule}\n")
    print(
        f"target  {_amount(target.params)} parameters, {_amount(target.tokens)} tokens, "
        f"{target.flops:.3g} FLOPs\n"
        f"source  {_amount(source.params)} parameters, {_amount(source.tokens)} tokens, "
        f"{source.share:.3g} of the target's cost, {counted}; growth factor "
        f"{source.growth_factor:.3g}{proposed}\n"
    )
    if rows := [_evidence_row(one) for one in advice.evidence if one.state != "unknown"]:
        print_table(rows)
    for what, names in _reasons(advice.evidence).items():
        print(f"  {', '.join(names)}: {what}")
    print("\nSources to start from")
    print_table([_source_row(one) for one in advice.starting_points])
    print(f"\n{_when(advice.when_to_grow)}\n{_scratch(advice.scratch_law)}")
    print(_held_out(advice.held_out))
    print("Assumed: " + ";\n  ".join(advice.assumptions) + ".")
    print(_experiment(advice.experiment))


def _when(when: "Timing") -> str:
    """The published timing rules, with token counts from those that know such targets."""
    slope = (
        "When: grow when d ln loss / d ln compute of the source has flattened to "
        f"{when.slope:.3f} (staged training)"
    )
    staged = f"about {_amount(when.source_tokens_staged)} tokens by Kaplan's law"
    g_stack = f"{_amount(when.source_tokens_g_stack)} tokens by G_stack's formula"
    known = [staged] * when.staged_in_range + [g_stack] * when.g_stack_in_range
    return f"{slope}; {' and '.join(known) or 'no formula in tokens is for such targets'}."


def _scratch(law: "ScratchLaw") -> str:
    if not law.in_range:
        return "The target is outside the range of the Chinchilla law."
    return (
        f"From scratch the Chinchilla law predicts a loss of {law.loss:.3f}; its optimum for "
        f"this compute has {_amount(law.optimal_params)} parameters\n"
        f"  and {_amount(law.optimal_tokens)} tokens. A saving of {law.example_saving:.0%} "
        f"is a loss gap of {law.loss_gap:.2%}, which the spread of seeds must not hide."
    )


def _held_out(one: "HeldOut") -> str:
    return (
        f"The published laws err: of the run held out of them ({_amount(one.params)} parameters, "
        f"{_amount(one.tokens)} tokens) they predict\n  a grown loss {one.gap_predicted:.1%} below "
        f"scratch; {one.gap_measured:.1%} was measured."
    )


def _experiment(one: "SettlingExperiment") -> str:
    if min(one.target_params) * min(one.tokens_per_param) < 1:
        return "No smaller targets can settle it: they would train on less than a token."
    return (
        f"To settle it: targets of {', '.join(map(_amount, one.target_params))} parameters "
        f"at {', '.join(f'{ratio:.3g}' for ratio in one.tokens_per_param)} tokens a "
        f"parameter,\n  each from scratch and grown by {one.growth_factor:.3g}, "
        f"{one.seeds} seeds: {one.runs} runs with sources, "
        f"{one.flops:.3g} FLOPs, {one.share_of_target:.0%} of the target; "
        "then --store.\n  Worth it only where growing could save more than that."
    )


def _evidence_row(one: "WeighedEvidence") -> dict[str, str]:
    reach = one.extrapolation
    savings = {
        f"saving, {accounting}": _share(saving, one.state)
        for accounting, saving in one.savings.items()
    }
    return {
        "evidence": one.name,
        "decides": ("growing only" if one.at_least else "yes") if one.decides else "no",
        **savings,
        "asked / largest N, D, C": f"{reach.params:.3g}, {reach.tokens:.3g}, {reach.flops:.3g}",
    }


def _reasons(evidence: "Sequence[WeighedEvidence]") -> dict[str, list[str]]:
    """What stands behind the rows, or keeps them from deciding, with the rows it is true of."""
    reasons: dict[str, list[str]] = {}
    for one in evidence:
        why = f"does not decide: {one.limit}" if one.limit else f"interval: {one.interval}"
        if one.at_least:
            why += "; savings at a fixed loss, which are at least that"
        reasons.setdefault(f"{one.citation}; {why}", []).append(one.name)
    return reasons


def _source_row(one: "ProposedStart") -> dict[str, str]:
    share = one.source_share
    return {
        "rule": one.rule,
        "growth factor": f"{one.growth_factor:.3g}",
        "parameters": _amount(one.source_params),
        "tokens": _amount(one.source_tokens),
        "of the target's cost": f"{share:.0%}" if share < 10 else "above 1000%",
        "rule fits this target": "yes" if one.in_range and share < 1 else "no",
    }


def _share(saving: "Interval", state: str) -> str:
    """A saving with its interval, or the bound that a store's budgets leave; one without limit
    below never reaches the loss."""
    if state == "unknown":
        return "–"
    shown = {"above_budgets": "> ", "below_budgets": "< "}.get(state, "") + _percent(saving.value)
    if not math.isfinite(saving.hi):
        return f"{shown} (unknown)"
    return f"{shown} ({_percent(saving.lo)} to {saving.hi:.0%})"


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "never"
    return f"{share:.0%}" if share > -10 else "below -1000%"


def _amount(value: float) -> str:
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
