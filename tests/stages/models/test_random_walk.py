import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from stages.models import random_walk, word2vec
from stages.models.parts import skipgram
from stages.models.parts.sampling import shuffled
from stages.models.parts.walks import graph_from, walk
from stages.settings import configure


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


@pytest.mark.parametrize("settings", [{}, {"p": 0.25, "q": 4.0}, {"exponent": 1.0}])
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


def test_noise_goes_by_weighted_degree():
    data, _ = communities()
    table = model_of(60, exponent=1.0).noise(data)
    share = table[:, 0] / 2.0**32 / 60
    np.add.at(share, table[:, 1], (1 - table[:, 0] / 2.0**32) / 60)
    np.testing.assert_allclose(share, np.diff(data["indptr"]) / data["indptr"][-1], atol=1e-8)


@pytest.mark.parametrize("settings", [{}, {"p": 0.5, "q": 2.0}])
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
