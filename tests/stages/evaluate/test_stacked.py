"""Stacked digits: a net of one channel asked of three, and the classes that samples meet, by value."""

import numpy as np
import pytest
import torch

from stages.evaluate.distribution import class_modes
from stages.evaluate.stacked import Stacked, of_one_channel
from stages.settings import InputError


class Net(torch.nn.Module):
    """Class k of an image of two classes: the brightness k, with confidence 0.75."""

    def features(self, x):
        return x.flatten(1)[:, :2]

    def logits(self, x):
        bright = x.flatten(1)[:, :1]
        return torch.cat([torch.log(0.25 + 0.5 * (1 - bright)), torch.log(0.25 + 0.5 * bright)], 1)


def test_the_class_of_a_stack_is_that_of_its_channels_and_its_probability_their_product():
    x = torch.zeros(2, 3, 2, 2)
    x[0, 0], x[0, 2], x[1, 1] = 1, 1, 1  # 101 and 010, in binary 5 and 2
    found = Stacked(Net()).logits(x).softmax(1)
    assert found.shape == (2, 8) and found.argmax(1).tolist() == [5, 2]
    assert found[0, 5].item() == pytest.approx(0.75**3) and found[0, 7].item() == pytest.approx(0.75**2 * 0.25)
    assert torch.equal(Stacked(Net()).features(x), x[:, :, 0].flatten(1))
    assert of_one_channel({"shape": [8, 8, 3], "classes": 1000, "stacked": 3, "kind": "images"}) == {
        "shape": [8, 8, 1], "classes": 10, "stacked": 3, "kind": "images"}


def test_modes_and_their_divergence_by_value():
    even = np.arange(8)
    assert class_modes(even, even, 8) == {"modes": 8.0, "mode_kl": 0.0}
    found = class_modes(np.array([0, 0, 0, 3]), even, 8)
    assert found["modes"] == 2.0 and found["mode_kl"] == pytest.approx(0.75 * np.log(0.75 * 8) + 0.25 * np.log(0.25 * 8))
    assert class_modes(np.array([1, 1]), np.array([0, 0, 0]), 2)["mode_kl"] == pytest.approx(np.log(4))  # unknown class: one of 4


def test_a_set_that_lacks_a_combination_is_refused():
    with pytest.raises(InputError, match="997 combinations of classes are no power of 3: some never occur; raise options.stacked"):
        of_one_channel({"shape": [8, 8, 3], "classes": 997, "stacked": 3})
