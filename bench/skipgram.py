"""Skip-gram with negative sampling: gensim with two workers against ours with one thread, on one planted-cluster corpus.

`python -m bench.skipgram [--quick] [--threads N]` with bench/.venv's Python; bench.skipgram_threads is the same with two threads. Both see
the same tokens, vocabulary, windows of 1..5, 5 noise words ~ f^0.75, 100 dimensions, rate .025 falling to .0001, one pass, nothing
subsampled. Only training is timed, not the building of a vocabulary or of lists of strings. The number of pairs is the same in expectation:
ours counts them, gensim's are taken to be as many.
Held-out loss and neighbour precision come from the same code for both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from gensim.models import Word2Vec

from bench.pairs import Timed, alternate, closing_line, timed
from stages.models.parts.heldout import heldout
from stages.models.parts.sampling import alias_table, noise_weights, shuffled
from stages.models.parts.skipgram import train

VOCABULARY, CLUSTERS, LENGTH, DIMENSION, WINDOW, NEGATIVES = 20_000, 200, 20, 100, 5, 5
NO_BIAS = np.empty(0, np.float32)


def planted(tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int32 [documents, LENGTH], cluster of each word). Word frequencies fall as 1/rank; half of a sentence is of one cluster."""
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, VOCABULARY + 1)
    cluster = rng.permutation(VOCABULARY) % CLUSTERS
    shape = (tokens // LENGTH, LENGTH)
    text = rng.choice(VOCABULARY, shape, p=weight / weight.sum()).astype(np.int32)
    topic, inside = rng.integers(CLUSTERS, size=shape[0]), rng.random(shape) < 0.5
    for c in range(CLUSTERS):
        words = np.flatnonzero(cluster == c)
        at = inside & (topic == c)[:, None]
        text[at] = rng.choice(words, at.sum(), p=weight[words] / weight[words].sum())
    return text, cluster


def precision(vectors: np.ndarray, cluster: np.ndarray, words: np.ndarray, seen: np.ndarray) -> float:
    """Share of the 10 nearest words (cosine, among the words seen) that are of the word's own cluster."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = []
    for block in np.array_split(words, max(1, len(words) // 500)):
        near = unit[block] @ unit[seen].T
        near[block[:, None] == seen[None]] = -2
        nearest = seen[np.argpartition(-near, 10, axis=1)[:, :10]]
        found.append(cluster[nearest] == cluster[block][:, None])
    return float(np.concatenate(found).mean())


def compare(title: str, cbow: bool, threads: int, rates: tuple[float, float], unit: str, faster: float = 1.0) -> None:
    """Run peer and ours, its rates `faster` times the peer's, in turn; print the table and the closing line."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="600,000 tokens instead of 4.9 million: about a minute")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=threads, help="of ours; more than one is not reproducible to the bit")
    options = parser.parse_args()
    n = 600_000 if options.quick else 4_900_000
    text, cluster = planted(n + n // 20)
    held, text = text[n // LENGTH:], text[: n // LENGTH]
    counts = np.bincount(text.ravel(), minlength=VOCABULARY)
    noise, keep = alias_table(noise_weights(counts, 0.75)), (counts > 0).astype(np.float64)
    offsets, order = np.arange(len(text) + 1, dtype=np.int64) * LENGTH, shuffled(len(text), 0, 0)
    names = [str(i) for i in range(VOCABULARY)]
    sentences = [[names[w] for w in row] for row in text.tolist()]
    own_rates = tuple(r * faster for r in rates)

    def quality(inputs, outputs) -> dict[str, float]:
        seen = np.flatnonzero(counts)
        ranked = seen[np.argsort(-counts[seen], kind="stable")]
        return {"loss": heldout(held.ravel(), np.arange(len(held) + 1) * LENGTH, inputs, outputs, NO_BIAS, noise, keep, window=WINDOW,
                                k=NEGATIVES, cbow=cbow),
                "frequent": precision(inputs, cluster, ranked[:1000], seen), "rare": precision(inputs, cluster, ranked[-2000:], seen)}

    def peer(seed: int) -> Timed:
        model = Word2Vec(vector_size=DIMENSION, window=WINDOW, negative=NEGATIVES, sg=0 if cbow else 1, cbow_mean=1, hs=0, sample=0,
                         min_count=1, workers=2, epochs=1, alpha=rates[0], min_alpha=rates[1], ns_exponent=0.75, seed=seed + 1)
        model.build_vocab(sentences)
        run = timed(lambda: model.train(sentences, total_examples=len(sentences), epochs=1))
        place = np.array([model.wv.key_to_index.get(name, -1) for name in names])
        tables = [np.where((place >= 0)[:, None], table[place], 0.0).astype(np.float32) for table in (model.wv.vectors, model.syn1neg)]
        return Timed(run.wall, run.cpu, quality(*tables))

    def ours(seed: int) -> Timed:
        inputs = (np.random.default_rng(seed).random((VOCABULARY, DIMENSION), np.float32) * 2 - 1) / DIMENSION
        outputs = np.zeros_like(inputs)
        run = timed(lambda: train(text.ravel(), offsets, order, inputs, outputs, NO_BIAS, noise, keep, window=WINDOW, k=NEGATIVES,
                                  cbow=cbow, rates=own_rates, seed=seed, epoch=0, threads=options.threads))
        return Timed(run.wall, run.cpu, {"examples": run.result[0], **quality(inputs, outputs)})

    begun = time.perf_counter()
    spare = np.zeros((2, VOCABULARY, DIMENSION), np.float32)
    train(text.ravel(), offsets, order[:2], *spare, NO_BIAS, noise, keep, window=WINDOW, k=NEGATIVES, cbow=cbow, rates=rates, seed=0,
          epoch=0)
    print(f"{text.size:,} tokens, vocabulary {VOCABULARY:,}; compiled or read from the cache in {time.perf_counter() - begun:.1f} s")
    print(f"{'':22}{'M ' + unit:>10}{'wall s':>8}{'CPU s':>8}{'held-out loss':>15}{'P@10 frequent':>15}{'P@10 rare':>11}")
    runs = alternate(peer, ours, max(options.pairs, 1))
    amount = statistics.mean(b.result["examples"] for _, b in runs)
    mine = f"ours, {options.threads} thread{'s' * (options.threads > 1)}"
    for a, b in runs:
        for name, run in (("gensim 4.4, 2 workers", a), (mine, b)):
            q = run.result
            print(f"{name:22}{amount / run.wall / 1e6:10.2f}{run.wall:8.2f}{run.cpu:8.2f}"
                  f"{q['loss']:15.4f}{q['frequent']:15.3f}{q['rare']:11.3f}")
    found = [[amount / run[side].wall for run in runs] for side in (0, 1)]
    losses = [statistics.mean(run[side].result["loss"] for run in runs) for side in (0, 1)]
    cpu = statistics.median(a.cpu / b.cpu for a, b in runs)
    name = f"{title}: gensim 4.4 on 2 workers, ours on {options.threads} thread{'s' * (options.threads > 1)}"
    print(closing_line(name, *found, *losses, unit, ratio_cpu=cpu))


if __name__ == "__main__":
    compare("skip-gram with negative sampling", cbow=False, threads=1, rates=(0.025, 0.0001), unit="pairs/s")
