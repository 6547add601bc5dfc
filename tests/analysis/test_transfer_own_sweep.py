"""Anyone's table of sizes, rates and losses, judged as a study's sweeps are."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mugrow as api
from mugrow.analysis.transfer.own_sweep import alike
from mugrow.bench.spec import UserError

ROOT = Path(__file__).parents[2]
MUP66 = """width,lr,loss
96,0.00390625,4.1291
192,0.00390625,3.7287
384,0.00390625,3.4713
768,0.00390625,
96,0.001953125,4.1184
192,0.001953125,3.7086
384,0.001953125,3.4041
768,0.001953125,
96,0.0009765625,4.1627
192,0.0009765625,3.7074
384,0.0009765625,3.3809
768,0.0009765625,3.1226
96,0.00048828125,4.2398
192,0.00048828125,3.7363
384,0.00048828125,3.3776
768,0.00048828125,3.1009
96,0.000244140625,4.3393
192,0.000244140625,3.8111
384,0.000244140625,3.4135
768,0.000244140625,3.1074
"""  # posted at microsoft/mup, issue 66
NAMES = {"size": "width", "lr": "lr", "loss": "loss"}
WORDS = ("--size", "width", "--lr", "lr", "--loss", "loss")


@pytest.fixture
def mup66(tmp_path):
    path = tmp_path / "mup66.csv"
    path.write_text(MUP66)
    return path


def bowls(slope=0.0, seeds=(0, 1, 2), widths=(64, 128, 256), noise=0.001):
    """Best rates at -8 + slope log2(width / 64), curvature 0.04, loss falling with width."""
    draw = np.random.default_rng(0)
    rows = [
        (width, seed, 2.0**x, 3 + 64 / width + 0.02 * (x + 8 - slope * math.log2(width / 64)) ** 2
         + noise * draw.normal())
        for width in widths for seed in seeds for x in np.arange(-12, -3.5)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["width", "seed", "lr", "loss"])


def test_a_posted_sweep_of_one_seed(mup66):
    found = api.transfer(mup66, **NAMES)
    (ladder,) = found.ladders
    assert [rung.size for rung in ladder.rungs] == [96, 192, 384, 768]
    best = [rung.best_log2_lr.value for rung in ladder.rungs]
    square, slope, _ = np.polyfit(
        np.arange(-8, -13, -1), [3.7287, 3.7086, 3.7074, 3.7363, 3.8111], 2
    )
    assert best == [-9, pytest.approx(-slope / (2 * square)), -11, -11]
    assert [sweep.argmin_log2_lr for sweep in found.sweeps] == [-9, -10, -11, -11]
    assert ladder.drift.of == "argmin"
    assert ladder.drift.slope.value == pytest.approx(-0.7)
    assert math.isnan(ladder.drift.slope.lo)
    regrets = {pair.target: pair.regret_nats.value for pair in ladder.from_smallest}
    assert regrets[192] == pytest.approx(3.7086 - 3.7074)
    assert regrets[384] == pytest.approx(3.4041 - 3.3776)
    assert ladder.widest.regret_at == "unknown"
    assert (ladder.verdict.word, ladder.verdict.why) == (
        "inconclusive",
        "one seed gives no interval",
    )
    assert found.notes == ("width 768: no loss, so diverged or missing at log2 rate -9, -8",)


def test_it_is_what_a_study_says():
    """The proxies of a committed study as a table: the same optima, drifts and verdicts."""
    folder = ROOT / "results" / "reference" / "transfer-width"
    store = api.load(folder)
    words = {"size": "width", "lr": "lr", "loss": "final_val_loss"}
    loss = store.runs["final_val_loss"].where(store.runs["status"] == "finished")
    proxies = store.runs.assign(final_val_loss=loss)
    where = 'role == "proxy" and init_std == 0.1'
    own = api.transfer(proxies, **words, seeds="seed", by=["parametrization"], where=where)
    theirs = {ladder.parametrization: ladder for ladder in api.transfer(store).ladders}
    assert {ladder.parametrization for ladder in own.ladders} == set(theirs)
    for ladder in own.ladders:
        other = theirs[ladder.parametrization]
        assert ladder.verdict == other.verdict
        assert ladder.drift == other.drift
        assert ladder.widest.decisive_percent == other.widest.decisive_percent


@pytest.mark.parametrize(
    ("slope", "word"), [(0.0, "transfers"), (-1.0, "drifts"), (4.0, "censored")]
)
def test_verdicts_on_planted_bowls(slope, word):
    (ladder,) = api.transfer(bowls(slope), **NAMES, seeds="seed").ladders
    assert ladder.verdict.word == word
    if word == "censored":
        assert ladder.rungs[-1].edge == "high"
        assert "the best rate is at the grid's edge at 128 (high), 256 (high)" in ladder.verdict.why
    else:
        assert ladder.drift.slope.value == pytest.approx(slope, abs=0.05)


def test_what_is_nearly_one_is_one():
    values = np.array([100.0, 200.0, 100.00001, 199.99999, 100.1])
    assert alike(values, 1e-4).tolist() == [100, 199.99999, 100, 199.99999, 100.1]
    table = bowls()
    jitter = table.assign(width=table["width"] * (1 + 1e-7 * np.arange(len(table))))
    plain, moved = (api.transfer(one, **NAMES, seeds="seed") for one in (table, jitter))
    drifts = [one.ladders[0].drift.slope.value for one in (plain, moved)]
    assert drifts[0] == pytest.approx(drifts[1], rel=1e-4)
    assert len(moved.sweeps) == 3


def test_nan_was_tested_and_an_empty_cell_was_not(tmp_path):
    """A best rate below one that diverged is bracketed; below an empty cell it is at the edge."""
    table = bowls(seeds=(0,), widths=(64, 128)).drop(columns="seed")
    table = table[table["lr"] < 2**-7.5]
    for said, edge in (("NaN", None), ("inf", None), ("", "high")):
        text = table.to_csv(index=False)
        text += "".join(f"{width},{2**-7},{said}\n" for width in (64, 128))
        (tmp_path / "a.csv").write_text(text)
        found = api.transfer(tmp_path / "a.csv", **NAMES)
        assert [rung.edge for rung in found.ladders[0].rungs] == [edge] * 2
        word = "diverged" if said else "no loss, so diverged or missing"
        assert found.notes[0] == f"width 64: {word} at log2 rate -7"


def test_expressions_groups_and_rows(tmp_path):
    table = pd.concat([bowls().assign(opt="adam", layers=2), bowls(-1).assign(opt="sgd", layers=4)])
    table = table.assign(log2_lr=np.log2(table.pop("lr")), junk="yes")
    words = {"size": "12 * layers * width ** 2", "lr": "2 ** log2_lr", "loss": "loss"}
    found = api.transfer(table, **words, seeds="seed", by=["opt", "layers"])
    assert [one.parametrization for one in found.ladders] == ["adam, layers 2", "sgd, layers 4"]
    assert [rung.size for rung in found.ladders[0].rungs] == [24 * w**2 for w in (64, 128, 256)]
    assert [one.verdict.word for one in found.ladders] == ["transfers", "drifts"]
    assert found.ladders[1].drift.slope.value == pytest.approx(-0.5, abs=0.02)  # params are width²
    one = api.transfer(table, **words, seeds="seed", where='opt == "sgd"')
    assert one.ladders[0].drift == found.ladders[1].drift


@pytest.mark.integration
def test_the_command_prints_draws_and_writes(mugrow, mup66, tmp_path):
    folder = tmp_path / "page"
    ended = mugrow("transfer", mup66, *WORDS, "--report", folder, "--figures", tmp_path / "figures")
    assert ended.code == 0, ended.err
    assert ended.out.startswith(
        "mup66.csv, width from w96 to w768: cannot say (one seed gives no interval). The best "
    )
    assert "Best rates: 0.00195 at 96, 0.00149 at 192, 0.000488 at 384, 0.000488 at 768." in (
        ended.out
    )
    assert "width 768: no loss, so diverged or missing at log2 rate -9, -8\n" in ended.err
    for name in ("transfer", "optima", "regret", "tolerance"):
        assert (tmp_path / "figures" / f"{name}.svg").is_file()
        assert (folder / "figures" / f"{name}.png").is_file()
    page = (folder / "index.html").read_text()
    assert "diverged or missing" in page
    assert page.count("<svg") == 4
    assert (folder / "tables" / "verdicts.tex").is_file()
    written = json.loads((folder / "transfer.json").read_text())
    assert json.loads(mugrow("transfer", mup66, *WORDS, "--json").out) == written
    assert written["ladders"][0]["drift"]["slope"]["value"] == pytest.approx(-0.7)
    assert "depth" not in written["ladders"][0]["rungs"][0]


@pytest.mark.parametrize(
    ("change", "words", "line"),
    [
        ({}, ("--size", "widht", *WORDS[2:]), "unknown column 'widht'; did you mean 'width'?"),
        ({}, WORDS[:4], "a table needs its columns named: --loss of width, seed, lr, loss"),
        ({}, WORDS, "are both width 64 at lr 0.000244141: tell them apart by --seeds seed"),
        ({"lr": -1.0}, WORDS, "--lr lr must be a number above 0 in every row, not -1 as in row 0"),
        ({"width": math.nan}, WORDS, "--size width must be a number above 0 in every row, not nan"),
        (
            {},
            (*WORDS, "--by", "seed", "--where", "width < 65"),
            "it is the only size: a ladder",
        ),
        ({"loss": "high"}, WORDS, "column 'loss' is not a number in every row"),
        ({"loss": math.nan}, (*WORDS, "--seeds", "seed"), "width 64 has 0 learning rates"),
        ({}, (*WORDS, "--seeds", "sed"), "unknown column 'sed'; did you mean 'seed'?"),
        ({}, (*WORDS, "--by", "lrr"), "unknown column 'lrr'; did you mean 'lr'?"),
        ({}, (*WORDS, "--where", "lr > 5"), "no row of"),
        ({}, (*WORDS, "--where", "import os"), "import os"),
    ],
)
def test_mistakes_are_one_line(mugrow, tmp_path, change, words, line):
    path = tmp_path / "sweep.csv"
    bowls().assign(**change).to_csv(path, index=False)
    ended = mugrow("transfer", path, *words)
    assert (ended.code, ended.out) == (2, "")
    assert line in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_files_that_are_no_table_are_one_line(mugrow, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("width,lr,loss\n")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\x00\x81")
    for name in ("none.csv", "empty.csv", "header.csv", "bytes.csv"):
        ended = mugrow("transfer", tmp_path / name, *WORDS)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert name in ended.err
    assert mugrow("transfer", tmp_path, *WORDS).code == 2
    study = ROOT / "results" / "reference" / "quick"
    ended = mugrow("transfer", study, *WORDS)
    assert ended.err == f"mugrow: --size is for a table; {study} is a study's folder\n"


def test_a_seed_that_lacks_a_rate_is_refused():
    found = api.transfer(bowls().iloc[1:], **NAMES, seeds="seed")
    assert found.skipped[0].reason == "width 64 lacks a seed's run at log2 learning rate -12"
    missing_seed = bowls()[lambda rows: (rows["width"] != 64) | (rows["seed"] != 1)]
    found = api.transfer(missing_seed, **NAMES, seeds="seed")
    assert found.skipped[0].reason == "width 64 lacks seed 1, which others of the ladder have"


def test_several_files_are_one_table(mugrow, mup66, tmp_path):
    """A file a size: the size of its name, or of a column; what one file with all sizes gives."""
    table = pd.read_csv(mup66)
    files = []
    for width, rows in table.groupby("width"):
        files.append(tmp_path / f"sweep-w{width}.csv")
        rows.to_csv(files[-1], index=False)
    whole = json.loads(mugrow("transfer", mup66, *WORDS, "--json").out)
    for size in ("run", "width"):
        ended = mugrow("transfer", *files, "--size", size, *WORDS[2:], "--json")
        assert ended.code == 0, ended.err
        assert "4 files, told apart by the column run" in ended.err
        assert ("by which the names in column 'run' differ" in ended.err) == (size == "run")
        assert json.loads(ended.out)["ladders"][0]["drift"] == whole["ladders"][0]["drift"]
    assert mugrow("transfer", *files, *WORDS).out.startswith("sweep-w96.csv and 3 more, width from")
    ended = mugrow("transfer", *files, ROOT / "results" / "reference" / "quick")
    assert ended.err.startswith("mugrow: it is no table of runs; ")
    assert mugrow("transfer").err == (
        "mugrow: name a folder of `mugrow run`, or tables with a row a run\n"
    )
    assert mugrow("transfer", mup66, mup66, *WORDS).err == f"mugrow: {mup66} is named twice\n"


def test_names_are_sizes_where_they_differ_in_one_number():
    plain = bowls()
    names = plain.assign(model="gpt2-" + plain["width"].map(str) + "M-v3")
    words = {"lr": "lr", "loss": "loss", "seeds": "seed"}
    found = api.transfer(names, size="model", **words)
    assert [rung.size for rung in found.ladders[0].rungs] == [64e6, 128e6, 256e6]
    assert found.notes == ("the size is the number by which the names in column 'model' differ",)
    twice = names.assign(model=names["model"] + names["seed"].map(str))
    with pytest.raises(UserError, match="column 'model' is not a number in every row"):
        api.transfer(twice, size="model", **words)


def test_a_table_of_curves_needs_its_last_rows():
    curves = pd.concat([bowls(seeds=(0,)).assign(step=step) for step in (100, 200)])
    with pytest.raises(UserError, match="a row a run is needed, as those --where '`step` == 200'"):
        api.transfer(curves, **NAMES)
    assert api.transfer(curves, **NAMES, where="`step` == 200").ladders


def test_a_frame_needs_its_columns_named():
    with pytest.raises(UserError, match="--size, --lr, --loss of width, seed, lr, loss"):
        api.transfer(bowls())


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_loss_that_none_is_is_refused(low):
    table = bowls(seeds=(0,))
    table.loc[5, "loss"] = low
    with pytest.raises(UserError, match=rf"--loss loss is {low:g} in row 5 of .*--where 'loss > 0"):
        api.transfer(table, **NAMES)
    assert api.transfer(table, **NAMES, where="loss > 0").ladders


def test_settings_that_differ_besides_are_named():
    table = bowls(seeds=(0,)).drop(columns="seed")
    mixed = table.assign(batch_size=np.where(np.arange(len(table)) % 2, 64, 32))
    (note,) = api.transfer(mixed, **NAMES).notes
    assert note.startswith("width 64: its rows differ in batch_size, too (32, 64): --by batch_size")
    grown = table.assign(tokens=20 * table["width"], n_params=table["width"] ** 2, note="decayed")
    assert api.transfer(grown, **NAMES).notes == (
        "tokens differs with width, too: a drift is that of both",
    )
    assert api.transfer(table.assign(batch_size=32, name="batch"), **NAMES).notes == ()
