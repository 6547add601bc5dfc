"""The finding that the suite is for, from end to end: SP's best learning rate falls as the model
widens, muP's stays."""

import json

import pytest

STUDY = (
    *("model.width=32", "model.depth=2", "model.head_size=16", "model.context=32"),
    *("proxy_widths=32,128", "log2_lr=-9,-8,-7,-6,-5,-4,-3", "init_std=0.05", "seeds=0,1"),
    *("proxy_steps=150", "batch_sequences=16", "schedule.kind=linear", "generation=7", "ladder="),
    *("log_every=50", "val_tokens=4096"),
)


@pytest.mark.slow  # three minutes of CPU
def test_150_steps_on_the_synthetic_source_tell_sp_from_mup(mugrow, tmp_path):
    out = tmp_path / "study"
    ended = mugrow("run", "quick", "--corpus", "synthetic", "--out", out, "--set", *STUDY)
    assert ended.code == 0, ended.err
    found = json.loads(mugrow("transfer", out, "--json").out)
    drift = {one["parametrization"]: one["drift"]["slope"]["value"] for one in found["ladders"]}
    assert -2 < drift["sp"] < -0.7  # about -1 log2 a doubling
    assert abs(drift["mup"]) < 0.35
