"""How far single code units answer for single known factors: MIG, FactorVAE score, beta-VAE metric, DCI, SAP.

All take codes float [n, D] (posterior means) and factors int [n, F], each column the index of a factor's value; every metric is between 0
and 1, higher is better. A unit whose standard deviation is below `DEAD` counts as collapsed: it is left out of votes and normalisation.
A useless representation scores near 0 with MIG, SAP and DCI, near the best constant guess 1/F with the two voting metrics.
"""

from __future__ import annotations

import numpy as np

DEAD = 0.05  # Kim and Mnih 2018: collapsed units are not voted for
BINS = 20


def scores(codes: np.ndarray, factors: np.ndarray, test: np.ndarray, seed: int) -> dict[str, float]:
    """All five, under their names in metrics files. `test` [n] bool marks the rows that DCI's and SAP's predictors are scored on."""
    disentangled, complete, informed = dci(codes, factors, test, seed)
    return {"mig": mig(codes, factors), "factorvae": factor_vae(codes, factors, seed), "betavae": beta_vae(codes, factors, seed),
            "dci": disentangled, "dci_completeness": complete, "dci_informativeness": informed, "sap": sap(codes, factors, test)}


def mutual_information(x: np.ndarray, y: np.ndarray) -> float:
    """Of two integer columns [n], in nats, from their joint counts."""
    table = np.zeros((int(x.max()) + 1, int(y.max()) + 1))
    np.add.at(table, (x, y), 1.0 / len(x))
    outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    there = table > 0
    return float((table[there] * np.log(table[there] / outer[there])).sum())


def discretised(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Codes [n, D] as indices of `bins` equal bins between each unit's extremes; a constant unit is one bin."""
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum(((codes - low) / width * bins).astype(np.int64), bins - 1)


def mig(codes: np.ndarray, factors: np.ndarray) -> float:
    """Mutual information gap: mean over factors of (I(z_1; v) - I(z_2; v)) / H(v), z_1 and z_2 the two most informative units.

    Chen, Li, Grosse, Duvenaud 2018, https://arxiv.org/abs/1802.04942, eq. 6; codes in 20 bins. One unit alone has a gap to 0.
    """
    binned, gaps = discretised(codes), []
    for factor in factors.T[factors.min(0) < factors.max(0)]:
        found = sorted((mutual_information(unit, factor) for unit in binned.T), reverse=True)
        gaps.append((found[0] - (found[1] if len(found) > 1 else 0.0)) / mutual_information(factor, factor))
    return float(np.mean(gaps))


def _fixed(factors: np.ndarray, rng: np.random.Generator, size: int) -> tuple[int, np.ndarray]:
    """(a factor that varies, `size` rows drawn with replacement that share one of its values)."""
    varying = np.flatnonzero(factors.min(0) < factors.max(0))
    factor = int(rng.choice(varying))
    value = factors[rng.integers(len(factors)), factor]
    return factor, rng.choice(np.flatnonzero(factors[:, factor] == value), size)


def factor_vae(codes: np.ndarray, factors: np.ndarray, seed: int, votes: int = 800, size: int = 64) -> float:
    """Accuracy of a majority vote from the unit of least normalised variance to the factor held fixed; scored on votes of its own.

    Kim and Mnih 2018, https://arxiv.org/abs/1802.05983, section 4: `votes` batches of `size` rows that share a value of the factor.
    """
    spread = codes.std(0)
    alive = np.flatnonzero(spread >= DEAD)
    if not len(alive):
        return 0.0
    scaled, rng = codes[:, alive] / spread[alive], np.random.default_rng(seed)
    tables = []
    for _ in range(2):  # the vote, then its test
        table = np.zeros((len(alive), factors.shape[1]))
        for _ in range(votes):
            factor, rows = _fixed(factors, rng, size)
            table[scaled[rows].var(0).argmin(), factor] += 1
        tables.append(table)
    return float(tables[1][np.arange(len(alive)), tables[0].argmax(1)].sum() / votes)


def beta_vae(codes: np.ndarray, factors: np.ndarray, seed: int, points: int = 1000, size: int = 64) -> float:
    """Accuracy of a linear classifier of the fixed factor from the mean absolute difference of `size` pairs that share its value.

    Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl, section 3; trained on `points` differences, scored on as many others.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng, found, labels = np.random.default_rng(seed), [], []
    for _ in range(2 * points):
        factor, rows = _fixed(factors, rng, 2 * size)
        found.append(np.abs(codes[rows[:size]] - codes[rows[size:]]).mean(0))
        labels.append(factor)
    x, y = np.stack(found), np.array(labels)
    scaler = StandardScaler().fit(x[:points])
    classifier = LogisticRegression(max_iter=1000).fit(scaler.transform(x[:points]), y[:points])
    return float(classifier.score(scaler.transform(x[points:]), y[points:]))


def dci(codes: np.ndarray, factors: np.ndarray, test: np.ndarray, seed: int) -> tuple[float, float, float]:
    """(disentanglement, completeness, informativeness) from the importances of random forests, one classifier a factor.

    Eastwood and Williams 2018, https://openreview.net/forum?id=By-7dz-AZ, section 2: R[i, j] is the importance of unit i for factor j;
    disentanglement weighs 1 - H_F(R[i] / sum) by the unit's share of all importance, completeness is 1 - H_D of each column averaged over
    factors, informativeness the mean accuracy on the rows of `test`.
    """
    from sklearn.ensemble import RandomForestClassifier

    importance, accuracy = [], []
    for factor in factors.T[factors.min(0) < factors.max(0)]:
        # every split sees every unit: forests that see a few at a time give importance to units that know nothing
        forest = RandomForestClassifier(50, max_features=None, min_samples_leaf=2, random_state=seed).fit(codes[~test], factor[~test])
        importance.append(forest.feature_importances_)
        accuracy.append(forest.score(codes[test], factor[test]))
    return *entropies(np.stack(importance, 1)), float(np.mean(accuracy))


def entropies(importance: np.ndarray) -> tuple[float, float]:
    """(disentanglement, completeness) of an importance matrix [D, F] of non-negative entries."""
    total = importance.sum()
    if total == 0:
        return 0.0, 0.0

    def one_minus_entropy(rows):
        if rows.shape[1] < 2:
            return np.ones(len(rows))
        share = rows / np.maximum(rows.sum(1, keepdims=True), 1e-300)
        logs = np.log(np.where(share > 0, share, 1.0))
        return 1.0 + (share * logs).sum(1) / np.log(rows.shape[1])

    disentangled = (importance.sum(1) / total * one_minus_entropy(importance)).sum()
    return float(disentangled), float(one_minus_entropy(importance.T).mean())


def sap(codes: np.ndarray, factors: np.ndarray, test: np.ndarray) -> float:
    """Separated attribute predictability: mean over factors of the gap between the two units that predict it best alone.

    Kumar, Sattigeri, Balakrishnan 2018, https://arxiv.org/abs/1711.00848, section 3. A unit's score is the accuracy on the rows of `test`
    of the best predictor that a histogram allows: the most frequent training value in each of 20 bins, less the accuracy of the most
    frequent value overall, over what is left. (The paper takes a linear SVM; on one unit it can only cut an ordered factor in two.)
    """
    binned, gaps = discretised(codes), []
    for factor in factors.T[factors.min(0) < factors.max(0)]:
        found = sorted((_predictability(unit, factor, test) for unit in binned.T), reverse=True)
        gaps.append(found[0] - (found[1] if len(found) > 1 else 0.0))
    return float(np.mean(gaps))


def _predictability(unit: np.ndarray, factor: np.ndarray, test: np.ndarray) -> float:
    table = np.zeros((BINS, int(factor.max()) + 1))
    np.add.at(table, (unit[~test], factor[~test]), 1)
    usual = int(table.sum(0).argmax())
    guess = np.where(table.sum(1) > 0, table.argmax(1), usual)
    chance = float((factor[test] == usual).mean())
    right = float((guess[unit[test]] == factor[test]).mean())
    return max(0.0, (right - chance) / max(1.0 - chance, 1e-12))
