"""Collecting: what sources and tuning cost is added to each run's row, and tables are whole."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_runs import DATA, STUDY, ended, run_all

from mugrow.bench.files import temporary_of
from mugrow.bench.record import CURVE_SCHEMA, RUN_SCHEMA, TRIAL_SCHEMA, table_of
from mugrow.sweeps.collect import collect, run_rows
from mugrow.sweeps.index import Curves
from mugrow.sweeps.plan import plan

SMALL = replace(STUDY, parametrizations=("mup",), log2_lr=(-9.0, -7.0, -4.0), seeds=(0, 1))


def row(spec):
    """As ``fake_runs.ended``: 100 FLOPs for a run that finished, 10 for one that diverged."""
    about = {"run_id": spec.run_id, "source_run_id": spec.start.source_run_id}
    return ended(spec) | about


@pytest.fixture
def study():
    """The last plan of a small study and its rows."""
    return run_all(SMALL, row=row)


def curves_of(finished):
    found = Curves()
    for run_id in finished:
        curve = [{"run_id": run_id, "step": 1, "train_loss": 2.0}]
        found.add(run_id, table_of(curve, CURVE_SCHEMA))
    return found


def test_every_trial_of_the_sweep_is_on_the_bill(study):
    """Nine trials of two seeds at width 32, of which three diverged after a tenth of the FLOPs;
    the sweep at width 64 is on nobody's bill."""
    done, finished = study
    rows = {fields["run_id"]: fields for fields in run_rows(done.runs, finished, "small")}
    for run in done.runs:
        bill = rows[run.spec.run_id]["flops_tuning"]
        assert bill == (None if run.role == "proxy" else 2 * (6 * 100 + 3 * 10))


def test_a_grown_run_is_charged_its_source(study):
    done, finished = study
    for fields in run_rows(done.runs, finished, "small"):
        assert fields["flops_source"] == (0.0 if fields["source_run_id"] is None else 100.0)
    assert {fields["flops_source"] for fields in run_rows(done.runs, finished, "small")} == {
        0.0,
        100.0,
    }


def test_sources_of_sources_add_up(study):
    done, finished = study
    grown = next(run for run in done.runs if run.spec.start.source_run_id is not None)
    source = grown.spec.start.source_run_id
    first = next(run.spec.run_id for run in done.runs if run.role == "proxy")
    longer = finished | {source: finished[source] | {"source_run_id": first}}
    (fields,) = run_rows([grown], longer, "small")
    assert fields["flops_source"] == 200.0


def test_tables_have_their_declared_columns_and_all_rows(study, tmp_path):
    done, finished = study
    collect(tmp_path, done, finished, "small", curves_of(finished))
    for name, schema, rows in (
        ("runs", RUN_SCHEMA, len(done.runs)),
        ("curves", CURVE_SCHEMA, len(done.runs)),
        ("trials", TRIAL_SCHEMA, len(done.trials)),
    ):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.schema.equals(schema)
        assert table.num_rows == rows


def test_a_study_that_has_just_begun_has_empty_tables(tmp_path):
    collect(tmp_path, plan(SMALL, DATA, {}), {}, "small", Curves())
    for name in ("runs", "curves"):
        assert pq.read_table(tmp_path / f"{name}.parquet").num_rows == 0


def test_runs_wait_for_a_source_that_is_done_again(study, tmp_path):
    """A source whose checkpoint was damaged counts as not ended, while its targets do."""
    done, finished = study
    source = next(run.spec.run_id for run in done.runs if run.role == "source")
    left = {run_id: fields for run_id, fields in finished.items() if run_id != source}
    collect(tmp_path, plan(SMALL, DATA, left), left, "small", curves_of(left))
    collected = set(pq.read_table(tmp_path / "runs.parquet")["run_id"].to_pylist())
    of_it = {i for i, fields in finished.items() if fields["source_run_id"] == source}
    assert of_it
    assert collected == left.keys() - of_it


def test_what_a_killed_program_left_half_written_goes(tmp_path):
    def left_by(process: int, name: str) -> Path:
        path = temporary_of(tmp_path / name)
        path = path.with_name(path.name.replace(f".{os.getpid()}.", f".{process}."))
        path.write_bytes(b"")
        return path

    dead, living = 2**22 + 1, os.getppid()  # no process has the first
    stay = [left_by(dead, "mine.txt"), left_by(living, "curves.parquet")]
    go = [left_by(dead, name) for name in ("curves.parquet", "study.json", "SHA256SUMS")]
    collect(tmp_path, plan(SMALL, DATA, {}), {}, "small", Curves())
    assert all(path.exists() for path in stay)
    assert not any(path.exists() for path in go)
