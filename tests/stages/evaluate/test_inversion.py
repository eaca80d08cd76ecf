"""Codes found by inverting a generator: where the generator is known, they are known."""

import torch

from stages.evaluate.inversion import PRIOR, inverted


def test_a_linear_generator_is_inverted_in_closed_form():
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 3))[0]
    z = torch.randn(40, 3)
    found = inverted(lambda code: (code @ turn.T).view(-1, 1, 2, 3), 3, (z @ turn.T).view(-1, 1, 2, 3), 400, 0)
    assert not found.requires_grad and torch.allclose(found, z / (1 + PRIOR), atol=2e-3)  # a ridge regression


def test_the_start_is_the_nearest_of_the_prior_and_the_same_twice():
    x = torch.tensor([[[[3.0, 0.0]]], [[[-3.0, 0.0]]]])
    starts = [inverted(lambda code: code.view(-1, 1, 1, 2), 2, x, 0, seed) for seed in (0, 0, 1)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    assert starts[0][0, 0] > 1.5 and starts[0][1, 0] < -1.5
