"""Losses by value, the pool's distribution, and a hidden change that is found."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stages.models import cyclegan
from stages.models.parts.adversarial import OBJECTIVES
from stages.models.parts.translators import Pool
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"kind": "two_domains", "shape": [8, 8, 1], "source_shape": [8, 8, 1], "classes": 0, "paired": False, "truth": True,
        "task": "change"}
SMALL = {"channels": 4, "blocks": 1, "critic_channels": 4, "critic_halvings": 1}


def model(meta=None, **given):
    torch.manual_seed(0)
    return cyclegan.Model(configure(cyclegan.Config, {**SMALL, **given}, "model"), META | (meta or {}))


def batch(n=3):
    return {"source": torch.rand(n, 1, 8, 8), "target": torch.rand(n, 1, 8, 8)}


@pytest.mark.parametrize(("objective", "of_d", "of_g"), [
    ("least_squares", lambda real, fake: 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(), lambda fake: ((fake - 1) ** 2).mean()),
    ("nonsaturating", lambda real, fake: -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean(),
     lambda fake: -torch.sigmoid(fake).log().mean())])
def test_both_games_by_value(objective, of_d, of_g):
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    assert OBJECTIVES[objective][0](real, fake).item() == pytest.approx(of_d(real, fake).item())
    assert OBJECTIVES[objective][1](fake).item() == pytest.approx(of_g(fake).item())


@pytest.mark.parametrize("cycle_loss", ["l1", "l2"])
def test_loss_of_the_generators_written_out(cycle_loss):
    net, b = model(cycle=3.0, identity=2.0, cycle_loss=cycle_loss, batch_norm=False), batch()
    x, y, g, f = b["source"], b["target"], net.generator, net.inverse
    far = (lambda a, c: (a - c).abs().mean()) if cycle_loss == "l1" else (lambda a, c: (a - c).square().mean())
    by_hand = ((net.target_discriminator(2 * g(x) - 1) - 1) ** 2).mean() + ((net.source_discriminator(2 * f(y) - 1) - 1) ** 2).mean()
    by_hand = by_hand + 3 * (far(f(g(x)), x) + far(g(f(y)), y)) + 2 * ((g(y) - y).abs().mean() + (f(x) - x).abs().mean())
    assert net.loss(b, "g", 0)[0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    alone = model(cycle=0.0, identity=0.0)
    assert set(alone.loss(b, "g", 0)[1]) == {"adversarial"}


def test_loss_of_both_discriminators_written_out():
    net, b = model(batch_norm=False, pool=0, mirror=False), batch()
    x, y, g, f = b["source"], b["target"], net.generator, net.inverse
    judges = ((net.source_discriminator, x, f(y)), (net.target_discriminator, y, g(x)))
    by_hand = [0.5 * ((d(2 * real - 1) - 1) ** 2).mean() + 0.5 * (d(2 * fake - 1) ** 2).mean() for d, real, fake in judges]
    loss, terms = net.loss(b, "d", 0)
    assert [terms[k].item() for k in ("source", "target")] == pytest.approx([h.item() for h in by_hand], rel=1e-5)
    assert loss.item() == pytest.approx(sum(by_hand).item(), rel=1e-5)


def test_pool_returns_half_new_and_half_from_the_past():
    pool = Pool(20, (1,))
    torch.manual_seed(0)
    filled = torch.arange(20.0)[:, None]
    assert torch.equal(pool(filled), filled) and pool.held == 20  # until it is full all are returned
    fresh, ages = 0, []
    for t in range(20, 4020):
        out = pool(torch.full((1, 1), float(t))).item()
        fresh += out == t
        ages += [t - out] if out != t else []
    assert fresh / 4000 == pytest.approx(0.5, abs=0.03)
    # one of the pool leaves every second time, each of 20 as likely: its age is geometric with mean 40
    assert np.mean(ages) == pytest.approx(40, rel=0.1) and np.mean(np.array(ages) > 40) == pytest.approx((1 - 1 / 40) ** 40, abs=0.04)
    assert torch.equal(Pool(0, (1,))(filled), filled)


def test_the_pool_is_saved_with_the_weights():
    net = model(pool=4)
    net.loss(batch(), "d", 0)
    assert net.state_dict()["target_pool.held"] == 3 and net.state_dict()["target_pool.images"][:3].abs().sum() > 0


def test_an_inversion_is_found_without_pairs():
    """Bright squares on dark and dark squares on bright: the cycle and the discriminators must find the inversion."""
    rng = np.random.default_rng(0)
    images = np.zeros((96, 8, 8, 1), np.uint8)
    for image in images:
        y, x = rng.integers(0, 5, 2)
        image[y : y + 3, x : x + 3] = rng.integers(180, 256)
    data = {"train.source": images[:48], "train.target": 255 - images[48:]}
    net = model(channels=8, identity=0.0, batch_norm=True)
    train(net, data, TrainSettings(steps=250, batch_size=16, lr=2e-3, betas=(0.5, 0.999), ema=0.95), 0, torch.device("cpu"))
    x = torch.from_numpy(images[:32]).permute(0, 3, 1, 2).float() / 255
    net.eval()
    with torch.no_grad():
        error = F.l1_loss(net.translate(x), 1 - x).item()
        assert error < 0.15 < 0.5 * F.l1_loss(x, 1 - x).item() and F.l1_loss(net.translate_back(net.translate(x)), x) < 0.15


def test_what_cannot_be_translated_is_one_line():
    with pytest.raises(InputError, match="model.identity: sources have 1 channels and targets 3.*write identity: 0"):
        model({"shape": [8, 8, 3]})
    with pytest.raises(InputError, match="model.start: sources have 1 channels and targets 3.*write start: random"):
        model({"shape": [8, 8, 3]}, identity=0.0, start="identity")
    assert model({"shape": [8, 8, 3]}, identity=0.0).translate(torch.rand(1, 1, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match="family cyclegan keeps the size, but targets are 2 times as large"):
        model({"shape": [16, 16, 1]})
    with pytest.raises(InputError, match="model.halvings: 4 halvings of images of 8x8; allowed: at most 3"):
        model(halvings=4)


COLOURS = {"shape": [8, 8, 3], "source_shape": [8, 8, 3]}


def test_generators_may_begin_as_nearly_the_identity():
    x = torch.rand(4, 3, 8, 8)
    near, far = ((model(COLOURS, start=s, batch_norm=False).generator(x) - x).abs().max() for s in ("identity", "random"))
    assert near < 0.03 < far
    net = model(COLOURS, start="identity").eval()
    with torch.no_grad():
        net.generator_average.net[-1].bias.fill_(0.7)
    assert net.translate(x).max() == 1 and net.generator_average(x).max() > 1  # what is added is cut off at white


def test_detail_is_what_a_mean_takes_away():
    net, x = model(COLOURS, detail=4.0, critic_halvings=0, batch_norm=False), torch.rand(2, 3, 8, 8)
    seen = net.seen(x)
    assert torch.equal(seen[:, :3], 2 * x - 1)
    assert seen[0, 4, 3, 5].item() == pytest.approx(4 * (x[0, 1, 3, 5] - x[0, 1, 2:5, 4:7].mean()).item(), abs=1e-5)
    assert seen[0, 3, 0, 0].item() == pytest.approx(  # beyond the edge it is repeated
        4 * (x[0, 0, 0, 0] - (4 * x[0, 0, 0, 0] + 2 * x[0, 0, 0, 1] + 2 * x[0, 0, 1, 0] + x[0, 0, 1, 1]) / 9).item(), abs=1e-5)
    assert net.source_discriminator(seen).shape == (2, 1, 8, 8)


def test_detail_tells_sharp_from_soft_where_the_image_alone_does_not():
    """Fine checks on slow ramps, and the same without the checks: a few steps of a discriminator on each."""
    def told(detail):
        torch.manual_seed(0)
        net = model(COLOURS, detail=detail, critic_halvings=0, batch_norm=False)
        optimiser = torch.optim.Adam(net.target_discriminator.parameters(), 3e-3)
        checks = 0.04 * (torch.arange(8)[:, None] + torch.arange(8)).remainder(2)
        for _ in range(60):
            soft = torch.rand(8, 3, 1, 1) + torch.rand(8, 3, 1, 1) * torch.linspace(-0.3, 0.3, 8)
            soft = soft.expand(8, 3, 8, 8)
            loss = OBJECTIVES["least_squares"][0](*(net.target_discriminator(net.seen(x)) for x in (soft + checks, soft)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.item()

    assert told(8.0) < 0.1 < 0.2 < told(0.0)
