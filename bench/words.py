"""Word vectors by ours and by gensim on the same text with the same settings: WordSim-353, analogies and the held-out loss.

`python -m bench.words [--data data/prepared/wikitext2] [--seeds 3]` with bench/.venv's Python. The folder is a prepared dataset of
documents with word tests (`options: {word_tests: true}`, docs/data.md); for WikiText-2 run `python -m pipelines.profile paper
prepare@wikitext2` and name its folder. Both read the same tokens, <unk> left out, one vocabulary, 100 dimensions, windows of 1..5, 5 noise
words ~ f^0.75, rate .025 falling to .0001, nothing subsampled, as many epochs; ours on one thread, gensim on two workers. The same code
scores both. The closing line's qualities are the means of WordSim-353 over the seeds; `deviations` is their difference in standard
deviations of the peer's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from gensim.models import Word2Vec

from bench.pairs import Timed, alternate, closing_line, timed
from stages.evaluate.analogies import word_tests
from stages.models.parts.heldout import heldout
from stages.models.parts.sampling import alias_table, noise_weights, shuffled
from stages.models.parts.skipgram import train
from stages.prepared import Prepared
from stages.settings import InputError

DIMENSION, WINDOW, NEGATIVES, EPOCHS, RATES = 100, 5, 5, 20, (0.025, 0.0001)
NO_BIAS = np.empty(0, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.words", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/prepared/wikitext2"), help="prepared documents with word tests")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2 epochs in place of 20")
    options = parser.parse_args()
    try:
        data = Prepared(options.data)
        if "analogies" not in data:
            raise InputError(f"{options.data}: has no word tests; ingest its dataset with options: {{word_tests: true}}")
    except InputError as error:
        sys.exit(f"error: {error}")
    epochs = 2 if options.quick else EPOCHS
    counts = np.array(data["counts"])
    counts[0] = 0
    noise, keep = alias_table(noise_weights(counts, 0.75)), (counts > 0).astype(np.float64)
    tokens, offsets = data["train.tokens"], data["train.offsets"]
    names = [str(i) for i in range(len(counts))]
    documents = [[names[w] for w in tokens[a:b] if w] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    def quality(inputs, outputs) -> dict[str, float]:
        loss = heldout(data["valid.tokens"], data["valid.offsets"], inputs, outputs, NO_BIAS, noise, keep, window=WINDOW, k=NEGATIVES)
        return {"loss": loss, **word_tests(inputs, data)}

    def peer(seed: int) -> Timed:
        model = Word2Vec(vector_size=DIMENSION, window=WINDOW, negative=NEGATIVES, sg=1, hs=0, sample=0, min_count=1, workers=2,
                         epochs=epochs, alpha=RATES[0], min_alpha=RATES[1], ns_exponent=0.75, seed=seed + 1)
        model.build_vocab(documents)
        run = timed(lambda: model.train(documents, total_examples=len(documents), epochs=epochs))
        place = np.array([model.wv.key_to_index.get(name, -1) for name in names])
        tables = [np.where((place >= 0)[:, None], table[place], 0.0).astype(np.float32) for table in (model.wv.vectors, model.syn1neg)]
        return Timed(run.wall, run.cpu, quality(*tables))

    def ours(seed: int) -> Timed:
        inputs = (np.random.default_rng(seed).random((len(counts), DIMENSION), np.float32) * 2 - 1) / DIMENSION
        outputs = np.zeros_like(inputs)
        fall = (RATES[1] - RATES[0]) / epochs

        def run():
            for epoch in range(epochs):
                train(tokens, offsets, shuffled(len(offsets) - 1, seed, epoch), inputs, outputs, NO_BIAS, noise, keep, window=WINDOW,
                      k=NEGATIVES, rates=(RATES[0] + fall * epoch, RATES[0] + fall * (epoch + 1)), seed=seed, epoch=epoch)
        done = timed(run)
        return Timed(done.wall, done.cpu, quality(inputs, outputs))

    spare = np.zeros((2, len(counts), DIMENSION), np.float32)
    train(tokens, offsets, np.zeros(1, np.int64), *spare, NO_BIAS, noise, keep, window=WINDOW, k=NEGATIVES, rates=RATES, seed=0, epoch=0)
    runs = alternate(peer, ours, max(options.seeds, 2))
    known = int((np.asarray(tokens) > 0).sum())
    print(f"{data.meta['dataset']}: {known:,} words of {len(counts) - 1:,} different, {epochs} epochs, {len(runs)} seeds each")
    scores = [[{**run[side].result, "words/s": known * epochs / run[side].wall} for run in runs] for side in (0, 1)]
    print(f"{'':28}{'gensim 4.4':>20}{'ours':>20}")
    for key in scores[0][0]:
        shown = [f"{statistics.mean(v):.4g} ± {statistics.stdev(v):.2g}" for v in ([s[key] for s in side] for side in scores)]
        print(f"{key:28}{shown[0]:>20}{shown[1]:>20}")
    key = "wordsim_spearman" if "wordsim_spearman" in scores[0][0] else "loss"
    found = [[s[key] for s in side] for side in scores]
    spread = statistics.stdev(found[0])
    rates = [[s["words/s"] for s in side] for side in scores]
    print(closing_line(f"word vectors of {data.meta['dataset']}, {key}: gensim 4.4 on 2 workers, ours on 1 thread", *rates,
                       *map(statistics.mean, found), "words/s", deviations=(statistics.mean(found[1]) - statistics.mean(found[0])) / spread,
                       sd_peer=spread, sd_ours=statistics.stdev(found[1]), coverage=scores[0][0]["wordsim_coverage"]))


if __name__ == "__main__":
    main()
