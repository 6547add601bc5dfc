"""Figures on transfer show the results' numbers: optima, arrows, regrets, whiskers."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from transfer_rows import LOG2_LRS, bowl, source_rows, starts, sweep_rows, table

from mugrow.analysis.figures import FIGURES, TRANSFER, style, transfer
from mugrow.analysis.figures.transfer import STEP_LAW
from mugrow.analysis.transfer.results import transfer_results
from mugrow.analysis.transfer.sweep import by_setting
from mugrow.bench.spec import UserError


def rows():
    """muP holds in width and depth, SP drifts to the edge of its grid, tied heads drift a little;
    models grown by szp and their companions from scratch keep the source's rate."""
    sources = source_rows(-7.0)
    grown_from = starts(sources, "szp", shrink=0.4)
    yield sources
    for place in range(3):
        width, depth = 32 * 2**place, 2 * 2**place
        floor = 2.0 - 0.1 * place
        noise = {"noise": 0.004, "draw": place}
        yield sweep_rows(bowl(-7.0, floor), model_width=width, **noise)
        yield sweep_rows(bowl(-7.0 - 2 * place, floor), model_width=width, parametrization="sp",
                         **noise)  # fmt: skip
        yield sweep_rows(bowl(-7.0 - 0.3 * place, floor), model_width=width, model_tied=True,
                         **noise)  # fmt: skip
        if place:
            yield sweep_rows(bowl(-7.0, floor), model_depth=depth, **noise)
            yield sweep_rows(bowl(-7.5, floor), model_width=width, starts=grown_from, **noise)


@pytest.fixture(scope="module")
def found():
    return results(*rows())


def results(*rows):
    return transfer_results(by_setting(table(*rows)))


def drawn(name, found):
    with style.applied():
        return transfer.BY_NAME[name](found)


def ladder(found, label):
    (one,) = [
        one
        for one in found.ladders
        if one.axis == "width"
        and one.method == "scratch"
        and f"{one.parametrization} {one.variant}".strip() == label
    ]
    return one


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def test_every_axis_has_its_bowls(found):
    titles = {
        name: [axes.get_title() for axes in drawn(name, found).axes if axes.get_title()]
        for name in ("transfer", "transfer_depth", "transfer_growth")
    }
    assert titles["transfer"] == ["μP", "SP", "μP, tied"] or set(titles["transfer"]) == {
        "μP", "SP", "μP, tied",
    }  # fmt: skip
    assert titles["transfer_depth"] == ["μP"]
    assert titles["transfer_growth"][0].startswith("μP, szp")
    with pytest.raises(UserError, match="along tokens needs a ladder, and it has none"):
        drawn("transfer_tokens", found)


def test_a_band_reaches_from_the_lowest_to_the_highest_seed(found):
    panel = next(axes for axes in drawn("transfer", found).axes if axes.get_title() == "SP")
    for band, rung in zip(panel.collections, ladder(found, "sp").rungs, strict=True):
        seeds = np.array([point.per_seed for point in found.sweeps[rung.sweep].points])
        drawn_at = band.get_paths()[0].vertices
        for point, losses in zip(found.sweeps[rung.sweep].points, seeds, strict=True):
            heights = drawn_at[drawn_at[:, 0] == point.log2_lr][:, 1]
            assert (heights.min(), heights.max()) == (losses.min(), losses.max())


def test_the_sources_rate_is_drawn_where_models_are_grown(found):
    figure = drawn("transfer_growth", found)
    (line,) = lines(figure.axes[0], "_reference")
    assert list(line.get_xdata()) == [-7, -7]
    assert "the source’s rate" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert lines(drawn("transfer", found).axes[0], "_reference") == []


def test_optima_are_the_results_with_whiskers_slopes_and_arrows(found):
    figure = drawn("optima", found)
    width, depth, growth = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "width", "depth", "growth factor in width",
    ]  # fmt: skip
    texts = [text.get_text().replace("\n", " ") for text in width.get_legend().get_texts()]
    slope = ladder(found, "mup").drift.slope.value
    assert any(text.startswith(f"μP: {slope:.2f}".replace("-", "−")) for text in texts)
    curve = next(line for line in width.get_lines() if str(line.get_label()).startswith("μP:"))
    expected = [rung.best_log2_lr.value for rung in ladder(found, "mup").rungs]
    assert list(curve.get_ydata()) == expected
    assert len(lines(width, "_interval")) == 9
    edges = [rung for rung in ladder(found, "sp").rungs if rung.edge]
    arrows = [text for text in width.texts if text.arrow_patch is not None]
    assert len(arrows) == len(edges) == 1
    assert [text.xyann for text in arrows] == [(0, -22)]  # towards lower rates
    grown = next(line for line in growth.get_lines() if "szp" in str(line.get_label()))
    assert grown.get_ydata()[0] == -7  # begins at the source's
    assert depth.get_legend() is not None


def test_the_heat_map_has_the_regret_of_every_two_sizes(found):
    figure = drawn("regret", found)
    panel = next(axes for axes in figure.axes if axes.get_title() == "SP, width")
    cells = np.asarray(panel.images[0].get_array()) ** 2
    sizes = [32, 64, 128]
    for pair in ladder(found, "sp").pairs:
        shown = cells[sizes.index(pair.proxy), sizes.index(pair.target)]
        assert shown == pytest.approx(pair.decisive_percent.value)
    assert np.diag(cells).tolist() == [0, 0, 0]
    texts = [text.get_text() for text in panel.texts]
    first = ladder(found, "sp").pairs[0]
    assert texts[0].startswith(f"{first.decisive_percent.value:.2f}\nΔ −")
    assert not any("szp" in axes.get_title() for axes in figure.axes)


def test_tolerance_has_a_point_for_every_pair_and_the_public_band(found):
    axes = drawn("tolerance", found).axes[0]
    (band,) = lines(axes, "_step law")
    assert dict(zip(*band.get_data(), strict=True)) == STEP_LAW
    points = [tuple(xy) for line in lines(axes, "_pairs") for xy in line.get_xydata()]
    assert len(points) == sum(len(one.pairs) for one in found.ladders)
    first = ladder(found, "sp").pairs[0]
    assert (-first.shift_argmin_log2.value, first.regret_percent.value) in points
    assert all(regret == 0 for shift, regret in points if shift == 0)


def test_ladders_of_one_figure_do_not_share_a_style(found):
    axes = drawn("optima", found).axes[0]
    line_styles = {
        (to_hex(line.get_color()), line.get_marker())
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }
    assert len(line_styles) == 3


def test_contours_join_equal_losses_of_a_grid():
    inits = [row for std in (0.05, 0.1, 0.2)
             for row in sweep_rows(bowl(-7.0, 2 + abs(np.log2(std / 0.1)) / 20),
                                   hyper_init_std=std)]  # fmt: skip
    axes = drawn("init", results(inits)).axes[0]
    assert len(axes.collections) == 3  # squares, and each line twice: white below black
    below = axes.get_xlim()[0]
    assert below < LOG2_LRS[0] - 0.3  # the outermost squares are whole
    gap = [row for row in inits if row["run_id"] != inits[0]["run_id"]]
    axes = drawn("init", results(gap[3:])).axes[0]
    assert len(axes.collections) == 1


def setting_rows(values, key="shrink"):
    sources = source_rows(-7.0)
    return sources + [
        row
        for width, best in ((64, values[1]), (128, values[2]))
        for value in values
        for row in sweep_rows(
            lambda _, v=value, b=best: 2 + abs(v - b), model_width=width, log2_lrs=[-7.0],
            starts=starts(sources, "szp", **{key: value}), role="target",
        )
    ]  # fmt: skip


def settings_drawn(rows):
    return drawn("operator_settings", results(rows))


def test_an_operators_setting_has_a_line_and_a_star_for_each_growth():
    figure = settings_drawn(setting_rows((0.2, 0.4, 0.6)))
    axes = figure.axes[0]
    assert (axes.get_title(), axes.get_xlabel()) == ("μP, szp", "shrink at log2 lr −7.00")
    means = [line.get_xydata().tolist() for line in lines(axes, "_mean")]
    assert means == [
        [[v, pytest.approx(2.01 + abs(v - best))] for v in (0.2, 0.4, 0.6)] for best in (0.4, 0.6)
    ]
    stars = [line.get_xdata()[0] for line in lines(axes, "_minimum")]
    assert stars == [0.4, 0.6]
    assert [text.get_text() for text in axes.texts] == ["→ edge"]
    assert axes.get_xscale() == "linear"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["growth ×2", "growth ×4", "lowest mean"]
    bands = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (bands.min(), bands.max()) == pytest.approx((2.0, 2.22))


def test_the_axis_of_a_setting_is_as_even_as_can_be():
    noise = settings_drawn(setting_rows((0.0, 0.03, 0.1, 0.3, 1.0))).axes[0]
    assert noise.get_xscale() == "symlog"
    assert noise.get_xticks().tolist() == [0, 0.03, 0.1, 0.3, 1]
    assert settings_drawn(setting_rows((0.1, 0.2, 0.4, 0.6, 0.8))).axes[0].get_xscale() == "linear"


def test_a_value_that_diverged_is_a_cross():
    rows = setting_rows((0.2, 0.4, 0.6))
    for row in rows[-3:]:
        row |= {"status": "diverged", "final_val_loss": None}
    figure = settings_drawn(rows)
    (cross,) = lines(figure.axes[0], "_top")
    assert (cross.get_xdata()[0], cross.get_marker()) == (0.6, "x")
    assert "diverged" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_store_without_varied_settings_has_no_figure_of_them(found):
    with pytest.raises(UserError, match="three values of an operator's setting at two growths"):
        drawn("operator_settings", found)


def test_all_figures_of_the_section_are_captioned():
    entries = {name: entry for name, entry in FIGURES.items() if entry.section == TRANSFER}
    assert list(entries) == list(transfer.BY_NAME)
    assert len({entry.title for entry in entries.values()}) == 10
