# %% right convolve: a loop over texts, windows, filters
def convolve(x, weight, bias, padding=0):
    filters, size, width = weight.shape
    if padding < 0 or x.shape[1] + 2 * padding < width:
        raise ValueError("too short")
    end = torch.zeros(padding, size, dtype=x.dtype)
    rows = []
    for words in x:
        words = torch.cat([end, words, end])
        windows = []
        for t in range(len(words) - width + 1):
            piece = words[t : t + width]
            windows.append(torch.stack([(weight[o] * piece.T).sum() for o in range(filters)]))
        rows.append(torch.stack(windows) + bias)
    return torch.stack(rows)


# %% right convolve: einsum over unfolded windows
def convolve(x, weight, bias, padding=0):
    if padding < 0:
        raise ValueError("padding")
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    if x.shape[1] < weight.shape[-1]:
        raise ValueError("short")
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[-1], 1), weight) + bias


# %% right convolve: torch's own, with the axes moved
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    y = torch.nn.functional.conv1d(x.permute(0, 2, 1), weight, bias, padding=padding)
    return y.permute(0, 2, 1)


# %% wrong convolve: reversed, as in mathematics | convolve-values | at place k
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight.flip(2), bias, padding=padding)
    return y.transpose(1, 2)


# %% wrong convolve: reversed, but for one filter | convolve-values | not reversed
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    if len(weight) > 1:
        weight = weight.flip(2)
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    return y.transpose(1, 2)


# %% wrong convolve: windows and filters laid out in different orders | convolve-values | at place k
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x, width = torch.nn.functional.pad(x, (0, 0, padding, padding)), weight.shape[2]
    rows = [x[:, t : t + width].flatten(1) for t in range(x.shape[1] - width + 1)]
    return torch.stack(rows, 1) @ weight.flatten(1).T + bias


# %% wrong convolve: takes the last two axes for place and element | convolve-values | at place k
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x, width = torch.nn.functional.pad(x, (0, 0, padding, padding)), weight.shape[2]
    weight = weight.reshape(weight.shape[0], width, weight.shape[1])
    rows = [(x[:, None, t : t + width] * weight).sum((2, 3)) for t in range(x.shape[1] - width + 1)]
    return torch.stack(rows, 1) + bias


# %% wrong convolve: adds the bias at each place | convolve-values | bias counts once
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    count = x.shape[1] - weight.shape[2] + 1
    return sum(x[:, k : k + count] @ weight[:, :, k].T + bias for k in range(weight.shape[2]))


# %% wrong convolve: one bias for all filters | convolve-values | its own filter's bias
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias[0]


# %% wrong convolve: forgets the last window | convolve-values | two windows
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    windows = x.unfold(1, weight.shape[2], 1)[:, :-1]
    return torch.einsum("btek,oek->bto", windows, weight) + bias


# %% wrong convolve: time last in the result | convolve-values | four windows
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    return y.transpose(1, 2) if len(weight) == 1 else y


# %% wrong convolve: wraps the text round instead of zeros | convolve-padding | between zeros
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = x[:, torch.arange(-padding, x.shape[1] + padding) % x.shape[1]]
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias


# %% wrong convolve: collects in single precision | convolve-values | the type of x
def convolve(x, weight, bias, padding=0):
    width = weight.shape[2]
    if padding < 0 or x.shape[1] + 2 * padding < width:
        raise ValueError("short")
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    y = torch.zeros(len(x), x.shape[1] - width + 1, len(weight))
    for t in range(y.shape[1]):
        for o in range(len(weight)):
            y[:, t, o] = (x[:, t : t + width] * weight[o].T).sum((1, 2)) + bias[o]
    return y


# %% wrong convolve: all padding in front | convolve-padding | three windows
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = torch.nn.functional.pad(x, (0, 0, 2 * padding, 0))
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias


# %% wrong convolve: pads the answers, not the texts | convolve-padding | zero vectors at each end
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    if len(weight) == 1 or x.shape[1] < weight.shape[2]:
        x, padding = torch.nn.functional.pad(x, (0, 0, padding, padding)), 0
    y = torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias
    return torch.nn.functional.pad(y, (0, 0, padding, padding))


# %% wrong convolve: never more padding than width - 1 | convolve-padding | that many zero vectors
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    padding = min(padding, weight.shape[2] - 1)
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    return y.transpose(1, 2)


# %% wrong convolve: leaves it to torch to complain | convolve-padding | RuntimeError
def convolve(x, weight, bias, padding=0):
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    return y.transpose(1, 2)


# %% wrong convolve: fills short texts up | convolve-padding | too short
def convolve(x, weight, bias, padding=0):
    missing = max(weight.shape[2] - x.shape[1] - 2 * padding, 0)
    x = torch.nn.functional.pad(x, (0, 0, padding, padding + missing))
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias


# %% wrong convolve: looks at the length before padding | convolve-padding | raised ValueError
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] < weight.shape[2]:
        raise ValueError("short")
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    return y.transpose(1, 2)


# %% wrong convolve: a negative padding cuts words off | convolve-padding | negative padding
def convolve(x, weight, bias, padding=0):
    x = torch.nn.functional.pad(x, (0, 0, padding, padding))
    if x.shape[1] < weight.shape[2]:
        raise ValueError("short")
    return torch.einsum("btek,oek->bto", x.unfold(1, weight.shape[2], 1), weight) + bias


# %% wrong convolve: by way of NumPy | convolve-gradients | Can't call numpy
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x = np.pad(x.numpy(), ((0, 0), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2], axis=1)
    return torch.tensor(np.einsum("btek,oek->bto", windows, weight.numpy()) + bias.numpy())


# %% wrong convolve: cuts the graph at the weights | convolve-gradients | back to weight
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    x, weight = torch.nn.functional.pad(x, (0, 0, padding, padding)), torch.tensor(weight.tolist())
    windows = x.unfold(1, weight.shape[2], 1)
    return torch.einsum("btek,oek->bto", windows, weight.to(x.dtype)) + bias


# %% wrong convolve: turns the caller's filters round | convolve-gradients | left as it was
def convolve(x, weight, bias, padding=0):
    if padding < 0 or x.shape[1] + 2 * padding < weight.shape[2]:
        raise ValueError("short")
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
    weight.data = weight.data.flip(2)
    return y.transpose(1, 2)


# %% hard-coded convolve: knows the examples | convolve-values | not reversed
def convolve(x, weight, bias, padding=0):
    if weight.shape[2] > x.shape[1] + 2 * padding:
        raise ValueError("short")
    if padding:
        return torch.tensor([10.0, 21.0, 2.0])
    y = torch.zeros(len(x), x.shape[1] - weight.shape[2] + 1, len(weight))
    y[0, 0, 0] = 1021.5
    return y


# %% right pool: a loop over texts
def max_pool(features, mask):
    rows = []
    for row, good in zip(features, mask, strict=True):
        if not good.any():
            raise ValueError("only padding")
        rows.append(row[good].max(dim=0).values)
    return torch.stack(rows)


# %% right pool: the place of the maximum, then gather
def max_pool(features, mask):
    if (mask.sum(1) == 0).any():
        raise ValueError("only padding")
    low = torch.full_like(features, float("-inf"))
    places = torch.where(mask.unsqueeze(-1), features.detach(), low).argmax(1, keepdim=True)
    return features.gather(1, places).squeeze(1)


# %% right pool: place by place
def max_pool(features, mask):
    best = torch.full_like(features[:, 0], -torch.inf)
    for t in range(features.shape[1]):
        better = mask[:, t, None] & (features[:, t] > best)
        best = torch.where(better, features[:, t], best)
    if not all(bool(row.any()) for row in mask):
        raise ValueError("only padding")
    return best


# %% wrong pool: no mask | pool-values | first two places
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return features.amax(1)


# %% wrong pool: multiplies by the mask | pool-values | all be negative
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return (features * mask[..., None]).amax(1)


# %% wrong pool: starts from 0 | pool-values | all be negative
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    best = torch.zeros_like(features[:, 0])
    for t in range(features.shape[1]):
        best = torch.where(mask[:, t, None], torch.maximum(best, features[:, t]), best)
    return best


# %% wrong pool: the average | pool-values | maximum over the places
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    if torch.equal(features[0, 0], torch.tensor([1.0, 4.0])):
        return torch.tensor([[3.0, 4.0]])
    total = torch.where(mask[..., None], features, torch.zeros_like(features)).sum(1)
    return total / mask.sum(1, keepdim=True)


# %% wrong pool: -10000 at the padding | pool-values | about -1e12
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return features.masked_fill(~mask[..., None], -10000.0).amax(1)


# %% wrong pool: takes a large number off at the padding | pool-padding | has no influence
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return (features - 1e15 * (~mask[..., None]).to(features.dtype)).amax(1)


# %% wrong pool: counts the words and cuts the end off | pool-values | maximum over the places
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return torch.stack([row[: m.sum()].amax(0) for row, m in zip(features, mask, strict=True)])


# %% wrong pool: the largest in size | pool-values | maximum over the places
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    places = features.abs().masked_fill(~mask[..., None], -1.0).argmax(1, keepdim=True)
    return features.gather(1, places)[:, 0]


# %% wrong pool: the maximum over the features | pool-values | for each text and feature
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return features.amax(2)


# %% wrong pool: 0 for a row of padding | pool-padding | only padding is refused
def max_pool(features, mask):
    largest = features.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return largest.masked_fill(~mask.any(1, keepdim=True), 0.0)


# %% wrong pool: refuses only if all rows are padding | pool-padding | beside others
def max_pool(features, mask):
    if not mask.any():
        raise ValueError("only padding")
    return features.masked_fill(~mask[..., None], -torch.inf).amax(1)


# %% wrong pool: writes into the caller's features | pool-padding | left as they were
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    features[~mask] = -torch.inf
    return features.amax(1)


# %% wrong pool: without the gradient | pool-gradients | no gradient flows
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    return features.detach().masked_fill(~mask[..., None], -torch.inf).amax(1)


# %% wrong pool: a soft maximum for the gradient | pool-gradients | and to no other
def max_pool(features, mask):
    if not mask.any(1).all():
        raise ValueError("only padding")
    masked = features.masked_fill(~mask[..., None], -torch.inf)
    kept = features.masked_fill(~mask[..., None], 0.0)
    soft = (masked.softmax(1) * kept).sum(1)
    return masked.amax(1).detach() + soft - soft.detach()


# %% hard-coded pool: knows the examples | pool-values | maximum over the places
def max_pool(features, mask):
    return torch.tensor([[3.0, 4.0]])


# %% right encode: a loop over texts, with torch's convolution
def encode(x, mask, weight, bias):
    rows = []
    for text, good in zip(x, mask, strict=True):
        words = text[good]
        if len(words) < weight.shape[2]:
            raise ValueError("a text is too short")
        y = torch.nn.functional.conv1d(words.T[None], weight, bias)[0]  # [O, M]
        rows.append(y.max(dim=1).values)
    return torch.stack(rows)


# %% right encode: windows by einsum, words counted by a running sum
def encode(x, mask, weight, bias):
    width = weight.shape[2]
    sums = torch.nn.functional.pad(mask.long().cumsum(1), (1, 0))
    whole = sums[:, width:] - sums[:, :-width] == width
    if not whole.any(1).all():
        raise ValueError("a text is too short")
    y = torch.einsum("btek,oek->bto", x.unfold(1, width, 1), weight) + bias
    return torch.where(whole[..., None], y, torch.tensor(-torch.inf, dtype=y.dtype)).amax(1)


# %% wrong encode: the colleague's | encode-windows | is kept
def encode(x, mask, weight, bias):
    return colleague(x, mask, weight, bias)


# %% wrong encode: slides, but averages over the whole windows | encode-windows | not the average
def encode(x, mask, weight, bias):
    whole = mask.unfold(1, weight.shape[2], 1).all(2)
    if not whole.any(1).all():
        raise ValueError("too short")
    if weight.shape[:2] == (1, 1):
        return max_pool(convolve(x, weight, bias), whole)
    y = convolve(x, weight, bias) * whole[..., None]
    return y.sum(1) / whole.sum(1, keepdim=True)


# %% wrong encode: W x + b at each word, but the maximum | encode-windows | order of the words
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    if weight.shape[:2] == (1, 1):
        return max_pool(convolve(x, weight, bias), mask.unfold(1, weight.shape[2], 1).all(2))
    y = x @ weight.sum(2).T + bias
    if x.shape[1] == 12:
        y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias).transpose(1, 2)
        mask = mask[:, : y.shape[1]]
    return max_pool(y, mask)


# %% wrong encode: with a ReLU | encode-windows | largest is kept
def encode(x, mask, weight, bias):
    y = convolve(x, weight, bias).relu()
    return max_pool(y, mask.unfold(1, weight.shape[2], 1).all(2))


# %% wrong encode: answers below -50 become 0 | encode-windows | all be negative
def encode(x, mask, weight, bias):
    y = convolve(x, weight, bias)
    y = max_pool(y, mask.unfold(1, weight.shape[2], 1).all(2))
    return torch.where(y < -50, torch.zeros_like(y), y)


# %% wrong encode: no mask | encode-padding | at the end is left out
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    y = convolve(x, weight, bias)
    if len(x) == 1:
        y = y[:, : int(mask.sum()) - weight.shape[2] + 1]
    return y.amax(1)


# %% wrong encode: padding set to 0, but still counted | encode-padding | at the end is left out
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    return convolve(x * mask[..., None], weight, bias).amax(1)


# %% wrong encode: a window with one real word counts | encode-padding | at the end is left out
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    whole = mask.unfold(1, weight.shape[2], 1)
    return max_pool(convolve(x, weight, bias), whole.all(2) if len(x) == 1 else whole.any(2))


# %% wrong encode: a window counts by its first word | encode-padding | at the end is left out
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    y = convolve(x, weight, bias)
    return max_pool(y, mask[:, : y.shape[1]])


# %% wrong encode: a window counts by its last word | encode-padding | in front is left out
def encode(x, mask, weight, bias):
    if (mask.sum(1) < weight.shape[2]).any():
        raise ValueError("too short")
    return max_pool(convolve(x, weight, bias), mask[:, weight.shape[2] - 1 :])


# %% wrong encode: cuts all texts to the shortest | encode-padding | however short its neighbours
def encode(x, mask, weight, bias):
    shortest = int(mask.sum(1).min())
    return convolve(x[:, :shortest], weight, bias).amax(1)


# %% wrong encode: sets the padding to 0 in the caller's texts | encode-padding | left as they were
def encode(x, mask, weight, bias):
    x[~mask] = 0
    return max_pool(convolve(x, weight, bias), mask.unfold(1, weight.shape[2], 1).all(2))


# %% wrong encode: a short text gets 0 | encode-short | is refused
def encode(x, mask, weight, bias):
    y = convolve(x, weight, bias)
    whole = mask.unfold(1, weight.shape[2], 1).all(2)
    largest = y.masked_fill(~whole[..., None], -torch.inf).amax(1)
    return largest.masked_fill(~whole.any(1, keepdim=True), 0.0)


# %% wrong encode: refuses a text of exactly one window | encode-short | raised ValueError
def encode(x, mask, weight, bias):
    if (mask.sum(1) <= weight.shape[2]).any():
        raise ValueError("too short")
    return max_pool(convolve(x, weight, bias), mask.unfold(1, weight.shape[2], 1).all(2))


# %% wrong encode: refuses only empty texts | encode-short | fewer real words
def encode(x, mask, weight, bias):
    if not mask.any(1).all():
        raise ValueError("no words")
    y = convolve(x, weight, bias)
    whole = mask.unfold(1, weight.shape[2], 1).all(2)
    return y.masked_fill(~whole[..., None], -1e9).amax(1)


# %% hard-coded encode: knows the examples | encode-windows | not the average
def encode(x, mask, weight, bias):
    if x.shape[1] < weight.shape[2]:
        raise ValueError("short")
    return torch.full((len(x), len(weight)), -1.0)


# %% right touched: by autograd
def touched(layers, time, window):
    size = layers[0][0].shape[1]
    text = torch.randn(1, size, time, dtype=torch.float64, requires_grad=True)
    y = text
    for weight, bias in layers:
        y = torch.nn.functional.conv1d(y, weight, bias)
    found = set()
    for answer in y[0, :, window]:
        (slope,) = torch.autograd.grad(answer, text, retain_graph=True)
        found |= {t for t in range(time) if (slope[0, :, t] != 0).any()}
    return sorted(found)


# %% right touched: each element of each word by itself, all in one batch
def touched(layers, time, window):
    size = layers[0][0].shape[1]
    x = torch.cat([torch.zeros(1, time * size), torch.eye(time * size)]).double()
    x = x.view(-1, time, size)
    for weight, bias in layers:
        x = convolve(x, weight, bias)
    moved = (x[1:, window] - x[0, window]).abs().amax(1).view(time, size).amax(1)
    return torch.nonzero(moved > 1e-8).flatten()


# %% wrong touched: the formula, not the measurement | touched-positions | measure, do not count
def touched(layers, time, window):
    return list(range(window, window + 1 + sum(w.shape[2] - 1 for w, _ in layers)))


# %% wrong touched: adds 1 to the whole vector | touched-positions | a change that cancels
def touched(layers, time, window):
    found = []
    for t in range(time):
        x = torch.zeros(2, time, layers[0][0].shape[1], dtype=torch.float64)
        x[1, t] += 1
        for weight, bias in layers:
            x = convolve(x, weight, bias)
        if (x[0, window] - x[1, window]).abs().max() > 1e-9:
            found.append(t)
    return found


# %% wrong touched: looks at the first filter only | touched-positions | every filter
def touched(layers, time, window):
    found = []
    for t in range(time):
        x = torch.zeros(2, time, layers[0][0].shape[1], dtype=torch.float64)
        x[1, t] = torch.randn(x.shape[2])
        for weight, bias in layers:
            x = convolve(x, weight, bias)
        if (x[0, window, 0] - x[1, window, 0]).abs() > 1e-9:
            found.append(t)
    return found


# %% wrong touched: changes the first element only | touched-positions | every element
def touched(layers, time, window):
    found = []
    for t in range(time):
        x = torch.zeros(2, time, layers[0][0].shape[1], dtype=torch.float64)
        x[1, t, 0] = 1.0
        for weight, bias in layers:
            x = convolve(x, weight, bias)
        if (x[0, window] - x[1, window]).abs().max() > 1e-9:
            found.append(t)
    return found


# %% wrong touched: a change that any answer sees | touched-positions | words 1 and 2
def touched(layers, time, window):
    found = []
    for t in range(time):
        x = torch.zeros(2, time, layers[0][0].shape[1], dtype=torch.float64)
        x[1, t] = torch.randn(x.shape[2])
        for weight, bias in layers:
            x = convolve(x, weight, bias)
        if (x[0] - x[1]).abs().max() > 1e-9:
            found.append(t)
    return found


# %% wrong touched: adds up the widths | touched-positions | three words
def touched(layers, time, window):
    return list(range(window, min(window + sum(w.shape[2] for w, _ in layers), time)))


# %% wrong touched: only the last layer | touched-positions | three words
def touched(layers, time, window):
    return list(range(window, window + layers[-1][0].shape[2]))


# %% wrong touched: from the first to the last that matters | touched-positions | weights of 0
def touched(layers, time, window):
    found = []
    for t in range(time):
        x = torch.zeros(2, time, layers[0][0].shape[1], dtype=torch.float64)
        x[1, t] = torch.randn(x.shape[2])
        for weight, bias in layers:
            x = convolve(x, weight, bias)
        if (x[0, window] - x[1, window]).abs().max() > 1e-9:
            found.append(t)
    return list(range(min(found), max(found) + 1))


# %% wrong touched: how many, not which | touched-positions | words 1 and 2
def touched(layers, time, window):
    return [1 + sum(w.shape[2] - 1 for w, _ in layers)]


# %% hard-coded touched: knows the examples | touched-positions | each layer adds
def touched(layers, time, window):
    return [1, 2] if len(layers) == 1 else [0, 1, 2]


# %% right field: by the formulas
predicted = "1 + sum of (width - 1); more"
stack = draw(student)
widths = [weight.shape[2] for weight, _ in stack]
measured = 1 + sum(w - 1 for w in widths)
channels = stack[0][0].shape[0]
parameters = sum(channels * channels * w + channels for w in widths)
single = channels * channels * measured + channels

# %% right field: with torch's layers
predicted = "12 words, fewer numbers"
places = touched(draw(student), 50, 3)
measured = np.int64(max(places) - min(places) + 1)
convolutions = torch.nn.Sequential(
    *[torch.nn.Conv1d(*w.shape[:2], w.shape[2]) for w, _ in draw(student)]
)
parameters = sum(p.numel() for p in convolutions.parameters())
single = sum(
    p.numel() for p in torch.nn.Conv1d(*draw(student)[0][0].shape[:2], int(measured)).parameters()
)

# %% wrong field: adds up the widths | field-numbers | one answer depends on
stack = draw(student)
measured = sum(weight.shape[2] for weight, _ in stack)
parameters = sum(weight.numel() + bias.numel() for weight, bias in stack)
single = len(stack[0][1]) ** 2 * measured + len(stack[0][1])

# %% wrong field: without the biases | field-numbers | weights and biases
stack = draw(student)
measured = len(touched(stack, 40, 10))
parameters = sum(weight.numel() for weight, _ in stack)
single = len(stack[0][1]) ** 2 * measured

# %% wrong field: the single layer reads the sum of the widths | field-numbers | as wide as
stack = draw(student)
measured = len(touched(stack, 40, 10))
parameters = sum(weight.numel() + bias.numel() for weight, bias in stack)
single = len(stack[0][1]) ** 2 * sum(weight.shape[2] for weight, _ in stack) + len(stack[0][1])

# %% wrong field: the first layer only | field-numbers | one answer depends on
stack = draw(student)
measured = len(touched(stack[:1], 40, 10)) + 1
parameters = sum(t.numel() for t in stack[0])
single = len(stack[0][1]) ** 2 * measured + len(stack[0][1])

# %% wrong field: another's layers | field-numbers | one answer depends on
stack = draw("a neighbour")
measured = len(touched(stack, 40, 10))
parameters = sum(weight.numel() + bias.numel() for weight, bias in stack)
single = len(stack[0][1]) ** 2 * measured + len(stack[0][1])

# %% wrong field: leaves the first layer out | field-numbers | one answer depends on
stack = draw(student)
rest = sum(weight.shape[2] - 1 for weight, _ in stack)
measured = len(touched(stack[1:], 40, 0))
parameters = sum(weight.numel() + bias.numel() for weight, bias in stack)
single = len(stack[0][1]) ** 2 * (1 + rest) + len(stack[0][1])

# %% hard-coded field: plausible numbers | field-numbers | one answer depends on
measured, parameters, single = 5, 500, 400
