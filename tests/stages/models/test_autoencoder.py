"""The linear autoencoder finds the principal subspace; the objective by value."""

import numpy as np
import pytest
import torch

from stages.models.autoencoder import Config, Model
from stages.settings import InputError
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"shape": [4, 4, 1], "classes": 0}


def planted(n=600, seed=0):
    """Images whose variance lies in three known directions, far above the rest."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    spread = np.array([40, 28, 20, *[2.0] * 13])
    x = 128 + rng.normal(size=(n, 16)) * spread @ basis.T
    return np.clip(np.rint(x), 0, 255).astype(np.uint8).reshape(n, 4, 4, 1)


def test_the_linear_one_spans_the_principal_subspace_at_pca_s_error():
    images = planted()
    torch.manual_seed(0)
    model = Model(Config(latent=3), META)
    settings = TrainSettings(steps=2000, lr=2e-2, lr_decay="cosine", batch_size=600)
    train(model, {"train.images": images, "valid.images": images[:50]}, settings, 0, torch.device("cpu"))
    x = images.reshape(len(images), 16) / 255
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:3].T
    with torch.no_grad():
        basis = model.subspace().numpy()
        shown = torch.from_numpy(x).float().view(-1, 1, 4, 4)
        error = (model.raw_reconstruct(shown) - shown).square().mean().item()
    assert np.linalg.norm(basis @ basis.T - directions @ directions.T) < 0.02
    best = np.square((x - x.mean(0)) - (x - x.mean(0)) @ directions @ directions.T).mean()
    assert best <= error * (1 + 1e-6) and error < 1.001 * best


def test_the_objective_is_the_squared_error_of_an_image():
    torch.manual_seed(0)
    model = Model(Config(latent=2), META)
    model.begin({"train.images": planted(20)}, 0)
    x = torch.rand(5, 1, 4, 4)
    flat = x.flatten(1)
    linear = model.mean + (flat - model.mean) @ model.encoder.weight.T @ model.decoder.weight.T
    assert model.loss({"images": x}, "main", 0)[0].item() == pytest.approx((linear - flat).square().sum(1).mean().item(), rel=1e-5)
    assert torch.allclose(model.mean, torch.from_numpy(planted(20).reshape(20, 16).mean(0) / 255).float(), atol=1e-6)


def test_a_code_as_wide_as_the_image_is_one_line():
    with pytest.raises(InputError, match="model.latent: 16 units hold all 16 pixels"):
        Model(Config(latent=16), META)
    assert Model(Config(latent=16, hidden=(8,)), META).subspace() is None
