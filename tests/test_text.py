"""Facts about tokens, ids, counts and subwords: scikit-learn, torchtext, closed forms."""

import collections
import math
import time

import numpy as np
import psutil
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tutorial_lib import data, text
from tutorial_lib.data import reviews
from tutorial_lib.text import PAD, UNK, Vocabulary, words

TEXTS = ["The film isn't bad .", "a bad, bad film", "", "Good acting; the film drags!"]
few = settings(deadline=None, max_examples=25)


@pytest.fixture(scope="module")
def corpus():
    """Five hundred reviews, their vocabulary and their ids."""
    texts = reviews.dataset(625)["train"]["text"]
    vocabulary = Vocabulary.build(map(words, texts))
    return texts, vocabulary, text.encode(texts, words, vocabulary)


# Tokens


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("It\u2019s  \u201cgood\u201d\n", 'It\'s "good"'),
        ("a<br /><br/>b <i>c</i>", "a b c"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("Tom &amp; Jerry &#39;s R&D & co", "Tom & Jerry 's R&D & co"),
        ("I <3 it: 1 < 2 > 0", "I <3 it: 1 < 2 > 0"),  # no tags
        ("if a &lt;b and c&gt; d", "if a <b and c> d"),  # nor here
        ("ＦＵＬＬ　ｗｉｄｔｈ ﬁne cafe\u0301", "FULL width fine café"),
        ("zero\u200bwidth so\u00adft", "zerowidth soft"),
        (" \t\n", ""),
    ],
)
def test_what_looks_the_same_is_spelt_the_same(raw, clean):
    assert text.normalize(raw) == clean


def test_words_keep_apostrophes_and_split_punctuation():
    assert words("The film\u2019s ISN'T so-so, is it?") == [
        *("the", "film's", "isn't", "so", "-", "so", ",", "is", "it", "?")
    ]
    assert words("") == words(" \n") == []


def test_words_are_the_tokens_of_the_linear_baselines():
    from tutorial_lib.baselines import bag_of_words

    rows = reviews.dataset(100)["test"]["text"]
    assert set(bag_of_words((1, 1)).fit(rows).vocabulary_) == {w for r in rows for w in words(r)}


def test_chinese_by_character_keeps_latin_words_and_numbers_whole():
    assert text.characters("iPhone 14真的很好！don't 用5G") == [
        *("iphone", "14", "真", "的", "很", "好", "!", "don't", "用", "5g")
    ]
    assert text.characters("㐂𠀀") == ["㐂", "𠀀"]  # rare characters, one of them beyond 16 bits


def test_chinese_words_are_jiebas_without_blanks_or_log_lines(capfd):
    cut = text.chinese_words("我来到北京  清华大学, Very 好")
    assert cut == ["我", "来到", "北京", "清华大学", ",", "very", "好"]
    assert capfd.readouterr() == ("", "")


@few
@given(st.text(max_size=60))
def test_tokenizers_lose_nothing_but_blanks(raw):
    kept = "".join(text.normalize(raw).lower().split())
    assert "".join(text.chinese_words(raw)) == kept
    for tokenize in (words, text.characters):
        found = "".join(tokenize(raw))
        assert collections.Counter(found) == collections.Counter(kept)


@pytest.mark.parametrize("tokenize", [words, text.characters, text.chinese_words])
def test_a_text_that_is_no_string_is_refused(tokenize):
    for wrong in (None, b"bytes", 3.0):
        with pytest.raises(TypeError):
            tokenize(wrong)


# Ids, padding, masks


def test_texts_become_ids_and_an_empty_text_one_unknown_word():
    vocabulary = Vocabulary.build(map(words, TEXTS[:2]))
    ids = text.encode(TEXTS, words, vocabulary)
    assert all(row.dtype == np.int32 for row in ids)
    assert vocabulary.decode(ids[1]) == ["a", "bad", ",", "bad", "film"]
    assert ids[2].tolist() == [UNK]
    assert vocabulary.decode(ids[3]) == ["<unk>", "<unk>", "<unk>", "the", "film", "<unk>", "<unk>"]
    short = text.encode(TEXTS, words, vocabulary, max_length=2)
    assert [row.tolist() for row in short] == [row[:2].tolist() for row in ids]
    with pytest.raises(ValueError, match="at least 1"):
        text.encode(TEXTS, words, vocabulary, max_length=0)
    with pytest.raises(TypeError):
        text.encode("one text", words, vocabulary)


@few
@given(st.lists(st.lists(st.integers(2, 99), max_size=9), min_size=1, max_size=6))
def test_padding_stands_at_the_right_and_the_mask_undoes_it(sequences):
    ids, mask = text.pad(sequences)
    assert ids.shape == mask.shape == (len(sequences), max(1, *map(len, sequences), 1))
    assert [row[m].tolist() for row, m in zip(ids, mask, strict=True)] == sequences
    assert (ids[~mask] == PAD).all()
    assert (mask.int().diff(dim=1) <= 0).all()  # no token after padding


def test_padding_is_that_of_the_batches():
    sequences = [np.array([5, 3, 4], np.int32), np.array([7], np.int32)]
    (batch,) = data.batches(sequences, shuffle=False)
    ids, mask = text.pad([sequences[i] for i in batch["rows"]])
    assert torch.equal(ids, batch["ids"]) and torch.equal(mask, batch["mask"])
    with pytest.raises(ValueError, match="no sequence"):
        text.pad([])


def test_word_dropout_hits_its_share_of_the_tokens_and_no_padding():
    torch.manual_seed(0)
    ids, mask = text.pad([[7] * 1000, [7] * 3000] * 5)
    dropped = text.drop_words(ids, mask, 0.3)
    assert torch.equal(dropped[~mask], ids[~mask])
    assert set(dropped[mask].tolist()) == {7, UNK}
    share = (dropped[mask] == UNK).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 20_000))
    assert not torch.equal(dropped, text.drop_words(ids, mask, 0.3))  # new ones each time
    assert torch.equal(text.drop_words(ids, mask, 0.0), ids)
    assert (text.drop_words(ids, mask, 1.0)[mask] == UNK).all()
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            text.drop_words(ids, mask, wrong)


# Counts


@pytest.mark.equation("eq-bag-of-words")
def test_counts_are_scikit_learns(corpus):
    texts, vocabulary, ids = corpus
    table = {token: i for i, token in enumerate(vocabulary.tokens)}
    theirs = CountVectorizer(analyzer=words, vocabulary=table).transform(texts)
    ours = text.bag_of_words(ids, len(vocabulary))
    assert (ours != theirs).nnz == 0
    assert ours.sum() == sum(map(len, ids))


def test_an_id_beyond_the_size_is_refused():
    with pytest.raises(ValueError):
        text.bag_of_words([[2, 5]], 5)


@pytest.mark.equation("eq-idf")
def test_idf_is_scikit_learns_and_by_hand():
    counts = scipy.sparse.csr_matrix([[3, 0, 1], [1, 0, 0], [2, 0, 0]])
    by_hand = [1, math.log(4) + 1, math.log(4 / 2) + 1]  # in all three texts, in none, in one
    np.testing.assert_allclose(text.inverse_document_frequency(counts), by_hand)


@pytest.mark.equation("eq-tf-idf")
def test_tf_idf_is_scikit_learns(corpus):
    texts, vocabulary, ids = corpus
    texts = [*texts, ""]
    table = {token: i for i, token in enumerate(vocabulary.tokens)}
    reference = TfidfVectorizer(analyzer=words, vocabulary=table).fit(texts[:300])
    counts = text.bag_of_words([*ids, []], len(vocabulary))
    ours = text.tf_idf(counts, text.inverse_document_frequency(counts[:300]))
    np.testing.assert_allclose(ours.toarray(), reference.transform(texts).toarray(), atol=1e-12)
    length = np.sqrt(ours.multiply(ours).sum(1))
    np.testing.assert_allclose(length[:-1], 1)
    assert length[-1] == 0  # the empty text


# Subwords


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_subwords_rebuild_every_text_and_fewer_pieces_make_texts_longer(corpus, kind):
    texts = [text.normalize(row).lower() for row in corpus[0]]
    lengths = []
    for size in (300, 1500):
        tokenizer = text.train_subword(texts, kind, size)
        assert tokenizer.get_vocab_size() == size
        pieces = [tokenizer.encode(row).tokens for row in texts]
        for row, parts in zip(texts, pieces, strict=True):
            whole = "".join(part.removeprefix("##") for part in parts).replace("▁", "")
            assert whole == row.replace(" ", "")
        lengths.append(np.mean([len(parts) for parts in pieces]))
    assert lengths[1] < lengths[0]
    assert lengths[1] < np.mean([len(row) for row in texts])


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_sign_that_was_never_seen_is_unknown_and_the_special_ids_are_ours(corpus, kind):
    tokenizer = text.train_subword(corpus[0], kind, 300)
    assert [tokenizer.token_to_id(name) for name in ("<pad>", "<unk>")] == [PAD, UNK]
    assert tokenizer.encode("\u2603").ids[-1] == UNK
    assert UNK not in tokenizer.encode("A NEW word, made of seen letters").ids
    assert tokenizer.encode("ＷＯＲＤ").ids == tokenizer.encode("word").ids


def test_an_unknown_kind_of_subwords_is_refused():
    with pytest.raises((TypeError, ValueError), match="kind"):
        text.train_subword(TEXTS, "wordpieces", 300)


# The whole way from texts to batches


def test_torchtexts_bucket_iterator_of_old_gives_the_same_batches(corpus):
    from torchtext.data import BucketIterator, Dataset, Example, Field

    texts, vocabulary, ids = corpus
    field = Field(tokenize=words, batch_first=True, include_lengths=True)
    fields = [("text", field)]
    old = Dataset([Example.fromlist([row], fields) for row in texts], fields)
    field.build_vocab(old)
    iterator = BucketIterator(
        old,
        batch_size=1024,
        batch_size_fn=lambda example, rows, _: rows * len(example.text),
        sort_key=lambda example: len(example.text),
        sort=True,
        sort_within_batch=False,
        train=False,
    )
    ours = list(data.batches(ids, token_budget=1024, shuffle=False))
    theirs = [batch.text for batch in iterator]
    assert len(ours) == len(theirs) > 10
    # The same tokens in the same order, but there <unk> is 0 and <pad> is 1.
    assert field.vocab.itos[2:] == list(vocabulary.tokens[2:])
    swap = torch.tensor([PAD, UNK, *range(2, len(vocabulary))])[[1, 0, *range(2, len(vocabulary))]]
    for batch, (old_ids, lengths) in zip(ours, theirs, strict=True):
        assert torch.equal(batch["ids"], swap[old_ids])
        assert torch.equal(batch["mask"].sum(1), lengths)


def test_memory_does_not_grow_with_the_number_of_epochs():
    ids = [np.full(200, 7, np.int32)] * 10_000  # 16 MB of int64 an epoch
    batches = data.batches(ids, token_budget=4096)
    process, after = psutil.Process(), []
    for _ in range(6):
        assert sum(len(batch["rows"]) for batch in batches) == 10_000
        after.append(process.memory_info().rss / 2**20)
    assert max(after[1:]) - after[0] < 12  # keeping the batches would add 90


def test_fifty_thousand_reviews_become_ids_in_half_a_minute():
    # Of one processor, so that a busy machine does not decide.
    try:
        splits = data.load("imdb")
    except data.DatasetUnavailable:
        pytest.skip("imdb is not here")
    texts = [row for split in splits.values() for row in split["text"]]
    started = time.process_time()
    vocabulary = Vocabulary.build(map(words, texts))
    ids = text.encode(texts, words, vocabulary)
    seconds = time.process_time() - started
    print(f"{sum(map(len, ids)):,} tokens in {seconds:.1f} s")
    assert not any((row == UNK).any() for row in ids)
    assert seconds < 30
