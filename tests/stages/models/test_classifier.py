"""The feature net: separable classes are learnt, logits are the head of the features, unlabelled data are refused."""

import numpy as np
import pytest
import torch

from stages.models.classifier import Config, Model, _shifted
from stages.settings import InputError
from stages.train.loop import train
from stages.train.settings import TrainSettings

META = {"shape": [8, 8, 1], "classes": 2}


def bars(n, seed):
    """Horizontal (class 0) and vertical (class 1) bars in noise."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 60, (n, 8, 8, 1)), rng.integers(0, 2, n)
    for i, label in enumerate(labels):
        at = rng.integers(1, 7)
        images[i, at if label == 0 else slice(None), slice(None) if label == 0 else at] = 230
    return images.astype(np.uint8), labels.astype(np.int32)


def test_separable_classes_are_learnt_on_images_not_seen():
    data = {}
    for seed, split in enumerate(("train", "valid")):
        data[f"{split}.images"], data[f"{split}.labels"] = bars(256, seed)
    torch.manual_seed(0)
    model = Model(Config(channels=8, features=16), META)
    assert model.eval().validate(data)["accuracy"] < 0.8
    train(model.train(), data, TrainSettings(steps=120, lr=5e-3, batch_size=64), 0, torch.device("cpu"))
    assert model.eval().validate(data)["accuracy"] > 0.97


def test_logits_are_the_head_of_the_features():
    model = Model(Config(channels=8, features=16), META).eval()
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(model.logits(x), model.head(model.features(x))) and (model.features(x) >= 0).all()


def test_shift_moves_the_whole_image_by_at_most_one_pixel():
    x = torch.zeros(1, 1, 5, 5)
    x[..., 2, 2] = 1
    places = {tuple(_shifted(x, 1)[0, 0].nonzero()[0].tolist()) for _ in range(200)}
    assert places == {(a, b) for a in (1, 2, 3) for b in (1, 2, 3)} and _shifted(x, 0) is x


def test_a_dataset_without_classes_is_refused():
    with pytest.raises(InputError, match="needs at least 2 classes, but the dataset has 1"):
        Model(Config(), {**META, "classes": 1})
