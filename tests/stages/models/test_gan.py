"""The game's switches: what each adds to the loss of which player, who receives which gradient, and what bad input gets."""

import numpy as np
import pytest
import torch

from stages.models.gan import Config, Model
from stages.models.parts.adversarial import GENERATOR_LOSSES, OBJECTIVES, interpolated
from stages.settings import InputError
from stages.train.checkpoints import Store
from stages.train.loop import DivergedError, train
from stages.train.settings import TrainSettings

META = {"shape": [2, 2, 1], "classes": 3}
POINTS = {"kind": "points", "shape": [2], "classes": 8}


def model(meta=META, **changes):
    torch.manual_seed(0)
    return Model(Config(**{"latent": 2, "hidden": (8,), **changes}), meta)


def batch(n=6):
    return {"images": torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(0)), "labels": torch.arange(n) % 3}


def loss(net, phase, step=0, data=None):
    torch.manual_seed(5)
    return net.loss(data or batch(), phase, step)


def reached(net, value):
    for p in net.parameters():
        p.grad = None
    value.backward()
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_lazy_penalty_counts_for_the_steps_it_skips():
    plain, _ = loss(model(gamma=0.0), "d", 0)
    due, terms = loss(model(gamma=0.5, penalty_every=8), "d", 8)
    skipped, others = loss(model(gamma=0.5, penalty_every=8), "d", 9)
    assert due.item() == pytest.approx((plain + 8 * terms["r1"]).item(), rel=1e-5) and terms["r1"] > 0
    assert skipped.item() == pytest.approx(plain.item(), rel=1e-6) and "r1" not in others
    between, terms = loss(model(penalty="interpolates", gamma=10.0, penalty_every=1), "d", 3)
    assert between.item() == pytest.approx((plain + terms["interpolates"]).item(), rel=1e-5) and terms["interpolates"] > 0


def test_penalties_stay_in_float32_where_the_rest_is_in_bfloat16():
    def both(step=0, **changes):
        net = model(hidden=(32,), **changes)
        exact = loss(net, "d", step)[1]
        with torch.autocast("cpu", torch.bfloat16):
            return net, exact, loss(net, "d", step)[1]

    _, exact, mixed = both(gamma=0.5)
    assert mixed["r1"].item() == exact["r1"].item()
    _, exact, mixed = both(3, gamma=0.5)
    assert mixed["loss"].item() != exact["loss"].item() and mixed["loss"].item() == pytest.approx(exact["loss"].item(), rel=0.02)
    net, _, mixed = both(penalty="interpolates", gamma=10.0)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        made = net.generate(torch.randn(6, 2), net.generator)
    assert mixed["interpolates"].item() == pytest.approx(10 * interpolated(net.logit, batch()["images"], made).item(), rel=1e-5)


def test_objective_switch_and_number_of_discriminator_steps():
    values = {round(loss(model(objective=objective), "g")[0].item(), 6) for objective in OBJECTIVES}
    assert len(values) == 5 and len(GENERATOR_LOSSES) == 3  # the hinge generator's loss is the Wasserstein one
    assert [(p.name, p.repeat) for p in model(discriminator_steps=5).phases] == [("d", 5), ("g", 1)]


def test_the_critics_distance_is_the_mean_gap_of_its_logits():
    net = model(objective="wasserstein", penalty="none")
    found, terms = loss(net, "d")
    torch.manual_seed(5)
    made = net.generate(torch.randn(6, 2), net.generator)
    assert terms["distance"].item() == pytest.approx((net.logit(batch()["images"]).mean() - net.logit(made).mean()).item(), abs=1e-6)
    assert terms["distance"].item() == -found.item() and "accuracy" not in terms


def test_clipping_follows_the_critics_step_alone():
    net = model(objective="wasserstein", penalty="clip", clip=0.01)
    before = [p.clone() for p in net.generator.parameters()]
    net.after_update("g", 0)
    assert max(p.abs().max() for p in net.discriminator.parameters()) > 0.01
    net.after_update("d", 0)
    assert max(p.abs().max() for p in net.discriminator.parameters()) <= 0.01
    assert all(torch.equal(a, b) for a, b in zip(before, net.generator.parameters(), strict=True))


def test_instance_noise_is_drawn_until_it_has_faded():
    loud, quiet = model(noise=0.5, noise_steps=10), model()
    assert loss(loud, "d", 3)[0].item() != loss(quiet, "d", 3)[0].item()
    for phase in ("d", "g"):
        assert loss(loud, phase, 11)[0].item() == loss(quiet, phase, 11)[0].item()


@pytest.mark.parametrize("changes", [{"channels": (4,)}, {"channels": (4,), "batch_norm": True, "spectral": True}, {"batch_norm": True}])
def test_architectures_give_images_of_the_same_shape(changes):
    net = model(**changes)
    assert net.generate(torch.randn(5, 2), net.generator).shape == (5, 1, 2, 2) and net.logit(torch.rand(5, 1, 2, 2)).shape == (5,)
    assert torch.isfinite(loss(net, "d")[0])


def test_points_are_neither_squashed_nor_folded():
    net = model(POINTS, hidden=(64,))
    assert net.inputs == ("points",) and net.sample(400, torch.Generator().manual_seed(0)).shape == (400, 2)
    with torch.no_grad():
        for p in net.generator_average.parameters():
            p.mul_(20)
    drawn = net.sample(400, torch.Generator().manual_seed(0))
    assert drawn.min() < -1.5 and drawn.max() > 1.5
    assert torch.isfinite(loss(net, "d", data={"points": torch.randn(6, 2)})[0])


def test_projection_adds_the_inner_product_with_the_class():
    net = model(condition="projection")
    assert net.inputs == ("images", "labels")
    x, y = batch()["images"], batch()["labels"]
    with torch.no_grad():
        net.embedding.weight.copy_(torch.randn(3, 8))
    expected = net.discriminator(2 * x.flatten(1) - 1).squeeze(1) + (net.embedding.weight[y] * net.trunk(x)).sum(1)
    assert torch.allclose(net.logit(x, y), expected)
    assert "embedding.weight" in reached(net, loss(net, "d")[0])


def test_acgans_class_loss_is_on_real_and_generated_for_both_players():
    net = model(condition="acgan", gamma=0.0)
    x, y = batch()["images"], batch()["labels"]
    _, terms = loss(net, "d")
    torch.manual_seed(5)
    made = net.generate(torch.randn(6, 2), net.generator, y)
    expected = torch.nn.functional.cross_entropy(net.head(net.trunk(torch.cat([x, made]))), torch.cat([y, y]))
    assert terms["head"].item() == pytest.approx(expected.item(), rel=1e-6)
    plain, terms = loss(net, "g")[0], loss(net, "g")[1]
    assert plain.item() == pytest.approx((terms["loss"] + terms["head"]).item(), rel=1e-6)


def test_the_class_reaches_the_generator_and_samples_come_as_asked():
    net = model(condition="acgan", batch_norm=True).eval()
    z = torch.randn(1, 2).expand(3, 2)
    made = net.generate(z, net.generator, torch.arange(3))
    assert not torch.allclose(made[0], made[1]) and not torch.allclose(made[1], made[2])
    net.begin({"train.labels": np.array([0, 0, 2, 2, 2], np.int32)}, 0)
    assert net.frequencies.tolist() == [2, 0, 3] and net.sample_of == ("class", 3)
    drawn = [net.sample(4, torch.Generator().manual_seed(0), torch.full((4,), k)) for k in (0, 1)]
    assert not torch.allclose(*drawn)


def test_the_codes_head_learns_from_generated_examples_alone_and_the_code_never_enters_the_discriminator():
    net = model(categories=3, continuous=1, gamma=0.0)
    assert net.discriminator[0].in_features == 4 and net.generator[0].in_features == 2 + 3 + 1
    one, other = batch(), {"images": 1 - batch()["images"]}
    gradients = []
    for data in (one, other):
        reached(net, loss(net, "d", data=data)[0])
        gradients.append([p.grad.clone() for p in net.head.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True)) and gradients[0][0].abs().sum() > 0
    found, terms = loss(net, "g")
    assert found.item() == pytest.approx((terms["loss"] + terms["head"]).item(), rel=1e-6)
    assert net.clusters(one["images"]).shape == (6, 3) and net.sample_of == ("code", 3)


def test_samples_come_from_the_averaged_generator_and_raw_ones_do_not():
    net = model()
    with torch.no_grad():
        for p in net.generator.parameters():
            p.zero_()
    draws = lambda: (net.sample(3, torch.Generator().manual_seed(0)), net.raw_sample(3, torch.Generator().manual_seed(0)))  # noqa: E731
    averaged, raw = draws()
    assert (averaged != 0.5).any() and (raw == 0.5).all()
    with torch.no_grad():
        for p in net.generator_average.parameters():
            p.zero_()
    assert (draws()[0] == 0.5).all()


def test_the_average_is_the_exponential_one_of_the_generators_weights():
    net, twin = model(), model()
    data = {"train.images": np.random.default_rng(0).integers(0, 255, (32, 2, 2, 1)).astype(np.uint8)}
    train(net, data, TrainSettings(steps=1, batch_size=8, lr=0.1, ema=0.75), 0, torch.device("cpu"))
    start = dict(twin.generator.named_parameters())
    for name, average in net.generator_average.named_parameters():
        assert torch.allclose(average, 0.75 * start[name] + 0.25 * dict(net.generator.named_parameters())[name], atol=1e-7)


def test_the_clusters_of_a_code_are_read_by_averages():
    net, x = model(categories=3), batch()["images"]
    found = net.clusters(x)
    with torch.no_grad():
        for p in (*net.discriminator.parameters(), *net.head.parameters()):
            p.add_(1.0)
    assert torch.equal(net.clusters(x), found) and (net.head(net.trunk(x)) != found).all()
    assert not hasattr(model(), "head_average")


def test_the_curve_has_each_players_gradient_norm():
    data = {"train.images": np.random.default_rng(0).integers(0, 255, (32, 2, 2, 1)).astype(np.uint8)}
    curve = train(model(), data, TrainSettings(steps=4, batch_size=8, log_every=2), 0, torch.device("cpu")).curve
    assert all(row["d_gradient_norm"] > 0 and row["g_gradient_norm"] > 0 for row in curve)


@pytest.mark.parametrize(("meta", "changes", "said"), [
    ({**META, "classes": 1}, {"condition": "acgan"}, "acgan tells classes apart, but the dataset has 1"),
    (META, {"condition": "projection", "categories": 5}, "classes or codes, not both"),
    (META, {"channels": (4, 4)}, "2 x 2 cannot be halved so often"),
    (POINTS, {"channels": (4,)}, "points of the plane cannot be convolved"),
    ({**META, "images": {"train": 7}}, {"categories": 8}, "8 are more than the 7 training examples"),
])
def test_bad_input_is_one_line(meta, changes, said):
    with pytest.raises(InputError, match=said) as caught:
        model(meta, **changes)
    assert "\n" not in str(caught.value)


def test_a_conditional_model_needs_every_label():
    with pytest.raises(InputError, match="needs the class of every training example, but 2 of 3 have none"):
        model(condition="acgan").begin({"train.labels": np.array([-1, 0, -1], np.int32)}, 0)


def test_a_diverging_critic_stops_the_run_and_its_checkpoint_stays(tmp_path):
    data = {"train.images": np.random.default_rng(0).integers(0, 255, (32, 2, 2, 1)).astype(np.uint8)}
    critic = {"objective": "wasserstein", "penalty": "none"}
    store = Store(tmp_path, "run", "key")
    settings = {"steps": 9, "batch_size": 8, "checkpoint_seconds": 0.0}
    assert train(model(**critic), data, TrainSettings(**settings), 0, torch.device("cpu"), store, stop_after=2) is None
    with pytest.raises(DivergedError, match="at step 2: loss nan, g_loss nan"):  # the critic's step was too long for the next player
        train(model(**critic), data, TrainSettings(**settings, lr=1e30), 0, torch.device("cpu"), store)
    assert store.load(0).step == 2 and all(torch.isfinite(t).all() for t in store.load(0).tensors.values())


def test_two_planted_modes_are_both_found():
    rng = np.random.default_rng(0)
    dark, light = np.full((128, 2, 2, 1), 40), np.full((128, 2, 2, 1), 215)
    images = np.clip(np.concatenate([dark, light]) + rng.normal(0, 8, (256, 2, 2, 1)), 0, 255).astype(np.uint8)
    net = model(hidden=(32,), latent=4)
    settings = TrainSettings(steps=600, batch_size=64, lr=2e-3, betas=(0.0, 0.99), ema=0.98)
    train(net, {"train.images": images}, settings, 0, torch.device("cpu"))
    mean = net.sample(400, torch.Generator().manual_seed(0)).flatten(1).mean(1)
    assert 0.2 < (mean < 0.4).float().mean() < 0.8 and ((mean < 0.35) | (mean > 0.65)).float().mean() > 0.8


def test_infogan_tells_two_planted_modes_apart():
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = np.clip(np.where(labels, 215, 40)[:, None, None, None] + rng.normal(0, 8, (256, 2, 2, 1)), 0, 255).astype(np.uint8)
    net = model(hidden=(32,), latent=3, categories=2)
    settings = TrainSettings(steps=400, batch_size=64, lr=2e-3, betas=(0.0, 0.99), ema=0.98)
    train(net, {"train.images": images}, settings, 0, torch.device("cpu"))
    found = net.clusters(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    assert max((found == labels).mean(), (found != labels).mean()) > 0.95
