import numpy as np
import pytest
import torch

from stages.models import word2vec
from stages.models.parts import softmax
from stages.models.parts.sampling import stream
from stages.settings import configure


def parameters(vocabulary=9, dimension=5, bias=True, seed=0):
    draw = torch.Generator().manual_seed(seed)
    inputs, outputs = (torch.randn(vocabulary, dimension, generator=draw) for _ in range(2))
    return inputs, outputs, torch.randn(vocabulary, generator=draw) if bias else None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("block", [2, 256])
def test_gradients_are_those_of_the_written_out_loss(bias, block, monkeypatch):
    monkeypatch.setattr(softmax, "BLOCK", block)
    hidden, outputs, b = parameters(bias=bias)
    hidden = hidden[:5]
    rows, targets = torch.tensor([4, 0, 2, 0, 4, 0, 2]), torch.tensor([1, 3, 8, 3, 0, 2, 8])  # row 1 and 3 have no example
    leaves = [x.clone().requires_grad_() for x in (hidden, outputs, *([b] if bias else []))]
    logits = leaves[0][rows] @ leaves[1].T + (leaves[2] if bias else 0)
    written = -(logits.gather(1, targets[:, None])[:, 0] - logits.exp().sum(1).log())
    written.sum().backward()
    loss, *gradients = softmax.softmax_gradients(hidden, outputs, b, rows, targets)
    assert loss == pytest.approx(float(written.sum().detach()), rel=1e-6)
    for leaf, found in zip(leaves, gradients, strict=False):
        torch.testing.assert_close(found, leaf.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(softmax.softmax_loss(hidden, outputs, b, rows, targets), written.detach(), atol=1e-5, rtol=1e-5)


def slow_windows(document, window):
    for place, target in enumerate(document):
        near = [w for i, w in enumerate(document) if i != place and (not window or abs(i - place) <= window)]
        if near:
            yield target, near


@pytest.mark.parametrize("window", [0, 1, 2])
def test_windows_hold_every_word_around_each_place(window):
    documents = [[1, 2, 3, 2], [5], [4, 1]]
    offsets = np.cumsum([0] + [len(d) for d in documents])
    keep = np.ones(9)
    targets, bounds, near = softmax.windows(np.concatenate(documents), offsets, np.array([2, 0, 1]), keep, window, False, stream(0, 0))
    found = [(t, near[a:b].tolist()) for t, a, b in zip(targets.tolist(), bounds[:-1], bounds[1:], strict=True)]
    assert found == [w for d in (documents[2], documents[0], documents[1]) for w in slow_windows(d, window)]


@pytest.mark.parametrize("cbow", [False, True])
def test_a_step_is_adagrad_on_the_summed_loss_of_the_batch(cbow):
    documents, lr = [[1, 2, 3, 2], [4, 1]], 0.3
    tables = parameters()
    leaves = [x.clone().requires_grad_() for x in tables]
    loss, examples = 0, 0
    for document in documents:
        for centre, near in slow_windows(document, 0):
            read, predicted = ([near], [centre]) if cbow else ([[centre]] * len(near), near)
            for words, target in zip(read, predicted, strict=True):
                loss = loss - torch.log_softmax(leaves[1] @ leaves[0][words].mean(0) + leaves[2], 0)[target]
                examples += 1
    loss.backward()
    wanted = [x - lr * x_leaf.grad / (1 + x_leaf.grad**2).sqrt() for x, x_leaf in zip(tables, leaves, strict=True)]
    found, squares = [x.clone() for x in tables], [torch.ones_like(x) for x in tables]
    offsets = np.cumsum([0] + [len(d) for d in documents])
    n, mean = softmax.train(np.concatenate(documents), offsets, np.arange(2), *found, squares, np.ones(9), window=0, cbow=cbow,
                            rates=(lr, lr), seed=0, epoch=0)
    assert n == examples == (6 if cbow else 14) and mean == pytest.approx(float(loss.detach()) / n, rel=1e-5)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_batch_is_about_so_many_tokens_of_whole_documents(monkeypatch):
    seen = []
    monkeypatch.setattr(softmax, "windows", lambda tokens, offsets, piece, *rest: seen.append(piece.tolist()) or (np.empty(0),))
    offsets = np.array([0, 3, 6, 16, 17, 18])
    softmax.train(np.zeros(18, int), offsets, np.array([4, 3, 2, 1, 0]), *parameters(), None, np.ones(9), window=1, batch=4, rates=(1, 1),
                  seed=0, epoch=0)
    assert seen == [[4, 3], [2], [1], [0]]  # of 2, 10, 3 and 3 tokens


def model_of(meta, **settings):
    torch.manual_seed(0)
    return word2vec.Model(configure(word2vec.Config, {"dimension": 8, "window": 2, "shrink": False, **settings}, "model"), meta)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("objective", ["softmax", "negative_sampling"])
def test_context_loss_equals_the_slow_one(objective, architecture):
    tokens, offsets = np.array([1, 2, 0, 3, 2, 5, 4, 4, 1, 0, 6], np.int32), np.array([0, 6, 7, 11])
    data = {"valid.tokens": tokens, "valid.offsets": offsets, "counts": np.bincount(tokens)}
    model = model_of({"kind": "documents", "words": 7}, objective=objective, architecture=architecture, bias=True, exponent=0.5)
    inputs, outputs, bias = parameters(7, 8)
    for name, values in (("input", inputs), ("output", outputs), ("bias", bias)):
        getattr(model, name).copy_(values)
    counts = data["counts"].astype(float) * (np.arange(7) > 0)
    shift = np.log(counts**0.5 / (counts**0.5).sum() + 1e-30) if objective == "negative_sampling" else np.zeros(7)
    losses = []
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        for centre, near in slow_windows([t for t in tokens[start:stop] if t], 2):
            for read, predicted in [(near, centre)] if architecture == "cbow" else [([centre], w) for w in near]:
                logits = outputs.numpy().astype(float) @ inputs.numpy()[read].astype(float).mean(0) + bias.numpy() + shift
                losses.append(np.log(np.exp(logits).sum()) - logits[predicted])
    assert model.context_loss(data, "valid") == pytest.approx(np.mean(losses), rel=1e-5)
    if objective == "softmax":
        assert model.heldout_loss(data, "valid") == model.context_loss(data, "valid")


def test_scores_that_negative_sampling_ends_at_give_the_conditional_distribution():
    """w_t . e_c = log p(t | c) - log(k P_noise(t)) is its optimum; k falls out."""
    conditional = np.array([[0.0, 0.5, 0.3, 0.2], [0.0, 0.1, 0.1, 0.8], [0.0, 0.6, 0.2, 0.2]])  # p(t | c) of c = 1, 2, 3
    model = model_of({"kind": "documents", "words": 4}, dimension=4, negatives=3, window=1)
    tokens, offsets = np.array([1, 2, 3, 1, 3], np.int32), np.array([0, 3, 5])
    data = {"valid.tokens": tokens, "valid.offsets": offsets, "counts": np.array([0, 7, 2, 4])}
    scores = np.log(np.maximum(conditional, 1e-9)) - np.log(3 * np.maximum(model.noise_weights(data), 1e-9))
    model.input.copy_(torch.eye(4))
    model.output.zero_()
    model.output[:, 1:] = torch.from_numpy(scores.T).float()
    pairs = [(1, 2), (2, 1), (2, 3), (3, 2), (1, 3), (3, 1)]
    assert model.context_loss(data, "valid") == pytest.approx(-np.mean([np.log(conditional[c - 1, t]) for c, t in pairs]), abs=1e-5)
