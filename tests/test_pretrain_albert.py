"""The pre-training run, its corpus and tokenizer, on texts that are at hand.

Run as a script under torchrun, this file is one of two processes.
"""

import itertools
import json
import os
import string
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from benchmarks import finetune_albert
from benchmarks import pretrain_albert as driver
from benchmarks import pretraining_corpus as corpora
from benchmarks import pretraining_run as runs
from tutorial_lib import data, hub
from tutorial_lib.albert import AlbertPretraining
from tutorial_lib.packing import PackedText
from tutorial_lib.pretraining import CLS, MASK, SEP
from tutorial_lib.training import CheckpointError

TINY = (
    "--hidden 16 --layers 2 --heads 2 --embedding 16 --vocabulary 200 --positions 64 --tokens 256 "
    "--piece 4 --warmup 3 --save-every 2 --measure-every 5 --precision no "
    "--phases causal:0.4:32|masked:0.3:32|replaced:0.3:64"
)

ENVIRONMENT = {
    **os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(__file__).parents[1]),
}  # fmt: skip


def options(corpus, folder, more=""):
    words = [word.replace("|", " ") for word in f"{TINY} {more}".split()]
    return ["--corpus", str(corpus), "--folder", str(folder), *words]


def reviews():
    """3,000 generated reviews."""
    texts = [text for split in data.load("reviews").values() for text in split["text"]]
    return [text for text in texts if text.isascii()][:3000]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    corpora.write(folder, reviews(), {"read": {"reviews": {}}}, 200)
    return folder


def curve(folder):
    """The lines of the curve without the times."""
    lines = (folder / "curve.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "LOG_EVERY", 1)
        run = driver.main(options(corpus, folder, "--steps 10"))
    return folder, run.model


def test_every_phase_and_the_decay_leave_lines(whole):
    lines = curve(whole[0])
    losses = [line for line in lines if "loss" in line]
    assert [line["step"] for line in losses] == list(range(1, 11))
    assert [line["objective"] for line in losses] == (
        ["causal"] * 4 + ["masked"] * 3 + ["replaced"] * 3
    )
    assert [line["part"] for line in losses] == ["stable"] * 8 + ["decay-8"] * 2
    rates = [line["rate"] for line in losses]
    assert rates == pytest.approx([1 / 3, 2 / 3, *[1] * 6, 1, 1 - 0.5**0.5], abs=1e-4)
    measured = [line for line in lines if "words_nats" in line]
    assert [line["step"] for line in measured] == [5, 8, 10]
    # It guesses among 200 pieces.
    assert measured[0]["words_nats"] < np.log(200) + 0.5


class Killed(BaseException):
    """Stands for a kill: nothing in the run catches it."""


@pytest.mark.parametrize("at", [5, 9])
def test_a_run_that_was_killed_goes_on_to_the_same_end(corpus, whole, tmp_path, monkeypatch, at):
    monkeypatch.setattr(runs, "LOG_EVERY", 1)
    update = runs.Updater.update

    def killed(self, batches, factor, epoch, step):
        if step == at:
            raise Killed
        return update(self, batches, factor, epoch, step)

    monkeypatch.setattr(runs.Updater, "update", killed)
    with pytest.raises(Killed):
        driver.main(options(corpus, tmp_path, "--steps 10"))
    monkeypatch.setattr(runs.Updater, "update", update)
    with open(tmp_path / "curve.jsonl", "a") as file:
        file.write('{"part": "st')  # half a line
    run = driver.main(["--corpus", str(corpus), "--folder", str(tmp_path)])
    assert curve(tmp_path) == curve(whole[0])
    for name, tensor in whole[1].state_dict().items():
        assert tensor.equal(run.model.state_dict()[name]), name


def test_a_run_goes_on_from_before_its_decay(corpus, whole, tmp_path, monkeypatch):
    """First 10 steps, then 15: the stable part is one of 12 steps, as if planned so."""
    monkeypatch.setattr(runs, "LOG_EVERY", 1)
    driver.main(options(corpus, tmp_path, "--steps 10"))
    driver.main(["--corpus", str(corpus), "--folder", str(tmp_path), "--steps", "15"])
    losses = [line for line in curve(tmp_path) if "loss" in line]
    stable = [line["step"] for line in losses if line["part"] == "stable"]
    assert stable == list(range(1, 13))
    decay = [line["step"] for line in losses if line["part"] == "decay-12"]
    assert decay == [13, 14, 15]
    assert json.loads((tmp_path / "model" / "training.json").read_text())["steps"] == 15
    with pytest.raises(SystemExit, match="beyond 8"):
        driver.main(["--corpus", str(corpus), "--folder", str(tmp_path)])


def test_a_run_can_be_ended_at_any_time(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LOG_EVERY", 1)

    class Stopped(driver.Run):
        def save(self, part):
            super().save(part)
            if self.state.step == 4:
                raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(driver, "Run", Stopped)
        driver.main(options(corpus, tmp_path, "--steps 1000"))
    run = driver.main(["--corpus", str(corpus), "--folder", str(tmp_path), "--decay-now"])
    assert run.state.step == 5  # a fifth of the whole is decay
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_another_corpus_is_refused(corpus, whole, tmp_path):
    plan = driver.Plan.load(whole[0] / "plan.json")
    corpora.write(tmp_path, reviews()[1000:], {}, plan.albert.vocab_size)
    with pytest.raises(CheckpointError, match="tokens was"):
        driver.Run(plan, corpora.read(tmp_path), whole[0]).load("stable")
    corpora.write(tmp_path, reviews(), {}, 150)
    with pytest.raises(ValueError, match="vocabulary of 200, the corpus one of 150"):
        driver.Run(plan, corpora.read(tmp_path), whole[0])


def test_the_export_is_the_model_in_float16_for_both_libraries(whole, corpus):
    from transformers import AlbertForPreTraining, AutoTokenizer

    folder = whole[0] / "model"
    loaded = hub.load(folder, AlbertPretraining)
    assert not loaded.new
    for name, tensor in whole[1].model.state_dict().items():
        assert loaded.model.state_dict()[name].equal(tensor.half().float()), name
    ids = torch.tensor([loaded.tokenizer.encode("The room was clean, not cheap.").ids])
    theirs = AlbertForPreTraining.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)("The room was clean, not cheap.")["input_ids"]
    assert tokens == ids[0].tolist()
    with torch.no_grad():
        ours = loaded.model.eval()(ids, None)
        found = theirs(ids)
    torch.testing.assert_close(ours.words, found.prediction_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.order, found.sop_logits, rtol=1e-4, atol=1e-4)
    card = (folder / "README.md").read_text()
    assert "reviews" in card and "| run | 10 steps of 256 tokens, 2,560 in all" in card
    assert (folder / corpora.RECORD).exists()
    measured = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in measured] == [5, 8, 10]


def test_it_compiles_in_one_piece(whole, corpus):
    """No step depends on numbers in a tensor, which would cut the compiled graph."""
    done = subprocess.run(
        [sys.executable, __file__, str(corpus), str(whole[0]), "graph"],
        capture_output=True, text=True, timeout=300, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0"


def test_hours_become_steps(whole, corpus, monkeypatch):
    run = driver.Run(driver.Plan.load(whole[0] / "plan.json"), corpora.read(corpus), whole[0])
    before = [p.clone() for p in run.model.parameters()]
    # A clock on which every step takes a quarter of a second, whatever its phase.
    ticks = itertools.count(step=0.25)
    monkeypatch.setattr(runs, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert driver.steps_in(1.5, run) == 1.5 * 3600 * 4
    assert all(map(torch.equal, before, run.model.parameters()))
    assert all(p.grad is None for p in run.model.parameters())


def test_a_new_run_needs_an_end(corpus, tmp_path):
    with pytest.raises(SystemExit, match="--hours or --steps"):
        driver.main(options(corpus, tmp_path))


def test_two_processes_follow_the_curve_of_one(whole, corpus, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc_per_node", "2", __file__, str(corpus), str(tmp_path)],
        capture_output=True, text=True, timeout=400, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = curve(whole[0]), curve(tmp_path)
    assert len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            if isinstance(first[name], str):
                assert first[name] == second[name]
            elif "accuracy" not in name and "share" not in name:  # a guess may just turn over
                assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-3), first


def test_the_tokenizer_is_alberts(corpus):
    from transformers import AlbertTokenizer, AutoTokenizer

    tokenizer = corpora.read(corpus).tokenizer
    special = [tokenizer.token_to_id(t) for t in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    assert special == [0, 1, CLS, SEP, MASK] == [0, 1, 2, 3, 4]
    with open(corpus / "tokenizer_config.json", "w") as file:
        json.dump({"tokenizer_class": "AlbertTokenizer"}, file)
    theirs = AlbertTokenizer.from_pretrained(corpus)
    auto = AutoTokenizer.from_pretrained(corpus)
    for text in (
        "The Room was clean, isn't it?", "  ``Très''  café\n\tnaïve ", "10/10 …", "", "x" * 30,
        "\u4e2d\u6587 and [MASK] here", "ﬁne ½ ＡＢＣ",
    ):  # fmt: skip
        ours = tokenizer.encode(text).ids
        assert theirs(text)["input_ids"] == ours == auto(text)["input_ids"], text
        pair = tokenizer.encode(text, "and more")
        found = theirs(text, "and more", return_token_type_ids=True)
        assert found["input_ids"] == pair.ids
        assert found["token_type_ids"] == pair.type_ids
    assert tokenizer.encode("TRÈS").ids == tokenizer.encode("tres").ids


def test_words_start_at_a_blank_and_marks_are_words(corpus):
    found = corpora.read(corpus)
    encoded = found.tokenizer.encode("unbelievable, really!", add_special_tokens=False)
    starts = found.starts[torch.tensor(encoded.ids)].tolist()
    expected = [t.startswith("▁") or t in ",!" for t in encoded.tokens]
    assert starts == expected
    assert starts.count(True) < len(starts), "no word was cut"


def test_no_piece_holds_both_letters_and_marks(corpus):
    for piece in corpora.read(corpus).tokenizer.get_vocab():
        plain = piece.replace("▁", "")
        if piece not in corpora.SPECIAL and any(map(str.isalnum, plain)):
            assert not set(plain) & set(string.punctuation), piece


@pytest.mark.parametrize("positions", [32, 128])  # too few to read them; so many that some stay raw
def test_rows_that_do_not_fit_the_positions_are_refused(corpus, tmp_path, positions):
    message = f"the longest rows have 64 tokens, the model {positions} positions"
    with pytest.raises(ValueError, match=message):
        driver.main(options(corpus, tmp_path, f"--steps 10 --positions {positions}"))


def test_a_run_goes_on_from_an_exported_model(whole, corpus, tmp_path):
    model = whole[0] / "model"
    line = options(corpus, tmp_path, f"--steps 4 --weights {model}")
    run = driver.main(line)
    assert run.plan.before == json.loads((model / "training.json").read_text(encoding="utf-8"))
    assert run.plan.albert == hub.load(model).model.config
    begun = driver.Run(run.plan, corpora.read(corpus), tmp_path, weights=model)
    torch.testing.assert_close(
        dict(begun.model.model.named_parameters()),
        dict(hub.load(model, AlbertPretraining).model.named_parameters()),
    )
    said = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "| first run | " in said and "| run | 4 steps of 256 tokens, 1,024 in all" in said
    with pytest.raises(SystemExit, match="name it again with --weights"):
        driver.main(options(corpus, tmp_path, "--steps 5"))


def turned(tokenizer):
    """A tokenizer whose two last pieces have changed places, and its description."""
    facts = json.loads(tokenizer.to_str())
    facts["model"]["vocab"][-2:] = facts["model"]["vocab"][:-3:-1]
    return tokenizers.Tokenizer.from_str(json.dumps(facts)), facts


def test_the_same_pieces_in_another_order_get_the_same_word_vectors(corpus, monkeypatch):
    first = corpora.read(corpus)
    monkeypatch.setattr(corpora, "prepared", lambda vocabulary: corpus)
    monkeypatch.setattr(finetune_albert, "SKIP_GRAM", {"dim": 4, "epochs": 1})
    ours = finetune_albert.word_vectors(first.tokenizer)
    theirs = finetune_albert.word_vectors(turned(first.tokenizer)[0])
    torch.testing.assert_close(ours, corpora.word_vectors(first, 4, 1))
    torch.testing.assert_close(theirs, ours[[*range(198), 199, 198]])
    assert not torch.equal(theirs, ours)


def test_the_same_pieces_in_another_order_give_the_same_texts(corpus):
    first = corpora.read(corpus)
    other, facts = turned(first.tokenizer)
    second = corpora.renumbered(first, other)
    texts = first.tokenizer.decode(first.tokens[:500]), other.decode(second.tokens[:500])
    assert texts[0] == texts[1] and (first.tokens != second.tokens).any()
    assert second.starts.tolist() == first.starts[[*range(198), 199, 198]].tolist()
    facts["model"]["vocab"][-1][0] = "another"
    with pytest.raises(ValueError, match="differ in 2 pieces"):
        corpora.renumbered(first, tokenizers.Tokenizer.from_str(json.dumps(facts)))


def test_without_a_run_there_is_nothing_to_decay(corpus, tmp_path):
    with pytest.raises(SystemExit, match="nothing to decay"):
        driver.main(options(corpus, tmp_path, "--steps 10 --decay-now"))


def test_tokens_are_the_texts_one_after_the_other(corpus):
    found = corpora.read(corpus)
    ids = found.tokens[:2000].tolist()
    first = ids[: ids.index(SEP)]
    text = found.tokenizer.decode(first)
    assert found.tokenizer.encode(text, add_special_tokens=False).ids == first
    assert (found.tokens == SEP).sum() == 2970 and (found.held_out == SEP).sum() == 30
    assert found.record["tokens"] == {"tokens": len(found.tokens), "held_out": len(found.held_out)}


HELD_OUT = "It is one of the best films that I have ever seen , and I do n't say so lightly ."


def test_what_shares_eight_words_is_left_out():
    check = corpora.Check([("test", HELD_OUT), ("test", "Great phone")])
    filler = " ".join(f"Here is sentence number {n} of many." for n in range(30))
    shares = "Really, one of the BEST films that I have ever seen!"
    seven = "One of the best films that I."
    pieces = check.pieces("a", f"Before it all. {filler} {shares} {filler}")
    assert [p.count("number") for p in pieces] == [30, 30]
    assert check.pieces("a", f"{seven} {filler}") == [f"{seven} {filler}"]
    assert check.pieces("a", f"{shares} And a few words more.") == []
    assert check.pieces("a", "great phone!") == []
    assert check.pieces("a", "great phone, but dear!") == ["great phone, but dear!"]
    assert check.pieces("a", "And I don't say so lightly, I have to add.") != []
    assert check.pieces("a", "I have ever seen, and I don't say so lightly.") == []
    record = check.record()
    assert record["held-out texts"]["different runs"] == 12  # 18 words, and a short text
    assert record["read"]["a"]["documents left out"] == 3
    assert record["read"]["a"]["documents cut"] == 1
    assert "8 words in a row" in record["rule"]


def test_a_short_held_out_text_is_found_within_a_document():
    check = corpora.Check([("test", "Definitely worth seeing twice.")])
    filler = " ".join(f"Here is sentence number {n} of many." for n in range(30))
    pieces = check.pieces("a", f"{filler} It is definitely worth seeing twice! {filler}")
    assert [p.count("number") for p in pieces] == [30, 30] and "seeing" not in "".join(pieces)
    assert check.pieces("a", "definitely worth seeing it twice") != []


def test_tags_within_entities_hide_nothing():
    held_out = "Some &lt;A HREF=&quot;x&quot;&gt;words of a story&lt;/A&gt; that was held out"
    check = corpora.Check([("test", held_out)])
    plain = "some words of a story that was held out"
    assert check.pieces("a", held_out) == check.pieces("a", plain) == []


def test_a_run_over_two_sentences_takes_both():
    check = corpora.Check([("test", "a b c d e f g h")])
    filler = " ".join(f"word{n} word{n + 1} word{n + 2}." for n in range(100))
    pieces = check.pieces("s", f"{filler} x a b c d. e f g h y. {filler}")
    assert [corpora.words(piece)[0] for piece in pieces] == ["word0", "word0"]
    assert not any("x a" in piece or "h y" in piece for piece in pieces)


def test_news_messages_lose_what_is_not_theirs():
    message = (
        "From: a@b.c\nSubject: cars\n\nIn article <1@x> d@e.f writes:\n> I like\n\nSo do I.\n"
        "\n--\nMe, Inc."
    )
    assert corpora.body(message).split() == ["So", "do", "I."]


def test_batches_come_from_the_corpus(corpus):
    found = corpora.read(corpus)
    plan = driver.planned(driver.arguments(options(corpus, "x", "--steps 10")))
    batch = PackedText(found.tokens, found.starts, plan.text).batch(0)
    row = batch["ids"][0, 1:-1].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(found.tokens, len(row))
    assert (windows == row).all(1).any()


def graph_breaks(corpus, folder):
    """Return where torch.compile would have to cut the computation of a `replaced` batch."""
    run = driver.Run(driver.Plan.load(folder / "plan.json"), corpora.read(corpus), folder)
    return torch._dynamo.explain(run.model)(run.text.batch(8)).graph_break_count


if __name__ == "__main__":
    if sys.argv[3:] == ["graph"]:
        print(graph_breaks(Path(sys.argv[1]), Path(sys.argv[2])))
    else:
        runs.LOG_EVERY = 1
        driver.main(options(sys.argv[1], sys.argv[2], "--steps 10"))
        torch.distributed.destroy_process_group()
