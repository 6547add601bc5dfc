"""The plans of today's recipes are those of the committed tables, run by run."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mugrow.analysis.read.store import load
from mugrow.bench.spec import DataSpec, FixedHyper, UserError
from mugrow.sweeps.experiment import of_study
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.study_folder import claim

RESULTS = Path(__file__).parents[2] / "results" / "reference"


def committed(name):
    """What is executed for a committed study, and the text of its configuration."""
    text = (RESULTS / name / "study.json").read_text()
    written = json.loads(text)
    study = recipe(name)
    model = replace(study.model, vocab_size=written["model"]["vocab_size"])
    study = replace(study, corpus=written["corpus"], model=model)
    data = DataSpec(
        corpus=study.corpus,
        corpus_sha256=written["corpus_sha256"],
        tokenizer=study.tokenizer,
        val_tokens=study.val_tokens,
    )
    assert FixedHyper(**written["hyper"]) == study.hyper
    return of_study(study, data), text


@pytest.mark.parametrize("name", ["quick", "transfer-depth"])
def test_a_committed_study_is_planned_as_it_was_run(name):
    store = load(RESULTS / name)
    rows = {row["run_id"]: row for row in store.runs.to_dict("records")}
    planned = committed(name)[0].plan(rows)
    assert not planned.provisional
    assert [(run.spec.run_id, run.role) for run in planned.runs] == [
        (run_id, row["role"]) for run_id, row in rows.items()
    ]
    assert [list(row["run_ids"]) for row in planned.trials] == [
        list(run_ids) for run_ids in store.trials["run_ids"]
    ]


@pytest.mark.parametrize("name", ["transfer-width", "transfer-depth"])
def test_a_folder_from_before_a_setting_existed_is_gone_on_with(name, tmp_path):
    experiment, text = committed(name)
    assert "cooldown_shape" not in text
    (tmp_path / "study.json").write_text(text)
    claim(experiment, tmp_path, pytest.fail)
    changed = dict(experiment.configuration)
    changed["schedule"] = changed["schedule"] | {"cooldown_shape": "sqrt"}
    with pytest.raises(UserError, match="holds another study: its schedule is"):
        claim(replace(experiment, configuration=changed), tmp_path, pytest.fail)


def test_a_folder_from_before_budgets_says_what_to_set(tmp_path):
    experiment, _ = committed("quick")
    written = json.loads(json.dumps(experiment.configuration, default=asdict))
    for key in ("budgets", "front", "final_val_tokens", "looks", "against", "error_rate"):
        del written[key]
    (tmp_path / "study.json").write_text(json.dumps(written))
    with pytest.raises(UserError) as error:
        claim(experiment, tmp_path, pytest.fail)
    assert str(error.value).endswith("to go on with it add --set budgets= final_val_tokens=0")
    old = dict(experiment.configuration) | {"budgets": (), "final_val_tokens": 0}
    claim(replace(experiment, configuration=old), tmp_path, pytest.fail)
    other = dict(experiment.configuration) | {"target_steps": 7}
    with pytest.raises(UserError, match="holds another study: its target_steps is"):
        claim(replace(experiment, configuration=other), tmp_path, pytest.fail)
