"""Topics: how coherent and how different their words are, and latent Dirichlet allocation under the document bound of a neural model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, psi

from stages.evaluate.ranking import top_k

TOP = 10  # words of a topic that are held against each other
DIVERSE = 25  # words of a topic that are compared over topics (Dieng et al. 2020, https://doi.org/10.1162/tacl_a_00325)


@dataclass(frozen=True)
class Bags:
    """Documents as counts: words int [n] and counts [n] end to end, offsets [documents + 1]."""

    words: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray

    @property
    def row(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def lengths(self) -> np.ndarray:
        """Words of each document, repeated ones too."""
        return np.bincount(self.row, self.counts, len(self.offsets) - 1)


def top_words(topics: np.ndarray, n: int) -> np.ndarray:
    """Ids of the n heaviest words of each topic, heaviest first: [K, V] -> int [K, n]; ties by id."""
    return np.argsort(-topics, axis=1, kind="stable")[:, :n]


def diversity(topics: np.ndarray) -> float:
    """Share of different words among the DIVERSE heaviest of every topic; 1: no word is in two."""
    top = top_words(topics, DIVERSE)
    return len(np.unique(top)) / top.size


def npmi(topics: np.ndarray, reference: Bags) -> np.ndarray:
    """Mean normalised pointwise mutual information of the pairs of each topic's TOP words (Bouma 2009; Lau et al. 2014): [K].

    log(p(a, b) / p(a) p(b)) / -log p(a, b), where p is the share of reference documents that hold the word, or both: the window is the
    document. A pair that never meets counts -1; one that meets in every document 1.
    """
    top = top_words(topics, TOP)
    used, place = np.unique(top, return_inverse=True)
    keep = np.isin(reference.words, used)
    holds = np.zeros((len(reference.offsets) - 1, len(used)), np.float32)
    holds[reference.row[keep], np.searchsorted(used, reference.words[keep])] = 1
    together = holds.T @ holds / len(holds)
    single, place = np.diag(together), place.reshape(top.shape)
    found = []
    for words in place:
        a, b = np.triu_indices(len(words), 1)
        a, b = words[a], words[b]
        joint = together[a, b].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(joint / (single[a] * single[b])) / -np.log(joint)
        found.append(np.where(joint == 0, -1.0, np.where(joint == 1, 1.0, values)).mean())
    return np.array(found)


def lda_posterior(topics: np.ndarray, alpha: float, bags: Bags, rounds: int = 200) -> np.ndarray:
    """gamma [documents, K] of the Dirichlet of each document's topics under fixed topics [K, V] (rows sum to 1), by coordinate ascent

    (Blei, Ng, Jordan 2003, https://jmlr.org/papers/v3/blei03a.html, appendix A.3).
    """
    k, n = len(topics), len(bags.offsets) - 1
    of_word, row = np.ascontiguousarray(topics.T)[bags.words], bags.row  # (nonzeros, K)
    gamma = np.full((n, k), alpha + bags.lengths[:, None] / k)
    for _ in range(rounds):
        expected = np.exp(psi(gamma) - psi(gamma.sum(1, keepdims=True)))
        share = bags.counts / np.einsum("ij,ij->i", expected[row], of_word)
        summed = np.zeros((n, k))
        np.add.at(summed, row, of_word * share[:, None])
        before, gamma = gamma, alpha + expected * summed
        if np.abs(gamma - before).mean() < 1e-4:
            break
    return gamma


def lda_bound(topics: np.ndarray, alpha: float, bags: Bags) -> np.ndarray:
    """Lower bound on log p(document) under latent Dirichlet allocation with fixed topics, in nats: [documents].

    E_q log p(w, theta) - E_q log q(theta), q of `lda_posterior`: the counterpart of a neural model's ELBO, without a term for the topics.
    """
    k, n, gamma = len(topics), len(bags.offsets) - 1, lda_posterior(topics, alpha, bags)
    of_word, row = np.ascontiguousarray(topics.T)[bags.words], bags.row
    log_theta = psi(gamma) - psi(gamma.sum(1, keepdims=True))
    likelihood = np.bincount(row, bags.counts * np.log(np.einsum("ij,ij->i", np.exp(log_theta)[row], of_word)), n)
    prior = gammaln(k * alpha) - k * gammaln(alpha) + (alpha - 1) * log_theta.sum(1)
    entropy = gammaln(gamma).sum(1) - gammaln(gamma.sum(1)) - ((gamma - 1) * log_theta).sum(1)
    return likelihood + prior + entropy


def same_label_nearby(known: np.ndarray, labels: np.ndarray, asked: np.ndarray, truth: np.ndarray, n: int = 10) -> float:
    """Share of the n rows of `known` [m, D] nearest to each row of `asked` [k, D], by cosine, whose label is its own; ties by row."""
    first, second = (c / np.maximum(np.linalg.norm(c, axis=1, keepdims=True), 1e-12) for c in (known, asked))
    return float((labels[top_k(second @ first.T, n)] == truth[:, None]).mean())


def fit_lda(bags: Bags, size: int, topics: int, alpha: float, eta: float, seed: int, rounds: int = 20) -> np.ndarray:
    """Topics [K, V] of batch variational Bayes (scikit-learn), the mean of their posterior."""
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import LatentDirichletAllocation

    counted = csr_matrix((bags.counts.astype(np.float64), bags.words, bags.offsets), (len(bags.offsets) - 1, size))
    lda = LatentDirichletAllocation(topics, doc_topic_prior=alpha, topic_word_prior=eta, learning_method="batch", max_iter=rounds,
                                    max_doc_update_iter=30, random_state=seed, n_jobs=1)
    lda.fit(counted)
    return lda.components_ / lda.components_.sum(1, keepdims=True)


def perplexity_of_documents(bounds: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """From lower bounds on log p of documents in nats: per document exp(mean of -bound / length), and of the corpus exp(-sum / sum)."""
    return {"perplexity_document": float(np.exp((-bounds / lengths).mean())),
            "perplexity_corpus": float(np.exp(-bounds.sum() / lengths.sum()))}
