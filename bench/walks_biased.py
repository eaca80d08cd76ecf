"""Random walks, p = 0.25, q = 4: PecanPy with precomputed tables against ours. What is measured and how: bench/walks.py."""

from bench.walks import compare, pecanpy

if __name__ == "__main__":
    compare(pecanpy.PreComp, 0.25, 4.0)
