import numpy as np
import pytest

from stages.evaluate import recommend


def encode(receipts):
    return np.array([i for r in receipts for i in r], np.int32), np.r_[0, np.cumsum([len(r) for r in receipts])].astype(np.int64)


def random_receipts(n, items, seed):
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, items + 1)
    return [rng.choice(items, rng.integers(1, 6), p=weight / weight.sum()).tolist() for _ in range(n)]


TRAIN, TEST, ITEMS = random_receipts(150, 15, 0), random_receipts(40, 15, 1), 15


def slow_measure(score, train, test, items, cold):
    """The protocol as loops: one pair at a time, one candidate at a time."""
    together = [[sum(a in r and b in r for r in train) if a != b else 0 for b in range(items)] for a in range(items)]
    count = [sum(i in r for r in train) for i in range(items)]
    rows = []
    for receipt in test:
        distinct = list(dict.fromkeys(receipt))
        for q, t in zip(distinct, distinct[1:], strict=False):
            rank = unseen = 1.0
            for c in range(items):
                if c in (q, t):
                    continue
                step = 1.0 if score[q][c] > score[q][t] else 0.5 if score[q][c] == score[q][t] else 0.0
                rank += step
                unseen += step * (together[q][c] == 0)
            best = sorted((c for c in range(items) if c != q), key=lambda c: (-score[q][c], c))[:10]
            rows.append((rank, unseen, together[q][t], count[t] < cold, count[t], best))

    def gain(values, k=10):
        return np.mean([1 / np.log2(1 + r) if r <= k else 0.0 for r in values]) if values else np.nan

    ranks, colds = [r[0] for r in rows], [r[0] for r in rows if r[3]]
    found = {
        **{f"hit_rate_{k}": np.mean([r <= k for r in ranks]) for k in (5, 10, 20)}, **{f"ndcg_{k}": gain(ranks, k) for k in (5, 10, 20)},
        **{f"mrr_{k}": np.mean([1 / r if r <= k else 0.0 for r in ranks]) for k in (5, 10, 20)}, "mrr": np.mean([1 / r for r in ranks]),
        "hit_rate_10_cold": np.mean([r <= 10 for r in colds]), "ndcg_10_cold": gain(colds), "mrr_cold": np.mean([1 / r for r in colds]),
        "coverage_items": len({c for r in rows for c in r[5]}) / items,
        **{f"ndcg_10_items_{name}": gain([r[0] for r in rows if low <= r[4] <= high])
           for name, low, high in (("0_2", 0, 2), ("3_9", 3, 9), ("10_29", 10, 29), ("30_up", 30, 1e9))},
        "ndcg_10_pairs_0": gain([r[0] for r in rows if r[2] == 0]), "ndcg_10_pairs_1_2": gain([r[0] for r in rows if 1 <= r[2] <= 2]),
        "ndcg_10_pairs_3_9": gain([r[0] for r in rows if 3 <= r[2] <= 9]), "ndcg_10_pairs_10_up": gain([r[0] for r in rows if r[2] >= 10]),
        "ndcg_10_unseen": gain([r[1] for r in rows if r[2] == 0]),
        "ndcg_10_unseen_cold": gain([r[1] for r in rows if r[2] == 0 and r[3]]),
        "ndcg_10_unseen_warm": gain([r[1] for r in rows if r[2] == 0 and not r[3]]),
        "hit_rate_10_unseen": np.mean([r[1] <= 10 for r in rows if r[2] == 0]),
    }
    return {name: value for name, value in found.items() if value == value}  # a bucket without pairs has no number


def test_every_metric_equals_the_protocol_written_as_loops():
    scores = np.random.default_rng(2).integers(0, 5, (ITEMS, ITEMS)).astype(float)  # ties on purpose
    task = recommend.trial(encode(TRAIN), encode(TEST), ITEMS, cold=20)
    found, _ = recommend.measure(lambda q: scores[q], task)
    expected = slow_measure(scores, TRAIN, TEST, ITEMS, cold=20)
    assert found == pytest.approx(expected)  # these metrics and no other


def test_blocks_of_queries_change_nothing(monkeypatch):
    scores = np.random.default_rng(3).normal(size=(ITEMS, ITEMS))
    task = recommend.trial(encode(TRAIN), encode(TEST), ITEMS)
    whole = recommend.measure(lambda q: scores[q], task)
    monkeypatch.setattr(recommend, "ROWS", 7)
    assert repr(recommend.measure(lambda q: scores[q], task)) == repr(whole)


def test_an_oracle_scores_one_and_a_constant_scores_chance():
    receipts = [[i, (i + 1) % 40] for i in range(40)]
    task = recommend.trial(encode(receipts), encode(receipts), 40)
    oracle, _ = recommend.measure(lambda q: np.eye(40)[(q + 1) % 40], task)
    assert oracle["ndcg_10"] == oracle["hit_rate_10"] == oracle["mrr"] == oracle["coverage_items"] == 1.0
    constant, _ = recommend.measure(lambda q: np.zeros((len(q), 40)), task)
    assert constant["mrr"] == pytest.approx(1 / 20) and constant["hit_rate_10"] == 0.0  # 39 candidates: the middle is 20


def test_pairs_follow_the_order_without_repeats():
    tokens, offsets = encode([[3, 3, 1, 3, 2], [5], [], [4, -1, 0]])
    assert recommend.heldout_pairs(tokens, offsets).tolist() == [[3, 1], [1, 2], [4, 0]]
    assert recommend.heldout_pairs(tokens, offsets, "all").tolist() == [[3, 1], [3, 2], [1, 3], [1, 2], [2, 3], [2, 1], [4, 0], [0, 4]]


def test_a_limit_keeps_a_seeded_sample():
    big = recommend.trial(encode(TRAIN), encode(TEST), ITEMS)
    few = [recommend.trial(encode(TRAIN), encode(TEST), ITEMS, limit=10, seed=s).pairs.tolist() for s in (0, 0, 1)]
    assert few[0] == few[1] != few[2] and len(few[0]) == 10 and all(p in big.pairs.tolist() for p in few[0])


def test_pair_counts_are_receipts_not_tokens():
    counts = recommend.pair_counts(recommend.receipt_matrix(*encode([[0, 1, 1, 1], [1, 0], [2]]), 3)).toarray()
    assert counts.tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]


def test_baselines_by_value():
    train = [[0, 1], [0, 1], [0, 2], [3, 4], [3], [5]]
    task = recommend.trial(encode(train), encode([[0, 1]]), 6)
    assert recommend.popularity(task)(np.array([0, 3])).tolist() == [[3, 2, 1, 2, 1, 1]] * 2
    co = recommend.co_counts(task)(np.array([0]))[0]
    assert np.floor(co).tolist() == [0, 2, 1, 0, 0, 0] and co[3] > co[4] == co[5]
    categories = np.array([0, 1, 1, 0, 1, -1])
    back = recommend.category_back_off(task, categories, task.together, 0.01)(np.array([0]))[0]
    assert back[1] >= 2 > back[2] >= 1 > back[4] > 0  # 0-1 seen twice, 0-2 once, 0-4 never but the categories 0 and 1 go together
    assert back[5] < back[3] < 1e-8  # categories 0 and 0, 0 and none, never together: by popularity alone


def test_category_back_off_equals_its_definition():
    task = recommend.trial(encode(TRAIN), encode(TEST), ITEMS)
    field, together = np.arange(ITEMS) % 4, task.together.toarray()
    share = [task.counts[i] / task.counts[field == field[i]].sum() for i in range(ITEMS)]
    expected = [[sum(together[a, b] for a in range(ITEMS) for b in range(ITEMS) if field[a] == field[q] and field[b] == field[t])
                 * share[q] * share[t] for t in range(ITEMS)] for q in range(ITEMS)]
    for weight in (0.3, 30.0):
        found = recommend.category_back_off(task, field, task.together, weight)(np.arange(ITEMS))
        np.testing.assert_allclose(found, together + weight * np.array(expected), rtol=1e-6, atol=1e-8)


def test_a_mix_adds_the_models_chances_to_the_co_counts():
    task = recommend.trial(encode(TRAIN), encode(TEST), ITEMS)
    scores = np.random.default_rng(5).normal(size=(ITEMS, ITEMS))
    found = recommend.mixed(lambda q: scores[q], task.together, 30.0)(np.arange(ITEMS))
    for q in range(ITEMS):
        others = [t for t in range(ITEMS) if t != q]
        total = sum(np.exp(scores[q, t]) for t in others)
        assert found[q, others] == pytest.approx([task.together[q, t] + 30.0 * np.exp(scores[q, t]) / total for t in others])
    far = recommend.mixed(lambda q: scores[q] * 1e4, task.together, 1.0)(np.arange(ITEMS))  # no overflow
    assert np.isfinite(far).all()


def test_near_counts_by_value():
    tokens, offsets = encode([[0, 0, 1, 0, 2, -1, 3], [1, 0], [2], []])  # without repeats and unknown items: 0 1 2 3 and 1 0
    one, two, all_ = (recommend.near_counts(tokens, offsets, 4, w).toarray() for w in (1, 2, 9))
    assert one.tolist() == [[0, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert two.tolist() == [[0, 2, 1, 0], [2, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]]
    assert np.array_equal(all_, recommend.pair_counts(recommend.receipt_matrix(tokens, offsets, 4)).toarray())


@pytest.mark.parametrize("dense", [2000, 0])
def test_svd_equals_the_dense_decomposition_and_repeats_exactly(dense, monkeypatch):
    monkeypatch.setattr(recommend, "DENSE", dense)
    task = recommend.trial(encode(random_receipts(400, 30, 0)), encode(TEST), 30)
    left, singular, right = np.linalg.svd(np.log1p(task.together.toarray()))
    values, vectors = recommend.factors(task.together, 12)
    assert np.array_equal(vectors, recommend.factors(task.together, 12)[1])
    for width, power in ((4, 0.5), (12, 0.7), (7, 1.0)):
        expected = left[:, :width] * singular[:width] ** (2 * power) @ right[:width]
        found = recommend.svd(task, values, vectors, width, power)(np.arange(30))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    whole = recommend.svd(task, *recommend.factors(task.together, 64), 64, 0.5)(np.arange(30))  # of more than there are: all of it
    np.testing.assert_allclose(whole, np.log1p(task.together.toarray()), atol=1e-6)


def test_the_choice_is_the_best_on_the_task_given_and_the_first_without_pairs():
    task = recommend.trial(encode(TRAIN), encode(TEST), ITEMS)
    scores = np.random.default_rng(4).normal(size=(ITEMS, ITEMS))
    candidates = {"worse": lambda q: scores[q], "better": recommend.co_counts(task), "equal": recommend.co_counts(task)}
    found = recommend.measure(candidates["better"], task)[0]["ndcg_10"]
    assert recommend.chosen(candidates, task) == ("better", pytest.approx(found))
    assert recommend.chosen(candidates, recommend.trial(encode(TRAIN), encode([[2]]), ITEMS)) == ("worse", None)


def test_no_pair_is_an_error():
    with pytest.raises(ValueError, match="no test receipt"):
        recommend.measure(lambda q: np.zeros((len(q), 3)), recommend.trial(encode([[0, 1]]), encode([[2]]), 3))
