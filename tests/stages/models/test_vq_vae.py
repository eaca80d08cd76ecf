"""Quantisation, straight-through gradient, moving averages and revival by hand; the prior is a distribution."""

import itertools

import pytest
import torch

from stages.models.vq_vae import Config, Model, nearest

META = {"shape": [2, 2, 1], "classes": 0}


def tiny(**more):
    torch.manual_seed(0)
    return Model(Config(codes=2, codebook=3, dimension=2, hidden=(4,), prior=5, **more), META)


def test_nearest_is_the_brute_force_one():
    z, rows = torch.randn(7, 3, 4), torch.randn(5, 4)
    assert torch.equal(nearest(z, rows), torch.cdist(z, rows).argmin(-1))


def test_the_decoder_s_gradient_reaches_the_encoder_straight_through_and_the_commitment_pulls_to_the_row():
    model, x = tiny(commitment=0.0), torch.rand(4, 1, 2, 2)
    z = model.z(x).detach().requires_grad_()
    e = model.rows[nearest(z.detach(), model.rows)].clone().requires_grad_()
    model.z = lambda _: z
    model.loss({"images": x}, "main", 0)[0].backward()
    (-model.log_p_x(x, e).mean()).backward()
    assert torch.allclose(z.grad, e.grad, atol=1e-6)
    pulled = tiny(commitment=2.0)
    free = z.detach().clone().requires_grad_()
    pulled.z = lambda _: free
    pulled.loss({"images": x}, "main", 0)[0].backward()
    assert torch.allclose(free.grad - e.grad, 2.0 * 2 * (free - e).detach() / 4, atol=1e-5)


def test_moving_averages_by_hand_and_dead_rows_are_put_on_outputs():
    model = tiny(decay=0.9, revive=2)
    model.rows.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]]))
    model.sums.copy_(model.rows)
    z, indices = torch.tensor([[[0.1, 0.0], [1.2, 1.0]], [[0.3, 0.0], [0.8, 1.4]]]), torch.tensor([[0, 1], [0, 1]])
    model._last = z, indices
    model.after_update("main", 0)
    counts = torch.tensor([0.9 + 0.2, 0.9 + 0.2, 0.9])
    assert torch.allclose(model.counts, counts)
    sums = torch.tensor([[0.1 * 0.4, 0.0], [0.9 + 0.1 * 2.0, 0.9 + 0.1 * 2.4], [8.1, 8.1]])
    smoothed = (counts + 1e-5) / (counts.sum() + 3e-5) * counts.sum()
    assert torch.allclose(model.rows, sums / smoothed[:, None], atol=1e-6)
    assert model.unused.tolist() == [0, 0, 1]
    model._last = z, indices
    model.after_update("main", 1)
    assert model.unused.tolist() == [0, 0, 0] and any(torch.allclose(model.rows[2], row) for row in z.flatten(0, 1))


def test_the_prior_is_a_distribution_over_codes_and_samples_follow_it():
    model = tiny()
    codes = torch.tensor(list(itertools.product(range(3), repeat=2)))
    with torch.no_grad():
        probabilities = model.prior(codes).sum(1).exp()
        drawn = model.prior.sample(20000, 2, torch.Generator().manual_seed(0))
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    shares = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / 20000
    assert torch.allclose(shares, probabilities, atol=0.015)


def test_the_bound_is_reconstruction_and_the_code_s_length():
    model, x = tiny(sigma=0.2), torch.rand(3, 1, 2, 2)
    distortion, rate = model.bound(x)
    indices = model.indices(x)
    assert torch.allclose(distortion, -model.log_p_x(x, model.rows[indices])) and torch.allclose(rate, -model.prior(indices))
    assert torch.allclose(model.log_likelihood(x, 7), -(distortion + rate.sum(1)))
