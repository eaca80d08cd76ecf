"""Random numbers and weighted draws inside numba kernels: a stream is a pure function of (seed, epoch, part).

The generator is SplitMix64 (Steele, Lea, Flood 2014, https://doi.org/10.1145/2714064.2660195); weighted draws use the alias method
(Walker 1977, built as in Vose 1991, https://doi.org/10.1109/32.92917): two table reads for any number of categories.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numba
import numpy as np
from numba import njit

if not numba.config.CACHE_DIR:  # numba's own key is one file; these kernels inline each other across files, so the key is all of them
    _folder = Path(__file__).parent
    _sources = b"".join(source for path in sorted(_folder.glob("*.py")) if b"njit" in (source := path.read_bytes()))
    numba.config.CACHE_DIR = str(_folder / "__pycache__" / hashlib.sha256(_sources).hexdigest()[:12])

GOLDEN, MIX1, MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S11, S27, S30, S31, S32 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)


def stream(seed: int, epoch: int, part: int = 0) -> np.ndarray:
    """State (uint64 [1]) of the random stream that belongs to (seed, epoch, part); kernels advance it in place."""
    return np.random.SeedSequence([seed, epoch, part]).generate_state(1, np.uint64)


def shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order (int64 [n]) in which an epoch visits its n examples."""
    return np.random.default_rng([seed, epoch, 1 << 20]).permutation(n)


@njit(nogil=True, cache=True, inline="always")
def mix(z):
    """SplitMix64's scrambling of 64 bits."""
    z = (z ^ (z >> S30)) * MIX1
    z = (z ^ (z >> S27)) * MIX2
    return z ^ (z >> S31)


@njit(nogil=True, cache=True)
def bits(state):
    """The next 64 random bits."""
    state[0] += GOLDEN
    return mix(state[0])


@njit(nogil=True, cache=True)
def below(state, n):
    """Uniform integer in 0..n-1 (bias below n / 2^32)."""
    return np.int64(((bits(state) >> S32) * np.uint64(n)) >> S32)


@njit(nogil=True, cache=True, inline="always")
def unit(z):
    """64 random bits -> uniform float64 in [0, 1), of 53 of them."""
    return np.float64(z >> S11) * (1.0 / 9007199254740992.0)


@njit(nogil=True, cache=True)
def uniform(state):
    """Uniform float64 in [0, 1) with 53 bits."""
    return unit(bits(state))


@njit(nogil=True, cache=True)
def draw(state, table):
    """A category drawn from the alias table."""
    z = bits(state)
    i = ((z >> S32) * np.uint64(len(table))) >> S32
    return np.int64(i) if np.uint32(z & LOW) < table[i, 0] else np.int64(table[i, 1])


@njit(nogil=True, cache=True)
def vose(scaled, table):
    """Fill an alias table in which every entry is its own alias with share 0; scaled: weights of mean 1, used up."""
    n = len(scaled)
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        if scaled[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        i, j = small[n_small], large[n_large - 1]
        table[i, 0] = np.uint32(scaled[i] * 4294967296.0)
        table[i, 1] = j
        scaled[j] -= 1.0 - scaled[i]
        if scaled[j] < 1.0:
            n_large -= 1
            small[n_small] = j
            n_small += 1


def alias_table(weights: np.ndarray) -> np.ndarray:
    """Alias table uint32 [n, 2] (its own share of the row, in units of 2^-32; whose the rest is) of weights >= 0, one of them > 0."""
    weights = np.asarray(weights, np.float64)
    if not len(weights) or weights.min() < 0 or not np.isfinite(weights).all() or weights.sum() <= 0:
        raise ValueError("alias_table: expected finite weights of at least 0, one of them positive")
    own = np.arange(len(weights), dtype=np.uint32)
    table = np.stack([np.zeros_like(own), own], 1)  # whoever keeps its whole row is its own alias
    vose(weights * (len(weights) / weights.sum()), table)
    stray = (weights == 0) & (table[:, 1] == own)  # rounding left it over; what has no weight must never be drawn
    table[stray, 1] = weights.argmax()
    return table


def noise_weights(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Noise distribution of negative sampling, counts^exponent normalised; what never occurs in training is never noise."""
    counts = np.asarray(counts, np.float64)
    weights = np.where(counts > 0, np.power(np.where(counts > 0, counts, 1.0), exponent), 0.0)
    return weights / weights.sum()
