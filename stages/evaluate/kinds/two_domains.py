"""Two domains: how near translations come to the truth where it is known, what they keep, what they invent, what they discolour."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from stages.bicubic import resized
from stages.evaluate import distribution, fidelity, pictures
from stages.evaluate.inception import inception_features
from stages.evaluate.kinds.base import Kind, array, need
from stages.models.base import image_tensor
from stages.settings import InputError

ROWS = 256  # images through a net at once
SIDE = 32  # larger images are cut into squares of so many pixels for FID
SHUFFLES = 20  # of the labels, for chance


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        meta = self.data.meta
        self.task, self.truth = meta["task"], meta["truth"]
        self.bytes = self.data[f"{self.split}.source"]
        self.x, self.y = image_tensor(self.bytes), image_tensor(self.data[f"{self.split}.target"])
        self.of_x, self.of_y = (np.array(self.data[f"{self.split}.{n}"]) for n in ("labels", "target_labels"))
        self.groups = np.array(self.data[f"{self.split}.groups"])
        if min(len(self.x), len(self.y)) < 2:
            raise InputError(f"{self.data.folder}: {len(self.x)} and {len(self.y)} {self.split} images of the two domains are too few to "
                             f"measure with; raise split.{self.split}, or give more pictures")
        self.real = {name: self.features(images) for name, images in (("source", self.x), ("target", self.y))}
        self.by_inception: dict[str, np.ndarray] = {}

    def headline(self, metrics):
        order = ("label_kept_matched", *(["psnr_y"] if self.task == "reduce" else []), "psnr_rgb", "psnr_y", "fid", "cycle_error")
        return next(m for m in order if m in metrics)

    def measure(self, model, seed):
        need(model, "two domains", "translate")
        made = through(model.translate, self.x)
        metrics = self.of_translations(made)
        if not hasattr(model, "translate_back"):
            return metrics
        back = through(model.translate_back, self.y)
        metrics |= self.of_returns(back, lambda images: through(model.translate_back, images))
        metrics |= {"cycle_error": distance(through(model.translate_back, made), self.x),
                    "cycle_error_back": distance(through(model.translate, back), self.y)}
        if self.x.shape[1] == self.y.shape[1]:
            metrics |= self.of_identity(through(model.translate, self.y), through(model.translate_back, self.x))
        return metrics

    def of_translations(self, made) -> dict[str, float]:
        """Of translations of the sources, float [n, C, H, W]."""
        metrics = fidelity.likeness(array(made), array(self.y), self.groups) if self.truth else {}
        if self.truth and made.shape[1] == 3:
            metrics["discolouration"] = fidelity.colour_shift(array(self.y), array(made))["colour_shift"]
        if self.real["target"] is not None:
            metrics["fid"] = distribution.frechet_distance(self.real["target"], self.features(made))
        if self.inception is not None:
            real = self.real_inception("target")
            metrics["fid_inception"] = distribution.frechet_distance(real, inception_features(self.inception, made))
        return {**metrics, "sharpness": distribution.sharpness(array(made))}

    def of_returns(self, back, translate) -> dict[str, float]:
        """Of translations of the targets into the source's domain; `translate(images)` makes more of them."""
        metrics = {}
        if self.truth:
            found = fidelity.likeness(array(back), array(self.x), self.groups)
            metrics = {f"{name}_back": found[name] for name in ("l1", "psnr_y", "ssim_y")}
        if self.real["source"] is not None:
            metrics["fid_back"] = distribution.frechet_distance(self.real["source"], self.features(back))
        if self.inception is not None:
            real = self.real_inception("source")
            metrics["fid_inception_back"] = distribution.frechet_distance(real, inception_features(self.inception, back))
        return metrics | self.of_labels(back, "target", translate)

    def of_labels(self, images, side, translate) -> dict[str, float]:
        """Does a classifier of the source read the label that an image of the `side` had before its translation?

        `translate` makes the like of `images` from the training images of that side, on which labels are matched.
        """
        if not self.readable(images, side):
            return {}
        own, known = (self.labels(side, split) for split in (self.split, "train"))
        matched = best_match(self.read(translate(image_tensor(self.data[f"train.{side}"]))), known, self.data.meta["classes"])
        return kept(self.read(images), own, matched)

    def labels(self, side, split):
        return np.array(self.data[f"{split}.{'labels' if side == 'source' else 'target_labels'}"])

    def readable(self, images, side) -> bool:
        """Whether the net tells classes, sees such images, and every image of the side has a label."""
        return (hasattr(self.net, "logits") and all((self.labels(side, split) >= 0).all() for split in (self.split, "train"))
                and self.features(images[:1]) is not None)

    def read(self, images) -> np.ndarray:
        return through(self.net.logits, images).argmax(1).numpy()

    def of_identity(self, made, back) -> dict[str, float]:
        """Of images that are in the domain already, in both directions: a translator should leave them as they are."""
        pairs = ((self.y, made), (self.x, back))
        metrics = {"identity_error": float(np.mean([distance(a, b) for a, b in pairs]))}
        if self.x.shape[1] == 3:
            shifts = [fidelity.colour_shift(array(a), array(b)) for a, b in pairs]
            metrics |= {name: float(np.mean([s[name] for s in shifts])) for name in shifts[0]}
        return metrics

    def baselines(self, model, fresh):
        """bicubic, or the source left as it is; the floor, real images in place of translations; chance."""
        found, both = {}, hasattr(model, "translate_back")
        plain = self.plain()
        name = "bicubic" if plain.shape[2:] != self.x.shape[2:] else "unchanged"
        found[name] = self.of_translations(plain)
        if both and self.x.shape[1:] == self.y.shape[1:]:
            found[name] |= self.of_returns(self.y, lambda images: images)
        floor = {"sharpness": distribution.sharpness(array(self.y))}
        for name, end in (("target", ""), *([("source", "_back")] if both else [])):
            if self.real[name] is not None:
                floor[f"fid{end}"] = self.floor(name, self.real[name], self.features)
            if self.inception is not None:
                floor[f"fid_inception{end}"] = self.floor(name, self.real_inception(name), partial(inception_features, self.inception))
        if both and (labels := self.of_labels(self.x, "source", lambda images: images)):
            floor |= labels
            rng, known = np.random.default_rng(self.settings.seed), self.labels("target", "train")
            drawn = [kept(rng.permutation(self.of_y), self.of_y, best_match(rng.permutation(known), known, self.data.meta["classes"]))
                     for _ in range(SHUFFLES)]
            found["chance"] = {name: float(np.mean([d[name] for d in drawn])) for name in drawn[0]}
        found["floor"] = floor
        return found

    def real_inception(self, name: str) -> np.ndarray:
        """Inception's features of the test sources or targets, each seen whole; made when first asked for."""
        if name not in self.by_inception:
            self.by_inception[name] = inception_features(self.inception, self.x if name == "source" else self.y)
        return self.by_inception[name]

    def floor(self, name: str, real: np.ndarray, features) -> float:
        """FID in `features` of real images of the domain: train's, but of patches one half of the test images against the other.

        Other photographs are farther from the test photographs than any translation of these is.
        """
        if len(np.unique(self.groups)) == len(self.y) or len(real) < 4:
            return distribution.frechet_distance(real, features(image_tensor(self.data[f"train.{name}"])))
        halves = np.array_split(np.random.default_rng(self.settings.seed).permutation(len(real)), 2)
        return distribution.frechet_distance(*(real[rows] for rows in halves))

    def plain(self) -> torch.Tensor:
        """What costs nothing: the source, enlarged where the target is larger, with the target's channels."""
        scale = self.y.shape[2] // self.x.shape[2]
        x = image_tensor(resized(self.bytes, scale)) if scale > 1 else self.x
        return x if x.shape[1] == self.y.shape[1] else x.mean(1, keepdim=True).expand(-1, self.y.shape[1], -1, -1)

    def features(self, images) -> np.ndarray | None:
        """Features [n, D] of images, or of their squares where they are larger; None where the net reads other images."""
        if self.net is None:
            return None
        try:
            return array(through(self.net.features, squares(images)))
        except RuntimeError:  # other channels or, of a classifier, another size
            return None

    def exhibit(self, model, gallery, seed):
        rows = np.unique(np.linspace(0, len(self.x) - 1, 8).astype(int))
        made = through(model.translate, self.x[rows])
        if self.x.shape[2:] != self.y.shape[2:]:
            self.zoomed(model, rows[:6], gallery)
        else:
            shown, said = [self.x[rows], made], ["sources", "translations"]
            if hasattr(model, "translate_back"):
                shown, said = [*shown, through(model.translate_back, made)], [*said, "what comes back"]
            if self.truth:
                shown, said = [*shown, self.y[rows]], [*said, "the truth"]
            gallery.picture("translations", tiled(shown, len(rows)), f"Translations: {', '.join(said)}",
                            f"Rows from above: {', '.join(said)}. Evenly from all {len(self.x)} test images, not selected.")
        if hasattr(model, "translate_back"):
            rows = np.unique(np.linspace(0, len(self.y) - 1, 8).astype(int))
            back = through(model.translate_back, self.y[rows])
            shown, said = [self.y[rows], back, through(model.translate, back)], ["targets", "translations", "what comes back"]
            if self.truth:
                shown, said = [*shown, self.x[rows]], [*said, "the truth"]
            gallery.picture("back", tiled(shown, len(rows)), f"Translations back: {', '.join(said)}",
                            f"Rows from above: {', '.join(said)}.")
            self.confusion(through(model.translate_back, self.y), gallery)
        groups = self.data.meta.get("groups", {}).get(self.split)
        if groups:
            gallery.table("What the figures rest on", ["what", "number"],
                          [["test sources", len(self.x)], ["test targets", len(self.y)], ["groups", groups]],
                          "A group is a photograph, or a block of one where a source says so: all of its patches are in one split.")

    def zoomed(self, model, rows, gallery):
        """Small sources enlarged, beside the target: whole patches, and their middles."""
        scale = self.y.shape[2] // self.x.shape[2]
        columns = [image_tensor(self.bytes[rows].repeat(scale, 1).repeat(scale, 2)), self.plain()[rows],
                   through(model.translate, self.x[rows]), self.y[rows]]
        quarter = self.y.shape[2] // 4
        for name, border, title in (("enlarged", 0, "Enlarged"), ("zoomed", quarter, "Their middles, closer")):
            cut = [c[..., border : c.shape[2] - border, border : c.shape[3] - border] for c in columns]
            grid = torch.stack(cut, 1).flatten(0, 1)  # a row an image
            gallery.picture(name, pictures.grid(pictures.to_bytes(grid.numpy()), 4),
                            f"{title}: source, bicubic, model, original",
                            "Columns from the left: the source's pixels, bicubic, the model, the original. Not selected.")

    def confusion(self, back, gallery):
        if not self.readable(back, "target"):
            return
        names = [str(n) for n in self.data.table("labels")]
        table = confusion(self.read(back), self.of_y, len(names))
        gallery.table("Labels before and after translation", ["label", *(f"read as {n}" for n in names)],
                      [[n, *row] for n, row in zip(names, table.tolist(), strict=True)],
                      "Test targets translated into the source's domain, read by a classifier that was trained there.")


def through(method, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([method(part) for part in images.split(ROWS)])


def distance(a, b) -> float:
    """Mean absolute difference of a value."""
    return float(np.abs(array(a) - array(b)).mean())


def squares(images: torch.Tensor) -> torch.Tensor:
    """[n, C, H, W] -> the squares of 32 pixels that tile each image, what is left over at the right and below aside; smaller ones as is."""
    n, channels, height, width = images.shape
    if max(height, width) <= SIDE or min(height, width) < SIDE:
        return images
    rows, columns = height // SIDE, width // SIDE
    cut = images[..., : rows * SIDE, : columns * SIDE].reshape(n, channels, rows, SIDE, columns, SIDE)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, SIDE, SIDE)


def confusion(read: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    table = np.zeros((classes, classes), int)
    np.add.at(table, (labels, read), 1)
    return table


def best_match(read: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """What each label is read as under the one-to-one match that most agree with: int [classes]."""
    return linear_sum_assignment(-confusion(read, labels, classes))[1]


def kept(read: np.ndarray, labels: np.ndarray, matched: np.ndarray) -> dict[str, float]:
    """label_kept: share read as what they were; label_kept_matched: as what `matched`, found on other images, says."""
    return {"label_kept": float((read == labels).mean()), "label_kept_matched": float((read == matched[labels]).mean())}


def tiled(rows: list[torch.Tensor], columns: int) -> np.ndarray:
    """Each tensor a row of the picture."""
    return pictures.grid(np.concatenate([pictures.to_bytes(r.numpy()) for r in rows]), columns)
