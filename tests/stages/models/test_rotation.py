"""The turned images are those that are judged, and which way is up is learnt."""

import numpy as np
import pytest
import torch

from stages.models import rotation
from stages.models.base import image_tensor
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"kind": "images", "shape": [16, 16, 3], "classes": 0}


def model(meta=META):
    torch.manual_seed(0)
    return rotation.Model(configure(rotation.Config, {"channels": 8, "features": 16}, "model"), meta)


def test_loss_is_the_mean_over_four_turns():
    net, x = model().eval(), torch.rand(2, 3, 16, 16)
    by_hand = []
    for turns in range(4):
        turned = x
        for _ in range(turns):
            turned = turned.transpose(2, 3).flip(2)  # a right angle anticlockwise
        by_hand.append(-net.head(net.features(turned)).log_softmax(1)[:, turns].mean())
    assert net.rotation_loss(x)[0].item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_light_from_above_is_found_and_chance_where_there_is_none():
    rng = np.random.default_rng(0)
    ramp = np.linspace(220, 30, 16)[None, :, None, None] + rng.normal(0, 12, (96, 16, 16, 3))
    lit, noise = ramp.clip(0, 255).astype(np.uint8), rng.integers(0, 256, (96, 16, 16, 3), np.uint8)
    net = model()
    train(net, {"train.images": lit[:64]}, TrainSettings(steps=60, batch_size=16, lr=5e-3), 0, torch.device("cpu"))
    net.eval()
    with torch.no_grad():
        assert net.pretext_accuracy(image_tensor(lit[64:])) > 0.95 and net.pretext_accuracy(image_tensor(noise)) < 0.5


def test_only_squares_can_be_turned():
    with pytest.raises(InputError, match="must be square, but the dataset has 16x8"):
        model({**META, "shape": [16, 8, 3]})
