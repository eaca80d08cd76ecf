"""fid_inception: the network's shapes and pools by value, the user's file checked, the metric beside an independent Frechet distance."""

import copy
import json
from hashlib import sha256

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from stages.evaluate.__main__ import evaluate
from stages.evaluate.inception import Block, Inception, check_inception, inception_features, inception_of, read_inception
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
    with pytest.raises(InputError, match=f"evaluate.inception_sha256 is {'0' * 64}, but .* has {known}; write that"):
        read_inception(path, "0" * 64)
    pickle, other = tmp_path / "weights.pth", tmp_path / "other.safetensors"
    torch.save({"a": torch.zeros(1)}, pickle)
    with pytest.raises(InputError, match=r"weights.pth is no safetensors file \(.*\); docs/metrics.md says how to make one$"):
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


def test_a_file_goes_with_its_hash_and_with_images():
    with pytest.raises(InputError, match="e.inception_sha256 is missing; write what `sha256sum w.safetensors` says"):
        check_inception(EvaluateSettings(inception="w.safetensors"), "e")
    with pytest.raises(InputError, match="e.inception_sha256 is of no file; name it in e.inception, or leave both out"):
        check_inception(EvaluateSettings(inception_sha256="1"), "e")
    with pytest.raises(InputError, match="evaluate.inception serves images, but the dataset holds graph; leave it out"):
        inception_of(EvaluateSettings(inception="w.safetensors", inception_sha256="1"), "graph")
    assert inception_of(EvaluateSettings(), "graph") == (None, None)


# The network once more, from the tables of the paper and by tensor name, in torch.nn.functional alone.
def convolved(w, name, x, stride=1, padding=(0, 0)):
    x = F.conv2d(x, w[f"{name}.conv.weight"], None, stride, padding)
    kept = [w[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return torch.relu(F.batch_norm(x, *kept, False, 0.0, 1e-3))


def chain(w, block, x, *layers):
    """Layers (name, kernel height, width), padded so that the size stays; of stride 2 without padding where a fourth is given."""
    for name, height, width, *halved in layers:
        assert w[f"{block}.{name}.conv.weight"].shape[2:] == (height, width)
        x = convolved(w, f"{block}.{name}", x, *((2, (0, 0)) if halved else (1, (height // 2, width // 2))))
    return x


def averaged(x):
    ones = torch.ones_like(x[:1, :1])
    box = torch.ones(1, 1, 3, 3)
    total = F.conv2d(x.flatten(0, 1)[:, None], box, padding=1).view(x.shape)
    return total / F.conv2d(ones, box, padding=1)


def by_functions(w, x):
    x = convolved(w, "Conv2d_1a_3x3", 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1, 2)
    x = convolved(w, "Conv2d_2b_3x3", convolved(w, "Conv2d_2a_3x3", x), 1, (1, 1))
    x = F.max_pool2d(convolved(w, "Conv2d_4a_3x3", convolved(w, "Conv2d_3b_1x1", F.max_pool2d(x, 3, 2))), 3, 2)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = torch.cat([chain(w, block, x, ("branch1x1", 1, 1)), chain(w, block, x, ("branch5x5_1", 1, 1), ("branch5x5_2", 5, 5)),
                       chain(w, block, x, ("branch3x3dbl_1", 1, 1), ("branch3x3dbl_2", 3, 3), ("branch3x3dbl_3", 3, 3)),
                       chain(w, block, averaged(x), ("branch_pool", 1, 1))], 1)
    x = torch.cat([chain(w, "Mixed_6a", x, ("branch3x3", 3, 3, 2)),
                   chain(w, "Mixed_6a", x, ("branch3x3dbl_1", 1, 1), ("branch3x3dbl_2", 3, 3), ("branch3x3dbl_3", 3, 3, 2)),
                   F.max_pool2d(x, 3, 2)], 1)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = torch.cat([chain(w, block, x, ("branch1x1", 1, 1)),
                       chain(w, block, x, ("branch7x7_1", 1, 1), ("branch7x7_2", 1, 7), ("branch7x7_3", 7, 1)),
                       chain(w, block, x, ("branch7x7dbl_1", 1, 1), ("branch7x7dbl_2", 7, 1), ("branch7x7dbl_3", 1, 7),
                             ("branch7x7dbl_4", 7, 1), ("branch7x7dbl_5", 1, 7)),
                       chain(w, block, averaged(x), ("branch_pool", 1, 1))], 1)
    x = torch.cat([chain(w, "Mixed_7a", x, ("branch3x3_1", 1, 1), ("branch3x3_2", 3, 3, 2)),
                   chain(w, "Mixed_7a", x, ("branch7x7x3_1", 1, 1), ("branch7x7x3_2", 1, 7), ("branch7x7x3_3", 7, 1),
                         ("branch7x7x3_4", 3, 3, 2)), F.max_pool2d(x, 3, 2)], 1)
    for block in ("Mixed_7b", "Mixed_7c"):
        first = chain(w, block, x, ("branch3x3_1", 1, 1))
        second = chain(w, block, x, ("branch3x3dbl_1", 1, 1), ("branch3x3dbl_2", 3, 3))
        pooled = averaged(x) if block == "Mixed_7b" else F.max_pool2d(x, 3, 1, 1)
        x = torch.cat([chain(w, block, x, ("branch1x1", 1, 1)), chain(w, block, first, ("branch3x3_2a", 1, 3)),
                       chain(w, block, first, ("branch3x3_2b", 3, 1)), chain(w, block, second, ("branch3x3dbl_3a", 1, 3)),
                       chain(w, block, second, ("branch3x3dbl_3b", 3, 1)), chain(w, block, pooled, ("branch_pool", 1, 1))], 1)
    return x.flatten(2).mean(2)


def test_every_layer_by_other_code(net):
    torch.manual_seed(1)
    moved = copy.deepcopy(net)
    for name, buffer in moved.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    x = torch.rand(3, 3, 40, 30)
    with torch.no_grad():
        ours, expected = moved.features(x), by_functions(moved.state_dict(), x)
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-6) and expected.std(0).max() > 1e-3 * expected.mean()


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


def test_translations_are_seen_whole_and_a_side_only_where_it_is_needed(tmp_path):
    data = grey_digits(tmp_path / "data", kind="two_domains", source_shape=[8, 8, 1], task="pairs", truth=True, paired=True)
    seen = []

    class Watching(Few):
        def features(self, x):
            seen.append((x.shape, float(x.mean())))
            return super().features(x)

    class Larger(torch.nn.Module):
        def translate(self, x):
            return F.interpolate(x, scale_factor=8)
    for split in ("train", "valid", "test"):
        np.save(data.folder / f"{split}.target.npy", np.load(data.folder / f"{split}.target.npy").repeat(8, 1).repeat(8, 2))
    evaluation = two_domains.Evaluation(Setting(Prepared(data.folder), {}, EvaluateSettings(), None, Watching()))
    with torch.no_grad():
        assert evaluation.measure(Larger(), 0)["fid_inception"] > 0
    assert [shape for shape, _ in seen] == [(12, 1, 64, 64)] * 2, "the targets and the translations, not in squares, and no source"


def test_the_metrics_file_names_the_weights(weights, tmp_path, monkeypatch):
    data = grey_digits(tmp_path / "data")
    folder = tmp_path / "run"
    (folder / "0").mkdir(parents=True)
    model = gan.Model(gan.Config(latent=4, hidden=(16,)), data.meta)
    save_file(model.state_dict(), folder / "0" / "weights.safetensors")
    run = {"run": "run", "family": "gan", "dataset": "it", "domain": "images", "seeds": [0], "model": {"latent": 4, "hidden": [16]},
           "train": {}, "parameters": 7, "reproducible": True}
    (folder / "run.json").write_text(json.dumps(run))
    monkeypatch.setattr("stages.evaluate.inception.Inception", lambda: Few())
    given = {"fc.unused": torch.zeros(1)}
    few = tmp_path / "few.safetensors"
    save_file(given, few)
    weights = (few, sha256(few.read_bytes()).hexdigest())
    with torch.no_grad():
        settings = EvaluateSettings(samples=12, inception=str(weights[0]), inception_sha256=weights[1])
        metrics, _ = evaluate("run", folder, data, None, settings)
    assert metrics["inception"] == weights[1] and metrics["fid_inception"]["n"] == 1
