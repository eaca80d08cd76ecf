import json

import numpy as np
import pytest
import torch

from stages.evaluate import triples
from stages.evaluate.kinds.base import Setting
from stages.evaluate.kinds.triples import Evaluation
from stages.evaluate.names import names
from stages.evaluate.settings import EvaluateSettings
from stages.models import translation
from stages.prepared import Prepared
from stages.settings import InputError

ENTITIES, RELATIONS = 12, 3


def random_triples(n, seed):
    rng = np.random.default_rng(seed)
    return np.unique(np.stack([rng.integers(0, ENTITIES, n), rng.integers(0, RELATIONS, n), rng.integers(0, ENTITIES, n)], 1), axis=0)


@pytest.fixture
def graph():
    everything = np.random.default_rng(0).permutation(random_triples(150, 1))
    scores = np.random.default_rng(2).integers(0, 6, (ENTITIES, RELATIONS, ENTITIES)).astype(float)  # ties on purpose
    return everything[:90], everything[90:], everything, scores


def slow_ranks(test, known, scores):
    known = {tuple(t) for t in known.tolist()}
    found = {"raw_tail": [], "raw_head": [], "tail": [], "head": []}
    for h, r, t in test.tolist():
        for side in ("tail", "head"):
            for prefix in ("raw_", ""):
                rank = 1.0
                for e in range(ENTITIES):
                    other = (h, r, e) if side == "tail" else (e, r, t)
                    if other == (h, r, t) or (not prefix and other in known):
                        continue
                    a, b = scores[other], scores[h, r, t]
                    rank += 1.0 if a > b else 0.5 if a == b else 0.0
                found[prefix + side].append(rank)
    return found


def tables(scores):
    return (lambda h, r: scores[h, r]), (lambda r, t: scores[:, r, t].T)


def test_ranks_equal_the_enumeration(graph, monkeypatch):
    _, test, known, scores = graph
    expected = slow_ranks(test, known, scores)
    for rows in (256, 5):
        monkeypatch.setattr(triples, "ROWS", rows)
        found = triples.ranks(*tables(scores), test, known)
        assert {k: v.tolist() for k, v in found.items()} == expected


def test_filtering_with_the_test_triples_alone_or_with_duplicates_is_the_same_set(graph):
    _, test, known, scores = graph
    once = triples.ranks(*tables(scores), test, known)
    twice = triples.ranks(*tables(scores), test, np.concatenate([known, known]))
    assert all(np.array_equal(once[k], twice[k]) for k in once)


def test_a_perfect_score_is_one_filtered_and_a_constant_is_chance(graph):
    _, test, known, _ = graph
    truth = np.zeros((ENTITIES, RELATIONS, ENTITIES))
    truth[tuple(known.T)] = 1.0
    perfect = triples.ranks(*tables(truth), test, known)
    assert triples.summary(perfect["tail"])["mrr"] == 1.0 and (perfect["raw_tail"] > 1).any()
    constant = triples.ranks(*tables(np.zeros_like(truth)), test, known)
    assert (constant["raw_head"] == (ENTITIES + 1) / 2).all()


def test_nan_scores_are_refused(graph):
    _, test, known, scores = graph
    with pytest.raises(ValueError, match="NaN"):
        triples.ranks(*tables(scores * np.nan), test, known)


def test_summary_by_value():
    found = triples.summary(np.array([1.0, 2.0, 3.5, 20.0]), prefix="raw_")
    assert found == pytest.approx({"raw_mean_rank": 26.5 / 4, "raw_mrr": (1 + 1 / 2 + 1 / 3.5 + 1 / 20) / 4,
                                   "raw_hits_1": 0.25, "raw_hits_3": 0.5, "raw_hits_10": 0.75})


def prepared(folder, splits, left_out):
    for name, rows in splits.items():
        np.save(folder / f"{name}.triples.npy", np.asarray(rows, np.int32).reshape(-1, 3))
    tables = {"entities": [f"e{i}" for i in range(ENTITIES)], "relations": list("abc")}
    for name, table in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(table))
    meta = {"kind": "triples", "entities": ENTITIES, "relations": RELATIONS, "categories": {"a": "1-N", "b": "N-N", "c": "N-1"}}
    (folder / "meta.json").write_text(json.dumps(meta | {"left_out": left_out}))
    return Prepared(folder)


@pytest.mark.parametrize("left_out", [0, 15])
def test_a_run_says_how_many_test_triples_it_could_not_be_asked(graph, tmp_path, left_out):
    train, test, *_ = graph
    data = prepared(tmp_path, {"train": train, "valid": test[:5], "test": test[5:]}, {"train": 0, "valid": 99, "test": left_out})
    torch.manual_seed(0)
    model = translation.Model(translation.Config(dimension=4), data.meta)
    metrics = Evaluation(Setting(data, {}, EvaluateSettings())).measure(model, 0)
    assert set(metrics) <= set(names()) and {"hits_10_tail_1_n", "hits_10_head_n_n", "raw_mrr", "mrr_head"} <= set(metrics)
    asked = len(test) - 5
    assert metrics.get("unseen", 0) == left_out
    assert metrics.get("mrr_all", metrics["mrr"]) == pytest.approx(metrics["mrr"] * asked / (asked + left_out))


def test_nothing_on_the_validation_split_depends_on_a_test_triple(graph, tmp_path):
    train, test, *_ = graph
    taken = {tuple(t) for t in np.concatenate([train, test]).tolist()}
    others = [t for t in np.ndindex(ENTITIES, RELATIONS, ENTITIES) if t not in taken]
    torch.manual_seed(0)
    found = []
    for name, tested in (("a", test[5:]), ("b", np.array(others[::2]))):
        (tmp_path / name).mkdir()
        data = prepared(tmp_path / name, {"train": train, "valid": test[:5], "test": tested}, {})
        scored, chosen = (Evaluation(Setting(data, {}, EvaluateSettings(split=s))) for s in ("valid", "test"))
        rivals = {n: metrics for n, (metrics, _) in scored.rivals.items()}
        found.append((rivals, scored.neighbours[:2], chosen.neighbours[:2]))
    assert found[0] == found[1] and found[0][1] == found[0][2]


@pytest.mark.parametrize(("left_out", "cure"), [(0, "raise split.test"), (3, "all 3 published ones hold an entity or relation that train")])
def test_a_split_without_triples_is_one_clear_line(graph, tmp_path, left_out, cure):
    data = prepared(tmp_path, {"train": graph[0], "valid": [], "test": []}, {"train": 0, "valid": 0, "test": left_out})
    with pytest.raises(InputError, match=f"no test triple, so nothing can be ranked; {cure}"):
        Evaluation(Setting(data, {}, EvaluateSettings()))


def test_each_query_is_asked_once_however_often_its_triples_come(graph):
    _, test, known, scores = graph
    asked = []
    many = np.concatenate([test, test[::-1]])
    found, _ = triples.side_ranks(lambda b: asked.extend(map(tuple, b[:, :2].tolist())) or scores[b[:, 0], b[:, 1]], many, known, "tail")
    assert len(asked) == len(set(asked)) == len({(h, r) for h, r, _ in test.tolist()})
    assert found.tolist() == slow_ranks(many, known, scores)["raw_tail"]


def test_left_out_triples_count_as_never_found():
    found = triples.over_all({"mrr": 0.3, "hits_10": 0.5, "mean_rank": 7.0}, 90, 10)
    assert found == pytest.approx({"unseen": 10.0, "mrr_all": 0.27, "hits_10_all": 0.45})


def test_measure_gives_both_sides_and_categories(graph):
    train, test, known, scores = graph
    found = triples.ranks(*tables(scores), test, known)
    kinds = ["1-N", "N-N", "N-N"]
    metrics, table = triples.measure(found, test, kinds, ["a", "b", "c"])
    both = np.r_[found["head"], found["tail"]]
    assert metrics["mrr"] == pytest.approx((1 / both).mean()) and metrics["mrr_head"] == pytest.approx((1 / found["head"]).mean())
    inside = test[:, 1] > 0
    assert metrics["hits_10_tail_n_n"] == pytest.approx((found["tail"][inside] <= 10).mean())
    assert "hits_10_tail_1_1" not in metrics
    assert [row[:3] for row in table if row[0] == "a (1-N)"] == [["a (1-N)", int((~inside).sum()), s] for s in ("head", "tail")]


def test_frequency_baseline_counts_sides_of_the_relation():
    train = np.array([[0, 0, 1], [2, 0, 1], [1, 1, 0]])
    baseline = triples.ByFrequency(train, 3, 2)
    assert baseline.tail_scores(np.array([0, 0]), np.array([0, 1])).tolist() == [[0, 2, 0], [1, 0, 0]]
    assert baseline.head_scores(np.array([0]), np.array([1])).tolist() == [[1, 0, 1]]


def test_rules_find_inverse_and_duplicate_relations_and_nothing_else():
    rng = np.random.default_rng(5)
    pairs = np.unique(rng.integers(0, 60, (80, 2)), axis=0)
    free = np.unique(rng.integers(0, 60, (80, 2)), axis=0)
    base = np.insert(pairs, 1, 0, axis=1)
    inverse, duplicate = np.insert(pairs[:, ::-1], 1, 1, axis=1), np.insert(pairs, 1, 2, axis=1)
    train = np.concatenate([base, inverse[10:], duplicate[10:], np.insert(free, 1, 3, axis=1)])
    test = np.concatenate([inverse[:10], duplicate[:10]])
    baseline = triples.ByRules(train, 60, 4)
    assert {r: sorted({s for _, s, _ in rules}) for r, rules in baseline.rules.items()} == {0: [1, 2], 1: [0, 2], 2: [0, 1]}
    found = triples.ranks(baseline.tail_scores, baseline.head_scores, test, np.concatenate([train, test]))
    assert triples.summary(np.r_[found["head"], found["tail"]])["mrr"] == 1.0
    frequency = triples.ByFrequency(train, 60, 4)
    plain = triples.ranks(frequency.tail_scores, frequency.head_scores, test, np.concatenate([train, test]))
    assert triples.summary(plain["tail"])["mrr"] < 0.5


def test_rules_equal_the_enumeration():
    train = random_triples(200, 3)
    pairs = [{(h, t) for h, r, t in train.tolist() if r == relation} for relation in range(RELATIONS)]
    expected = {}
    for r, s, reverse in np.ndindex(RELATIONS, RELATIONS, 2):
        common = len(pairs[r] & ({(t, h) for h, t in pairs[s]} if reverse else pairs[s]))
        if (s != r or reverse) and common >= 2 and common / len(pairs[s]) >= 0.1:
            expected.setdefault(r, []).append((common / len(pairs[s]), s, bool(reverse)))
    found = triples.ByRules(train, ENTITIES, RELATIONS).rules
    assert len(expected) == RELATIONS and dict(found) == {r: [pytest.approx(rule) for rule in rules] for r, rules in expected.items()}


def test_confidence_is_the_share_of_the_rules_own_pairs():
    train = np.array([[0, 0, 1], [2, 0, 3], [4, 0, 5], [6, 0, 7], [0, 1, 1], [2, 1, 3], [8, 1, 9]])
    rules = triples.ByRules(train, 10, 2).rules
    assert rules[1] == [(0.5, 0, False)] and rules[0] == [(pytest.approx(2 / 3), 1, False)]


def test_neighbours_vote_by_hand():
    # 0 and 1 share the fact "r0 to 4", which 2 of 6 entities have; 2 is alike to nobody
    train = np.array([[0, 0, 4], [1, 0, 4], [1, 1, 3], [2, 1, 5], [0, 0, 4]])
    common, own = np.log(6 / 2), np.log(6 / 1)
    alike = common**2 / (common * np.hypot(common, own))  # 0 has the shared fact, 1 that and (r1, to 3)
    for power in (1, 3):
        votes = triples.ByNeighbours(train, 6, 2, power)
        found = votes.tail_scores(np.array([0, 2]), np.array([1, 1]))
        assert found[0, 3] == pytest.approx(alike**power, rel=1e-6) and found[0, [0, 1, 2, 4]].max() < 1e-8
        assert found[0, 5] == pytest.approx(found[1, 5], rel=1e-6) and 0 < found[0, 5] < 1e-8  # 2 votes for nobody: frequency decides
        heads = votes.head_scores(np.array([1]), np.array([3]))  # 3 shares no fact with 5: the only other tail of r1
        assert heads[0, [1, 2]].max() < 1e-8 and heads[0].argmax() in (1, 2)


def test_similar_entities_answer_what_frequency_cannot():
    rng = np.random.default_rng(6)
    group = np.arange(40) % 4  # entities 0..39 in four groups; r0 tells the group by three landmarks each, r1 leads to its place
    marks = [(e, 0, 40 + 3 * g + i) for e, g in enumerate(group) for i in range(3)]
    places = [(e, 1, 52 + g) for e, g in enumerate(group)]
    hidden = set(rng.permutation(40)[:12].tolist())
    train = np.array(marks + [p for p in places if p[0] not in hidden])
    test = np.array([p for p in places if p[0] in hidden])
    votes = triples.ByNeighbours(train, 56, 2, 3)
    assert (triples.ranks(votes.tail_scores, votes.head_scores, test, np.concatenate([train, test]))["tail"] == 1.0).all()
    plain = triples.ByFrequency(train, 56, 2)
    assert triples.ranks(plain.tail_scores, plain.head_scores, test, np.concatenate([train, test]))["tail"].mean() > 1.5


def test_spreads_equal_the_mean_distances_of_answers():
    rng = np.random.default_rng(0)
    train = np.array([(h, r, t) for r in range(2) for h in range(4) for t in rng.choice(np.arange(4, 16), 3, replace=False)])
    vectors, both = rng.standard_normal((16, 5)), {}
    for r in range(2):
        same, other = [], []
        own = train[train[:, 1] == r]
        for h, _, t in own:
            for g, _, u in own:
                if t != u:
                    (same if h == g else other).append(np.linalg.norm(vectors[t] - vectors[u]))
        both[r] = np.mean(same) / np.mean(other)
    found = triples.spreads(vectors, train, ["1-N", "N-N"])
    assert found["spread_tail_1_n"] == pytest.approx(both[0]) and found["spread_tail_n_n"] == pytest.approx(both[1])
    assert set(found) == {"spread_tail_1_n", "spread_tail_n_n", "spread_head_n_n"}
    together = vectors.copy()
    together[4:] = 100 * rng.standard_normal((12, 5))
    tails = np.array([(h, 0, 4 + 3 * h + i) for h in range(4) for i in range(3)])
    together[4:] = np.repeat(together[4:8], 3, 0) + 0.01 * rng.standard_normal((12, 5))
    assert triples.spreads(together, tails, ["1-N"])["spread_tail_1_n"] < 0.01
    assert triples.spreads(together, tails, ["N-1"]) == {}  # every tail has one head
