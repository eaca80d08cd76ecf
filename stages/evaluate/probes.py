"""What a linear reader finds in frozen codes. Trained on the training split's codes, scored on the test split's."""

from __future__ import annotations

import numpy as np


def probe_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of scikit-learn's logistic regression (C = 1) on standardised codes [n, D]."""
    from sklearn.linear_model import LogisticRegression

    train, test = standardised(train, test)
    return float(LogisticRegression(max_iter=1000).fit(train, train_labels).score(test, test_labels))


def standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both splits with the training split's mean and standard deviation taken out; constant columns become 0."""
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    mean, sd = train.mean(0), train.std(0)
    scale = np.where(sd > 1e-12, sd, np.inf)
    return (train - mean) / scale, (test - mean) / scale


def few_labels(labels: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Sorted rows of `each` (or as many as there are) examples a class, drawn without replacement."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:each] for c in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def probe(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray,
          each: int = 5, repeats: int = 5, neighbours: int = 1, seed: int = 0) -> dict[str, float]:
    """probe_accuracy, probe_accuracy_5 (`each` labels a class, mean over `repeats` draws), knn_accuracy (Euclidean, codes as they are)."""
    from sklearn.neighbors import KNeighborsClassifier

    few = [few_labels(train_labels, each, [seed, r]) for r in range(repeats)]
    nearest = KNeighborsClassifier(neighbours).fit(train, train_labels)
    return {"probe_accuracy": probe_accuracy(train, train_labels, test, test_labels),
            "probe_accuracy_5": float(np.mean([probe_accuracy(train[f], train_labels[f], test, test_labels) for f in few])),
            "knn_accuracy": float(nearest.score(test, test_labels))}


def active_units(codes: np.ndarray, threshold: float = 0.01) -> int:
    """Coordinates whose posterior mean varies over the data: Var_x E[z_u | x] > 0.01 (Burda et al. 2016). codes are the means [n, D]."""
    return int((np.asarray(codes, np.float64).var(0) > threshold).sum())


def against_principal(train: np.ndarray, basis: np.ndarray) -> dict[str, float]:
    """How far the span of `basis` [D, k] (orthonormal columns) is from the first k principal directions of the rows of `train` [n, D].

    projector_distance: Frobenius norm of the difference of the two projectors, 0 to sqrt(2 k); principal_angle: the largest, in degrees
    (Bjoerck and Golub 1973); explained_variance: share of the rows' variance within the span.
    """
    centred = np.asarray(train, np.float64) - np.mean(train, 0)
    basis = np.asarray(basis, np.float64)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : basis.shape[1]]
    smallest = np.clip(np.linalg.svd(basis.T @ directions, compute_uv=False)[-1], -1.0, 1.0)
    return {"projector_distance": float(np.linalg.norm(basis @ basis.T - directions @ directions.T)),
            "principal_angle": float(np.degrees(np.arccos(smallest))),
            "explained_variance": float(np.square(centred @ basis).sum() / np.square(centred).sum())}


def principal_codes(train: np.ndarray, test: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Both splits projected on the training split's first `width` principal directions (fewer where the data has fewer); signs fixed."""
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    mean = train.mean(0)
    values, vectors = np.linalg.eigh((train - mean).T @ (train - mean))
    directions = vectors[:, ::-1][:, :width]
    directions = directions * np.where(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])] < 0, -1.0, 1.0)
    return (train - mean) @ directions, (test - mean) @ directions
