import itertools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.evaluate import clustering, probes


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    codes = rng.normal(size=(240, 4)) * [1, 5, 0.1, 1] + np.array([[0, 0, 0, 0], [2, 0, 0.1, 0], [0, 8, 0, 1]])[labels]
    return codes[:160], labels[:160], codes[160:], labels[160:]


def test_probe_equals_the_sklearn_pipeline(blobs):
    train, train_labels, test, test_labels = blobs
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, train_labels)
    assert probes.probe_accuracy(*blobs) == reference.score(test, test_labels)


def test_codes_that_are_the_labels_score_one_and_noise_scores_chance():
    rng = np.random.default_rng(1)
    labels, held = rng.integers(0, 4, 400), rng.integers(0, 4, 2000)
    perfect = probes.probe(np.eye(4)[labels], labels, np.eye(4)[held], held)
    assert perfect == {"probe_accuracy": 1.0, "probe_accuracy_5": 1.0, "knn_accuracy": 1.0}
    noise = probes.probe(rng.normal(size=(400, 6)), labels, rng.normal(size=(2000, 6)), held)
    assert all(abs(value - 0.25) < 0.05 for value in noise.values())


def test_standardising_leaves_constant_columns_at_zero():
    train, test = probes.standardised(np.array([[1.0, 7.0], [3.0, 7.0]]), np.array([[2.0, 9.0]]))
    assert train.tolist() == [[-1.0, 0.0], [1.0, 0.0]] and test.tolist() == [[0.0, 0.0]]


def test_few_labels_draws_the_same_number_of_each_class_and_depends_on_the_seed():
    labels = np.array([0] * 50 + [1] * 20 + [2] * 3)
    rows = probes.few_labels(labels, 5, 0)
    assert np.bincount(labels[rows]).tolist() == [5, 5, 3] and len(set(rows.tolist())) == 13
    assert rows.tolist() == probes.few_labels(labels, 5, 0).tolist() != probes.few_labels(labels, 5, 1).tolist()


def test_active_units_counts_by_the_variance_threshold():
    rng = np.random.default_rng(2)
    assert probes.active_units(rng.normal(size=(5000, 3)) * [1.0, 0.12, 0.08]) == 2


def test_principal_codes_equal_sklearn_up_to_sign(blobs):
    train, _, test, _ = blobs
    reference = PCA(2).fit(train)
    for ours, theirs in zip(probes.principal_codes(train, test, 2), (reference.transform(train), reference.transform(test)), strict=True):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)


def test_hungarian_equals_the_best_permutation():
    rng = np.random.default_rng(3)
    for _ in range(20):
        clusters, labels = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
        clusters[:4] = labels[:4] = range(4)
        best = max(np.mean(np.array(p)[clusters] == labels) for p in itertools.permutations(range(4)))
        assert clustering.hungarian_accuracy((clusters, labels), (clusters, labels)) == pytest.approx(best)


def test_the_assignment_is_fitted_on_train_not_on_test():
    train = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    swapped = np.array([0, 1]), np.array([0, 1])
    assert clustering.hungarian_accuracy(train, swapped) == 0.0
    assert clustering.hungarian_accuracy(train, (np.array([0, 1, 2]), np.array([1, 0, 0]))) == pytest.approx(2 / 3)


def test_clusters_beyond_the_labels_get_none():
    assert clustering.match(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 0, 1, 1, 1, 1])).tolist() == [0, -1, 1]


def entropy(counts):
    p = counts[counts > 0] / counts.sum()
    return -(p * np.log(p)).sum()


def test_nmi_and_ari_equal_their_definitions():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 80)
    clusters = np.where(rng.random(80) < 0.6, labels, rng.integers(0, 4, 80))
    table = np.zeros((4, 3))
    np.add.at(table, (clusters, labels), 1)
    h_c, h_l = entropy(table.sum(1)), entropy(table.sum(0))
    nmi = (h_c + h_l - entropy(table.ravel())) / ((h_c + h_l) / 2)
    same = [(a, b) for a, b in itertools.combinations(range(80), 2)]
    both = sum(clusters[a] == clusters[b] and labels[a] == labels[b] for a, b in same)
    c, t = sum(clusters[a] == clusters[b] for a, b in same), sum(labels[a] == labels[b] for a, b in same)
    expected = c * t / len(same)
    found = clustering.agreement((clusters, labels), (clusters, labels))
    assert found["nmi"] == pytest.approx(nmi)
    assert found["ari"] == pytest.approx((both - expected) / ((c + t) / 2 - expected))


def test_kmeans_finds_separate_blobs_on_both_splits():
    rng = np.random.default_rng(5)
    labels = np.arange(90) % 3
    points = labels[:, None] * 20.0 + rng.normal(size=(90, 2))
    train, test = clustering.kmeans(points[:60], points[60:], 3, seed=0)
    assert clustering.agreement((train, labels[:60]), (test, labels[60:])) == {"hungarian_accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
