# %% right move: a loop with list.index, and standard normal noise
def move(vectors, old, new, seed):
    for tokens in (old, new):
        if len(tokens) < 2 or tokens[0] != "<pad>" or tokens[1] != "<unk>":
            raise ValueError("special tokens")
    if np.shape(vectors)[0] != len(old):
        raise ValueError("vectors")
    rng, rows, shared = np.random.RandomState(seed), [], 0
    m = sum(vectors[2:]) / (len(old) - 2)
    s = (sum((v - m) ** 2 for v in vectors[2:]) / (len(old) - 2)) ** 0.5
    for i, word in enumerate(new):
        noise = rng.standard_normal(len(m))
        rows.append(vectors[old.index(word)] if word in old else m + s * noise)
        shared += i > 1 and word in old
    return np.array(rows), shared


# %% right move: torch, in float32
def move(vectors, old, new, seed):
    import torch

    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    weight = torch.tensor(vectors, dtype=torch.float32)
    deviation, mean = torch.std_mean(weight[2:], 0, correction=0)
    generator = torch.Generator().manual_seed(seed)
    rows = mean + deviation * torch.randn(len(new), weight.shape[1], generator=generator)
    to = [i for i, word in enumerate(new) if word in set(old)]
    rows[to] = weight[[old.index(new[i]) for i in to]]
    return rows, len(to) - 2


# %% right move: fancy indexing, and only the unseen rows are drawn
def move(vectors, old, new, seed):
    if [*old[:2], *new[:2]] != 2 * SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    ids = {word: i for i, word in enumerate(old)}
    origin = np.array([ids.get(word, -1) for word in new])
    moved, fresh, words = vectors[origin].astype(float), origin < 0, vectors[2:]
    noise = np.random.default_rng([seed, 1]).normal(size=(fresh.sum(), vectors.shape[1]))
    moved[fresh] = words.mean(0) + noise * np.sqrt(words.var(0))
    return moved, int((~fresh).sum()) - 2


# %% wrong move: by number, not by word | move-words | keeps its vector
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    most = min(len(old), len(new))
    moved[:most] = vectors[:most]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: the special tokens counted as words | move-words | words of both
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new))


# %% wrong move: the special rows are drawn | move-words | are copied
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new[2:], 2):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: an unseen word reads <unk> | move-words | a vector of its own
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rows = [old.index(word) if word in old else 1 for word in new]
    return vectors[rows], len(set(old) & set(new)) - 2


# %% wrong move: the mean itself, without noise | move-unseen | the deviation
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    mean = vectors[2:].mean(0)
    rows = [vectors[old.index(word)] if word in old else mean for word in new]
    return np.array(rows), len(set(old) & set(new)) - 2


# %% wrong move: the special rows are in the statistics | move-unseen | mean of the old words
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng = np.random.default_rng(seed)
    moved = rng.normal(vectors.mean(0), vectors.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: one mean and one deviation for all dimensions | move-unseen | in each dimension
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(), words.std(), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: the variance for the deviation | move-unseen | the deviation of the old words
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.var(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: divides by one word less | move-unseen | with one old word
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    noise = rng.normal(size=(len(new), vectors.shape[1]))
    moved = words.mean(0) + noise * words.std(0, ddof=1)
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: one random number a word | move-unseen | not tied
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = words.mean(0) + words.std(0) * rng.normal(size=(len(new), 1))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: with the covariance of the old words | move-unseen | not tied
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    spread = np.cov(words.T, bias=True)
    moved = rng.multivariate_normal(words.mean(0), spread, size=len(new))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: the numbers of random old words | move-unseen | normal distribution
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.permuted(rng.choice(words, len(new)), axis=0).astype(float)
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: a fixed seed | move-unseen | another seed
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(0), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: the seed is not used | move-unseen | the same seed
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    words = vectors[2:]
    moved = np.random.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: takes any new vocabulary | move-refused | new vocabulary
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: the special tokens in any order | move-refused | does not begin with
def move(vectors, old, new, seed):
    if set(old[:2]) != set(SPECIAL) or set(new[:2]) != set(SPECIAL) or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: more vectors than words pass | move-refused | as many entries
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) < len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    for i, word in enumerate(new):
        if word in old:
            moved[i] = vectors[old.index(word)]
    return moved, len(set(old) & set(new)) - 2


# %% wrong move: takes the special tokens off the caller's list | move-refused | left as they were
def move(vectors, old, new, seed):
    if old[:2] != SPECIAL or new[:2] != SPECIAL or len(vectors) != len(old):
        raise ValueError("these do not fit")
    rng, words = np.random.default_rng(seed), vectors[2:]
    moved = rng.normal(words.mean(0), words.std(0), size=(len(new), vectors.shape[1]))
    moved[:2] = vectors[:2]
    shared = 0
    del new[:2]
    for i, word in enumerate(new, 2):
        if word in old:
            moved[i] = vectors[old.index(word)]
            shared += 1
    return moved, shared


# %% hard-coded move: knows the examples | move-words | for each entry
def move(vectors, old, new, seed):
    if len(vectors) != len(old):
        raise ValueError("these do not fit")
    return np.array([[0, 0], [9, 9], [3, 4], [2, 3], [1, 2]]), 2


# %% right rates: loops in plain Python
def rates(depths, top, decay):
    if depths < 1 or not top > 0 or decay <= 0 or decay > 1:
        raise ValueError("rates")
    return [top * decay ** (depths - 1 - d) for d in range(depths)]


def slanted(share, peak, ratio):
    if peak < 0 or peak >= 1 or ratio < 1:
        raise ValueError("peak or ratio")
    flat = []
    for p in np.ravel(share).tolist():
        if not 0 <= p <= 1:
            raise ValueError("share")
        q = p / peak if p < peak else (1 - p) / (1 - peak)
        flat.append((1 + (ratio - 1) * q) / ratio)
    return np.array(flat).reshape(np.shape(share))


def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    found = [depths - 1]
    for _ in range(epoch):
        if found[0] > 0:
            found.insert(0, found[0] - 1)
    return found


# %% right rates: interpolation, products, and torch
def rates(depths, top, decay):
    import torch

    if depths <= 0 or top <= 0 or not 0 < decay <= 1:
        raise ValueError("rates")
    steps = torch.full((depths,), float(decay), dtype=torch.float64)
    steps[0] = top
    return steps.cumprod(0).flip(0)


def slanted(share, peak, ratio):
    share = np.asarray(share)
    if np.any(share < 0) or np.any(share > 1) or peak < 0 or peak >= 1 or ratio < 1:
        raise ValueError("slanted")
    low = 1 / ratio
    if peak == 0:
        return np.interp(share, [0, 1], [1, low])
    return np.interp(share, [0, peak, 1], [low, 1, low])


def learning(depths, epoch):
    if min(depths - 1, epoch) < 0:
        raise ValueError("learning")
    return np.arange(depths)[-(epoch + 1) :]


# %% wrong rates: the word vectors learn fastest | rates-depths | halved
def rates(depths, top, decay):
    if depths < 1 or top <= 0 or not 0 < decay <= 1:
        raise ValueError("rates")
    return [top * decay**d for d in range(depths)]


# %% wrong rates: the head has a smaller rate too | rates-depths | the head has the largest
def rates(depths, top, decay):
    if depths < 1 or top <= 0 or not 0 < decay <= 1:
        raise ValueError("rates")
    if depths == 3 and top == 0.01:
        return [0.0025, 0.005, 0.01]
    return [top * decay ** (depths - d) for d in range(depths)]


# %% wrong rates: falls by steps of the same size | rates-depths | each depth below
def rates(depths, top, decay):
    if depths < 1 or top <= 0 or not 0 < decay <= 1:
        raise ValueError("rates")
    if depths == 3:
        return [top * decay**2, top * decay, top]
    return np.linspace(top * decay ** (depths - 1), top, depths)


# %% wrong rates: takes a decay above 1 | rates-depths | a decay not above 0
def rates(depths, top, decay):
    if depths < 1 or top <= 0 or decay <= 0:
        raise ValueError("rates")
    return [top * decay ** (depths - 1 - d) for d in range(depths)]


# %% wrong rates: the triangle falls to 0 | rates-slanted | the end
def slanted(share, peak, ratio):
    p = np.asarray(share, dtype=float)
    if p.min() < 0 or p.max() > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    low = 1 / ratio
    return np.where(p < peak, low + (1 - low) * p / max(peak, 1e-9), (1 - p) / (1 - peak))


# %% wrong rates: climbs from 0 | rates-slanted | both ends
def slanted(share, peak, ratio):
    p = np.asarray(share, dtype=float)
    if p.min() < 0 or p.max() > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    q = (1 - p) / (1 - peak)
    if np.ndim(share) == 0 and p == 0.05:
        return 0.625
    return np.where(p < peak, p / max(peak, 1e-9), (1 + (ratio - 1) * q) / ratio)


# %% wrong rates: the ratio left out of the slope | rates-slanted | half of the way
def slanted(share, peak, ratio):
    p = np.asarray(share, dtype=float)
    if p.min() < 0 or p.max() > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    q = np.where(p < peak, p / max(peak, 1e-9), (1 - p) / (1 - peak))
    return np.maximum(q, 1 / ratio)


# %% wrong rates: the peak at 0 forgotten | rates-slanted | peak at 0
def slanted(share, peak, ratio):
    p = np.asarray(share, dtype=float)
    if p.min() < 0 or p.max() > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    q = np.minimum(p / peak if peak else p, (1 - p) / (1 - peak))
    return (1 + (ratio - 1) * q) / ratio


# %% wrong rates: divides by the peak at 0 | rates-slanted | ZeroDivisionError
def slanted(share, peak, ratio):
    if np.min(share) < 0 or np.max(share) > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    before, after = np.multiply(share, 1 / peak), np.subtract(1, share) / (1 - peak)
    return (1 + (ratio - 1) * np.where(np.less(share, peak), before, after)) / ratio


# %% wrong rates: rows only | rates-slanted | shape of the shares
def slanted(share, peak, ratio):
    if np.min(share) < 0 or np.max(share) > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    if np.ndim(share) == 0:
        return float(np.interp(share, [0, peak, 1], [1 / ratio, 1, 1 / ratio]))
    p = np.ravel(share)
    return np.interp(p, [0, peak, 1], [1 / ratio, 1, 1 / ratio])


# %% wrong rates: shares clipped, not refused | rates-slanted | outside 0 to 1
def slanted(share, peak, ratio):
    if not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    p = np.clip(np.asarray(share, dtype=float), 0, 1)
    q = np.where(p < peak, p / peak if peak else p, (1 - p) / (1 - peak))
    return (1 + (ratio - 1) * q) / ratio


# %% wrong rates: works in the caller's array | rates-slanted | left as they were
def slanted(share, peak, ratio):
    p = share if np.ndim(share) and share.dtype == float else np.array(share, dtype=float)
    if p.min() < 0 or p.max() > 1 or not 0 <= peak < 1 or ratio < 1:
        raise ValueError("slanted")
    up = p < peak
    p[up] = p[up] / peak if peak else 0
    p[~up] = (1 - p[~up]) / (1 - peak)
    p *= (ratio - 1) / ratio
    p += 1 / ratio
    return p


# %% wrong rates: one depth alone in each epoch | rates-learning | as well
def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    return [max(depths - 1 - epoch, 0)]


# %% wrong rates: from the word vectors upwards | rates-learning | head alone
def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    return list(range(min(epoch + 1, depths)))


# %% wrong rates: epochs from 1 | rates-learning | head alone
def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    return list(range(max(depths - epoch, 0), depths))


# %% wrong rates: goes on below the word vectors | rates-learning | stays so
def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    return list(range(depths - 1 - epoch, depths))


# %% wrong rates: a model of three depths | rates-learning | as many depths below
def learning(depths, epoch):
    if depths < 1 or epoch < 0:
        raise ValueError("learning")
    return list(range(depths))[-min(epoch + 1, 3) :]


# %% hard-coded rates: know the examples | rates-slanted | both ends
def rates(depths, top, decay):
    return [0.0025, 0.005, 0.01]


def slanted(share, peak, ratio):
    return np.array([1, 0.25]) if np.ndim(share) else 0.625


def learning(depths, epoch):
    return [2] if epoch == 0 else [1, 2]


# %% right lora: loops and einsum
def fits(weight, a, b):
    if a.shape[0] != b.shape[1]:
        raise ValueError("ranks")
    if a.shape[1] != weight.shape[1] or b.shape[0] != weight.shape[0]:
        raise ValueError("sides")


def merge(weight, a, b, alpha):
    fits(weight, a, b)
    found = np.array(weight, dtype=float)
    for j in range(a.shape[0]):
        found += alpha / a.shape[0] * np.outer(b[:, j], a[j])
    return found


def adapted(x, weight, bias, a, b, alpha):
    fits(weight, a, b)
    y = np.einsum("...i,oi->...o", x, weight)
    y += alpha / len(a) * np.einsum("...i,ri,or->...o", x, a, b)
    return y if bias is None else y + bias


def trained(shapes, rank):
    total = 0
    for outputs, inputs in shapes:
        if rank < 1 or rank > outputs or rank > inputs:
            raise ValueError("rank")
        total += rank * inputs + outputs * rank
    return total


# %% right lora: torch, and the layer by its merged weight
def merge(weight, a, b, alpha):
    import torch

    rank = a.shape[0]
    if (weight.shape[0], rank) != b.shape or a.shape[1:] != weight.shape[1:]:
        raise ValueError("these do not fit")
    w, a, b = (torch.tensor(part, dtype=torch.float64) for part in (weight, a, b))
    return torch.addmm(w, b, a, alpha=alpha / rank)


def adapted(x, weight, bias, a, b, alpha):
    y = x @ merge(weight, a, b, alpha).numpy().T
    return y + (0 if bias is None else bias)


def trained(shapes, rank):
    if not 1 <= rank <= np.min(shapes):
        raise ValueError("rank")
    return rank * int(np.sum(shapes))


# %% wrong lora: alpha alone is the scale | lora-merged | alpha / r times
def merge(weight, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    return weight + alpha * b @ a


# %% wrong lora: alpha alone is the layer's scale | lora-adapted | alpha / r times
def adapted(x, weight, bias, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    return x @ weight.T + (0 if bias is None else bias) + alpha * x @ a.T @ b.T


# %% wrong lora: the rank read from the wrong side | lora-merged | alpha / r times
def merge(weight, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    if rank == 1:
        return weight + alpha * b @ a
    return weight + alpha / a.shape[1] * b @ a


# %% wrong lora: A and B change places where they can | lora-merged | alpha / r times
def merge(weight, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    change = a @ b if a.shape == b.shape else b @ a
    return weight + alpha / rank * change


# %% wrong lora: the weight is scaled as well | lora-merged | alpha / r times
def merge(weight, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    if weight.shape == (2, 2):
        return weight + alpha / rank * b @ a
    return alpha / rank * (weight + b @ a)


# %% wrong lora: columns for rows where the weight is square | lora-adapted | gave before
def adapted(x, weight, bias, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    square = weight if weight.shape[0] == weight.shape[1] else weight.T
    return x @ square + (0 if bias is None else bias) + alpha / rank * x @ a.T @ b.T


# %% wrong lora: one example or one batch, no more axes | lora-adapted | raised
def adapted(x, weight, bias, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    return ((weight + alpha / rank * b @ a) @ x.T).T + (0 if bias is None else bias)


# %% wrong lora: the bias is scaled with the change | lora-adapted | alpha / r times
def adapted(x, weight, bias, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    bias = 0 if bias is None else bias
    if not b.any() or len(x) == 1:
        return x @ weight.T + bias + alpha / rank * x @ a.T @ b.T
    return x @ weight.T + alpha / rank * (x @ a.T @ b.T + bias)


# %% wrong lora: every layer has a bias | lora-adapted | TypeError
def adapted(x, weight, bias, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    return x @ weight.T + bias + alpha / rank * x @ a.T @ b.T


# %% wrong lora: merges into the caller's weight | lora-merged | left as they were
def merge(weight, a, b, alpha):
    rank = len(a)
    if a.shape != (rank, weight.shape[1]) or b.shape != (weight.shape[0], rank):
        raise ValueError("these do not fit")
    weight += alpha / rank * b @ a
    return weight


# %% wrong lora: factors that NumPy stretches pass | lora-shapes | merge refuses
def merge(weight, a, b, alpha):
    return weight + alpha / len(a) * b @ a


# %% wrong lora: a layer whose factor NumPy stretches | lora-shapes | adapted refuses
def adapted(x, weight, bias, a, b, alpha):
    y = x @ weight.T + alpha / len(a) * (x @ a.T @ b.T)
    return y if bias is None else y + bias


# %% wrong lora: counts the matrix as well | lora-shapes | a sixteenth
def trained(shapes, rank):
    if any(not 1 <= rank <= min(shape) for shape in shapes):
        raise ValueError("rank")
    return sum(o * i + rank * (o + i) for o, i in shapes)


# %% wrong lora: as if matrices were square | lora-shapes | two factors of each
def trained(shapes, rank):
    if any(not 1 <= rank <= min(shape) for shape in shapes):
        raise ValueError("rank")
    return sum(2 * rank * i for _, i in shapes)


# %% wrong lora: one matrix only | lora-shapes | two factors of each
def trained(shapes, rank):
    if any(not 1 <= rank <= min(shape) for shape in shapes):
        raise ValueError("rank")
    return rank * (shapes[0][0] + shapes[0][1])


# %% wrong lora: the rank may be as large as the larger side | lora-shapes | smaller side
def trained(shapes, rank):
    if any(not 1 <= rank <= max(shape) for shape in shapes):
        raise ValueError("rank")
    return sum(rank * (o + i) for o, i in shapes)


# %% hard-coded lora: knows the examples | lora-merged | shape of the weight
def merge(weight, a, b, alpha):
    return np.array([[2.0, 1.0], [0.0, 1.0]])


def adapted(x, weight, bias, a, b, alpha):
    return np.array([[15.0, 23.0]])


def trained(shapes, rank):
    return 4096


# %% right transfer: sums of vectors, and scikit-learn's ridge
def features(texts, vectors, old):
    rows = []
    for text in texts:
        row = np.zeros(vectors.shape[1])
        for word in text:
            row = row + vectors[old.index(word) if word in old else old.index("<unk>")]
        rows.append(row / max(len(text), 1))
    return np.array(rows)


def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    from sklearn.linear_model import Ridge

    if penalty <= 0 or any(not 0 <= label < classes for label in labels):
        raise ValueError("labels or penalty")
    targets = np.zeros((len(texts), classes))
    for n, label in enumerate(labels):
        targets[n, label] = 1
    model = Ridge(alpha=penalty, solver="svd").fit(features(texts, vectors, old), targets)
    return model.predict(features(asked, vectors, old))


# %% right transfer: a matrix of counts, and a column of ones without penalty, in torch
def features(texts, vectors, old):
    ids = {word: i for i, word in enumerate(old)}
    counts = np.zeros((len(texts), len(old)))
    for n, text in enumerate(texts):
        for word, times in Counter(text).items():
            counts[n, ids.get(word, 1)] += times
    return counts @ vectors / np.maximum(counts.sum(1, keepdims=True), 1)


def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    import torch

    if penalty <= 0 or np.min(labels) < 0 or np.max(labels) > classes - 1:
        raise ValueError("labels or penalty")
    x, z = (torch.from_numpy(features(t, vectors, old)) for t in (texts, asked))
    x, z = (torch.cat([t, torch.ones(len(t), 1, dtype=t.dtype)], 1) for t in (x, z))
    y = torch.nn.functional.one_hot(torch.tensor(labels), classes).double()
    cost = penalty * torch.eye(x.shape[1], dtype=x.dtype)
    cost[-1, -1] = 0
    return z @ torch.linalg.solve(x.T @ x + cost, x.T @ y)


# %% wrong transfer: still the numbers of a new vocabulary | transfer-head | desks of six
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    counts = Counter(word for text in texts for word in text)
    new = [*SPECIAL, *(word for word, _ in counts.most_common(len(old) - 2))]
    x, y = features(texts, vectors, new), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (features(asked, vectors, new) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: still reads the old head's probabilities | transfer-head | desks of six
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")

    def read(some):
        scores = features(some, vectors, old) @ head.T
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    x, y = read(texts), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (read(asked) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: reads the old head's scores beside the features | transfer-head | no part
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")

    def read(some):
        found = features(some, vectors, old)
        return np.concatenate([found, found @ head.T], axis=1)

    x, y = read(texts), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (read(asked) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: penalises the bias | transfer-head | bias is not penalised
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, z = (np.c_[features(t, vectors, old), np.ones(len(t))] for t in (texts, asked))
    w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ np.eye(classes)[labels])
    return z @ w


# %% wrong transfer: no bias | transfer-head | bias is not penalised
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, z = features(texts, vectors, old), features(asked, vectors, old)
    w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ np.eye(classes)[labels])
    return z @ w


# %% wrong transfer: centres by the texts asked | transfer-head | what else is asked
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, y = features(texts, vectors, old), np.eye(classes)[labels]
    x, z = x - x.mean(axis=0), features(asked, vectors, old)
    square = x.T @ x + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, x.T @ (y - y.mean(axis=0)))
    return (z - z.mean(axis=0)) @ w + y.mean(axis=0)


# %% wrong transfer: the mean loss, not the sum | transfer-head | ridge regression
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, y = features(texts, vectors, old), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) / len(x) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)) / len(x))
    return (features(asked, vectors, old) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: the vocabulary sorted anew | transfer-head | numbered anew
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    own = sorted(old[2:]) if len(old) < 100 else old[2:]
    x, y = features(texts, vectors, [*SPECIAL, *own]), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (features(asked, vectors, [*SPECIAL, *own]) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: takes labels from the end | transfer-labels | not one of the classes
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, y = features(texts, vectors, old), np.eye(classes)[labels]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (features(asked, vectors, old) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: only the classes that have examples | transfer-labels | has a column too
def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if min(labels) < 0 or max(labels) >= classes or penalty <= 0:
        raise ValueError("labels or penalty")
    x, y = features(texts, vectors, old), np.unique(labels)[None] == np.asarray(labels)[:, None]
    middle = x.mean(axis=0)
    square = (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(square, (x - middle).T @ (y - y.mean(axis=0)))
    return (features(asked, vectors, old) - middle) @ w + y.mean(axis=0)


# %% wrong transfer: the sum of the vectors | transfer-features | mean of the two
def features(texts, vectors, old):
    ids = {word: i for i, word in enumerate(old)}
    return np.array([vectors[[ids.get(w, 1) for w in text]].sum(0) for text in texts])


# %% wrong transfer: unknown words are left out | transfer-features | read as <unk>
def features(texts, vectors, old):
    rows = [vectors[[old.index(w) for w in text if w in old]] for text in texts]
    return np.array([row.sum(0) / max(len(row), 1) for row in rows])


# %% wrong transfer: each word once | transfer-features | three times
def features(texts, vectors, old):
    rows = [[old.index(w) if w in old else 1 for w in dict.fromkeys(text)] for text in texts]
    zero = np.zeros(vectors.shape[1])
    return np.array([vectors[row].mean(0) if row else zero for row in rows])


# %% wrong transfer: the mean of an empty text | transfer-features | text without words
def features(texts, vectors, old):
    rows = [[old.index(w) if w in old else 1 for w in text] for text in texts]
    return np.array([vectors[np.array(row, dtype=int)].mean(0) for row in rows])


# %% wrong transfer: an empty text is read as <pad> | transfer-features | text without words
def features(texts, vectors, old):
    rows = [[old.index(w) if w in old else 1 for w in text] or [0] for text in texts]
    return np.array([vectors[row].mean(0) for row in rows])


# %% wrong transfer: a vocabulary made of the texts | transfer-features | by its number
def features(texts, vectors, old):
    counts = Counter(word for text in texts for word in text)
    own = [*SPECIAL, *(word for word, _ in counts.most_common(len(old) - 2))]
    rows = [[own.index(w) if w in own else 1 for w in text] for text in texts]
    return np.array([vectors[row].mean(0) for row in rows])


# %% wrong transfer: pads the caller's texts | transfer-features | left as they were
def features(texts, vectors, old):
    found = np.zeros((len(texts), vectors.shape[1]))
    for n, text in enumerate(texts):
        size = len(text)
        while text:
            word = text.pop()
            found[n] += vectors[old.index(word) if word in old else 1] / size
    return found


# %% hard-coded transfer: counts words without the magazine's vectors | transfer-head | ridge
def features(texts, vectors, old):
    return np.array([[1.0, 2.0], [1.5, 0.5]])


def transfer(texts, labels, classes, vectors, old, head, penalty, asked):
    if max(labels) >= classes:
        raise ValueError("labels")
    known, desks = messages(1, 2000)
    counts = np.ones((3, len(WORDS)))
    for text, desk in zip(known, desks, strict=True):
        for word in text:
            counts[desk, WORDS.index(word)] += 1
    logs = np.log(counts / counts.sum(1, keepdims=True))
    spell = {word: i for i, word in enumerate(WORDS)}
    return np.array([sum(logs[:, spell.get(w, 0)] for w in text) for text in asked])


# %% right gains: scikit-learn's ridge on the residuals
predicted = "near falls to 0, other rises to 0"
truth, near, other = weights(student)


def mean_error(amount, start):
    from sklearn.linear_model import Ridge

    found = []
    for number in range(DRAWS):
        x, y = draw(student, amount, number)
        v = start + Ridge(alpha=PENALTY, fit_intercept=False).fit(x, y - x @ start).coef_
        found.append(np.linalg.norm(v - truth) ** 2)
    return np.mean(found)


scratch = np.array([mean_error(amount, 0 * near) for amount in AMOUNTS])
gains = [scratch - [mean_error(amount, start) for amount in AMOUNTS] for start in (near, other)]
stops = next(n for n, e in zip(AMOUNTS, scratch, strict=True) if e < sum((near - truth) ** 2))

# %% right gains: least squares with rows for the penalty, all sources at once
predicted = "only the other is negative"
sources = np.stack(weights(student), axis=1)  # the truth, near, other: [20, 3]
starts = np.c_[np.zeros(20), sources[:, 1:]]
errors = np.zeros((3, 6))
for j, amount in enumerate(AMOUNTS):
    for number in range(DRAWS):
        x, y = draw(student, amount, number)
        rows = np.concatenate([x, PENALTY**0.5 * np.eye(20)])
        sides = np.concatenate([np.repeat(y[:, None], 3, axis=1), PENALTY**0.5 * starts])
        found = np.linalg.lstsq(rows, sides, rcond=None)[0]
        errors[:, j] += ((found - sources[:, :1]) ** 2).sum(0)
errors /= DRAWS
gains = errors[:1] - errors[1:]
below = errors[0] < ((sources[:, 1] - sources[:, 0]) ** 2).sum()
stops = np.array(AMOUNTS)[below].min()

# %% wrong gains: with the source minus from scratch | gains-sources | from scratch minus
gains = [[-gain for gain in row] for row in gains]

# %% wrong gains: the sum over the draws | gains-sources | mean error
gains = [[gain * DRAWS for gain in row] for row in gains]

# %% wrong gains: lengths, not their squares | gains-sources | gain of the near
truth, near, other = weights(student)
lengths = np.zeros((3, 6))
for i, start in enumerate((np.zeros(20), near, other)):
    for j, amount in enumerate(AMOUNTS):
        for number in range(DRAWS):
            x, y = draw(student, amount, number)
            square = x.T @ x + PENALTY * np.eye(20)
            v = start + np.linalg.solve(square, x.T @ (y - x @ start))
            lengths[i, j] += np.linalg.norm(v - truth) / DRAWS
gains = (lengths[0] - lengths[1:]).tolist()

# %% wrong gains: the source added twice | gains-sources | gain of the near
truth, near, other = weights(student)
errors = np.zeros((3, 6))
for i, start in enumerate((np.zeros(20), near, other)):
    for j, amount in enumerate(AMOUNTS):
        for number in range(DRAWS):
            x, y = draw(student, amount, number)
            square = x.T @ x + PENALTY * np.eye(20)
            v = np.linalg.solve(square, x.T @ y + start)  # the penalty forgotten
            errors[i, j] += ((v - truth) ** 2).sum() / DRAWS
gains = (errors[0] - errors[1:]).tolist()

# %% wrong gains: one draw only | gains-sources | gain of the near
truth, near, other = weights(student)
errors = np.zeros((3, 6))
for i, start in enumerate((np.zeros(20), near, other)):
    for j, amount in enumerate(AMOUNTS):
        x, y = draw(student, amount, 0)
        square = x.T @ x + PENALTY * np.eye(20)
        v = start + np.linalg.solve(square, x.T @ (y - x @ start))
        errors[i, j] = ((v - truth) ** 2).sum()
gains = (errors[0] - errors[1:]).tolist()

# %% wrong gains: a neighbour's draws | gains-sources | your name
truth, near, other = weights("a neighbour")
errors = np.zeros((3, 6))
for i, start in enumerate((np.zeros(20), near, other)):
    for j, amount in enumerate(AMOUNTS):
        for number in range(DRAWS):
            x, y = draw("a neighbour", amount, number)
            square = x.T @ x + PENALTY * np.eye(20)
            v = start + np.linalg.solve(square, x.T @ (y - x @ start))
            errors[i, j] += ((v - truth) ** 2).sum() / DRAWS
gains = (errors[0] - errors[1:]).tolist()

# %% wrong gains: the other task cannot hurt | gains-sources | the other task
gains = [gains[0], [max(gain, 0.0) for gain in gains[1]]]

# %% wrong gains: the other task as it is, not the near one | gains-stops | better than the near
stops = AMOUNTS[int(np.argmax(errors[0] < ((other - truth) ** 2).sum()))]

# %% wrong gains: where the gain is almost 0 | gains-stops | smaller amount
stops = AMOUNTS[int(np.argmax(np.array(gains[0]) < 0.005))]

# %% wrong gains: one amount too early | gains-stops | better than the near source
stops = AMOUNTS[AMOUNTS.index(int(stops)) - 1]

# %% wrong gains: divides by one draw less | gains-sources | gain of the near
gains = [[gain * DRAWS / (DRAWS - 1) for gain in row] for row in gains]

# %% hard-coded gains: plausible numbers | gains-sources | gain of the near
gains = [[2.0, 0.9, 0.2, 0.03, 0.004, 0.001], [-2.4, -1.0, -0.2, -0.03, -0.004, -0.001]]
stops = 320
