"""Each adversarial objective and its gradient in the logit against the closed form; the penalty by hand; who receives which gradient."""

import numpy as np
import pytest
import torch

from stages.models.gan import Config, Model
from stages.models.parts.adversarial import GENERATOR_LOSSES, discriminator_loss, maximum_likelihood, nonsaturating, r1, saturating
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"shape": [2, 2, 1], "classes": 0}
A = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(("loss", "value", "slope"), [
    (saturating, lambda a: torch.log(1 - torch.sigmoid(a)), lambda a: -torch.sigmoid(a)),
    (nonsaturating, lambda a: -torch.log(torch.sigmoid(a)), lambda a: -(1 - torch.sigmoid(a))),
    (maximum_likelihood, lambda a: -torch.exp(a), lambda a: -torch.exp(a)),
])
def test_generator_losses_and_their_gradients(loss, value, slope):
    a = A.clone().requires_grad_()
    assert loss(a).item() == pytest.approx(value(A).mean().item())
    (gradient,) = torch.autograd.grad(loss(a), a)
    assert torch.allclose(gradient, slope(A) / len(A))
    assert loss in GENERATOR_LOSSES.values()


def test_discriminator_loss_is_the_value_function_with_its_sign():
    real, fake = A, A.flip(0) + 0.3
    expected = -(torch.log(torch.sigmoid(real)).mean() + torch.log(1 - torch.sigmoid(fake)).mean())
    assert discriminator_loss(real, fake).item() == pytest.approx(expected.item())
    assert discriminator_loss(torch.full((3,), 20.0), torch.full((3,), -20.0)).item() < 1e-6  # right about both


def test_losses_stay_finite_at_large_logits():
    for loss in (saturating, nonsaturating):
        assert torch.isfinite(loss(torch.tensor([-200.0, 200.0])))


def test_r1_by_hand_on_a_linear_discriminator():
    w = torch.tensor([1.0, -2.0, 0.5])
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert r1(x @ w, x).item() == pytest.approx(0.5 * (1 + 4 + 0.25))


def model(**changes):
    torch.manual_seed(0)
    return Model(Config(**{"latent": 2, "hidden": (8,), **changes}), META)


def test_lazy_penalty_counts_for_the_steps_it_skips():
    batch = {"images": torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))}

    def loss(step, **changes):
        net = model(**changes)
        torch.manual_seed(5)
        return net.loss({"images": batch["images"].clone()}, "d", step)

    plain, _ = loss(0, r1=0.0)
    due, terms = loss(8, r1=0.5, r1_every=8)
    skipped, others = loss(9, r1=0.5, r1_every=8)
    assert due.item() == pytest.approx((plain + 8 * terms["r1"]).item(), rel=1e-5) and terms["r1"] > 0
    assert skipped.item() == pytest.approx(plain.item(), rel=1e-6) and "r1" not in others


def test_objective_switch_and_number_of_discriminator_steps():
    batch = {"images": torch.rand(6, 1, 2, 2)}
    values = set()
    for objective in GENERATOR_LOSSES:
        net = model(objective=objective)
        torch.manual_seed(5)
        values.add(round(net.loss(batch, "g", 0)[0].item(), 6))
    assert len(values) == 3
    assert [(p.name, p.repeat) for p in model(discriminator_steps=5).phases] == [("d", 5), ("g", 1)]


def test_samples_come_from_the_averaged_generator():
    net = model()
    with torch.no_grad():
        for p in net.generator.parameters():
            p.zero_()
    assert (net.sample(3, torch.Generator().manual_seed(0)) != 0.5).any()
    with torch.no_grad():
        for p in net.generator_average.parameters():
            p.zero_()
    assert (net.sample(3, torch.Generator().manual_seed(0)) == 0.5).all()


def test_two_planted_modes_are_both_found():
    rng = np.random.default_rng(0)
    dark, light = np.full((128, 2, 2, 1), 40), np.full((128, 2, 2, 1), 215)
    images = np.clip(np.concatenate([dark, light]) + rng.normal(0, 8, (256, 2, 2, 1)), 0, 255).astype(np.uint8)
    net = model(hidden=(32,), latent=4)
    settings = TrainSettings(steps=600, batch_size=64, lr=2e-3, betas=(0.0, 0.99), ema=0.98)
    train(net, {"train.images": images}, settings, 0, torch.device("cpu"))
    mean = net.sample(400, torch.Generator().manual_seed(0)).flatten(1).mean(1)
    assert 0.2 < (mean < 0.4).float().mean() < 0.8 and ((mean < 0.35) | (mean > 0.65)).float().mean() > 0.8
