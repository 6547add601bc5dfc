"""Which rows enter a fit, and that each of the others has its reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.laws.rows import CHECKPOINT, EARLY, NO_LOSS, RowPolicy, Selection, select
from mugrow.bench.spec import UserError

COLUMNS = {"n": "size", "d": "tokens", "loss": "val"}


def curves() -> pd.DataFrame:
    """Two runs of ten logged points, whose learning rate falls to a hundredth in the last two."""
    rows = [
        {
            "id": run,
            "size": 10.0 * (1 + number),
            "tokens": float(point),
            "val": 5.0 - 0.1 * point,
            "lr": 1e-3 * (1 if point < 9 else 0.01),
            "seed": 0,
        }
        for number, run in enumerate(("<a>", "b"))
        for point in range(1, 11)
    ]
    return pd.DataFrame(rows)


def chosen(table: pd.DataFrame, **policy: Any) -> Selection:
    return select(table, COLUMNS, RowPolicy(**policy))


def test_one_final_a_run() -> None:
    selection = chosen(curves(), run="id")
    assert selection.rows.tolist() == [9, 19]
    assert selection.points["d"].tolist() == [10, 10]
    assert selection.reasons() == {CHECKPOINT: 18}
    assert selection.groups.tolist() == [0, 1]
    assert selection.undecayed == 0


def test_finals_go_by_step_in_rows_of_any_order() -> None:
    table = curves().sample(frac=1, random_state=0).reset_index(drop=True)
    with pytest.raises(UserError, match=r"d goes from .* --sorted"):
        chosen(table, run="id")
    assert sorted(chosen(table, run="id", by_x=True).points["n"]) == [10, 20]
    assert set(chosen(table, run="id", by_x=True).points["d"]) == {10}
    for rows in (table, curves()):
        reverse = chosen(rows, run="id", step="-tokens", by_x=rows is table)
        assert set(reverse.points["d"]) == {1}


def test_a_row_written_twice_counts_once_the_later() -> None:
    table = curves()
    table.loc[20] = table.loc[19]
    table.loc[20, "val"] = 3.5
    selection = chosen(table, run="id")
    assert selection.rows.tolist() == [9, 20]


def test_checkpoints_only_when_asked_and_not_the_first_tenth() -> None:
    table = curves()
    table.loc[0, "tokens"] = 0.99
    selection = chosen(table, run="id", checkpoints=True)
    assert selection.rows.tolist() == list(range(1, 20))
    assert selection.excluded == {0: EARLY}
    assert selection.undecayed == 15  # 7 + 8 before the learning rate fell
    assert np.bincount(selection.groups).tolist() == [9, 10]


def test_without_runs_each_row_is_one() -> None:
    selection = chosen(curves())
    assert len(selection.rows) == 20
    assert selection.groups is None
    assert selection.undecayed is None


def test_a_run_that_ended_without_a_loss_is_left_out() -> None:
    table = curves()
    table.loc[19, "val"] = np.nan
    selection = chosen(table, run="id")
    assert selection.rows.tolist() == [9]
    assert selection.excluded[19] == NO_LOSS
    assert selection.excluded[18] == CHECKPOINT


def test_where_leaves_out_first() -> None:
    selection = chosen(curves(), run="id", where='id == "b" and tokens < 5')
    assert selection.rows.tolist() == [13]
    assert selection.reasons() == {"not in --where": 16, CHECKPOINT: 3}


def test_group_names_what_was_drawn() -> None:
    assert chosen(curves(), run="id", group="seed").groups.tolist() == [0, 0]


def test_mixed_learning_rates() -> None:
    finals = curves().iloc[[9, 19, 9, 19]].reset_index(drop=True)
    assert len(chosen(finals).rows) == 4  # equal rates in each cell: seeds
    finals.loc[2, "lr"] = 7e-5
    with pytest.raises(UserError, match="mix learning rates, up to 2 at the same n, d"):
        chosen(finals)
    assert len(chosen(finals, allow_mixed=True).rows) == 4
    assert len(chosen(finals, where="lr < 5e-5").rows) == 3
    assert len(chosen(finals, lr="seed").rows) == 4  # another column is the learning rate


def test_the_learning_rate_of_a_run_is_its_peak() -> None:
    twice = pd.concat([curves(), curves().assign(id=["c"] * 10 + ["d"] * 10)]).reset_index(
        drop=True
    )
    twice.loc[20:, "lr"] *= np.where(twice.loc[20:, "tokens"] == 1, 3, 1)  # only an early peak
    with pytest.raises(UserError, match="mix learning rates"):
        chosen(twice, run="id")


@pytest.mark.parametrize("column", ["flops_convention", "lr_policy"])
def test_mixed_kinds(column: str) -> None:
    table = curves()
    table[column] = ["6ND"] * 19 + ["matmul"]
    with pytest.raises(UserError, match=r"the rows mix .* 6ND and matmul; keep one kind"):
        chosen(table)
    assert len(chosen(table, where=f"{column} == '6ND'").rows) == 19
    assert len(chosen(table, allow_mixed=True).rows) == 20


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize("name", ["size", "tokens"])
def test_variables_that_are_not_above_zero(name: str, value: float) -> None:
    table = curves()
    table.loc[[3, 5], name] = value
    with pytest.raises(UserError, match=r"must be a finite number above 0.*row 3 \(2 such rows\)"):
        chosen(table)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_loss_that_is_not_above_zero(value: float) -> None:
    table = curves()
    table.loc[3, "val"] = value
    with pytest.raises(UserError, match="loss must be a finite number above 0"):
        chosen(table)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"where": "tokens > 99"}, "no row of the table matches 'tokens > 99'"),
        ({"where": "tokens"}, "is not a condition"),
        ({"run": "ids"}, "unknown column 'ids'; did you mean 'id'"),
        ({"group": "seeds"}, "unknown column 'seeds'; did you mean 'seed'"),
        ({"lr": "lrs"}, "unknown column 'lrs'; did you mean 'lr'"),
        ({"run": "id", "step": "id"}, "column 'id' is not a number"),
        ({"run": "id", "step": "tokens / 0"}, "not finite"),
        ({"checkpoints": True}, "--checkpoints needs --run"),
    ],
)
def test_mistakes(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        chosen(curves(), **policy)
    assert "\n" not in str(caught.value)


def test_no_row_left_says_why() -> None:
    table = curves().assign(val=np.nan)
    with pytest.raises(UserError, match=f"no row is left to fit: 20 × {NO_LOSS}"):
        chosen(table)


def test_steps_of_the_law_order_a_run() -> None:
    selection = select(curves(), {"s": "tokens", "loss": "val"}, RowPolicy(run="id"))
    assert len(selection.points["s"]) == curves()["id"].nunique()
    assert set(selection.points["s"]) == set(curves().groupby("id")["tokens"].max())


def test_a_learning_rate_that_ends_at_0() -> None:
    """It is a column of the law or of the policy; only below 0 it is a mistake."""
    table = curves().assign(lr=curves().groupby("id").cumcount(ascending=False) * 1e-4)
    columns = {"s": "tokens", "lr": "lr", "loss": "val"}
    whole = select(table, columns, RowPolicy(run="id", curves=True), ("s", "lr"))
    assert len(whole.points["lr"]) == len(table)
    assert whole.points["lr"].min() == 0
    finals = select(table, {"s": "tokens", "loss": "val"}, RowPolicy(run="id", lr="lr"))
    assert finals.undecayed == 0
    with pytest.raises(UserError, match=r"lr must be a finite number at least 0, but is -0\.1"):
        select(table.assign(lr=-0.1), columns, RowPolicy(run="id", curves=True), ("s", "lr"))


def test_whole_curves_are_resampled_by_run() -> None:
    policy = RowPolicy(run="id", group="size", curves=True)
    with pytest.raises(UserError, match="resamples runs"):
        select(curves(), {"s": "tokens", "loss": "val"}, policy)


def test_runs_without_an_order() -> None:
    with pytest.raises(UserError, match="--run needs --step"):
        select(curves(), {"n": "size", "loss": "val"}, RowPolicy(run="id"))


CELLS = st.one_of(st.floats(), st.integers(-2, 5), st.none(), st.sampled_from(["x", "", "1"]))


@pytest.mark.integration
@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(("size", "tokens", "val", "lr", "id"), CELLS)),
             min_size=1, max_size=8),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_table_is_rows_or_one_line(
    rows: list[dict[str, Any]], runs: bool, checkpoints: bool
) -> None:
    table = pd.DataFrame(rows)
    try:
        selection = chosen(table, run="id" if runs else None, checkpoints=checkpoints)
    except UserError:
        return
    for values in selection.points.values():
        assert np.isfinite(values).all()
        assert (values > 0).all()
    assert sorted([*selection.rows, *selection.excluded]) == list(range(len(table)))
