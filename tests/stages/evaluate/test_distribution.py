import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from stages.evaluate import distribution


class Flat(torch.nn.Module):
    """The features are the pixels, so torchmetrics sees exactly the rows the test gives."""

    num_features = 12

    def forward(self, x):
        return x.flatten(1).double()


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 12)), rng.normal(0.3, 1.5, size=(200, 12)) @ rng.normal(size=(12, 12)) / 3


def test_fid_equals_torchmetrics(sets):
    metric = FrechetInceptionDistance(feature=Flat(), normalize=True, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    for rows, real in zip(sets, (True, False), strict=True):
        metric.update(torch.tensor(rows).reshape(-1, 3, 2, 2), real=real)
    assert distribution.frechet_distance(*sets) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_fid_equals_the_matrix_square_root_even_with_fewer_rows_than_dimensions(sets):
    for x, y in (sets, (sets[0][:8], sets[1]), (np.pad(sets[0], ((0, 0), (0, 3))), np.pad(sets[1], ((0, 0), (0, 3))))):
        cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        root = scipy.linalg.sqrtm(cov_x @ cov_y)
        expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * np.real(root))
        assert distribution.frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_fid_of_shifted_copies_is_the_squared_shift(sets):
    x = sets[0]
    assert distribution.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-8)
    assert distribution.frechet_distance(x, x + 2.0) == pytest.approx(4.0 * 12)
    assert distribution.frechet_distance(x, sets[1]) == pytest.approx(distribution.frechet_distance(sets[1], x))


def test_fid_needs_two_rows():
    with pytest.raises(ValueError, match="at least 2 rows"):
        distribution.frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_kid_equals_torchmetrics_over_one_full_subset(sets):
    x, y = sets[0][:200], sets[1]
    metric = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=200, normalize=True).set_dtype(torch.float64)
    metric.update(torch.tensor(x).reshape(-1, 3, 2, 2), real=True)
    metric.update(torch.tensor(y).reshape(-1, 3, 2, 2), real=False)
    assert distribution.kernel_distance(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-4)


def test_kid_is_unbiased_about_zero_for_one_distribution():
    rng = np.random.default_rng(1)
    values = [distribution.kernel_distance(rng.normal(size=(30, 4)), rng.normal(size=(40, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0


def test_blocks_of_rows_change_nothing(sets, monkeypatch):
    whole = (distribution.kernel_distance(*sets), distribution.neighbour_distances(sets[0], sets[0], 3, itself=True),
             distribution.precision_recall(*sets))
    monkeypatch.setattr(distribution, "ROWS", 7)
    assert distribution.kernel_distance(*sets) == pytest.approx(whole[0])
    np.testing.assert_allclose(distribution.neighbour_distances(sets[0], sets[0], 3, itself=True), whole[1])
    assert distribution.precision_recall(*sets) == pytest.approx(whole[2])


def slow_precision_recall(real, fake, k):
    def radius(points, i):
        return sorted(np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i)[k - 1]
    r, f = [radius(real, i) for i in range(len(real))], [radius(fake, i) for i in range(len(fake))]
    inside = [[np.linalg.norm(real[i] - fake[j]) <= r[i] for j in range(len(fake))] for i in range(len(real))]
    reached = [any(np.linalg.norm(real[i] - fake[j]) <= f[j] for j in range(len(fake))) for i in range(len(real))]
    return {"precision": np.mean([any(row[j] for row in inside) for j in range(len(fake))]), "recall": np.mean(reached),
            "density": np.sum(inside) / k / len(fake), "coverage": np.mean([any(row) for row in inside])}


def test_precision_recall_density_coverage_equal_the_definition():
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=(25, 3)), rng.normal(0.7, 0.6, size=(25, 3))
    for k in (1, 3, 5):
        assert distribution.precision_recall(real, fake, k) == pytest.approx(slow_precision_recall(real, fake, k))


def test_collapse_keeps_precision_and_loses_recall_and_coverage():
    rng = np.random.default_rng(3)
    real = np.r_[rng.normal(0, 1, (50, 2)), rng.normal(100, 1, (50, 2))]
    half = distribution.precision_recall(real, rng.normal(0, 0.5, (100, 2)))
    assert half["precision"] > 0.9 and half["recall"] <= 0.5 and half["coverage"] <= 0.5
    far = distribution.precision_recall(real, rng.normal(50, 1, (100, 2)))
    assert far == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}


def test_samples_are_read_in_blocks_as_large_as_the_real_set():
    rng = np.random.default_rng(4)
    real, a, b = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), rng.normal(1, 1, size=(30, 2))
    together = distribution.precision_recall(real, np.r_[a, b, b[:20]])
    alone = [distribution.precision_recall(real, part) for part in (a, b)]
    assert together == pytest.approx({name: (alone[0][name] + alone[1][name]) / 2 for name in together})


def test_precision_recall_says_how_many_points_it_needs():
    with pytest.raises(ValueError, match="more than 5 points"):
        distribution.precision_recall(np.zeros((5, 2)), np.zeros((9, 2)))


def test_memorisation_tells_copies_from_new_images():
    rng = np.random.default_rng(5)
    train, heldout, new = rng.normal(size=(400, 5)), rng.normal(size=(300, 5)), rng.normal(size=(300, 5))
    fresh, copies = distribution.memorisation(new, train, heldout), distribution.memorisation(train[:300] + 1e-3, train, heldout)
    assert fresh["memorisation"] == pytest.approx(1.0, abs=0.1) and fresh["copied_share"] < 0.05
    assert copies["memorisation"] < 0.01 and copies["copied_share"] == 1.0


def test_neighbour_distances_equal_the_loop():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    expected = [sorted(np.linalg.norm(a - b) for b in y)[1] for a in x]
    np.testing.assert_allclose(distribution.neighbour_distances(x, y, 2), expected)


def test_class_cover_by_value():
    sure, unsure = np.eye(4)[[0] * 60 + [1] * 39 + [2]], np.full((1, 4), 0.25)
    cover = distribution.class_cover(np.r_[sure, unsure])
    assert cover["confident_share"] == pytest.approx(100 / 101)
    assert cover["classes_covered"] == 2  # class 2 has 1 of 101, below a tenth of an equal share
    shares = np.array([61, 39, 1]) / 101
    assert cover["class_entropy"] == pytest.approx(-(shares * np.log(shares)).sum())


def test_modes_and_high_quality_by_value():
    modes = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = np.array([[0.1, 0.0], [0.29, 0.0], [10.0, 0.2], [0.0, 9.0]])
    assert distribution.mode_cover(points, modes, 0.1) == {"modes": 2.0, "high_quality": 0.75}


def test_sharpness_equals_scipy_laplacian_and_falls_with_blur():
    from scipy import ndimage
    images = np.random.default_rng(7).random((5, 2, 8, 9))
    expected = np.mean([np.var([ndimage.laplace(c)[1:-1, 1:-1] for c in image]) for image in images])
    assert distribution.sharpness(images) == pytest.approx(expected)
    assert distribution.sharpness(ndimage.gaussian_filter(images, (0, 0, 1, 1))) < expected / 4


def test_gaussian_baseline_has_the_training_moments():
    mixing = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, -0.2], [0, 0, 0, 1.0]])
    train = np.random.default_rng(8).normal(0.5, 0.05, size=(500, 4)) @ mixing
    samples = distribution.gaussian_samples(train, 20000, seed=1)
    np.testing.assert_allclose(samples.mean(0), train.mean(0), atol=0.005)
    np.testing.assert_allclose(np.cov(samples, rowvar=False), np.cov(train, rowvar=False), atol=2e-4)
    assert samples.min() >= 0 and np.array_equal(samples[:10], distribution.gaussian_samples(train, 20000, seed=1)[:10])
