"""The terms of the adversarial game, each against its closed form, in value and in gradient."""

import pytest
import torch
from torch import nn

from stages.models.parts.adversarial import (
    GENERATOR_LOSSES,
    OBJECTIVES,
    clip,
    critic_loss,
    fading,
    hinge_loss,
    interpolated,
    least_squares,
    linear,
    maximum_likelihood,
    noisy,
    nonsaturating,
    r1,
    saturating,
    spectral,
)
from stages.models.parts.codes import Codes
from stages.models.parts.nets import ConditionalBatchNorm, batch_normalised, mlp
from stages.settings import InputError

A = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)
B = torch.tensor([0.7, -1.6, 1.4, 0.3], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("loss", "value", "slope"), [
    (saturating, lambda a: torch.log(1 - torch.sigmoid(a)), lambda a: -torch.sigmoid(a)),
    (nonsaturating, lambda a: -torch.log(torch.sigmoid(a)), lambda a: -(1 - torch.sigmoid(a))),
    (maximum_likelihood, lambda a: -torch.exp(a), lambda a: -torch.exp(a)),
    (linear, lambda a: -a, lambda a: -torch.ones_like(a)),
    (least_squares, lambda a: (a - 1) ** 2, lambda a: 2 * (a - 1)),
])
def test_generator_losses_and_their_gradients(loss, value, slope):
    a = A.clone().requires_grad_()
    assert loss(a).item() == pytest.approx(value(A).mean().item())
    (gradient,) = torch.autograd.grad(loss(a), a)
    assert torch.allclose(gradient, slope(A) / len(A))
    assert loss in [pair[1] for pair in OBJECTIVES.values()]


@pytest.mark.parametrize(("objective", "value", "slopes"), [
    ("nonsaturating", lambda r, f: -torch.log(torch.sigmoid(r)) - torch.log(1 - torch.sigmoid(f)),
     (lambda r: -(1 - torch.sigmoid(r)), lambda f: torch.sigmoid(f))),
    ("wasserstein", lambda r, f: f - r, (lambda r: -torch.ones_like(r), lambda f: torch.ones_like(f))),
    ("hinge", lambda r, f: (1 - r).clamp(min=0) + (1 + f).clamp(min=0), (lambda r: -(r < 1).double(), lambda f: (f > -1).double())),
    ("least_squares", lambda r, f: ((r - 1) ** 2 + f**2) / 2, (lambda r: r - 1, lambda f: f)),
])
def test_discriminator_losses_and_their_gradients(objective, value, slopes):
    real, fake = A.clone().requires_grad_(), B.clone().requires_grad_()
    loss = OBJECTIVES[objective][0](real, fake)
    assert loss.item() == pytest.approx(value(A, B).mean().item())
    for gradient, slope, at in zip(torch.autograd.grad(loss, (real, fake)), slopes, (A, B), strict=True):
        assert torch.allclose(gradient, slope(at) / len(at))


def test_every_objective_is_a_pair_and_the_logistic_ones_share_their_discriminator():
    assert {OBJECTIVES[name][0] for name in GENERATOR_LOSSES} == {OBJECTIVES["saturating"][0]}
    assert OBJECTIVES["wasserstein"] == (critic_loss, linear) and OBJECTIVES["hinge"] == (hinge_loss, linear)


def test_losses_stay_finite_at_large_logits():
    for loss in (saturating, nonsaturating):
        assert torch.isfinite(loss(torch.tensor([-200.0, 200.0])))


def test_r1_by_hand_on_a_linear_discriminator_of_one_and_of_two_inputs():
    w, v = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 1.0])
    x, z = (torch.randn(4, n, generator=torch.Generator().manual_seed(0)).requires_grad_() for n in (3, 2))
    assert r1(x @ w, x).item() == pytest.approx(0.5 * (1 + 4 + 0.25))
    assert r1(x @ w + z @ v, x, z).item() == pytest.approx(0.5 * (1 + 4 + 0.25 + 9 + 1))


def test_penalty_on_interpolates_by_hand_on_a_linear_critic():
    w = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    found = interpolated(lambda x: x @ w, draw(6, 2), draw(6, 2, seed=1))
    assert found.item() == pytest.approx((5 - 1) ** 2)
    (gradient,) = torch.autograd.grad(found, w)
    assert torch.allclose(gradient, 2 * (5 - 1) * torch.tensor([3.0, 4.0], dtype=torch.float64) / 5)  # d (|w| - 1)^2 / dw


def test_interpolates_lie_between_real_and_generated_with_one_share_an_example():
    real, fake, seen = torch.zeros(50, 3, 2, 2), torch.ones(50, 3, 2, 2), []
    interpolated(lambda x: seen.append(x) or x.flatten(1).square().sum(1), real, fake)
    (x,) = seen
    assert torch.equal(x, x[:, :1, :1, :1].expand_as(x)) and 0 <= x.min() < 0.1 and 0.9 < x.max() <= 1


def test_clipping_leaves_weights_within_the_bound_and_small_ones_alone():
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, -0.5], [0.004, 0.0]]))
    clip(net, 0.01)
    assert net.weight.tolist() == torch.tensor([[0.01, -0.01], [0.004, 0.0]]).tolist()
    assert net.bias.abs().max() <= 0.01


def test_spectral_normalisation_brings_every_largest_singular_value_to_one():
    torch.manual_seed(0)
    net = spectral(mlp((7, 9, 1)))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.parametrizations.weight.original.mul_(5)
    for _ in range(50):
        net(torch.randn(3, 7))
    net.eval()
    for layer in (net[0], net[2]):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, rel=1e-3)


def test_instance_noise_fades_to_nothing():
    assert [fading(0.4, step, 100) for step in (0, 50, 100, 900)] == [0.4, pytest.approx(0.2), 0.0, 0.0]
    x = torch.zeros(20000)
    torch.manual_seed(0)
    assert noisy(x, 0.3).std().item() == pytest.approx(0.3, rel=0.02)
    state = torch.get_rng_state()
    assert noisy(x, 0.0) is x and torch.equal(torch.get_rng_state(), state)


def test_conditional_batch_norm_by_value():
    norm = ConditionalBatchNorm(nn.BatchNorm1d(2, affine=False), 2, 3).double()
    with torch.no_grad():
        norm.gain.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        norm.bias.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    x, y = draw(9, 2), torch.tensor([0, 1, 2] * 3)
    normal = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    expected = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[y] * normal + torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])[y]
    assert torch.allclose(norm(x, y), expected)


def test_batch_normalisation_follows_every_weighted_layer_but_the_last():
    net = batch_normalised(mlp((3, 4, 5, 2)), 2)
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "ConditionalBatchNorm", "ReLU"] * 2 + ["Linear"]
    assert net(torch.randn(6, 3), torch.tensor([0, 1] * 3)).shape == (6, 2)


def test_the_codes_loss_is_cross_entropy_plus_gaussians_of_deviation_one():
    codes = Codes(3, 2)
    head, code = draw(5, 5), codes.draw(5, torch.device("cpu"), torch.Generator().manual_seed(1)).double()
    category = code[:, :3].argmax(1)
    assert torch.equal(code[:, :3].sum(1), torch.ones(5, dtype=torch.float64)) and code[:, 3:].abs().max() <= 1
    expected = nn.functional.cross_entropy(head[:, :3], category)
    expected = expected - torch.distributions.Normal(head[:, 3:], 1.0).log_prob(code[:, 3:]).sum(1).mean()
    assert codes.loss(head, code).item() == pytest.approx(expected.item(), rel=1e-6)


def test_codes_are_drawn_from_their_prior_or_as_asked():
    codes, seed = Codes(4, 1), torch.Generator().manual_seed(0)
    code = codes.draw(8000, torch.device("cpu"), seed)
    assert (code[:, :4].mean(0) - 0.25).abs().max() < 0.02 and abs(code[:, 4].mean()) < 0.02 and code[:, 4].std() > 0.5
    asked = codes.draw(3, torch.device("cpu"), seed, torch.tensor([2, 0, 3]))
    assert asked[:, :4].argmax(1).tolist() == [2, 0, 3]
    head = torch.tensor([[0.1, 3.0, 0.2, 0.0, 1.7]])
    assert codes.likeliest(head).tolist() == [[0.0, 1.0, 0.0, 0.0, 1.0]]


def test_more_categories_than_training_examples_are_refused():
    meta = {"kind": "images", "images": {"train": 9}}
    Codes(9, 0).check(meta)
    with pytest.raises(InputError, match="model.categories: 10 are more than the 9 training examples"):
        Codes(10, 0).check(meta)
    with pytest.raises(InputError, match="1 category says nothing"):
        Codes(1, 2).check(meta)
