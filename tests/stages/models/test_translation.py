import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from stages.models import translation
from stages.models.parts.sampling import stream
from stages.models.parts.triples import corrupt, facts_of, is_known
from stages.settings import configure

META = {"entities": 30, "relations": 3}


def model_of(seed=0, meta=META, **settings):
    torch.manual_seed(seed)
    return translation.Model(configure(translation.Config, {"dimension": 12, **settings}, "model"), meta)


def one_triple(triple, settings, seed=4):
    """(model, its tables before, the corruptions of an epoch over this one triple: the kernel's draws, made again)."""
    model = model_of(corruption="unif", **settings)
    triples = np.array([triple], np.int32)
    facts, state, corrupted = facts_of(triples, 30, 3, "unif"), stream(seed, 0), []
    for _ in range(model.config.negatives):
        entity, at_head = corrupt(state, *map(np.int64, triple), facts.slots, facts.head_share, 30)
        corrupted.append((entity, triple[1], triple[2]) if at_head else (triple[0], triple[1], entity))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    _, terms = model.epoch({"train.triples": triples}, seed, 0, 1, 1)
    return model, before, torch.tensor([corrupted]), terms


CASES = [{"norm": norm, "negatives": n, "optimizer": optimizer, "margin": 3.0, "lr": 0.05, "objective": objective}
         for norm in (1, 2) for n in (1, 25) for optimizer in ("sgd", "adagrad") for objective in ("margin", "self_adversarial")]


@pytest.mark.parametrize("triple", [(3, 1, 8), (5, 2, 5)])
@pytest.mark.parametrize("settings", CASES, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_the_step_is_lr_times_the_gradient(settings, triple):
    model, before, corrupted, terms = one_triple(triple, settings)
    entity, relation = (before[name].clone().requires_grad_() for name in ("entity", "relation"))
    loss = translation.written_out_loss(model.config, entity, relation, torch.tensor([triple]), corrupted)
    loss.backward()
    assert terms["loss"] == pytest.approx(float(loss.detach()), rel=1e-4) and terms["loss"] > 0
    for name, table in (("entity", entity), ("relation", relation)):
        step = table.grad
        if settings["optimizer"] == "adagrad":
            squares = step.square().mean(1)
            np.testing.assert_allclose(model.state_dict()[f"{name}_squares"], squares, rtol=1e-4, atol=1e-9)
            step = step / squares.clamp_min(1e-30).sqrt()[:, None]
        wanted = (table - settings["lr"] * step).detach()
        if name == "entity" and model.unit:
            wanted = torch.nn.functional.normalize(wanted)
        np.testing.assert_allclose(getattr(model, name), wanted, atol=1e-5)
        assert not torch.equal(getattr(model, name), before[name])


def test_nothing_moves_where_the_margin_is_kept():
    model, before, _, terms = one_triple((3, 1, 8), {"margin": 1e-6, "norm": 2, "negatives": 1}, seed=next(
        s for s in range(50) if one_triple((3, 1, 8), {"margin": 1e-6, "norm": 2, "negatives": 1}, s)[3]["loss"] == 0))
    assert terms["loss"] == 0 and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_losses_by_hand():
    """d = 1 for the true triple, 3 for the corrupted one, in one dimension."""
    entity, relation = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[1.0]])
    given = (entity, relation, torch.tensor([[0, 0, 1]]), torch.tensor([[[0, 0, 2]]]))

    def loss(**settings):
        return float(translation.written_out_loss(configure(translation.Config, settings, "model"), *given))
    assert loss(margin=2.5) == pytest.approx(0.5)
    assert loss(margin=1.5) == 0
    assert loss(margin=2.0, objective="self_adversarial") == pytest.approx(2 * np.log1p(np.exp(-1.0)))


def test_corruptions_are_never_training_triples_and_otherwise_uniform():
    rng = np.random.default_rng(0)
    triples = np.unique(np.stack([rng.integers(12, size=200), rng.integers(2, size=200), rng.integers(12, size=200)], 1), axis=0)
    facts, state, known = facts_of(triples, 12, 2, "unif"), stream(0, 0), set(map(tuple, triples.tolist()))
    h, r, t = triples[7].tolist()
    heads, tails = np.zeros(12), np.zeros(12)
    for _ in range(6000):
        entity, at_head = corrupt(state, h, r, t, facts.slots, facts.head_share, 12)
        (heads if at_head else tails)[entity] += 1
    open_heads = [e for e in range(12) if (e, r, t) not in known]
    open_tails = [e for e in range(12) if (h, r, e) not in known]
    assert 2 < len(open_heads) < 12 and heads.sum() == heads[open_heads].sum() and tails.sum() == tails[open_tails].sum()
    assert chisquare(heads[open_heads]).pvalue > 1e-3 and chisquare(tails[open_tails]).pvalue > 1e-3
    assert abs(heads.sum() - 3000) < 4 * 1500**0.5
    for triple in np.ndindex(12, 2, 12):
        assert is_known(facts.slots, *triple, 12, 2) == (triple in known)


def test_a_relation_that_links_everything_has_no_corruption():
    triples = np.array([(h, 0, t) for h in range(4) for t in range(4)], np.int32)
    facts = facts_of(triples, 4, 1, "bern")
    assert corrupt(stream(0, 0), 1, 0, 2, facts.slots, facts.head_share, 4)[0] == -1
    model = model_of(meta={"entities": 4, "relations": 1})
    before = model.entity.clone()
    assert model.epoch({"train.triples": triples}, 0, 0, 1, 1) == (16, {"loss": 0.0}) and torch.equal(before, model.entity)


def test_bern_replaces_the_side_with_many():
    """Relation 0: one head, four tails (tph 4, hpt 1); relation 1: the reverse; relation 2 never occurs."""
    triples = np.array([(0, 0, t) for t in (1, 2, 3, 4)] + [(h, 1, 0) for h in (1, 2, 3, 4)], np.int32)
    assert facts_of(triples, 5, 3, "bern").head_share.tolist() == [0.8, 0.2, 0.5]
    assert facts_of(triples, 5, 3, "unif").head_share.tolist() == [0.5] * 3


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


@pytest.mark.parametrize("settings", [{"norm": 1, "margin": 8.0, "lr": 0.05}, {"norm": 2, "optimizer": "sgd", "lr": 0.02},
                                      {"objective": "self_adversarial", "margin": 4.0}])
def test_planted_translations_rank_held_out_triples_first(settings):
    data, model = chain(), model_of(**{"dimension": 32, "lr": 0.1, "negatives": 5, **settings})
    before = model.validate(data)
    after = fit(model, data, last=150).validate(data)
    assert before["mrr"] < 0.35 and after["mrr"] > 0.9 and after["loss"] == pytest.approx(1 - after["mrr"])


def test_entities_stay_on_the_unit_sphere():
    model = fit(model_of(lr=0.3), chain(), last=5)
    np.testing.assert_allclose(model.entity.norm(dim=1), 1, atol=1e-5)
    free = fit(model_of(lr=0.3, objective="self_adversarial"), chain(), last=5)
    assert (free.entity.norm(dim=1) - 1).abs().max() > 0.1


@pytest.mark.parametrize("norm", [1, 2])
def test_scores_of_all_entities_agree_with_scores_of_triples(norm):
    model = model_of(norm=norm)
    h, r, t = torch.tensor([1, 0, 7]), torch.tensor([0, 2, 1]), torch.tensor([4, 9, 3])
    tails, heads = model.tail_scores(h, r), model.head_scores(r, t)
    assert tails.shape == heads.shape == (3, 30)
    for e in range(30):
        everyone = torch.full((3,), e)
        np.testing.assert_allclose(tails[:, e], model.score(h, r, everyone), atol=1e-4)
        np.testing.assert_allclose(heads[:, e], model.score(everyone, r, t), atol=1e-4)
    gap = model.entity[h] + model.relation[r] - model.entity[t]
    np.testing.assert_allclose(model.score(h, r, t), -(gap.abs().sum(1) if norm == 1 else gap.square().sum(1).sqrt()), rtol=1e-5)


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


@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd", "norm": 2}, {"objective": "self_adversarial", "negatives": 4}])
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
