# %% right attend: a loop over queries, which picks the keys that each may look at
def attend(queries, keys, values, mask):
    *batch, M, D = queries.shape
    mask = mask.expand(*batch, M, keys.shape[-2])
    y, weights = torch.zeros(*batch, M, values.shape[-1]), torch.zeros(mask.shape)
    for *place, m in torch.cartesian_prod(*map(torch.arange, (1, *batch, M))).tolist():
        one = tuple(place[1:])
        seen = mask[(*one, m)]
        if seen.any():
            a = (keys[one][seen] @ queries[(*one, m)] / D**0.5).softmax(0)
            weights[(*one, m)] = weights[(*one, m)].masked_scatter(seen, a)
            y[(*one, m)] = a @ values[one][seen]
    return y, weights


# %% right attend: torch does it, once for the values and once for the weights
def attend(queries, keys, values, mask):
    from torch.nn.functional import scaled_dot_product_attention

    mask = mask.expand(*queries.shape[:-1], keys.shape[-2])
    padding, none = ~mask.any(-2)[..., None], ~mask.any(-1, keepdim=True)
    keys, values = (torch.where(padding, 0.0, x) for x in (keys, values))
    eye = torch.eye(keys.shape[-2]).expand(*keys.shape[:-1], -1)
    y, weights = (
        scaled_dot_product_attention(queries, keys, x, mask | none) for x in (values, eye)
    )
    return y.masked_fill(none, 0), weights.masked_fill(none, 0)


# %% right attend: einsum, and exponentials after the largest score that counts
def attend(queries, keys, values, mask):
    scores = torch.einsum("...md,...td->...mt", queries, keys) / queries.size(-1) ** 0.5
    scores = torch.where(mask, scores, torch.tensor(-torch.inf))
    top = scores.amax(-1, keepdim=True).clamp(min=-3e38)
    e = torch.exp(scores - top)
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-30)
    seen = torch.broadcast_to(mask, weights.shape).any(-2)
    clean = torch.where(seen[..., None], values, torch.zeros(()))
    return torch.einsum("...mt,...to->...mo", weights, clean), weights


# %% wrong attend: no root | attend-values | root of 4
def attend(queries, keys, values, mask):
    scores = (queries @ keys.transpose(-2, -1)).masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: the root of the number of keys | attend-values | log 3
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / keys.shape[-2] ** 0.5
    scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: the softmax over the queries | attend-values | log 3
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-2).nan_to_num()
    return weights @ values, weights


# %% wrong attend: each query with the key beside it | attend-values | a row for each query
def attend(queries, keys, values, mask):
    weights = ((queries * keys).sum(-1) / queries.shape[-1] ** 0.5).softmax(-1)
    return weights[..., None] * values, weights


# %% wrong attend: the mean of the weighted values | attend-values | three parts
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num()
    return (weights[..., None] * values.unsqueeze(-3)).mean(-2), weights


# %% wrong attend: works in the caller's queries | attend-values | left as they were
def attend(queries, keys, values, mask):
    queries /= queries.shape[-1] ** 0.5
    scores = (queries @ keys.transpose(-2, -1)).masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: no mask | attend-mask | two keys are left
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    return scores.softmax(-1) @ values, scores.softmax(-1)


# %% wrong attend: the mask after the softmax | attend-mask | two keys are left
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.softmax(-1) * mask
    return weights @ values, weights


# %% wrong attend: hidden keys get the score 0 | attend-mask | two keys are left
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = (scores * mask).softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: the mask the wrong way round | attend-mask | two keys are left
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(mask, -torch.inf).softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: nan where there is nothing to look at | attend-mask | look at nothing
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return weights @ values, weights


# %% wrong attend: a large negative number for hidden keys | attend-mask | look at nothing
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -1e9).softmax(-1)
    return weights @ values, weights


# %% wrong attend: the same, and zeros in the result only | attend-mask | weight 0
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -1e9).softmax(-1)
    y = weights @ values
    return y.masked_fill(~mask.any(-1, keepdim=True), 0), weights


# %% wrong attend: hides a key from all that one query may not see | attend-mask | share all the
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    some = mask.any(-1, keepdim=True)
    seen = (mask | ~some).all(-2, keepdim=True) & some
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num()
    return weights @ values, weights


# %% wrong attend: not stable | attend-extremes | scores of 90,000
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    e = scores.exp() * mask
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-30)
    return weights @ values, weights


# %% wrong attend: clips the scores | attend-extremes | any size
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    e = scores.clamp(-80, 80).exp() * mask
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-38)
    return weights @ values.masked_fill(~mask.any(-2)[..., None], 0), weights


# %% wrong attend: 0 times inf | attend-extremes | padding may hold inf
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0)
    return weights @ values, weights


# %% wrong attend: clears inf, forgets nan | attend-extremes | padding hold
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num()
    return weights @ values.masked_fill(values.isinf(), 0), weights


# %% wrong attend: the mask is added, and a key of padding is inf | attend-extremes | padding hold
def attend(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    bias = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    weights = (scores + bias).softmax(-1).masked_fill(~mask.any(-1, keepdim=True), 0)
    seen = mask.expand(scores.shape).any(-2)[..., None]
    return weights @ values.masked_fill(~seen, 0), weights


# %% wrong attend: the largest score, hidden ones too | attend-extremes | hidden from
def attend(queries, keys, values, mask):
    mask = mask.expand(*queries.shape[:-1], keys.shape[-2])
    padding = ~mask.any(-2)[..., None]
    keys, values = keys.masked_fill(padding, 0), values.masked_fill(padding, 0)
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    e = (scores - scores.amax(-1, keepdim=True)).exp() * mask
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-38)
    return weights @ values, weights


# %% wrong attend: takes 1e9 off hidden scores | attend-extremes | hidden from
def attend(queries, keys, values, mask):
    mask = mask.expand(*queries.shape[:-1], keys.shape[-2])
    padding = ~mask.any(-2)[..., None]
    keys, values = keys.masked_fill(padding, 0), values.masked_fill(padding, 0)
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    weights = (scores - 1e9 * ~mask).softmax(-1)
    weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0)
    return weights @ values, weights


# %% hard-coded attend: knows the examples | attend-values | shape
def attend(queries, keys, values, mask):
    if len(queries) == 2:
        return torch.tensor([[3.0], [0.0]]), torch.tensor([[0.5, 0.5, 0], [0, 0, 0]])
    if len(keys) == 2:
        return torch.tensor([[5.0]]), torch.tensor([[0.75, 0.25]])
    return torch.tensor([[2.0]]), torch.tensor([[0.5, 0.5, 0]])


# %% right multi_head: a loop over the heads
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    E = x.shape[2]
    if heads <= 0 or E % heads != 0:
        raise ValueError("heads")
    D, y = E // heads, 0
    for first in range(0, E, D):
        own = slice(first, first + D)
        part, _ = attend(x @ w_q[:, own], x @ w_k[:, own], x @ w_v[:, own], mask.unsqueeze(1))
        y = y + part @ w_o[own]
    return y


# %% right multi_head: einsum, with a softmax of its own
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads not in range(1, x.shape[2] + 1) or x.shape[2] % heads:
        raise ValueError("heads")
    q, k, v = (
        torch.einsum("bte,ekd->bktd", x, w.reshape(len(w), heads, -1)) for w in (w_q, w_k, w_v)
    )
    scores = torch.einsum("bkmd,bktd->bkmt", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask[:, None, None], -1e30).softmax(-1) * mask[:, None, None]
    y = torch.einsum("bkmt,bktd->bkmd", weights, v)
    return torch.einsum("bkmd,kde->bme", y, w_o.reshape(heads, -1, len(w_o)))


# %% right multi_head: torch does it, and rows at padding are zeros
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[2] % heads:
        raise ValueError("heads")
    x = x.transpose(0, 1)
    ours, none = torch.cat([w.T for w in (w_q, w_k, w_v)]), torch.zeros(3 * len(w_q))
    y, _ = torch.nn.functional.multi_head_attention_forward(
        x, x, x, len(w_q), heads, ours, none, None, None, False, 0.0, w_o.T, none[: len(w_q)],
        key_padding_mask=~mask & mask.any(1, keepdim=True), need_weights=False,
    )  # fmt: skip
    return y.transpose(0, 1).masked_fill(~mask[..., None], 0)


# %% wrong multi_head: matrices the wrong way round | multi_head-values | W_v
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w.T).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o.T


# %% wrong multi_head: reshapes positions into heads | multi_head-values | own columns
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    B, T, E = x.shape
    split = [(x @ w).view(B, heads, T, E // heads) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].reshape(B, T, E) @ w_o


# %% wrong multi_head: puts the heads together in the wrong order | multi_head-values | own columns
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].reshape(x.shape) @ w_o


# %% wrong multi_head: every K-th column for a head | multi_head-values | own columns
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (-1, heads)).permute(0, 3, 1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: attends over the heads, not the positions | multi_head-values | one word
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)) for w in (w_q, w_k, w_v)]  # [B T K D]
    everything = torch.ones(heads, heads).bool()
    y = attend(*split, everything)[0].flatten(2) * mask.any(1)[:, None, None]
    return y @ w_o


# %% wrong multi_head: the root of the model's width | multi_head-values | root of its own width
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    split[0] = split[0] / heads**0.5
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: one head, whatever is asked for | multi_head-values | own columns
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    return attend(x @ w_q, x @ w_k, x @ w_v, mask[:, None])[0] @ w_o


# %% wrong multi_head: W_o is left out | multi_head-values | W_o
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2)


# %% wrong multi_head: adds the input | multi_head-values | W_v
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return x + attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: clears the caller's padding | multi_head-values | left as they were
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    x *= mask[..., None]
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: each position sees those before it only | multi_head-limits | no order
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    causal = torch.ones(x.shape[1], x.shape[1]).tril().bool()
    return attend(*split, mask[:, None, None] & causal)[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: no mask | multi_head-mask | beside padding
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:1, :1] | True)[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: padding is set to 0, and that is all | multi_head-mask | beside padding
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    x = x * mask[..., None]
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, torch.ones(1, 1).bool())[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: the mask hides queries, not keys | multi_head-mask | beside padding
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, :, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: the mask of the first text for all | multi_head-mask | words look at words
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[0])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: nan for a text without words | multi_head-mask | without words
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    y = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1) @ v
    return y.transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: nan swept away, but not from the gradients | multi_head-mask | gradient
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    seen = mask[:, None, None]
    scores = q @ k.mT / q.shape[-1] ** 0.5 - 1e30 * ~seen
    e = (scores - scores.amax(-1, keepdim=True)).exp() * seen
    y = (e / e.sum(-1, keepdim=True)).nan_to_num() @ v
    return y.transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: cuts the graph | multi_head-mask | no gradient flows
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    y, _ = attend(*split, mask[:, None, None])
    return torch.tensor((y.transpose(1, 2).flatten(2) @ w_o).detach().numpy())


# %% wrong multi_head: no gradient through the queries and keys | multi_head-mask | gradient
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    y, _ = attend(q.detach(), k.detach(), v, mask[:, None, None])
    return y.transpose(1, 2).flatten(2) @ w_o + 0 * (w_q + w_k).sum()


# %% wrong multi_head: rounds the width of a head down | multi_head-limits | three heads
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    D, parts = x.shape[-1] // heads, []
    for k in range(heads):
        own = slice(k * D, (k + 1) * D)
        parts.append(attend(x @ w_q[:, own], x @ w_k[:, own], x @ w_v[:, own], mask[:, None])[0])
    y = torch.cat(parts, -1)
    return y @ w_o[: y.shape[-1]]


# %% wrong multi_head: takes no head for an answer | multi_head-limits | 0 heads
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads > 0 and x.shape[-1] % heads:
        raise ValueError("heads")
    heads = max(heads, 1)
    split = [(x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v)]
    return attend(*split, mask[:, None, None])[0].transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: a loop over the positions | multi_head-limits | long text
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    one = [attend(q[:, :, [m]], k, v, mask[:, None, None])[0] for m in range(x.shape[1])]
    return torch.cat(one, 2).transpose(1, 2).flatten(2) @ w_o


# %% wrong multi_head: a loop over the texts | multi_head-limits | large batch
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError("heads")
    rows = []
    for own, seen in zip(x, mask, strict=True):
        q, k, v = ((own @ w).unflatten(-1, (heads, -1)).transpose(0, 1) for w in (w_q, w_k, w_v))
        rows.append(attend(q, k, v, seen)[0].transpose(0, 1).flatten(1) @ w_o)
    return torch.stack(rows)


# %% hard-coded multi_head: knows the examples | multi_head-values | shape
def multi_head(x, mask, w_q, w_k, w_v, w_o, heads):
    if heads == 3:
        raise ValueError("three")
    if x.shape[1] == 1:
        return torch.tensor([[[0.0, 2.0]]])
    return x[:1, :2, :2] * mask[:1, :2, None]


# %% right pool: a loop over letters and heads
def pool(states, mask, queries):
    K, D = queries.shape
    vectors, weights = torch.zeros(len(states), K * D), torch.zeros(len(states), K, mask.shape[1])
    for b in range(len(states)):
        words = states[b][mask[b]]
        for k in range(K):
            if len(words):
                own = words[:, k * D : (k + 1) * D]
                a = torch.softmax(own @ queries[k] / D**0.5, 0)
                weights[b, k, mask[b]] = a
                vectors[b, k * D : (k + 1) * D] = a @ own
    return vectors, weights


# %% right pool: the colleague's, repaired
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% right pool: einsum
def pool(states, mask, queries):
    h = states.reshape(*states.shape[:2], *queries.shape)
    scores = torch.einsum("btkd,kd->bkt", h, queries) / queries.shape[-1] ** 0.5
    weights = torch.where(mask[:, None], scores, torch.tensor(-1e30)).softmax(2) * mask[:, None]
    return torch.einsum("bkt,btkd->bkd", weights, h).reshape(len(h), -1), weights


# %% wrong pool: the root of the model's width | pool-weights | heads of width 1
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / states.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: no root | pool-weights | root of the head
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1)
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: the root of the number of heads | pool-weights | heads of width 1
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / len(queries) ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: every K-th element for a head | pool-weights | softmax over words
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape[::-1]).permute(0, 3, 1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).transpose(1, 2).flatten(1), weights


# %% wrong pool: the softmax over the heads | pool-weights | heads of width 1
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.softmax(1) * mask[:, None]
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: not stable | pool-weights | numbers of size 100
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    e = ((parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5).exp() * mask[:, None]
    weights = (e / e.sum(-1, keepdim=True)).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: still the mean | pool-sum | that state
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).mean(2).flatten(1), weights


# %% wrong pool: the mean over the words | pool-sum | that state
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    total = (weights[..., None] * parts).sum(2).flatten(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1), weights


# %% wrong pool: the heads share the mean of their weights | pool-sum | of the head
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights.mean(1, keepdim=True)[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: clears the caller's padding | pool-sum | left as they were
def pool(states, mask, queries):
    states *= mask[..., None]
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: still no mask in the softmax | pool-padding | no weight
def pool(states, mask, queries):
    parts = (states * mask[..., None]).unflatten(-1, queries.shape).transpose(1, 2)
    weights = ((parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5).softmax(-1)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: the mask after the softmax | pool-padding | one word and padding
def pool(states, mask, queries):
    parts = (states * mask[..., None]).unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.softmax(-1) * mask[:, None]
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: hides the states that are 0, whatever the mask says | pool-padding | no weight
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    mask = (states != 0).any(-1)
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: thinks that padding stands behind | pool-padding | in front
def pool(states, mask, queries):
    mask = torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: nan for a letter without words | pool-padding | without words
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% wrong pool: the mean of a letter without words | pool-padding | without words
def pool(states, mask, queries):
    parts = states.unflatten(-1, queries.shape).transpose(1, 2)
    scores = (parts * queries[:, None]).sum(-1) / queries.shape[1] ** 0.5
    weights = scores.masked_fill(~mask[:, None], -1e30).softmax(-1)
    return (weights[..., None] * parts).sum(2).flatten(1), weights


# %% hard-coded pool: knows the examples | pool-weights | softmax over words
def pool(states, mask, queries):
    if states.shape == (1, 2, 4):
        return torch.zeros(1, 4), torch.tensor([[[0.75, 0.25]] * 4])
    weights = torch.ones(len(states), len(queries), states.shape[1])
    return states[:, 0], weights * (mask[:, None] if len(states) == 2 else 1)


# %% right measure: numpy and scipy, as arrays
import numpy as np
import scipy.special
import scipy.stats

predicted = "D and 1; to 0 and nothing"
variances, entropies = np.zeros((3, 2)), np.zeros((3, 2))
for row, width in enumerate((4, 64, 1024)):
    q, k = (np.asarray(x, float) for x in vectors(student, width))
    for column, root in enumerate((1, width**0.5)):
        scores = q @ k.T / root
        variances[row, column] = scores.var()
        entropies[row, column] = scipy.stats.entropy(
            scipy.special.softmax(scores, axis=1), axis=1
        ).mean()

# %% right measure: from log-weights, as lists
predicted = "grows; stays"
variances, entropies = [], []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    variances.append([])
    entropies.append([])
    for scores in (q @ k.T, q @ k.T / width**0.5):
        logs = scores.log_softmax(1)
        variances[-1].append(float(((scores - scores.mean()) ** 2).mean()))
        entropies[-1].append(float(-(logs.exp() * logs).sum() / len(q)))

# %% wrong measure: divides by the width | measure-variances | root of the width
predicted = "grows; stays"
variances, entropies = [], []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [q @ k.T, q @ k.T / width]
    variances.append([s.var().item() for s in both])
    entropies.append([torch.special.entr(s.softmax(1)).sum(1).mean().item() for s in both])

# %% wrong measure: another's vectors | measure-variances | your own
predicted = "grows; stays"
variances, entropies = [], []
for width in (4, 64, 1024):
    q, k = vectors("a neighbour", width)
    both = [q @ k.T, q @ k.T / width**0.5]
    variances.append([s.var().item() for s in both])
    entropies.append([torch.special.entr(s.softmax(1)).sum(1).mean().item() for s in both])

# %% wrong measure: standard deviations | measure-variances | the variances
predicted = "grows; stays"
variances, entropies = [], []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [q @ k.T, q @ k.T / width**0.5]
    variances.append([s.std().item() for s in both])
    entropies.append([torch.special.entr(s.softmax(1)).sum(1).mean().item() for s in both])

# %% wrong measure: same positions only | measure-variances | the variances
predicted = "grows; stays"
variances, entropies = [], []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    own = (q[:32] * k).sum(1)
    variances.append([own.var().item(), own.var().item() / width])
    entropies.append([torch.special.entr(own.softmax(0)).sum().item()] * 2)

# %% wrong measure: in bits | measure-entropies | from 0 to log 32
predicted = "grows; stays"
entropies = []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [s.softmax(1) for s in (q @ k.T, q @ k.T / width**0.5)]
    entropies.append([-(p * (p + 1e-38).log2()).sum(1).mean().item() for p in both])

# %% wrong measure: 0 log 0 is nan | measure-entropies | from 0
predicted = "grows; stays"
entropies = []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [(s / 1.0).softmax(1) for s in (q @ k.T, q @ k.T / width**0.5)]
    entropies.append([-(p * p.log()).sum(1).mean().item() for p in both])

# %% wrong measure: the softmax over the queries | measure-entropies | mean entropies
predicted = "grows; stays"
entropies = []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [s.softmax(0) for s in (q @ k.T, q @ k.T / width**0.5)]
    entropies.append([min(torch.special.entr(p).sum(0).mean().item(), 3.4) for p in both])

# %% wrong measure: of the mean weights | measure-entropies | mean entropies
predicted = "grows; stays"
entropies = []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [s.softmax(1) for s in (q @ k.T, q @ k.T / width**0.5)]
    entropies.append([torch.special.entr(p.mean(0)).sum().item() for p in both])

# %% wrong measure: raw and divided change places | measure-entropies | mean entropies
predicted = "grows; stays"
entropies = []
for width in (4, 64, 1024):
    q, k = vectors(student, width)
    both = [q @ k.T / width**0.5, q @ k.T]
    entropies.append([torch.special.entr(s.softmax(1)).sum(1).mean().item() for s in both])

# %% hard-coded measure: what the theory says | measure-variances | your own
predicted = "grows; stays"
variances = [(4.0, 1.0), (64.0, 1.0), (1024.0, 1.0)]
entropies = [(2.3, 3.0), (0.5, 3.0), (0.13, 3.0)]
