"""CBOW with negative sampling: gensim with two workers against ours with two threads, on the corpus and by the measures of bench.skipgram.

`python -m bench.cbow [--quick] [--pairs N]` with bench/.venv's Python. Rate .05 falling to .0001 for both, the rest as there. gensim's
`cbow_mean=1` gives each context word the whole gradient of the mean (as the authors' code), ours its n-th part; so that both take steps of
the same length, our rate is multiplied by the mean number of context words. The unit is centre words a second.
"""

from __future__ import annotations

from bench.skipgram import compare

if __name__ == "__main__":
    compare("CBOW with negative sampling", cbow=True, threads=2, rates=(0.05, 0.0001), unit="words/s")
