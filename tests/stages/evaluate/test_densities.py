import numpy as np
import pytest
from scipy.stats import multivariate_normal

from stages.evaluate import densities


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    return [0.5 + 0.1 * rng.normal(size=(n, 5)) @ mixing for n in (400, 100, 100)]


def test_gaussian_equals_scipy_at_the_ridge_that_is_best_on_valid(rows):
    train, valid, test = rows
    at = [multivariate_normal(train.mean(0), np.cov(train, rowvar=False, bias=True) + r * np.eye(5)) for r in densities.RIDGES]
    best = max(at, key=lambda density: density.logpdf(valid).mean())
    np.testing.assert_allclose(densities.gaussian(train, valid, test), -best.logpdf(test))
    assert densities.gaussian(train, test, test).mean() <= densities.gaussian(train, valid, test).mean()  # chosen on test: never worse


def test_a_constant_pixel_that_varies_in_valid_asks_for_a_large_ridge(rows):
    train, valid, test = (np.column_stack([r, np.zeros(len(r))]) for r in rows)
    moved = valid + np.r_[np.zeros(5), 0.3]
    held, off = densities.gaussian(train, valid, test).mean(), densities.gaussian(train, moved, test + np.r_[np.zeros(5), 0.3]).mean()
    assert np.isfinite([held, off]).all() and off < 30 and held < off


def test_probabilistic_pca_equals_scipy_with_the_closed_form_weights(rows):
    train, _, test = rows
    covariance = np.cov(train, rowvar=False, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    noise = values[:3].mean()
    weights = vectors[:, 3:] * np.sqrt(values[3:] - noise)
    expected = -multivariate_normal(train.mean(0), weights @ weights.T + noise * np.eye(5)).logpdf(test)
    np.testing.assert_allclose(densities.probabilistic_pca(train, test, 2), expected)


def test_all_directions_but_one_are_the_gaussian(rows):
    train, _, test = rows
    covariance = np.cov(train, rowvar=False, bias=True)
    expected = -multivariate_normal(train.mean(0), covariance).logpdf(test)
    np.testing.assert_allclose(densities.probabilistic_pca(train, test, 4), expected)
