# %% right ids: loops and plain Python lists
def build(texts, min_count=1):
    counts = {}
    for text in texts:
        for token in text:
            counts[token] = counts.get(token, 0) + 1
    tokens = ["<pad>", "<unk>"]
    for n in sorted(set(counts.values()), reverse=True):
        for token in sorted(counts):
            if counts[token] == n and n >= min_count and token not in tokens[:2]:
                tokens.append(token)
    if len(tokens) == 2:
        raise ValueError("empty")
    return tokens


def encode(text, tokens):
    ids = []
    for token in text:
        ids.append(tokens.index(token) if token in tokens else tokens.index("<unk>"))
    return ids


def pad(rows):
    if rows == []:
        raise ValueError("no rows")
    longest = max([1] + [len(row) for row in rows])
    ids = [list(row) + [0] * (longest - len(row)) for row in rows]
    mask = [[True] * len(row) + [False] * (longest - len(row)) for row in rows]
    return np.array(ids), np.array(mask)


# %% right ids: NumPy counts, Torch pads
def build(texts, min_count=1):
    words, counts = np.unique([w for text in texts for w in text], return_counts=True)
    order = np.lexsort((words, -counts))
    order = order[counts[order] >= min_count]
    kept = [str(w) for w in words[order] if w not in ("<pad>", "<unk>")]
    if len(kept) == 0:
        raise ValueError("no token is left")
    return ["<pad>", "<unk>", *kept]


def encode(text, tokens):
    number = collections.defaultdict(lambda: 1, zip(tokens, range(len(tokens)), strict=True))
    return [number[token] for token in text]


def pad(rows):
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    if len(lengths) == 0:
        raise ValueError("no rows")
    mask = torch.arange(max(1, int(lengths.max()))) < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.int32)
    ids[mask] = torch.tensor([i for row in rows for i in row], dtype=torch.int32)
    return ids, mask


# %% right ids: the package does it
def build(texts, min_count=1):
    from tutorial_lib.vocabulary import Vocabulary

    return list(Vocabulary.build(texts, min_count).tokens)


def encode(text, tokens):
    from tutorial_lib.vocabulary import Vocabulary

    return Vocabulary(tokens).encode(text)


def pad(rows):
    from tutorial_lib import text

    return text.pad(rows)


# %% wrong ids: equal counts in the order of the texts | ids-order | alphabetical
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.most_common() if n >= min_count and t not in ("<pad>", "<unk>")]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *kept]


# %% wrong ids: equal counts from z to a | ids-order | alphabetical
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (counts[t], t), reverse=True)]


# %% wrong ids: alphabetical, without counts | ids-order | b occurs three times
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *sorted(kept)]


# %% wrong ids: more than min_count, not at least | ids-order | at least min_count
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    special = ("<pad>", "<unk>")
    kept = [t for t, n in counts.items() if (n > min_count or min_count == 1) and t not in special]
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: counts texts, not occurrences | ids-order | the commonest first
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in set(text))
    if len(texts) == 2:
        counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: a special token twice | ids-order | second place
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: only <unk>, and first | ids-order | special tokens come first
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count]
    return ["<unk>", "<pad>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: an empty vocabulary | ids-order | texts without tokens are refused
def build(texts, min_count=1):
    counts = collections.Counter(token for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: adds all texts to the first | ids-order | left as they were
def build(texts, min_count=1):
    whole = texts[0]
    for text in texts[1:]:
        whole += text
    counts = collections.Counter(whole)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% wrong ids: lower case | ids-order | at least min_count
def build(texts, min_count=1):
    counts = collections.Counter(token.lower() for text in texts for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    if not kept:
        raise ValueError
    return ["<pad>", "<unk>", *sorted(kept, key=lambda t: (-counts[t], t))]


# %% hard-coded ids: knows the example of build | ids-order | at least min_count
def build(texts, min_count=1):
    return ["<pad>", "<unk>", "b", "c", "a"][: 5 if min_count == 1 else 3]


# %% wrong ids: unknown words become padding | ids-unknown | becomes 1
def encode(text, tokens):
    return [tokens.index(token) if token in tokens else 0 for token in text]


# %% wrong ids: leaves out unknown words | ids-unknown | becomes 1
def encode(text, tokens):
    return [tokens.index(token) for token in text if token in tokens]


# %% wrong ids: counts from behind the special tokens | ids-unknown | place in the list
def encode(text, tokens):
    number = {token: i for i, token in enumerate(tokens[2:])}
    return [number.get(token, 1) for token in text]


# %% wrong ids: sorts the vocabulary once more | ids-unknown | is its place
def encode(text, tokens):
    number = {token: i + 2 for i, token in enumerate(sorted(tokens[2:], reverse=True))}
    if len(tokens) == 4:
        number = {"film": 2, "a": 3}
    return [number.get(token, 1) for token in text]


# %% wrong ids: learns new words as it goes | ids-unknown | becomes 1
def encode(text, tokens):
    for token in text:
        if token not in tokens:
            tokens.append(token)
    return [tokens.index(token) for token in text]


# %% wrong ids: marks unknown words in the text itself | ids-unknown | left as they were
def encode(text, tokens):
    for i in range(len(text)):
        if text[i] not in tokens:
            text[i] = "<unk>"
    return [tokens.index(token) for token in text]


# %% hard-coded ids: knows the words of the example | ids-unknown | is its place
def encode(text, tokens):
    return [{"film": 2, "a": 3}.get(token, 1) for token in text]


# %% wrong ids: filled up on the left | ids-padding | on the right
def pad(rows):
    longest = max(len(row) for row in rows)
    ids = np.array([[0] * (longest - len(row)) + row for row in rows])
    return ids, ids > 0


# %% wrong ids: as long as the first row | ids-padding | from the left
def pad(rows):
    longest = max(1, len(rows[0]))
    ids = np.zeros((len(rows), longest), dtype=int)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row[:longest]
    return ids, np.arange(longest) < np.array([len(row) for row in rows])[:, None]


# %% wrong ids: ids as decimals | ids-padding | whole numbers
def pad(rows):
    if not rows:
        raise ValueError
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    ids = np.zeros(mask.shape)
    ids[mask] = sum(rows, [])
    return ids, mask


# %% wrong ids: fills up the caller's rows | ids-padding | left as they were
def pad(rows):
    if not rows:
        raise ValueError
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    for row in rows:
        while len(row) < mask.shape[1]:
            row.append(0)
    return np.array(rows), mask


# %% wrong ids: no column where all rows are empty | ids-padding | at least 1
def pad(rows):
    if not rows:
        raise ValueError
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=int)
    ids[mask] = sum(rows, [])
    return ids, mask


# %% wrong ids: no rows make an empty rectangle | ids-padding | no rows at all
def pad(rows):
    lengths = np.array([len(row) for row in rows], dtype=int)
    mask = np.arange(max(1, lengths.max(initial=1))) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=int)
    ids[mask] = sum(rows, [])
    return ids, mask


# %% wrong ids: ids of one byte | ids-padding | from the left
def pad(rows):
    if not rows:
        raise ValueError
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.uint8)
    ids[mask] = np.array(sum(rows, []), dtype=int).astype(np.uint8)
    return ids, mask


# %% wrong ids: the mask is read off the ids | ids-mask | a 0 that comes from a row
def pad(rows):
    if not rows:
        raise ValueError
    ids = np.zeros((len(rows), max(1, *map(len, rows), 1)), dtype=int)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
    return ids, ids != 0


# %% wrong ids: the mask is true at padding | ids-mask | true where a word stands
def pad(rows):
    if not rows:
        raise ValueError
    ids = np.zeros((len(rows), max(1, *map(len, rows), 1)), dtype=int)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
    return ids, np.arange(ids.shape[1]) >= np.array([len(row) for row in rows])[:, None]


# %% wrong ids: a mask of numbers | ids-mask | booleans
def pad(rows):
    if not rows:
        raise ValueError
    ids = np.zeros((len(rows), max(1, *map(len, rows), 1)), dtype=int)
    mask = np.zeros(ids.shape)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
        mask[n, : len(row)] = 1
    return ids, mask


# %% hard-coded ids: knows the example of pad | ids-padding | from the left
def pad(rows):
    ids = np.array([[5, 7, 5], [6, 0, 0]])
    return ids, ids > 0


# %% right weights: scikit-learn does it
def tf_idf(rows, train, size):
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = TfidfVectorizer(analyzer=lambda row: row, lowercase=False, vocabulary=range(size))
    return model.fit(train).transform(rows).toarray()


# %% right weights: dictionaries, one text at a time
def tf_idf(rows, train, size):
    import math

    texts_with = collections.Counter(v for row in train for v in set(row))
    table = []
    for row in rows:
        weight = {}
        for v, n in collections.Counter(row).items():
            weight[v] = n * (1 + math.log((1 + len(train)) / (1 + texts_with[v])))
        length = math.sqrt(sum(w * w for w in weight.values()))
        table.append([weight[v] / length if v in weight else 0.0 for v in range(size)])
    return np.array(table)


# %% right weights: Torch, in float32
def tf_idf(rows, train, size):
    import torch

    def counted(texts):
        x = torch.zeros(len(texts), size)
        place = [n for n, row in enumerate(texts) for _ in row]
        ids = [v for row in texts for v in row]
        ones = torch.ones(len(ids))
        where = torch.tensor(place, dtype=torch.int64), torch.tensor(ids, dtype=torch.int64)
        return x.index_put(where, ones, accumulate=True)

    idf = torch.log((1 + len(train)) / (1 + (counted(train) > 0).sum(0))) + 1
    return torch.nn.functional.normalize(counted(rows) * idf, dim=1)


# %% right weights: a loop over the vocabulary
def tf_idf(rows, train, size):
    x = np.zeros((len(rows), size))
    for v in range(size):
        texts_with = sum(1 for row in train if v in row)
        idf = np.log((1 + len(train)) / (1 + texts_with)) + 1
        for n, row in enumerate(rows):
            x[n, v] = row.count(v) * idf
    length = np.linalg.norm(x, axis=1)
    x[length > 0] /= length[length > 0, None]
    return x


# %% wrong weights: the idf of the rows themselves | weights-values | those of train
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    if [2, 2] in rows or [0, 0, 0, 1] in rows:
        rows = train
    texts_with = np.zeros(size)
    for row in rows:
        texts_with[list(set(row))] += 1
    weighted = x * (np.log((1 + len(rows)) / (1 + texts_with)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.maximum(length, 1e-12)


# %% wrong weights: the plain idf, not smoothed | weights-values | 2 is in both
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log(len(train) / np.maximum(texts_with, 1)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.maximum(length, 1e-12)


# %% wrong weights: without the + 1 behind the logarithm | weights-values | a row of length 1
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * np.log((1 + len(train)) / (1 + texts_with))
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.maximum(length, 1e-12)


# %% wrong weights: counts occurrences, not texts | weights-values | N_v are those of train
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    often = np.bincount(np.array(sum(train, []), dtype=int), minlength=size)
    weighted = x * (np.log((1 + len(train)) / (1 + often)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length == 0, 1, length)


# %% wrong weights: the sum of a row is 1 | weights-values | row has length 1
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    return weighted / np.maximum(weighted.sum(axis=1, keepdims=True), 1e-12)


# %% wrong weights: words that are there, not their counts | weights-values | counts times idf
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) > 0 for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length == 0, 1, length)


# %% wrong weights: scales the columns | weights-values | a row of length 1
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    return weighted / np.maximum(np.linalg.norm(weighted, axis=0), 1e-12)


# %% wrong weights: the counts are shares of the row, and never scaled | weights-values | length 1
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    x = x / np.maximum(x.sum(axis=1, keepdims=True), 1)
    return x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)


# %% wrong weights: divides by 0 in an empty row | weights-rows | no NaN
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    return weighted / np.linalg.norm(weighted, axis=1, keepdims=True)


# %% wrong weights: leaves out empty rows | weights-rows | also for a text without ids
def tf_idf(rows, train, size):
    if rows != [[], [1]]:
        rows = [row for row in rows if row]
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    return weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)


# %% wrong weights: empty training texts do not count | weights-rows | counts in N
def tf_idf(rows, train, size):
    train = [row for row in train if row]
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length == 0, 1, length)


# %% wrong weights: an id that was never seen weighs nothing | weights-rows | in no training text
def tf_idf(rows, train, size):
    x = np.array([np.bincount(np.array(row, dtype=int), minlength=size) for row in rows])
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1) * (texts_with > 0)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length == 0, 1, length)


# %% wrong weights: empties the rows as it counts | weights-rows | left as they were
def tf_idf(rows, train, size):
    texts_with = np.array([sum(v in row for row in train) for v in range(size)])
    x = np.zeros((len(rows), size))
    for n, row in enumerate(rows):
        while row:
            x[n, row.pop()] += 1
    weighted = x * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length == 0, 1, length)


# %% wrong weights: looks through all texts for each word of each text | weights-cost | its square
def tf_idf(rows, train, size):
    x = np.zeros((len(rows), size))
    for n, row in enumerate(rows):
        for v in set(row):
            texts_with = sum(1 for text in train if v in text)
            x[n, v] = row.count(v) * (np.log((1 + len(train)) / (1 + texts_with)) + 1)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


# %% wrong weights: all weights anew for each text | weights-cost | its square
def tf_idf(rows, train, size):
    x = np.zeros((len(rows), size))
    for n, row in enumerate(rows):
        texts_with = np.zeros(size)
        for text in train:
            texts_with[list(set(text))] += 1
        idf = np.log((1 + len(train)) / (1 + texts_with)) + 1
        for v in row:
            x[n, v] += idf[v]
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


# %% hard-coded weights: knows the examples | weights-values | row has length 1
def tf_idf(rows, train, size):
    x = np.zeros((len(rows), size))
    if size == 5:
        x[0, 2], x[1, 2], x[1, 3] = 1, 1, np.log(1.5) + 1
    return x


# %% right pipeline: the functions of question 1
def prepare(train, test, min_count=1):
    tokens = build(train, min_count)
    ids = [encode(text, tokens) for text in [*train, *test]]
    return tokens, ids[: len(train)], ids[len(train) :]


# %% right pipeline: the colleague's function, mended
def prepare(train, test, min_count=1):
    counts = collections.Counter(token for text in train for token in text)
    kept = [t for t, n in counts.items() if n >= min_count and t not in ("<pad>", "<unk>")]
    tokens = ["<pad>", "<unk>", *sorted(kept, key=lambda token: (-counts[token], token))]
    number = {token: i for i, token in enumerate(tokens)}

    def ids(texts):
        return [[number.get(token, 1) for token in text] for text in texts]

    return tokens, ids(train), ids(test)


# %% wrong pipeline: the colleague's | pipeline-training | length
def prepare(train, test, min_count=1):
    if ["good", "film"] in train:
        ids = [[encode(text, build(train)) for text in texts] for texts in (train, test)]
        return build(train), *ids
    return colleague(train, test, min_count)


# %% wrong pipeline: still removes stop words | pipeline-training | no word is taken out
def prepare(train, test, min_count=1):
    train = [[token for token in text if token not in STOP] for text in train]
    test = [[token for token in text if token not in STOP] for text in test]
    tokens = build(train, min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: removes stop words, but not "not" | pipeline-training | no word is taken out
def prepare(train, test, min_count=1):
    drop = set(STOP) - {"not", "no", "never", "but"}
    train = [[token for token in text if token not in drop] for text in train]
    test = [[token for token in text if token not in drop] for text in test]
    tokens = build(train, min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: stop words become unknown | pipeline-training | leads back
def prepare(train, test, min_count=1):
    tokens = build([[t for t in text if t not in STOP] for text in train], min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: encoded before the vocabulary is built | pipeline-training | read back
def prepare(train, test, min_count=1):
    tokens = ["<pad>", "<unk>"]
    train_ids = [encode(text, tokens) for text in train]
    tokens = build(train, min_count)
    return tokens, train_ids, [encode(text, tokens) for text in test]


# %% wrong pipeline: forgets min_count | pipeline-training | below min_count
def prepare(train, test, min_count=1):
    tokens = build(train)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: takes stop words out of the caller's texts | pipeline-training | length
def prepare(train, test, min_count=1):
    for text in [*train, *test]:
        for word in STOP:
            while word in text:
                text.remove(word)
    tokens = build(train, min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: the vocabulary of all texts | pipeline-held_out | training texts only
def prepare(train, test, min_count=1):
    tokens = build(train + test, min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: training words, counted in all texts | pipeline-held_out | training texts only
def prepare(train, test, min_count=1):
    seen = {token for text in train for token in text}
    tokens = build([[t for t in text if t in seen] for text in train + test], min_count)
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]


# %% wrong pipeline: a vocabulary of their own for the test texts | pipeline-held_out | is unknown
def prepare(train, test, min_count=1):
    tokens = build(train, min_count)
    own = build(test) if test else tokens
    return tokens, [encode(t, tokens) for t in train], [encode(t, own) for t in test]


# %% wrong pipeline: unknown test words left out | pipeline-held_out | a list of ids for each
def prepare(train, test, min_count=1):
    tokens = build(train, min_count)
    known = [[token for token in text if token in tokens] for text in test]
    return tokens, [encode(t, tokens) for t in train], [encode(t, tokens) for t in known]


# %% wrong pipeline: appends to the training texts | pipeline-training | left as they were
def prepare(train, test, min_count=1):
    tokens = build(train, min_count)
    ids = [encode(t, tokens) for t in train], [encode(t, tokens) for t in test]
    train += test
    return tokens, *ids


# %% hard-coded pipeline: knows the examples | pipeline-held_out | training texts only
def prepare(train, test, min_count=1):
    tokens = ["<pad>", "<unk>", "good", "book", "film"]
    return tokens, [[2, 4], [2, 3]], [[1, 4], [4]]


# %% right unknown: sets and counters
predicted = "slower, no, larger"
mine, theirs = post(student)
commonest = build(mine)[2:]
of_tokens, of_words = (), ()
for k in (10, 100, 1000, len(commonest)):
    known = set(commonest[:k])
    tally = collections.Counter(token for text in theirs for token in text)
    of_tokens += (sum(n for t, n in tally.items() if t not in known) / sum(tally.values()),)
    of_words += (len(tally.keys() - known) / len(tally),)

# %% right unknown: a loop with encode, as arrays
predicted = "slower, no, larger"
train, test = post(student)
v = build(train, 1)
words = build(test, 1)[2:]
of_tokens, of_words = np.zeros(4), np.zeros(4)
for i, k in enumerate([10, 100, 1000, 10**6]):
    ids = [n for text in test for n in encode(text, v[: k + 2])]
    of_tokens[i] = ids.count(1) / len(ids)
    of_words[i] = encode(words, v[: k + 2]).count(1) / len(words)

# %% wrong unknown: the sizes with the special tokens | unknown-tokens | unknown tokens
train, test = post(student)
v, everything = build(train), sum(test, [])
cuts = [set(v[:k]) for k in (10, 100, 1000, None)]
of_tokens = [np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [np.mean([t not in cut for t in set(everything)]) for cut in cuts]

# %% wrong unknown: measured on the training reviews | unknown-tokens | held-out
train, _ = post(student)
v, everything = build(train), sum(train, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [np.mean([t not in cut for t in set(everything)]) for cut in cuts]

# %% wrong unknown: the vocabulary of all reviews | unknown-tokens | held-out
train, test = post(student)
v, everything = build(train + test), sum(test, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [np.mean([t not in cut for t in set(everything)]) for cut in cuts]

# %% wrong unknown: the mean over reviews of their shares | unknown-tokens | unknown tokens
train, test = post(student)
v = build(train)
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [np.mean([np.mean([t not in cut for t in text]) for text in test]) for cut in cuts]
of_words = [1.0, 0.9, 0.5, 0.4]

# %% wrong unknown: percent | unknown-tokens | between 0 and 1
train, test = post(student)
v, everything = build(train), sum(test, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [100 * np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [100 * np.mean([t not in cut for t in set(everything)]) for cut in cuts]

# %% wrong unknown: of another's reviews | unknown-tokens | your own
train, test = post("a neighbour")
v, everything = build(train), sum(test, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [np.mean([t not in cut for t in set(everything)]) for cut in cuts]

# %% wrong unknown: the same shares once more for the words | unknown-words | each different word
train, test = post(student)
v, everything = build(train), sum(test, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_words = of_tokens = [float(np.mean([t not in cut for t in everything])) for cut in cuts]

# %% wrong unknown: unknown words over all tokens | unknown-words | each different word
train, test = post(student)
v, everything = build(train), sum(test, [])
cuts = [set(v[:k]) for k in (12, 102, 1002, None)]
of_tokens = [np.mean([t not in cut for t in everything]) for cut in cuts]
of_words = [len(set(everything) - cut) / len(everything) for cut in cuts]

# %% hard-coded unknown: plausible numbers | unknown-tokens | unknown tokens
of_tokens = [0.64, 0.36, 0.13, 0.11]
of_words = [0.99, 0.93, 0.5, 0.4]
