import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from stages.models import translation
from stages.models.parts.distances import distances
from stages.models.parts.sampling import stream
from stages.models.parts.triples import corrupt, facts_of
from stages.settings import configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"entities": 30, "relations": 3}


def model_of(seed=0, meta=META, **settings):
    torch.manual_seed(seed)
    return translation.Model(configure(translation.Config, {"dimension": 12, **settings}, "model"), meta)


def one_triple(triple, settings, seed=4):
    """(model, its tables before, the corruptions of an epoch over this one triple: the kernel's draws, made again)."""
    model = model_of(corruption="unif", **settings)
    if model.config.hyperplanes:
        with torch.no_grad():
            model.entity *= torch.linspace(0.7, 1.31, 30)[:, None]  # a length of exactly 1 is the corner of a bound
    triples = np.array([triple], np.int32)
    facts, state, corrupted = facts_of(triples, 3, "unif"), stream(seed, 0), []
    for _ in range(model.config.negatives):
        entity, at_head = corrupt(state, facts.rows[0], 0.5, facts.tails, facts.heads, 30)
        corrupted.append((entity, triple[1], triple[2]) if at_head else (triple[0], triple[1], entity))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    _, terms = model.epoch({"train.triples": triples}, seed, 0, 1, 1)
    return model, before, torch.tensor([corrupted]), terms


TRANSE = [{"distance": distance, "negatives": n, "optimizer": optimizer, "margin": 3.0, "lr": 0.05, "objective": objective}
          for distance in ("l1", "l2") for n in (1, 25) for optimizer in ("sgd", "adagrad")
          for objective in ("margin", "self_adversarial", "softmax")]
TRANSH = [{"hyperplanes": True, "distance": distance, "negatives": n, "optimizer": optimizer, "margin": 9.0, "lr": 0.02, "constraint": c,
           "epsilon": 0.01, "objective": objective}
          for distance, objective, c in (("squared_l2", "margin", 0.3), ("l1", "margin", 0.0), ("l2", "self_adversarial", 1.0),
                                         ("squared_l2", "softmax", 0.3))
          for n in (1, 25) for optimizer in ("sgd", "adagrad")]


@pytest.mark.parametrize("triple", [(3, 1, 8), (5, 2, 5)])
@pytest.mark.parametrize("settings", TRANSE + TRANSH, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_the_step_is_lr_times_the_gradient(settings, triple):
    model, before, corrupted, terms = one_triple(triple, settings)
    tables = {name: before[name].clone().requires_grad_() for name in model.vectors()}
    loss = translation.written_out_loss(model.config, tables, torch.tensor([triple]), corrupted)
    loss.backward()
    assert terms["loss"] == pytest.approx(float(loss.detach()), rel=1e-4) and terms["loss"] > 0
    for name, table in tables.items():
        step = table.grad
        if settings["optimizer"] == "adagrad":
            squares = step.square().mean(1)
            np.testing.assert_allclose(model.state_dict()[f"{name}_squares"], squares, rtol=1e-4, atol=1e-9)
            step = step / squares.clamp_min(1e-30).sqrt()[:, None]
        wanted = (table - settings["lr"] * step).detach()
        if name == "normal" or name == "entity" and model.unit:
            wanted = torch.nn.functional.normalize(wanted)
        np.testing.assert_allclose(getattr(model, name), wanted, atol=1e-5)
        assert not torch.equal(getattr(model, name), before[name])


def test_nothing_moves_where_the_margin_is_kept():
    model, before, _, terms = one_triple((3, 1, 8), {"margin": 1e-6, "distance": "l2", "negatives": 1}, seed=next(
        s for s in range(50) if one_triple((3, 1, 8), {"margin": 1e-6, "distance": "l2", "negatives": 1}, s)[3]["loss"] == 0))
    assert terms["loss"] == 0 and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_losses_by_hand():
    """d = 1 for the true triple, 3 for the corrupted one, in one dimension."""
    entity, relation = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[1.0]])
    given = ({"entity": entity, "relation": relation}, torch.tensor([[0, 0, 1]]), torch.tensor([[[0, 0, 2]]]))

    def loss(**settings):
        return float(translation.written_out_loss(configure(translation.Config, settings, "model"), *given))
    assert loss(margin=2.5) == pytest.approx(0.5)
    assert loss(margin=1.5) == 0
    assert loss(margin=2.0, objective="self_adversarial") == pytest.approx(2 * np.log1p(np.exp(-1.0)))
    assert loss(objective="softmax") == pytest.approx(np.log1p(np.exp(-2.0)))
    assert loss(margin=8.5, distance="squared_l2") == pytest.approx(0.5)


def test_the_hyperplane_loss_by_hand():
    """w points along y: heights do not count. (0, 5) -> (2, 7) by (1, .5): 1 apart along x and .5 along y, which is no part of the plane
    but of d_r, at a cosine to w that the soft bound charges; the entities' squared lengths are 25 and 53."""
    entity, relation, normal = torch.tensor([[0.0, 5.0], [2.0, 7.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, 1.0]])
    given = ({"entity": entity, "relation": relation, "normal": normal}, torch.tensor([[0, 0, 1]]), torch.tensor([[[2, 0, 1]]]))

    def loss(**settings):
        return float(translation.written_out_loss(configure(translation.Config, {"hyperplanes": True, **settings}, "model"), *given))
    true, false = 1.0 + 0.25, 0.25 + 0.25
    assert loss(distance="squared_l2", margin=2.0, constraint=0.0) == pytest.approx(2.0 + true - false)
    bounds = 24 + 52 + (0.25 / 1.25 - 0.1**2)
    assert loss(distance="squared_l2", margin=2.0, constraint=0.5, epsilon=0.1) == pytest.approx(2.0 + true - false + 0.5 * bounds)


def test_corruptions_are_never_training_triples_and_otherwise_uniform():
    rng = np.random.default_rng(0)
    triples = np.unique(np.stack([rng.integers(12, size=200), rng.integers(2, size=200), rng.integers(12, size=200)], 1), axis=0)
    triples = np.concatenate([triples, triples[:20]]).astype(np.int32)  # some of them twice
    facts, known = facts_of(triples, 2, "unif"), set(map(tuple, triples.tolist()))
    for index, share in ((7, 0.5), (60, 0.9), (len(triples) - 1, 0.2)):
        state = stream(0, index)
        h, r, t = facts.rows[index, :3].tolist()
        assert (h, r, t) == tuple(triples[index].tolist())
        heads, tails = np.zeros(12), np.zeros(12)
        for _ in range(6000):
            entity, at_head = corrupt(state, facts.rows[index], share, facts.tails, facts.heads, 12)
            (heads if at_head else tails)[entity] += 1
        open_heads = [e for e in range(12) if (e, r, t) not in known]
        open_tails = [e for e in range(12) if (h, r, e) not in known]
        assert 1 < len(open_heads) < 12 and 1 < len(open_tails) < 12
        assert heads.sum() == heads[open_heads].sum() and tails.sum() == tails[open_tails].sum()
        assert chisquare(heads[open_heads]).pvalue > 1e-3 and chisquare(tails[open_tails]).pvalue > 1e-3
        assert chisquare([heads.sum(), tails.sum()], [6000 * share, 6000 * (1 - share)]).pvalue > 1e-3


def test_a_relation_that_links_everything_has_no_corruption():
    triples = np.array([(h, 0, t) for h in range(4) for t in range(4)], np.int32)
    facts = facts_of(triples, 1, "bern")
    assert corrupt(stream(0, 0), facts.rows[6], 0.5, facts.tails, facts.heads, 4)[0] == -1
    model = model_of(meta={"entities": 4, "relations": 1})
    before = model.entity.clone()
    assert model.epoch({"train.triples": triples}, 0, 0, 1, 1) == (16, {"loss": 0.0}) and torch.equal(before, model.entity)


def test_bern_replaces_the_side_with_many():
    """Relation 0: one head, four tails (tph 4, hpt 1); relation 1: the reverse; relation 2 never occurs. A triple twice counts once."""
    triples = np.array([(0, 0, t) for t in (1, 2, 3, 4, 4)] + [(h, 1, 0) for h in (1, 2, 3, 4)], np.int32)
    assert facts_of(triples, 3, "bern").head_share.tolist() == [0.8, 0.2, 0.5]
    assert facts_of(triples, 3, "unif").head_share.tolist() == [0.5] * 3


@pytest.mark.parametrize(("corruption", "share"), [("unif", 0.5), ("bern", 0.8)])
def test_training_corrupts_by_the_scheme_that_is_set(corruption, share, monkeypatch):
    seen = {}
    monkeypatch.setattr(translation, "train", lambda facts, *a, **k: seen.update(share=facts.head_share[0]) or 0.0)
    triples = np.array([(0, 0, t) for t in (1, 2, 3, 4)], np.int32)
    model_of(corruption=corruption).epoch({"train.triples": triples}, 0, 0, 1, 1)
    assert seen["share"] == share


def chain():
    """Ten families a -> b -> c: relation 2 is 0 after 1, so a translation can tell the four pairs of it that are held out."""
    n = np.arange(10)
    parts = [np.stack([n + a, np.full(10, r), n + b], 1) for a, r, b in ((0, 0, 10), (10, 1, 20), (0, 2, 20))]
    triples = np.concatenate(parts).astype(np.int32)
    valid = np.isin(np.arange(30), [21, 24, 26, 29])
    return {"train.triples": triples[~valid], "valid.triples": triples[valid]}


def fit(model, data, first=0, last=60, epochs=60, seed=0):
    for epoch in range(first, last):
        model.epoch(data, seed, epoch, epochs, 1)
    return model


PLANTED = [{"margin": 8.0, "lr": 0.05}, {"distance": "l2", "optimizer": "sgd", "lr": 0.02},
           {"objective": "self_adversarial", "margin": 4.0},
           {"objective": "softmax", "distance": "l2", "dimension": 12, "negatives": 10},
           {"hyperplanes": True, "distance": "squared_l2", "margin": 4.0, "lr_decay": "linear"},
           {"hyperplanes": True, "objective": "self_adversarial", "margin": 4.0}]


@pytest.mark.parametrize("settings", PLANTED, ids=str)
def test_planted_translations_rank_held_out_triples_first(settings):
    data, model = chain(), model_of(**{"dimension": 32, "lr": 0.1, "negatives": 5, **settings})
    before = model.validate(data)
    after = fit(model, data, last=150, epochs=150).validate(data)
    assert before["mrr"] < 0.4 and after["mrr"] > 0.9 and after["loss"] == pytest.approx(1 - after["mrr"])


def test_entities_stay_on_the_unit_sphere():
    model = fit(model_of(lr=0.3), chain(), last=5)
    np.testing.assert_allclose(model.entity.norm(dim=1), 1, atol=1e-5)
    free = fit(model_of(lr=0.3, objective="self_adversarial"), chain(), last=5)
    assert (free.entity.norm(dim=1) - 1).abs().max() > 0.1


def test_normals_have_unit_length_and_the_soft_bounds_hold_entities_and_translations():
    settings = {"dimension": 8, "hyperplanes": True, "distance": "squared_l2", "margin": 4.0, "lr": 0.05, "negatives": 5,
                "lr_decay": "linear"}

    def fitted(**more):
        model = fit(model_of(**settings, **more), chain(), last=200, epochs=200)
        np.testing.assert_allclose(model.normal.norm(dim=1), 1, atol=1e-5)
        cosine = (model.normal * torch.nn.functional.normalize(model.relation)).sum(1).abs().max()
        return float(cosine), float(model.entity.norm(dim=1).max())
    cosine, length = fitted(constraint=20.0, epsilon=0.05)
    assert cosine < 0.05 + 0.01 and length < 1.05
    cosine, length = fitted(constraint=0.0)
    assert cosine > 0.1 and length > 1.2


@pytest.mark.parametrize("distance", ["l1", "l2", "squared_l2"])
@pytest.mark.parametrize("hyperplanes", [False, True])
def test_scores_of_all_entities_agree_with_scores_of_triples(distance, hyperplanes):
    model = model_of(distance=distance, hyperplanes=hyperplanes, dimension=11, meta={"entities": 300, "relations": 3})
    h, r, t = torch.tensor([1, 0, 7]), torch.tensor([0, 2, 1]), torch.tensor([4, 9, 299])
    tails, heads = model.tail_scores(h, r), model.head_scores(r, t)
    assert tails.shape == heads.shape == (3, 300)
    for e in range(300):
        everyone = torch.full((3,), e)
        np.testing.assert_allclose(tails[:, e], model.score(h, r, everyone), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(heads[:, e], model.score(everyone, r, t), rtol=1e-4, atol=1e-4)
    gap = model.entity[h] + model.relation[r] - model.entity[t]
    if hyperplanes:
        w, between = model.normal[r], model.entity[h] - model.entity[t]
        gap = between - (between * w).sum(1, keepdim=True) * w + model.relation[r]
    sizes = {"l1": gap.abs().sum(1), "l2": gap.square().sum(1).sqrt(), "squared_l2": gap.square().sum(1)}
    np.testing.assert_allclose(model.score(h, r, t), -sizes[distance], rtol=1e-5)


@pytest.mark.parametrize("distance", ["l1", "l2", "squared_l2"])
def test_equal_vectors_are_equally_far_to_the_bit_wherever_they_stand(distance):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(700, 37)).astype(np.float32)
    table[[0, 5, 127, 128, 300, 699]] = table[3]
    queries = rng.normal(size=(9, 37)).astype(np.float32)
    normals = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for w in (None, normals):
        found = distances(queries, table, distance, w)
        assert (found[:, [0, 5, 127, 128, 300, 699]] == found[:, [3]]).all()
        far = table[None].repeat(9, 0) if w is None else table[None] - (table @ w.T).T[:, :, None] * w[:, None]
        gap = np.abs(queries[:, None].astype(np.float64) - far)
        wanted = {"l1": gap.sum(-1), "l2": np.sqrt((gap**2).sum(-1)), "squared_l2": (gap**2).sum(-1)}[distance]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_validation_ranks_are_filtered_and_ties_count_half():
    data, model = chain(), model_of()
    with torch.no_grad():
        model.entity[5:8] = model.entity[4]  # ties
    known = {tuple(x) for x in np.concatenate(list(data.values())).tolist()}
    ranks = []
    for h, r, t in data["valid.triples"].tolist():
        ids = [torch.tensor([x]) for x in (h, r, t)]
        for side, scores in ((2, model.tail_scores(*ids[:2])[0]), (0, model.head_scores(*ids[1:])[0])):
            answer, better, equal = (h, r, t)[side], 0, 0
            for e in range(30):
                other = (h, r, e) if side == 2 else (e, r, t)
                if e != answer and other not in known:
                    better += scores[e] > scores[answer]
                    equal += scores[e] == scores[answer]
            ranks.append(1 + int(better) + int(equal) / 2)
    assert model.validate(data)["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)), rel=1e-6)
    assert any(x % 1 for x in ranks)


def test_validation_looks_at_triples_from_all_over_and_always_the_same(monkeypatch):
    monkeypatch.setattr(translation, "LOOKED_AT", 10)
    model, asked = model_of(), []
    tail_scores = model.tail_scores
    monkeypatch.setattr(model, "tail_scores", lambda h, r: asked.append(h.tolist()) or tail_scores(h, r))
    data = chain()
    data["valid.triples"] = np.array([(h, 0, (h + 7) % 30) for h in range(30)], np.int32)  # sorted by head, as prepare's are
    assert model.validate(data) == model.validate(data)
    assert asked[0] == asked[1] and len(set(asked[0])) == 10 and max(asked[0]) > 20


@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd", "distance": "l2"}, {"objective": "self_adversarial", "negatives": 4},
                                      {"hyperplanes": True, "distance": "squared_l2", "lr_decay": "linear"}])
def test_same_seed_same_bytes_and_resuming_is_exact(settings):
    data = chain()
    whole = fit(model_of(**settings), data, last=4).state_dict()
    again = fit(model_of(**settings), data, last=4).state_dict()
    half = fit(model_of(**settings), data, last=2)
    resumed = model_of(seed=5, **settings)
    resumed.load_state_dict({k: v.clone() for k, v in half.state_dict().items()})
    fit(resumed, data, first=2, last=4)
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]) and torch.equal(tensor, resumed.state_dict()[name])
    assert not torch.equal(whole["entity"], fit(model_of(**settings), data, last=4, seed=1).entity)


def test_the_rate_falls_in_equal_steps_to_one_last_share(monkeypatch):
    rates = []
    monkeypatch.setattr(translation, "train", lambda *a, lr, **k: rates.append(lr) or 0.0)
    fit(model_of(lr=0.4, lr_decay="linear"), chain(), last=4, epochs=4)
    fit(model_of(lr=0.4), chain(), last=2, epochs=4)
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.4, 0.4])


class WithoutTest(dict):
    """Prepared data whose test split may not be looked at."""

    def __getitem__(self, name):
        assert not name.startswith("test"), "training read the test split"
        return super().__getitem__(name)


def test_training_and_stopping_never_look_at_test_triples():
    data = WithoutTest(chain(), **{"test.triples": np.array([[0, 0, 1]], np.int32)})
    settings = TrainSettings(epochs=4, validate_every=2, patience=1)
    trained = train(model_of(), data, settings, 0, torch.device("cpu"))
    again = train(model_of(), {**data, "test.triples": np.array([[9, 2, 9]] * 5, np.int32)}, settings, 0, torch.device("cpu"))
    assert all(torch.equal(trained.weights[k], again.weights[k]) for k in trained.weights) and trained.curve == again.curve
