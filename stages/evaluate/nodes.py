"""Node classification and edge prediction from vectors of nodes, and their classical rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import linalg, optimize, sparse

from stages.evaluate.probes import standardised
from stages.evaluate.repeated import Repeated

SHARES = (0.02, 0.1, 0.5, 0.9)  # of the labels; 10, 50 and 90 % are DeepWalk's, 2 % is where methods differ most


def one_vs_rest(train: np.ndarray, targets: np.ndarray, test: np.ndarray, c: float = 1.0) -> np.ndarray:
    """Decision scores [n_test, classes] of one logistic regression a class: 1/2 |w|^2 + C sum log(1 + exp(-y f)), intercept free.

    The same optimum as scikit-learn's OneVsRestClassifier(LogisticRegression(C)), all classes in one minimisation. targets bool
    [n, classes]; a class without positives gets -inf, one without negatives +inf.
    """
    present, absent = targets.any(0), ~targets.all(0)
    fitted = present & absent
    scores = np.where(present, np.inf, -np.inf) * np.ones((len(test), 1))
    if fitted.any():
        x = np.column_stack([train, np.ones(len(train))])
        sign, share = np.where(targets[:, fitted], 1.0, -1.0), targets[:, fitted].mean(0)
        curvature = c * (share * (1.0 - share)).mean() * (x.T @ x)  # near the Hessian: evens the scales
        curvature[np.diag_indices(x.shape[1] - 1)] += 1.0
        turn = linalg.solve_triangular(np.linalg.cholesky(curvature).T, np.eye(x.shape[1]))
        turned, penalty = x @ turn, turn[:-1].T @ turn[:-1]

        def objective(flat):
            weights = flat.reshape(len(turn), -1)
            margin = sign * (turned @ weights)
            small = np.exp(-np.abs(margin))
            wrong = np.where(margin >= 0, small, 1.0) / (1.0 + small)  # s(-margin)
            pull = penalty @ weights
            loss = 0.5 * (weights * pull).sum() + c * (np.log1p(small).sum() - np.minimum(margin, 0.0).sum())
            return loss, (pull - c * (turned.T @ (sign * wrong))).ravel()

        found = optimize.minimize(objective, np.zeros(len(turn) * sign.shape[1]), jac=True, method="L-BFGS-B",
                                  options={"maxiter": 500, "ftol": 1e-7, "gtol": 1e-6})
        scores[:, fitted] = np.column_stack([test, np.ones(len(test))]) @ (turn @ found.x.reshape(len(turn), -1))
    return scores


def top_k(scores: np.ndarray, k: np.ndarray) -> np.ndarray:
    """bool [n, classes]: the k[i] best classes of row i, their number being known (Perozzi et al. 2014). Ties by class id."""
    order = np.argsort(-scores, axis=1, kind="stable")
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, order, np.arange(scores.shape[1])[None] < k[:, None], 1)
    return chosen


def f1(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """(micro, macro) F1 of bool [n, classes]; macro over the classes that occur in the truth or the prediction."""
    both, sums = (truth & predicted).sum(0), truth.sum(0) + predicted.sum(0)
    occurring = sums > 0
    return float(2.0 * both.sum() / max(sums.sum(), 1)), float((2.0 * both[occurring] / sums[occurring]).mean())


def shuffles(n: int, share: float, repeats: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(labelled, rest) positions of `repeats` random splits with `share` of n labelled; the same for every method."""
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(n)
        cut = min(max(int(round(share * n)), 1), n - 1)
        yield np.sort(order[:cut]), np.sort(order[cut:])


Classify = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def label_matrix(labels: np.ndarray, classes: int) -> np.ndarray:
    """bool [n, classes] of one label a node, int [n], -1: none."""
    return labels[:, None] == np.arange(classes)[None]


def classification(classify: Classify, truth: np.ndarray, scored: np.ndarray | None = None, shares=SHARES, repeats: int = 10,
                   seed: int = 0) -> dict[str, float]:
    """micro_f1_2 ... macro_f1_90: means over `repeats` shuffles and their spread; a test node's number of labels is known.

    truth bool [n, classes]; nodes without a label are left out. classify(labelled nodes, bool targets of them [n, classes], nodes to
    classify) -> scores [m, classes]. Of the nodes to classify those of `scored`, bool [n], count; None: all of them.
    """
    nodes = np.flatnonzero(truth.any(1))
    truth, scored = truth[nodes], np.ones(len(nodes), bool) if scored is None else scored[nodes]
    metrics = {}
    for share in shares:
        found = []
        for known, rest in shuffles(len(nodes), share, repeats, seed):
            rest = rest[scored[rest]]
            if len(rest):
                scores = classify(nodes[known], truth[known], nodes[rest])
                found.append(f1(truth[rest], top_k(scores, truth[rest].sum(1))))
        if found:
            for name, values in zip(("micro", "macro"), np.transpose(found), strict=True):
                metrics[f"{name}_f1_{round(100 * share)}"] = Repeated(values)
    return metrics


def by_regression(vectors: np.ndarray, c: float) -> Classify:
    """One-vs-rest logistic regression of strength C on the vectors, standardised on the labelled nodes."""
    def classify(known, targets, rest):
        train, test = standardised(vectors[known], vectors[rest])
        return one_vs_rest(train, targets, test, c)
    return classify


def by_vectors(vectors: np.ndarray) -> Classify:
    """Logistic regression with C = 1 or 0.1, whichever is better among the labelled nodes: one C favours one spread of vectors."""
    return by_best([by_regression(vectors, c) for c in (1.0, 0.1)])


def by_majority(known, targets, rest) -> np.ndarray:
    """Every node gets the commonest labels of the labelled ones."""
    return np.tile(targets.sum(0).astype(float), (len(rest), 1))


def by_propagation(adjacency: sparse.csr_matrix, steps: int = 50) -> Classify:
    """Label propagation (Zhu and Ghahramani 2002): F <- D^-1 A F with the labelled rows held, `steps` times; unreached nodes: majority."""
    degree = np.asarray(adjacency.sum(1)).ravel()
    walk = (sparse.diags(1.0 / np.maximum(degree, 1e-12)) @ adjacency).tocsr()

    def classify(known, targets, rest):
        free = np.setdiff1d(np.arange(adjacency.shape[0]), known)
        rows = walk[free]
        inflow, among = rows[:, known] @ targets.astype(np.float64), rows[:, free].tocsr()
        mass = np.zeros_like(inflow)
        for _ in range(steps):
            mass = inflow + among @ mass
        return mass[np.searchsorted(free, rest)] + 1e-9 * targets.mean(0)
    return classify


def by_spreading(adjacency: sparse.csr_matrix, alpha: float = 0.9, steps: int = 50) -> Classify:
    """Label spreading (Zhou et al. 2004): F <- alpha D^-1/2 A D^-1/2 F + (1 - alpha) Y, `steps` times; unreached nodes: majority."""
    normal = normalised(adjacency)

    def classify(known, targets, rest):
        given = np.zeros((adjacency.shape[0], targets.shape[1]))
        given[known] = (1.0 - alpha) * targets
        mass = given
        for _ in range(steps):
            mass = alpha * (normal @ mass) + given
        return mass[rest] + 1e-9 * targets.mean(0)
    return classify


def by_best(candidates: list[Classify], seed: int = 0) -> Classify:
    """The candidate whose macro-F1 is highest on the labelled nodes alone, each half of them classified from the other; first of equals."""
    def classify(known, targets, rest):
        halves = next(shuffles(len(known), 0.5, 1, seed)) if len(known) > 1 else None
        if halves is None:
            return candidates[0](known, targets, rest)
        found = []
        for candidate in candidates:
            scores = [f1(targets[b], top_k(candidate(known[a], targets[a], known[b]), targets[b].sum(1)))[1]
                      for a, b in (halves, halves[::-1])]
            found.append(sum(scores))
        return candidates[int(np.argmax(found))](known, targets, rest)
    return classify


def strongest_propagation(adjacency: sparse.csr_matrix) -> Classify:
    """label_propagation: propagation or spreading over weighted or equal edges, whichever is best among the labelled nodes."""
    equal = adjacency.copy()
    equal.data[:] = 1.0
    return by_best([by_propagation(adjacency), by_propagation(equal), by_spreading(adjacency), by_spreading(equal)])


def adjacency(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> sparse.csr_matrix:
    """The training graph, symmetric, float64."""
    n = len(indptr) - 1
    return sparse.csr_matrix((np.asarray(weights, np.float64), np.asarray(indices), np.asarray(indptr)), (n, n))


def normalised(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    """D^-1/2 A D^-1/2; isolated nodes have empty rows."""
    degree = np.asarray(graph.sum(1)).ravel()
    scale = sparse.diags(np.where(degree > 0, 1.0 / np.sqrt(np.maximum(degree, 1e-12)), 0.0))
    return (scale @ graph @ scale).tocsr()


def eigenpairs(graph: sparse.csr_matrix, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(values [width], vectors [n, width]) of D^-1/2 A D^-1/2, the largest eigenvalues first (the smallest of the normalised Laplacian).

    The leading one, constant up to degree, is left out. Signs are fixed: the entry of the largest size is positive.
    """
    from scipy.sparse.linalg import eigsh

    normal = normalised(graph)
    n, k = graph.shape[0], width + 1
    if k < n - 1:
        values, vectors = eigsh(normal + sparse.identity(n), k, which="LA", v0=np.ones(n))
        values = values - 1.0
    else:
        values, vectors = np.linalg.eigh(normal.toarray())
    order = np.argsort(-values, kind="stable")[1:k]
    values, vectors = values[order], vectors[:, order]
    return values, vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])] < 0, -1.0, 1.0)


def spectral(vectors: np.ndarray) -> np.ndarray:
    """[n, width]: rows of the eigenvectors scaled to length 1 (Ng, Jordan and Weiss 2002); isolated nodes get 0.

    For classification: the scaling makes the stronger rival, 1 to 3 points of macro-F1 on the standard library's call graph.
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def series(values: np.ndarray, vectors: np.ndarray, alpha: float = 0.95) -> np.ndarray:
    """[n, width]: eigenvectors times 1 / (1 - alpha lambda), for scoring links by the cosine of two rows (`edge_scores`).

    They are the nodes' rows of sum_k alpha^k N^k = (I - alpha N)^-1, N = D^-1/2 A D^-1/2, in the basis of the eigenvectors given: Katz's
    index (1953, https://doi.org/10.1007/BF02289026) of the normalised graph, truncated to them. Alpha is fixed beforehand, near 1 so that
    walks of about 20 steps count, and the cosine is how a model's own vectors are scored.
    """
    return vectors / (1.0 - alpha * values)


def neighbour_scores(graph: sparse.csr_matrix, pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Scores [n] of pairs [n, 2] by common_neighbours, adamic_adar (sum of 1 / log degree of the shared) and preferential_attachment."""
    links = graph.copy()
    links.data[:] = 1.0
    degree = np.asarray(links.sum(1)).ravel()
    left, right = links[pairs[:, 0]], links[pairs[:, 1]]
    shared = left.multiply(right).tocsr()
    weight = np.where(degree > 1, 1.0 / np.log(np.maximum(degree, 2.0)), 0.0)
    return {"common_neighbours": np.asarray(shared.sum(1)).ravel(), "adamic_adar": shared @ weight,
            "preferential_attachment": degree[pairs[:, 0]] * degree[pairs[:, 1]]}


def edge_scores(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosine of the two ends [n]; zero vectors score 0."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(1)
