import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from stages.ingest.simulated_shop import ShopOptions, simulated_shop
from stages.models import item2vec, word2vec
from stages.models.parts import items, skipgram
from stages.models.parts.sampling import alias_table
from stages.prepare.receipts import ReceiptSettings
from stages.prepare.receipts import receipts as prepare_receipts
from stages.prepare.splits import Shares
from stages.settings import InputError, configure

META = {"dataset": "tiny", "kind": "receipts", "items": 12, "fields": {"category": 3, "brand": 4}}
CATEGORY, BRAND = np.arange(12) // 4, np.array([0, 1, 2, -1] * 3)  # brand 3 is nobody's


def receipts(n=80, seed=0):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, 12, rng.integers(1, 7)).tolist() for _ in range(n)]
    tokens = np.concatenate(lists).astype(np.int32)
    return {"train.tokens": tokens, "train.offsets": np.cumsum([0] + [len(r) for r in lists]), "counts": np.bincount(tokens, minlength=12),
            "field.category": CATEGORY.astype(np.int32), "field.brand": BRAND.astype(np.int32)}


def model_of(module=item2vec, seed=0, **settings):
    torch.manual_seed(seed)
    return module.Model(configure(module.Config, {"dimension": 32, "lr": 0.1, **settings}, "model"), META)


def fit(model, data, epochs=3, seed=0):
    for epoch in range(epochs):
        model.epoch(data, seed, epoch, epochs, 1)
    return model


FIELDS = ["category", "brand"]


@pytest.mark.parametrize("more", [{}, {"subsample": 0.02, "window": 0, "negatives": 3}])
@pytest.mark.parametrize("sides", ["one", "all"])
def test_without_lambda_or_fields_the_vectors_are_those_of_prod2vec(sides, more):
    data = receipts()
    prod2vec = fit(model_of(**more), data).vectors()
    nothing = fit(model_of(fields=FIELDS, side_weight=0.0, sides=sides, **more), data).vectors()
    little = fit(model_of(fields=FIELDS, side_weight=1e-7, sides=sides, **more), data).vectors()
    something = fit(model_of(fields=FIELDS, side_weight=0.5, sides=sides, **more), data).vectors()
    for name in ("input", "output"):
        assert torch.equal(nothing[name], prod2vec[name])
        torch.testing.assert_close(little[name], prod2vec[name], atol=1e-4, rtol=0)  # the main term draws and pairs as before
        assert (something[name] - prod2vec[name]).abs().max() > 1e-2
    torch.testing.assert_close(nothing["output.field.category"], torch.zeros(3, 32))


def test_without_fields_it_is_word2vec_on_receipts():
    data = receipts()
    ours, word = fit(model_of(), data), fit(model_of(word2vec, window=3, negatives=10), data)
    torch.testing.assert_close(ours.input, word.input, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.output, word.output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 1.7), (2.0, 0.0)])
def test_a_weighted_step_is_lr_times_the_gradient(weights):
    rng = np.random.default_rng(0)
    arrays, lanes, lr = rng.normal(0, 0.5, (2, 9, 32)).astype(np.float32), (0,) * 4, 0.1
    rows, times = np.array([4, 0, 2, 5, 6, 7, 8]), np.array([1, 1, 2, 1, 3, 1, 1], np.float32)
    inputs, outputs = arrays.copy()
    blocks, rate, scores = np.zeros((2, 320), np.float32), np.zeros(12, np.float32), np.zeros(12, np.float32)
    skipgram.load_rows(blocks, outputs, rows, times, 7, np.float32(lr), rate, lanes)
    for slot, row in enumerate((1, 3)):
        skipgram.load_input(blocks, slot, inputs, row, -1, lanes)
    items.step_weighted(blocks, rate, scores, *map(np.float32, weights), lanes)
    for slot, row in enumerate((1, 3)):
        skipgram.store_input(blocks, slot, inputs, row, skipgram.ONE, lanes)
    skipgram.store_rows(blocks, outputs, rows, 7, lanes)
    x, y = (torch.from_numpy(a.copy()).requires_grad_() for a in arrays)
    signs = torch.tensor([1.0] + [-1.0] * 6)
    terms = [w * (torch.from_numpy(times) * logsigmoid(signs * (y[rows] @ x[i]))).sum() for i, w in zip((1, 3), weights, strict=True)]
    (-sum(terms)).backward()
    np.testing.assert_allclose(inputs, (x - lr * x.grad).detach(), atol=1e-5)
    np.testing.assert_allclose(outputs, (y - lr * y.grad).detach(), atol=1e-5)


def gradient(model, data, arrays, noise, receipt, side_weight):
    """Of the written-out loss over every ordered pair of the receipt."""
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    pairs = [(receipt[a], receipt[b]) for a in range(len(receipt)) for b in range(len(receipt)) if a != b]
    item2vec.written_out_loss(*tensors, model.values(data), side_weight, pairs, [torch.as_tensor(n) for n in noise], [3, 2, 2]).backward()
    return np.stack([t.grad.numpy() for t in tensors])


def step_of(model, data, arrays, noise, receipt, lr, seed, **settings):
    """(before - after one epoch over the one receipt) / lr."""
    found, starts = [a.copy() for a in arrays], model.starts
    side = np.concatenate([alias_table(n[a:b]) for n, a, b in zip(noise[1:], starts, starts[1:], strict=False)])
    items.train(np.array(receipt, np.int32), np.array([0, len(receipt)]), np.arange(1), *found, alias_table(noise[0][:12]), np.ones(12),
                model.values(data), starts, side, window=0, shrink=True, k=3, side_k=2, rates=(lr, lr), seed=seed, epoch=0, **settings)
    return (np.stack(arrays) - np.stack(found)) / lr


def tables():
    return [a.astype(np.float32) for a in np.random.default_rng(1).normal(0, 0.5, (2, 19, 32))]


RECEIPT = [0, 1, 2, 3, 6, 5, 11]  # seven items of one or two categories: inputs are merged; item 3 and 11 have no brand


def test_an_epoch_at_a_small_rate_follows_the_gradient_of_the_formula():
    """Noise of one row each leaves no chance, so an epoch of tiny steps is the gradient of the whole objective."""
    data, model, arrays = receipts(), model_of(fields=FIELDS), tables()
    noise = np.zeros((3, 19))
    noise[0, 9] = noise[1, 14] = noise[2, 17] = 1.0
    found = step_of(model, data, arrays, noise, RECEIPT, 5e-5, 0, side_weight=0.7, one_field=False)
    wanted = gradient(model, data, arrays, noise, RECEIPT, 0.7)
    np.testing.assert_allclose(found, wanted, atol=0.01 * np.abs(wanted).max())
    assert np.abs(wanted[:, 12:]).max() > 1 and not np.abs(wanted[:, 18]).any()


def test_one_field_a_centre_estimates_the_same_gradient():
    data, model, arrays = receipts(), model_of(fields=FIELDS), tables()
    noise = np.zeros((3, 19))
    noise[0, :12], noise[1, 12:15], noise[2, 15:18] = 1 / 12, [0.2, 0.3, 0.5], [0.5, 0.25, 0.25]
    steps = np.stack([step_of(model, data, arrays, noise, RECEIPT, 1e-3, seed, side_weight=0.7, one_field=True) for seed in range(3000)])
    wanted, error = gradient(model, data, arrays, noise, RECEIPT, 0.7), steps.std(0) / 3000**0.5
    assert np.abs(steps.mean(0) - wanted).max() < 4.5 * error.max() + 0.02 * np.abs(wanted).max()
    assert np.abs(wanted).max() > 20 * error.max()  # so that the comparison could fail


def test_a_fields_noise_is_how_often_its_items_were_bought():
    data, model = receipts(), model_of(fields=FIELDS, exponent=0.5)
    values, starts, table = model.sides(data)
    assert starts.tolist() == [12, 15, 19] and values[1].tolist() == [15, 16, 17, -1] * 3
    for start, stop, ids in ((12, 15, CATEGORY), (15, 19, BRAND)):
        part = table[start - 12 : stop - 12]
        share = np.zeros(stop - start)
        np.add.at(share, np.arange(stop - start), part[:, 0] / 2**32)
        np.add.at(share, part[:, 1], 1 - part[:, 0] / 2**32)
        bought = np.array([data["counts"][ids == v].sum() for v in range(stop - start)]) ** 0.5
        np.testing.assert_allclose(share / len(share), bought / bought.sum(), atol=1e-6)


def test_values_lie_near_their_items_and_a_cold_item_near_its_category():
    """Two groups of categories bought together. Item 11 was bought once, beside an item of the other group: its category knows better."""
    rng = np.random.default_rng(0)
    group = np.array([0] * 4 + [1] * 8)
    lists = [rng.choice(np.flatnonzero(group[:11] == g), 3, replace=False).tolist() for g in rng.integers(2, size=1500)] + [[11, 0]]
    tokens = np.concatenate(lists).astype(np.int32)
    data = {**receipts(), "train.tokens": tokens, "train.offsets": np.cumsum([0] + [len(r) for r in lists]), "counts": np.bincount(tokens)}
    model = fit(model_of(fields=["category"], window=0), data, epochs=5)
    vectors = {name: v.numpy() for name, v in model.vectors().items()}
    unit = {name: v / np.linalg.norm(v, axis=1, keepdims=True) for name, v in vectors.items()}
    to_items = unit["field.category"] @ unit["input"].T
    assert (to_items[:, :11].reshape(3, -1)[0, :4].min() > to_items[0, 4:11].max()) and to_items[2, 4:11].min() > to_items[2, :4].max()
    scores = vectors["field.category"][2] @ vectors["output"][:11].T  # the category of item 11 asks for its group
    assert set(np.argsort(-scores)[:7].tolist()) == set(range(4, 11))


def test_a_planted_shop_is_recovered():
    """The simulated shop's complements, from receipts and metadata alone: every category expects its complement most."""
    raw = simulated_shop(ShopOptions(departments=3, categories=4, items=8, receipts=1500, seed=1))
    data, tables, meta = prepare_receipts(raw.tables["receipts"], raw.tables["items"], list(raw.fields), ReceiptSettings(), Shares("salt"))
    torch.manual_seed(0)
    config = item2vec.Config(fields=raw.fields, lr=0.05)
    model = fit(item2vec.Model(config, {**meta, "dataset": "shop", "kind": "receipts"}), data, epochs=10)
    vectors, names = {name: v.numpy() for name, v in model.vectors().items()}, tables["field.category"]
    scores = vectors["field.category"] @ vectors["output.field.category"].T
    np.fill_diagonal(scores, -np.inf)
    assert [names[i] for i in scores.argmax(1)] == [raw.truth["complements"][name] for name in names]
    of = np.asarray(data["field.category"])
    between = (vectors["input"] @ vectors["output"].T).astype(np.float64)
    expected = of[np.argsort(-np.where(of[:, None] == of, -np.inf, between), 1)[:, :3]]  # of items of other categories
    partner = np.array([names.index(raw.truth["complements"][name]) for name in names])[of]
    assert (expected == partner[:, None]).mean() > 0.7  # chance: 1 in 11


def test_bad_settings_are_one_line():
    with pytest.raises(InputError, match="dataset tiny: unknown metadata field 'categry'; allowed: category, brand.*'category'"):
        model_of(fields=["categry"])
    with pytest.raises(InputError, match="dataset tiny has no metadata, but category was asked for.*prod2vec"):
        item2vec.Model(configure(item2vec.Config, {"fields": ["category"]}, "model"), {**META, "fields": {}})
    with pytest.raises(InputError, match="model.side_weight: -0.1 is out of range; allowed: at least 0"):
        model_of(side_weight=-0.1)
    with pytest.raises(InputError, match="stands twice"):
        model_of(fields=["brand", "brand"])
