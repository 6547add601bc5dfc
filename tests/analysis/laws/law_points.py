"""Rows with a known law, and the published rows where they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.benchmark import chinchilla_points
from mugrow.analysis.laws.form import Form, Pointwise
from mugrow.analysis.stats import Array

LAWS = Path(__file__).parents[3].parent / "shared" / "data" / "laws"
needs_data = pytest.mark.skipif(not LAWS.exists(), reason="needs the run tables in ../shared/data")

SPANS = {
    "n": (1e7, 1e10),
    "d": (1e9, 1e12),
    "s": (1e3, 1e6),
    "m": (5.0, 640.0),
    "x": (1e6, 1e11),
    "d1": (1e9, 1e11),
    "g": (1.5, 8.0),
}
TRUTH: dict[str, tuple[float, ...]] = {
    "chinchilla": (1.8, 480.0, 2100.0, 0.35, 0.37),
    "chinchilla_tied": (1.8, 480.0, 1100.0, 0.35),
    "chinchilla_pinned": (1.8, 480.0, 2100.0, 0.34781, 0.36585),
    "skaling": (1.7, 3000.0, 20000.0, 0.45, 0.47, 0.77),
    "kaplan": (0.0947, 0.1141, 6e13, 2e13),
    "kaplan_steps": (0.077, 6.5e13, 0.76, 2100.0),
    "power": (120.0, -0.3, 1.5),
    "gadre": (1.8, 60.0, 100.0, 0.136),
    "bnsl": (0.5, 30.0, 0.1, 0.3, 1e9, 0.6),
    "transfer_tokens": (1.8, 480.0, 2100.0, 0.35, 0.37, 0.4, 0.8, 8e10),
}


def pointwise(name: str) -> tuple[Form, Pointwise]:
    form = get_form(name)
    assert isinstance(form.law, Pointwise)
    return form, form.law


def design(form: Form, rows: int = 60, seed: int = 0) -> dict[str, Array]:
    """Random points in the spans; half are from scratch where the law has warm starts."""
    rng = np.random.default_rng(seed)
    x = {name: np.exp(rng.uniform(*np.log(SPANS[name]), rows)) for name in form.variables}
    if "d1" in x:
        x["d1"][: rows // 2], x["g"][: rows // 2] = 0.0, 1.0
    return x


def internal_truth(name: str, params: tuple[float, ...]) -> Array:
    form, law = pointwise(name)
    pairs = zip(form.params, params, strict=True)
    return np.array([[np.log(v) if p in law.positive else v for p, v in pairs]])


def rows_of(
    name: str, params: tuple[float, ...], rows: int = 60, noise: float = 0.0, seed: int = 0
) -> dict[str, Array]:
    """Points of a law with ``noise``, the standard deviation of ln L."""
    form, law = pointwise(name)
    x = design(form, rows, seed)
    log = law.log_loss(internal_truth(name, params), x)[0][0]
    return {**x, "loss": np.exp(log + np.random.default_rng(seed + 1).normal(0, 1, rows) * noise)}


def epoch() -> dict[str, Array]:
    return chinchilla_points(LAWS / "epoch_chinchilla" / "svg_extracted_data.csv")


def checks() -> dict[str, Any]:
    """The acceptance checks by id."""
    table = pd.read_json(LAWS / "acceptance_checks.json")
    return {row["id"]: row for row in table.to_dict("records")}
