"""How close a set of samples is to a set of real images, in the features of a net: FID, KID, precision and recall, and copying.

Every function takes float arrays [n, D], whatever the features are; numbers of different feature nets are never comparable.
"""

from __future__ import annotations

import numpy as np

ROWS = 256  # rows of a distance matrix held at once


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Frechet distance of the Gaussians with the sets' means and (unbiased) covariances: FID, Heusel et al. 2017, eq. 6.

    |m_x - m_y|^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^1/2). With S_x = L L^T the last trace is the sum of the roots of the eigenvalues
    of L^T S_y L: symmetric, so 4-10 times faster than a general matrix root. At least two rows each.
    """
    (mean_x, cov_x), (mean_y, cov_y) = _moments(x), _moments(y)
    root = _factor(cov_x)
    eigenvalues = np.linalg.eigvalsh(root.T @ cov_y @ root)
    distance = ((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2.0 * np.sqrt(eigenvalues.clip(0.0)).sum()
    return float(max(distance, 0.0))


def _moments(x):
    x = np.asarray(x, np.float64)
    if len(x) < 2:
        raise ValueError(f"a covariance needs at least 2 rows, found {len(x)}")
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def _factor(covariance):
    """L with L L^T = covariance; Cholesky, or from the eigenvectors where it is singular (fewer rows than dimensions, dead features)."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(values.clip(0.0))


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """KID (Binkowski et al. 2018): unbiased squared MMD under k(a, b) = (a.b / D + 1)^3, over all pairs in place of random subsets."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n, m = len(x), len(y)
    return float(_kernel_sum(x, x, diagonal=False) / (n * (n - 1)) + _kernel_sum(y, y, diagonal=False) / (m * (m - 1))
                 - 2.0 * _kernel_sum(x, y) / (n * m))


def _kernel_sum(x, y, diagonal=True):
    dimension, total = x.shape[1], 0.0
    for start in range(0, len(x), ROWS):
        total += ((x[start : start + ROWS] @ y.T / dimension + 1.0) ** 3).sum()
    return total if diagonal else total - (((x * x).sum(1) / dimension + 1.0) ** 3).sum()


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, m]."""
    return ((x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2.0 * (x @ y.T)).clip(0.0)


def neighbour_distances(x: np.ndarray, y: np.ndarray, k: int = 1, itself: bool = False) -> np.ndarray:
    """Distance of each row of x to its k-th nearest row of y. `itself`: x is y, and a row is no neighbour of its own.

    Rows are ranked in float32, twice as fast, and the distance to the chosen one is then taken in float64, so that a copy is at 0.
    """
    x, y = np.asarray(x), np.asarray(y)
    centre = y.mean(0)  # what float32 rounds is then of the size of the distances
    x32, y32 = ((rows - centre).astype(np.float32) for rows in (x, y))
    half, columns = 0.5 * (y32 * y32).sum(1), np.ascontiguousarray(y32.T)
    found = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        block = half - x32[start : start + ROWS] @ columns
        if itself:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        chosen = block.argmin(1) if k == 1 else np.argpartition(block, k - 1, axis=1)[:, k - 1]
        found[start : start + ROWS] = ((rows.astype(np.float64) - y[chosen]) ** 2).sum(1)
    return np.sqrt(found)


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) with k nearest neighbours.

    Ball of a point: its distance to its k-th nearest other point of its own set. precision: fakes in any real ball; recall: reals in any
    fake ball; density: real balls a fake lies in, over k (may exceed 1); coverage: real balls that hold a fake. The four depend on the
    numbers of points, so `fake` is read in consecutive blocks as large as `real` (the rest is left) and the blocks' values are averaged.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if len(real) <= k or len(fake) <= k:
        raise ValueError(f"{k} neighbours need more than {k} points on each side, found {len(real)} and {len(fake)}")
    size = min(len(real), len(fake))
    radius = neighbour_distances(real, real, k, itself=True) ** 2
    blocks = [_balls(real, radius, fake[start : start + size], k) for start in range(0, len(fake) - size + 1, size)]
    return dict(zip(("precision", "recall", "density", "coverage"), np.mean(blocks, axis=0).tolist(), strict=True))


def _balls(real, radius, fake, k):
    own = neighbour_distances(fake, fake, k, itself=True) ** 2
    inside_real, inside_fake, nearest = np.zeros(len(fake)), np.zeros(len(real), bool), np.full(len(real), np.inf)
    for start in range(0, len(real), ROWS):
        rows = slice(start, start + ROWS)
        distances = squared_distances(real[rows], fake)
        inside_real += (distances <= radius[rows, None]).sum(0)
        inside_fake[rows] = (distances <= own[None]).any(1)
        nearest[rows] = distances.min(1)
    return (inside_real > 0).mean(), inside_fake.mean(), inside_real.mean() / k, (nearest <= radius).mean()


def memorisation(samples: np.ndarray, train: np.ndarray, heldout: np.ndarray) -> dict[str, float]:
    """Are samples nearer to the training images than unseen real images are? Compare pixels, or features.

    memorisation: median distance of a sample to its nearest training image over the same median of held-out images; about 1 for new
    images, towards 0 for copies. copied_share: samples nearer to a training image than 1 % of held-out images are (0.01 expected).
    """
    sample, real = neighbour_distances(samples, train), neighbour_distances(heldout, train)
    return {"memorisation": float(np.median(sample) / max(np.median(real), 1e-12)),
            "copied_share": float((sample < np.quantile(real, 0.01)).mean())}


def class_cover(probabilities: np.ndarray) -> dict[str, float]:
    """What a classifier sees in samples; probabilities [n, C].

    confident_share: largest probability above 0.9. classes_covered: classes that are the likeliest of at least a tenth of an equal share
    (n / (10 C)) of the samples. class_entropy: of the likeliest classes, nats, at most log C.
    """
    n, classes = probabilities.shape
    shares = np.bincount(probabilities.argmax(1), minlength=classes) / n
    seen = shares[shares > 0]
    return {"confident_share": float((probabilities.max(1) > 0.9).mean()),
            "classes_covered": float((shares >= 1.0 / (10 * classes)).sum()),
            "class_entropy": float(-(seen * np.log(seen)).sum())}


def mode_cover(points: np.ndarray, modes: np.ndarray, sigma: float) -> dict[str, float]:
    """Mixtures of known modes. high_quality: share of points within 3 sigma of a mode; modes: modes with at least one such point."""
    distances = np.sqrt(squared_distances(np.asarray(points, np.float64), np.asarray(modes, np.float64)))
    nearest, good = distances.argmin(1), distances.min(1) <= 3.0 * sigma
    return {"modes": float(len(np.unique(nearest[good]))), "high_quality": float(good.mean())}


def class_modes(classes: np.ndarray, real: np.ndarray, n: int) -> dict[str, float]:
    """Stacked digits: modes, the classes with at least one sample, of n; and how unevenly they are met.

    mode_kl: KL of the samples' class shares from those of real images, nats; classes int [samples] and [images]. A class that no real
    image has counts as one image there.
    """
    counts, known = np.bincount(classes, minlength=n), np.maximum(np.bincount(real, minlength=n), 1)
    seen = counts > 0
    share, expected = counts[seen] / len(classes), known[seen] / known.sum()
    return {"modes": float(seen.sum()), "mode_kl": float((share * np.log(share / expected)).sum())}


def sharpness(images: np.ndarray) -> float:
    """Mean over images of the variance of the 4-neighbour Laplacian; images [n, C, H, W] in [0, 1]. Blur lowers it, noise raises it."""
    x = np.asarray(images, np.float64)
    laplacian = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:] - 4.0 * x[..., 1:-1, 1:-1]
    return float(laplacian.reshape(len(x), -1).var(1).mean())


def gaussian_samples(train: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n samples of the full-covariance Gaussian fitted to the training rows [m, D], clipped to [0, 1]: the explicit-density baseline."""
    mean, covariance = _moments(train)
    noise = np.random.default_rng(seed).standard_normal((n, len(mean)))
    return (mean + noise @ _factor(covariance).T).clip(0.0, 1.0)
