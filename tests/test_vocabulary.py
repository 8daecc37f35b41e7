"""Facts about the vocabulary: order of ids, unknown words, files."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutorial_lib.text import PAD, UNK, Vocabulary, words

tokens = st.lists(st.text("abcd", min_size=1, max_size=3), max_size=12)


def test_ids_follow_counts_then_spelling_whatever_the_order_of_the_texts():
    tokenized = [["b", "a"], ["c", "b"], ["a", "d"]]
    for order in (tokenized, tokenized[::-1], [t[::-1] for t in tokenized]):
        assert Vocabulary.build(order).tokens == ("<pad>", "<unk>", "a", "b", "c", "d")
    assert Vocabulary.build(tokenized, min_count=2).tokens[2:] == ("a", "b")
    assert Vocabulary.build(tokenized, max_size=5).tokens[2:] == ("a", "b", "c")


@settings(deadline=None, max_examples=25)
@given(st.lists(tokens, max_size=5), tokens)
def test_known_tokens_come_back_and_others_are_unknown(texts, new):
    vocabulary = Vocabulary.build([*texts, ["known"]])
    for line in texts:
        assert vocabulary.decode(vocabulary.encode(line)) == line
    known = {token for line in texts for token in line}
    for token, i in zip(new, vocabulary.encode(new), strict=True):
        assert (token in vocabulary) == (token in known) == (i != UNK)
    assert len(vocabulary) == len(known) + 3


def test_the_names_of_the_special_ids_in_a_text_are_no_words():
    assert Vocabulary.build([["<pad>", "<unk>", "a"]]).tokens == ("<pad>", "<unk>", "a")
    assert (PAD, UNK) == (0, 1)


def test_a_vocabulary_is_saved_and_loaded(tmp_path):
    tokenized = [["naïve", '"', "\n", "好", "𠀀", "\ud800"]]  # the last: half a character
    vocabulary, path = Vocabulary.build(tokenized), tmp_path / "words.json"
    vocabulary.save(path)
    vocabulary.save(path)  # over the old one
    assert Vocabulary.load(path).tokens == vocabulary.tokens
    assert os.listdir(tmp_path) == ["words.json"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "words.json"
    Vocabulary.build([["old"]]).save(path)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        Vocabulary.build([["new"]]).save(path)
    assert os.listdir(tmp_path) == ["words.json"]
    assert "old" in Vocabulary.load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\xff",
        b'{"tokens": ["<pad>", "<unk>", "a',
        b'["<pad>", "<unk>", "a"]',
        b'{"words": []}',
        b'{"tokens": "<pad>"}',
        b'{"tokens": ["<unk>", "<pad>", "a"]}',
        b'{"tokens": ["<pad>", "<unk>", 7]}',
        b'{"tokens": ["<pad>", "<unk>", "a", "a"]}',
        b'{"tokens": null}',
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"words\.json is damaged or holds no vocabulary"):
        Vocabulary.load(path)
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "none.json")


def test_a_vocabulary_of_nothing_is_refused_with_the_likely_reason():
    used_up = map(words, ["a text"])
    list(used_up)
    with pytest.raises(ValueError, match="already run"):
        Vocabulary.build(used_up)
    with pytest.raises(ValueError, match="min_count=9"):
        Vocabulary.build([["a"]], min_count=9)
    with pytest.raises(TypeError, match=r"map\(words, texts\)"):
        Vocabulary.build(["a text"])
    with pytest.raises(TypeError):
        Vocabulary.build([["a"]]).encode("a text")


def test_ids_out_of_range_are_refused():
    vocabulary = Vocabulary.build([["a"]])
    assert vocabulary.decode(torch.tensor([2, 0, 1])) == ["a", "<pad>", "<unk>"]
    for wrong in ([3], [-1]):
        with pytest.raises(ValueError, match="0 to 2"):
            vocabulary.decode(wrong)
