"""Which of an experiment's shapes are compiled, and after how much training that is won back.

A shape is compiled once, for all of its stacks: what the first leaves in torch's cache the others
find. So ``auto`` adds up the tokens that the plan has of each shape, what cannot be known yet
included, and compiles those that have more than it takes. A stack that goes on from its saved state
keeps what it began with.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from mugrow.bench.compiled import break_even_tokens, check_compiler, compile_s
from mugrow.bench.spec import RunSpec, UserError, unknown
from mugrow.sweeps.plan import Plan, PlannedStack

Compile = Literal["off", "on", "auto"]
CHOICES = ("off", "on", "auto")


def check_compile(choice: str, device: str | None, ranks: int = 1) -> None:
    """Raise the ``UserError`` of a choice that is none, of several ``ranks``, and of a ``device``
    of this machine, if it is one, for which nothing can be compiled here."""
    if choice not in CHOICES:
        raise unknown("compile", choice, CHOICES)
    if choice != "off" and ranks > 1:
        raise UserError(f"--compile {choice} is of one process; leave it off with --ranks {ranks}")
    if choice != "off" and device is not None:
        check_compiler(device)


def shape(spec: RunSpec) -> Hashable:
    """What runs have in common that one compiled program serves."""
    return (
        spec.model,
        spec.base,
        spec.parametrization,
        spec.batch_sequences,
        spec.dtype,
        spec.precision,
    )


@dataclass(frozen=True)
class Compiling:
    """The shapes that are compiled, and a line about each that was weighed."""

    shapes: frozenset[Hashable] = frozenset()
    lines: tuple[str, ...] = ()

    def of(self, stack: PlannedStack) -> bool:
        """Whether a stack is compiled."""
        return shape(stack.runs[0].spec) in self.shapes


def compiling(choice: Compile, plan: Plan) -> Compiling:
    """What is compiled of a plan."""
    if choice == "off":
        return Compiling()
    tokens: dict[Hashable, int] = {}
    specs: dict[Hashable, RunSpec] = {}
    for spec in _trained(plan):
        tokens[shape(spec)] = tokens.get(shape(spec), 0) + spec.train_steps * spec.batch_tokens
        specs.setdefault(shape(spec), spec)
    chosen = frozenset(
        key
        for key, spec in specs.items()
        if choice == "on" or tokens[key] > break_even_tokens(spec)
    )
    lines = tuple(_line(spec, tokens[key], key in chosen) for key, spec in specs.items())
    return Compiling(chosen, lines)


def _trained(plan: Plan) -> Iterable[RunSpec]:
    stacks = (*plan.stacks, *plan.provisional)
    return (run.spec for stack in stacks for run in stack.runs if run.spec.train_steps)


def _line(spec: RunSpec, tokens: int, chosen: bool) -> str:
    needed, batch = break_even_tokens(spec), spec.batch_tokens
    model = spec.model
    return (
        f"{spec.parametrization} width {model.width} depth {model.depth}: compiling takes about "
        f"{compile_s(spec):.0f} CPU s, won back after {needed / batch:,.0f} steps of a member; the "
        f"plan has {tokens / batch:,.0f}: {'compiled' if chosen else 'not compiled'}"
    )
