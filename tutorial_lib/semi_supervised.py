"""Chapter 08, last part: a classifier that learns from sentences without labels too.

Two ways to use a variational autoencoder where labels are few. Its encoder can begin a classifier
(`classifier_from`). Or the class becomes a second, discrete part of the code, unknown for most
sentences (`SemiSupervisedVAE`, called M2): the bound then holds the classifier q(y | x) itself.

Shapes: B batch, T words, C classes, Z dimensions of the code. Bounds are in nats a sentence.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tutorial_lib import data, training
from tutorial_lib.baselines import lsa, nbsvm
from tutorial_lib.gaussian import kl_to_prior, reparameterize
from tutorial_lib.language_model import LanguageModel, full
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.softmax import cross_entropy, log_softmax, one_hot
from tutorial_lib.training import History, TrainConfig
from tutorial_lib.vae import SentenceVAE, bounded, codes


def classifier_from(
    model: SentenceVAE, classes: int, *, dropout: float = 0.3
) -> RecurrentClassifier:
    """Return a recurrent classifier whose word vectors and layer are a copy of a VAE's encoder.

    Args:
        dropout: of the classifier, in training.
    """
    encoder = model.encoder
    classifier = RecurrentClassifier(
        encoder.embedding.num_embeddings, classes, cell="lstm",
        embedding=encoder.embedding.embedding_dim, hidden=encoder.layer.hidden_size,
        pooling="mean", dropout=dropout,
    )  # fmt: skip
    classifier.embedding.load_state_dict(encoder.embedding.state_dict())
    classifier.layer.load_state_dict(encoder.layer.state_dict())
    return classifier


class SemiSupervisedVAE(nn.Module):
    """Classifier q(y | x), encoder q(z | x, y) and decoder p(x | y, z) in one; p(y) is uniform.

    As a function of ids and mask it is the classifier.

    Args:
        vocabulary_size, classes: number of ids and of classes.
        latent, embedding, hidden, dropout: as for `SentenceVAE`; dropout for the classifier too.

    Source: Kingma et al. 2014, "Semi-supervised Learning with Deep Generative Models", section 2
    (M2); for text Xu et al. 2017, who show the decoder the class at every word, as here.

    Raises:
        ValueError: sizes that cannot be.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        latent: int = 32,
        embedding: int = 128,
        hidden: int = 256,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.encoder = RecurrentClassifier(
            vocabulary_size, classes, cell="lstm", embedding=embedding, hidden=hidden // 2,
            pooling="mean", dropout=dropout,
        )  # fmt: skip
        self.encoder.embedding.weight.data *= 10  # of deviation 1, as the decoder's
        self.code = nn.Linear(2 * (hidden // 2) + classes, 2 * latent)
        self.decoder = LanguageModel(
            vocabulary_size, latent + classes, embedding=embedding, hidden=hidden, dropout=dropout
        )
        self.classes = classes

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits of q(y | x)."""
        return self.encoder(ids, mask)

    def labelled_bound(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Return a lower bound of log p(x, y), at one sample of the code.

        Equation: eq-labelled-bound
        """
        return self._bound(ids, mask, self._summary(ids, mask), one_hot(labels, self.classes))

    def unlabelled_bound(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B"]:
        """Return a lower bound of log p(x): the classes' bounds, weighed by q(y | x).

        The decoder runs once for each class.

        Equation: eq-unlabelled-bound
        """
        summary = self._summary(ids, mask)
        log_probs = log_softmax(full(self._logits(summary)))  # [B C]
        each, repeated = self._each_class(summary)
        ids, mask = (t.repeat_interleave(self.classes, 0) for t in (ids, mask))
        bounds = self._bound(ids, mask, repeated, each).view_as(log_probs)
        return mixture_bound(bounds, log_probs)

    def divergence(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B"]:
        """Return KL(q(z | x, y) || p(z)) in nats, the classes weighed by q(y | x).

        What the Gaussian code costs in `unlabelled_bound`; the class is not counted.
        """
        summary = self._summary(ids, mask)
        probs = log_softmax(full(self._logits(summary))).exp()  # [B C]
        each, repeated = self._each_class(summary)
        kl = kl_to_prior(*self._posterior(repeated, each)).sum(-1)
        return (probs * kl.view_as(probs)).sum(-1)

    def _each_class(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Return every class for every text, [B·C C], and each text's summary beside them."""
        each = torch.eye(self.classes, device=summary.device).repeat(len(summary), 1)
        return each, summary.repeat_interleave(self.classes, 0)

    def _summary(self, ids: Tensor, mask: Tensor) -> Float[Tensor, "B D"]:
        """Return what the encoder's layer knows after reading."""
        return self.encoder.summary(self.encoder.embedding(ids, mask), mask)

    def _logits(self, summary: Tensor) -> Float[Tensor, "B C"]:
        return self.encoder.output(self.encoder.dropout(summary))

    def _posterior(self, summary: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x, y), [B Z] each."""
        mean, raw = full(self.code(torch.cat([summary, y.to(summary)], -1))).chunk(2, -1)
        return mean, bounded(raw)

    def _bound(self, ids: Tensor, mask: Tensor, summary: Tensor, y: Tensor) -> Float[Tensor, "B"]:
        mean, log_variance = self._posterior(summary, y)
        z = reparameterize(mean, log_variance)
        log_likelihood = self.decoder(ids, mask, torch.cat([z, y.to(z)], -1))
        return log_likelihood - math.log(self.classes) - kl_to_prior(mean, log_variance).sum(-1)


def mixture_bound(
    bounds: Float[Tensor, "B C"], log_probs: Float[Tensor, "B C"]
) -> Float[Tensor, "B"]:
    """Return the mean of the classes' bounds by q(y | x), plus the entropy of q(y | x).

    It is largest, the log-sum-exp of the bounds, where q(y | x) is their softmax.

    Source: Kingma et al. 2014, equation 7.

    Equation: eq-unlabelled-bound
    """
    return (log_probs.exp() * (bounds - log_probs)).sum(-1)


def compare(
    model: SentenceVAE,
    texts: dict[str, list[str]],
    ids: dict[str, list[np.ndarray]],
    labels: dict[str, Int64[np.ndarray, "_"]],
    size: int,
    *,
    seed: int = 0,
    epochs: int = 20,
    updates: int = 300,
    joint: TrainConfig | None = None,
    sizes: dict[str, int],
    alpha: float = 20.0,
) -> dict[str, Int64[np.ndarray, "_"]]:
    """Return the classes that each way of learning from few labels gives the test texts.

    - `NB-SVM` and `encoder from scratch` learn from the labelled texts alone;
    - `LSA` has read all texts, and keeps as many numbers of each as the VAE's code has;
    - `VAE's encoder` begins with the weights of a VAE that has read all texts, `VAE's code` is a
      logistic regression on its posterior means;
    - `joint model` is a new `SemiSupervisedVAE`, trained on all texts and the labels.

    Args:
        model: trained on all training texts, without labels.
        texts, ids, labels: of `train` and `test`; texts with a blank between words.
        size: number of labels, drawn by the seed, each class in proportion.
        epochs, updates: at least so many passes over the labelled texts for each of the two
            encoders, and steps; few labels make few batches, and a network that has hardly been
            trained would be taken for one that knows little.
        joint: how to train the joint model; it is left out if None.
        sizes: those of `model`, for the new ones.
        alpha: see `objective`.
    """
    from sklearn.linear_model import LogisticRegression

    classes, words = int(labels["train"].max()) + 1, model.encoder.embedding.num_embeddings
    rows = data.stratified(labels["train"], size, seed)
    some, known = [ids["train"][row] for row in rows], labels["train"][rows]
    labelled = data.batches(some, known, token_budget=500, seed=seed)
    test = data.batches(ids["test"], token_budget=4_000, shuffle=False)
    strings = [texts["train"][row] for row in rows]
    found = {"NB-SVM": nbsvm(strings, known, texts["test"], seed)[0]}
    found["LSA"] = lsa(texts["train"], strings, known, texts["test"], sizes["latent"], seed)
    torch.manual_seed(seed)
    starts = {"encoder from scratch": SentenceVAE(words, **sizes), "VAE's encoder": model}
    passes = max(epochs, math.ceil(updates / len(labelled)))
    for name, start in starts.items():
        classifier = classifier_from(start, classes)
        if start is not model:  # word vectors as small as a classifier's at its start
            classifier.embedding.weight.data /= 10
        config = TrainConfig(passes, lr=2e-3, schedule="linear", seed=seed)
        training.fit_classifier(classifier, labelled, None, config, progress=False)
        found[name] = training.predict_classes(classifier, test)
    few = data.batches(some, token_budget=4_000, shuffle=False)
    reader = LogisticRegression(max_iter=1000).fit(codes(model, few)[0].numpy(), known)
    found["VAE's code"] = reader.predict(codes(model, test)[0].numpy())
    if joint is not None:
        torch.manual_seed(seed)
        both = SemiSupervisedVAE(words, classes, **sizes)
        unlabelled = data.batches(ids["train"], token_budget=1_000, seed=seed)
        fit_semi_supervised(both, labelled, unlabelled, joint, alpha=alpha, progress=False)
        found["joint model"] = training.predict_classes(both, test)
    return found


class Pairs:
    """For each batch without labels one with labels; where those run out, from the first again.

    An epoch ends with the batches without labels, and begins with the first of both.

    Args:
        labelled, unlabelled: as `data.batches` makes them.

    Raises:
        ValueError: one of them is empty.
    """

    def __init__(self, labelled: Iterable[Any], unlabelled: Iterable[Any]) -> None:
        if not len(labelled) or not len(unlabelled):
            raise ValueError("there must be batches with labels and batches without")
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        return len(self.unlabelled)

    def set_epoch(self, epoch: int) -> None:
        # The labelled ones run through many epochs of their own.
        for part, place in ((self.unlabelled, epoch), (self.labelled, epoch * len(self))):
            if hasattr(part, "set_epoch"):
                part.set_epoch(place)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        again = itertools.chain.from_iterable(itertools.repeat(self.labelled))
        for unlabelled, labelled in zip(self.unlabelled, again, strict=False):
            yield {"unlabelled": unlabelled, "labelled": labelled}


def objective(
    model: SemiSupervisedVAE,
    labelled: dict[str, Tensor],
    unlabelled: dict[str, Tensor],
    alpha: float,
    ratio: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the loss: minus both bounds, plus `alpha` times the classifier's cross-entropy.

    Without the last term labels would not reach the classifier: the labelled bound has no q(y | x).

    Args:
        labelled, unlabelled: batches of `ids` and `mask`, the first with `labels`.
        ratio: sentences with labels over those without; so each one's bound weighs the same,
            however often the few are repeated.

    Source: Kingma et al. 2014, equation 9, divided by the number of sentences without labels: so
    `alpha` is theirs over that number (they took 0.1 times the number of all).

    Equation: eq-semi-supervised
    """
    ids, mask, labels = labelled["ids"], labelled["mask"], labelled["labels"]
    return (
        alpha * cross_entropy(full(model(ids, mask)), labels)
        - ratio * model.labelled_bound(ids, mask, labels).mean()
        - model.unlabelled_bound(unlabelled["ids"], unlabelled["mask"]).mean()
    )


def fit_semi_supervised(
    model: SemiSupervisedVAE,
    labelled: Iterable[dict[str, Tensor]],
    unlabelled: Iterable[dict[str, Tensor]],
    config: TrainConfig | None = None,
    *,
    alpha: float = 20.0,
    progress: bool = True,
) -> History:
    """Train on sentences with and without labels, without validation; on one process.

    Args:
        labelled: with `labels`; repeated as often as need be.
        unlabelled: an epoch is one pass over these.
        config: as for `training.train`.
        alpha: weight of the cross-entropy, in nats a sentence like the bounds.

    Raises:
        ValueError: a weight that is negative or not finite, no batches.
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha is finite, 0 or more; got {alpha}")
    pairs = Pairs(labelled, unlabelled)
    few, many = (sum(len(batch["ids"]) for batch in part) for part in (labelled, unlabelled))

    def loss(model: SemiSupervisedVAE, batch: dict[str, dict[str, Tensor]]) -> Tensor:
        return objective(model, batch["labelled"], batch["unlabelled"], alpha, few / many)

    return training.train(model, loss, pairs, config=config, progress=progress)
