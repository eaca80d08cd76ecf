"""Translations that are known: the truth scores best, a permutation of labels is matched, chance is chance, tiles have no seams."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import laplace
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from stages.command import command
from stages.evaluate import __main__ as stage
from stages.evaluate import pictures, tiles, translate
from stages.evaluate.gallery import Gallery
from stages.evaluate.kinds import two_domains
from stages.evaluate.kinds.base import Setting
from stages.evaluate.settings import EvaluateSettings
from stages.files import read_json, write_json
from stages.models import cyclegan, pix2pix, super_resolution
from stages.prepared import Prepared
from stages.runs import save_tensors
from stages.settings import InputError, configure


class Reader(torch.nn.Module):
    """A feature net that reads the label written into the first pixel."""

    def features(self, x):
        return torch.cat([x.flatten(1), x.flatten(1).square()], 1)

    def logits(self, x):
        return -(x[:, 0, 0, 0, None] * 10 - torch.arange(5)).abs()


class Fixed(torch.nn.Module):
    def __init__(self, there, back):
        super().__init__()
        self.translate, self.translate_back = there, back


@pytest.fixture
def inverted(tmp_path):
    """Five labels, written into the first pixel; the target is the inverted source, and the truth is known in test."""
    rng = np.random.default_rng(0)
    for s, n in (("train", 60), ("valid", 20), ("test", 50)):
        labels = np.arange(n, dtype=np.int32) % 5
        source = rng.integers(0, 256, (n, 8, 8, 1), np.uint8)
        source[:, 0, 0, 0] = np.rint(labels * 25.5)
        for name, values in (("source", source), ("target", 255 - source), ("labels", labels), ("target_labels", labels),
                             ("groups", np.arange(n, dtype=np.int32))):
            np.save(tmp_path / f"{s}.{name}.npy", values)
    meta = {"dataset": "it", "domain": "images", "kind": "two_domains", "shape": [8, 8, 1], "source_shape": [8, 8, 1], "classes": 5,
            "task": "change", "paired": False, "truth": True, "hash": "0", "images": {"train": 60, "valid": 20, "test": 50}}
    write_json(tmp_path / "meta.json", meta)
    write_json(tmp_path / "labels.json", list("abcde"))
    return two_domains.Evaluation(Setting(Prepared(tmp_path), {}, EvaluateSettings(), Reader()))


def test_the_truth_scores_best(inverted):
    invert = lambda x: 1 - x  # noqa: E731
    found = inverted.measure(Fixed(invert, invert), 0)
    assert found["psnr_y"] == pytest.approx(100, abs=1) and found["l1"] < 1e-6 and found["cycle_error"] < 1e-6
    assert found["fid"] < 1e-6 and found["label_kept"] == 1 and found["ssim_y_back"] == pytest.approx(1)
    assert found["identity_error"] > 0.3  # it inverts what is inverted already
    nothing = inverted.measure(Fixed(lambda x: x, lambda x: x), 0)
    assert nothing["cycle_error"] == 0 and nothing["identity_error"] == 0 and nothing["l1"] > 0.3 and nothing["label_kept"] < 0.5


@pytest.fixture
def photographs(tmp_path):
    """Patches of two pictures, 12 x 12 in colour; the target is the source a little darker."""
    rng = np.random.default_rng(1)
    for s, n in (("train", 8), ("valid", 8), ("test", 30)):
        source = rng.integers(40, 256, (n, 12, 12, 3), np.uint8)
        for name, values in (("source", source), ("target", source - 20), ("labels", np.full(n, -1, np.int32)),
                             ("target_labels", np.full(n, -1, np.int32)), ("groups", np.arange(n, dtype=np.int32) % 2)):
            np.save(tmp_path / f"{s}.{name}.npy", values)
    write_json(tmp_path / "meta.json", {"dataset": "it", "domain": "images", "kind": "two_domains", "shape": [12, 12, 3], "classes": 0,
                                        "source_shape": [12, 12, 3], "task": "change", "paired": False, "truth": True, "hash": "0",
                                        "images": {"train": 8, "valid": 8, "test": 30}, "groups": {"train": 2, "valid": 2, "test": 2}})
    write_json(tmp_path / "labels.json", [])
    return two_domains.Evaluation(Setting(Prepared(tmp_path), {}, EvaluateSettings(), Means()))


class Means(torch.nn.Module):
    def features(self, x):
        return x.mean((2, 3))


def slow_frechet(a, b):
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


def test_every_figure_of_both_directions_by_other_code(photographs, tmp_path):
    x, y = (np.load(tmp_path / f"test.{n}.npy") / 255 for n in ("source", "target"))
    there = lambda v: (0.9 * v + torch.tensor([0.0, 0.02, 0.05])[:, None, None]).clamp(0, 1)  # noqa: E731
    back = lambda v: (v.square() + 0.05).clamp(0, 1)  # noqa: E731
    found = photographs.measure(Fixed(there, back), 0)
    g = lambda v: np.clip(0.9 * v + [0.0, 0.02, 0.05], 0, 1)  # noqa: E731
    f = lambda v: np.clip(v**2 + 0.05, 0, 1)  # noqa: E731
    groups = np.arange(30) % 2
    of_pictures = [peak_signal_noise_ratio(y[groups == k], g(x)[groups == k], data_range=1.0) for k in (0, 1)]
    shifts = [np.linalg.norm((rgb2lab(a) - rgb2lab(b)).mean((1, 2)), axis=1).mean() for a, b in ((y, g(y)), (x, f(x)))]
    levels = [wasserstein_distance(rgb2lab(a)[..., c].ravel(), rgb2lab(b)[..., c].ravel())
              for a, b in ((y, g(y)), (x, f(x))) for c in range(3)]
    sharp = np.mean([np.var(np.stack([laplace(i[..., c])[1:-1, 1:-1] for c in range(3)])) for i in g(x)])
    ssim = np.mean([structural_similarity(a, b, channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                          use_sample_covariance=False) for a, b in zip(y, g(x), strict=True)])
    means = lambda v: v.mean((1, 2))  # noqa: E731
    expected = {"l1": np.abs(g(x) - y).mean(), "l1_back": np.abs(f(y) - x).mean(), "psnr_rgb": np.mean(of_pictures), "ssim_rgb": ssim,
                "discolouration": np.linalg.norm((rgb2lab(y) - rgb2lab(g(x))).mean((1, 2)), axis=1).mean(),
                "fid": slow_frechet(means(y), means(g(x))), "fid_back": slow_frechet(means(x), means(f(y))), "sharpness": sharp,
                "cycle_error": np.abs(f(g(x)) - x).mean(), "cycle_error_back": np.abs(g(f(y)) - y).mean(),
                "identity_error": (np.abs(g(y) - y).mean() + np.abs(f(x) - x).mean()) / 2,
                "colour_shift": np.mean(shifts), "colour_histogram": np.mean(levels)}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=2e-3)
    assert set(found) - set(expected) == {"psnr_y", "ssim_y", "psnr_y_back", "ssim_y_back"}


def test_of_patches_the_floor_is_one_half_against_the_other(photographs, tmp_path):
    found = photographs.baselines(Fixed(lambda x: x, lambda x: x), None)
    x = np.load(tmp_path / "test.source.npy").mean((1, 2)) / 255
    order = np.random.default_rng(0).permutation(30)
    assert found["floor"]["fid_back"] == pytest.approx(slow_frechet(x[order[:15]], x[order[15:]]), rel=1e-3)
    assert found["unchanged"]["l1_back"] == pytest.approx(20 / 255) and found["unchanged"]["fid_back"] > 0
    photographs.groups = np.arange(30)  # no patches: then the training images
    train = np.load(tmp_path / "train.source.npy").mean((1, 2)) / 255
    found = photographs.baselines(Fixed(lambda x: x, lambda x: x), None)
    assert found["floor"]["fid_back"] == pytest.approx(slow_frechet(x, train), rel=1e-3)


def test_a_permutation_of_labels_is_matched_and_chance_is_low(inverted):
    def back(y):
        x = 1 - y
        label = (x[:, 0, 0, 0] * 10).round()
        x[:, 0, 0, 0] = (label + 1) % 5 / 10
        return x

    found = inverted.measure(Fixed(lambda x: 1 - x, back), 0)
    assert found["label_kept"] == 0 and found["label_kept_matched"] == 1 and inverted.headline(found) == "label_kept_matched"
    baselines = inverted.baselines(Fixed(lambda x: 1 - x, back), None)
    assert baselines["chance"]["label_kept"] == pytest.approx(0.2, abs=0.06) == baselines["chance"]["label_kept_matched"]
    assert baselines["floor"]["label_kept"] == 1 and baselines["unchanged"]["l1"] > 0.3
    test = inverted.y.clone()

    def swapped(y):  # of the training images' classes alone
        return 1 - y if len(y) == len(test) and torch.equal(y, test) else back(y)

    found = inverted.measure(Fixed(lambda x: 1 - x, swapped), 0)
    assert found["label_kept"] == 1 and found["label_kept_matched"] == 0, "labels are matched on the training images"


def test_the_match_is_the_best_of_all_permutations():
    from itertools import permutations

    rng = np.random.default_rng(0)
    read, labels = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    best = max(np.mean(np.array(p)[read] == labels) for p in permutations(range(4)))
    matched = two_domains.best_match(read, labels, 4)
    assert two_domains.kept(read, labels, matched)["label_kept_matched"] == pytest.approx(best)
    assert two_domains.kept(np.array([1, 2, 3, 0]), np.arange(4), np.arange(4))["label_kept_matched"] == 0, "the match is of other images"


def test_squares_tile_an_image():
    images = torch.arange(2 * 3 * 64 * 96.0).view(2, 3, 64, 96)
    cut = two_domains.squares(images)
    assert cut.shape == (12, 3, 32, 32) and torch.equal(cut[4], images[0, :, 32:, 32:64]) and two_domains.squares(cut) is cut


def meta(source, target, task="pairs"):
    return {"kind": "two_domains", "domain": "images", "dataset": "it", "source_shape": list(source), "shape": list(target), "classes": 0,
            "paired": True, "truth": True, "task": task, "hash": "0"}


def networks():
    torch.manual_seed(0)
    small = {"channels": 6, "batch_norm": True}
    made = [super_resolution.Model(configure(super_resolution.Config, {**small, "blocks": 2}, ""), meta((8, 8, 3), (32, 32, 3))),
            pix2pix.Model(configure(pix2pix.Config, {**small, "halvings": 3}, ""), meta((32, 32, 3), (32, 32, 3))),
            cyclegan.Model(configure(cyclegan.Config, {**small, "blocks": 2, "halvings": 2}, ""), meta((32, 32, 3), (32, 32, 3))),
            cyclegan.Model(configure(cyclegan.Config, {**small, "blocks": 2, "start": "identity"}, ""), meta((32, 32, 3), (32, 32, 3)))]
    with torch.no_grad():
        made[-1].generator_average.net[-1].weight.mul_(100)  # what is added is little at first
    for model in made:
        for module in model.modules():  # normalisation that has seen data, weights that let far pixels matter
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.02, 0.1)
        model.eval()
    return made


@pytest.mark.parametrize("model", networks(), ids=["super_resolution", "pix2pix", "cyclegan", "cyclegan-added"])
@torch.no_grad()
def test_tiles_have_no_seams(model):
    image = np.random.default_rng(0).integers(0, 256, (107, 150, 3), np.uint8)
    whole = tiles.whole(model.translate, image, model.multiple)
    tiled = np.concatenate(list(tiles.bands(model.translate, image, model.halo, model.multiple, tile=48)))
    assert tiled.shape == whole.shape and np.abs(tiled.astype(int) - whole).max() <= 1
    without = np.concatenate(list(tiles.bands(model.translate, image, 0, model.multiple, tile=48)))
    assert np.abs(without.astype(int) - whole).max() > 1, "the test must be able to see a seam"


def test_a_png_written_in_bands_is_what_another_reader_sees(tmp_path):
    for channels in (1, 3):
        image = np.random.default_rng(0).integers(0, 256, (37, 20, channels), np.uint8)
        translate.write_png(tmp_path / "a.png", (image[i : i + 10] for i in range(0, 37, 10)), image.shape)
        assert (np.asarray(Image.open(tmp_path / "a.png")).reshape(image.shape) == image).all()


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run `it` on disk that enlarges twice, in the working directory."""
    monkeypatch.chdir(tmp_path)
    about = meta((8, 8, 3), (16, 16, 3))
    write_json(tmp_path / "data/prepared/it/meta.json", about)
    torch.manual_seed(0)
    config = {"channels": 4, "blocks": 0}
    model = super_resolution.Model(configure(super_resolution.Config, config, ""), about)
    (tmp_path / "data/models/it/0").mkdir(parents=True)
    save_tensors(tmp_path / "data/models/it/0/weights.safetensors", model.state_dict())
    write_json(tmp_path / "data/models/it/run.json", {"family": "super_resolution", "model": config, "seeds": [0]})
    (tmp_path / "params.yaml").write_text(
        "split: {salt: s}\nvalidate: {}\ntrain: {}\nclaims: {}\ncompare: {}\n"
        "datasets: {it: {domain: images, source: builtin, name: digits, options: {}, validate: {}, prepare: {}}}\n"
        "runs: {it: {family: super_resolution, dataset: it, features: none, seeds: [0], model: {}, train: {}, evaluate: {}}}\n")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate", "translate", "it", *map(str, arguments)])
        try:
            command(stage.main)
        except SystemExit as end:
            return end.code
        return 0

    return call


def test_a_folder_is_translated_and_what_cannot_be_read_is_told(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, shape in {"in/a.png": (9, 5, 3), "in/deep/b.jpg": (4, 6), "in/a.jpg": (3, 3, 3)}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / name)
    (tmp_path / "in/broken.png").write_bytes(b"no picture")
    for name in ("in/deep/c.heic", "in/notes"):
        (tmp_path / name).write_text("no picture that is known")
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "in/clear.png")
    assert trained("in", "out") == 1
    made = {p.relative_to(tmp_path / "out").as_posix(): Image.open(p).size for p in (tmp_path / "out").rglob("*.*")}
    assert made == {"a.png": (6, 6), "a.png.png": (10, 18), "deep/b.png": (12, 8)}  # a.jpg came first
    said = capsys.readouterr()
    assert "3 of 5 pictures translated by it; not read: 2 other files (.heic, none)" in said.out
    assert "broken.png: a corrupt picture" in said.err and "clear.png: has transparent pixels" in said.err and "Traceback" not in said.err


def test_the_way_back_is_that_of_the_other_generator(trained, tmp_path, capsys):
    about, config = meta((8, 8, 3), (8, 8, 3)), {"channels": 4, "blocks": 1, "halvings": 0}
    write_json(tmp_path / "data/prepared/it/meta.json", about)
    (tmp_path / "params.yaml").write_text((tmp_path / "params.yaml").read_text().replace("super_resolution", "cyclegan"))
    write_json(tmp_path / "data/models/it/run.json", {"family": "cyclegan", "model": config, "seeds": [0]})
    torch.manual_seed(1)
    model = cyclegan.Model(configure(cyclegan.Config, config, ""), about).eval()
    save_tensors(tmp_path / "data/models/it/0/weights.safetensors", {k: v.contiguous() for k, v in model.state_dict().items()})
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    x, made = torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0, {}
    for name, way, words in (("to", model.translate, ()), ("back", model.translate_back, ("--back",))):
        assert trained("a.png", f"{name}.png", *words) == 0
        made[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
        with torch.no_grad():
            wanted = way(x)[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(made[name] - wanted).max() < 1.01
    assert np.abs(made["to"] - made["back"]).max() > 5, "the test must be able to see the other generator"


def test_on_a_terminal_progress_is_told_and_ends_at_the_whole(trained, tmp_path, capsys, monkeypatch):
    Image.fromarray(np.zeros((600, 4, 3), np.uint8)).save(tmp_path / "a.png")  # several bands of tiles
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert trained("a.png", "b.png") == 0
    told = [int(part.split("%")[0].split()[-1]) for part in capsys.readouterr().err.split("\r") if "%" in part]
    assert told == sorted(told) and told[-1] == 100 and len(told) > 1


@pytest.mark.parametrize(("arguments", "message"), [
    (("none.png", "out.png"), "none.png: no such file or folder"), (("in", "in"), "in: is the folder that is read"),
    (("in/a.png", "out.jpg"), "out.jpg: translations are written as PNG"), (("empty", "out"), "empty: holds no picture"),
    (("in/broken.png", "out.png"), "in/broken.png: a corrupt picture"),
    (("in/a.png", "out.png", "--back"), "family super_resolution has no translate_back")])
def test_wrong_use_is_one_line(trained, tmp_path, capsys, arguments, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "in/a.png")
    (tmp_path / "in/broken.png").write_bytes(b"x")
    assert trained(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out.png").exists()


def test_too_few_images_are_told(inverted, tmp_path):
    np.save(tmp_path / "test.source.npy", np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match="1 and 50 test images of the two domains are too few"):
        two_domains.Evaluation(Setting(Prepared(tmp_path), {}, EvaluateSettings(), None))


def test_without_a_truth_there_is_no_error_but_what_comes_back(inverted, tmp_path):
    for name in ("source", "labels"):
        np.save(tmp_path / f"test.{name}.npy", np.load(tmp_path / f"test.{name}.npy")[:20])  # piles of different sizes
    about = read_json(tmp_path / "meta.json")
    write_json(tmp_path / "meta.json", {**about, "truth": False, "task": "domains"})
    evaluation = two_domains.Evaluation(Setting(Prepared(tmp_path), {}, EvaluateSettings(), Reader()))
    found = evaluation.measure(Fixed(lambda x: 1 - x, lambda x: 1 - x), 0)
    assert not {"l1", "psnr_y", "l1_back", "discolouration"} & set(found) and found["cycle_error_back"] < 1e-6 and found["fid"] > 0
    assert "l1" not in evaluation.baselines(Fixed(lambda x: 1 - x, lambda x: 1 - x), None)["unchanged"]


def test_the_page_shows_source_translation_return_and_truth(inverted):
    gallery = Gallery()
    inverted.exhibit(Fixed(lambda x: 1 - x, lambda x: 1 - x), gallery, 0)
    shown = {name: pixels for name, pixels in gallery.images}
    assert set(shown) == {"translations.png", "back.png"}
    page = shown["translations.png"].astype(int)
    gap = (page == pictures.BORDER).all((1, 2)).argmin()
    row = (len(page) - gap) // 4
    first, second, third, fourth = (page[gap + i * row : (i + 1) * row] for i in range(4))
    assert (first == third).all() and (second == fourth).all() and np.abs(first - second).mean() > 20
    assert [t["title"] for t in gallery.details["tables"]] == ["Labels before and after translation"]
