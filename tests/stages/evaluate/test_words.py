import numpy as np
import pytest
import torch

from stages.evaluate import generative, words


def encode(documents):
    return np.array([i for d in documents for i in d], np.int32), np.r_[0, np.cumsum([len(d) for d in documents])].astype(np.int64)


def test_context_pairs_stay_in_their_document():
    documents = [[0, 1, 2, 3], [4], [], [5, 6]]
    pairs, weights = words.context_pairs(*encode(documents), window=2, limit=99, seed=0)
    expected = sorted((d[i], d[j]) for d in documents for i in range(len(d)) for j in range(len(d)) if 0 < abs(i - j) <= 2)
    assert sorted(map(tuple, pairs.tolist())) == expected and (weights == 1).all()


def test_window_zero_is_the_whole_document():
    pairs, _ = words.context_pairs(*encode([[0, 1, 2, 3], [4, 5]]), window=0, limit=99, seed=0)
    assert len(pairs) == 4 * 3 + 2


def test_skipped_words_are_taken_out_before_the_window():
    pairs, _ = words.context_pairs(*encode([[1, 0, 2, -1, 3]]), window=1, limit=99, seed=0, skip=0)
    assert sorted(map(tuple, pairs.tolist())) == [(1, 2), (2, 1), (2, 3), (3, 2)]


def test_shrinking_weighs_a_pair_by_the_probability_that_the_drawn_reach_holds_it():
    pairs, weights = words.context_pairs(*encode([list(range(9))]), window=3, limit=999, seed=0, shrink=True)
    reach = np.random.default_rng(0).integers(1, 4, 100000)
    for distance in (1, 2, 3):
        found = weights[np.abs(pairs[:, 0] - pairs[:, 1]) == distance]
        assert found == pytest.approx((reach >= distance).mean(), abs=0.01)


def test_context_pairs_sample_is_seeded():
    tokens, offsets = encode([list(range(50))])
    a, b, c = (words.context_pairs(tokens, offsets, 3, 20, s)[0].tolist() for s in (1, 1, 2))
    assert a == b != c and len(a) == 20


@pytest.mark.parametrize("window,shrink", [(1, False), (3, True), (3, False), (50, True), (0, True), (0, False)])
def test_target_counts_are_the_weights_of_all_pairs(window, shrink):
    rng = np.random.default_rng(3)
    tokens, offsets = encode([rng.integers(-1, 7, n).tolist() for n in rng.integers(0, 12, 40)])
    pairs, weights = words.context_pairs(tokens, offsets, window, 10**9, 0, shrink, skip=0)
    found = words.target_counts(tokens, offsets, window, 9, shrink, skip=0)
    np.testing.assert_allclose(found, np.bincount(pairs[:, 1], weights, minlength=9))


def test_noise_distribution_by_value():
    np.testing.assert_allclose(words.noise_distribution(np.array([16, 0, 1])), [8 / 9, 0, 1 / 9])


def test_pair_losses_equal_the_definition(monkeypatch):
    rng = np.random.default_rng(0)
    inputs, outputs, bias = rng.normal(size=(7, 4)), rng.normal(size=(7, 4)), rng.normal(size=7)
    noise = words.noise_distribution(np.arange(7))
    pairs = np.array([[0, 1], [3, 2], [0, 6], [3, 3], [5, 1]])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = [-np.log(sigmoid(outputs[t] @ inputs[r] + bias[t]))
                - 5 * sum(noise[n] * np.log(sigmoid(-(outputs[n] @ inputs[r] + bias[n]))) for n in range(7) if n != t) for r, t in pairs]
    for rows in (512, 2):
        monkeypatch.setattr(words, "ROWS", rows)
        np.testing.assert_allclose(words.pair_losses(inputs, outputs, pairs, noise, 5, bias), expected)


def test_pair_losses_are_the_mean_over_drawn_negatives():
    rng = np.random.default_rng(1)
    inputs, outputs = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    noise = words.noise_distribution(np.array([5, 4, 3, 2, 1]))
    drawn = rng.choice(5, (200000, 2), p=noise)
    against = torch.nn.functional.logsigmoid(-(torch.tensor(outputs)[drawn] @ torch.tensor(inputs[2]))) * torch.tensor(drawn != 1)
    sampled = -torch.nn.functional.logsigmoid(torch.tensor(outputs[1] @ inputs[2])) - against.sum(1).mean()
    assert words.pair_losses(inputs, outputs, np.array([[2, 1]]), noise, 2)[0] == pytest.approx(float(sampled), rel=5e-3)


def test_the_unigram_bias_is_the_best_of_all_biases():
    rng = np.random.default_rng(2)
    counts = np.array([50, 30, 15, 5])
    noise = words.noise_distribution(counts)
    pairs = np.stack([rng.integers(0, 4, 4000), np.repeat(np.arange(4), counts * 40)], 1)  # contexts exactly as frequent as in training
    blank = np.zeros((4, 1))
    best = words.unigram_bias(counts, noise, 5)
    loss = words.pair_losses(blank, blank, pairs, noise, 5, best).mean()
    for _ in range(30):
        assert words.pair_losses(blank, blank, pairs, noise, 5, best + rng.normal(0, 0.2, 4)).mean() > loss


def test_loss_by_frequency_buckets():
    rows = words.by_frequency(np.array([1.0, 3.0, 5.0]), np.array([1.0, 3.0, 1.0]), np.array([0, 1, 1]), np.array([4, 2000]))
    assert rows == [("1-9", 1, 1.0), ("1000 or more", 2, 3.5)]


def test_nearest_equals_the_sorted_cosines():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(20, 4))
    ids, cosines = words.nearest(vectors, np.array([3, 7]), 4)
    for row, near, values in zip((3, 7), ids, cosines, strict=True):
        cosine = [vectors[i] @ vectors[row] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[row]) for i in range(20)]
        cosine[row] = float("-inf")
        order = sorted(range(20), key=lambda i: -cosine[i])[:4]
        assert near.tolist() == order
        np.testing.assert_allclose(values, [cosine[i] for i in order])


class LinearGaussian:
    """x = z + noise, z ~ N(0, 1), noise variance s: log p(x) = N(x; 0, 1 + s). q is deliberately too wide."""

    s, wide = 0.5, 2.0

    def log_likelihood(self, x, k, generator):
        mean, scale = x[:, :1] / (1 + self.s), self.wide * (self.s / (1 + self.s)) ** 0.5
        z = mean + scale * torch.randn(len(x), k, generator=generator)
        normal = torch.distributions.Normal
        weight = normal(z, self.s**0.5).log_prob(x[:, :1]) + normal(0.0, 1.0).log_prob(z) - normal(mean, scale).log_prob(z)
        return torch.logsumexp(weight, 1) - np.log(k)

    def reconstruct(self, x):
        return x + 0.5


def test_importance_bounds_tighten_towards_the_known_log_likelihood(monkeypatch):
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)) * 1.2
    exact = -torch.distributions.Normal(0.0, 1.5**0.5).log_prob(x[:, 0]).mean()
    model = LinearGaussian()
    one, ten, many = (float(generative.importance_bound(model, x, k, seed=0).mean()) for k in (1, 10, 2000))
    assert one > ten > many and many == pytest.approx(float(exact), abs=0.01)
    whole = generative.importance_bound(model, x[:10], 2000, seed=1)
    monkeypatch.setattr(generative, "DRAWS", 64)  # forces pieces of rows and of draws
    torch.testing.assert_close(generative.importance_bound(model, x[:10], 2000, seed=1), whole, atol=0.15, rtol=0)


def test_pieces_of_draws_join_to_the_bound_of_all(monkeypatch):
    class Fixed:
        """Weights 1, 2, 3, ... in the order they are asked for."""
        seen = 0

        def log_likelihood(self, x, k, generator):
            weights = torch.arange(self.seen + 1, self.seen + k + 1, dtype=torch.float64)
            self.seen += k
            return weights.mean().log().expand(len(x))

    monkeypatch.setattr(generative, "DRAWS", 3)
    assert float(generative.importance_bound(Fixed(), torch.zeros(1, 1), 10, 0)) == pytest.approx(-np.log(5.5))


def test_reconstruction_error_is_per_pixel():
    assert generative.reconstruction_error(LinearGaussian(), torch.zeros(1000, 1, 4, 4)) == pytest.approx(0.25)
