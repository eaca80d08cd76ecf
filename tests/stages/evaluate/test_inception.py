"""fid_inception: the network's shapes and pools by value, the user's file checked, the metric beside an independent Frechet distance."""

import json
from hashlib import sha256

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.torch import save_file

from stages.evaluate.__main__ import evaluate
from stages.evaluate.inception import Block, Inception, inception_features, read_inception
from stages.evaluate.kinds import images, two_domains
from stages.evaluate.kinds.base import Setting
from stages.evaluate.settings import EvaluateSettings
from stages.models import gan
from stages.prepared import Prepared
from stages.settings import InputError


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = Inception()
    for layer in made.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return made.eval()


@pytest.fixture(scope="module")
def weights(net, tmp_path_factory):
    """A file as the port has it: with the classifier, whose 1,008 outputs the features do not need."""
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file({**net.state_dict(), "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path, sha256(path.read_bytes()).hexdigest()


def test_the_network_is_inception_v3_without_its_classifier(net):
    """23,834,568 parameters are counted of Inception v3 with 1,000 classes and no auxiliary head, 2,049,000 of them in its last layer."""
    assert sum(p.numel() for p in net.parameters()) == 23_834_568 - (2048 * 1000 + 1000)
    sizes = {}
    hooks = [layer.register_forward_hook(lambda _, __, out, name=name: sizes.update({name: tuple(out.shape[1:])}))
             for name, layer in net.named_children()]
    with torch.no_grad():
        assert net.features(torch.rand(1, 1, 28, 28)).shape == (1, 2048)
    for hook in hooks:
        hook.remove()
    assert sizes == {"Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
                     "Conv2d_3b_1x1": (80, 73, 73), "Conv2d_4a_3x3": (192, 71, 71), "Mixed_5b": (256, 35, 35), "Mixed_5c": (288, 35, 35),
                     "Mixed_5d": (288, 35, 35), "Mixed_6a": (768, 17, 17), "Mixed_6b": (768, 17, 17), "Mixed_6c": (768, 17, 17),
                     "Mixed_6d": (768, 17, 17), "Mixed_6e": (768, 17, 17), "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8),
                     "Mixed_7c": (2048, 8, 8)}


def test_averages_leave_the_border_out_and_the_last_block_takes_the_maximum(net):
    """Of a flat image every average is the image, at the border too; of one bright place the maximum is a square of it."""
    flat = torch.ones(1, 1, 5, 5)
    assert torch.allclose(Block({}, [["average"]])(flat), flat)
    point = torch.zeros(1, 1, 5, 5)
    point[..., 2, 2] = 9
    assert Block({}, [["largest"]])(point).sum() == 81 and Block({}, [["average"]])(point).amax() == 1
    pools = {name: [path[0] for path in layer.paths if path[-1] == "branch_pool"] for name, layer in net.named_children()
             if name.startswith("Mixed")}
    assert {name for name, found in pools.items() if found == ["largest"]} == {"Mixed_7c"}
    assert {name for name, found in pools.items() if found == []} == {"Mixed_6a", "Mixed_7a"}


def test_grey_images_are_seen_as_three_equal_channels_and_the_file_gives_the_features_it_was_made_of(net, weights):
    read, said = read_inception(*weights)
    grey = torch.rand(3, 1, 8, 8)
    seen = inception_features(read, grey)
    assert said == weights[1] and seen.std(0).max() > 0
    assert np.allclose(seen, inception_features(net, grey.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-5)
    with pytest.raises(InputError, match="evaluate.inception: images of 2 channels, but Inception sees 1 or 3"):
        inception_features(read, torch.rand(1, 2, 8, 8))


def test_another_file_is_refused_in_one_line(weights, tmp_path):
    path, known = weights
    with pytest.raises(InputError, match=r"evaluate.inception: .*nothing.safetensors is no file; give the weights"):
        read_inception(tmp_path / "nothing.safetensors", known)
    with pytest.raises(InputError, match=f"evaluate.inception_sha256 is missing, but the sha256 of .* is {known}; write that"):
        read_inception(path, "")
    with pytest.raises(InputError, match=f"evaluate.inception_sha256 is {'0' * 64}, but the sha256 of .* is {known}"):
        read_inception(path, "0" * 64)
    pickle, other = tmp_path / "weights.pth", tmp_path / "other.safetensors"
    torch.save({"a": torch.zeros(1)}, pickle)
    with pytest.raises(InputError, match="weights.pth: not a safetensors file"):
        read_inception(pickle, sha256(pickle.read_bytes()).hexdigest())
    save_file({"Mixed_7c.branch1x1.conv.weight": torch.zeros(320, 2048, 3, 3)}, other)
    with pytest.raises(InputError, match="other.safetensors: .* tensors are not those of Inception v3, the first is 'Conv2d_1a_3x3.bn.bi"):
        read_inception(other, sha256(other.read_bytes()).hexdigest())


def grey_digits(folder, **meta):
    rng = np.random.default_rng(0)
    folder.mkdir()
    sides = ("source", "target") if meta else ("images",)
    for split, n in (("train", 12), ("valid", 4), ("test", 12)):
        labels = np.arange(n).astype(np.int32) % 2
        for side in sides:
            np.save(folder / f"{split}.{side}.npy", rng.integers(0, 256, (n, 8, 8, 1), np.uint8))
        np.save(folder / f"{split}.labels.npy", labels)
        if meta:
            np.save(folder / f"{split}.target_labels.npy", labels)
            np.save(folder / f"{split}.groups.npy", np.arange(n))
    (folder / "labels.json").write_text(json.dumps(["a", "b"]))
    (folder / "meta.json").write_text(json.dumps({"dataset": "it", "hash": "0", "domain": "images", "kind": "images", "shape": [8, 8, 1],
                                                  "classes": 2, "images": {"train": 12}, **meta}))
    return Prepared(folder)


def by_scipy(a, b):
    a, b = (rows - 0.0 for rows in (a, b))
    product = scipy.linalg.sqrtm(np.cov(a.T, ddof=1) @ np.cov(b.T, ddof=1)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T, ddof=1) + np.cov(b.T, ddof=1) - 2 * product)


class Few(torch.nn.Module):
    """An Inception of six features, so that scipy's root of their covariance is exact."""

    def features(self, x):
        return x.flatten(1)[:, :48:8].float()


def test_samples_of_images_are_measured_beside_their_floor(tmp_path):
    data = grey_digits(tmp_path / "data")
    model = gan.Model(gan.Config(latent=4, hidden=(16,)), data.meta).eval()
    evaluation = images.Evaluation(Setting(data, {}, EvaluateSettings(samples=12), None, Few()))
    with torch.no_grad():
        made, found = evaluation.samples(model, 5), evaluation.measure(model, 5)
        beside = evaluation.baselines(model, lambda seed: model)
    real = Few().features(evaluation.x["test"]).double().numpy()
    assert found["fid_inception"] == pytest.approx(by_scipy(real, Few().features(made).double().numpy()), rel=1e-6)
    train = Few().features(evaluation.x["train"]).double().numpy()
    assert beside["floor"]["fid_inception"] == pytest.approx(by_scipy(real, train), rel=1e-6)
    assert "fid" not in found and "fid_inception" in beside["gaussian"]


def test_translations_are_measured_in_both_directions(tmp_path):
    data = grey_digits(tmp_path / "data", kind="two_domains", source_shape=[8, 8, 1], task="domains", truth=False, paired=False)

    class Swap(torch.nn.Module):
        def translate(self, x):
            return 1 - x
        translate_back = translate
    evaluation = two_domains.Evaluation(Setting(data, {}, EvaluateSettings(), None, Few()))
    with torch.no_grad():
        found, beside = evaluation.measure(Swap(), 0), evaluation.baselines(Swap(), None)
    seen = {name: Few().features(x).double().numpy() for name, x in (("x", evaluation.x), ("y", evaluation.y), ("-x", 1 - evaluation.x),
                                                                       ("-y", 1 - evaluation.y))}
    assert found["fid_inception"] == pytest.approx(by_scipy(seen["y"], seen["-x"]), rel=1e-6)
    assert found["fid_inception_back"] == pytest.approx(by_scipy(seen["x"], seen["-y"]), rel=1e-6)
    assert {"fid_inception", "fid_inception_back"} <= {*beside["floor"]} and "fid" not in beside["floor"]


def test_the_metrics_file_names_the_weights(weights, tmp_path, monkeypatch):
    data = grey_digits(tmp_path / "data")
    folder = tmp_path / "run"
    (folder / "0").mkdir(parents=True)
    model = gan.Model(gan.Config(latent=4, hidden=(16,)), data.meta)
    save_file(model.state_dict(), folder / "0" / "weights.safetensors")
    run = {"run": "run", "family": "gan", "dataset": "it", "domain": "images", "seeds": [0], "model": {"latent": 4, "hidden": [16]},
           "train": {}, "parameters": 7, "reproducible": True}
    (folder / "run.json").write_text(json.dumps(run))
    said = read_inception(*weights)[1]
    monkeypatch.setattr("stages.evaluate.__main__.read_inception", lambda path, known: (Few(), said))
    with torch.no_grad():
        settings = EvaluateSettings(samples=12, inception=str(weights[0]), inception_sha256=weights[1])
        metrics, _ = evaluate("run", folder, data, None, settings)
    assert metrics["inception"] == weights[1] and metrics["fid_inception"]["n"] == 1
