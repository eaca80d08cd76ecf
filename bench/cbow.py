"""CBOW with negative sampling: gensim with two workers against ours with two threads, on the corpus and by the measures of bench.skipgram.

`python -m bench.cbow [--quick] [--pairs N]` with bench/.venv's Python; the unit is centre words a second. gensim gives each context word
the whole gradient of the mean, as the authors' code does, ours its n-th part; at twice gensim's rate (.05 falling to .0001) ours reaches
its held-out loss, so the rates differ by that factor. Speed does not depend on them.
"""

from __future__ import annotations

from bench.skipgram import compare

if __name__ == "__main__":
    compare("CBOW with negative sampling", cbow=True, threads=2, rates=(0.05, 0.0001), unit="words/s", faster=2.0)
