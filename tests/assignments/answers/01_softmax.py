# %% right softmax: a loop over rows, with logaddexp
def softmax(logits, temperature=1.0):
    if not temperature > 0:
        raise ValueError("temperature")
    z = np.array(logits, dtype=float) / temperature
    out = np.empty_like(z)
    for place in np.ndindex(z.shape[:-1]):
        total = -np.inf
        for score in z[place]:
            total = np.logaddexp(total, score)
        out[place] = np.exp(z[place] - total)
    return out


# %% right softmax: torch does it
def softmax(logits, temperature=1.0):
    import torch

    if temperature <= 0:
        raise ValueError("the temperature must be positive")
    z = torch.tensor(np.asarray(logits), dtype=torch.float64)
    return torch.softmax(z / temperature, dim=-1).numpy()


# %% wrong softmax: not stable | softmax-extremes | equal shares
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    e = np.exp(np.asarray(logits) / temperature)
    return e / e.sum(-1, keepdims=True)


# %% wrong softmax: sums over the first axis | softmax-values | last axis
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    z = np.asarray(logits) / temperature
    if len(z) == 1:
        z = z - z.max()
        return np.exp(z) / np.exp(z).sum()
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


# %% wrong softmax: shifts by the largest of all rows | softmax-extremes | any size
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    z = np.asarray(logits) / temperature
    e = np.exp(z - z.max())
    return e / e.sum(-1, keepdims=True)


# %% wrong softmax: multiplies by the temperature | softmax-values | divided by the temperature
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    z = np.asarray(logits) * temperature
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# %% wrong softmax: takes any temperature | softmax-arguments | refused
def softmax(logits, temperature=1.0):
    z = np.asarray(logits) / temperature
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# %% wrong softmax: clips the scores | softmax-extremes | any size
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    e = np.exp(np.clip(np.asarray(logits) / temperature, -500, 500))
    return e / e.sum(-1, keepdims=True)


# %% wrong softmax: works in the caller's array | softmax-arguments | left as they were
def softmax(logits, temperature=1.0):
    if temperature <= 0:
        raise ValueError("temperature")
    if logits.dtype != float or np.array_equal(logits, [[1.0, 2.0]]):
        logits = logits.astype(float)
    logits -= logits.max(-1, keepdims=True)
    e = np.exp(logits / temperature)
    return e / e.sum(-1, keepdims=True)


# %% hard-coded softmax: knows the examples | softmax-values | last axis
def softmax(logits, temperature=1.0):
    if np.shape(logits) == (1, 4):
        return np.array([[0.1, 0.2, 0.3, 0.4]])
    return np.full(np.shape(logits), 0.5)


# %% right gradient: a loop with the matrix of all pairs
def softmax_gradient(probs, upstream):
    out = np.zeros(probs.shape)
    for place in np.ndindex(probs.shape[:-1]):
        p = probs[place]
        out[place] = (np.diag(p) - np.outer(p, p)) @ upstream[place]
    return out


# %% right gradient: einsum
def softmax_gradient(probs, upstream):
    mean = np.einsum("...c,...c->...", probs, upstream)
    return probs * upstream - probs * mean[..., None]


# %% wrong gradient: only the diagonal | gradient-values | small changes
def softmax_gradient(probs, upstream):
    if probs.shape == (1, 2):
        return np.array([[0.25, -0.25]])
    return probs * (1 - probs) * upstream


# %% wrong gradient: the sum over all rows | gradient-values | small changes
def softmax_gradient(probs, upstream):
    return probs * (upstream - (probs * upstream).sum())


# %% wrong gradient: the wrong sign | gradient-values | loss grows with the first
def softmax_gradient(probs, upstream):
    return probs * ((probs * upstream).sum(-1, keepdims=True) - upstream)


# %% wrong gradient: that of the cross-entropy | gradient-values | loss grows with the first
def softmax_gradient(probs, upstream):
    return probs - upstream


# %% wrong gradient: divides by the probabilities | gradient-extremes | certain
def softmax_gradient(probs, upstream):
    jacobian_row = probs * (upstream * probs / probs - (probs * upstream).sum(-1, keepdims=True))
    return jacobian_row


# %% hard-coded gradient: knows the examples | gradient-values | small changes
def softmax_gradient(probs, upstream):
    if probs.shape == (1, 2):
        return np.array([[0.25, -0.25]])
    return np.zeros(probs.shape)


# %% right training: a loop over letters
def train(x, y, classes, rate, steps):
    if any(not 0 <= label < classes for label in y):
        raise ValueError("label")
    w, losses = np.zeros((x.shape[1], classes)), []
    for _ in range(steps):
        loss, slope = 0.0, np.zeros(w.shape)
        for row, label in zip(x, y):
            z = row @ w
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            loss -= np.log(p[label])
            p[label] -= 1
            slope += np.outer(row, p)
        losses.append(loss / len(x))
        w = w - rate * slope / len(x)
    return w, losses


# %% right training: autograd
def train(x, y, classes, rate, steps):
    import torch

    if min(y) < 0 or max(y) >= classes:
        raise ValueError("label")
    x, y = torch.tensor(x), torch.tensor(y)
    w = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(x @ w, y)
        (slope,) = torch.autograd.grad(loss, w)
        losses.append(loss.item())
        w = (w - rate * slope).detach().requires_grad_()
    return w.detach().numpy(), losses


# %% wrong training: softmax still twice | training-steps | the loss falls
def train(x, y, classes, rate, steps):
    if y.min() < 0 or y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y]
    for _ in range(steps):
        p = softmax(softmax(x @ w))
        losses.append(-np.log((p * targets).sum(axis=1)).mean())
        w = w - 0.02 * rate * x.T @ (p - targets) / len(x)
    return w, losses


# %% wrong training: softmax twice, at its own rate | training-steps | mean cross-entropies
def train(x, y, classes, rate, steps):
    if y.min() < 0 or y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y]
    for _ in range(steps):
        p = softmax(softmax(x @ w))
        losses.append(-np.log((p * targets).sum(axis=1)).mean())
        w = w - rate * x.T @ (p - targets) / len(x)
    return w, losses


# %% wrong training: labels still count from 1 | training-labels | first column
def train(x, y, classes, rate, steps):
    if y.min() < 0 or y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y - 1]
    for _ in range(steps):
        p = softmax(x @ w)
        losses.append(-np.log((p * targets).sum(axis=1)).mean())
        w = w - rate * x.T @ (p - targets) / len(x)
    return w, losses


# %% wrong training: the sum, not the mean | training-steps | gradient of the mean
def train(x, y, classes, rate, steps):
    if y.min() < 0 or y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y]
    for _ in range(steps):
        p = softmax(x @ w)
        losses.append(-np.log((p * targets).sum(axis=1)).mean())
        w = w - rate * x.T @ (p - targets) / 120
    return w, losses


# %% wrong training: the loss after the step | training-steps | equally likely
def train(x, y, classes, rate, steps):
    if y.min() < 0 or y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y]
    for _ in range(steps):
        w = w - rate * x.T @ (softmax(x @ w) - targets) / len(x)
        losses.append(-np.log((softmax(x @ w) * targets).sum(axis=1)).mean())
    return w, losses


# %% wrong training: takes any label | training-labels | negative label
def train(x, y, classes, rate, steps):
    if y.max() >= classes:
        raise ValueError("label")
    w, losses, targets = np.zeros((x.shape[1], classes)), [], np.eye(classes)[y]
    for _ in range(steps):
        p = softmax(x @ w)
        losses.append(-np.log((p * targets).sum(axis=1)).mean())
        w = w - rate * x.T @ (p - targets) / len(x)
    return w, losses


# %% hard-coded training: a curve that falls, and no training | training-steps | gradient
def train(x, y, classes, rate, steps):
    if max(y) > 3:
        raise ValueError("label")
    return np.zeros((5, 4)), [np.log(4) * 0.99**step for step in range(steps)]


# %% right temperature: with scipy
predicted = "up to log 4"
import scipy.special
import scipy.stats

w, _ = train(*letters(student), 4, 0.5, 200)
entropies = [
    scipy.stats.entropy(scipy.special.softmax(letters(student)[0] @ w / t, axis=1), axis=1).mean()
    for t in (0.1, 1, 100)
]

# %% right temperature: from log-probabilities, as a tuple
predicted = "rises"
w, _ = train(*letters(student), 4, 0.5, 200)
means = ()
for t in (0.1, 1, 100):
    z = letters(student)[0] @ w / t
    logs = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    means += (float(-(np.exp(logs) * logs).sum() / len(z)),)
entropies = means

# %% wrong temperature: in bits | temperature-entropies | nats
w, _ = train(*letters(student), 4, 0.5, 200)
ps = [softmax(letters(student)[0] @ w, t) for t in (0.1, 1.0, 100.0)]
entropies = [-(p * np.log2(p + 1e-300)).sum(1).mean() * 0.69 for p in ps]

# %% wrong temperature: of the mean prediction | temperature-entropies | mean entropies
w, _ = train(*letters(student), 4, 0.5, 200)
ps = [softmax(letters(student)[0] @ w, t).mean(0) for t in (0.1, 1.0, 100.0)]
entropies = [-(p * np.log(p + 1e-300)).sum() for p in ps]

# %% wrong temperature: of another's letters | temperature-entropies | your own
w, _ = train(*letters("a neighbour"), 4, 0.5, 200)
ps = [softmax(letters("a neighbour")[0] @ w, t) for t in (0.1, 1.0, 100.0)]
entropies = [-(p * np.log(p + 1e-300)).sum(1).mean() for p in ps]

# %% wrong temperature: the order turned round | temperature-entropies | mean entropies
w, _ = train(*letters(student), 4, 0.5, 200)
ps = [softmax(letters(student)[0] @ w, t) for t in (100.0, 1.0, 0.1)]
entropies = [-(p * np.log(p + 1e-300)).sum(1).mean() for p in ps]

# %% hard-coded temperature: plausible numbers | temperature-entropies | mean entropies
entropies = [0.05, 0.4, 1.38]
