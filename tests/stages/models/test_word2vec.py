import numpy as np
import pytest
import torch
from numba import njit
from scipy.stats import chisquare

from stages.models import word2vec
from stages.models.parts import skipgram
from stages.models.parts.sampling import alias_table, draw, noise_weights, shuffled, stream
from stages.settings import InputError, configure

NONE = np.empty(0, np.float32)


def tables(vocabulary, dimension, bias=False, seed=0):
    rng = np.random.default_rng(seed)
    inputs, outputs = rng.normal(0, 0.5, (2, vocabulary, dimension)).astype(np.float32)
    return inputs, outputs, rng.normal(0, 0.5, vocabulary).astype(np.float32) if bias else NONE


def autograd_step(arrays, contexts, targets, negatives, lr):
    """arrays - lr x gradient of the written-out loss."""
    inputs, outputs, bias = (torch.from_numpy(a.copy()).requires_grad_() for a in arrays)
    given = [torch.as_tensor(np.asarray(x), dtype=torch.long) for x in (contexts, targets, negatives)]
    word2vec.written_out_loss(inputs, outputs, bias if len(bias) else None, *given).backward()
    return [(p - lr * p.grad).detach().numpy() if p.grad is not None else p.detach().numpy() for p in (inputs, outputs, bias)]


def kernel_step(arrays, contexts, target, negatives, lr):
    """One step of one or two contexts against a target and its negatives, through the kernel's own parts."""
    dimension, bias = arrays[0].shape[1], arrays[2]
    lanes = skipgram.lanes_for(dimension, bool(len(bias)))
    inputs, outputs = (skipgram.padded(a.copy(), 8 * len(lanes), b) for a, b in ((arrays[0], None), (arrays[1], bias)))
    distinct, times = np.unique([n for n in negatives if n != target], return_counts=True)
    rows, times = np.r_[target, distinct].astype(np.int64), np.r_[1, times].astype(np.float32)
    groups = -(-len(rows) // skipgram.GROUP)
    blocks = np.zeros((groups, 80 * len(lanes)), np.float32)
    rate, scores = np.zeros((2, groups * skipgram.GROUP), np.float32)
    skipgram.load_rows(blocks, outputs, rows, times, len(rows), np.float32(lr), rate, lanes)
    for slot, row in enumerate(contexts):
        skipgram.load_input(blocks, slot, inputs, row, dimension if len(bias) else -1, lanes)
    (skipgram.step if len(contexts) == 1 else skipgram.step_two)(blocks, rate, scores, lanes)
    for slot, row in enumerate(contexts):
        skipgram.store_input(blocks, slot, inputs, row, skipgram.ONE, lanes)
    skipgram.store_rows(blocks, outputs, rows, len(rows), lanes)
    assert scores[0] == pytest.approx(arrays[0][contexts[0]] @ arrays[1][target] + (arrays[2][target] if len(bias) else 0), abs=1e-4)
    return inputs[:, :dimension], outputs[:, :dimension], outputs[:, dimension] if len(bias) else bias


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("contexts", [[3], [3, 7], [3, 3]])
@pytest.mark.parametrize("negatives", [[1, 2], [4, 4, 4, 5], [0, 9], list(range(14))])
def test_kernel_step_is_lr_times_the_gradient(contexts, negatives, bias):
    arrays = tables(20, 19, bias)
    found = kernel_step(arrays, contexts, 9, negatives, 0.1)
    wanted = autograd_step(arrays, [[c] for c in contexts], [9] * len(contexts), [negatives] * len(contexts), 0.1)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def train(arrays, documents, noise, seed=0, keep=None, rates=(0.1, 0.1), **settings):
    offsets = np.cumsum([0] + [len(d) for d in documents])
    keep = np.ones(len(arrays[0])) if keep is None else keep
    return skipgram.train(np.concatenate(documents).astype(np.int32), offsets, np.arange(len(documents)), *arrays, alias_table(noise), keep,
                          rates=rates, seed=seed, epoch=0, **settings)


@pytest.mark.parametrize("cbow", [False, True])
def test_an_epoch_is_the_sequence_of_its_steps(cbow):
    """A noise distribution of one word leaves no chance: place by place, the contexts two at a time against one target."""
    arrays, document, noise = tables(12, 10, True), [4, 5, 6, 7], np.eye(12)[11]
    wanted = arrays
    for place, target in enumerate(document):
        others = document[:place] + document[place + 1:]
        for group in [[others]] if cbow else [[[others[0]], [others[1]]], [[others[2]]]]:
            wanted = autograd_step(wanted, group, [target] * len(group), [[11, 11, 11]] * len(group), 0.1)
    found = [a.copy() for a in arrays]
    examples, loss = train(found, [document], noise, window=0, k=3, cbow=cbow)
    assert examples == (4 if cbow else 12)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    first = [x[:2] for x in ([[[5, 6, 7]]] if cbow else [[[5], [6]]])][0]
    per_pair = word2vec.written_out_loss(*map(torch.from_numpy, arrays), torch.tensor(first[-1:] if cbow else [[7]]), torch.tensor([4]),
                                         torch.tensor([[11, 11, 11]]))
    assert loss > 0 and (not cbow or loss == pytest.approx(float(per_pair), rel=1e-4))


@pytest.mark.parametrize("per_pair", [False, True])
def test_shared_and_separate_negatives_estimate_the_same_loss(per_pair):
    """The mean update over many draws is -lr times the gradient of the loss with the expectation over the noise written out."""
    arrays, document, k, lr, draws = tables(6, 8), [1, 2, 3], 4, 1e-3, 3000
    noise = np.array([0.1, 0.3, 0.1, 0.1, 0.2, 0.2])
    inputs, outputs = (torch.from_numpy(a.copy()).requires_grad_() for a in arrays[:2])
    scores = inputs @ outputs.T
    loss = 0
    for place, target in enumerate(document):
        for context in document[:place] + document[place + 1:]:
            against = torch.nn.functional.softplus(scores[context]) * torch.from_numpy(noise)
            loss = loss - torch.nn.functional.logsigmoid(scores[context, target]) + k * (against.sum() - against[target])
    loss.backward()
    steps = np.zeros((draws, 2, 6, 8))
    for seed in range(draws):
        found = [a.copy() for a in arrays]
        train(found, [document], noise, seed=seed, window=0, k=k, per_pair=per_pair, rates=(lr, lr))
        steps[seed] = (np.stack(found[:2]) - np.stack(arrays[:2])) / -lr
    gradient = np.stack([inputs.grad.numpy(), outputs.grad.numpy()])
    error = steps.std(0) / draws**0.5
    assert np.abs(steps.mean(0) - gradient).max() < 4.5 * error.max() + 5e-3
    assert np.abs(gradient).max() > 50 * error.max()  # so that the comparison could fail


@njit
def draws_of(state, table, n):
    found = np.zeros(len(table), np.int64)
    for _ in range(n):
        found[draw(state, table)] += 1
    return found


def test_noise_follows_the_power_of_the_counts():
    counts = np.array([0, 1, 2, 5, 10, 100, 1000, 0, 3])
    weights = noise_weights(counts, 0.75)
    assert weights[6] / weights[1] == pytest.approx(1000**0.75)
    found = draws_of(stream(3, 1), alias_table(weights), 200_000)
    assert found[0] == found[7] == 0
    seen = counts > 0
    assert chisquare(found[seen], 200_000 * weights[seen]).pvalue > 1e-3
    for wrong in ([], [0.0, 0.0], [1.0, -1.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="alias_table"):
            alias_table(np.array(wrong))


@njit
def distances_of(state, window, shrink, n):
    found = np.zeros(window + 1, np.int64)
    for _ in range(n):
        first, last = skipgram.window_around(state, 50, 101, window, shrink)
        for place in range(first, last):
            found[abs(place - 50)] += 1
    return found


def test_near_words_weigh_more_by_the_drawn_reach():
    found, n, window = distances_of(stream(5, 0), 5, True, 40_000), 40_000, 5
    assert (found[1], found[0]) == (2 * n, n)
    share = (window - np.arange(1, 6) + 1) / window
    reach_exactly = -np.diff(np.r_[found[1:] / 2, 0])  # how often the reach was 1..5
    assert chisquare(reach_exactly, np.full(5, n / 5)).pvalue > 1e-3
    np.testing.assert_allclose(found[1:] / (2 * n), share, atol=0.01)
    assert (distances_of(stream(5, 0), 5, False, 10)[1:] == 20).all()


META = {"kind": "documents", "words": 41}


def corpus(documents=300, length=12, seed=0, groups=4, size=10):
    """Words 1..40 in 4 groups; a document draws all its words from one group. Word 0 is <unk>, strewn in."""
    rng = np.random.default_rng(seed)
    group = rng.integers(groups, size=documents)
    tokens = 1 + group[:, None] * size + rng.integers(size, size=(documents, length))
    tokens[rng.random(tokens.shape) < 0.05] = 0
    data = {}
    for split, part in (("train", tokens[: documents * 5 // 6]), ("valid", tokens[documents * 5 // 6:])):
        data |= {f"{split}.tokens": part.ravel().astype(np.int32), f"{split}.offsets": np.arange(len(part) + 1, dtype=np.int64) * length}
    return data | {"counts": np.bincount(data["train.tokens"], minlength=41)}


def model_of(seed=0, meta=META, **settings):
    torch.manual_seed(seed)
    return word2vec.Model(configure(word2vec.Config, {"dimension": 16, **settings}, "model"), meta)


def fit(model, data, first=0, last=4, epochs=4, seed=0, threads=1):
    for epoch in range(first, last):
        examples, terms = model.epoch(data, seed, epoch, epochs, threads)
        assert examples > 0 and np.isfinite(terms["loss"])
    return model


def in_group(vectors, groups):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -2)
    return (groups[near.argsort(1)[:, -5:]] == groups[:, None]).mean()


@pytest.mark.parametrize("settings", [{}, {"architecture": "cbow", "lr": 0.2}, {"draw": "pair", "bias": True, "negatives": 8},
                                      {"window": 0}, {"objective": "softmax", "lr": 0.3, "batch": 200},
                                      {"objective": "softmax", "architecture": "cbow", "bias": True, "lr": 0.3, "batch": 200}])
def test_planted_groups_are_recovered_and_the_heldout_loss_falls(settings):
    data, model = corpus(), model_of(**{"lr": 0.1, **settings})
    before = model.validate(data)["loss"]
    fit(model, data)
    groups = np.arange(40) // 10
    assert in_group(model.vectors()["input"].numpy()[1:], groups) > 0.95
    assert model.validate(data)["loss"] < before - 0.3
    assert np.isfinite(before)


def test_unknown_words_are_neither_trained_on_nor_noise():
    data, model = corpus(), model_of(bias=True)
    start = model.input[0].clone()
    fit(model, data, last=1)
    assert torch.equal(model.input[0], start) and not model.output[0].any() and model.bias[0] == 0
    noise = model.noise(data)
    assert noise[0, 0] == 0 and not (noise[:, 1] == 0).any()


def test_ids_outside_the_vocabulary_are_left_out():
    data = corpus()
    offsets = data["valid.offsets"]
    marked = {**data, "valid.tokens": np.insert(data["valid.tokens"], 6, -1), "valid.offsets": offsets + (offsets > 0)}
    model = fit(model_of(), data, last=1)
    assert model.heldout_loss(marked, "valid") == model.heldout_loss(data, "valid")


def test_subsampling_keeps_by_the_papers_formula():
    data, model = corpus(), model_of(subsample=0.01)
    keep, counts = model.keep(data), data["counts"].copy()
    counts[0] = 0
    assert keep[5] == pytest.approx((0.01 / (counts[5] / counts.sum())) ** 0.5) and keep[0] == 0
    kept, tokens = np.empty(50_000, np.int64), np.full(50_000, 5, np.int32)
    n = skipgram.keep_tokens(stream(0, 0), tokens, 0, 50_000, keep, kept)
    assert n / 50_000 == pytest.approx(keep[5], abs=4 * (keep[5] * (1 - keep[5]) / 50_000) ** 0.5)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_heldout_loss_estimates_the_written_out_expectation(architecture):
    data, model = corpus(), model_of(architecture=architecture, lr=0.2, window=2, shrink=False, bias=True)
    fit(model, data, last=2)
    inputs, outputs = model.vectors()["input"], model.vectors()["output"]
    noise = torch.from_numpy(noise_weights(np.r_[0, data["counts"][1:]], 0.75)).float()
    losses = []
    for document in data["valid.tokens"].reshape(-1, 12):
        words = document[document != 0]
        for place, target in enumerate(words):
            near = [int(w) for i, w in enumerate(words) if i != place and abs(i - place) <= 2]
            for context in [near] if architecture == "cbow" else [[w] for w in near]:
                scores = outputs @ inputs[context].mean(0) + model.bias
                against = torch.nn.functional.softplus(scores) * noise
                losses.append(torch.nn.functional.softplus(-scores[target]) + 5 * (against.sum() - against[target]))
    losses = torch.stack(losses)
    assert model.heldout_loss(data, "valid") == pytest.approx(float(losses.mean()), rel=0.05)
    assert model.heldout_loss(data, "valid") == model.heldout_loss(data, "valid")


def state_bytes(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("settings", [{}, {"architecture": "cbow"}, {"subsample": 0.01, "bias": True},
                                      {"objective": "softmax", "bias": True, "lr": 0.2, "batch": 300}])
def test_same_seed_same_bytes_and_resuming_is_exact(settings):
    data = corpus()
    whole = state_bytes(fit(model_of(**settings), data))
    assert whole == state_bytes(fit(model_of(**settings), data))
    assert whole != state_bytes(fit(model_of(**settings), data, seed=1))
    half = fit(model_of(**settings), data, last=2)
    resumed = model_of(seed=9, **settings)
    resumed.load_state_dict({k: v.clone() for k, v in half.state_dict().items()})
    assert whole == state_bytes(fit(resumed, data, first=2))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_mapped_corpus_is_let_go_of_piece_by_piece_without_another_result(tmp_path, monkeypatch, threads):
    data = corpus()
    np.save(tmp_path / "tokens.npy", data["train.tokens"])
    mapped = {**data, "train.tokens": np.load(tmp_path / "tokens.npy", mmap_mode="r")}
    monkeypatch.setattr(word2vec, "visiting_order", lambda offsets, seed, epoch: shuffled(len(offsets) - 1, seed, epoch))
    whole = fit(model_of(lr=0.1), data, last=2).input
    monkeypatch.setattr(skipgram, "PIECE", 500)
    pieces = fit(model_of(lr=0.1), mapped, last=2, threads=threads)
    if threads == 1:
        torch.testing.assert_close(pieces.input, whole, atol=1e-5, rtol=1e-4)  # but for the rounding of the rates
    assert np.isfinite(pieces.validate(data)["loss"]) and mapped["train.tokens"][:3].tolist() == data["train.tokens"][:3].tolist()


def test_threads_share_the_tables():
    data = corpus()
    one, two = fit(model_of(lr=0.1), data), fit(model_of(lr=0.1), data, threads=2)
    assert two.validate(data)["loss"] == pytest.approx(one.validate(data)["loss"], abs=0.1)


def test_bought_together_scores_above_popular():
    """Receipts of two items that belong together, and a popular one in every second receipt."""
    rng = np.random.default_rng(0)
    pair = rng.integers(10, size=2000)
    receipts = [[2 * p, 2 * p + 1] + [20] * int(rng.integers(2)) for p in pair]
    tokens = np.concatenate(receipts).astype(np.int32)
    offsets = np.cumsum([0] + [len(r) for r in receipts])
    data = {"train.tokens": tokens, "train.offsets": offsets, "counts": np.bincount(tokens, minlength=21)}
    model = fit(model_of(meta={"kind": "receipts", "items": 21}, window=0, lr=0.1), data)
    scores = (model.input @ model.output.T).numpy()
    np.fill_diagonal(scores, -np.inf)
    assert (scores[:20].argmax(1) == np.arange(20) ^ 1).all()


def test_a_wrong_setting_is_one_line():
    with pytest.raises(InputError, match="model.architecture: unknown value 'skip-gram'.*skipgram"):
        configure(word2vec.Config, {"architecture": "skip-gram"}, "model")


def test_long_corpora_are_visited_by_stretches_in_a_new_order_every_epoch(monkeypatch):
    offsets = np.arange(41) * 10
    assert np.array_equal(skipgram.visiting_order(offsets, 0, 1), shuffled(40, 0, 1))
    monkeypatch.setattr(skipgram, "PIECE", 100)
    first, second = (skipgram.visiting_order(offsets, 0, epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(40)) and first.tolist() != second.tolist()
    stretches = first.reshape(4, 10) // 10
    assert (stretches == stretches[:, :1]).all() and (np.diff(first.reshape(4, 10)) < 0).any()


def test_noise_of_fractional_weights_is_not_levelled():
    """A graph's weighted degrees may be below one."""
    assert np.allclose(noise_weights([0.1, 0.2, 0.4, 0.0], 1.0), np.array([1, 2, 4, 0]) / 7)


def test_a_part_of_empty_documents_alone_trains_nothing():
    tables = np.full((3, 4), 0.1, np.float32), np.zeros((3, 4), np.float32), np.empty(0, np.float32)
    tokens, noise = np.array([0, 1, 2, 0, 1, 2], np.int32), alias_table(noise_weights([2, 2, 2], 0.75))
    for offsets, threads in (([0, 0, 0], 1), ([0, 3, 6, 6], 2)):
        order = np.arange(len(offsets) - 1)
        examples, loss = skipgram.train(tokens, np.array(offsets), order, *tables, noise, np.ones(3), window=1, k=2, rates=(0.1, 0.1),
                                        seed=0, epoch=0, threads=threads)
        assert (examples > 0) == (offsets[-1] > 0) and (examples == 0 or np.isfinite(loss))
