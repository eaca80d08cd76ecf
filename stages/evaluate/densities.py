"""Explicit densities fitted in closed form: what a latent-variable model's bound has to beat. Nats, positive, lower is better."""

from __future__ import annotations

import numpy as np

RIDGES = tuple(10.0 ** (power / 2) for power in range(-12, 1))  # 1e-6 ... 1, added to every variance


def _principal(train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [D], variances [D] from large to small and directions [D, D] (columns) of the rows' maximum-likelihood covariance."""
    mean = train.mean(0)
    variances, directions = np.linalg.eigh((train - mean).T @ (train - mean) / len(train))
    return mean, variances[::-1].clip(0.0), directions[:, ::-1]


def _negative_log_density(rows, mean, variances, directions) -> np.ndarray:
    squares = ((rows - mean) @ directions) ** 2
    return 0.5 * (squares / variances + np.log(2.0 * np.pi * variances)).sum(1)


def gaussian(train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> np.ndarray:
    """-log N(x; mean, S + r I) of each test row [n], mean and full covariance S of train; the ridge r is the best of RIDGES on valid.

    Rows are [n, D]. Without a ridge, pixels that are constant in train would give infinite densities. No valid row: the largest.
    """
    mean, variances, directions = _principal(np.asarray(train, np.float64))
    ridge = min(RIDGES, key=lambda r: _negative_log_density(valid, mean, variances + r, directions).mean()) if len(valid) else RIDGES[-1]
    return _negative_log_density(test, mean, variances + ridge, directions)


def probabilistic_pca(train: np.ndarray, test: np.ndarray, width: int) -> np.ndarray:
    """-log N(x; mean, W W^T + s I) of each test row [n], W [D, width] and s at their maximum likelihood (Tipping and Bishop 1999, eq. 7-8).

    That is: the first `width` principal variances as they are, the mean of the others in all other directions. 0 < width < D.
    """
    mean, variances, directions = _principal(np.asarray(train, np.float64))
    fitted = variances.copy()
    fitted[width:] = variances[width:].mean()
    return _negative_log_density(test, mean, fitted.clip(RIDGES[0]), directions)
