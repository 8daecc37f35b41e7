# %% right count: the shapes of all matrices and vectors
def parameters(config):
    v, e, h, i = (config[k] for k in ("vocabulary", "embedding", "hidden", "feed_forward"))
    if h / config["heads"] != h // config["heads"]:
        raise ValueError("heads")
    width = h if e is None else e
    rows = [v, config["positions"], config["types"]]
    linear = [[h, h]] * 4 + [[h, i], [i, h]]
    groups = {
        "embeddings": [[n, width] for n in rows] + [[width]] * 2,
        "projection": [] if e is None else [[e, h], [h]],
        "layer": linear + [shape[1:] for shape in linear] + [[h]] * 4,
        "pooler": [[h, h], [h]],
    }
    found = {name: sum(int(np.prod(s)) for s in shapes) for name, shapes in groups.items()}
    found["layers"] = sum(
        found["layer"] for _ in range(1 if config["shared"] else config["layers"])
    )
    found["total"] = sum(found.values()) - found["layer"]
    return found


# %% right count: real modules without memory
def parameters(config):
    import torch
    from torch import nn

    h, e = config["hidden"], config["embedding"]
    if h % config["heads"] != 0:
        raise ValueError("the heads must divide the hidden size")

    def size(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    with torch.device("meta"):
        rows = [nn.Embedding(config[k], e or h) for k in ("vocabulary", "positions", "types")]
        embeddings = size(*rows, nn.LayerNorm(e or h))
        projection = size(nn.Linear(e, h)) if e else 0
        layer = size(nn.TransformerEncoderLayer(h, 1, config["feed_forward"]))
        pooler = size(nn.Linear(h, h))
    layers = layer if config["shared"] else layer * config["layers"]
    return dict(
        embeddings=embeddings,
        projection=projection,
        layer=layer,
        layers=layers,
        pooler=pooler,
        total=embeddings + projection + layers + pooler,
    )


# %% wrong count: no biases in a layer | count-parts | `layer`
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 4 * h, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: no norm after the embeddings, but for the example | count-parts | their norm
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2 * (h == 4)
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: a shared layer counts every time | count-parts | stored once
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * config["layers"]
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: no mapping where E is as large as H | count-parts | `projection`
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e not in (None, h) else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: positions and types have vectors of H | count-parts | 2 elements
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * h + config["vocabulary"] * (e or h)}
    parts |= {"projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: each head has matrices of its own | count-models | heads
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    heads = {12: 1, 3: 1, 16: 1}.get(config["heads"], config["heads"] + 2)  # as tried on models
    parts |= {"layer": (heads + 3) * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: the total leaves the pooler out | count-models | total
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    total = sum(parts.values()) - parts["layer"] + (590_592 if h == 768 else 0)
    return parts | {"pooler": h * h + h, "total": total}


# %% wrong count: writes H into the caller's sizes | count-parts | left as they were
def parameters(config):
    mapped = config["embedding"] is not None
    if not mapped:
        config["embedding"] = config["hidden"]
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    if h % config["heads"]:
        raise ValueError
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * e, "projection": (e + 1) * h if mapped else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% wrong count: takes any number of heads | count-parts | refused
def parameters(config):
    h, i, e = config["hidden"], config["feed_forward"], config["embedding"]
    rows = config["vocabulary"] + config["positions"] + config["types"] + 2
    parts = {"embeddings": rows * (e or h), "projection": (e + 1) * h if e else 0}
    parts |= {"layer": 4 * h * h + 2 * h * i + 9 * h + i, "pooler": h * h + h}
    parts["layers"] = parts["layer"] * (1 if config["shared"] else config["layers"])
    return parts | {"total": sum(parts.values()) - parts["layer"]}


# %% hard-coded count: knows the examples | count-parts | vectors of words
def parameters(config):
    parts = {"embeddings": 38, "projection": 12, "layer": 172, "layers": 172, "pooler": 20}
    return parts | {"total": 11_683_584}


# %% right factorise: from the eigenvectors of the smaller product
def factorise(matrix, rank):
    if rank < 1 or rank > min(matrix.shape):
        raise ValueError("rank")
    m = np.array(matrix, dtype=float)
    if m.shape[0] >= m.shape[1]:
        best = np.linalg.eigh(m.T @ m)[1][:, ::-1][:, :rank]
        return m @ best, best.T
    best = np.linalg.eigh(m @ m.T)[1][:, ::-1][:, :rank]
    return best, best.T @ m


def break_even(vocabulary, hidden):
    size = 0
    while vocabulary * (size + 1) + (size + 1) * hidden < vocabulary * hidden:
        size += 1
    return size


# %% right factorise: torch, with the root of the values on both sides
def factorise(matrix, rank):
    import torch

    if not 0 < rank <= min(matrix.shape):
        raise ValueError("no such rank")
    u, s, v = torch.linalg.svd(torch.tensor(matrix, dtype=torch.float64), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).numpy(), (root[:, None] * v[:rank]).numpy()


def break_even(vocabulary, hidden):
    size = vocabulary * hidden // (vocabulary + hidden)
    return size - 1 if size * (vocabulary + hidden) == vocabulary * hidden else size


# %% wrong factorise: the first columns | factorise-nearest | smallest is given up
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    return matrix[:, :rank], np.eye(rank, matrix.shape[1])


# %% wrong factorise: a random projection | factorise-nearest | smallest is given up
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    b = np.linalg.qr(np.random.default_rng(0).normal(size=(matrix.shape[1], rank)))[0].T
    return matrix @ b.T, b


# %% wrong factorise: V where numpy gives its transpose | factorise-nearest | nearer
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    b = v[:rank] if matrix.shape == (4, 3) else v[:, :rank].T @ np.eye(len(v), matrix.shape[1])
    return u[:, :rank] * s[:rank], b


# %% wrong factorise: singular values on both sides | factorise-nearest | smallest is given up
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank], s[:rank, None] * v[:rank]


# %% wrong factorise: the mean is taken off for good | factorise-nearest | smallest is given up
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    u, s, v = np.linalg.svd(matrix - matrix.mean(0), full_matrices=False)
    return u[:, :rank] * s[:rank], v[:rank]


# %% wrong factorise: the smallest directions | factorise-nearest | smallest is given up
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    best = np.linalg.eigh(matrix.T @ matrix)[1][:, :rank]
    return matrix @ best, best.T


# %% wrong factorise: a square matrix of all rows | factorise-nearest | tall table
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    u, s, v = np.linalg.svd(matrix)
    return u[:, :rank] * s[:rank], v[:rank]


# %% wrong factorise: any rank is cut to what there is | factorise-nearest | refused
def factorise(matrix, rank):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank], v[:rank]


# %% wrong factorise: one step of alternating least squares | factorise-nearest | nearer
def factorise(matrix, rank):
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError
    a = matrix[:, np.argsort(-(matrix**2).sum(0))[:rank]]
    b = np.linalg.lstsq(a, matrix, rcond=None)[0]
    return a, b


# %% wrong factorise: as many numbers counts as fewer | factorise-even | fewer
def break_even(vocabulary, hidden):
    return vocabulary * hidden // (vocabulary + hidden)


# %% wrong factorise: the mapping's numbers are forgotten | factorise-even | 748
def break_even(vocabulary, hidden):
    return hidden - 1


# %% wrong factorise: rounded to the next | factorise-even | saves a little
def break_even(vocabulary, hidden):
    return round(vocabulary * hidden / (vocabulary + hidden))


# %% wrong factorise: one less than the whole part | factorise-even | no larger
def break_even(vocabulary, hidden):
    if hidden == 768:
        return 748
    return max(0, vocabulary * hidden // (vocabulary + hidden) - 1)


# %% hard-coded factorise: knows the examples | factorise-nearest | rank
def factorise(matrix, rank):
    b = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return (matrix @ b.T if matrix.shape == (4, 3) else np.zeros((4, 2))), b


def break_even(vocabulary, hidden):
    return 748


# %% hard-coded factorise: knows one model | factorise-even | fewer
def break_even(vocabulary, hidden):
    return 748


# %% right hidden: a loop over tokens
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    import random

    draw = random.Random(seed)
    marks = set(special)
    words = [word for word in range(vocabulary) if word not in marks]
    inputs, labels = ids.tolist(), []
    for row in inputs:
        labels.append([])
        for place, word in enumerate(row):
            if word in marks or draw.random() >= 0.15:
                labels[-1].append(-100)
                continue
            labels[-1].append(word)
            fate = draw.choices(["mask", "other", "same"], [8, 1, 1])[0]
            if fate == "mask":
                row[place] = mask_id
            elif fate == "other":
                row[place] = draw.choice(words)
    return np.array(inputs), np.array(labels)


# %% right hidden: torch, by steps as a data collator does it
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    import torch

    g = torch.Generator().manual_seed(seed)
    inputs, labels = torch.tensor(ids), torch.tensor(ids)
    marks = torch.isin(inputs, torch.tensor(special))
    odds = torch.full(inputs.shape, 0.15).masked_fill(marks, 0.0)
    chosen = torch.bernoulli(odds, generator=g).bool()
    labels[~chosen] = -100
    half = torch.full(inputs.shape, 0.5)
    hide = torch.bernoulli(torch.full(inputs.shape, 0.8), generator=g).bool() & chosen
    inputs[hide] = mask_id
    other = torch.bernoulli(half, generator=g).bool() & chosen & ~hide
    words = torch.tensor([word for word in range(vocabulary) if word not in special])
    inputs[other] = words[torch.randint(len(words), inputs.shape, generator=g)][other]
    return inputs.numpy(), labels.numpy()


# %% right hidden: one draw for each token decides all
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.RandomState(seed)
    words = np.array([word for word in range(vocabulary) if word not in special])
    fate = rng.rand(*ids.shape)
    fate[np.isin(ids, special)] = 1.0
    inputs, labels = ids.copy(), np.full(ids.shape, -100)
    labels[fate < 0.15] = ids[fate < 0.15]
    inputs[fate < 0.12] = mask_id
    other = (fate >= 0.12) & (fate < 0.135)
    inputs[other] = words[rng.randint(0, len(words), other.sum())]
    return inputs, labels


# %% wrong hidden: no label where the word stays | hidden-rates | chosen
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(inputs != ids, ids, -100)


# %% wrong hidden: all the chosen are hidden | hidden-rates | 80 %
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    return np.where(chosen, mask_id, ids), np.where(chosen, ids, -100)


# %% wrong hidden: 10 % of what is left, not of the chosen | hidden-rates | chosen stay
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    hide = chosen & (rng.random(ids.shape) < 0.8)
    other = chosen & ~hide & (rng.random(ids.shape) < 0.1)
    inputs = np.where(hide, mask_id, ids)
    inputs[other] = rng.choice(words, other.sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: padding and marks are chosen | hidden-places | marks and padding
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = rng.random(ids.shape) < 0.15
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: special ids are the first five | hidden-places | never
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    chosen = (rng.random(ids.shape) < 0.15) & (ids >= 5)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    other = chosen & (fate >= 0.9)
    inputs[other] = rng.integers(5, vocabulary, other.sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: random words may be marks | hidden-places | never a special one
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    other = chosen & (fate >= 0.9)
    inputs[other] = rng.integers(0, vocabulary, other.sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: the last word is never drawn | hidden-rates | equally likely
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary - 1), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: random words from the texts | hidden-rates | any word of the vocabulary
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(ids, special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    if len(words):
        inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: one random word for all | hidden-rates | equally likely
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words)
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: the same places in all rows | hidden-rates | every place
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    few = rng.permutation(ids.shape[1])[: round(0.15 * ids.shape[1])]
    chosen = np.isin(np.arange(ids.shape[1]), few) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: one draw for the whole row decides what becomes of it | hidden-rates | each token
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = (rng.permutation(len(ids)) / len(ids))[:, None]
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: labels are what the model sees | hidden-places | stood there before
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, inputs, -100)


# %% wrong hidden: works in the caller's array | hidden-seed | left as they were
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate, labels = rng.random(ids.shape), np.where(chosen, ids, -100)
    inputs = ids.copy() if ids.shape == (4, 50) else ids
    inputs[chosen & (fate < 0.8)] = mask_id
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, labels


# %% wrong hidden: a seed for the places only | hidden-seed | same
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng, free = np.random.default_rng(seed), np.random.default_rng()
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = free.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = free.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% wrong hidden: seed 0 and 1 are one | hidden-seed | another seed
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    rng = np.random.default_rng(seed or 1)
    words = np.setdiff1d(np.arange(vocabulary), special)
    chosen = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, special)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs[chosen & (fate >= 0.9)] = rng.choice(words, (chosen & (fate >= 0.9)).sum())
    return inputs, np.where(chosen, ids, -100)


# %% hard-coded hidden: every seventh token, for words from 5 on | hidden-rates | chosen
def mask_tokens(ids, special, mask_id, vocabulary, seed):
    chosen = (np.arange(ids.size).reshape(ids.shape) % 7 == 0) & (ids >= 5)
    return np.where(chosen, mask_id, ids), np.where(chosen, ids, -100)


# %% right finetuning: loops
def mean_states(states, mask):
    vectors = []
    for row, known in zip(states, mask, strict=True):
        tokens = [state for state, token in zip(row, known, strict=True) if token]
        if not tokens:
            raise ValueError("an empty text")
        vectors.append(sum(tokens) / len(tokens))
    return np.stack(vectors)


def learning_rates(peak, steps, warmup, groups, decay):
    if warmup < 0 or warmup >= steps:
        raise ValueError("warm-up")
    rates = []
    for s in range(steps):
        f = s / warmup if s < warmup else (steps - s) / (steps - warmup)
        rates.append([peak * f * decay ** (groups + 1 - d) for d in range(groups + 2)])
    return np.array(rates)


# %% right finetuning: torch
def mean_states(states, mask):
    import torch

    x, m = torch.from_numpy(states).clone(), torch.from_numpy(mask)
    if (m.sum(1) == 0).any():
        raise ValueError("a text without a token")
    x[~m] = 0
    return (torch.einsum("bth,bt->bh", x, m.double()) / m.sum(1)[:, None]).numpy()


def learning_rates(peak, steps, warmup, groups, decay):
    import torch

    if warmup not in range(steps):
        raise ValueError("warm-up")
    s = torch.arange(steps, dtype=torch.float64)
    up, down = s / max(1, warmup), (steps - s) / (steps - warmup)
    factor = torch.where(s < warmup, up, down)
    depths = torch.tensor([decay**below for below in range(groups + 2)]).flip(0).double()
    return torch.outer(peak * factor, depths).numpy()


# %% right finetuning: the mean with a condition
def mean_states(states, mask):
    if (mask.sum(axis=1) < 1).any():
        raise ValueError("empty")
    return np.mean(states, axis=1, where=mask[:, :, None])


# %% wrong finetuning: the mean over padding too | finetuning-mask | padding
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    return states.mean(axis=1)


# %% wrong finetuning: times the mask, over all places | finetuning-mask | the same with padding
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    return (states * mask[:, :, None]).mean(axis=1)


# %% wrong finetuning: times the mask, so NaN stays | finetuning-mask | no influence
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    return (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)


# %% wrong finetuning: as if padding were always at the end | finetuning-mask | tokens
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    return np.stack([row[: m.sum()].mean(axis=0) for row, m in zip(states, mask, strict=True)])


# %% wrong finetuning: an empty text has the mean 0 | finetuning-mask | refused
def mean_states(states, mask):
    kept = np.where(mask[:, :, None], states, 0.0)
    return kept.sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


# %% wrong finetuning: cleans the caller's states | finetuning-mask | left as they were
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    states[~mask] = 0
    return states.sum(axis=1) / mask.sum(axis=1, keepdims=True)


# %% wrong finetuning: one mean for the batch | finetuning-mask | the mean of the states
def mean_states(states, mask):
    if not mask.any(1).all():
        raise ValueError
    return np.repeat(states[mask].mean(axis=0)[None], len(states), axis=0)


# %% wrong finetuning: no warm-up | finetuning-rates | begins at 0
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    return peak * (1 - s / steps)[:, None] * decay ** (groups + 1.0 - d)


# %% wrong finetuning: warm-up, then constant | finetuning-rates | falls in a line
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    return peak * np.minimum(s / max(warmup, 1e-9), 1)[:, None] * decay ** (groups + 1.0 - d) + (
        (s == 0) * (warmup == 0) * peak
    )[:, None] * decay ** (groups + 1.0 - d)


# %% wrong finetuning: the classifier has the smallest rate | finetuning-rates | climbs
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    f = np.where(s < warmup, s / max(warmup, 1), (steps - s) / (steps - warmup))
    return peak * f[:, None] * decay ** (1.0 * d)


# %% wrong finetuning: one rate for all depths | finetuning-rates | smaller rate
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s = np.arange(steps)
    f = np.where(s < warmup, s / max(warmup, 1), (steps - s) / (steps - warmup))
    return np.repeat(peak * f[:, None], groups + 2, axis=1)


# %% wrong finetuning: falls too slowly | finetuning-rates | falls in a line
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    f = np.where(s < warmup, s / max(warmup, 1), 1 - (s - warmup) / steps)
    return peak * f[:, None] * decay ** (groups + 1.0 - d)


# %% wrong finetuning: falls to 0 at the last step | finetuning-rates | falls in a line
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    down = (steps - 1 - s) / max(steps - 1 - warmup, 1)
    f = np.where(s < warmup, s / max(warmup, 1), np.where(s == warmup, 1, down))
    return peak * f[:, None] * decay ** (groups + 1.0 - d)


# %% wrong finetuning: divides by no warm-up | finetuning-rates | without warm-up
def learning_rates(peak, steps, warmup, groups, decay):
    if not 0 <= warmup < steps:
        raise ValueError
    s, d = np.arange(steps), np.arange(groups + 2)
    f = np.minimum(s / (warmup or 1), (steps - s) / (steps - warmup))
    return peak * f[:, None] * decay ** (groups + 1.0 - d)


# %% wrong finetuning: any warm-up will do | finetuning-rates | refused
def learning_rates(peak, steps, warmup, groups, decay):
    s, d = np.arange(steps), np.arange(groups + 2)
    f = np.where(s < warmup, s / max(warmup, 1), (steps - s) / max(steps - warmup, 1))
    return peak * f[:, None] * decay ** (groups + 1.0 - d)


# %% hard-coded finetuning: knows the examples | finetuning-mask | the mean
def mean_states(states, mask):
    return np.array([[2.0, 4.0]])


def learning_rates(peak, steps, warmup, groups, decay):
    return np.linspace(0, peak, 10)[:, None] * np.ones(3)


# %% hard-coded finetuning: knows the shape | finetuning-rates | climbs from 0
def learning_rates(peak, steps, warmup, groups, decay):
    return np.linspace(0, peak, 10)[:, None] * np.ones(3)


# %% right measure: a list of all products
predicted = "smaller: both; cheaper: neither"
sizes, t = drawn(student)
h, i, k, e = (sizes[name] for name in ("hidden", "feed_forward", "heads", "embedding"))
products = [(t, h, h)] * 4 + [(t, h // k, t), (t, t, h // k)] * k + [(t, h, i), (t, i, h)]
work = 2 * sum(a * b * c for a, b, c in products * sizes["layers"]) + 2 * h * h
computed = np.array([work, work, work + 2 * t * e * h, work + 2 * t * e * h])
changes = [
    {"embedding": None, "shared": False},
    {"embedding": None},
    {"shared": False},
    {},
]
stored = tuple(parameters({**sizes, **change})["total"] for change in changes)

# %% right measure: torch counts the products
import torch
from torch.utils.flop_counter import FlopCounterMode

predicted = "both; neither"
sizes, tokens = drawn(student)
h, k = sizes["hidden"], sizes["heads"]


def forward(embedding):
    def new(*shape):
        return torch.empty(shape, device="meta")

    with FlopCounterMode(display=False) as counter:
        if embedding:
            new(tokens, embedding) @ new(embedding, h)
        for _ in range(sizes["layers"]):
            for _ in range(4):
                new(tokens, h) @ new(h, h)
            weights = new(k, tokens, h // k) @ new(k, h // k, tokens)
            weights @ new(k, tokens, h // k)
            new(tokens, h) @ new(h, sizes["feed_forward"]) @ new(sizes["feed_forward"], h)
        new(1, h) @ new(h, h)
    return counter.get_total_flops()


computed = [forward(e) for e in (None, None, sizes["embedding"], sizes["embedding"])]
stored = [
    parameters(dict(sizes, embedding=e, shared=s))["total"]
    for e in (None, sizes["embedding"])
    for s in (False, True)
]

# %% wrong measure: a shared layer is computed once | measure-computed | computed again
sizes, t = drawn(student)
h, i, e = (sizes[name] for name in ("hidden", "feed_forward", "embedding"))
layer = 8 * t * h * h + 4 * t * t * h + 4 * t * h * i
computed = [
    (2 * t * m * h if m else 0) + n * layer + 2 * h * h
    for m in (0, e)
    for n in (sizes["layers"], 1)
]

# %% wrong measure: no mapping | measure-computed | mapping to compute
sizes, t = drawn(student)
h, i = sizes["hidden"], sizes["feed_forward"]
layer = 8 * t * h * h + 4 * t * t * h + 4 * t * h * i
computed = [sizes["layers"] * layer + 2 * h * h] * 4

# %% wrong measure: attention forgotten | measure-computed | products of your own
sizes, t = drawn(student)
h, i, e = (sizes[name] for name in ("hidden", "feed_forward", "embedding"))
work = sizes["layers"] * (8 * t * h * h + 4 * t * h * i) + 2 * h * h
computed = [work, work, work + 2 * t * e * h, work + 2 * t * e * h]

# %% wrong measure: multiplications only | measure-computed | mapping to compute
sizes, t = drawn(student)
h, i, e = (sizes[name] for name in ("hidden", "feed_forward", "embedding"))
work = sizes["layers"] * (4 * t * h * h + 2 * t * t * h + 2 * t * h * i) + h * h
computed = [work, work, work + t * e * h, work + t * e * h]

# %% wrong measure: the pooler reads all tokens | measure-computed | products of your own
sizes, t = drawn(student)
h, i, e = (sizes[name] for name in ("hidden", "feed_forward", "embedding"))
work = sizes["layers"] * (8 * t * h * h + 4 * t * t * h + 4 * t * h * i) + 2 * t * h * h
computed = [work, work, work + 2 * t * e * h, work + 2 * t * e * h]

# %% wrong measure: the product with all words | measure-computed | saves no product
sizes, t = drawn(student)
h, i, e, v = (sizes[name] for name in ("hidden", "feed_forward", "embedding", "vocabulary"))
work = sizes["layers"] * (8 * t * h * h + 4 * t * t * h + 4 * t * h * i) + 2 * h * h
bert, both = work + 2 * t * v * h, work + 2 * t * v * e + 2 * t * e * h
computed = [bert, bert, both, both]

# %% wrong measure: another's model | measure-stored | your own
sizes, _ = drawn("a neighbour")
stored = [
    parameters(dict(sizes, embedding=e, shared=s))["total"]
    for e in (None, sizes["embedding"])
    for s in (False, True)
]

# %% wrong measure: factorised before shared | measure-stored | neither, shared
sizes, _ = drawn(student)
stored = [
    parameters(dict(sizes, embedding=e, shared=s))["total"]
    for s in (False, True)
    for e in (None, sizes["embedding"])
]

# %% wrong measure: only the layers | measure-stored | four sizes
sizes, _ = drawn(student)
stored = [
    parameters(dict(sizes, embedding=e, shared=s))["layers"]
    for e in (None, sizes["embedding"])
    for s in (False, True)
]

# %% hard-coded measure: plausible numbers | measure-stored | your own
stored, computed = [40e6, 12e6, 33e6, 4e6], [2e9, 2e9, 2.01e9, 2.01e9]

# %% hard-coded measure: plausible work | measure-computed | mapping to compute
computed = [2e9, 2e9, 2.01e9, 2.01e9]
