"""Every figure carries alternative text that agrees with its data, and escapes text from data."""

import base64
import re

import datasets
import numpy as np
import pytest

from tutorial_lib import plots
from tutorial_lib.data.provenance import attach
from tutorial_lib.evaluation import Interval

NASTY = '<script>alert("1")</script> & "x"'


@pytest.fixture
def partial():
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    return attach(
        datasets.DatasetDict(test=split),
        name="half", title="Half a set", source="prepared", partial="2 of 4 rows",
    )  # fmt: skip


def parts(shown):
    source = shown._repr_html_()
    image = base64.b64decode(re.search(r"base64,([^\"]+)", source).group(1))
    assert image.startswith(b"\x89PNG")
    return re.search(r'alt="([^"]*)"', source).group(1), re.search(
        "<figcaption>(.*)</figcaption", source
    )[1]


def test_learning_curves_say_where_each_line_starts_and_ends():
    alt, caption = parts(
        plots.learning_curves({"train": [1.5, 1.0, 0.5], "validation": [1.6, 1.2]}, caption="Loss.")
    )
    assert "train goes from 1.5 to 0.5" in alt and "validation goes from 1.6 to 1.2" in alt
    assert caption == "Loss."


def test_lines_stand_at_the_places_asked_for(monkeypatch):
    kept = plots.figure()
    monkeypatch.setattr(plots, "figure", lambda: kept)
    plots.learning_curves({"a": [3.0, 4.0, 5.0]}, at=(5, 10, 40), caption="Far.")
    (ax,) = kept[1]
    assert ax.lines[0].get_xydata().tolist() == [[5, 3], [10, 4], [40, 5]]
    assert ax.get_xticks().tolist() == [5, 10, 40]
    with pytest.raises(ValueError, match="same first dimension"):
        plots.learning_curves({"a": [3.0, 4.0]}, at=(5, 10, 40), caption="Far.")


def test_confusion_names_the_commonest_error():
    matrix = np.array([[8, 1, 1], [5, 5, 0], [0, 2, 8]])
    alt, _ = parts(plots.confusion(matrix, ["ham", "spam", "eggs"], caption="Errors."))
    assert "21 of 30 right" in alt and "spam taken for ham, 5 times" in alt


def test_comparison_gives_values_intervals_and_lines():
    rows = {"NB": Interval(0.7, 0.65, 0.75), "NB-SVM": Interval(0.8, 0.76, 0.84)}
    alt, _ = parts(plots.comparison(rows, caption="Who wins.", lines={"best possible": 0.95}))
    assert "NB-SVM 0.800 (0.760 to 0.840)" in alt and "best possible at 0.950" in alt


def test_comparison_of_several_series_names_each_value():
    rows = {
        "plain": {"NB": Interval(0.8, 0.7, 0.9), "GRU": Interval(0.9, 0.85, 0.95)},
        "negation": {"GRU": Interval(0.7, 0.6, 0.8)},
    }
    alt, _ = parts(plots.comparison(rows, caption="By phenomenon."))
    for value in ("plain NB 0.800", "plain GRU 0.900", "negation GRU 0.700 (0.600 to 0.800)"):
        assert value in alt


def test_bars_name_every_value():
    shares = {"negative": [0.1, 0.3], "positive": [0.2, 0.05]}
    alt, _ = parts(plots.bars(["best", "bad"], shares, caption="Words.", x="share of texts"))
    assert "share of texts" in alt
    assert "best negative 0.1, positive 0.2; bad negative 0.3, positive 0.05" in alt


def test_a_scatter_says_where_each_class_lies():
    points = np.array([[0.0, 1.0], [2.0, 3.0], [-5.0, 0.5]])
    alt, _ = parts(plots.scatter(points, np.array([0, 0, 1]), ["a", "b", "c"], caption="Map."))
    assert "3 points" in alt and "a around (1, 2); b around (-5, 0.5)." in alt
    with pytest.raises(ValueError, match="labels run from 0 to 1"):
        plots.scatter(points, np.array([0, 1, 2]), ["a", "b"], caption="Map.")


def test_a_scatter_draws_a_line_through_its_corners(drawn):
    points, corners = (
        np.array([[0.0, 1.0], [2.0, 3.0]]),
        np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 2.0]]),
    )
    alt, _ = parts(
        plots.scatter(points, np.array([0, 0]), ["a"], lines={"bend": corners}, caption="Map.")
    )
    (ax,) = drawn
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), corners)
    assert alt.endswith("; a line, bend.")
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"bend", "a"}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the last figure that was made into a picture."""
    kept = []
    picture = plots.picture

    def keep(figure, **words):
        kept[:] = figure.axes
        return picture(figure, **words)

    monkeypatch.setattr(plots, "picture", keep)
    return kept


def test_no_two_of_fourteen_classes_look_alike(drawn):
    names = [str(c) for c in range(14)]
    plots.scatter(np.zeros((14, 2)), np.arange(14), names, caption="Map.")
    looks = {
        (
            len(dots.get_facecolor()),
            *dots.get_edgecolor().ravel(),
            *dots.get_paths()[0].vertices.ravel(),
        )
        for dots in drawn[0].collections
    }
    assert len(looks) == 14


def test_rows_of_many_series_keep_clear_of_each_other(drawn):
    rows = {f"row {r}": {f"series {k}": Interval(0.5, 0.4, 0.6) for k in range(6)} for r in "ab"}
    plots.comparison(rows, caption="Dots.")
    first, second = zip(*(dots.lines[0].get_ydata() for dots in drawn[0].containers), strict=True)
    assert max(first) < 0.5 < min(second)


def test_the_confusion_matrix_has_the_true_class_in_rows_and_shades_its_shares(drawn):
    plots.confusion(np.array([[3, 1], [0, 4]]), ["ham", "spam"], caption="Errors.")
    (ax,) = drawn
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert {(t.get_position(), t.get_text()) for t in ax.texts} >= {((1, 0), "1"), ((0, 1), "0")}


def test_comparison_draws_the_first_row_on_top_and_the_interval_as_given(drawn):
    plots.comparison({"a": Interval(0.7, 0.6, 0.75), "b": Interval(0.5, 0.4, 0.6)}, caption="x")
    (ax,) = drawn
    bottom, top = ax.get_ylim()
    assert top < 0 < bottom  # row 0 at the upper end
    ends = ax.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(ends, [[0.6, 0], [0.75, 0]])


def test_amounts_draw_each_interval_at_its_amount_and_name_it(drawn):
    rows = {
        "moved": {20: Interval(0.7, 0.6, 0.75), 1000: Interval(0.8, 0.7, 0.9)},
        "from scratch": {20: Interval(0.5, 0.4, 0.6), 1000: Interval(0.9, 0.85, 0.95)},
    }
    picture = plots.amounts(rows, caption="x", x="labels", lines={"as it is": 0.65})
    assert "from scratch with 1,000 0.900 (0.850 to 0.950)" in picture.alt
    assert "as it is at 0.650" in picture.alt
    (ax,) = drawn
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["20", "1,000"]
    for container, row in zip(ax.containers, rows.values(), strict=True):
        segments = container.lines[2][0].get_segments()
        for segment, (amount, interval) in zip(segments, row.items(), strict=True):
            assert segment[:, 1].tolist() == pytest.approx([interval.low, interval.high])
            assert segment[:, 0] == pytest.approx([amount] * 2, rel=0.05)
    first, second = (c.lines[2][0].get_segments()[0][0, 0] for c in ax.containers)
    assert first < second  # side by side


def test_a_perfect_matrix_has_no_most_frequent_error_and_names_must_fit():
    alt, _ = parts(plots.confusion(np.eye(2, dtype=int), ["a", "b"], caption="x"))
    assert alt == "Confusion matrix of 2 classes: 2 of 2 right."
    with pytest.raises(ValueError, match="does not fit 3 classes"):
        plots.confusion(np.eye(2, dtype=int), ["a", "b", "c"], caption="x")


def test_heat_maps_name_the_extremes_and_leave_unknown_cells_empty(drawn):
    maps = {
        "before": np.array([[0.9, 0.5], [0.6, 0.8]]),
        "after": np.array([[np.nan, 0.7], [0.65, np.nan]]),
    }
    rows, columns = ["film", "books"], ["film", "shop"]
    alt, _ = parts(plots.heat_maps(maps, rows, columns, caption="C.", x="target", y="source"))
    assert "before: highest film, film 0.90; lowest film, shop 0.50" in alt
    assert "after: highest film, shop 0.70; lowest books, film 0.65" in alt
    left, right = drawn
    assert [t.get_text() for t in left.texts] == ["0.90", "0.50", "0.60", "0.80"]
    assert [t.get_text() for t in right.texts] == ["0.70", "0.65"]
    with pytest.raises(ValueError, match="2 rows, 3 columns"):
        plots.heat_maps(maps, rows, ["a", "b", "c"], caption="C.", x="x", y="y")


def test_heat_maps_of_gains_and_losses_are_white_at_nothing(drawn):
    maps = {"gain": np.array([[0.1, 0.0], [-0.4, np.nan]])}
    plots.heat_maps(maps, ["a", "b"], ["c", "d"], caption="", x="to", y="from")
    image = drawn[0].images[0]
    (gain, none), (loss, _) = (image.to_rgba(image.get_array())[..., :3]).tolist()
    assert min(none) > 0.95
    assert gain[2] > gain[0] and loss[0] > loss[2]  # purple, brown
    assert min(gain) > min(loss)  # paler, for it is smaller
    assert [t.get_color() for t in drawn[0].texts] == ["black", "black", "white"]
    plots.heat_maps({"loss": -np.eye(2)}, ["a", "b"], ["c", "d"], caption="", x="to", y="from")
    assert [t.get_color() for t in drawn[0].texts] == ["white", "black", "black", "white"]


def test_heat_maps_have_room_for_long_names(drawn):
    names = ["financial_phrasebank_50"], ["medical_abstracts"]
    plots.heat_maps({"gain": np.ones((1, 1))}, *names, caption="", x="to", y="from")
    (ax,) = drawn
    ax.figure.draw_without_rendering()
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        box = label.get_window_extent()
        assert min(box.x0, box.y0) > 0 and box.x1 < ax.figure.bbox.x1


def test_a_dollar_in_a_text_is_no_formula():
    parts(plots.bars(["$_$", "$^$"], {"spam": [1.0, 2.0]}, caption="x", x="count"))


def test_the_caption_says_that_data_are_partial(partial):
    for data in (partial, partial["test"], partial["test"].select([0])):
        shown = plots.learning_curves({"a": [1.0, 2.0]}, caption="Loss.", data=data)
        assert "Half a set" in shown.caption and "partial: 2 of 4 rows" in shown.caption


def test_text_from_data_is_escaped(partial):
    heat = plots.token_heat([NASTY, "fine"], [1.0, -0.5], caption=NASTY)._repr_html_()
    curve = plots.learning_curves({NASTY: [1.0, 2.0]}, caption=NASTY)._repr_html_()
    for source in (heat, curve):
        assert "<script" not in source and "&lt;script&gt;" in source


def test_heat_shades_by_share_of_the_largest_score_and_marks_the_sign():
    source = plots.token_heat(["not", "bad", "film"], [-2.0, 1.0, 0.0], caption="")._repr_html_()
    spans = re.findall(r"<span.*?</span>", source)
    assert "rgba(86,180,233,1.00)" in spans[0] and "dotted" in spans[0]
    assert "rgba(230,159,0,0.50)" in spans[1] and "solid" in spans[1]
    assert "border" not in spans[2]


@pytest.mark.parametrize("scores", [[1.0], [1.0, float("nan")]])
def test_scores_that_do_not_fit_the_tokens_are_refused(scores):
    with pytest.raises(ValueError, match="2 tokens"):
        plots.token_heat(["a", "b"], scores, caption="")


def test_no_name_of_a_point_covers_another_and_each_points_away_from_its_class(drawn):
    points = np.array([[0.5, 0.5], [0.51, 0.5], [0.52, 0.51], [0.1, 0.9], [0.9, 0.5]])
    names, labels = ["one", "two", "three", "four", "five"], np.array([0, 0, 0, 1, 1])
    alt, _ = parts(plots.scatter(points, labels, ["a", "b"], names=names, caption="c"))
    assert "a around (0.51, 0.5): one, two, three; b around (0.5, 0.7): four, five." in alt
    texts = {text.get_text().strip(): text for text in drawn[0].texts}
    drawn[0].figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts.values()]
    for n, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:n])
    for name, point in zip(names, points, strict=True):
        x, y = texts[name].get_position()
        assert x == point[0] and y >= point[1]
    assert texts["one"].get_ha() == texts["four"].get_ha() == "right"
    assert texts["three"].get_ha() == texts["five"].get_ha() == "left"
    assert texts["one"].get_position()[1] == 0.5 < texts["three"].get_position()[1]
    with pytest.raises(ValueError, match="5 points need as many names; got 1"):
        plots.scatter(points, labels, ["a", "b"], names=["one"], caption="c")


def test_a_picture_without_alternative_text_is_refused():
    drawn, _ = plots.figure()
    with pytest.raises(ValueError, match="alternative text"):
        plots.picture(drawn, alt=" ", caption="x")


def test_the_same_figure_is_the_same_bytes():
    first, second = (plots.learning_curves({"a": [1.0, 2.0]}, caption="x").png for _ in range(2))
    assert first == second


def test_the_first_four_colours_stand_out_from_white():
    def luminance(colour):  # WCAG 2.2, "relative luminance"
        rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    assert all(1.05 / (luminance(c) + 0.05) >= 3 for c in plots.COLOURS[:4])  # criterion 1.4.11
