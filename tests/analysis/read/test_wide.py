"""Tables with a column a run, and JSON with a key a run: read where nothing else can be meant."""

import json
import math

import pandas as pd
import pytest

from mugrow.analysis.measure.logs import read_arms, savings
from mugrow.analysis.read.guess import read
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError

STEPS = list(range(10, 401, 10))
SCRATCH = [2 + 5 / math.sqrt(step) for step in STEPS]
GROWN = [2 + 4 / math.sqrt(step) for step in STEPS]
WORDS = {"run": "run", "x": "step", "loss": "loss", "baseline": "scratch"}


def written(folder, name, content):
    path = folder / name
    if isinstance(content, pd.DataFrame):
        content.to_csv(path, index=False)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def wide(**columns):
    return pd.DataFrame({"step": STEPS, "scratch": SCRATCH, "grown": GROWN} | columns)


PAIRS = zip(STEPS, SCRATCH, GROWN, strict=True)
SHAPES = {
    "plain.csv": wide(),
    "more.csv": wide(tokens=STEPS, lr=[0.1] * 40, time=["12:00"] * 40),
    "paths.csv": wide().rename(columns={"scratch": "scratch/loss", "grown": "grown/loss"}),
    "columns.json": wide().to_dict(orient="list"),
    "records.json": {
        "scratch": [{"step": x, "loss": y} for x, y in zip(STEPS, SCRATCH, strict=True)],
        "grown": [{"step": x, "loss": y} for x, y in zip(STEPS, GROWN, strict=True)],
    },
    "nested.json": {
        "scratch": {"step": STEPS, "loss": SCRATCH},
        "grown": {"step": STEPS[:30], "loss": GROWN[:30]},
    },
    "panel.csv": "Step,scratch - train/loss,grown - train/loss\n"
    + "".join(f"{x},{y},{z}\n" for x, y, z in PAIRS),
}


@pytest.mark.parametrize("name", SHAPES)
def test_columns_and_keys_that_are_runs(tmp_path, name):
    path = written(tmp_path, name, SHAPES[name])
    (found,) = savings(path, **WORDS)
    assert (found.method, found.state) == ("grown", "reached")
    assert found.speedup == pytest.approx(25 / 16, rel=1e-3)  # (5 / 4)²


def test_they_are_said_and_shown(tmp_path):
    arms = read_arms(written(tmp_path, "a.csv", wide()), **WORDS)
    assert [str(note) for note in arms.notes] == [
        "columns 'scratch', 'grown' are read as runs, of each the loss"
    ]
    shown = read(tmp_path / "a.csv")
    assert shown.kind == "CSV, a column a run"
    assert [(one.label, one.points, one.x_last) for one in shown.runs] == [
        ("scratch", 40, 400),
        ("grown", 40, 400),
    ]


def test_a_run_that_ends_or_diverges_does_so_alone(tmp_path):
    ends = [*GROWN[:20], *[None] * 20]
    breaks = [*SCRATCH[:30], "NaN", *SCRATCH[31:]]
    arms = read_arms(written(tmp_path, "a.csv", wide(grown=ends, scratch=breaks)), **WORDS)
    assert len(arms.methods["grown"].curves[0].flops) == 20
    assert [str(note) for note in arms.notes[1:]] == ["run 'scratch': no finite loss at step 310"]


def test_steps_that_pandas_kept_as_an_index(tmp_path):
    text = wide().set_index("step").to_json()
    path = written(tmp_path, "a.json", text)
    (found,) = savings(path, **WORDS | {"x": "index"})
    assert found.speedup == pytest.approx(25 / 16, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (
            "a.json",
            {"scratch": SCRATCH, "grown": GROWN},
            "has a column a run, and of scratch",
        ),
        ("a.csv", wide().drop(columns="step"), "none is --x step: put beside the runs what was pa"),
        ("a.json", {"scratch": SCRATCH, "grown": GROWN[:9]}, r"\('scratch' 40, 'grown' 9\) are no"),
        ("a.json", {"scratch": [[1, 2.0]], "grown": [[1, 2.0]]}, "an array of x as long as each"),
        ("a.csv", wide(note=["a"] * 40), "unknown column 'run'"),
        ("a.csv", wide(loss=GROWN), "unknown column 'run'"),
        ("a.csv", wide().drop(columns="scratch"), "unknown column 'run'"),
    ],
)
def test_what_may_be_something_else_is_refused(tmp_path, name, content, line):
    with pytest.raises(UserError, match=line):
        savings(written(tmp_path, name, content), **WORDS)


def test_metrics_beside_each_other_are_no_runs(tmp_path):
    names = {"scratch": "accuracy", "grown": "f1"}
    assert read(written(tmp_path, "a.csv", wide().rename(columns=names))).runs == ()


@pytest.mark.parametrize("x", ["Relative Time (Process)", "Relative Time (Wall)", "tokens_seen"])
def test_panels_of_wandb_by_any_x(tmp_path, x):
    frame = wide().set_axis([x, "a - b - eval/loss", "scratch - eval/loss"], axis=1)
    found = read(written(tmp_path, "a.csv", frame))
    assert (found.kind, found.x, found.loss) == ("W&B panel export", x, "eval/loss")
    assert [one.label for one in found.runs] == ["a - b", "scratch"]


def test_a_trainer_state_beside_other_records(tmp_path):
    history = [{"step": x, "loss": y} for x, y in zip(STEPS, SCRATCH, strict=True)]
    state = {"log_history": history, "best": None, "stateful_callbacks": [{"a": 1}]}
    found = read(written(tmp_path, "trainer_state.json", state))
    assert (found.kind, found.runs[0].points) == ("Hugging Face trainer state", 40)


def test_a_record_a_key_is_a_row(tmp_path):
    rows = {"small": {"params": 1e6, "loss": 3.5}, "large": {"params": 4e6, "loss": 3.0}}
    table = read_table(written(tmp_path, "a.json", rows)).frame
    assert table.to_dict("list") == {
        "run": ["small", "large"], "params": [1e6, 4e6], "loss": [3.5, 3.0]
    }  # fmt: skip
    by_number = {str(place): one for place, one in enumerate(rows.values())}
    table = read_table(written(tmp_path, "b.json", by_number)).frame
    assert table.to_dict("list") == {"params": [1e6, 4e6], "loss": [3.5, 3.0]}
    one = read_table(written(tmp_path, "c.json", {"config": {"lr": 1}, "summary": {"loss": 3}}))
    assert list(one.frame.columns) == ["config.lr", "summary.loss"]


def test_shapes_of_further_tools(tmp_path):
    excel = read(written(tmp_path, "a.csv", "sep=;\nrun;step;loss\na;1;3,5\na;2;3,25\n"))
    assert [(one.label, one.loss_last) for one in excel.runs] == [("a", 3.25)]
    comet = "experimentKey,metricName,metricValue,step\ne,loss,3.5,1\ne,lr,1,1\ne,loss,3.0,2\n"
    found = read(written(tmp_path, "b.csv", comet))
    assert (found.loss, found.runs[0].points) == ("loss", 2)
    windows = read(written(tmp_path, "c.csv", "step,loss\n1,3\n2,2\n3,1.#INF\n4,-1.#IND\n"))
    assert "2 losses are not finite, from step 3" in windows.notes[0]
