"""Clusters against labels. Assignments are fitted on the training split and scored on the test split."""

from __future__ import annotations

import numpy as np


def match(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One-to-one assignment of clusters to labels that matches most points (Hungarian method).

    Returns int64 [clusters]: the label of each cluster, -1 for clusters beyond the number of labels.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((int(clusters.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(table, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    assignment = np.full(len(table), -1, np.int64)
    assignment[rows] = columns
    return assignment


def hungarian_accuracy(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of test points whose cluster's label, matched on train, is theirs. Each pair is (clusters [n], labels [n])."""
    assignment = match(*train)
    clusters, labels = test
    known = clusters < len(assignment)  # a cluster without training points has no label: always wrong
    return float((known & (assignment[np.where(known, clusters, 0)] == labels)).mean())


def agreement(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """hungarian_accuracy, and on the test split nmi (arithmetic mean of the entropies) and ari."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {"hungarian_accuracy": hungarian_accuracy(train, test),
            "nmi": float(normalized_mutual_info_score(test[1], test[0])), "ari": float(adjusted_rand_score(test[1], test[0]))}


def kmeans(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of both splits, centres fitted on train (10 starts)."""
    from sklearn.cluster import KMeans

    model = KMeans(k, n_init=10, random_state=seed).fit(np.asarray(train, np.float64))
    return model.labels_.astype(np.int64), model.predict(np.asarray(test, np.float64)).astype(np.int64)
