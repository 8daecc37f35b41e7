"""Facts about the grid of transfer runs: what is learned, scored, compared and taken up again."""

import copy
import dataclasses

import numpy as np
import pytest

from benchmarks import transfer as grid
from benchmarks import transfer_variants as variants
from tutorial_lib import data, results, text, transfer_tables
from tutorial_lib import transfer_probes as tp
from tutorial_lib.data.reviews import dataset
from tutorial_lib.transfer_probes import Texts

NAMES = ("imdb", "kitchen")


@pytest.fixture
def small_grid(monkeypatch, tmp_path):
    domains = {name: dataset(300, domains=[d]) for name, d in (("imdb", "film"), ("k", "kitchen"))}
    monkeypatch.setattr(data, "load", lambda name: domains[name])
    monkeypatch.setattr(grid, "SETS", {"imdb": "imdb", "kitchen": "k"})
    for module in (grid, variants):
        monkeypatch.setattr(module, "HALF_DONE", tmp_path)
        monkeypatch.setattr(module, "SEEDS", range(1))
    monkeypatch.setattr(grid.tp, "FEWEST", 1)
    monkeypatch.setattr(grid.tp, "MOST", 1)
    monkeypatch.setattr(grid.Family, "source_passes", lambda family, size: 1)
    read = grid.Domain.read
    read.cache_clear()
    yield
    read.cache_clear()


@pytest.mark.parametrize("kind", ["nbsvm", "textcnn", "mini-albert"])
def test_a_run_of_the_grid_has_its_place_in_every_table(small_grid, kind):
    names = ("imdb", "kitchen")
    run = grid.journey("t", names, kind, [20, 100]).run()
    pairs = transfer_tables.pairs([run])
    assert list(pairs) == [("imdb", "reviews")]
    methods = {method for _, method in transfer_tables.ways([run])}
    both = {"nbsvm": {"NB-SVM", "source and target together"}}
    networks = {"from scratch", "full", "features", "gradual"}
    networks |= {"full, new head", "full, as from scratch"}
    both |= {"textcnn": networks, "mini-albert": networks | {"lora", "no source task"}}
    assert methods == both[kind]
    rows = transfer_tables.differences([run]).splitlines()[2:]
    assert len(rows) == len(methods - {"from scratch", "NB-SVM"}) + 1  # and the source's own
    assert all(0 <= run.mean(name) <= 1 for name in run.metrics if name.endswith("labels"))
    full = run.metrics.get("full, 100 labels")
    if full:
        for other, metric in grid.REFERENCES.items():
            if metric in run.metrics:
                gap = f"100 labels: full minus {other}"
                assert run.mean(gap) == pytest.approx(full[0] - run.mean(metric))
        assert run.mean("forgotten of the source, features") == 0
    else:
        assert 0 < run.mean("distance") <= 2 and run.parameters > 500


def test_a_source_of_more_classes_gives_those_of_the_target():
    strings, labels = list("abcdef"), np.array([0, 1, 2, 2, 1, 0])
    source = grid.Domain(
        Texts(strings, labels), Texts([], labels[:0]), ["no", "so so", "yes"], None
    )
    places = source.places(["yes", "no"])
    assert places == [2, 0] and source.places(["yes", "maybe"]) is None
    found = source.of_classes(places)
    assert found.strings == list("acdf") and found.labels.tolist() == [1, 0, 0, 1]


def test_the_grid_holds_the_three_journeys_and_every_pair_of_goods():
    for task in ("ag-news-medical-lstm", "finance-books-textcnn", "imdb-kitchen-mini-albert"):
        assert grid.TASKS[f"transfer-{task}"].keywords["amounts"] == grid.AMOUNTS
    for source in grid.DOMAINS:
        for target in {*grid.DOMAINS} - {source}:
            assert grid.TASKS[f"transfer-{source}-{target}-nbsvm"].keywords["amounts"] == [grid.AT]


def test_nothing_that_is_scored_is_learned_from_and_each_seed_draws_anew(small_grid, monkeypatch):
    learned, real = {0: [], 1: []}, grid.tp.nbsvm
    scored = {*grid.Domain.read("kitchen").score.strings}

    def noting(texts, asked, seed=0):
        learned[seed].append(sorted(texts.strings))
        assert not {*asked.strings} & {*texts.strings}
        return real(texts, asked, seed)

    monkeypatch.setattr(grid.tp, "nbsvm", noting)
    monkeypatch.setattr(grid, "SEEDS", range(2))
    grid.journey("t", NAMES, "nbsvm", [20])
    assert not scored & {s for lists in learned.values() for texts in lists for s in texts}
    assert learned[0] != learned[1]


def test_few_labels_tell_that_a_source_says_the_opposite(small_grid):
    labels, words = np.array([0, 1] * 10), ["awful", "superb"] * 10
    own, source = ([f"{word} {k}{n}" for n, word in enumerate(words)] for k in "os")
    assert grid.told(Texts(source, 1 - labels), Texts(own, labels), 0) == {
        "told by 20 labels: NB-SVM, cross-validated": 1,
        "told by 20 labels: source only": 0,
    }
    source, target = map(grid.Domain.read, NAMES)
    few, run = target.learn.few(20), grid.journey("t", NAMES, "nbsvm", [20]).run()
    told = {name: [share] for name, share in grid.told(source.texts, few, 0).items()}
    assert told.items() <= run.metrics.items()


def test_a_source_is_asked_as_it_was_trained_and_carried_over_with_the_words_of_both(small_grid):
    source, target = map(grid.Domain.read, NAMES)
    learned = grid.Source(grid.FAMILIES["textcnn"], source, target, 0)
    read = {
        tuple(ids[mask].tolist())
        for batch in learned.batches
        for ids, mask in zip(batch["ids"], batch["mask"], strict=True)
    }
    assert read == {tuple(ids.tolist()) for ids in learned.encode(source.score.strings)}
    assert not set(source.score.strings) & set(source.texts.strings)
    both = tp.words(tp.vocabulary(source.texts, target.learn))(target.score.strings)
    assert all(map(np.array_equal, learned.encode(target.score.strings), both))
    assert 0 < learned.known["words known"] < 1
    # A word that the source lacks is unknown to its model, and has a vector of its own later.
    own = tp.words(tp.vocabulary(source.texts))(target.score.strings)
    model = grid.Source(grid.FAMILIES["textcnn"], source, source, 0).model  # the same, not moved
    same = tp.answers(model, target.score, tp.words(tp.vocabulary(source.texts)))
    assert any(text.UNK in ids for ids in own) and np.array_equal(learned.unchanged, same)


def test_random_weights_make_twice_the_passes_of_learned_ones(small_grid, monkeypatch):
    calls, family, target = [], grid.FAMILIES["mini-albert"], grid.Domain.read("kitchen")
    monkeypatch.setattr(grid.tp, "learn", lambda *_, **how: calls.append(how))
    for pretrained in (False, True):
        grid.alone(family, target, target.learn.few(20), 3, pretrained=pretrained)
    assert calls == [
        {"lr": family.lr, "epochs": 2 * grid.tp.passes(20), "seed": 3},
        {"lr": family.tuned, "decay": family.decay, "seed": 3},
    ]


def test_a_small_source_is_gone_over_more_often():
    passes = [[f.source_passes(n) for n in (1_500, 3_000, 10_000)] for f in grid.FAMILIES.values()]
    assert passes == [[8, 5, 4]] * 3 + [[4, 2, 2]]


def test_heads_stay_where_they_fit_and_forgetting_asks_the_source(small_grid, monkeypatch):
    keeps, asked, real = [], [], grid.tp.strategies

    def noting(*arguments, **options):
        how = options["lr"], options["decay"], options.get("epochs")
        keeps.append((options.get("keep"), options["seed"], how))
        return real(*arguments, **options)

    monkeypatch.setattr(grid.tp, "strategies", noting)
    monkeypatch.setattr(grid.transfer, "forgetting", lambda before, *_: asked.append(before) or 0.5)
    monkeypatch.setattr(grid, "SEEDS", [1])
    grid.journey("t", NAMES, "textcnn", [100])
    family = grid.FAMILIES["textcnn"]
    tuned, alike = (family.tuned, family.decay, None), (family.lr, 1.0, 2 * grid.tp.passes(100))
    assert keeps == [([0, 1], 1, tuned), (None, 1, tuned), ([0, 1], 1, alike)]
    assert len(asked) == 3 and len(set(asked)) == 1


def test_gaps_have_their_sign_and_their_ends_in_order():
    truth, places = np.arange(100) % 2, np.arange(100)
    wrong = {"from scratch": 30, "NB-SVM": 20, "full": 10}
    found = {name: np.where(places < n, 1 - truth, truth) for name, n in wrong.items()}
    gaps = grid.gaps(found, truth, 2)
    for other, gain in (("from scratch", 0.2), ("NB-SVM", 0.1)):
        name = f"100 labels: full minus {other}"
        assert gaps[name] == pytest.approx(gain)
        assert 0 < gaps[f"{name}, low"] < gain < gaps[f"{name}, high"]
    assert len(gaps) == 6


def test_a_run_that_was_stopped_goes_on_with_the_seeds_that_are_left(small_grid, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "a" * 40)
    seeds, real = [], grid.tp.nbsvm
    monkeypatch.setattr(grid.tp, "nbsvm", lambda *a: seeds.append(a[2]) or real(*a))
    for count in (1, 2):
        monkeypatch.setattr(grid, "SEEDS", range(count))
        run = grid.journey("t", NAMES, "nbsvm", [20]).run()
    assert run.seeds == [0, 1]
    assert seeds == sorted(seeds) and seeds.count(0) == seeds.count(1)


def test_a_task_that_was_run_with_fewer_amounts_is_still_new(small_grid, monkeypatch, tmp_path):
    task = "transfer-imdb-kitchen-nbsvm"
    monkeypatch.setattr(grid, "RESULTS", tmp_path)
    assert not grid.is_recorded(task)
    for amounts, done in (([20], False), ([20, 100], True)):
        monkeypatch.setitem(grid.TASKS[task].keywords, "amounts", (20, 100))
        grid.HALF_DONE.joinpath(f"{task}.json").unlink(missing_ok=True)
        results.write(grid.journey(task, NAMES, "nbsvm", amounts).run(), tmp_path)
        assert grid.is_recorded(task) is done


def test_every_rank_begins_with_the_same_source_and_is_compared_with_full(small_grid, monkeypatch):
    calls = []

    def learn(model, texts, encode, way="full", *, rank=None, seed, **how):
        calls.append((way, rank, model.output.weight.detach().clone()))
        model.output.weight.data += 1

    monkeypatch.setattr(grid.tp, "learn", learn)
    monkeypatch.setattr(Texts, "few", lambda texts, size, seed: texts)
    run = variants.variants("t", "by rank", NAMES, "mini-albert", variants.ranks).run()
    ranks = [("lora", rank) for rank in variants.RANKS]
    assert [call[:2] for call in calls[1:]] == [("full", 1), *ranks]
    assert all(call[2].equal(calls[1][2]) for call in calls[1:])
    one, two, four = (run.mean(f"rank {r}, trained parameters") for r in (1, 2, 4))
    assert four - two == 2 * (two - one) > 0
    gap = run.mean("rank 4, accuracy") - run.mean("full, accuracy")
    assert run.mean("rank 4 minus full") == pytest.approx(gap)
    assert run.mean("rank 4 minus full, low") <= gap <= run.mean("rank 4 minus full, high")


def test_only_the_named_part_comes_from_the_source_and_the_rest_is_alike(small_grid, monkeypatch):
    starts, learn = [], grid.tp.learn

    def note(model, *args, **how):
        starts.append(copy.deepcopy(model))
        return learn(model, *args, **how)

    monkeypatch.setattr(grid.tp, "learn", note)
    monkeypatch.setattr(Texts, "few", lambda texts, size, seed: texts)
    run = variants.variants("t", "by part", NAMES, "textcnn", variants.parts).run()
    nothing, words, filters, both = starts[1:]  # the first is the source

    def same(a, b, part):
        pairs = zip(getattr(a, part).parameters(), getattr(b, part).parameters(), strict=True)
        return [x.equal(y) for x, y in pairs]

    assert all(same(nothing, other, "output") == [True, True] for other in (words, filters, both))
    assert all(same(nothing, filters, "embeddings") + same(words, both, "embeddings"))
    assert not any(same(nothing, words, "embeddings"))
    assert all(same(nothing, words, "convolutions") + same(filters, both, "convolutions"))
    assert not any(same(nothing, both, "convolutions"))
    gap = run.mean("both, accuracy") - run.mean("nothing, accuracy")
    assert run.mean("both minus nothing") == pytest.approx(gap)


def test_rates_go_step_by_step_from_the_grids_full_to_its_as_from_scratch(small_grid, monkeypatch):
    monkeypatch.setattr(grid.tp, "MOST", 2)
    monkeypatch.setattr(variants, "LABELS", 100)
    steps = variants.variants("t", "by rates", NAMES, "textcnn", variants.rates).run()
    whole = grid.journey("t", NAMES, "textcnn", [100]).run()
    first, *_, last = (name for name in steps.metrics if name.endswith(", accuracy"))
    assert steps.metrics[first] == whole.metrics["full, 100 labels"]
    assert steps.metrics[last] == whole.metrics["full, as from scratch, 100 labels"]


def test_each_step_of_the_rates_changes_one_thing(small_grid, monkeypatch):
    calls = []
    monkeypatch.setattr(grid.tp, "learn", lambda model, *_, **how: calls.append(how))
    monkeypatch.setattr(Texts, "few", lambda texts, size, seed: texts)
    variants.variants("t", "by rates", NAMES, "lstm", variants.rates)
    family, (_, *steps) = grid.FAMILIES["lstm"], calls
    full, one, fast, twice = ({"epochs": 1, **how} for how in steps)
    assert full == {"lr": family.tuned, "decay": family.decay, "seed": 0, "epochs": 1}
    assert one == full | {"decay": 1.0}
    assert fast == one | {"lr": 2 * family.tuned}
    assert twice == fast | {"epochs": 2}


def test_three_classes_to_two_leave_the_source_whole(small_grid):
    source, target = map(grid.Domain.read, NAMES)
    labels = source.learn.labels + (np.arange(len(source.learn.labels)) % 3 > 0)
    source = dataclasses.replace(
        source, classes=["no", "negative", "positive"], learn=Texts(source.learn.strings, labels)
    )
    learned = grid.Source(grid.FAMILIES["mini-albert"], source, target, 0)
    says = tp.answers(learned.model, target.score, learned.encode)
    assert learned.model.output.out_features == 3
    assert (learned.unchanged[says > 0] == says[says > 0] - 1).all()


def test_unequal_classes_have_their_macro_f1(small_grid, monkeypatch):
    from sklearn.metrics import f1_score

    source, target = map(grid.Domain.read, NAMES)
    third = [
        Texts(t.strings, (np.arange(len(t.labels)) % 5) // 2) for t in (target.learn, target.score)
    ]
    three = dataclasses.replace(target, learn=third[0], score=third[1], classes=list("abc"))
    monkeypatch.setattr(grid.Domain, "read", lambda name: {"imdb": source, "kitchen": three}[name])
    says = np.arange(len(three.score.labels)) % 3
    monkeypatch.setattr(grid.tp, "nbsvm", lambda *_: says)
    run = grid.journey("t", NAMES, "nbsvm", [20]).run()
    expected = f1_score(three.score.labels, says, average="macro")
    assert run.mean("NB-SVM, 20 labels, macro F1") == pytest.approx(expected)
    assert "NB-SVM, 20 labels" in run.metrics and "source only" not in run.metrics


def test_no_domain_is_its_own_source():
    pairs = {task.keywords["names"] for task in grid.TASKS.values() if hasattr(task, "keywords")}
    assert len(pairs) == 13 and all(a != b for a, b in pairs)
    assert len(grid.TASKS) == 13 * (len(grid.FAMILIES) + 1)


def test_a_balanced_source_has_as_many_of_each_class_and_all_are_its_own():
    texts = Texts([f"text {n}" for n in range(30)], np.array([1] * 20 + [0] * 10))
    even = variants.of_one_size(texts, seed=0)
    assert np.bincount(even.labels).tolist() == [10, 10] and len(set(even.strings)) == 20
    label = dict(zip(texts.strings, texts.labels, strict=True))
    assert [label[string] for string in even.strings] == even.labels.tolist()
    assert variants.of_one_size(texts, seed=0).strings == even.strings
    assert variants.of_one_size(texts, seed=1).strings != even.strings


def test_what_a_source_gives_is_what_nb_svm_says_after_it(small_grid, monkeypatch):
    run = variants.balanced("t", NAMES).run()
    for given in ("source", "balanced source", "smaller source"):
        for way in (given, f"target and {given}"):
            gap = run.mean(f"{way}, accuracy") - run.mean("target, accuracy")
            assert run.mean(f"{way} minus target") == pytest.approx(gap)
    source, target = (grid.Domain.read(name) for name in NAMES)
    whole = source.of_classes(source.places(target.classes))
    says = grid.tp.nbsvm(whole, target.score, 0)
    assert run.metrics["source, accuracy"][0] == (says == target.score.labels).mean()


def test_a_record_says_what_was_learned_from_and_what_learned(small_grid, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "a" * 40)
    source, target = map(grid.Domain.read, NAMES)
    labels = source.learn.labels + np.arange(len(source.learn.labels)) % 2
    source = dataclasses.replace(
        source, classes=["no", "positive", "negative"], learn=Texts(source.learn.strings, labels)
    )
    domains = {"imdb": source, "kitchen": target}
    monkeypatch.setattr(grid.Domain, "read", domains.__getitem__)
    network = grid.journey("t", NAMES, "textcnn", [20]).run()
    words = len(tp.vocabulary(source.texts, target.learn))
    learned = grid.FAMILIES["textcnn"].start(words, 2).parameters()  # the head of the target
    assert network.parameters == sum(p.numel() for p in learned)
    assert network.hyperparameters["source_texts"] == len(labels)
    balanced, again = (variants.balanced("u", NAMES).run() for _ in range(2))  # then as it was kept
    assert balanced.hyperparameters["source_texts"] == np.isin(labels, [1, 2]).sum()
    assert (again.metrics, again.parameters) == (balanced.metrics, balanced.parameters)
    domains["imdb"] = dataclasses.replace(source, classes=["this", "and", "that"])
    assert grid.journey("v", NAMES, "nbsvm", [20]).run().hyperparameters["source_texts"] == 0


def test_parts_are_recorded_with_the_rate_and_the_passes_of_from_scratch(small_grid, monkeypatch):
    calls, learn = [], grid.tp.learn
    monkeypatch.setattr(grid.tp, "learn", lambda *a, **how: calls.append(how) or learn(*a, **how))
    monkeypatch.setattr(variants, "LABELS", 100)
    settings = variants.TASKS["transfer-parts-imdb-kitchen"]("t").run().hyperparameters
    assert {how["lr"] for how in calls[1:]} == {settings["tuned"]}
    assert settings["decay"] == 1.0 and not any("decay" in how for how in calls[1:])
    # the limits of passes were other ones when the task was written down
    assert settings["passes"] == [12] and {how["epochs"] for how in calls[1:]} == {2}


def test_a_smaller_source_has_the_size_of_the_balanced_one_and_the_old_shares(
    small_grid, monkeypatch
):
    read, uneven = grid.Domain.read, grid.Domain.read("imdb")
    rows = np.flatnonzero(
        (uneven.learn.labels == 1) | (np.arange(len(uneven.learn.labels)) % 4 < 1)
    )
    learn = Texts([uneven.learn.strings[i] for i in rows], uneven.learn.labels[rows])
    uneven = dataclasses.replace(uneven, learn=learn)
    monkeypatch.setattr(grid.Domain, "read", lambda n: uneven if n == "imdb" else read(n))
    given, real = [], grid.tp.nbsvm
    monkeypatch.setattr(grid.tp, "nbsvm", lambda t, *a: given.append(t) or real(t, *a))
    variants.balanced("t", NAMES)
    _, whole, even, smaller, *_ = given
    assert len(smaller.labels) == len(even.labels) < len(whole.labels)
    assert even.labels.mean() == 0.5
    assert smaller.labels.mean() == pytest.approx(whole.labels.mean(), abs=0.02)
    assert whole.labels.mean() > 0.7
