"""Gumbel-softmax by value and in the limit, estimators of the gradient against enumeration, the bound against enumeration."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from stages.models.gumbel_vae import Config, Model, gumbel_softmax, hard, temperature

META = {"shape": [2, 2, 1], "classes": 0}


def test_temperature_falls_exponentially_to_its_floor():
    assert [temperature(s, 1e-3, 0.5) for s in (0, 100, 5000)] == pytest.approx([1.0, math.exp(-0.1), 0.5])


def test_hard_draws_have_the_probabilities_and_relaxed_ones_become_hard():
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3])).expand(40000, 3)
    drawn = hard(logits, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.mean(0), torch.tensor([0.2, 0.5, 0.3]), atol=0.01) and set(drawn.unique().tolist()) == {0.0, 1.0}
    cold = gumbel_softmax(logits, 0.01, torch.Generator().manual_seed(0))
    assert (cold.max(1).values > 0.99).float().mean() > 0.97 and torch.allclose(cold.argmax(1), drawn.argmax(1))
    warm = gumbel_softmax(logits, 50.0, torch.Generator().manual_seed(0))
    assert torch.allclose(warm.sum(1), torch.ones(40000)) and (warm - 1 / 3).abs().max() < 0.25


def test_rate_is_the_categorical_kl_to_uniform():
    model = Model(Config(codes=2, classes=3, hidden=(4,)), META)
    pi = torch.tensor([[[1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]]])
    by_hand = sum(p * math.log(3 * p) for p in (0.7, 0.2, 0.1))
    assert torch.allclose(model.rate(pi.log()), torch.tensor([[0.0, by_hand]]), atol=1e-6)


def enumerated(model, x):
    """(ELBO, log-likelihood) of the tiny model by going through every code; [B] each."""
    log_q = model.log_q(x)
    total, joint = 0.0, []
    for values in itertools.product(range(model.config.classes), repeat=model.config.codes):
        z = F.one_hot(torch.tensor(values), model.config.classes).float().expand(len(x), -1, -1)
        log_p = model.log_p_x(x, z)
        total = total + (z * log_q).sum((-1, -2)).exp() * log_p
        joint.append(log_p - model.config.codes * math.log(model.config.classes))
    return total - model.rate(log_q).sum(1), torch.logsumexp(torch.stack(joint), 0)


def tiny(estimator="gumbel", **more):
    torch.manual_seed(0)
    return Model(Config(codes=2, classes=3, hidden=(4,), estimator=estimator, sigma=0.3, **more), META)


def test_bounds_are_those_of_enumeration():
    model, x = tiny(), torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        elbo, evidence = enumerated(model, x)
        many = x.repeat_interleave(4000, 0)
        distortion, rate = model.bound(many, torch.Generator().manual_seed(0))
        drawn = -(distortion + rate.sum(1)).view(3, -1)
        tight = model.log_likelihood(x, 4000, torch.Generator().manual_seed(0))
        ones = model.log_likelihood(many, 1, torch.Generator().manual_seed(2)).view(3, -1)
    error = drawn.std(1) / 4000**0.5
    assert ((drawn.mean(1) - elbo).abs() < 4 * error + 1e-4).all() and (elbo < evidence).all()
    assert torch.allclose(tight, evidence, atol=0.1)
    assert ((ones.mean(1) - elbo).abs() < 4 * ones.std(1) / 4000**0.5 + 1e-4).all()


def gradient(model, x, draws, seed):
    torch.manual_seed(seed)
    model.zero_grad()
    model.loss({"images": x.repeat(draws, 1, 1, 1)}, "main", 10**6)[0].backward()
    return model.encoder[-1].weight.grad.clone()


def test_the_score_function_is_unbiased_and_the_relaxed_gradient_at_a_low_temperature_points_the_same_way():
    x = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    model = tiny("score")
    (-enumerated(model, x)[0].mean()).backward()
    exact = model.encoder[-1].weight.grad.clone()
    parts = torch.stack([gradient(model, x, 400, seed) for seed in range(60)])
    error = parts.std(0) / len(parts) ** 0.5
    assert ((parts.mean(0) - exact).abs() < 4.5 * error + 1e-5).all()
    cosines = {}
    for tau in (0.1, 3.0):
        relaxed = tiny("gumbel", temperature=tau, anneal=1.0)
        mean = torch.stack([gradient(relaxed, x, 2000, seed) for seed in range(20)]).mean(0)
        cosines[tau] = F.cosine_similarity(mean.flatten(), exact.flatten(), 0).item()
    assert cosines[0.1] > 0.98 and cosines[0.1] > cosines[3.0]


def test_straight_through_is_hard_forward_and_relaxed_backward():
    x = torch.rand(5, 1, 2, 2)
    model = tiny("straight_through", temperature=0.7, anneal=1.0)
    torch.manual_seed(3)
    loss, terms = model.loss({"images": x}, "main", 10**6)
    torch.manual_seed(3)
    z = gumbel_softmax(model.log_q(x), 0.7)
    assert terms["distortion"].item() == pytest.approx(-model.log_p_x(x, F.one_hot(z.argmax(-1), 3).float()).mean().item(), rel=1e-5)
    loss.backward()
    assert model.encoder[0].weight.grad.abs().sum() > 0
