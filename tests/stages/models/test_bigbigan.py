"""Signs of the game on a two-point example, what each switch takes away, and that the code reaches the head through pixels alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stages.models.bigbigan import Config, Model, encoder_generator_loss
from stages.settings import InputError
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"shape": [2, 2, 1], "classes": 3}
CELLS = [(True, True), (True, False), (False, True), (False, False)]


def model(meta=META, **changes):
    torch.manual_seed(0)
    return Model(Config(**{"latent": 2, "hidden": (8,), "features": 6, "joint": (7,), **changes}), meta)


def batch(seed=0, n=6):
    return {"images": torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed))}


def loss(net, phase, step=1, data=None):
    torch.manual_seed(5)
    return net.loss(data or batch(), phase, step)


def scores(net):
    """The scores of the pairs that `loss` draws, real and generated, by name."""
    torch.manual_seed(5)
    x, inferred, made, z, _ = net.pairs(batch()["images"])
    return {name: (real, net.discriminator(made, z)[0][name]) for name, real in net.discriminator(x, inferred)[0].items()}


def gradients(net, value):
    for p in net.parameters():
        p.grad = None
    value.backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("unary_x", "unary_z"), CELLS)
def test_the_discriminator_gets_the_hinge_and_the_others_the_linear_sum_of_the_scores_that_are_on(unary_x, unary_z):
    net = model(unary_x=unary_x, unary_z=unary_z)
    found = scores(net)
    assert set(found) == {"xz", *(["x"] if unary_x else []), *(["z"] if unary_z else [])}
    hinge = sum((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean() for real, fake in found.values())
    linear = sum(real.mean() - fake.mean() for real, fake in found.values())
    assert loss(net, "d")[0].item() == pytest.approx(hinge.item(), rel=1e-5)
    assert loss(net, "ge")[0].item() == pytest.approx(linear.item(), abs=1e-6)


def test_signs_on_two_points():
    """One pair of each kind, y = 1 and -1: D gains by raising the score of (x, E(x)), E and G by lowering it; the other way round below."""
    real, fake = torch.tensor([0.5], requires_grad=True), torch.tensor([-0.25], requires_grad=True)
    from stages.models.bigbigan import D_LOSSES
    assert [g.item() for g in torch.autograd.grad(D_LOSSES["hinge"](real, fake), (real, fake))] == [-1, 1]
    assert [g.item() for g in torch.autograd.grad(encoder_generator_loss("hinge", real, fake), (real, fake))] == [1, -1]
    right = torch.tensor([1.5], requires_grad=True), torch.tensor([-1.5], requires_grad=True)  # beyond the margin D is content
    assert [g.item() for g in torch.autograd.grad(D_LOSSES["hinge"](*right), right)] == [0, 0]
    assert [g.item() for g in torch.autograd.grad(encoder_generator_loss("hinge", *right), right)] == [1, -1]
    slopes = torch.autograd.grad(encoder_generator_loss("logistic", real, fake), (real, fake))
    assert [g.item() for g in slopes] == pytest.approx([torch.sigmoid(real).item(), -torch.sigmoid(-fake).item()])


@pytest.mark.parametrize(("unary_x", "unary_z"), CELLS)
def test_a_score_that_is_off_has_no_parameters_and_all_else_begins_alike(unary_x, unary_z):
    net, whole = model(unary_x=unary_x, unary_z=unary_z), model()
    own, names = dict(net.named_parameters()), {n for n, _ in whole.named_parameters()}
    off = {f"discriminator.scores.{k}.weight" for k, on in (("x", unary_x), ("z", unary_z)) if not on}
    assert set(own) == names - off
    assert all(torch.equal(own[n], p) for n, p in whole.named_parameters() if n in own)


def test_without_unary_scores_the_trunks_are_moved_by_the_joint_score_alone():
    """BiGAN's game: what D gets is the gradient of the joint score's loss and nothing beside it."""
    net = model(unary_x=False, unary_z=False, objective="logistic", stochastic=False, gamma=0.0)
    (name, (real, fake)), = scores(net).items()
    assert name == "xz"
    expected = gradients(net, F.softplus(-real).mean() + F.softplus(fake).mean())
    found = gradients(net, loss(net, "d")[0])
    assert all(torch.allclose(found[n], expected[n], atol=1e-7) for n in found) and "discriminator.image.1.weight" in found
    assert set(found) == {n for n in expected if n.startswith("discriminator")}
    assert loss(net, "ge")[0].item() == pytest.approx((F.softplus(real).mean() + F.softplus(-fake).mean()).item(), rel=1e-5)


def test_unary_scores_see_their_own_input_alone():
    net = model()
    (x, z), (other_x, other_z) = (batch()["images"], torch.randn(6, 2)), (batch(1)["images"], torch.randn(6, 2))
    first, by_x, by_z = (net.discriminator(*pair)[0] for pair in ((x, z), (other_x, z), (x, other_z)))
    assert torch.equal(first["x"], by_z["x"]) and torch.equal(first["z"], by_x["z"])
    assert not torch.equal(first["xz"], by_x["xz"]) and not torch.equal(first["xz"], by_z["xz"])


def test_the_code_reaches_the_discriminator_through_pixels_alone():
    """Another code, the same pixels: every score and F stay to the bit; the discriminator has no input where a code could enter."""
    net = model(categories=3, continuous=1)
    z, (one, other) = torch.randn(6, 2), (net.codes.draw(6, torch.device("cpu")) for _ in range(2))
    assert not torch.equal(net.generate(z, one, net.generator), net.generate(z, other, net.generator))
    with torch.no_grad():
        net.generator[0].weight[:, 2:] = 0  # a generator that ignores its code
    seen = [net.discriminator(net.generate(z, c, net.generator), z) for c in (one, other)]
    assert all(torch.equal(seen[0][0][k], seen[1][0][k]) for k in ("x", "z", "xz")) and torch.equal(seen[0][1], seen[1][1])
    assert net.discriminator.latent[0].in_features == 2 and net.discriminator.joint[0].in_features == 12


def test_the_head_learns_from_generated_images_alone():
    net = model(categories=3, gamma=0.0)
    found = [gradients(net, loss(net, "d", data=data)[0]) for data in (batch(0), batch(1))]
    heads = [[g for n, g in each.items() if n.startswith("head")] for each in found]
    assert all(torch.equal(a, b) for a, b in zip(*heads, strict=True)) and heads[0][0].abs().sum() > 0
    assert not torch.equal(found[0]["discriminator.image.1.weight"], found[1]["discriminator.image.1.weight"])


def test_the_codes_loss_moves_generator_head_and_trunk_but_never_the_encoder():
    net = model(categories=3)
    without = gradients(net, loss(net, "ge")[1]["loss"])
    only = gradients(net, loss(net, "ge")[1]["head"])
    assert all(g.abs().sum() == 0 for n, g in only.items() if n.startswith("encoder")) and only["generator.0.weight"].abs().sum() > 0
    whole, terms = loss(net, "ge")
    assert whole.item() == pytest.approx((terms["loss"] + terms["head"]).item(), rel=1e-6)
    assert without["encoder.1.weight"].abs().sum() > 0
    critic = gradients(net, loss(net, "d")[1]["head"])
    assert critic["head.0.weight"].abs().sum() > 0 and critic["discriminator.image.1.weight"].abs().sum() > 0
    assert all(critic[n].abs().sum() == 0 for n in critic if ".scores." in n or ".latent." in n or ".joint." in n)


def test_the_stochastic_encoder_draws_around_its_mean_with_a_softplus_deviation():
    net, x = model(), batch()["images"]
    mean, deviation = net.infer(x, net.encoder)
    raw = net.encoder(2 * x - 1)
    assert torch.equal(mean, raw[:, :2]) and torch.allclose(deviation, torch.log1p(raw[:, 2:].exp()))
    draws = torch.stack([net.pairs(x)[1] for _ in range(2000)])
    assert torch.allclose(draws.mean(0), mean, atol=0.1) and torch.allclose(draws.std(0), deviation, rtol=0.1)
    assert torch.equal(net.encode(x), mean) and model(stochastic=False).infer(x, model(stochastic=False).encoder)[1] is None


def test_the_lazy_penalty_is_on_real_pairs_in_image_and_latent():
    net = model(gamma=0.5, penalty_every=4)
    plain, due = loss(net, "d", 1)[0], loss(net, "d", 4)
    torch.manual_seed(5)
    x, inferred = (t.detach().requires_grad_() for t in net.pairs(batch()["images"])[:2])
    by = torch.autograd.grad(sum(s.sum() for s in net.discriminator(x, inferred)[0].values()), (x, inferred))
    penalty = 0.5 * 0.5 * sum(g.flatten(1).square().sum(1) for g in by).mean()
    assert due[1]["r1"].item() == pytest.approx(penalty.item(), rel=1e-5)
    assert due[0].item() == pytest.approx((plain + 4 * penalty).item(), rel=1e-5)


def test_the_penalty_stays_in_float32_where_the_rest_is_in_bfloat16():
    net = model(gamma=0.5, stochastic=False)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        x, inferred = (t.detach().requires_grad_() for t in net.pairs(batch()["images"])[:2])
        found = loss(net, "d", 0)[1]["r1"]
    by = torch.autograd.grad(sum(s.sum() for s in net.discriminator(x, inferred)[0].values()), (x, inferred))
    assert found.item() == pytest.approx(0.25 * sum(g.flatten(1).square().sum(1) for g in by).mean().item(), rel=1e-5)


def test_reconstructions_are_of_the_averages_and_of_the_code_that_the_head_finds():
    net, x = model(categories=3), batch()["images"]
    c = F.one_hot(net.clusters(x).argmax(1), 3).float()
    assert torch.equal(net.reconstruct(x), net.generate(net.encode(x), c, net.generator_average))
    with torch.no_grad():
        for p in (*net.generator.parameters(), *net.encoder.parameters()):
            p.zero_()
    assert (net.encode(x) != 0).any() and (net.raw_sample(3) == 0.5).all() and (net.sample(3) != 0.5).any()
    assert net.sample_of == ("code", 3) and model().sample_of is None


def test_real_images_are_read_by_the_average_of_the_head_and_its_trunk():
    data = {"train.images": np.random.default_rng(0).integers(0, 255, (32, 2, 2, 1)).astype(np.uint8)}
    net, twin, x = model(categories=3), model(categories=3), batch()["images"]
    train(net, data, TrainSettings(steps=1, batch_size=8, lr=0.1, ema=0.75), 0, torch.device("cpu"))
    with torch.no_grad():
        for name in ("discriminator", "head"):
            for mixed, end, start in zip(*(getattr(m, name).parameters() for m in (net, net, twin)), strict=True):
                mixed.copy_(0.25 * end + 0.75 * start)
    assert torch.allclose(net.clusters(x), net.head(net.discriminator.image(2 * x - 1))[:, :3], atol=1e-6)


def test_bad_input_is_one_line():
    with pytest.raises(InputError, match="2 x 2 cannot be halved so often"):
        model(channels=(4, 4))
    with pytest.raises(InputError, match="8 are more than the 7 training examples"):
        model({**META, "images": {"train": 7}}, categories=8)


def test_two_planted_modes_are_encoded_apart_and_come_back():
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = np.clip(np.where(labels, 215, 40)[:, None, None, None] + rng.normal(0, 8, (256, 2, 2, 1)), 0, 255).astype(np.uint8)
    net = model(hidden=(32,), latent=2, features=16, joint=(32,))
    settings = TrainSettings(steps=300, batch_size=64, lr=2e-3, betas=(0.0, 0.99), ema=0.97)
    train(net, {"train.images": images}, settings, 0, torch.device("cpu"))
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    restored = net.reconstruct(x).flatten(1).mean(1).detach().numpy() > 0.5
    assert (restored == (labels == 1)).mean() > 0.9
