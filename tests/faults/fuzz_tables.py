"""Valid tables of any shape that tools write, with a known truth; and the same tables damaged.

    python tests/faults/fuzz_tables.py 10000 [first]

Curves are E + A (x / k)^-p: the speed-up of a method over the baseline at the baseline's final loss
is the ratio of their k, where the method's log goes on to that loss. They are written as a dialect
of some tool, with resumes, newest rows first, seeds, rows without a loss, tails that diverged,
grouped thousands, suffixes and other columns. What is read must give that ratio, or be refused in
one line. Damaged tables may give anything but a traceback.
"""

import gzip
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from mugrow.analysis.measure.logs import read_arms, savings_of
from mugrow.analysis.read.expression import numbers
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError

Rows = list[dict[str, object]]
TOLERANCE = 0.01  # of interpolating between logged points
NAMES = ("scratch", "grown", "szp", "w64-d2", "Größe", "a=b", "run 1", "1B", "stack (2x)", "0.1")
LOSSES = ("loss", "val_loss", "val/loss", "eval_loss", "CE loss")
STEPS = ("step", "_step", "global_step", "iteration", "trainer/global_step")


@dataclass(frozen=True)
class Made:
    """A table in ``files``, how to read it, and the speed-up that is true; nan: never reached."""

    dialect: str
    files: Mapping[str, bytes]
    words: Mapping[str, str]
    baseline: str
    truth: Mapping[str, float]
    said: Sequence[str] = field(default_factory=tuple)


def make(index: int) -> Made:
    """The table of a number: the same each time."""
    draw = np.random.default_rng(index)
    dialect = str(draw.choice(list(WRITERS)))
    names = [str(one) for one in draw.choice(NAMES, int(draw.integers(2, 5)), replace=False)]
    if dialect in ("tensorboard", "trainer_state", "files"):
        names = [f"arm{place}" for place in range(len(names))]
    seeds = int(draw.integers(2, 4)) if dialect in WITH_SEEDS and draw.random() < 0.3 else 0
    power, floor, height = draw.uniform(0.3, 0.6), draw.uniform(1.5, 2.5), draw.uniform(2.0, 6.0)
    points = int(draw.integers(30, 80))
    every = int(draw.choice([1, 10, 100, 1000, 2500]))
    speeds = {
        name: 1.0 if not place else draw.uniform(0.8, 2.0) for place, name in enumerate(names)
    }
    runs: dict[tuple[str, int], Rows] = {}
    said: list[str] = []
    finals: dict[str, float] = {}
    for name in names:
        for seed in range(max(seeds, 1)):
            x = every * np.arange(1, points + 1)
            loss = floor + height * (x * speeds[name] / every) ** -power + 0.01 * seed
            rows: Rows = [{"x": int(a), "loss": float(b)} for a, b in zip(x, loss, strict=True)]
            if draw.random() < 0.25:
                rows, what = _resumed(rows, draw)
                said.append(what)
            if draw.random() < 0.15 and dialect not in NO_TAIL:
                last = int(x[-1])
                tail = [{"x": last + every * more, "loss": None} for more in range(1, 6)]
                said.append("diverged")
                rows = [*rows, *tail]  # type: ignore[list-item]
            if draw.random() < 0.2 and dialect not in DENSE and "resumed" not in said:
                rows = _sparse(rows, every)
                said.append("sparse")
            runs[name, seed] = rows
        finals[name] = float(floor + height * (points * speeds[name]) ** -power)
    if draw.random() < 0.15:
        runs = {key: rows[::-1] for key, rows in runs.items()}
        said.append("newest first")
    best = finals[names[0]]
    truth = {
        name: speeds[name] if finals[name] <= best * (1 + 1e-12) else math.nan for name in names[1:]
    }
    writer = WRITERS[dialect]
    files, words = writer(runs, draw, bool(seeds))
    return Made(dialect, files, words, names[0], truth, said)


def _resumed(rows: Rows, draw: np.random.Generator) -> tuple[Rows, str]:
    """With one or two branches that were abandoned before the rows went on."""
    found, at = [], 0
    cuts = sorted(int(one) for one in draw.choice(np.arange(5, len(rows) - 3), 2, replace=False))
    for cut in cuts[: int(draw.integers(1, 3))]:
        over = int(draw.integers(1, 6))
        branch = [{"x": row["x"], "loss": float(str(row["loss"])) + 0.4} for row in
                  rows[cut : cut + over]]  # fmt: skip
        found += [*rows[at:cut], *branch]
        at = cut
    return [*found, *rows[at:]], "resumed"


def _sparse(rows: Rows, every: int) -> Rows:
    """With rows between that have no loss."""
    if every < 4:
        return rows
    found: Rows = []
    for row in rows:
        found += [{"x": int(str(row["x"])) - every // 2, "loss": None}, row]
    return found


# --- dialects ----------------------------------------------------------------------------------

Written = tuple[Mapping[str, bytes], Mapping[str, str]]
Runs = Mapping[tuple[str, int], Rows]


def _frame(
    runs: Runs, draw: np.random.Generator, seeds: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows with other columns, by run or interleaved, and the names of their columns."""
    x, loss = str(draw.choice(STEPS)), str(draw.choice(LOSSES))
    run = str(draw.choice(["run", "Name", "run_name", "method"]))
    frames = [
        pd.DataFrame({run: name, "seed": seed, x: [row["x"] for row in rows],
                      loss: [row["loss"] for row in rows]})
        for (name, seed), rows in runs.items()
    ]  # fmt: skip
    frame = pd.concat(frames, ignore_index=True)
    frame[loss] = frame[loss].astype(float)
    if draw.random() < 0.4:  # as runs that are logged at the same time
        order = frame.groupby([run, "seed"], sort=False).cumcount()
        frame = frame.loc[order.sort_values(kind="stable").index].reset_index(drop=True)
    if draw.random() < 0.5:
        frame["lr"] = 1e-3
        frame["notes"] = "fine, so far"
    if draw.random() < 0.3:
        frame = frame[list(draw.permutation(frame.columns))]
    if not seeds:
        frame = frame.drop(columns="seed")
    words = {"run": run, "x": x, "loss": loss}
    return frame, words | ({"seeds": "seed"} if seeds else {})


def _text(frame: pd.DataFrame, x: str, draw: np.random.Generator, separator: str) -> str:
    style = draw.choice(["plain", "grouped", "suffix", "float", "scientific"])
    cells = frame.copy()
    values = cells[x]
    if style == "grouped":
        cells[x] = [f"{value:,}" for value in values]
    elif style == "suffix":
        cells[x] = [f"{value / 1000:g}k" if value % 100 == 0 else str(value) for value in values]
    elif style == "float":
        cells[x] = values.astype(float)
    elif style == "scientific":
        cells[x] = [f"{value:.6e}" for value in values]
    nothing = str(draw.choice(["", "NaN", "nan", "NA"]))
    text = cells.to_csv(index=bool(draw.random() < 0.2), sep=separator, na_rep=nothing)
    return text.replace("\n", "\r\n") if draw.random() < 0.2 else text


def _separated(
    suffix: str, separator: str, pack: Callable[[bytes], bytes]
) -> Callable[..., Written]:
    def write(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
        frame, words = _frame(runs, draw, seeds)
        text = _text(frame, words["x"], draw, separator)
        mark = b"\xef\xbb\xbf" if draw.random() < 0.1 else b""
        return {f"log{suffix}": pack(mark + text.encode())}, words

    return write


def _decimal_commas(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    frame, words = _frame(runs, draw, seeds)
    return {"log.csv": frame.to_csv(index=False, sep=";", decimal=",").encode()}, words


def _parquet(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    frame, words = _frame(runs, draw, seeds)
    frame[words["x"]] = frame[words["x"]].astype(str(draw.choice(["int32", "int64", "float64"])))
    if draw.random() < 0.3:
        frame[words["run"]] = frame[words["run"]].astype("category")
    path = Path(tempfile.mkdtemp()) / "log.parquet"
    frame.to_parquet(path)
    return {"log.parquet": path.read_bytes()}, words


def _records(frame: pd.DataFrame) -> Rows:
    return [
        {str(key): None if value != value else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _json_lines(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    frame, words = _frame(runs, draw, seeds)
    word = draw.choice(["null", "text", "bare", "none"])
    rows = _records(frame)
    for row in rows:
        if row[words["loss"]] is None and word != "null":
            row[words["loss"]] = {"text": "NaN", "bare": math.nan}.get(str(word))
            if word == "none":
                del row[words["loss"]]
    text = "\n".join(json.dumps(row) for row in rows)
    return {f"log.{draw.choice(['jsonl', 'json', 'JSONL'])}": text.encode()}, words


def _json_document(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    frame, words = _frame(runs, draw, seeds)
    rows = _records(frame)
    shape = draw.choice(["records", "columns", "wrapped"])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    document = {"records": rows, "columns": columns, "wrapped": {"history": rows, "project": "p"}}
    return {"log.json": json.dumps(document[str(shape)]).encode()}, words


def _nested(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    frame, words = _frame(runs, draw, seeds)
    lines = [
        json.dumps({"run": {"name": row[words["run"]], "seed": row.get("seed")},
                    "step": row[words["x"]], "metrics": {"eval": {"loss": row[words["loss"]]}}})
        for row in _records(frame)
    ]  # fmt: skip
    found = {"run": "run.name", "x": "step", "loss": "metrics.eval.loss"}
    return {"log.jsonl": "\n".join(lines).encode()}, found | (
        {"seeds": "run.seed"} if seeds else {}
    )


def _wandb(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    """A panel: as W&B shows runs, with the last of each step."""
    metric = str(draw.choice(["train/loss", "loss", "val_loss"]))
    columns: dict[str, pd.Series] = {}
    for (name, _), rows in runs.items():
        values = {int(str(row["x"])): row["loss"] for row in _final(rows)}
        for end in ("", "__MIN", "__MAX"):
            columns[f"{name} - {metric}{end}"] = pd.Series(values, dtype=float)
    frame = pd.DataFrame(columns).sort_index().rename_axis("Step").reset_index()
    return {"wandb_export.csv": frame.to_csv(index=False).encode()}, {
        "run": "run", "x": "Step", "loss": metric,
    }  # fmt: skip


def _final(rows: Rows) -> Rows:
    """What is left of rows that rewind."""
    newest_first = int(str(rows[0]["x"])) > int(str(rows[-1]["x"]))
    found: dict[int, dict[str, object]] = {}
    for row in rows[::-1] if newest_first else rows:
        x = int(str(row["x"]))
        found = {at: one for at, one in found.items() if at < x} | {x: row}
    return list(found.values())


def _tensorboard(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    files = {}
    for (name, _), rows in runs.items():
        lines = [f"{1.6e9 + place},{row['x']},{row['loss']}" for place, row in enumerate(rows)
                 if row["loss"] is not None]  # fmt: skip
        files[f"{name}.csv"] = "\n".join(["Wall time,Step,Value", *lines]).encode()
    return files, {"run": "run", "x": "Step", "loss": "Value"}


def _trainer_state(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    files = {}
    for (name, _), rows in runs.items():
        history: Rows = []
        for row in rows:
            history.append({"step": row["x"], "epoch": 0.1, "grad_norm": 1.0})
            if row["loss"] is not None:
                history.append({"step": row["x"], "epoch": 0.1, "eval_loss": row["loss"]})
        state = {"best_metric": None, "global_step": 1, "log_history": history}
        files[f"{name}/trainer_state.json"] = json.dumps(state).encode()
    return files, {"run": "run", "x": "step", "loss": "eval_loss"}


def _a_file_a_run(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    files = {}
    for (name, _), rows in runs.items():
        frame = pd.DataFrame(rows).rename(columns={"x": "_step", "loss": "eval/c4/loss"})
        files[f"{name}.csv"] = frame.to_csv(index=False).encode()
    return files, {"run": "run", "x": "_step", "loss": "eval/c4/loss"}


def _mlflow(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    lines: Rows = []
    for (name, _), rows in runs.items():
        for key in ("lr", "loss"):
            lines += [
                {"run_id": name, "key": key, "value": 1e-3 if key == "lr" else row["loss"],
                 "timestamp": 1_700_000_000 + place, "step": row["x"]}
                for place, row in enumerate(rows)
            ]  # fmt: skip
    return {"metrics_history.csv": pd.DataFrame(lines).to_csv(index=False).encode()}, {
        "run": "run_id", "x": "step", "loss": "loss",
    }  # fmt: skip


def _trackio(runs: Runs, draw: np.random.Generator, seeds: bool) -> Written:
    lines = [
        {"id": place, "timestamp": "2026-01-01T00:00:00", "run_name": name, "step": row["x"],
         "metrics": json.dumps({"loss": row["loss"], "lr": 1e-3})}
        for (name, _), rows in runs.items() for place, row in enumerate(rows)
    ]  # fmt: skip
    return {"project.csv": pd.DataFrame(lines).to_csv(index=False).encode()}, {
        "run": "run_name", "x": "step", "loss": "metrics.loss",
    }  # fmt: skip


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _same(content: bytes) -> bytes:
    return content


WRITERS: Mapping[str, Callable[..., Written]] = {
    "csv": _separated(".csv", ",", _same),
    "upper case": _separated(".CSV", ",", _same),
    "tsv": _separated(".tsv", "\t", _same),
    "semicolon": _separated(".csv", ";", _same),
    "gzip": _separated(".csv.gz", ",", gzip.compress),
    "zstd": _separated(".tsv.zst", "\t", _zstd),
    "decimal commas": _decimal_commas,
    "parquet": _parquet,
    "json lines": _json_lines,
    "json document": _json_document,
    "nested": _nested,
    "wandb": _wandb,
    "tensorboard": _tensorboard,
    "trainer_state": _trainer_state,
    "files": _a_file_a_run,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
WITH_SEEDS = ("csv", "upper case", "tsv", "semicolon", "gzip", "zstd", "decimal commas", "parquet",
              "json lines", "json document", "nested")  # fmt: skip
NO_TAIL = ("tensorboard", "wandb")
DENSE = ("wandb",)


# --- what is read ------------------------------------------------------------------------------


def judge(made: Made, folder: Path) -> str:
    """``right``, ``refused: …`` or ``wrong: …`` of what is read of a table."""
    paths = written(made.files, folder)
    try:
        arms = read_arms(paths, baseline=made.baseline, **made.words)
        found = {row.method: row for row in savings_of(arms)}
    except UserError as error:
        return f"refused: {error}"
    for name, speed in made.truth.items():
        row = found.get(name)
        if row is None:
            return f"wrong: {name} is missing"
        if math.isnan(speed):
            if row.state != "never_reached":
                return f"wrong: {name} never reaches the loss, but {row.state} {row.speedup}"
        elif row.state == "reached":
            if abs(row.speedup / speed - 1) > TOLERANCE:
                return f"wrong: {name} is {speed} times as fast, not {row.speedup}"
        elif not (row.state == "never_reached" and abs(speed - 1) < TOLERANCE):
            return f"wrong: {name} is {speed} times as fast, not {row.state}"
    return "right"


def written(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """The files, below a folder."""
    paths = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def damaged(made: Made, index: int) -> Made:
    """The table with one of its files changed at random."""
    draw = np.random.default_rng(index)
    name = str(draw.choice(list(made.files)))
    content = bytearray(made.files[name])
    lines = bytes(content).split(b"\n")
    match int(draw.integers(6)):
        case 0:
            for _ in range(int(draw.integers(1, 5))):
                content[int(draw.integers(len(content)))] = int(draw.integers(256))
        case 1:
            del content[int(draw.integers(len(content))) :]
        case 2:
            start = int(draw.integers(len(content)))
            del content[start : start + int(draw.integers(1, 30))]
        case 3:
            content = bytearray(b"\n".join([*lines, *lines[: int(draw.integers(len(lines) + 1))]]))
        case 4:
            content = bytearray(b"\n".join(lines[place] for place in draw.permutation(len(lines))))
        case _:
            at = int(draw.integers(len(content)))
            content[at:at] = draw.choice([b",", b'"', b"\x00", b"NaN", b"{", b"1e999", b"\n\n"])
    return Made(made.dialect, {**made.files, name: bytes(content)}, made.words, made.baseline, {})


def survives(made: Made, folder: Path) -> str:
    """An empty text where a table gives anything or one line; else what it did."""
    paths = written(made.files, folder)
    try:
        table = read_table(*paths)
        numbers(table.frame, made.words["loss"])
        savings_of(read_arms(paths, baseline=made.baseline, **made.words))
    except UserError as error:
        return "two lines" if "\n" in str(error) else ""
    except Exception as error:
        return f"{made.dialect}: {type(error).__name__}: {error}"
    return ""


def main(count: int, first: int = 0) -> None:
    """Count what happens to so many tables, and print what was not right."""
    verdicts: Counter[str] = Counter()
    by_dialect: Counter[str] = Counter()
    crashes = 0
    for index in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            made = make(index)
            try:
                verdict = judge(made, Path(folder))
            except Exception as error:
                verdict = f"crashed: {type(error).__name__}: {error}"
            kind = verdict.partition(":")[0]
            verdicts[kind] += 1
            if kind != "right":
                by_dialect[f"{kind} {made.dialect}"] += 1
                if by_dialect[f"{kind} {made.dialect}"] <= 3:
                    print(index, made.dialect, made.said, verdict[:300], flush=True)
        with tempfile.TemporaryDirectory() as folder:
            said = survives(damaged(made, index), Path(folder))
            crashes += bool(said)
            if said:
                print(index, "damaged", said[:300], flush=True)
    print(dict(verdicts), dict(by_dialect), f"damaged with a traceback: {crashes}", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
