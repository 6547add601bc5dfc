"""Bits flipped in every kind of file of a store: is a changed number ever used?

    PYTHONPATH=. python tests/faults/flips.py --flips 2000 STORE

STORE is a finished study, and is only read. Each flip is in a random bit of a random file of a
kind; the file is then read as the program reads it when it uses it. It is *refused*, or what is
read is the *same* as before (padding, or a bit that nothing depends on), or *changed*: of these
there may be none.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from mugrow.analysis.read.store import Store, load
from mugrow.bench import checkpoint
from mugrow.bench.checksums import SUMS, Damaged
from mugrow.bench.record import read_run
from mugrow.bench.run import load_state, verify
from mugrow.bench.spec import UserError
from mugrow.bench.start import read_source
from mugrow.sweeps.evaluate import read_numbers, write_numbers

TABLES = ("runs.parquet", "curves.parquet", "trials.parquet", "study.json")
Use = Callable[[Path], object]


def bytes_of(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in sorted(tensors.items())}


def record(path: Path) -> object:
    found = read_run(path.parent)
    assert found is not None
    return json.dumps(found[0]), found[1].to_pylist()


def weights(path: Path) -> object:
    source, run = read_source(path.with_name("checkpoint.safetensors"), "float32", carry=True)
    assert source.carried is not None
    moments = {name: bytes_of(part) for name, part in source.carried.buffers.items()}
    return run, bytes_of(source.weights), moments, source.carried.updates


def whole_run(path: Path) -> object:
    verify(path.parents[2], path.parent.name)
    return record(path)


def tables(path: Path) -> object:
    store: Store = load(path.parent)
    return (
        *(frame.to_csv() for frame in (store.runs, store.curves, store.trials)),
        json.dumps(store.study),
    )


def state(path: Path) -> object:
    tensors, rest = load_state(path)
    return bytes_of(tensors), rest


def with_more(store: Path, folder: Path) -> Path:
    """A copy of a store, with a stack in flight and an evaluation beside what it has."""
    copy = Path(shutil.copytree(store, folder / "store"))
    draw = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(3, 500, generator=draw) for name in ("weights", "m", "v")}
    curves = [[{"step": step, "val_loss": 3.0 - 0.1 * step} for step in range(9)]] * 3
    text = json.dumps({"runs": ["a", "b", "c"], "step": 9, "curves": curves})
    path = copy / "stacks" / "0123456789abcdef.safetensors"
    checkpoint.save(path, tensors, {"state": text, "sha256": checkpoint.digest(tensors, text)})
    numbers = {"loss": 2.25, "other": 0.125}
    write_numbers(copy / "evaluations" / "0123456789abcdef.json", numbers)
    return copy


def kinds(store: Path) -> dict[str, tuple[list[Path], Use]]:
    """The files of each kind, and what uses one."""
    tensors = sorted(store.glob("runs/*/checkpoint.safetensors"))
    return {
        "checkpoint": (tensors, weights),
        "optimizer state": ([path.with_name("state.safetensors") for path in tensors], weights),
        "curve": (sorted(store.glob("runs/*/curve.parquet")), record),
        "a run's checksums": (sorted(store.glob(f"runs/*/{SUMS}")), whole_run),
        "a run's spec.json": (sorted(store.glob("runs/*/spec.json")), whole_run),
        "stack in flight": (sorted(store.glob("stacks/*.safetensors")), state),
        "evaluation": (sorted(store.glob("evaluations/*.json")), read_numbers),
        **{name: ([store / name], tables) for name in TABLES},
        "a study's checksums": ([store / SUMS], tables),
    }


def flip(path: Path, draw: random.Random) -> bytes:
    """Flip a bit; returns what was there."""
    whole = path.read_bytes()
    content, bit = bytearray(whole), draw.randrange(8 * len(whole))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return whole


def flips(store: Path, count: int, seed: int = 0) -> dict[str, Counter[str]]:
    """How many flips of each kind were refused, the same and changed."""
    draw = random.Random(seed)
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = kinds(with_more(store, Path(folder)))
        read: dict[Path, object] = {}
        for number in range(count):
            kind = [*found][number % len(found)]
            paths, use = found[kind]
            path = draw.choice(paths)
            if path not in read:
                read[path] = use(path)
            before = flip(path, draw)
            try:
                outcome = "same" if use(path) == read[path] else "changed"
            except (Damaged, UserError):
                outcome = "refused"
            path.write_bytes(before)
            outcomes.setdefault(kind, Counter())[outcome] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes = flips(given.store, given.flips, given.seed)
    print(f"{'kind':22}{'flips':>8}{'refused':>9}{'same':>7}{'changed':>9}")
    for kind, counts in [*outcomes.items(), ("all", sum(outcomes.values(), Counter()))]:
        row = (counts.total(), counts["refused"], counts["same"], counts["changed"])
        print("{:22}{:8}{:9}{:7}{:9}".format(kind, *row))
    raise SystemExit(any(counts["changed"] for counts in outcomes.values()))


if __name__ == "__main__":
    main()
