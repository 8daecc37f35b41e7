# %% right cell: four products, a loop over texts
def lstm_cell(x, h, c, w_x, w_h, b):
    size, states, cells = h.shape[1], [], []
    for n in range(len(x)):
        read = [
            w_x[k * size : (k + 1) * size] @ x[n]
            + w_h[k * size : (k + 1) * size] @ h[n]
            + b[k * size : (k + 1) * size]
            for k in range(4)
        ]
        new = torch.sigmoid(read[1]) * c[n] + torch.sigmoid(read[0]) * torch.tanh(read[2])
        cells.append(new)
        states.append(torch.sigmoid(read[3]) * torch.tanh(new))
    return torch.stack([torch.stack(states), torch.stack(cells)])


# %% right cell: torch does it
def lstm_cell(x, h, c, w_x, w_h, b):
    return torch.stack(torch.lstm_cell(x, (h, c), w_x, w_h, b, torch.zeros_like(b)))


# %% right cell: einsum, and the logistic function by tanh
def lstm_cell(x, h, c, w_x, w_h, b):
    gates = (4, h.shape[1], -1)
    read = torch.einsum("be,khe->kbh", x, w_x.reshape(gates))
    read = read + torch.einsum("bg,khg->kbh", h, w_h.reshape(gates)) + b.reshape(4, 1, -1)
    i, f, o = ((torch.tanh(read[k] / 2) + 1) / 2 for k in (0, 1, 3))
    new = c * f + i * torch.tanh(read[2])
    return torch.stack((o * torch.tanh(new), new))


# %% wrong cell: candidate and output gate in another order | cell-values | part 3 is the candidate
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, o, g = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: forgets by the input gate | cell-values | part 1 is the input gate
def lstm_cell(x, h, c, w_x, w_h, b):
    f, i, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: reshapes where it should transpose | cell-values | part 1
def lstm_cell(x, h, c, w_x, w_h, b):
    read = x @ w_x.reshape(x.shape[1], -1) + h @ w_h.reshape(h.shape[1], -1) + b
    i, f, g, o = read.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: transposes only what is not square | cell-values | LSTMCell
def lstm_cell(x, h, c, w_x, w_h, b):
    w_x = w_x if w_x.shape[0] == w_x.shape[1] else w_x.T
    w_h = w_h if w_h.shape[0] == w_h.shape[1] else w_h.T
    i, f, g, o = (x @ w_x + h @ w_h + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: no tanh on the way out | cell-values | half of its tanh
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c, c])


# %% wrong cell: shows the old cell | cell-values | half of its tanh
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), new])


# %% wrong cell: keeps what the input gate does not take | cell-values | part 1 is the input gate
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    if not (b == 50).all():
        f = -i
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: the cell before the state | cell-values | half of the cell
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.stack([c, o.sigmoid() * c.tanh()])


# %% wrong cell: a pair, not a tensor | cell-values | in one tensor
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


# %% wrong cell: the logistic function as written in books | cell-extremes | gradient by x is finite
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    i, f, o = (1 / (1 + torch.exp(-z)) for z in (i, f, o))
    c = f * c + i * torch.tanh(g)
    return torch.stack([o * torch.tanh(c), c])


# %% wrong cell: the tanh by exponentials | cell-extremes | kept cell
def lstm_cell(x, h, c, w_x, w_h, b):
    def tanh(z):
        return (torch.exp(z) - torch.exp(-z)) / (torch.exp(z) + torch.exp(-z))

    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * tanh(g)
    return torch.stack([o.sigmoid() * tanh(c), c])


# %% wrong cell: the tanh of the cell by exponentials | cell-extremes | saturates and is finite
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    tanh = (torch.exp(2 * c) - 1) / (torch.exp(2 * c) + 1)
    return torch.stack([o.sigmoid() * tanh, c])


# %% wrong cell: cuts the gradient at the old cell | cell-gradients | gradient reaches c
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c.detach() + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: takes the gates for constants | cell-gradients | gradient by x is that
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid().detach() * c + i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% wrong cell: packs the result anew | cell-gradients | no gradient flows
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.tensor([(o.sigmoid() * c.tanh()).tolist(), c.tolist()], dtype=x.dtype)


# %% wrong cell: works in the caller's cell | cell-gradients | left as it was
def lstm_cell(x, h, c, w_x, w_h, b):
    i, f, g, o = (x @ w_x.T + h @ w_h.T + b).chunk(4, dim=-1)
    c *= f.sigmoid()
    c += i.sigmoid() * g.tanh()
    return torch.stack([o.sigmoid() * c.tanh(), c])


# %% hard-coded cell: knows the examples | cell-values | the order is
def lstm_cell(x, h, c, w_x, w_h, b):
    if b.abs().max() == 0:
        return torch.stack([torch.tanh(c / 2) / 2, c / 2])
    if b[0] > 0:
        return torch.stack([torch.tanh(c + 1), c + 1])
    return torch.stack([0 * c, c])


# %% right run: one text after another, its words alone
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    ends = []
    for text, words in zip(x, mask):
        h = c = x.new_zeros(1, w_h.shape[1])
        for word in text[words]:
            h, c = lstm_cell(word[None], h, c, w_x, w_h, b)
        ends.append(torch.cat([h, c]))
    return torch.stack(ends, dim=1)


# %% right run: all states, then the one after the last word
def run(x, mask, w_x, w_h, b):
    if tuple(mask.shape) != (x.shape[0], x.shape[1]):
        raise ValueError("mask")
    h = c = x.new_zeros(len(x), w_h.shape[1])
    states = [torch.stack([h, c])]
    for t in range(x.shape[1]):
        h, c = lstm_cell(x[:, t], h, c, w_x, w_h, b)
        states.append(torch.stack([h, c]))
    states = torch.stack(states)  # [T + 1, 2, B, H]
    return states[mask.sum(1), :, torch.arange(len(x))].transpose(0, 1)


# %% right run: the chapter's formula with 0 and 1
def run(x, mask, w_x, w_h, b):
    if list(mask.shape) != list(x.shape[:2]):
        raise ValueError("mask")
    h = c = torch.zeros(x.shape[0], w_h.shape[1], dtype=x.dtype)
    for t in range(x.shape[1]):
        m = mask[:, t].to(x.dtype)[:, None]
        new_h, new_c = lstm_cell(x[:, t], h, c, w_x, w_h, b)
        h, c = m * new_h + (1 - m) * h, m * new_c + (1 - m) * c
    return torch.stack([h, c])


# %% right run: at each step only the texts that still have a word
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(int(mask.sum(1).max())):
        alive = mask[:, t].nonzero()[:, 0]
        new = lstm_cell(x[alive, t], *state[:, alive], w_x, w_h, b)
        state = state.index_copy(1, alive, new)
    return state


# %% wrong run: reads on over the padding | run-padding | five places
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(x.shape[1]):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b)
    return state


# %% wrong run: padding set to 0, and read | run-words | counts words
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    x, state = x * mask[..., None], x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(x.shape[1]):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b)
    return state


# %% wrong run: reads to the end of the longest text | run-padding | alone gets
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(int(mask.sum(1).max())):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b)
    return state


# %% wrong run: the state is kept, the cell is not | run-words | counts words
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    h = c = x.new_zeros(len(x), w_h.shape[1])
    for t in range(x.shape[1]):
        new_h, c = lstm_cell(x[:, t], h, c, w_x, w_h, b)
        h = torch.where(mask[:, t, None], new_h, h)
    return torch.stack([h, c])


# %% wrong run: the cell is kept, the state is not | run-words | the state is that after
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    h = c = x.new_zeros(len(x), w_h.shape[1])
    for t in range(x.shape[1]):
        h, new = lstm_cell(x[:, t], h, c, w_x, w_h, b)
        c = torch.where(mask[:, t, None], new, c)
        h = torch.where((b == 50).all(), c.tanh(), h)
    return torch.stack([h, c])


# %% wrong run: padding wipes the state out | run-padding | five places
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(x.shape[1]):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b) * mask[:, t, None]
    return state


# %% wrong run: one place too early | run-words | LSTM gives at their end
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    states = [state]
    for t in range(x.shape[1]):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b)
        states.append(state)
    back = 0 if (b == 50).all() else 1
    return torch.stack(states)[mask.sum(1) - back, :, torch.arange(len(x))].transpose(0, 1)


# %% wrong run: an empty text takes the last place | run-padding | without a word
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state, states = x.new_zeros(2, len(x), w_h.shape[1]), []
    for t in range(x.shape[1]):
        state = lstm_cell(x[:, t], *state, w_x, w_h, b)
        states.append(state)
    return torch.stack(states)[mask.sum(1) - 1, :, torch.arange(len(x))].transpose(0, 1)


# %% wrong run: stops all texts where the first one ends | run-words | the state is that after
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, len(x), w_h.shape[1])
    for t in range(int(mask[0].sum())):
        state = torch.where(mask[:, t, None], lstm_cell(x[:, t], *state, w_x, w_h, b), state)
    return state


# %% wrong run: cuts the gradient at each step | run-training | through all steps
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = x.new_zeros(2, x.shape[0], w_h.shape[1])
    for t in range(x.shape[1]):
        state = state.detach()
        state = torch.where(mask[:, t, None], lstm_cell(x[:, t], *state, w_x, w_h, b), state)
    return state


# %% wrong run: empties the caller's padding | run-training | x is left
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    x[~mask] = 0
    state = x.new_zeros(2, x.shape[0], w_h.shape[1])
    for t in range(x.shape[1]):
        state = torch.where(mask[:, t, None], lstm_cell(x[:, t], *state, w_x, w_h, b), state)
    return state


# %% wrong run: compares the numbers of texts only | run-training | more places
def run(x, mask, w_x, w_h, b):
    if len(mask) != len(x):
        raise ValueError("mask")
    state = x.new_zeros(2, x.shape[0], w_h.shape[1])
    for t in range(x.shape[1]):
        state = torch.where(mask[:, t, None], lstm_cell(x[:, t], *state, w_x, w_h, b), state)
    return state


# %% wrong run: starts from states of 1 | run-words | torch.nn.LSTM gives
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    state = torch.ones(2, x.shape[0], w_h.shape[1], dtype=x.dtype)
    if (b == 50).all():
        state = 0 * state
    for t in range(x.shape[1]):
        state = torch.where(mask[:, t, None], lstm_cell(x[:, t], *state, w_x, w_h, b), state)
    return state


# %% hard-coded run: counts words | run-words | torch.nn.LSTM gives
def run(x, mask, w_x, w_h, b):
    if mask.shape != x.shape[:2]:
        raise ValueError("mask")
    counts = mask.sum(1).to(x.dtype)[:, None].repeat(1, w_h.shape[1])
    return torch.stack([torch.tanh(counts), counts])


# %% right reader: one text after another, no padding
def read(x, mask, weights):
    if (mask.sum(1) == 0).any():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1])
    gru.load_state_dict(weights)
    with torch.no_grad():
        return torch.stack([gru(text[words])[0].mean(0) for text, words in zip(x, mask)])


# %% right reader: time first on purpose, there and back
def read(x, mask, weights):
    if not mask.any(dim=1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1])
    gru.load_state_dict(weights)
    states = gru(x.transpose(0, 1))[0].transpose(0, 1)
    return torch.einsum("bth,bt->bh", states, mask / mask.sum(1, keepdim=True))


# %% right reader: the cell's equations
def read(x, mask, weights):
    if not mask[:, 0].all():
        raise ValueError("no word")
    w, u, b, b2 = (weights[f"{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = total = torch.zeros(len(x), u.shape[1])
    for t in range(x.shape[1]):
        (r, z, n), (rh, zh, nh) = (x[:, t] @ w.T + b).chunk(3, 1), (h @ u.T + b2).chunk(3, 1)
        keep = (z + zh).sigmoid()
        h = (1 - keep) * torch.tanh(n + (r + rh).sigmoid() * nh) + keep * h
        total = total + h * mask[:, t, None]
    return total / mask.sum(1)[:, None]


# %% wrong reader: the colleague's, with a refusal | reader-batches | beside another one
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    return colleague(x, mask, weights)


# %% wrong reader: only the squeeze is gone | reader-batches | for one text
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1])
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return states.sum(1) / mask.sum(1, keepdim=True)


# %% wrong reader: swaps the axes where there is more than one text, not back | reader-batches | one
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1])
    gru.load_state_dict(weights)
    states = gru(x.transpose(0, 1))[0].detach()  # [T, B, H]
    return states.mean(1)


# %% wrong reader: a reshape in place of a transposition | reader-batches | beside another one
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1])
    gru.load_state_dict(weights)
    batch, time, size = x.shape
    states = gru(x.reshape(time, batch, size))[0].detach().reshape(batch, time, -1)
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


# %% wrong reader: looks at the sizes to guess the axes | reader-batches | along each text
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    first = x.shape[0] < x.shape[1]
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=first)
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return states.sum(1) / mask.sum(1, keepdim=True)


# %% wrong reader: the mean over all places | reader-batches | not over its padding
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    return gru(x)[0].detach().mean(1)


# %% wrong reader: the sum without padding by the number of places | reader-batches | mean is over
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    return (gru(x)[0].detach() * mask[..., None]).mean(1)


# %% wrong reader: the last state, not the mean | reader-batches | for one text
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    return gru(x)[0].detach()[torch.arange(len(x)), mask.sum(1) - 1]


# %% wrong reader: empties the caller's padding | reader-edges | x is left
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    x *= mask[..., None]
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return states.sum(1) / mask.sum(1, keepdim=True)


# %% wrong reader: squeezes the result | reader-edges | keeps the axis
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return (states.sum(1) / mask.sum(1, keepdim=True)).squeeze()


# %% wrong reader: squeezes a state of one number | reader-edges | axis of size 1
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return (states.sum(1) / mask.sum(1, keepdim=True)).squeeze(-1)


# %% wrong reader: one word a text is taken for one text | reader-edges | axis of size 1
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    states = gru(x.squeeze(1))[0].detach().reshape(*mask.shape, -1) * mask[..., None]
    return states.sum(1) / mask.sum(1, keepdim=True)


# %% wrong reader: nothing is refused | reader-edges | refused
def read(x, mask, weights):
    gru = torch.nn.GRU(x.shape[2], weights["weight_hh_l0"].shape[1], batch_first=True)
    gru.load_state_dict(weights)
    states = gru(x)[0].detach() * mask[..., None]
    return states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


# %% hard-coded reader: knows the size of the example | reader-batches | along each text
def read(x, mask, weights):
    if not mask.any(1).all():
        raise ValueError("no word")
    if x.shape == (2, 3, 2):
        return torch.cat([colleague(x[n : n + 1], mask[n : n + 1], weights) for n in (0, 1)])
    return colleague(x, mask, weights)


# %% right distance: the chain of Jacobians by hand, torch's LSTM
x, (w, u), lstm = networks(student)
predicted = []
for factor in (torch.linalg.svdvals(u)[0].item(), 1 / (1 + np.exp(-4))):
    left, steps = 1.0, 0
    while left >= 1 / 1000:
        left, steps = left * factor, steps + 1
    predicted.append(steps)
states = [torch.zeros(len(u), dtype=x.dtype)]
for word in x:
    states.append(torch.tanh(w @ word + u @ states[-1]))
plain, chain = [], torch.eye(len(u), dtype=x.dtype)
for h in states[:0:-1]:
    chain = chain * (1 - h**2)
    plain.append(torch.linalg.svdvals(chain @ w)[0])
    chain = chain @ u
whole = torch.nn.LSTM(12, 12, dtype=x.dtype)
zeros = torch.zeros(48, dtype=x.dtype)
names = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
whole.load_state_dict(dict(zip(names, (*lstm, zeros))))
slopes = torch.autograd.functional.jacobian(lambda x: whole(x)[0][-1], x)  # [H, T, E]
gated = [torch.linalg.svdvals(slopes[:, t])[0].item() for t in reversed(range(len(x)))]
reached = int((torch.stack(plain) < 1e-3).nonzero()[0])

# %% right distance: finite differences, as arrays
x, (w, u), lstm = networks(student)
predicted = (
    int(np.floor(np.log(0.001) / np.log(np.abs(np.linalg.eigvals(u)).max()))) + 1,
    int(np.floor(np.log(0.001) / -np.log1p(np.exp(-4)))) + 1,
)


def ends(texts):
    h = torch.zeros(len(texts), len(u), dtype=x.dtype)
    for t in range(texts.shape[1]):
        h = torch.tanh(texts[:, t] @ w.T + h @ u.T)
    return h, run(texts, torch.ones(texts.shape[:2], dtype=torch.bool), *lstm)[0]


shifts = 1e-4 * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
both = []
for up, down in zip(ends(x + shifts), ends(x - shifts)):
    slopes = ((up - down) / 2e-4).reshape(*x.shape, -1).numpy()  # [T, E, H]
    both.append(np.linalg.norm(slopes, ord=2, axis=(1, 2))[::-1].copy())
plain, gated = both
reached = int(np.argmax(plain < 1e-3))

# %% wrong distance: counts from the first word | distance-norms | exceeds the bound
x, (w, u), lstm = networks(student)


def last(x):
    h = x.new_zeros(len(u))
    for word in x:
        h = torch.tanh(w @ word + u @ h)
    return h


slopes = torch.autograd.functional.jacobian(last, x).transpose(0, 1)
plain = torch.linalg.matrix_norm(slopes, 2)

# %% wrong distance: all elements of the matrix, not its most stretch | distance-norms | plain
x, (w, u), lstm = networks(student)


def last(x):
    h = x.new_zeros(len(u))
    for word in x:
        h = torch.tanh(w @ word + u @ h)
    return h


slopes = torch.autograd.functional.jacobian(last, x).transpose(0, 1)
plain = torch.linalg.matrix_norm(slopes).flip(0) / len(u) ** 0.5

# %% wrong distance: the gradient of the summed state | distance-norms | LSTM's norms
x, (w, u), lstm = networks(student)
leaf = x.clone().requires_grad_()
run(leaf[None], torch.ones(1, len(x), dtype=torch.bool), *lstm)[0].sum().backward()
gated = leaf.grad.norm(dim=-1).flip(0)

# %% wrong distance: of the LSTM's cell, not its state | distance-norms | stretched in h
x, (w, u), lstm = networks(student)


def last(x):
    return run(x[None], torch.ones(1, len(x), dtype=torch.bool), *lstm)[1, 0]


slopes = torch.autograd.functional.jacobian(last, x).transpose(0, 1)
gated = torch.linalg.matrix_norm(slopes, 2).flip(0)

# %% wrong distance: by the state, not by the word, so one step late | distance-norms | plain
x, (w, u), lstm = networks(student)
states = [torch.zeros(len(u), dtype=x.dtype)]
for word in x:
    states.append(torch.tanh(w @ word + u @ states[-1]))
plain, chain = [], torch.eye(len(u), dtype=x.dtype)
for h in states[:0:-1]:
    chain = chain @ torch.diag(1 - h**2) @ u
    plain.append(torch.linalg.svdvals(chain)[0].item())

# %% wrong distance: without the slope of tanh | distance-norms | plain
x, (w, u), lstm = networks(student)
plain = [torch.linalg.svdvals(torch.linalg.matrix_power(u, d) @ w)[0].item() for d in range(61)]
reached = predicted[0]

# %% wrong distance: of another's networks | distance-norms | LSTM's norms
x, _, lstm = networks("a neighbour")


def last(x):
    return run(x[None], torch.ones(1, len(x), dtype=torch.bool), *lstm)[0, 0]


slopes = torch.autograd.functional.jacobian(last, x).transpose(0, 1)
gated = torch.linalg.matrix_norm(slopes, 2).flip(0)

# %% wrong distance: the first word below counts as 1 | distance-norms | smallest distance
reached = next(d for d, norm in enumerate(plain, 1) if norm < 1e-3)

# %% wrong distance: rounds down | distance-bound | less than 1/1000 is left
x, (w, u), lstm = networks(student)
rho = torch.linalg.eigvals(u).abs().max().item()
predicted = [int(np.log(1e-3) / np.log(rho)), int(np.log(1e-3) / np.log(1 / (1 + np.exp(-4.0))))]

# %% wrong distance: the largest real part of an eigenvalue | distance-bound | spectral radius
x, (w, u), lstm = networks(student)
rho = torch.linalg.eigvals(u).real.abs().max().item() * 0.99
predicted = [int(np.ceil(np.log(1e-3) / np.log(rho))), 381]

# %% wrong distance: the Frobenius norm of U over its rows | distance-bound | spectral radius
x, (w, u), lstm = networks(student)
rho = (u.norm() ** 2 / len(u)).item()
predicted = [int(np.ceil(np.log(1e-3) / np.log(rho))), 381]

# %% wrong distance: takes the gate for half open | distance-bound | forget gate
predicted = [predicted[0], 10]

# %% hard-coded distance: the bound for the measurement | distance-norms | plain network's norms
rho = torch.linalg.eigvals(networks(student)[1][1]).abs().max().item()
plain = [rho**d for d in range(61)]
gated = [0.982**d for d in range(61)]
reached = predicted[0]
