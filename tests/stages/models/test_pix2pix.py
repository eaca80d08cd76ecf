"""Losses by value, what the discriminator sees, and a translation that is learnt."""

import numpy as np
import pytest
import torch

from stages.models import pix2pix
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"kind": "two_domains", "shape": [16, 16, 3], "source_shape": [16, 16, 1], "classes": 0, "paired": True, "truth": True,
        "task": "grey"}
SMALL = {"channels": 6, "halvings": 2, "critic_channels": 4, "critic_halvings": 1}


def model(meta=None, **given):
    torch.manual_seed(0)
    return pix2pix.Model(configure(pix2pix.Config, {**SMALL, **given}, "model"), META | (meta or {}))


def test_losses_written_out():
    net = model(weight=7.0, adversarial=2.0, mirror=False, batch_norm=False)
    x, y = torch.rand(3, 1, 16, 16), torch.rand(3, 3, 16, 16)
    made = net.generator(x)
    judge = lambda image: torch.sigmoid(net.discriminator(2 * torch.cat([x, image], 1) - 1))  # noqa: E731
    by_hand = 2 * -judge(made).log().mean() + 7 * (made - y).abs().mean()
    assert net.loss({"source": x, "target": y}, "g", 0)[0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    by_hand = 0.5 * (-judge(y).log().mean() - (1 - judge(made)).log().mean())
    assert net.loss({"source": x, "target": y}, "d", 0)[0].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_least_squares_written_out():
    net = model(weight=7.0, adversarial=2.0, mirror=False, batch_norm=False, objective="least_squares")
    x, y = torch.rand(3, 1, 16, 16), torch.rand(3, 3, 16, 16)
    made = net.generator(x)
    judge = lambda image: net.discriminator(2 * torch.cat([x, image], 1) - 1)  # noqa: E731
    by_hand = 2 * ((judge(made) - 1) ** 2).mean() + 7 * (made - y).abs().mean()
    assert net.loss({"source": x, "target": y}, "g", 0)[0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    by_hand = 0.5 * (0.5 * ((judge(y) - 1) ** 2).mean() + 0.5 * (judge(made) ** 2).mean())
    assert net.loss({"source": x, "target": y}, "d", 0)[0].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_patch_is_as_wide_as_said():
    """The logit in the middle depends on 7, 13 or 25 pixels and on no other."""
    for halvings, width in ((0, 7), (1, 13), (2, 25)):
        net = model({"shape": [64, 64, 3], "source_shape": [64, 64, 1]}, critic_halvings=halvings, batch_norm=False)
        x, y = torch.rand(1, 1, 64, 64), torch.rand(1, 3, 64, 64, requires_grad=True)
        logits = net.judged(x, y)
        logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
        seen = y.grad.abs().sum((0, 1)).sum(1).nonzero().flatten()
        assert seen.max() - seen.min() + 1 == width


def test_without_an_adversary_there_is_no_discriminator():
    net = model(adversarial=0.0)
    assert [p.name for p in net.phases] == ["g"] and not hasattr(net, "discriminator")


def test_a_colour_for_each_grey_is_learnt():
    rng = np.random.default_rng(0)
    grey = np.repeat(np.repeat(rng.integers(0, 2, (64, 4, 4, 1)), 4, 1), 4, 2)
    target = np.where(grey, np.array([220, 60, 20]), np.array([10, 80, 200])).astype(np.uint8)
    data = {"train.source": (grey * 200).astype(np.uint8), "train.target": target}
    net = model()
    train(net, data, TrainSettings(steps=120, batch_size=16, lr=3e-3, betas=(0.5, 0.999)), 0, torch.device("cpu"))
    net.eval()
    with torch.no_grad():
        made = net.translate(torch.from_numpy(data["train.source"][:16]).permute(0, 3, 1, 2).float() / 255)
    assert (made * 255 - torch.from_numpy(target[:16]).permute(0, 3, 1, 2)).abs().mean() < 15


def test_what_it_cannot_learn_from_is_one_line():
    with pytest.raises(InputError, match=r"family pix2pix learns from pairs.*unpaired \(prepare.task: change\); choose family cyclegan"):
        model({"paired": False, "task": "change"})
    with pytest.raises(InputError, match="targets are 2 times as large as sources; choose family super_resolution"):
        model({"shape": [32, 32, 3]})
