"""The tables of the transfer grid against runs whose numbers are written down here."""

import dataclasses

import numpy as np
import pytest

from book import pages
from tutorial_lib import results, transfer_tables
from tutorial_lib.data.provenance import Provenance
from tutorial_lib.results import Recorder


def made(family, source, target, metrics):
    """A recorded run of two seeds."""
    provenance = Provenance(
        name=target, title=target, source="prepared", rows={"test": 2}, sha256="0" * 64
    )
    record = Recorder(
        task=f"transfer-{source}-{target}", model=f"{family}: {source} to {target}",
        command="none", protocol="by labels", data=provenance, hyperparameters={"source": source},
    )  # fmt: skip
    for seed in range(2):
        with record.measure(seed) as run:
            run.metrics = {name: values[seed] for name, values in metrics.items()}
    record.parameters = 1
    return record.run()


COUNTS = made("NB-SVM", "film", "shop", {
    "distance": [1.5, 1.7], "source only": [0.6, 0.6],
    "NB-SVM, 20 labels": [0.5, 0.6], "NB-SVM, 100 labels": [0.7, 0.7],
    "source and target together, 100 labels": [0.6, 0.64],
})  # fmt: skip
NETWORK = made("LSTM", "film", "shop", {
    "source accuracy": [0.9, 0.9], "source only": [0.66, 0.70],
    "NB-SVM, 20 labels": [0.1, 0.1], "NB-SVM, 100 labels": [0.1, 0.1],  # shown once, from above
    "from scratch, 20 labels": [0.5, 0.5], "from scratch, 100 labels": [0.55, 0.57],
    "full, 20 labels": [0.7, 0.8], "full, 100 labels": [0.6, 0.8], "words known": [0.4, 0.4],
    "full, as from scratch, 100 labels": [0.69, 0.69],
    "forgotten of the source, full": [0.1, 0.2],
    "100 labels: full minus from scratch": [0.1, 0.3],
    "100 labels: full minus from scratch, low": [0.0, 0.2],
    "100 labels: full minus from scratch, high": [0.2, 0.4],
    "100 labels: full minus NB-SVM": [-0.1, 0.1],
    "100 labels: full minus NB-SVM, low": [-0.2, 0.0],
    "100 labels: full minus NB-SVM, high": [0.0, 0.2],
})  # fmt: skip


def other(source, target, distance, gain):
    counts = {"distance": [distance] * 2, "NB-SVM, 100 labels": [0.7] * 2}
    if target == "film" or source == "post":
        both = {"source and target together, 100 labels": [0.7 - gain / 3] * 2}
        counts |= {"source only": [distance / 2] * 2} | both
    network = {"from scratch, 100 labels": [0.5] * 2, "full, 100 labels": [0.5 + gain] * 2}
    network |= {"full, as from scratch, 100 labels": [0.5 + gain] * 2, "words known": [gain**3] * 2}
    network |= {"NB-SVM, 100 labels": [0.7] * 2, "source only": [gain**2, gain**2 + 0.02]}
    return [made("NB-SVM", source, target, counts), made("LSTM", source, target, network)]


GRID = transfer_tables.pairs(
    [*other("shop", "film", 1.2, 0.3), NETWORK, *other("news", "shop", 1.9, -0.1), COUNTS]
)


def test_runs_are_grouped_by_pair_the_fullest_first():
    few, many = {"full, 100 labels": [0.5] * 2}, {"full, 20 labels": [0.5] * 2}
    runs = [made("LSTM", "a", target, few) for target in "cb"]
    grid = transfer_tables.pairs([*runs, made("LSTM", "y", "z", few | many)])
    assert list(grid) == [("y", "z"), ("a", "b"), ("a", "c")]
    assert [transfer_tables.family(run) for run in GRID["film", "shop"]] == ["NB-SVM", "LSTM"]


def test_accuracies_by_amount_with_the_best_of_each_column_in_bold():
    table = transfer_tables.by_amount([COUNTS, NETWORK])
    lines = table.splitlines()
    assert lines[0] == "| family | method | 0 | 20 | 100 |"
    assert lines[2:] == [
        "| NB-SVM | NB-SVM | — | 55.0\u00a0±\u00a07.1 | **70.0\u00a0±\u00a00.0** |",
        "| NB-SVM | source and target together | — | — | 62.0\u00a0±\u00a02.8 |",
        "| NB-SVM | source only | 60.0\u00a0±\u00a00.0 | — | — |",
        "| LSTM | from scratch | — | 50.0\u00a0±\u00a00.0 | 56.0\u00a0±\u00a01.4 |",
        "| LSTM | full | — | **75.0\u00a0±\u00a07.1** | **70.0\u00a0±\u00a014.1** |",
        "| LSTM | full, as from scratch | — | — | 69.0\u00a0±\u00a00.0 |",
        "| LSTM | source only | **68.0\u00a0±\u00a02.8** | — | — |",
    ]
    (news, *_) = GRID["news", "shop"]  # its source has other classes
    assert "| 100 |" in transfer_tables.by_amount([news]).splitlines()[0]
    assert "| 0 |" not in transfer_tables.by_amount([news])


def test_differences_are_means_of_values_and_ends():
    lines = transfer_tables.differences([COUNTS, NETWORK]).splitlines()
    assert lines[2:] == ["| LSTM | full | +20.0 [+10.0, +30.0] | — | — | +0.0 [-10.0, +10.0] |"]


def test_another_measure_has_a_table_of_its_own():
    metrics = {"full, 20 labels": [0.5, 0.5], "full, 20 labels, macro F1": [0.2, 0.4]}
    run = made("LSTM", "film", "shop", metrics | {"source only": [0.9, 0.9]})
    lines = transfer_tables.by_amount([run], ", macro F1").splitlines()
    assert lines[0] == "| family | method | 20 |"
    assert lines[2:] == ["| LSTM | full | **30.0\u00a0±\u00a014.1** |"]
    assert "macro F1" not in transfer_tables.by_amount([run])


@pytest.mark.parametrize(
    ("lows", "highs", "said"),
    [
        ([0.1, 0.2], [0.3, 0.4], ", **gain**"),
        ([-0.3, -0.4], [-0.1, -0.2], ", **loss**"),
        ([-0.1, 0.5], [0.1, 0.9], ""),  # one seed of two alone is no verdict
        ([0.0, 0.1], [0.2, 0.2], ""),
    ],
)
def test_a_verdict_needs_the_interval_of_every_seed(lows, highs, said):
    gap = "100 labels: full minus source only"
    run = made(
        "LSTM", "film", "shop", {gap: [0.1, 0.1], f"{gap}, low": lows, f"{gap}, high": highs}
    )
    assert f"]{said} | — |" in transfer_tables.differences([run])


def test_distance_stands_beside_each_familys_gain_and_correlations_below():
    more = [(f"post-{n}", "film", 1.7 + n / 100, gain) for n, gain in enumerate((0.2, 0.3, -0.1))]
    runs = [run for pair in [("post", "shop", 1.9, -0.1), *more] for run in other(*pair)]
    lines = transfer_tables.distances(GRID | transfer_tables.pairs(runs)).splitlines()
    assert lines[0] == "| source | target | distance | words known | NB-SVM | LSTM |"
    assert lines[2:8] == [  # from news to shop the task is another
        "| shop | film | 1.20 | 3 % | -10.0 | +30.0 |",
        "| film | shop | 1.60 | 40 % | -8.0 | +13.0 |",
        "| post-0 | film | 1.70 | 1 % | -6.7 | +20.0 |",
        "| post-1 | film | 1.71 | 3 % | -10.0 | +30.0 |",
        "| post-2 | film | 1.72 | -0 % | +3.3 | -10.0 |",
        "| post | shop | 1.90 | -0 % | +3.3 | -10.0 |",
    ]
    gains = [-10, -8, -20 / 3, -10, 10 / 3, 10 / 3], [30, 13, 20, 30, -10, -10]
    far, known = [1.2, 1.6, 1.7, 1.71, 1.72, 1.9], [0.027, 0.4, 0.008, 0.027, -0.001, -0.001]
    as_is = [0.6, 0.6, 0.85, 0.855, 0.86, 0.95], [0.1, 0.68, 0.05, 0.1, 0.02, 0.02]
    told = {
        "distance": [far, far],
        "words known": [known, known],
        "accuracy of *source only*": as_is,
    }
    for line, (name, columns) in zip(lines[8:], told.items(), strict=True):
        pairs = zip(columns, gains, strict=True)
        one, two = (np.corrcoef(column, points)[0, 1] for column, points in pairs)
        assert line == f"| correlation with the {name} |  |  |  | {one:+.2f} | {two:+.2f} |"


def test_a_family_without_a_run_has_a_dash_beside_the_distance():
    lines = transfer_tables.distances({**GRID, ("shop", "film"): GRID["shop", "film"][:1]})
    assert "| shop | film | 1.20 | — | -10.0 | — |" in lines.splitlines()
    assert lines.splitlines()[-3] == "| correlation with the distance |  |  |  | — | — |"
    assert lines.splitlines()[-1].endswith("| — | — |")


def test_gains_stand_beside_how_far_the_source_alone_is_ahead():
    network = {"source only": [0.62] * 2}
    for n, alone, both in ((20, 0.5, 0.64), (100, 0.58, 0.63), (500, 0.7, 0.71)):
        network |= {
            f"from scratch, {n} labels": [alone - 0.01, alone + 0.01],
            f"full, as from scratch, {n} labels": [both] * 2,
            f"full, {n} labels": [0.6] * 2, f"NB-SVM, {n} labels": [alone + 0.05] * 2,
        }  # fmt: skip
    encoder = {"source only": [0.62] * 2, "no source task, 100 labels": [0.62] * 2}  # level
    encoder |= {"full, 100 labels": [0.55] * 2, "NB-SVM, 100 labels": [0.63] * 2}
    grid = transfer_tables.pairs([
        COUNTS, made("LSTM", "film", "shop", network), made("mini", "film", "shop", encoder),
        made("LSTM", "news", "shop", {"from scratch, 100 labels": [0.5] * 2}),  # other classes
    ])  # fmt: skip
    found = transfer_tables.leads(grid)
    assert list(found) == ["NB-SVM", "LSTM", "mini"]
    np.testing.assert_allclose(found["NB-SVM"], [[-10, -8]])  # with 20 labels there are not both
    np.testing.assert_allclose(found["LSTM"], [[12, 14], [4, 5], [-8, 1]])
    np.testing.assert_allclose(found["mini"], [[0, -7]])
    assert transfer_tables.over_the_better(grid).splitlines()[2:] == [
        "| the source ahead by more than 5 | — | +2.0 (+2.0 to +2.0; 1) | — |",
        "| the source ahead by 0 to 5 | — | +1.0 (+1.0 to +1.0; 1) | -7.0 (-7.0 to -7.0; 1) |",
        "| the labels ahead by 0 to 5 | — | — | — |",
        "| the labels ahead by 5 to 10 | -8.0 (-8.0 to -8.0; 1) | +1.0 (+1.0 to +1.0; 1) | — |",
        "| the labels ahead by more than 10 | — | — | — |",
    ]
    plain = transfer_tables.leads(grid, rival="NB-SVM")
    np.testing.assert_allclose(plain["NB-SVM"], found["NB-SVM"])
    np.testing.assert_allclose(plain["LSTM"], [[7, 5], [-1, -3], [-13, -15]])
    np.testing.assert_allclose(plain["mini"], [[-1, -8]])
    assert "NB-SVM around (-10, -8)" in transfer_tables.leads_picture(grid).alt


def test_the_few_labels_choose_and_may_be_mistaken():
    def counted(own, both, told, source):
        return {
            "NB-SVM, 20 labels": own, "source and target together, 20 labels": both,
            "told by 20 labels: NB-SVM, cross-validated": told,
            "told by 20 labels: source only": source, "NB-SVM, 50 labels": own,
        }  # fmt: skip

    lines = transfer_tables.choices({
        ("film", "shop"): [made("NB-SVM", "film", "shop", counted(
            [0.6, 0.6], [0.7, 0.8], [0.55, 0.8], [0.5, 0.7],  # exactly 5 ahead; 10, mistaken
        ))],
        ("news", "shop"): [made("NB-SVM", "news", "shop", counted(
            [0.9, 0.8], [0.5, 0.6], [0.8, 0.5], [0.5, 0.5],  # 30 ahead; level, mistaken
        ))],
        ("news", "film"): [made("NB-SVM", "news", "film", {"NB-SVM, 20 labels": [0.1] * 2})],
        ("film", "news"): [NETWORK],
    }).splitlines()  # fmt: skip
    assert lines[2:] == ["| 20 | 2 | 72.5 | 65.0 | 70.0 | 80.0 |"]


def test_the_guide_names_the_best_way_and_its_lead():
    lines = transfer_tables.guide(GRID).splitlines()
    assert lines[2:] == [
        "| 1.20 | shop | film | 100 | LSTM, full | 80.0\u00a0±\u00a00.0 | +10.0 |",
        "| 1.60 | film | shop | 20 | LSTM, full | 75.0\u00a0±\u00a07.1 | +20.0 |",
        "| 1.60 | film | shop | 100 | NB-SVM | 70.0\u00a0±\u00a00.0 | +0.0 |",
        "| 1.90 | news | shop | 100 | NB-SVM | 70.0\u00a0±\u00a00.0 | +0.0 |",
    ]
    alone = transfer_tables.guide({("film", "shop"): [NETWORK]})
    assert alone.splitlines()[3] == (
        "| — | film | shop | 100 | LSTM, full | 70.0\u00a0±\u00a014.1 | +0.0 [-10.0, +10.0] |"
    )


def test_what_was_pretrained_is_compared_with_its_own_start():
    """Else the gain of having read texts would be told as that of the source task."""
    run = made("mini", "film", "shop", {
        "from scratch, 100 labels": [0.5] * 2, "no source task, 100 labels": [0.8] * 2,
        "full, 100 labels": [0.75] * 2, "full, as from scratch, 100 labels": [0.9] * 2,
    })  # fmt: skip
    heat = transfer_tables.heat({("film", "shop"): [run]}, "mini")
    assert "highest film, shop -0.05" in heat.alt


def test_what_is_forgotten_is_a_loss():
    lines = transfer_tables.forgotten(GRID).splitlines()
    assert lines[2:] == ["| film | shop | LSTM | 90.0\u00a0±\u00a00.0 | -15.0\u00a0±\u00a07.1 |"]


def test_pictures_say_what_they_show():
    curve = transfer_tables.curves("film", "shop", GRID["film", "shop"])
    assert "LSTM, full from 0.750 to 0.700" in curve.alt and "NB-SVM from 0.550" in curve.alt
    heat = transfer_tables.heat(GRID, "LSTM")
    assert "gain: highest shop, film 0.30; lowest news, shop -0.10" in heat.alt
    heat = transfer_tables.heat(GRID, "NB-SVM")  # news has other classes than shop
    assert "gain: highest film, shop -0.08; lowest shop, film -0.10" in heat.alt


def test_a_run_of_one_seed_has_a_curve_without_bars():
    twice = made("LSTM", "film", "shop", {f"full, {n} labels": [n / 200] * 2 for n in (20, 100)})
    metrics = {name: values[:1] for name, values in twice.metrics.items()}
    once = dataclasses.replace(twice, seeds=twice.seeds[:1], metrics=metrics)
    assert "LSTM, full from 0.100 to 0.500" in transfer_tables.curves("film", "shop", [once]).alt


def test_ranks_are_told_with_what_they_train():
    run = made("mini", "film", "shop", {
        "full, accuracy": [0.7, 0.7], "full, trained parameters": [2e6, 2e6],
        "rank 2, accuracy": [0.8, 0.9], "rank 2, trained parameters": [1500.0, 1500.0],
        "rank 2 minus full": [0.1, 0.2], "rank 2 minus full, low": [0.02, 0.1],
        "rank 2 minus full, high": [0.18, 0.3],
    })  # fmt: skip
    assert transfer_tables.ranks(run).splitlines()[2:] == [
        "| full | 2,000,000 | 8,000 | 70.0\u00a0±\u00a00.0 | — |",
        "| rank 2 | 1,500 | 6 | 85.0\u00a0±\u00a07.1 | +15.0 [+6.0, +24.0], **gain** |",
    ]


def test_parts_are_told_by_what_they_add_to_nothing():
    run = made("TextCNN, by parts", "film", "shop", {
        "nothing, accuracy": [0.5, 0.5], "filters, accuracy": [0.4, 0.4],
        "filters minus nothing": [-0.1, -0.1], "filters minus nothing, low": [-0.3, -0.2],
        "filters minus nothing, high": [-0.02, -0.01],
    })  # fmt: skip
    assert transfer_tables.parts([run]).splitlines() == [
        "| source | target | family | nothing | filters |",
        "|---|---|---|--:|--:|",
        "| film | shop | TextCNN | 50.0\u00a0±\u00a00.0 | -10.0 [-25.0, -1.5], **loss** |",
    ]


@pytest.mark.parametrize("table", ["by_amount", "differences"])
def test_every_row_has_as_many_cells_as_the_head(table):
    lines = getattr(transfer_tables, table)([COUNTS, NETWORK]).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_a_page_without_any_gain_has_no_map(tmp_path):
    (tmp_path / "book" / "results").mkdir(parents=True)
    results.write(other("news", "shop", 1.9, -0.1)[0], tmp_path / "book/results")
    assert "<figure" not in pages.transfer_page(tmp_path)


@pytest.mark.parametrize("recorded", [[COUNTS, NETWORK], [NETWORK], []])
def test_the_page_is_made_of_whatever_is_recorded(recorded, tmp_path):
    (tmp_path / "book" / "results").mkdir(parents=True)
    for number, run in enumerate(recorded):  # the names of tasks are those of files
        results.write(
            dataclasses.replace(run, task=f"transfer-{number}"), tmp_path / "book/results"
        )
    page = pages.transfer_page(tmp_path)
    assert page.count('<details id="run-') == len(recorded)
    # a matrix each, the curve, and the source beside the labels
    assert page.count("<figure") == len(recorded) + 2 * bool(recorded)
    assert ("From film to shop" in page) is bool(recorded)
    assert pages.results_page(tmp_path) == "No run is recorded yet."
