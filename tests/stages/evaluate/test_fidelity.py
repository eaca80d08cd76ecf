"""PSNR, SSIM and Lab against slow code written here and against published values."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from stages.evaluate import fidelity


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.random((2, 3, 24, 28))
    return np.clip(truth + 0.1 * rng.normal(size=truth.shape), 0, 1), truth


def slow_ssim(a, b):
    """One window at a time, from the definition."""
    weights = np.array([[np.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)])
    weights /= weights.sum()
    found = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy, cov = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum(), (weights * (x - mx) * (y - my)).sum()
            found.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    return np.mean(found)


def test_psnr_written_out(pair):
    made, truth = pair
    slow = [np.mean([10 * np.log10(1 / np.mean((m - t) ** 2))]) for m, t in zip(made, truth, strict=True)]
    assert fidelity.psnr(made, truth) == pytest.approx(slow) and fidelity.psnr(truth, truth).tolist() == [100, 100]
    together = 10 * np.log10(1 / np.mean((made - truth) ** 2))
    assert fidelity.psnr(made, truth, np.array([7, 7])).tolist() == pytest.approx([together])
    assert fidelity.psnr(made, truth, np.array([1, 0])) == pytest.approx(slow[::-1])
    assert fidelity.psnr(truth * 0, truth * 0 + 1 / 255)[0] == pytest.approx(48.1308, abs=1e-4)  # one grey value off


def test_ssim_is_that_of_the_definition_and_of_another_library(pair):
    made, truth = pair
    slow = np.mean([slow_ssim(made[0, c], truth[0, c]) for c in range(3)])
    other = structural_similarity(made[0], truth[0], channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                  use_sample_covariance=False)
    assert fidelity.ssim(made, truth)[0] == pytest.approx(slow, abs=1e-9) == pytest.approx(other, abs=1e-9)
    assert fidelity.ssim(truth, truth) == pytest.approx([1, 1])


def test_luma_is_matlabs_ycbcr():
    colours = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float).T[None, :, :, None]
    assert (fidelity.luma(colours) * 255)[0, 0, :, 0] == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=2e-3)


def test_four_pixels_of_border_do_not_count():
    truth = np.random.default_rng(1).random((1, 3, 32, 32))
    made = truth.copy()
    made[..., :4, :] = made[..., -4:] = 0
    found = fidelity.likeness(made, truth)
    assert found["psnr_rgb"] == 100 and found["ssim_y"] == pytest.approx(1) and found["l1"] > 0.1


def test_lab_is_another_librarys_and_known_colours():
    images = np.random.default_rng(2).random((1, 3, 5, 5))
    assert np.moveaxis(fidelity.lab(images)[0], 0, -1) == pytest.approx(rgb2lab(np.moveaxis(images[0], 0, -1)), abs=0.01)
    red = np.zeros((1, 3, 1, 1))
    red[0, 0] = 1
    assert fidelity.lab(red)[0, :, 0, 0] == pytest.approx([53.24, 80.09, 67.20], abs=0.02)


def test_colour_shift_sees_a_tint_and_not_a_rearrangement():
    images = 0.3 + 0.4 * np.random.default_rng(3).random((4, 3, 8, 8))
    assert fidelity.colour_shift(images, images[..., ::-1, :])["colour_shift"] == pytest.approx(0, abs=1e-9)
    tinted = images.copy()
    tinted[:, 0] += 0.1
    slow = np.mean([np.linalg.norm(fidelity.lab(b[None]).mean((2, 3)) - fidelity.lab(a[None]).mean((2, 3)))
                    for a, b in zip(images, tinted, strict=True)])
    found = fidelity.colour_shift(images, tinted)
    before, after = (np.moveaxis(fidelity.lab(x), 1, 0).reshape(3, -1) for x in (images, tinted))
    assert found["colour_histogram"] == pytest.approx(np.mean([wasserstein_distance(a, b) for a, b in zip(before, after, strict=True)]))
    assert found["colour_shift"] == pytest.approx(slow) and found["colour_shift"] > 3 and found["colour_histogram"] > 1
