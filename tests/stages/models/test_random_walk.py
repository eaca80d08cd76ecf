import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from stages.models import random_walk, word2vec
from stages.models.parts import skipgram, softmax, unlinked
from stages.models.parts.sampling import alias_table, shuffled
from stages.models.parts.walks import graph_from, walk
from stages.settings import InputError, configure


def rows_of(edges, nodes, weights=None, shuffle=None):
    """CSR arrays of an undirected edge list; `shuffle` puts the neighbours of a row in random order."""
    edges = np.array(edges)
    weights = np.ones(len(edges)) if weights is None else np.asarray(weights, float)
    source, target, weight = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]], np.r_[weights, weights]
    order = np.lexsort((target if shuffle is None else np.random.default_rng(shuffle).random(len(target)), source))
    indptr = np.r_[0, np.cumsum(np.bincount(source, minlength=nodes))].astype(np.int64)
    return indptr, target[order].astype(np.int32), weight[order].astype(np.float32)


EDGES = [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (2, 4), (3, 5), (4, 5), (0, 5)]
WEIGHTS = [1, 2, 3, 0.5, 4, 1, 2, 0.25, 1]


def enumerated(edges, nodes, weights, previous, node, p, q):
    """The definition: weight times 1/p back, 1 to neighbours of the node before, 1/q elsewhere; normalised."""
    table = np.zeros((nodes, nodes))
    for (a, b), w in zip(edges, weights, strict=True):
        table[a, b] = table[b, a] = w
    bias = np.where(np.arange(nodes) == previous, 1 / p, np.where(table[previous] > 0, 1.0, 1 / q))
    return table[node] * bias / (table[node] * bias).sum()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("p, q", [(1.0, 1.0), (0.25, 4.0), (4.0, 0.25), (0.1, 0.5), (2.0, 2.0)])
def test_steps_follow_the_definition_of_node2vec(p, q, weights):
    graph = graph_from(*rows_of(EDGES, 6, weights, shuffle=1), q)
    paths = walk(graph, np.arange(6).repeat(3000), 12, p, q, seed=1, epoch=0)
    pvalues = []
    for previous in range(6):
        for node in range(6):
            at = (paths[:, :-2] == previous) & (paths[:, 1:-1] == node)
            if not at.any():
                continue
            expected = enumerated(EDGES, 6, weights or np.ones(9), previous, node, p, q)
            found = np.bincount(paths[:, 2:][at], minlength=6)
            assert not found[expected == 0].any()
            possible = expected > 0
            if possible.sum() > 1:
                pvalues.append(chisquare(found[possible], found.sum() * expected[possible]).pvalue)
    assert len(pvalues) == 18 and min(pvalues) > 1e-3 / len(pvalues) and np.mean(np.array(pvalues) < 0.05) < 0.25


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("t, v", [(0, 1), (1, 0)])
@pytest.mark.parametrize("p, q", [(0.25, 4.0), (4.0, 0.25)])
def test_steps_between_long_and_short_rows_follow_it_too(p, q, t, v, weighted):
    """0 and 1 are linked and share 2 and 3; 1 has 300 neighbours more, 0 has 8: common neighbours are scanned for, from either side."""
    edges = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), *((0, x) for x in range(4, 12)), *((1, x) for x in range(12, 312))]
    weights = np.random.default_rng(0).integers(1, 5, len(edges)) if weighted else np.ones(len(edges))
    weights[0] = 60 if weighted else 1  # the step from 0 to 1 is to be a frequent one
    graph = graph_from(*rows_of(edges, 312, weights), q)
    paths = walk(graph, np.full(250_000 if v == 1 and not weighted or t == 1 else 60_000, t), 3, p, q, seed=2, epoch=0)
    found = np.bincount(paths[paths[:, 1] == v, 2], minlength=312)
    expected = enumerated(edges, 312, weights, t, v, p, q)
    groups = [[0, 1], [2], [3], range(4, 12), range(12, 312)]
    found, expected = (np.array([x[list(g)].sum() for g in groups]) for x in (found, expected))
    assert found.sum() > 500 and not found[expected == 0].any()
    assert chisquare(found[expected > 0], found.sum() * expected[expected > 0]).pvalue > 1e-3


def test_the_karate_club_by_hand():
    """Zachary's members: 1 knows 0, 2, 3, 7, 13, 17, 19, 21 and 30; all but 30 know 0 too. 16 knows 5 and 6, who know each other."""
    club = nx.karate_club_graph()
    graph = graph_from(*rows_of(list(club.edges), 34), 4.0)
    paths = walk(graph, np.arange(34).repeat(4000), 8, 0.25, 4.0, seed=0, epoch=0)
    steps = np.concatenate([paths[:, i : i + 3] for i in range(6)])
    after = np.bincount(steps[(steps[:, 0] == 0) & (steps[:, 1] == 1), 2], minlength=34)
    known = [0, 2, 3, 7, 13, 17, 19, 21, 30]
    assert after.sum() == after[known].sum()
    assert chisquare(after[known], after.sum() * np.array([4, 1, 1, 1, 1, 1, 1, 1, 0.25]) / 11.25).pvalue > 1e-3
    after = np.bincount(steps[(steps[:, 0] == 5) & (steps[:, 1] == 16), 2], minlength=34)
    assert after.sum() == after[[5, 6]].sum() and chisquare(after[[5, 6]], after.sum() * np.array([0.8, 0.2])).pvalue > 1e-3


def test_any_number_of_threads_walks_the_same():
    graph = graph_from(*rows_of(EDGES, 7, WEIGHTS), 4.0)
    paths = [walk(graph, np.arange(1000) % 7, 20, 0.25, 4, seed=1, epoch=2, threads=threads) for threads in (1, 2, 3)]
    assert np.array_equal(paths[0], paths[1]) and np.array_equal(paths[0], paths[2])
    with pytest.raises(ValueError, match="made for q = 1"):
        walk(graph_from(*rows_of(EDGES, 7)), np.arange(7), 5, 1, 2, seed=0, epoch=0)


def test_a_walk_gets_out_of_a_dead_end_whatever_p_is():
    graph = graph_from(*rows_of([(0, 1), (1, 2)], 3))
    assert walk(graph, np.array([0]), 4, 1e12, 1.0, seed=0, epoch=0)[0].tolist()[:3] == [0, 1, 2]


def test_the_first_step_goes_by_weight():
    graph = graph_from(*rows_of(EDGES, 6, WEIGHTS), 4)
    found = np.bincount(walk(graph, np.ones(40_000, int), 2, 0.25, 4, seed=0, epoch=0)[:, 1], minlength=6)
    assert chisquare(found[[0, 2, 3, 4]], 40_000 * np.array([1, 3, 0.5, 4]) / 8.5).pvalue > 1e-3


def test_walks_stay_on_edges_and_stop_where_there_is_none():
    graph = graph_from(*rows_of(EDGES, 7), 2)
    paths = walk(graph, np.array([0, 6, 3]), 30, 0.5, 2, seed=0, epoch=0)
    linked = {(a, b) for a, b in EDGES} | {(b, a) for a, b in EDGES}
    assert all((int(a), int(b)) in linked for row in paths[[0, 2]] for a, b in zip(row[:-1], row[1:], strict=True))
    assert paths[1, 0] == 6 and (paths[1, 1:] == -1).all()
    assert not np.array_equal(paths, walk(graph, np.array([0, 6, 3]), 30, 0.5, 2, seed=0, epoch=1))


def communities(groups=4, size=15, inside=0.5, between=0.01, seed=0):
    rng = np.random.default_rng(seed)
    nodes = groups * size
    labels = np.arange(nodes) // size
    a, b = np.triu_indices(nodes, 1)
    linked = rng.random(len(a)) < np.where(labels[a] == labels[b], inside, between)
    held = linked & (rng.random(len(a)) < 0.1)
    indptr, indices, weights = rows_of(np.stack([a, b], 1)[linked & ~held], nodes)
    apart = np.flatnonzero(~linked & (labels[a] != labels[b]))[: held.sum()]
    pairs = np.stack([a, b], 1).astype(np.int32)
    return {"indptr": indptr, "indices": indices, "weights": weights, "heldout_valid.edges": pairs[held],
            "heldout_valid.non_edges": pairs[apart]}, labels


def model_of(nodes, seed=0, **settings):
    torch.manual_seed(seed)
    return random_walk.Model(configure(random_walk.Config, {"dimension": 16, "window": 3, **settings}, "model"), {"nodes": nodes})


def fit(model, data, first=0, last=4, epochs=4, seed=0, threads=1):
    for epoch in range(first, last):
        examples, terms = model.epoch(data, seed, epoch, epochs, threads)
        assert examples > 0 and np.isfinite(terms["loss"])
    return model


@pytest.mark.parametrize("settings", [{}, {"p": 0.25, "q": 4.0}, {"exponent": 1.0}, {"exclude": True, "walks": 2},
                                      {"objective": "softmax", "batch": 512, "walks": 2}])
def test_planted_communities_and_held_out_edges_are_recovered(settings):
    data, labels = communities()
    model = model_of(60, lr=0.1, **settings)
    untrained = model.validate(data)["loss"]
    vectors = fit(model, data).vectors()["node"]
    unit = torch.nn.functional.normalize(vectors, dim=1)
    near = (unit @ unit.T).fill_diagonal_(-2)
    assert (labels[near.argsort(1)[:, -5:]] == labels[:, None]).mean() > 0.9
    assert model.validate(data)["loss"] < 0.15 < untrained
    edges = torch.from_numpy(data["heldout_valid.edges"].astype(np.int64))
    np.testing.assert_allclose(model.score_edges(edges), (unit[edges[:, 0]] * unit[edges[:, 1]]).sum(1), atol=1e-6)


def test_an_epoch_is_skip_gram_over_fresh_walks():
    """The objective is word2vec's (tested there against autograd), its sentences the epoch's walks."""
    assert random_walk.written_out_loss is word2vec.written_out_loss
    data, _ = communities()
    model = model_of(60, walks=2, length=10)
    inputs, outputs = model.node.numpy().copy(), model.context.numpy().copy()
    examples, terms = model.epoch(data, 3, 1, 2, 1)
    paths = walk(graph_from(data["indptr"], data["indices"], data["weights"]), shuffled(120, 3, 1) % 60, 10, 1, 1, seed=3, epoch=1)
    assert np.bincount(paths[:, 0], minlength=60).tolist() == [2] * 60
    middle = (0.025 + 0.0001) / 2
    pairs, loss = skipgram.train(paths.ravel(), np.arange(121) * 10, np.arange(120), inputs, outputs, np.empty(0, np.float32),
                                 model.noise(data), np.ones(60), window=3, rates=(middle, 0.0001), seed=3, epoch=1, part=1)
    assert (examples, terms["loss"]) == (pairs, loss)
    np.testing.assert_array_equal(model.node.numpy(), inputs)


def test_the_softmax_step_is_that_of_the_written_out_loss():
    """One batch: every pair of neighbours on the walks, -log softmax over all nodes by autograd, a step of Adagrad."""
    data, _ = communities()
    model = model_of(60, walks=1, length=5, objective="softmax", window=2, shrink=False, batch=10**6, lr=0.3, lr_end=0.3)
    torch.nn.init.normal_(model.context, generator=torch.Generator().manual_seed(1))
    z, y = (t.detach().clone().requires_grad_() for t in (model.node, model.context))
    paths = walk(graph_from(data["indptr"], data["indices"], data["weights"]), shuffled(60, 3, 0), 5, 1, 1, seed=3, epoch=0)
    pairs = torch.tensor([(w[i], w[j]) for w in paths.tolist() for i in range(5) for j in range(5) if 0 < abs(i - j) <= 2])
    loss = -torch.log_softmax(z[pairs[:, 0]] @ y.T, 1)[torch.arange(len(pairs)), pairs[:, 1]].sum()
    loss.backward()
    examples, terms = model.epoch(data, 3, 0, 1, 1)
    assert examples == len(pairs) and terms["loss"] == pytest.approx(loss.item() / len(pairs), rel=1e-5)
    for parameter, before in ((model.node, z), (model.context, y)):
        expected = before.detach() - 0.3 * before.grad / ((1 + before.grad**2).sqrt() + softmax.EPSILON)
        torch.testing.assert_close(parameter.data, expected, atol=1e-5, rtol=1e-4)


def test_no_neighbour_is_noise_where_they_are_excluded():
    """A walk 0, 1 on the path 0 - 1 - 2, node 2 all the noise there is: noise to 0, but not to 1, its neighbour."""
    indptr, indices, _ = rows_of([(0, 1), (1, 2)], 3)
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(3, 16)).astype(np.float32) for _ in range(2)]
    z, y = (torch.from_numpy(t.astype(np.float64)).requires_grad_() for t in tables)
    rate = 1e-4
    pairs, mean = unlinked.train(np.array([[0, 1]], np.int32), indptr, indices, *tables, alias_table(np.array([0.0, 0, 1])), window=1,
                                 shrink=False, k=3, rates=(rate, rate), seed=0, epoch=0, part=0)
    none = torch.empty((1, 0), dtype=torch.long)
    loss = (random_walk.written_out_loss(z, y, None, torch.tensor([[0]]), torch.tensor([1]), torch.tensor([[2, 2, 2]]))
            + random_walk.written_out_loss(z, y, None, torch.tensor([[1]]), torch.tensor([0]), none))
    loss.backward()
    assert pairs == 2 and mean == pytest.approx(loss.item() / 2, rel=1e-3)
    for table, before in zip(tables, (z, y), strict=True):
        torch.testing.assert_close((before.detach() - torch.from_numpy(table)) / rate, before.grad, atol=0.02, rtol=0.02)


def test_settings_that_cannot_go_together_are_one_line():
    with pytest.raises(InputError, match="model.exclude: the softmax has no noise"):
        model_of(60, objective="softmax", exclude=True)


def test_isolated_nodes_keep_their_start_and_disturb_nothing():
    indptr, indices, weights = rows_of(EDGES, 8)  # 6 and 7 have no edge
    for settings in ({}, {"p": 0.5, "q": 2.0}, {"objective": "softmax"}, {"exclude": True}):
        model = model_of(8, **settings)
        before = model.node.clone()
        fit(model, {"indptr": indptr, "indices": indices, "weights": weights}, last=2)
        moved = (model.node != before).any(1)
        assert moved[:6].all() and not moved[6:].any() and torch.isfinite(model.node).all()


def test_noise_goes_by_weighted_degree():
    data, _ = communities()
    table = model_of(60, exponent=1.0).noise(data)
    share = table[:, 0] / 2.0**32 / 60
    np.add.at(share, table[:, 1], (1 - table[:, 0] / 2.0**32) / 60)
    np.testing.assert_allclose(share, np.diff(data["indptr"]) / data["indptr"][-1], atol=1e-8)


@pytest.mark.parametrize("settings", [{}, {"p": 0.5, "q": 2.0}, {"objective": "softmax"}, {"exclude": True}])
def test_same_seed_same_bytes_and_resuming_is_exact(settings):
    data, _ = communities()
    whole = fit(model_of(60, **settings), data).state_dict()
    again = fit(model_of(60, **settings), data).state_dict()
    half = fit(model_of(60, **settings), data, last=2)
    resumed = model_of(60, seed=5, **settings)
    resumed.load_state_dict({k: v.clone() for k, v in half.state_dict().items()})
    fit(resumed, data, first=2)
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]) and torch.equal(tensor, resumed.state_dict()[name])
    assert not torch.equal(whole["node"], fit(model_of(60, **settings), data, seed=1).node)
