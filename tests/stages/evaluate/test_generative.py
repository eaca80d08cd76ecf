"""What the evaluation of latent codes reads: their information, and bounds of binary data."""

import math

import numpy as np
import pytest
import torch

from stages.evaluate import generative, probes


def test_information_of_a_gaussian_channel_is_known():
    """z = a x + noise: I = log(1 + a^2 / s^2) / 2 a unit; a code that says nothing has none, a perfect one says which of n it is."""
    x = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    for a, s in ((1.0, 1.0), (2.0, 0.5)):
        found = generative.mutual_information(a * x, torch.full_like(x, 2 * math.log(s)), seed=1)
        assert found == pytest.approx(math.log(1 + a**2 / s**2), abs=0.08)
    assert generative.mutual_information(0 * x, torch.zeros_like(x), seed=1) == pytest.approx(0.0, abs=1e-6)
    assert generative.mutual_information(x[:500], torch.full((500, 2), -40.0), seed=1) == pytest.approx(math.log(500), abs=1e-3)


def test_distance_to_the_principal_subspace_by_value():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 3)) * np.array([3.0, 2.0, 1.0])
    axes = np.linalg.eigh(np.cov(rows.T))[1][:, ::-1]
    exact = probes.against_principal(rows, axes[:, :2])
    assert exact["projector_distance"] < 1e-7 and exact["principal_angle"] < 1e-4
    assert exact["explained_variance"] == pytest.approx((rows @ axes[:, :2]).var(0).sum() / rows.var(0).sum())
    turn = np.radians(20)  # the second direction turned towards the third
    basis = np.stack([axes[:, 0], np.cos(turn) * axes[:, 1] + np.sin(turn) * axes[:, 2]], 1)
    turned = probes.against_principal(rows, basis)
    assert turned["principal_angle"] == pytest.approx(20) and turned["projector_distance"] == pytest.approx(np.sqrt(2) * np.sin(turn))


def test_the_draws_held_at_once_do_not_grow_with_k():
    class Counting:
        def __init__(self):
            self.held, self.drawn = [], 0

        def log_likelihood(self, x, k, generator):
            self.held.append(len(x) * k)
            self.drawn += len(x) * k
            return torch.zeros(len(x))

    for k in (1, 5, 50, 500, 5000, 3 * generative.DRAWS + 7):
        model = Counting()
        bound = generative.importance_bound(model, torch.zeros(30, 1), k, 0)
        assert max(model.held) <= generative.DRAWS and model.drawn == 30 * k
        assert torch.allclose(bound, torch.zeros(30, dtype=torch.float64), atol=1e-9)
