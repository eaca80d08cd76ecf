"""bench.skipgram with two threads of ours (Hogwild: they share the tables without locks, so two runs differ in the last digits)."""

from __future__ import annotations

from bench.skipgram import compare

if __name__ == "__main__":
    compare("skip-gram with negative sampling", cbow=False, threads=2, rates=(0.025, 0.0001), unit="pairs/s")
