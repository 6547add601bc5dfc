"""A study with as many methods as there are: 27 grown labels and scratch at one target, two seeds.

Losses are formulas, told apart by the place of a label in ``METHODS``. What it was built to say:

* the further down a method stands, the higher it ends; the first six are the lowest;
* ``net2net`` never reaches scratch's final loss; ``prune`` diverged with both seeds;
* ``stack`` and ``interleave`` are grown from the shallower source, the others from the narrower;
* the spike of the method at place k is ``0.1 * k`` nats, except that ``continue`` has none;
* grown in width, ``hypercloning`` stays locked and all others come apart.
"""

import dataclasses
from typing import Any

import pandas as pd

from mugrow.analysis.read.store import Store
from mugrow.bench.spec import RunSpec, Start, canonical_json, run_spec_from_json

CARRY = {"optimizer": "carry", "schedule": "continue"}
DEPTH = ("stack", "interleave", "gradual_stack", "llama_pro", "inheritune", "prune")
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mup_upscale", {"params": {"noise": 0.1}, **CARRY}),
    ("staged", CARRY),
    ("continue", {}),
    ("szp", {"params": {"shrink": 0.2}}),
    ("szp", {"params": {"shrink": 0.4}}),
    ("zero_pad", {}),
    ("mup_upscale", {"params": {"noise": 0.0}, **CARRY}),
    ("mup_upscale", {"params": {"noise": 0.1}}),
    ("hypercloning", {}),
    ("hypercloning", {"noise": 0.1}),
    ("bert2bert", {}),
    ("lemon", {}),
    ("sparkling", CARRY),
    ("composable", {}),
    ("stack", {}),
    ("interleave", {}),
    ("gradual_stack", {}),
    ("llama_pro", {}),
    ("ligo", {}),
    ("msg", {}),
    ("majority_kernels", {}),
    ("inheritune", {}),
    ("net2net", {}),
    ("a_plug_in", {}),
    ("zero_pad", {"noise": 0.3}),
    ("bert2bert", {"noise": 0.3}),
    ("prune", {}),
)
STEPS, LOG_EVERY, SOURCE_LOSS = 800, 20, 2.3


def scratch_loss(step: int) -> float:
    """Falls as a power, and in the last fifth as the learning rate does."""
    return 1.9 + 1.6 * (1 + step / LOG_EVERY) ** -0.45 - 0.35 * max(0.0, step / STEPS - 0.8)


def grown_loss(place: int, step: int) -> float:
    """Ends 0.004 higher at each place, the first 0.1 below scratch."""
    spike = 0.0 if METHODS[place][0] == "continue" else 0.1 * place
    start = SOURCE_LOSS + spike * 0.5 ** (step / LOG_EVERY)
    lower = scratch_loss(STEPS) - 0.1 + 0.004 * place + 0.06 * (METHODS[place][0] == "net2net")
    done = (step / STEPS) ** 0.5
    return start + (lower - start) * done


def many_methods(store: Store) -> Store:
    """The proxies of a study, with targets by every method in place of its own."""
    runs = store.runs
    sources = runs[runs["role"] == "source"]
    shallow = pd.DataFrame([_of(row, depth=1) for row in sources.to_dict("records")])
    kept = pd.concat([runs[runs["role"] == "proxy"], sources, shallow])
    scratch = runs[(runs["role"] == "target") & (runs["method"] == "scratch")]
    rows, curves = [], []
    for base in scratch.to_dict("records"):
        seed = base["seed"]
        source_of = {
            depth: found[found["seed"] == seed].iloc[0]
            for depth, found in (("deep", shallow), ("wide", sources))
        }
        rows.append(_target(base, Start()))
        curves += _curve(rows[-1], scratch_loss, 0.01 * seed)
        for place, (method, policy) in enumerate(METHODS):
            source = source_of["deep" if method in DEPTH else "wide"]
            rows.append(_target(base, _start(method, policy, source["run_id"]), policy, source))
            rows[-1]["status"] = "diverged" if method == "prune" else "finished"
            curves += _curve(rows[-1], lambda step, k=place: grown_loss(k, step), 0.01 * seed)
    flat = [
        {"run_id": run_id, "step": 80, "tokens": 80, "flops": 1.0, "val_loss": SOURCE_LOSS}
        for run_id in (*sources["run_id"], *shallow["run_id"])
    ]
    proxies = store.curves[store.curves["run_id"].isin(kept["run_id"][kept["role"] == "proxy"])]
    table = pd.concat([proxies, pd.DataFrame(flat + curves)], ignore_index=True)
    runs = pd.concat([kept, pd.DataFrame(rows)], ignore_index=True)
    return Store(runs, table.astype({"asymmetry": float}), store.trials, store.study)


def _start(method: str, policy: dict[str, Any], source_run_id: str) -> Start:
    return Start(
        method=method,
        source_run_id=source_run_id,
        source_step=80,
        params=tuple(policy.get("params", {}).items()),
        optimizer=policy.get("optimizer", "fresh"),
        noise=policy.get("noise", 0.0),
    )


def _target(
    base: dict[str, Any], start: Start, policy: dict[str, Any] | None = None, source: Any = None
) -> dict[str, Any]:
    continued = 80 if (policy or {}).get("schedule") == "continue" else 0
    old = run_spec_from_json(base["spec"])
    spec = dataclasses.replace(
        old, start=start, steps=STEPS + continued, first_step=continued, log_every=LOG_EVERY
    )
    return base | _identity(spec) | {
        "method": start.method,
        "source_run_id": start.source_run_id,
        "tokens": spec.tokens,
        "flops": 6.0 * base["params"] * spec.tokens,
        "flops_source": 0.0 if source is None else 2 * source["flops"],
    }  # fmt: skip


def _of(row: dict[Any, Any], depth: int) -> dict[Any, Any]:
    spec = run_spec_from_json(row["spec"])
    model = dataclasses.replace(spec.model, width=128, depth=depth)
    return row | _identity(dataclasses.replace(spec, model=model)) | {"width": 128, "depth": depth}


def _identity(spec: RunSpec) -> dict[str, Any]:
    return {"run_id": spec.run_id, "name": spec.name, "spec": canonical_json(spec)}


def _curve(row: dict[str, Any], loss: Any, shift: float) -> list[dict[str, Any]]:
    """Points from step 0; the row's final loss is set to the last."""
    steps = range(0, STEPS + 1, LOG_EVERY)
    row["final_val_loss"] = loss(STEPS) + shift
    return [
        {
            "run_id": row["run_id"],
            "step": step,
            "tokens": step * row["batch_tokens"],
            "flops": row["flops"] * step / STEPS,
            "val_loss": loss(step) + (shift if step else 0.0),
            "asymmetry": asymmetry(row["method"], step),
        }
        for step in steps
    ]


def asymmetry(method: str, step: int) -> float | None:
    if method in (*DEPTH, "scratch"):
        return None
    return 0.0 if method == "hypercloning" else min(1.0, 1e-4 * len(method) * 1.015**step)
