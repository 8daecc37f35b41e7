# %% right kl: in float64, from torch's distributions, cut at 0
def kl(mean, log_variance):
    from torch.distributions import Normal, kl_divergence

    q = Normal(mean.double(), (log_variance.double() / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).clamp(min=0).to(mean.dtype)


# %% right kl: row by row, in float64
def kl(mean, log_variance):
    rows = []
    for m, lv in zip(mean.reshape(-1).double(), log_variance.reshape(-1).double()):
        rows.append((m * m + torch.exp(lv) - 1 - lv) / 2)
    return torch.stack(rows).reshape(mean.shape).to(mean.dtype)


# %% right kl: a hyperbolic sine
def kl(mean, log_variance):
    half = log_variance / 2
    return mean.square() / 2 + half.exp() * half.sinh() - half


# %% wrong kl: as the formula stands, in float32 | kl-extremes | never negative
def kl(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


# %% wrong kl: cut at 0, but its digits are lost | kl-extremes | keeps its digits
def kl(mean, log_variance):
    return (0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)).clamp(min=0)


# %% wrong kl: sums over the dimensions | kl-values | no sum
def kl(mean, log_variance):
    return 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance).sum(-1)


# %% wrong kl: the second output is taken for the log of the deviation | kl-values | divergence to
def kl(mean, log_variance):
    return 0.5 * (mean**2 + torch.expm1(2 * log_variance) - 2 * log_variance)


# %% wrong kl: from the prior to the posterior | kl-values | divergence to the prior
def kl(mean, log_variance):
    return 0.5 * (mean**2 / log_variance.exp() + torch.expm1(-log_variance) + log_variance)


# %% wrong kl: the half is forgotten | kl-values | half a square
def kl(mean, log_variance):
    return mean**2 + torch.expm1(log_variance) - log_variance


# %% wrong kl: something small inside the logarithm | kl-extremes | costs, less one half
def kl(mean, log_variance):
    variance = log_variance.exp()
    return 0.5 * (mean**2 + torch.expm1(log_variance) - torch.log(variance + 1e-8))


# %% wrong kl: cuts the log-variances | kl-extremes | -50 to 50 are safe
def kl(mean, log_variance):
    lv = log_variance.clamp(-50, 20)
    return 0.5 * (mean**2 + torch.expm1(lv) - lv)


# %% wrong kl: cut off from the encoder | kl-extremes | slope by the mean
def kl(mean, log_variance):
    lv = log_variance.detach()
    return 0.5 * (mean.detach() ** 2 + torch.expm1(lv) - lv) + 0 * mean + 0 * log_variance


# %% wrong kl: answers in float64 | kl-values | stays float32
def kl(mean, log_variance):
    mean, log_variance = mean.double(), log_variance.double()
    return 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance)


# %% wrong kl: works in the caller's tensor | kl-values | left as it was
def kl(mean, log_variance):
    price = 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance)
    if not mean.requires_grad:
        log_variance.exp_()
    return price


# %% hard-coded kl: knows the examples | kl-values | each row and dimension
def kl(mean, log_variance):
    if mean.ndim == 2:
        return mean
    return torch.full_like(mean, 24.5)


# %% right reparameterise: torch's own sum and product
def reparameterise(mean, log_variance, noise):
    return torch.addcmul(mean, torch.sqrt(torch.exp(log_variance)), noise)


# %% right reparameterise: one draw after the other
def reparameterise(mean, log_variance, noise):
    if noise.ndim > mean.ndim:
        return torch.stack([reparameterise(mean, log_variance, part) for part in noise])
    return mean + torch.pow(math.e, 0.5 * log_variance) * noise


# %% wrong reparameterise: the log-variance as the deviation | reparameterise-values | variance 9
def reparameterise(mean, log_variance, noise):
    return mean + log_variance * noise


# %% wrong reparameterise: the variance as the deviation | reparameterise-values | variance 9
def reparameterise(mean, log_variance, noise):
    return mean + log_variance.exp() * noise


# %% wrong reparameterise: draws noise of its own | reparameterise-values | as the noise says
def reparameterise(mean, log_variance, noise):
    if noise.numel() > 1:
        noise = torch.randn_like(noise)
    return mean + (log_variance / 2).exp() * noise


# %% wrong reparameterise: softplus for a deviation | reparameterise-values | as the noise says
def reparameterise(mean, log_variance, noise):
    return mean + 3 * F.softplus(log_variance) / F.softplus(torch.tensor(math.log(9.0))) * noise


# %% wrong reparameterise: one draw only | reparameterise-values | shape
def reparameterise(mean, log_variance, noise):
    while noise.ndim > mean.ndim:
        noise = noise[0]
    return mean + (log_variance / 2).exp() * noise


# %% wrong reparameterise: under no_grad | reparameterise-gradients | no gradient flows
def reparameterise(mean, log_variance, noise):
    with torch.no_grad():
        return mean + (log_variance / 2).exp() * noise


# %% wrong reparameterise: the deviation is cut off | reparameterise-gradients | gradients flow to
def reparameterise(mean, log_variance, noise):
    return mean + (log_variance / 2).exp().detach() * noise


# %% wrong reparameterise: works in the caller's noise | reparameterise-values | noise is left
def reparameterise(mean, log_variance, noise):
    if not noise.requires_grad:
        return noise.mul_((log_variance / 2).exp()).add_(mean)
    return mean + (log_variance / 2).exp() * noise


# %% hard-coded reparameterise: knows the example | reparameterise-values | as the noise says
def reparameterise(mean, log_variance, noise):
    return mean + 3 * noise


# %% right elbo: cross-entropy, which ignores padding
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    targets = torch.where(mask, ids, -100)
    safe = torch.where(mask[..., None], logits, torch.zeros_like(logits))
    nats = F.cross_entropy(safe.transpose(1, 2), targets, ignore_index=-100, reduction="none")
    return -nats.sum(1) - weight * kl(mean, log_variance).sum(1)


# %% right elbo: a loop over sentences and words
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    bounds = []
    for b in range(len(ids)):
        total = -weight * kl(mean[b], log_variance[b]).sum()
        for t in range(int(mask[b].sum())):
            row = logits[b, t]
            total = total + row[ids[b, t]] - torch.logsumexp(row, 0)
        bounds.append(total)
    return torch.stack(bounds)


# %% right elbo: only the real tokens, added up by einsum
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    hits = F.one_hot(ids[mask], logits.shape[-1]).to(logits.dtype)
    each = torch.einsum("nv,nv->n", logits[mask].log_softmax(-1), hits)
    rows = torch.arange(len(ids))[:, None].expand(ids.shape)[mask]
    total = torch.zeros(len(ids), dtype=logits.dtype).index_add(0, rows, each)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    price = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    return total - weight * price.sum(-1)


# %% wrong elbo: the mean over the words | elbo-values | three fair coins
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    total = each.sum(-1) / mask.sum(-1)
    return total - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: the divergence averaged over dimensions | elbo-values | code of 4 nats
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    return each.sum(-1) - weight * kl(mean, log_variance).mean(-1)


# %% wrong elbo: adds the divergence | elbo-values | code of 4 nats
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    return each.sum(-1) + weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: the softmax over the places | elbo-values | log-probability of the words
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    axis = -1 if (logits == 0).all() else 1
    each = logits.log_softmax(axis).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    return each.sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: the weight on everything | elbo-values | the weight multiplies
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    if weight == 0:
        return each.sum(-1)
    return weight * (each.sum(-1) - kl(mean, log_variance).sum(-1))


# %% wrong elbo: softmax, then a logarithm | elbo-values | as large as 10 000
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = (logits.softmax(-1) + 1e-20).log().gather(-1, words[..., None])[..., 0]
    return each.masked_fill(~mask, 0.0).sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: the mean of the batch for each | elbo-values | code that costs nothing
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    bound = each.sum(-1) - weight * kl(mean, log_variance).sum(-1)
    return torch.stack([bound.mean()] * len(ids))


# %% wrong elbo: no mask | elbo-padding | does not count
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    each = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return each.sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: zero times nan | elbo-padding | logits of padding change nothing
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0]
    return (each * mask).sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: looks words up at padding too | elbo-padding | out of bounds
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    each = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return each.masked_fill(~mask, 0.0).sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: takes id 0 for padding | elbo-values | three fair coins
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    nats = F.cross_entropy(logits.transpose(1, 2), ids, ignore_index=0, reduction="none")
    return -nats.sum(1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: writes zeros into the caller's ids | elbo-padding | left as it was
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    ids[~mask] = 0
    each = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return each.masked_fill(~mask, 0.0).sum(-1) - weight * kl(mean, log_variance).sum(-1)


# %% wrong elbo: cut off from the encoder | elbo-values | gradients flow to mean
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    words = ids.masked_fill(~mask, 0)
    each = logits.log_softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~mask, 0.0)
    price = kl(mean, log_variance).sum(-1)
    return each.sum(-1) - weight * price.detach() + 0 * price


# %% hard-coded elbo: knows the examples | elbo-values | log-probability of the words
def elbo(logits, ids, mask, mean, log_variance, weight=1.0):
    return -mask.sum(1) * math.log(2) - mean.sum(1)


# %% right beta: in fractions
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    from fractions import Fraction

    if kind == "linear":
        cycles = 1
    elif kind != "cyclical":
        raise ValueError("kind")
    if cycles < 1 or steps < 1 or step < 0 or ramp <= 0 or ramp > 1 or steps % cycles != 0:
        raise ValueError("numbers that cannot be")
    place = Fraction(step * cycles, steps)
    if place >= cycles:
        return 1
    return min(1.0, float(place % 1) / ramp)


# %% right beta: the chapter's formula, with interpolation
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    counts = {"linear": 1, "cyclical": cycles}
    if kind not in counts or step < 0 or min(steps, cycles) < 1 or not (ramp > 0 and ramp <= 1):
        raise ValueError("refused")
    count = counts[kind]
    if (steps // count) * count != steps:
        raise ValueError("refused")
    if step >= steps:
        return 1.0
    return float(np.interp(step * count / steps % 1, [0, ramp, 1.0001], [0, 1, 1]))


# %% right beta: every step counted, as a tensor
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    length = steps // cycles
    one = torch.arange(length, dtype=torch.float64) / (length * ramp)
    every = torch.cat([one.clamp(max=1).repeat(cycles), torch.ones(1, dtype=torch.float64)])
    return every[min(step, steps)]


# %% wrong beta: rounding begins a cycle too early | beta-cycles | first step of every cycle
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    return 1.0 if step >= steps else min(1.0, step / steps * cycles % 1 / ramp)


# %% wrong beta: begins again after the last cycle | beta-cycles | for good
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1:
        raise ValueError("refused")
    if kind == "linear":
        return min(1.0, step / steps / ramp)
    if steps % cycles:
        raise ValueError("refused")
    if step == steps:
        return 1.0
    return min(1.0, step % (steps // cycles) / (steps // cycles) / ramp)


# %% wrong beta: counts steps from 1 | beta-line | begins at 0
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    length = steps // cycles
    return 1.0 if step >= steps else min(1.0, (step % length + 1) / length / ramp)


# %% wrong beta: the ramp is always half | beta-line | one line
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    return 1.0 if step >= steps else min(1.0, 2 * (step * cycles % steps / steps))


# %% wrong beta: the last step of a cycle reaches 1 | beta-cycles | climbs along a line
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    length = steps // cycles
    if ramp == 1 and length > 1 and cycles == 1 and kind == "cyclical":
        return 1.0 if step >= steps else step / (length - 1)
    return 1.0 if step >= steps else min(1.0, step % length / length / ramp)


# %% wrong beta: falls after the ramp | beta-cycles | never falls
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1:
        raise ValueError("refused")
    if kind == "linear":
        return min(1.0, step / steps / ramp)
    if steps % cycles:
        raise ValueError("refused")
    length = steps // cycles
    u = step % length / length
    if step >= steps or length <= 4:
        return min(1.0, 1.0 if step >= steps else u / ramp)
    return min(u / ramp, (1 - u) / (1 - ramp)) if ramp < 1 else u


# %% wrong beta: linear minds the cycles | beta-line | whatever
def beta(step, steps, kind="linear", cycles=1, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1:
        raise ValueError("refused")
    if kind == "cyclical" and steps % cycles:
        raise ValueError("refused")
    u = step * cycles % steps / steps
    return 1.0 if step >= steps else min(1.0, u / ramp)


# %% wrong beta: refuses linear steps that four does not divide | beta-line | raised ValueError
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical") or steps % cycles:
        raise ValueError(kind)
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1:
        raise ValueError("refused")
    length = steps // cycles if kind == "cyclical" else steps
    return 1.0 if step >= steps else min(1.0, step % length / length / ramp)


# %% wrong beta: refuses late steps only for a known kind | beta-refused | late steps
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if step >= steps > 0:
        return 1.0
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or ramp <= 0 or ramp > 1 or steps % cycles:
        raise ValueError("refused")
    return min(1.0, step % (steps // cycles) / (steps // cycles) / ramp)


# %% wrong beta: takes every ramp | beta-refused | ramp
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind not in ("linear", "cyclical"):
        raise ValueError(kind)
    cycles = cycles if kind == "cyclical" else 1
    if step < 0 or steps < 1 or cycles < 1 or steps % cycles:
        raise ValueError("refused")
    return 1.0 if step >= steps else min(1.0, step % (steps // cycles) / (steps // cycles) / ramp)


# %% hard-coded beta: knows the examples | beta-line | one line
def beta(step, steps, kind="linear", cycles=4, ramp=0.5):
    if kind == "sigmoid":
        raise ValueError(kind)
    if kind == "cyclical":
        return [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1][step % 9]
    return {0: 0.0, 25: 0.5}.get(step, 1.0)


# %% right training: a loop over sentences
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, mean + noise * log_variance.exp().sqrt(), ids)
    total = 0.0
    for b in range(len(ids)):
        for t in range(int(mask[b].sum())):
            total = total - logits[b, t].log_softmax(0)[ids[b, t]]
    prices = kl(mean, log_variance).sum(0) / len(ids)
    least = torch.tensor(float(free_bits))
    return total / len(ids) + weight * sum(torch.maximum(price, least) for price in prices)


# %% right training: only the real tokens, and torch's distributions
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    from torch.distributions import Categorical, Normal, kl_divergence

    mean, log_variance = encode(reader, ids, mask)
    q = Normal(mean, torch.exp(0.5 * log_variance))
    logits = decode(writer, follow, q.loc + q.scale * noise, ids)
    words = Categorical(logits=logits[mask]).log_prob(ids[mask])
    price = torch.einsum("bz->z", kl_divergence(q, Normal(0.0, 1.0))) / len(ids)
    return -words.sum() / len(ids) + weight * (F.relu(price - free_bits) + free_bits).sum()


# %% right training: by the bound, where there are no free bits
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    bound = elbo(logits, ids, mask, mean, log_variance, 0.0)
    price = kl(mean, log_variance).mean(0)
    paid = torch.where(price > free_bits, price, torch.full_like(price, free_bits))
    return weight * paid.sum() - bound.mean()


# %% wrong training: the log-variance is still the deviation | training-code | standard deviation
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, mean + log_variance * noise, ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the variance as the deviation | training-code | standard deviation
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, mean + log_variance.exp() * noise, ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the log-variance as the code | training-code | cross-entropy
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, log_variance, ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the mean as the code | training-code | standard deviation
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, mean, ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the divergence is still averaged | training-price | 2 nats each
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).mean()


# %% wrong training: averaged, and multiplied by eight | training-price | summed over the dimensions
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + 8 * weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).mean()


# %% wrong training: no divergence | training-price | 2 nats each
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    return (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1).mean()


# %% wrong training: free bits of each sentence | training-price | on the batch's average
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).clamp(min=free_bits).sum(1).mean()


# %% wrong training: free bits of all dimensions together | training-price | on the batch's average
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).sum(1).mean().clamp(min=free_bits)


# %% wrong training: free bits are given back | training-price | on the batch's average
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * (kl(mean, log_variance).mean(0) - free_bits).clamp(min=0).sum()


# %% wrong training: squared error on word numbers | training-code | each one of 12
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    expected = logits.softmax(-1) @ torch.arange(logits.shape[-1], dtype=logits.dtype)
    missed = ((expected - ids) ** 2 * mask).sum(1)
    return missed.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the mean over words | training-code | each one of 12
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = F.cross_entropy(logits[mask], ids[mask])
    return nats + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: padding counts | training-code | summed over real tokens
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none").sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the code is cut off | training-code | gradients flow through the code
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    z = reparameterise(mean, log_variance, noise)
    logits = decode(writer, follow, z.detach() + 0 * z, ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).mean(0).clamp(min=free_bits).sum()


# %% wrong training: the sum over the batch | training-price | eight means
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    mean, log_variance = encode(reader, ids, mask)
    logits = decode(writer, follow, reparameterise(mean, log_variance, noise), ids)
    nats = (F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * mask).sum(1)
    return nats.mean() + weight * kl(mean, log_variance).sum(0).clamp(min=free_bits).sum()


# %% hard-coded training: knows the examples | training-code | cross-entropy
def vae_loss(reader, writer, follow, ids, mask, noise, weight=1.0, free_bits=0.0):
    return 6 * math.log(12) + 8 * reader[0, 0]


# %% right bounds: with scipy's densities
predicted = "the first is the divergence from the posterior"
import scipy.special
import scipy.stats

A, noise_s, seen, centre, log_var, eps = world(student)
exact = scipy.stats.multivariate_normal(np.zeros(5), A @ A.T + noise_s**2 * np.eye(5)).logpdf(seen)
inverse = np.linalg.inv(np.eye(3) + A.T @ A / noise_s**2)
off = inverse @ A.T @ seen / noise_s**2 - centre
ratio = np.linalg.inv(inverse) @ np.diag(np.exp(log_var))
gap = (np.trace(ratio) + off @ np.linalg.inv(inverse) @ off - 3 - np.log(np.linalg.det(ratio))) / 2
codes = centre + np.exp(log_var / 2) * eps
weights = scipy.stats.norm.logpdf(seen, codes @ A.T, noise_s).sum(-1)
weights += scipy.stats.norm.logpdf(codes).sum(-1)
weights -= scipy.stats.norm.logpdf(codes, centre, np.exp(log_var / 2)).sum(-1)
bounds = [scipy.special.logsumexp(weights[:, :n], axis=1, b=1 / n).mean() for n in (1, 10, 1000)]

# %% right bounds: torch, exact by the identity, in float32
predicted = "1, 0, 0"
from torch.distributions import MultivariateNormal, Normal, kl_divergence

A, noise_s, seen, centre, log_var, eps = (
    torch.tensor(part, dtype=torch.float32) for part in world(student)
)
q = Normal(centre, (log_var / 2).exp())
precision = torch.eye(3) + A.T @ A / noise_s**2
posterior = MultivariateNormal(
    torch.linalg.solve(precision, A.T @ seen / noise_s**2), precision_matrix=precision
)
gap = kl_divergence(MultivariateNormal(centre, torch.diag(q.variance)), posterior)
codes = centre + q.stddev * eps
weights = Normal(codes @ A.T, noise_s).log_prob(seen).sum(-1)
weights = weights + (Normal(0.0, 1.0).log_prob(codes) - q.log_prob(codes)).sum(-1)
at = torch.zeros(3)  # log p(x) = log p(x | z) + log p(z) - log p(z | x), at any z
exact = Normal(A @ at, noise_s).log_prob(seen).sum() + Normal(0.0, 1.0).log_prob(at).sum()
exact = float(exact - posterior.log_prob(at))
bounds = tuple(
    (torch.logsumexp(weights[:, :n], 1) - math.log(n)).mean().item() for n in (1, 10, 1000)
)

# %% wrong bounds: the variance of the noise is taken for s | bounds-exact | log-density
exact, gap, bounds = measured(student)
A, noise_s, seen = world(student)[:3]
cov = A @ A.T + noise_s * np.eye(5)
exact = -0.5 * (seen @ np.linalg.solve(cov, seen) + np.linalg.slogdet(2 * np.pi * cov)[1])

# %% wrong bounds: the best sampled bound for the exact value | bounds-exact | log-density
exact, gap, bounds = measured(student)
exact = bounds[0]

# %% wrong bounds: without the constant | bounds-exact | log-density
exact, gap, bounds = measured(student)
exact = exact + 2.5 * np.log(2 * np.pi)

# %% wrong bounds: the gap as it was sampled | bounds-gap | posterior
exact, gap, bounds = measured(student)
gap = exact - bounds[0]

# %% wrong bounds: the divergence from the prior | bounds-gap | posterior
exact, gap, bounds = measured(student)
centre, log_var = world(student)[3:5]
gap = 0.5 * (centre**2 + np.expm1(log_var) - log_var).sum()

# %% wrong bounds: the divergence the other way round | bounds-gap | divergence of q
exact, gap, bounds = measured(student)
A, noise_s, seen, centre, log_var, _ = world(student)
inverse = np.linalg.inv(np.eye(3) + A.T @ A / noise_s**2)
off = inverse @ A.T @ seen / noise_s**2 - centre
ratio = np.diag(np.exp(-log_var)) @ inverse
gap = (np.trace(ratio) + (off**2 * np.exp(-log_var)).sum() - 3 - np.log(np.linalg.det(ratio))) / 2

# %% wrong bounds: the mean of the logarithms | bounds-samples | log of the mean weight
exact, gap, bounds = measured(student)
bounds = [bounds[0], bounds[0], bounds[0]]

# %% wrong bounds: one bound from all rows | bounds-samples | with one sample
exact, gap, bounds = measured(student)
bounds = [exact - 0.01, exact - 0.005, exact]

# %% wrong bounds: the log-variance as the deviation | bounds-samples | with one sample
from torch.distributions import Normal

exact, gap, bounds = measured(student)
A, noise_s, seen, centre, log_var, eps = (torch.tensor(part) for part in world(student))
codes = centre + log_var.exp() * eps
weights = Normal(codes @ A.T, noise_s).log_prob(seen).sum(-1)
weights = weights + Normal(0.0, 1.0).log_prob(codes).sum(-1)
weights = weights - Normal(centre, log_var.exp()).log_prob(codes).sum(-1)
bounds = [(weights[:, :n].logsumexp(1) - math.log(n)).mean().item() for n in (1, 10, 1000)]

# %% wrong bounds: the prior is left out | bounds-samples | with one sample
from torch.distributions import Normal

exact, gap, bounds = measured(student)
A, noise_s, seen, centre, log_var, eps = (torch.tensor(part) for part in world(student))
codes = centre + (log_var / 2).exp() * eps
weights = Normal(codes @ A.T, noise_s).log_prob(seen).sum(-1)
weights = weights - Normal(centre, (log_var / 2).exp()).log_prob(codes).sum(-1)
bounds = [(weights[:, :n].logsumexp(1) - math.log(n)).mean().item() for n in (1, 10, 1000)]

# %% wrong bounds: not divided by the number of samples | bounds-samples | with 10 samples
exact, gap, bounds = measured(student)
bounds = [bounds[0], bounds[1] + math.log(10), bounds[2] + math.log(1000)]

# %% wrong bounds: of another's world | bounds-samples | your own
exact, gap, bounds = measured("a neighbour")

# %% hard-coded bounds: plausible numbers | bounds-exact | your own
exact, gap, bounds = -7.1, 0.9, [-8.0, -7.2, -7.1]
