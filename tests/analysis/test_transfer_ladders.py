"""Sweeps and ladders from rows: what is compared, what is refused, and how it is called."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import DATA
from transfer_rows import LOG2_LRS, NARROW, bowl, source_rows, starts, sweep_rows, table

from mugrow.analysis.transfer.ladder import ladders
from mugrow.analysis.transfer.results import ladder_labels, sweep_labels
from mugrow.analysis.transfer.sweep import sweeps


def found(*rows):
    return ladders(sweeps(table(*rows)))


def shape(ladder):
    return ladder.axis.name, ladder.sizes, ladder.reference


def widths(*sizes, best=-7.0, **fields):
    return [row for width in sizes for row in sweep_rows(bowl(best), model_width=width, **fields)]


def test_a_sweep_is_what_its_rows_say():
    (sweep,) = sweeps(table(widths(32)))
    assert sweep.log2_lr.tolist() == list(LOG2_LRS)
    assert sweep.seeds == ((0, 0), (1, 1), (2, 2))
    assert sweep.loss[2] == pytest.approx([bowl(-7.0)(lr) + 0.02 for lr in LOG2_LRS])
    assert set(sweep.status) == {"finished"}
    assert sweep.search_flops == pytest.approx(len(LOG2_LRS) * 3 * sweep.run_flops)


def test_rows_from_before_a_setting_was_added_are_of_the_same_sweep():
    rows = widths(32)
    for row in rows[::2]:
        older = json.loads(row["spec"])
        assert older.pop("optimizer") == "adamw"
        assert older["model"].pop("kv_heads") is older["base"].pop("kv_heads") is None
        row["spec"] = json.dumps(older)
    assert len(sweeps(table(rows))) == 1
    assert len(sweeps(table(rows, widths(32, optimizer="lion")))) == 2


def test_diverged_pruned_and_missing_are_told_apart():
    rows = widths(32)
    rows[0] |= {"status": "diverged", "final_val_loss": None}
    rows[4] |= {"status": "pruned"}
    (sweep,) = sweeps(table(rows[:-1]))
    assert (sweep.loss[0, 0], sweep.status[0]) == (np.inf, "diverged")
    assert np.isnan(sweep.loss[1, 1])
    assert sweep.status[1] == "pruned"
    assert (np.isnan(sweep.loss[2, -1]), sweep.status[-1]) == (True, "incomplete")


def test_a_target_is_the_run_of_its_sweep_at_the_transferred_rate():
    offsets = [lr for lr in LOG2_LRS if lr != -7]
    rows = sweep_rows(bowl(-7.0), log2_lrs=offsets, model_width=64)
    target = sweep_rows(bowl(-7.0), log2_lrs=[-7], model_width=64, role="target")
    other = sweep_rows(bowl(-7.0), log2_lrs=[-7], model_width=128, role="target")
    (sweep,) = sweeps(table(rows, target, other))
    assert (sweep.width, sweep.log2_lr.tolist()) == (64, list(LOG2_LRS))


def test_every_axis_has_its_ladder():
    rows = [
        *widths(32, 64, 128),
        *[row for depth in (4, 8) for row in sweep_rows(bowl(-7.0), model_depth=depth)],
        *[row for steps in (200, 400) for row in sweep_rows(bowl(-7.0), steps=steps)],
        *[row for k in (2, 3) for row in
          sweep_rows(bowl(-7.0), batch_sequences=8 * k, steps=round(100 / k))],
    ]  # fmt: skip
    whole, skipped = found(rows)
    batch_tokens = 8 * 128
    assert [shape(ladder) for ladder in whole] == [
        ("width", (32, 64, 128), None),
        ("depth", (2, 4, 8), None),
        ("tokens", tuple(batch_tokens * steps for steps in (100, 200, 400)), None),
        ("batch", (batch_tokens, 2 * batch_tokens, 3 * batch_tokens), None),
    ]
    assert skipped == []


def test_heads_that_grow_are_another_ladder():
    rows = [
        *widths(32, 64),
        *sweep_rows(bowl(-7.0), model_width=64, model_head_size=32),
        *sweep_rows(bowl(-7.0), model_width=128, model_head_size=64),
    ]
    whole, _ = found(rows)
    assert [shape(ladder)[1] for ladder in whole] == [(32, 64), (32, 64, 128)]
    assert ladder_labels(whole) == ["", "heads grow"]


def growth(best, *factors, method="szp", shrink=0.4):
    sources = source_rows(-7.25)
    grown_from = starts(sources, method, shrink=shrink)
    rows = [
        row
        for factor in factors
        for offset, role in ((-1.5, "proxy"), (-1, "proxy"), (-0.5, "proxy"), (0, "target"),
                             (0.5, "proxy"), (1, "proxy"), (1.5, "proxy"))
        for row in sweep_rows(bowl(best), log2_lrs=[-7.25 + offset], model_width=int(32 * factor),
                              starts=grown_from, role=role)
    ]  # fmt: skip
    return sources, rows


def test_grown_models_are_compared_with_their_source_and_with_scratch():
    sources, grown = growth(-7.0, 1.5, 2, 4)
    whole, skipped = found(sources, grown, widths(48, 64, 128))
    assert [shape(ladder) for ladder in whole] == [
        ("width", (48, 64, 128), None),
        ("width", (1.5, 2, 4), -7.25),
        ("width", (1.5, 2, 4), -7.25),
    ]
    assert [ladder.grown for ladder in whole] == [False, True, False]
    assert ladder_labels(whole) == ["", "szp", "scratch at the targets of growth"]
    assert len(whole[1].relation) == 3
    assert skipped == []


def test_scratch_with_other_seeds_is_no_companion():
    sources, grown = growth(-7.0, 2, 4)
    whole, _ = found(sources, grown, widths(64, 128, seeds=(0, 1)))
    assert [shape(ladder) for ladder in whole] == [
        ("width", (64, 128), None),
        ("width", (2, 4), -7.25),
    ]


def test_one_growth_factor_is_a_ladder_since_the_source_begins_it():
    sources, grown = growth(-7.0, 2)
    (ladder,), _ = found(sources, grown)
    assert (ladder.sizes, ladder.relation) == ((2,), ())


def test_two_settings_of_a_method_are_two_ladders_with_one_companion():
    sources, little = growth(-7.0, 2, 4, shrink=0.2)
    _, much = growth(-7.0, 2, 4, shrink=0.4)
    whole, _ = found(sources, little, much, widths(64, 128))
    assert ladder_labels(whole)[1:] == [
        "szp, shrink 0.2", "szp, shrink 0.4", "scratch at the targets of growth",
    ]  # fmt: skip


def test_a_source_that_is_not_in_the_store_is_said():
    _, grown = growth(-7.0, 2)
    _, skipped = found(grown)
    assert {one.reason for one in skipped} == {
        "the store does not have the run that it was grown from"
    }


OTHER = dataclasses.replace(DATA, corpus_sha256="cd" * 32)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([], "it is the only sweep: a ladder takes two sizes"),
        (widths(64, data=OTHER), "differs in corpus and width, not in one axis"),
        (widths(64, steps=200), "differs in token budget (steps) and width, not in one axis"),
        (widths(64, seeds=(0, 1)), "width 64 lacks seed 2, which others of the ladder have"),
        (widths(64, seeds=(0, 1, 2, 5)), "width 32 lacks seed 5, which others of the ladder have"),
        (widths(64, log2_lrs=(-7, -6)), "width 64 has 2 learning rates; an optimum takes 3"),
        (widths(64)[:-1], "width 64 lacks a seed's run at log2 learning rate -4"),
        (
            [row | {"status": "diverged", "final_val_loss": None} for row in widths(64)],
            "width 64 finished none of its 13 learning rates",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(second, reason):
    whole, skipped = found(widths(32), second)
    assert whole == []
    assert reason in skipped[0].reason


def test_a_refused_ladder_leaves_the_others():
    whole, skipped = found(
        widths(32, 64),
        widths(32, parametrization="sp"),
        widths(64, seeds=(0,), parametrization="sp"),
    )
    assert [ladder.rungs[0].parametrization for ladder in whole] == ["mup"]
    (one,) = skipped
    assert one.reason == "width 64 lacks seed 1, 2, which others of the ladder have"


def test_a_merged_store_is_split_by_corpus():
    whole, skipped = found(widths(32, 64), widths(32, 64, data=OTHER))
    assert len(whole) == 2
    assert ladder_labels(whole) == ["", "corpus cdcdcdcd"]
    assert skipped == []


def test_what_follows_the_model_is_said_once():
    tied = dataclasses.replace(NARROW, tied=True)
    rows = [*widths(32, 64), *widths(32, 64, parametrization="sp"),
            *widths(32, 64, model_tied=True, base=tied)]  # fmt: skip
    assert sorted(ladder_labels(found(rows)[0])) == ["", "", "tied"]


def test_a_label_names_what_is_unusual_and_nothing_else():
    rows = [
        *widths(32, 64),
        *widths(32, 64, parametrization="sp"),
        *widths(32, 64, parametrization="mup:gains=frozen"),
        *widths(32, 64, model_tied=True),
        *widths(32, 64, schedule_warmup=0.3),
        *widths(32, 64, hyper_init_std=0.2),
    ]
    whole, _ = found(rows)
    named = {(ladder.rungs[0].parametrization, label)
             for ladder, label in zip(whole, ladder_labels(whole), strict=True)}  # fmt: skip
    assert named == {
        ("mup", ""), ("sp", ""), ("mup:gains=frozen", ""),
        ("mup", "tied"), ("mup", "warmup 0.3"), ("mup", "init std 0.2"),
    }  # fmt: skip
    assert sorted(set(sweep_labels(sweeps(table(rows))))) == ["", "tied", "warmup 0.3"]
