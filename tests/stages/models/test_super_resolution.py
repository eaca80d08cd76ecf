"""Losses by value, the phases of SRGAN, and a gain over the enlargement it starts from."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from stages.bicubic import resized
from stages.models import super_resolution
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"kind": "two_domains", "shape": [16, 16, 3], "source_shape": [4, 4, 3], "classes": 0, "paired": True, "truth": True,
        "task": "reduce"}


def model(meta=None, **given):
    torch.manual_seed(0)
    config = configure(super_resolution.Config, {"channels": 8, "blocks": 1, "critic_channels": 4, **given}, "model")
    return super_resolution.Model(config, META | (meta or {}))


def test_losses_written_out():
    net = model(adversarial=0.5)
    batch = {"source": torch.rand(3, 3, 4, 4), "target": torch.rand(3, 3, 16, 16)}
    torch.manual_seed(1)
    loss, terms = net.loss(batch, "g", 999)
    torch.manual_seed(1)
    turns = int(torch.randint(4, ()))
    chosen = torch.rand(3, 1, 1, 1) < 0.5
    x, y = (torch.where(chosen, t.flip(-1), t) for t in (torch.rot90(b, turns, (2, 3)) for b in batch.values()))
    made = net.generator(x)
    logits = net.discriminator(2 * made - 1).mean((1, 2, 3))
    assert loss.item() == pytest.approx((((made - y) ** 2).mean() + 0.5 * -torch.sigmoid(logits).log().mean()).item(), rel=1e-5)
    assert terms["content"].item() == pytest.approx(((made - y) ** 2).mean().item())


@pytest.mark.parametrize("phase", ["main", "pretrain", "d"])
def test_losses_of_the_other_phases_written_out(phase):
    net = model(adversarial=0.5)
    batch = {"source": torch.rand(3, 3, 4, 4), "target": torch.rand(3, 3, 16, 16)}
    torch.manual_seed(1)
    loss = net.loss(batch, phase, 0)[0].item()
    torch.manual_seed(1)
    turns, chosen = int(torch.randint(4, ())), torch.rand(3, 1, 1, 1) < 0.5
    x, y = (torch.where(chosen, t.flip(-1), t) for t in (torch.rot90(b, turns, (2, 3)) for b in batch.values()))
    made = net.generator(x)
    if phase != "d":
        assert loss == pytest.approx(((made - y) ** 2).mean().item(), rel=1e-5)
        return
    real, fake = (torch.sigmoid(net.discriminator(2 * images - 1).mean((1, 2, 3))) for images in (y, made))
    assert loss == pytest.approx((-real.log().mean() - (1 - fake).log().mean()).item(), rel=1e-4)


def test_the_adversary_comes_after_the_start():
    phases = {p.name: (p.start, p.stop) for p in model(adversarial=1e-3, pretrain=40).phases}
    assert phases == {"pretrain": (0, 40), "d": (40, None), "g": (40, None)}
    assert [p.name for p in model(adversarial=1e-3, pretrain=0).phases] == ["d", "g"]
    assert [p.name for p in model().phases] == ["main"] and not hasattr(model(), "discriminator")


def test_content_in_features_written_out():
    net = model(adversarial=0.5, content="features", feature_weight=2.0, pretrain=1, feature_channels=4)
    made, truth = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    phi = net.content.features
    assert phi(truth).shape == (2, 16, 4, 4)
    by_hand = ((phi(made) - phi(truth)) ** 2).sum() / (phi(truth) ** 2).sum()
    assert net.content.error(made, truth).item() == pytest.approx(by_hand.item(), rel=1e-5) and net.content.error(truth, truth) == 0
    loss, terms = net.loss({"source": torch.rand(3, 3, 4, 4), "target": torch.rand(3, 3, 16, 16)}, "g", 9)
    assert loss.item() == pytest.approx((2.0 * terms["features"] + 0.5 * terms["adversarial"]).item(), rel=1e-5)
    assert loss.item() != pytest.approx((terms["content"] + 0.5 * terms["adversarial"]).item(), rel=1e-3)


def test_the_net_of_the_features_learns_first_and_is_then_fixed():
    net = model(content="features", pretrain=30)
    assert [(p.name, p.modules, p.start, p.stop) for p in net.phases] == [
        ("pretrain", ("generator",), 0, 30), ("content", ("content",), 0, 30), ("g", ("generator",), 30, None)]
    ramp = np.broadcast_to(np.linspace(230, 20, 16)[None, :, None, None], (32, 16, 16, 3)).astype(np.uint8)  # light from above
    data = {"train.source": resized(ramp, Fraction(1, 4)), "train.target": ramp}
    settings = TrainSettings(steps=60, batch_size=16, lr=1e-2)
    out = train(net, data, settings, 0, torch.device("cpu"))
    assert net.content.rotation_loss(torch.from_numpy(ramp[:4]).permute(0, 3, 1, 2).float() / 255)[1] > 0.9
    short = model(content="features", pretrain=30)
    train(short, data, TrainSettings(steps=30, batch_size=16, lr=1e-2), 0, torch.device("cpu"))
    for name, tensor in short.content.state_dict().items():
        assert torch.equal(tensor, out.weights[f"content.{name}"])
    with pytest.raises(InputError, match="model.content: features are learnt in the pretrain steps, and model.pretrain is 0"):
        model(content="features", pretrain=0)


def test_untrained_it_is_near_the_enlargement_and_of_any_size():
    x = torch.rand(1, 3, 7, 6)
    made, plain = model().translate(x), torch.from_numpy(resized(x[0].permute(1, 2, 0).numpy(), 4)).permute(2, 0, 1)
    assert made.shape == (1, 3, 28, 24) and (made[0] - plain).abs().mean() < 0.1
    enlarged = model().generator.bicubic(x)[0]
    assert (enlarged - plain)[:, 8:-8, 8:-8].abs().max() < 1e-5  # further out the edge is repeated in place of mirrored


def test_it_gains_on_bicubic():
    """Sharp discs: what a bicubic enlargement blurs is the same at every edge."""
    rng = np.random.default_rng(0)
    grid = np.arange(16)
    centres, radii = rng.uniform(4, 12, (128, 2)), rng.uniform(2, 6, 128)
    away = (grid[None, :, None] - centres[:, :1, None]) ** 2 + (grid[None, None] - centres[:, 1:, None]) ** 2
    inside = away < radii[:, None, None] ** 2
    target = np.repeat(np.where(inside, 230, 20)[..., None], 3, -1).astype(np.uint8)
    source = resized(target, Fraction(1, 4))
    net = model(channels=16)
    train(net, {"train.source": source[:96], "train.target": target[:96]}, TrainSettings(steps=150, batch_size=16, lr=3e-3), 0,
          torch.device("cpu"))
    tensor = lambda a: torch.from_numpy(a).permute(0, 3, 1, 2).double() / 255  # noqa: E731
    with torch.no_grad():
        made = net.eval().translate(tensor(source[96:]).float()).double()
    ours, plain = ((a - tensor(target[96:])).square().mean().item() for a in (made, tensor(resized(source[96:], 4))))
    assert ours < 0.8 * plain


def test_what_it_cannot_learn_from_is_one_line():
    with pytest.raises(InputError, match="expected targets 1, 2, 4, 8 or 16 times as large on both sides"):
        model({"shape": [12, 12, 3]})
    with pytest.raises(InputError, match="learns from pairs"):
        model({"paired": False})
    assert model({"source_shape": [16, 16, 3]}).translate(torch.rand(1, 3, 6, 6)).shape == (1, 3, 6, 6)
