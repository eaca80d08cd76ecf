"""The VAE's objective by value, and its bound against the known evidence of a linear-Gaussian model."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from stages.models import gumbel_vae, vq_vae
from stages.models.parts.gaussian import kl_to_standard, log_mean_exp, log_normal, reparameterise, resampled
from stages.models.parts.likelihoods import binarised, log_bernoulli, log_logistic, noise_of
from stages.models.vae import Config, Model
from stages.settings import InputError
from stages.train import memory
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"shape": [2, 2, 1], "classes": 0}


def test_kl_closed_form_by_value_and_by_monte_carlo():
    mean, log_variance = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.0, math.log(4.0), math.log(0.25)])
    expected = torch.tensor([0.0, 0.5 * (1 + 4 - 1 - math.log(4)), 0.5 * (4 + 0.25 - 1 + math.log(4))])
    assert torch.allclose(kl_to_standard(mean, log_variance), expected)
    torch.manual_seed(0)
    z = reparameterise(mean.expand(200000, 3), log_variance.expand(200000, 3))
    zero = torch.zeros(1)
    columns = z.split(1, 1)
    draws = torch.stack([log_normal(column, mean[i], log_variance[i]) - log_normal(column, zero, zero) for i, column in enumerate(columns)])
    assert torch.allclose(draws.mean(1), expected, atol=0.03)


def test_reparameterised_noise_has_the_moments():
    torch.manual_seed(0)
    z = reparameterise(torch.full((100000,), 3.0), torch.full((100000,), math.log(0.25)))
    assert abs(z.mean() - 3) < 0.01 and abs(z.std() - 0.5) < 0.01


def test_log_mean_exp_does_not_overflow():
    assert log_mean_exp(torch.tensor([[1000.0, 1000.0]]), 1).item() == 1000.0
    assert log_mean_exp(torch.tensor([[0.0, math.log(3.0)]]), 1).item() == pytest.approx(math.log(2))


def test_gaussian_and_bernoulli_likelihood_by_value():
    x = torch.tensor([[[[0.0, 1.0], [0.25, 0.5]]]])
    for likelihood in ("gaussian", "bernoulli"):
        model = Model(Config(latent=2, hidden=(3,), likelihood=likelihood), META)
        z = torch.zeros(1, 2)
        mean, target = model.decode(z).detach().flatten().tolist(), x.flatten().tolist()
        if likelihood == "gaussian":
            sigma = math.exp(model.pixels.log_scale.item())
            norm = math.log(sigma * math.sqrt(2 * math.pi))
            expected = sum(-0.5 * ((t - m) / sigma) ** 2 - norm for t, m in zip(target, mean, strict=True))
        else:
            expected = sum(t * math.log(m) + (1 - t) * math.log(1 - m) for t, m in zip(target, mean, strict=True))
        assert model.log_p_x(x, z).item() == pytest.approx(float(expected), rel=1e-5)


class Linear(Model):
    """p(x|z) = N(a z + b, s^2) with a known evidence N(b, a^2 + s^2) a pixel, and a q that does not match the posterior."""

    A, B, S = 0.8, 0.3, 0.5

    def __init__(self):
        super().__init__(Config(latent=1, hidden=(2,)), {"shape": [1, 1, 1], "classes": 0})

    def posterior(self, x):
        return 0.5 * x.flatten(1), torch.full_like(x.flatten(1), math.log(0.6))

    def log_p_x(self, x, z):
        centre = self.A * z + self.B
        flat = x.flatten(1)[:, None] if z.dim() == 3 else x.flatten(1)
        return log_normal(flat.expand_as(centre), centre, torch.full_like(z, 2 * math.log(self.S)))

    def evidence(self, x):
        return log_normal(x.flatten(1), torch.full((1,), self.B), torch.full((1,), math.log(self.A**2 + self.S**2)))


def test_importance_weighted_bound_rises_with_k_to_the_known_evidence():
    model, x = Linear(), torch.tensor([0.9, -0.7]).view(2, 1, 1, 1)
    generator, many = torch.Generator().manual_seed(0), x.repeat_interleave(20000, 0)
    with torch.no_grad():
        draws = {k: model.log_likelihood(many, k, generator).view(2, -1) for k in (1, 5, 50)}
        distortion, rate = model.bound(many, generator)
        closest = model.log_likelihood(x.repeat_interleave(20, 0), 5000, generator).view(2, -1)
    mean, error = {k: d.mean(1) for k, d in draws.items()}, {k: d.std(1) / d.shape[1] ** 0.5 for k, d in draws.items()}
    evidence = model.evidence(x)
    assert (mean[1] + 4 * error[1] < mean[5]).all() and (mean[5] + 4 * error[5] < mean[50]).all() and (mean[50] < evidence).all()
    assert ((closest.mean(1) - evidence).abs() < 4 * closest.std(1) / 20**0.5 + 1e-3).all()
    elbo = -(distortion + rate.sum(1)).view(2, -1)
    assert ((elbo.mean(1) - mean[1]).abs() < 4 * (error[1] + elbo.std(1) / 20000**0.5)).all()  # one importance sample is the ELBO


def test_beta_weighs_the_rate_and_beta_one_is_the_vae_bit_for_bit():
    batch = {"images": torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))}

    def value(beta):
        torch.manual_seed(0)
        model = Model(Config(latent=2, hidden=(4,), beta=beta), META)
        torch.manual_seed(1)
        loss, terms = model.loss(batch, "main", 0)
        return loss, terms

    loss, terms = value(4.0)
    assert loss.item() == pytest.approx((terms["distortion"] + 4 * terms["kl"]).item(), rel=1e-6)
    assert value(1.0)[0].item() == (value(1.0)[1]["distortion"] + value(1.0)[1]["kl"]).item()


def test_a_planted_line_is_found():
    """Images on a one-dimensional curve: one active unit, and the code follows the position on it."""
    position = np.linspace(0, 1, 256)
    images = np.stack([position, 1 - position, position, np.full(256, 0.5)], 1).reshape(256, 2, 2, 1)
    data = {"train.images": (255 * images).astype(np.uint8), "valid.images": (255 * images[::8]).astype(np.uint8)}
    torch.manual_seed(0)
    model = Model(Config(latent=3, hidden=(32,)), META)
    train(model, data, TrainSettings(steps=800, lr=3e-3, lr_decay="cosine"), 0, torch.device("cpu"))
    with torch.no_grad():
        codes = model.eval().encode(torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)).numpy()
    best = codes[:, codes.var(0).argmax()]
    order = np.abs(np.corrcoef(np.argsort(np.argsort(best)), np.arange(256))[0, 1])
    assert order > 0.98 and (codes.var(0) > 0.01).sum() <= 2


def test_scale_is_trained_only_where_the_likelihood_has_one_to_learn():
    for settings, learnt in (({}, True), ({"sigma": 0.1}, False), ({"likelihood": "bernoulli"}, False), ({"likelihood": "logistic"}, True)):
        scale = Model(Config(latent=2, **settings), META).pixels.log_scale
        assert isinstance(scale, nn.Parameter) and scale.requires_grad == learnt
    assert Model(Config(latent=2, sigma=0.1), META).pixels.log_scale.exp().item() == pytest.approx(0.1)


def objective(config, x, seed=1):
    torch.manual_seed(0)
    model = Model(config, META)
    torch.manual_seed(seed)
    return model, model.loss({"images": x}, "main", 0)[0]


def test_iwae_is_the_log_mean_of_the_weights_and_with_one_draw_the_sampled_elbo():
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    model, loss = objective(Config(latent=2, hidden=(4,), objective="iwae", draws=7), x)
    torch.manual_seed(1)
    mean, log_variance = model.posterior(x)
    z = mean[:, None] + torch.exp(0.5 * log_variance)[:, None] * torch.randn(6, 7, 2)
    zero = torch.zeros(1)
    weights = torch.stack([model.log_p_x(x, z[:, i]) + log_normal(z[:, i], zero, zero) - log_normal(z[:, i], mean, log_variance)
                           for i in range(7)], 1)
    assert loss.item() == pytest.approx(-(weights.double().exp().mean(1).log()).mean().item(), rel=1e-5)
    one, loss = objective(Config(latent=2, hidden=(4,), objective="iwae", draws=1), x)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(-one.log_likelihood(x, 1).mean().item(), rel=1e-6)


def test_more_draws_of_the_elbo_are_a_mean_of_its_distortion():
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    model, loss = objective(Config(latent=2, hidden=(4,), draws=5), x)
    torch.manual_seed(1)
    mean, log_variance = model.posterior(x)
    z = mean[:, None] + torch.exp(0.5 * log_variance)[:, None] * torch.randn(6, 5, 2)
    expected = -torch.stack([model.log_p_x(x, z[:, i]) for i in range(5)]).mean() + kl_to_standard(mean, log_variance).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_two_layers_weigh_by_the_hierarchy_s_densities():
    x = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    model = Model(Config(latent=3, hidden=(4,), upper=2, upper_hidden=(5,)), META)
    generator = torch.Generator().manual_seed(2)
    found = model.log_likelihood(x, 1, generator)
    generator, zero = torch.Generator().manual_seed(2), torch.zeros(1)
    mean, log_variance = model.posterior(x)
    h1 = mean + torch.exp(0.5 * log_variance) * torch.randn(4, 1, 3, generator=generator)[:, 0]
    upper = model.upper_encoder(h1).chunk(2, 1)
    h2 = upper[0] + torch.exp(0.5 * upper[1]) * torch.randn(4, 1, 2, generator=generator)[:, 0]
    expected = (model.log_p_x(x, h1) + log_normal(h2, zero, zero) + log_normal(h1, *model.upper_decoder(h2).chunk(2, 1))
                - log_normal(h1, mean, log_variance) - log_normal(h2, *upper))
    assert torch.allclose(found, expected, atol=1e-5)
    assert model.sample(3, torch.Generator().manual_seed(0)).shape == (3, 1, 2, 2)


def test_discretised_logistic_is_a_distribution_over_the_256_levels():
    levels = (torch.arange(256) / 255).double()
    for mean, log_scale in ((0.3, -2.0), (0.0, -4.0), (1.2, -1.0)):
        mass = log_logistic(levels, torch.tensor(mean).double(), torch.tensor(log_scale).double()).exp()
        assert mass.sum().item() == pytest.approx(1.0, abs=1e-4)
    centre, scale = 0.3, math.exp(-2.0)
    by_hand = 1 / (1 + math.exp(-(100.5 / 255 - centre) / scale)) - 1 / (1 + math.exp(-(99.5 / 255 - centre) / scale))
    assert log_logistic(levels[100], torch.tensor(centre).double(), torch.tensor(-2.0).double()).item() == pytest.approx(math.log(by_hand))


def test_binary_images_are_drawn_with_the_grey_values_as_probabilities():
    x = torch.tensor([0.0, 0.2, 0.7, 1.0]).view(1, 1, 2, 2).expand(4000, 1, 2, 2).contiguous()
    dynamic = binarised(x, "dynamic", torch.Generator().manual_seed(0))
    assert set(dynamic.unique().tolist()) == {0.0, 1.0} and torch.allclose(dynamic.mean(0).flatten(), x[0].flatten(), atol=0.03)
    assert not torch.equal(dynamic, binarised(x, "dynamic", torch.Generator().manual_seed(1)))
    different = (torch.arange(4000 * 4).view(4000, 1, 2, 2) % 251 / 255).float()  # many images, their draws independent of one another
    fixed = binarised(different, "fixed")
    assert torch.equal(fixed, binarised(different, "fixed")) and torch.equal(fixed[7:9], binarised(different[7:9], "fixed"))
    noise = noise_of(different).flatten(1)
    assert abs(noise.mean().item() - 0.5) < 0.02 and abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.06


@pytest.mark.parametrize(("settings", "said"), [
    ({"objective": "iwae", "beta": 4.0}, "model.beta: 4"), ({"backward": 2, "draws": 5}, "model.backward: 2"),
    ({"objective": "iwae", "draws": 5, "backward": 6}, "model.backward: 6"), ({"warmup": 10}, "model.warmup: 10"),
    ({"objective": "iwae", "draws": 5, "gradient": "doubly"}, "model.gradient: doubly"),
    ({"objective": "iwae", "draws": 5, "backward": 2, "upper": 3}, "model.upper: 3"), ({"binarise": "dynamic"}, "likelihood: bernoulli"),
    ({"likelihood": "bernoulli", "sigma": 0.1}, "model.sigma"), ({"channels": (4, 8)}, "cannot be halved"),
    ({"latent": 5}, "allowed: 1 to 4$")])
def test_settings_that_contradict_each_other_are_one_line(settings, said):
    with pytest.raises(InputError, match=said):
        Model(Config(**{"latent": 2, **settings}), META)


def test_convolutions_take_and_give_images():
    model = Model(Config(latent=3, channels=(4, 8)), {"shape": [8, 8, 1], "classes": 0})
    assert model.reconstruct(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)


def test_bernoulli_likelihood_and_its_gradient_are_the_library_s():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 6, generator=generator)
    logits = (20 * torch.randn(3, 4, 6, generator=generator)).requires_grad_()
    weight = torch.randn(3, 4, generator=generator)
    found = torch.autograd.grad((weight * log_bernoulli(x, logits)).sum(), logits)[0]
    library = -nn.functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    assert torch.allclose(log_bernoulli(x, logits), library, rtol=1e-5)
    assert torch.allclose(found, torch.autograd.grad((weight * library).sum(), logits)[0], atol=1e-6)


def test_places_are_resampled_as_often_as_their_weight_says():
    weights = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).expand(20000, 4)
    torch.manual_seed(0)
    taken = torch.nn.functional.one_hot(resampled(weights, 3), 4).sum(1).float()
    assert torch.allclose(taken.mean(0), 3 * weights[0], atol=0.01)
    assert ((taken - 3 * weights).abs() < 1).all() and (taken.sum(1) == 3).all()  # systematic: off by less than one


def encoder_and_decoder_gradient(x, seed, **settings):
    torch.manual_seed(0)
    model = Model(Config(latent=2, hidden=(4,), likelihood="bernoulli", objective="iwae", draws=6, **settings), META)
    torch.manual_seed(seed)
    loss, _ = model.loss({"images": x}, "main", 0)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in (*model.encoder.parameters(), *model.decoder.parameters())])


@pytest.mark.parametrize("settings", [{"backward": 2}, {"backward": 6, "gradient": "doubly"}])
def test_gradients_of_resampled_draws_are_unbiased_and_the_value_is_the_bound(settings):
    x = (torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(1)) < 0.5).float().repeat(1500, 1, 1, 1)
    drawn = {name: [encoder_and_decoder_gradient(x, seed, **given) for seed in range(20)] for name, given in
             (("all", {}), ("some", settings))}
    mean, error = {}, {}
    for name, found in drawn.items():
        gradients = torch.stack([g for _, g in found])
        mean[name], error[name] = gradients.mean(0), gradients.std(0) / len(found) ** 0.5
    assert ((mean["all"] - mean["some"]).abs() < 5 * (error["all"] ** 2 + error["some"] ** 2).sqrt() + 1e-5).all()
    assert mean["all"].abs().max() > 50 * error["all"].max()  # the gradient is far from nothing
    assert drawn["all"][3][0] == pytest.approx(drawn["some"][3][0], rel=1e-6)  # the same noise, the same bound


def test_steps_of_warming_up_are_those_of_the_elbo():
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    plain = objective(Config(latent=2, hidden=(4,)), x)[1]
    for settings in ({}, {"backward": 3}):
        warm = objective(Config(latent=2, hidden=(4,), objective="iwae", draws=9, warmup=1, **settings), x)[1]
        assert warm.item() == plain.item()


def test_binary_images_enter_centred_and_the_decoder_starts_at_their_mean():
    images = (255 * np.random.default_rng(0).random((40, 2, 2, 1))).astype(np.uint8)
    model = Model(Config(latent=2, hidden=(4,), likelihood="bernoulli", binarise="dynamic"), META)
    model.begin({"train.images": images}, 0)
    mean = images.mean(0)[..., 0] / 255
    assert np.allclose(model.pixels.mean[0], mean, atol=1e-6)
    assert np.allclose(torch.sigmoid(model.decoder[-1].bias.detach()), mean.ravel(), atol=1e-3)
    assert torch.allclose(model.posterior(model.pixels.mean[None])[0], model.encoder(torch.zeros(1, 1, 2, 2)).chunk(2, 1)[0])


def test_images_outside_the_likelihood_s_range_are_one_line_before_training():
    images = np.full((4, 2, 2, 1), 1.5, np.float32)
    with pytest.raises(InputError, match=r"^train.images: float32 from 1.5 to 1.5 is outside what likelihood gaussian is of: .*$"):
        Model(Config(latent=2), META).begin({"train.images": images}, 0)
    for family in (gumbel_vae, vq_vae):
        with pytest.raises(InputError, match="is outside what likelihood gaussian is of"):
            family.Model(family.Config(), META).begin({"train.images": images}, 0)


def test_more_draws_than_memory_are_one_line_before_training(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 2**30)
    shape, cpu = {"shape": [28, 28, 1], "classes": 0}, torch.device("cpu")
    memory.check_memory(Model(Config(draws=50), shape), 20, "iwae", cpu)
    said = r"^run iwae: a training step holds 1000 images x 5000 draws .* about \d+\.\d GiB, but 1.0 GiB are free; .*$"
    with pytest.raises(InputError, match=said):
        memory.check_memory(Model(Config(draws=5000), shape), 1000, "iwae", cpu)


def test_the_estimate_of_memory_is_near_what_autograd_keeps():
    model, x = Model(Config(latent=10, hidden=(40,), draws=50), {"shape": [14, 14, 1], "classes": 0}), torch.rand(32, 1, 14, 14)
    kept = {}

    def seen(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        model.loss({"images": x}, "main", 0)
    assert 0.5 < sum(kept.values()) / model.step_bytes(32)[0] < 1.5
