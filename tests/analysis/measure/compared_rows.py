"""Rows of a study with budgets, whose answer is known."""

import json
import math

import pandas as pd

SEEDS = (0, 1, 2)
SPEC = {
    "parametrization": "mup",
    "hyper": {"lr": 0.01},
    "batch_sequences": 8,
    "optimizer": "adamw",
    "data": {"corpus_sha256": "0"},
}


def noise(seed: int, run: str) -> float:
    """Of a seed, shared by all runs, and a little of each run's own."""
    return 0.1 * seed + 0.0004 * math.sin(len(run) * sum(map(ord, run)) + (3 + ord(run[0])) * seed)


class Rows:
    """Losses are ``at`` plus noise; a scratch line of width w falls 0.2 nats a doubling."""

    def __init__(self, blocks: int = 0, seeds=SEEDS) -> None:
        self.rows: list[dict] = []
        self.blocks, self.seeds = blocks, seeds

    def add(self, name, role, method, width, flops, loss, source=None, source_flops=0.0):
        for seed in self.seeds:
            value = loss + noise(seed, name)
            text = [0.01 * math.sin(7 * block) for block in range(self.blocks)]
            mean = sum(text) / len(text) if text else 0.0
            self.rows.append(
                {
                    "run_id": f"{name}-{seed}",
                    "role": role,
                    "method": method,
                    "width": width,
                    "depth": 2,
                    "params": 12 * width**2,
                    "spec": json.dumps(
                        SPEC | {"model": {"width": width}, "data_seed": seed + 100 * (width == 32)}
                    ),
                    "source_run_id": source and f"{source}-{seed}",
                    "seed": seed,
                    "status": "finished",
                    "final_val_loss": value,
                    "final_block_losses": [value + one - mean for one in text] or None,
                    "flops": flops,
                    "flops_source": source_flops,
                }
            )

    def frames(self):
        runs = pd.DataFrame(self.rows)
        targets = runs[runs["role"] == "target"].copy()
        targets["target"], targets["label"] = "w64-d2", targets["method"]
        return runs, targets


def scratch(flops: float) -> float:
    return 3.0 - 0.2 * math.log2(flops)


def study(szp=0.02, own=0.01, blocks=0, seeds=SEEDS) -> Rows:
    """Scratch at 1, 2 and 4; two arms charged 1.25, one better than scratch by ``szp`` there; their
    source, trained on, better than scratch by ``own``."""
    rows = Rows(blocks, seeds)
    rows.add("scratch", "target", "scratch", 64, 1.0, scratch(1.0))
    rows.add("trunk", "trunk", "scratch", 64, 1.6, 9.0)
    rows.add("trunk2", "trunk", "continue", 64, 1.6, 9.0, "trunk", 1.6)
    rows.add("two", "branch", "continue", 64, 0.4, scratch(2.0), "trunk", 1.6)
    rows.add("four", "branch", "continue", 64, 0.8, scratch(4.0), "trunk2", 3.2)
    rows.add("source", "source", "scratch", 32, 0.25, 9.0)
    rows.add("on", "trunk", "continue", 32, 0.5, 9.0, "source", 0.25)
    rows.add("half", "branch", "continue", 32, 0.05, scratch(0.3) + 0.5, "source", 0.25)
    rows.add("end", "branch", "continue", 32, 0.5, scratch(1.25) - own, "on", 0.75)
    rows.add("szp", "target", "szp", 64, 1.0, scratch(1.25) - szp, "source", 0.25)
    rows.add("copy", "target", "hypercloning", 64, 1.0, scratch(1.25) + 0.05, "source", 0.25)
    return rows
