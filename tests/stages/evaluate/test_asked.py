"""Generators that can be asked for a class or a category, codes that find clusters, reconstructions that keep a class: known answers."""

import numpy as np
import pytest
import torch

from stages.evaluate import generative
from stages.evaluate.gallery import Gallery
from stages.evaluate.kinds import images
from stages.evaluate.kinds.base import Setting
from stages.evaluate.settings import EvaluateSettings
from stages.models.base import image_tensor
from stages.prepared import Prepared
from tests.stages.evaluate.test_evaluate_runs import digits


class Net(torch.nn.Module):
    """Knows every image by heart: the class is that of the nearest one."""

    def __init__(self, data):
        super().__init__()
        self.x = torch.cat([image_tensor(data[f"{s}.images"]) for s in ("train", "test")]).flatten(1)
        self.y = torch.cat([torch.from_numpy(np.array(data[f"{s}.labels"])).long() for s in ("train", "test")])

    def features(self, x):
        return x.flatten(1)[:, 10:20]

    def logits(self, x):
        return torch.nn.functional.one_hot(self.y[torch.cdist(x.flatten(1), self.x).argmin(1)], 10).float() * 9


class Asked:
    """Draws known images: of the class asked for, or, `heeds` false, of the next one; category k stands for class (k + 3) mod 10."""

    def __init__(self, net, kind, heeds=True):
        self.net, self.kind, self.heeds, self.sample_of = net, kind, heeds, (kind, 10)

    def sample(self, n, generator, of=None):
        of = torch.arange(n) % 10 if of is None else of
        classes = (of + (3 if self.kind == "code" else 0) + (0 if self.heeds else 1)) % 10
        first = torch.stack([torch.nonzero(self.net.y == k)[0, 0] for k in range(10)])
        return self.net.x[first[classes]].view(-1, 1, 8, 8)

    raw_sample = sample

    def clusters(self, x):
        return torch.roll(self.net.logits(x), -3, 1)


@pytest.fixture
def evaluation(tmp_path):
    data = Prepared(digits(tmp_path / "data"))
    return images.Evaluation(Setting(data, {}, EvaluateSettings(samples=200, few=1), Net(data)))


def test_samples_of_the_class_asked_for_score_one_and_of_another_none(evaluation):
    assert evaluation.measure(Asked(evaluation.net, "class"), 0)["class_accuracy"] == 1.0
    assert evaluation.measure(Asked(evaluation.net, "class", heeds=False), 0)["class_accuracy"] == 0.0


def test_a_code_that_is_the_class_in_other_words_scores_one(evaluation):
    found = evaluation.measure(Asked(evaluation.net, "code"), 0)
    assert [found[k] for k in ("hungarian_accuracy", "nmi", "ari", "code_accuracy")] == pytest.approx([1.0] * 4)
    off = evaluation.measure(Asked(evaluation.net, "code", heeds=False), 0)
    assert off["hungarian_accuracy"] == 1.0 and off["code_accuracy"] == 0.0  # the head is right, the samples are not


def test_clusters_of_the_head_and_of_k_means_on_the_codes_keep_apart(evaluation):
    class Encoder(Asked):
        def encode(self, x):
            return torch.cat([x.flatten(1)[:, :1] * 0 + 1, x.flatten(1)[:, 20:22]], 1)

    found, alone = (evaluation.measure(Encoder(evaluation.net, kind), 0) for kind in ("code", "class"))
    assert found["hungarian_accuracy"] == 1.0 and found["hungarian_accuracy_kmeans"] == alone["hungarian_accuracy"] < 0.6
    assert found["nmi_kmeans"] == alone["nmi"] and "hungarian_accuracy_kmeans" not in alone


def test_raw_weights_are_measured_by_the_same_distance(evaluation):
    found = evaluation.measure(Asked(evaluation.net, "class"), 0)
    assert found["fid_raw"] == pytest.approx(found["fid"])


def test_reconstructions_by_value(evaluation):
    class Model:
        def __init__(self, restored):
            self.reconstruct = restored

        def encode(self, x):
            return x.flatten(1)[:, :5]
    exact = evaluation.measure(Model(lambda x: x), 0)
    assert exact["reconstruction_ratio"] == 0.0 and exact["reconstruction_accuracy"] == 1.0 and exact["fid_reconstruction"] < 1e-6
    mean = evaluation.x["train"].mean(0, keepdim=True)
    nothing = evaluation.measure(Model(lambda x: mean.expand_as(x)), 0)
    assert nothing["reconstruction_ratio"] == pytest.approx(1.0, rel=1e-5) and nothing["reconstruction_accuracy"] < 0.3
    made, x, train = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([[0.0, 0.0], [2.0, 2.0]])
    assert generative.reconstruction_ratio(made, x, train) == pytest.approx(5 / 2)


def test_baselines_stand_beside_every_number(evaluation):
    class Full(Asked):
        def encode(self, x):
            return x.flatten(1)[:, :4]

        def reconstruct(self, x):
            return x
    found = evaluation.baselines(Full(evaluation.net, "code"), lambda seed: Full(evaluation.net, "code"))
    assert found["supervised"] == {"code_accuracy": 1.0, "hungarian_accuracy": 1.0, "probe_accuracy": 1.0, "reconstruction_accuracy": 1.0}
    assert found["pca"]["hungarian_accuracy"] > 0.4 and found["untrained"]["hungarian_accuracy"] < 0.4, "k-means on other codes"
    assert 0 < found["pca"]["reconstruction_ratio"] < 1 and found["pca"]["reconstruction_accuracy"] < 1
    mse = found["pca"]["reconstruction_mse"] / np.square(evaluation.flat["test"] - evaluation.flat["train"].mean(0)).mean()
    assert found["pca"]["reconstruction_ratio"] == pytest.approx(mse, rel=0.05)  # that is cut to [0, 1]
    assert evaluation.baselines(Asked(evaluation.net, "code"), None)["kmeans"] == found["kmeans"]


def test_what_was_asked_for_is_shown(evaluation):
    for kind, tables in (("class", set()), ("code", {"Categories that the head finds, against classes"})):
        gallery = Gallery()
        evaluation.exhibit(Asked(evaluation.net, kind), gallery, 0)
        assert "asked.png" in {p["file"] for p in gallery.details["pictures"]}
        assert tables == {t["title"] for t in gallery.details["tables"]} - {"Classes of the samples"}
    (table,) = [t for t in gallery.details["tables"] if t["title"].startswith("Categories")]
    assert all(int(row[0]) == i and np.argmax(row[1:]) == (i + 3) % 10 for i, row in enumerate(table["rows"]))
