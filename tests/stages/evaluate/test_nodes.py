import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from stages.evaluate import charts, nodes
from stages.evaluate.pictures import PALETTE
from stages.evaluate.ranking import auc


def clubs(n=60, p=0.35, q=0.02, seed=0):
    graph = nx.planted_partition_graph(3, n // 3, p, q, seed=seed)
    return sparse.csr_matrix(nx.to_scipy_sparse_array(graph, dtype=float)), np.repeat(np.arange(3), n // 3), graph


def test_one_vs_rest_equals_sklearn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 150)
    x, test = rng.normal(size=(150, 6)) + np.eye(4, 6)[labels], rng.normal(size=(50, 6))
    targets = labels[:, None] == np.arange(4)
    reference = OneVsRestClassifier(LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)).fit(x, labels)
    np.testing.assert_allclose(nodes.one_vs_rest(x, targets, test), reference.decision_function(test), atol=5e-3)


def test_one_vs_rest_gives_classes_without_examples_no_chance():
    targets = np.array([[True, False, False], [True, True, False]])
    scores = nodes.one_vs_rest(np.array([[0.0], [1.0]]), targets, np.array([[0.2], [3.0]]))
    assert (scores[:, 0] == np.inf).all() and (scores[:, 2] == -np.inf).all() and scores[0, 1] < scores[1, 1]


def test_f1_equals_sklearn():
    rng = np.random.default_rng(1)
    truth, predicted = rng.random((40, 5)) < 0.3, rng.random((40, 5)) < 0.3
    truth[:, 4] = predicted[:, 4] = False  # a class nobody has: sklearn would count it as 0
    micro, macro = nodes.f1(truth, predicted)
    assert micro == pytest.approx(f1_score(truth[:, :4], predicted[:, :4], average="micro"))
    assert macro == pytest.approx(f1_score(truth[:, :4], predicted[:, :4], average="macro"))


def test_top_k_gives_each_node_its_known_number_of_labels():
    scores = np.array([[0.1, 0.9, 0.5], [0.2, 0.2, 0.1]])
    assert nodes.top_k(scores, np.array([2, 1])).tolist() == [[False, True, True], [True, False, False]]


def test_shuffles_are_seeded_disjoint_and_cover_everything():
    splits = list(nodes.shuffles(20, 0.1, 3, 7))
    assert all(len(known) == 2 and sorted([*known, *rest]) == list(range(20)) for known, rest in splits)
    first = [k.tolist() for k, _ in splits]
    assert first == [k.tolist() for k, _ in nodes.shuffles(20, 0.1, 3, 7)] and first[0] != first[1]


def test_label_vectors_score_one_and_noise_scores_chance():
    labels = np.tile(np.arange(4), 60)
    perfect = nodes.classification(nodes.by_vectors(np.eye(4)[labels]), nodes.label_matrix(labels, 4), repeats=2)
    assert set(perfect) == {f"{a}_f1_{s}" for a in ("micro", "macro") for s in (2, 10, 50, 90)}
    assert all(v == 1.0 for name, v in perfect.items() if not name.endswith("_2"))  # five nodes need not show all four classes
    by_noise = nodes.by_vectors(np.random.default_rng(2).normal(size=(240, 3)))
    noise = nodes.classification(by_noise, nodes.label_matrix(labels, 4), shares=(0.5,), repeats=10)
    assert noise["micro_f1_50"] == pytest.approx(0.25, abs=0.06)


def slow_protocol(scores_of, truth, share, repeats, seed):
    """DeepWalk's protocol in plain loops: each test node gets as many of its best labels as it has; F1 of counts, class by class."""
    found = []
    labelled = [n for n in range(len(truth)) if truth[n].any()]
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(labelled))
        rest = [labelled[i] for i in order[round(share * len(labelled)) :]]
        counts = [[0, 0, 0] for _ in range(truth.shape[1])]
        for n in rest:
            wanted = {c for c in range(truth.shape[1]) if truth[n, c]}
            given = set(sorted(range(truth.shape[1]), key=lambda c: (-scores_of[n, c], c))[: len(wanted)])
            for c in range(truth.shape[1]):
                counts[c][0] += c in wanted and c in given
                counts[c][1] += c in given and c not in wanted
                counts[c][2] += c in wanted and c not in given
        each = [2 * t / (2 * t + p + n) for t, p, n in counts if t + p + n]
        t, p, n = map(sum, zip(*counts, strict=True))
        found.append((2 * t / (2 * t + p + n), sum(each) / len(each)))
    return np.mean(found, axis=0)


def test_several_labels_a_node_are_scored_as_slow_code_does():
    rng = np.random.default_rng(5)
    truth, scores = rng.random((80, 6)) < 0.25, rng.integers(0, 5, (80, 6)).astype(float)  # with ties
    found = nodes.classification(lambda known, targets, rest: scores[rest], truth, shares=(0.1, 0.5), repeats=3, seed=4)
    for share in (0.1, 0.5):
        micro, macro = slow_protocol(scores, truth, share, 3, 4)
        assert found[f"micro_f1_{round(100 * share)}"] == pytest.approx(micro)
        assert found[f"macro_f1_{round(100 * share)}"] == pytest.approx(macro)


def test_several_labels_are_learnt_from_vectors():
    truth = np.random.default_rng(6).random((300, 5)) < 0.3
    found = nodes.classification(nodes.by_vectors(truth.astype(float)), truth, shares=(0.5,), repeats=2)
    assert found["micro_f1_50"] > 0.99 and nodes.classification(nodes.by_majority, truth, shares=(0.5,), repeats=2)["micro_f1_50"] < 0.6


def test_only_nodes_that_may_be_scored_are():
    labels, scored, asked = np.arange(40) % 2, np.arange(40) < 30, set()

    def classify(known, targets, rest):
        asked.update(rest.tolist())
        assert set(known.tolist()) - set(range(30))  # the others may be labelled
        return np.eye(2)[labels[rest]]
    assert nodes.classification(classify, nodes.label_matrix(labels, 2), scored, shares=(0.5,), repeats=8)["macro_f1_50"] == 1.0
    assert asked == set(range(30))


def test_nodes_without_a_label_are_left_out():
    labels = np.array([0, 1] * 20 + [-1] * 10)
    vectors = np.r_[np.eye(2)[labels[:40]], np.full((10, 2), np.nan)]
    assert nodes.classification(nodes.by_vectors(vectors), nodes.label_matrix(labels, 2), repeats=2)["micro_f1_50"] == 1.0


def test_majority_is_the_commonest_class():
    labels = np.array([0] * 30 + [1] * 10)
    found = nodes.classification(nodes.by_majority, nodes.label_matrix(labels, 2), shares=(0.5,), repeats=20)
    assert found["micro_f1_50"] == pytest.approx(0.75, abs=0.05)


def test_propagation_and_spectral_solve_separate_clubs():
    graph, labels, _ = clubs()
    for classify in (nodes.by_propagation(graph), nodes.by_vectors(nodes.spectral(nodes.eigenpairs(graph, 4)[1]))):
        assert nodes.classification(classify, nodes.label_matrix(labels, 3), repeats=3)["macro_f1_50"] > 0.95


def test_propagation_equals_the_loop():
    graph, labels, network = clubs(12, 0.8, 0.2)
    known, rest = np.arange(0, 12, 2), np.arange(1, 12, 2)
    scores = nodes.by_propagation(graph, steps=3)(known, labels[known][:, None] == np.arange(3), rest)
    mass = {n: np.eye(3)[labels[n]] if n in known else np.zeros(3) for n in network}
    for _ in range(3):
        mass = {n: mass[n] if n in known else np.mean([mass[m] for m in network[n]], axis=0) for n in network}
    np.testing.assert_allclose(scores, [mass[n] for n in rest], atol=1e-8)


def test_spreading_equals_the_closed_form():
    graph, labels, network = clubs(12, 0.8, 0.2)
    known, rest = np.arange(0, 12, 2), np.arange(1, 12, 2)
    targets = labels[known][:, None] == np.arange(3)
    given = np.zeros((12, 3))
    given[known] = targets
    normal = np.eye(12) - nx.normalized_laplacian_matrix(network).toarray()
    expected = 0.5 * np.linalg.inv(np.eye(12) - 0.5 * normal) @ given  # Zhou et al. 2004, eq. 4
    np.testing.assert_allclose(nodes.by_spreading(graph, alpha=0.5)(known, targets, rest), expected[rest], atol=1e-7)


def test_the_strongest_is_chosen_without_the_nodes_to_classify():
    labels, asked = np.tile(np.arange(2), 20), []

    def right(known, targets, rest):
        asked.append(set(rest.tolist()))
        return np.eye(2)[labels[rest]]
    known, rest = np.arange(30), np.arange(30, 40)
    truth = labels[known][:, None] == np.arange(2)
    scores = nodes.by_best([nodes.by_majority, lambda k, t, r: 1 - right(k, t, r), right])(known, truth, rest)
    assert np.array_equal(scores, np.eye(2)[labels[rest]])
    inner, final = asked[:-1], asked[-1]
    assert final == set(rest.tolist()) and set.union(*inner) == set(known.tolist())


def test_equal_edges_win_where_weights_mislead():
    graph, labels, _ = clubs()
    apart = labels[:, None] != labels[None]
    misled = sparse.csr_matrix(graph.toarray() * np.where(apart, 50.0, 1.0))
    best, weighted = nodes.strongest_propagation(misled), nodes.by_propagation(misled)
    scores = [nodes.classification(c, nodes.label_matrix(labels, 3), shares=(0.5,), repeats=3)["macro_f1_50"] for c in (best, weighted)]
    assert scores[0] > 0.9 > scores[1]


def test_spectral_equals_dense_eigenvectors_and_repeats_exactly():
    graph, _, network = clubs()
    values, vectors = np.linalg.eigh(nx.normalized_laplacian_matrix(network).toarray())
    (found, ours), expected = nodes.eigenpairs(graph, 3), np.abs(vectors[:, 1:4])
    np.testing.assert_allclose(found, 1.0 - values[1:4], atol=1e-6)
    assert np.array_equal(ours, nodes.eigenpairs(graph, 3)[1])
    ours = nodes.spectral(ours)
    np.testing.assert_allclose(np.abs(ours), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_all_eigenvectors_but_the_leading_one_give_the_cosines_of_the_geometric_series():
    graph, _, network = clubs()
    adjacent, degree = nx.to_numpy_array(network), np.array([d for _, d in network.degree()], float)
    normal = adjacent / np.sqrt(np.outer(degree, degree))
    leading = np.sqrt(degree / degree.sum())
    total, power = np.zeros_like(normal), np.eye(len(normal)) - np.outer(leading, leading)  # what is left without the leading one
    for _ in range(800):
        total, power = total + power, 0.95 * power @ normal
    unit = total / np.linalg.norm(total, axis=1, keepdims=True)
    pairs = np.argwhere(np.triu(np.ones((60, 60)), 1))
    found = nodes.edge_scores(nodes.series(*nodes.eigenpairs(graph, 59)), pairs)
    np.testing.assert_allclose(found, (unit @ unit.T)[pairs[:, 0], pairs[:, 1]], atol=1e-8)


def test_neighbour_scores_equal_networkx():
    graph, _, network = clubs()
    pairs = np.array([(0, 1), (0, 30), (5, 12), (40, 41), (3, 59)])
    found = nodes.neighbour_scores(graph, pairs)
    listed = [tuple(p) for p in pairs.tolist()]
    np.testing.assert_allclose(found["common_neighbours"], [len(list(nx.common_neighbors(network, *p))) for p in listed])
    np.testing.assert_allclose(found["adamic_adar"], [s for *_, s in nx.adamic_adar_index(network, listed)])
    np.testing.assert_allclose(found["preferential_attachment"], [s for *_, s in nx.preferential_attachment(network, listed)])


def test_edge_scores_are_cosines():
    vectors = np.array([[3.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(nodes.edge_scores(vectors, np.array([[0, 1], [0, 2]])), [np.sqrt(0.5), 0.0])


def test_auc_of_true_distance_is_one_and_of_noise_a_half():
    graph, labels, _ = clubs()
    rng = np.random.default_rng(3)
    inside = np.array([(a, b) for a in range(60) for b in range(60) if labels[a] == labels[b]])
    outside = np.array([(a, b) for a in range(60) for b in range(60) if labels[a] != labels[b]])
    truth, noise = np.eye(3)[labels], rng.normal(size=(60, 40))
    assert auc(nodes.edge_scores(truth, inside), nodes.edge_scores(truth, outside)) == 1.0
    apart = inside[inside[:, 0] != inside[:, 1]]
    assert auc(nodes.edge_scores(noise, apart), nodes.edge_scores(noise, outside)) == pytest.approx(0.5, abs=0.05)


def test_auc_equals_counting_pairs_with_ties():
    rng = np.random.default_rng(8)
    edges, others = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 25).astype(float)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in edges for b in others]
    assert auc(edges, others) == pytest.approx(np.mean(wins))


def test_the_chart_draws_a_line_a_method():
    series = {"this run": [(2, 0.4), (50, 0.8)], "spectral": [(2, 0.3), (50, 0.8)], "majority": [(2, 0.1), (50, 0.1)]}
    page = charts.lines(series, "share of labelled nodes, %", "macro-F1", [2, 50])
    assert page.dtype == np.uint8 and page.shape == (charts.HEIGHT, charts.WIDTH, 3)
    for i in range(3):
        assert (page == PALETTE[i]).all(2).sum() > 100
    higher = charts.lines({"this run": [(2, 0.9)]}, "", "", [2]), charts.lines({"this run": [(2, 0.2)]}, "", "", [2])
    heights = [np.argwhere((p == PALETTE[0]).all(2))[:, 0].mean() for p in higher]
    assert heights[0] < heights[1] and not charts.lines({}, "", "", [2]).std() == 0
