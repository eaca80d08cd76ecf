"""The full-covariance Gaussian against scipy, and its samples against its moments."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from stages.models.gaussian import RIDGES, Config, Model

META = {"shape": [2, 3, 1], "classes": 0}


def data(seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(6, 6))
    draw = {split: np.clip(120 + 12 * rng.normal(size=(n, 6)) @ mixing, 0, 255).astype(np.uint8).reshape(n, 2, 3, 1)
            for split, n in (("train", 400), ("valid", 80))}
    return {f"{split}.images": x for split, x in draw.items()}


@pytest.mark.parametrize("ridge", [None, 1e-3])
def test_density_equals_scipy_with_the_ridge_that_is_best_on_valid(ridge):
    arrays = data()
    model = Model(Config(ridge=ridge), META)
    assert model.epoch(arrays, 0, 0, 1, 1)[0] == 400
    train, valid = (arrays[f"{s}.images"].reshape(-1, 6) / 255 for s in ("train", "valid"))
    at = {r: multivariate_normal(train.mean(0), np.cov(train, rowvar=False, bias=True) + r * np.eye(6)) for r in RIDGES}
    density = at[ridge] if ridge else max(at.values(), key=lambda d: d.logpdf(valid).mean())
    x = torch.from_numpy(valid).float().view(-1, 1, 2, 3)
    np.testing.assert_allclose(model.log_likelihood(x, 50).numpy(), density.logpdf(valid), atol=1e-3)


def test_samples_have_the_moments():
    arrays = data()
    model = Model(Config(), META)
    model.epoch(arrays, 0, 0, 1, 1)
    drawn = model.sample(40000, torch.Generator().manual_seed(0)).flatten(1).double()
    train = torch.from_numpy(arrays["train.images"].reshape(-1, 6) / 255)
    assert torch.allclose(drawn.mean(0), train.mean(0), atol=0.01)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(train.T), atol=0.1 * float(torch.cov(train.T).diag().max()))
