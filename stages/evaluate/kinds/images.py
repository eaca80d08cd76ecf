"""Images: samples against real ones in a classifier's features, codes under a linear probe, bounds, a classifier's own accuracy."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F

from stages.evaluate import clustering, densities, disentanglement, distribution, generative, inversion, lags, latents, pictures, probes
from stages.evaluate.inception import inception_features
from stages.evaluate.kinds.base import Kind, array, need
from stages.models.base import image_tensor
from stages.settings import InputError

ROWS = 1024  # images through a net at once


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.x = {"train": image_tensor(self.data["train.images"]), "test": image_tensor(self.data[f"{self.split}.images"])}
        self.y = {"train": np.array(self.data["train.labels"]), "test": np.array(self.data[f"{self.split}.labels"])}
        if len(self.x["test"]) < 10:
            raise InputError(f"{self.data.folder}: {len(self.x['test'])} {self.split} images are too few to measure with; "
                             f"raise split.{self.split}")
        self.flat = {s: array(x.flatten(1)) for s, x in self.x.items()}
        self.classes = self.data.meta["classes"]
        self.rows = {s: np.flatnonzero(y >= 0) for s, y in self.y.items()}
        self.labelled = self.classes >= 2 and all(len(np.unique(self.y[s][r])) >= 2 for s, r in self.rows.items())
        self.count = self.settings.samples or min(len(self.x["train"]), 10000)
        self.real = self.features(self.x["test"]) if self.net is not None else None

    def headline(self, metrics):
        order = ("pretext_accuracy", "fid", "mig", "accuracy", "probe_accuracy", "elbo", "reconstruction_mse", "sharpness")
        return next(m for m in order if m in metrics)

    def measure(self, model, seed):
        need(model, "images", "sample", "encode", "logits", "reconstruct")
        metrics = {}
        if hasattr(model, "pretext_accuracy"):
            metrics["pretext_accuracy"] = model.pretext_accuracy(self.x["test"])
        if hasattr(model, "logits") and self.labelled:
            metrics |= self.of_logits(self.through(model.logits, "test"))
        if hasattr(model, "sample"):
            metrics |= self.of_samples(self.samples(model, seed))
        if hasattr(model, "raw_sample") and self.net is not None:
            made = model.raw_sample(self.count, torch.Generator().manual_seed(seed))
            metrics["fid_raw"] = distribution.frechet_distance(self.real, self.features(made))
        if self.settings.inversion:
            metrics |= self.of_inversion(model)
        if hasattr(model, "reconstruct"):
            made = torch.cat([model.reconstruct(x) for x in self.batches("test")])
            metrics |= {"reconstruction_mse": generative.reconstruction_error(model, self.x["test"]), **self.of_reconstructions(made)}
        if hasattr(model, "encode"):
            codes = {s: self.through(model.encode, s) for s in ("train", "test")}
            metrics |= {"active_units": float(probes.active_units(codes["test"])), **self.of_codes(codes), **self.of_clusters(codes)}
        if getattr(model, "sample_of", None) and self.labelled:
            if model.sample_of[0] == "code":  # the model's own clusters; those of k-means on its codes keep a name of their own
                metrics = {f"{k}_kmeans" if k in ("hungarian_accuracy", "nmi", "ari") else k: v for k, v in metrics.items()}
            metrics |= self.of_asked(model, seed)
        if hasattr(model, "log_likelihood"):
            metrics |= self.of_bounds(model, seed)
        if hasattr(model, "rows"):
            metrics |= latents.codebook_use(self.through(model.indices, "test").astype(np.int64), len(model.rows))
        if hasattr(model, "subspace") and model.subspace() is not None:
            metrics |= probes.against_principal(self.flat["train"], array(model.subspace()))
        if hasattr(model, "encode") and "train.factors" in self.data:
            metrics |= self.of_factors(codes)
        return metrics

    def of_reconstructions(self, made) -> dict[str, float]:
        """Of reconstructions of the test images, [n, C, H, W]."""
        metrics = {"reconstruction_ratio": generative.reconstruction_ratio(array(made.flatten(1)), self.flat["test"], self.flat["train"])}
        if self.net is None:
            return metrics
        metrics["fid_reconstruction"] = distribution.frechet_distance(self.real, self.features(made))
        if hasattr(self.net, "logits") and self.labelled:
            rows = self.rows["test"]
            metrics["reconstruction_accuracy"] = float((self.seen(made)[rows] == self.y["test"][rows]).mean())
        return metrics

    def of_inversion(self, model) -> dict[str, float]:
        """Of the latents that the averaged generator of an unconditional GAN needs for each image; the same starts for every model."""
        if not hasattr(model, "generate") or model.sample_of is not None:
            raise InputError("evaluate.inversion: a model without a generator of latents alone; set it to 0")

        def generate(z):
            return model.generate(z, model.generator_average)
        codes = {s: inversion.inverted(generate, model.config.latent, x, self.settings.inversion, self.settings.seed)
                 for s, x in self.x.items()}
        metrics = {"inversion_mse": float((generate(codes["test"]) - self.x["test"]).square().mean())}
        if self.labelled:
            metrics["probe_accuracy_inverted"] = probes.probe_accuracy(*self.probed({s: array(z) for s, z in codes.items()}))
        return metrics

    def of_asked(self, model, seed) -> dict[str, float]:
        """Samples that were asked for by class, or by category of a code: categories are matched to classes on the training images."""
        kind, choices = model.sample_of
        of = torch.arange(choices).repeat(max(1, self.count // choices))
        metrics, asked = {}, of.numpy()
        if kind == "code":
            clusters = {s: self.through(model.clusters, s).argmax(1) for s in ("train", "test")}
            train, train_labels, test, test_labels = self.probed(clusters)
            metrics = clustering.agreement((train, train_labels), (test, test_labels))
            matched = np.full(choices, -1)
            found = clustering.match(train, train_labels)
            matched[: len(found)] = found
            asked = matched[asked]
        if hasattr(self.net, "logits"):
            seen = self.seen(model.sample(len(of), torch.Generator().manual_seed(seed), of))
            metrics[f"{kind}_accuracy"] = float((seen == asked).mean())
        return metrics

    def seen(self, x) -> np.ndarray:
        """The class that the feature net sees in each image."""
        return torch.cat([self.net.logits(part).argmax(1) for part in x.split(ROWS)]).numpy()

    def of_bounds(self, model, seed) -> dict[str, float]:
        """Bounds on the likelihood of the images, or of the binary images drawn from them that the model's likelihood is of."""
        x, generator = self.x["test"], torch.Generator().manual_seed(seed)
        if hasattr(model, "observed"):
            x = model.observed(x, generator)
        metrics = {}
        if hasattr(model, "bound"):
            found = [model.bound(part, generator) for part in x.split(ROWS)]
            distortion, rate = torch.cat([d for d, _ in found]), torch.cat([r for _, r in found])
            metrics = {"elbo": float((distortion + rate.sum(1)).mean()), "distortion": float(distortion.mean()),
                       "kl": float(rate.sum(1).mean())}
        if hasattr(model, "posterior"):
            parts = [model.posterior(part) for part in x.split(ROWS)]
            metrics["mutual_information"] = generative.mutual_information(*(torch.cat(column) for column in zip(*parts, strict=True)), seed)
        for k in self.settings.iw:
            metrics[f"iw_{k}"] = float(generative.importance_bound(model, x, k, seed).mean())
        return metrics

    def of_factors(self, codes) -> dict[str, float]:
        """Disentanglement of the codes of both splits: the grid of factors is one set; predictors are trained on train, scored on test."""
        factors = np.concatenate([self.data["train.factors"], self.data[f"{self.split}.factors"]])
        columns = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
        test = np.arange(len(factors)) >= len(codes["train"])
        return disentanglement.scores(np.concatenate([codes["train"], codes["test"]]), columns, test, self.settings.seed)

    def baselines(self, model, fresh):
        found = {}
        if hasattr(model, "sample"):
            shuffled = np.random.default_rng(self.settings.seed).permutation(len(self.x["train"]))[: self.count]
            found["floor"] = self.of_samples(self.x["train"][torch.from_numpy(shuffled)], copies=False)
            found["floor"] |= self.cover(self.x["test"])  # the net is surer of the images it was trained on
            drawn = distribution.gaussian_samples(self.flat["train"], self.count, self.settings.seed)
            found["gaussian"] = self.of_samples(torch.from_numpy(drawn).float().view(-1, *self.x["train"].shape[1:]))
        if hasattr(model, "encode"):
            width = self.through(model.encode, "test").shape[1]
            principal = dict(zip(("train", "test"), probes.principal_codes(self.flat["train"], self.flat["test"], width), strict=True))
            error = ((self.flat["test"] - self.flat["train"].mean(0)) ** 2).sum(1) - (principal["test"] ** 2).sum(1)
            untrained = fresh(self.settings.seed)
            random = {s: self.through(untrained.encode, s) for s in ("train", "test")}
            explained = (principal["train"] ** 2).sum() / ((self.flat["train"] - self.flat["train"].mean(0)) ** 2).sum()
            found["pca"] = {**self.of_codes(principal), **self.of_clusters(principal), "explained_variance": float(explained),
                            "reconstruction_mse": float(error.mean() / self.flat["test"].shape[1])}
            if hasattr(model, "reconstruct"):
                mean = self.flat["train"].mean(0)
                restored = mean + principal["test"] @ np.linalg.lstsq(principal["train"], self.flat["train"] - mean, rcond=None)[0]
                found["pca"] |= self.of_reconstructions(torch.from_numpy(restored).float().clamp(0, 1).view(self.x["test"].shape))
            found["untrained"] = {**self.of_codes(random), **self.of_clusters(random)}
            if "train.factors" in self.data:
                found["pca"] |= self.of_factors(principal)
                found["untrained"] |= self.of_factors(random)
            found["raw_pixels"] = self.of_codes(self.flat)
            found["kmeans"] = self.of_clusters(self.flat)
        if getattr(model, "sample_of", None) and model.sample_of[0] == "code":
            found["kmeans"] = self.of_clusters(self.flat)
        if hasattr(self.net, "logits") and self.labelled and not hasattr(model, "logits"):
            accuracy = self.of_logits(self.through(self.net.logits, "test"))["accuracy"]
            asked = [f"{model.sample_of[0]}_accuracy"] if getattr(model, "sample_of", None) else []
            asked += ["hungarian_accuracy"] if asked == ["code_accuracy"] or hasattr(model, "encode") else []
            names = [*asked, *(["probe_accuracy"] if hasattr(model, "encode") else []),
                     *(["reconstruction_accuracy"] if hasattr(model, "reconstruct") else [])]
            found["supervised"] = dict.fromkeys(names, accuracy)
        if hasattr(model, "logits") and self.labelled:
            found["raw_pixels"] = found.get("raw_pixels", {}) | {"accuracy": probes.probe_accuracy(*self.probed(self.flat))}
            majority = np.bincount(self.y["train"][self.rows["train"]]).argmax()
            found["majority"] = {"accuracy": float((self.y["test"][self.rows["test"]] == majority).mean())}
        config = getattr(model, "config", None)
        if hasattr(model, "log_likelihood") and getattr(config, "likelihood", "gaussian") == "gaussian":  # else no density of grey values
            for name, metrics in self.densities(width if hasattr(model, "encode") else None).items():
                found[name] = found.get(name, {}) | metrics
        return {name: metrics for name, metrics in found.items() if metrics}

    def batches(self, split):
        return self.x[split].split(ROWS)

    def through(self, method, split) -> np.ndarray:
        return array(torch.cat([method(x) for x in self.batches(split)]))

    def features(self, x) -> np.ndarray:
        return array(torch.cat([self.net.features(part) for part in x.split(ROWS)]))

    @functools.cached_property
    def real_inception(self) -> np.ndarray:
        """Inception's features of the test images, which only a model with samples needs."""
        return inception_features(self.inception, self.x["test"])

    def samples(self, model, seed):
        return model.sample(self.count, torch.Generator().manual_seed(seed)).float().cpu()

    def of_samples(self, x, copies: bool = True) -> dict[str, float]:
        metrics = {}
        if self.net is not None:
            made = self.features(x)
            metrics = {"fid": distribution.frechet_distance(self.real, made), "kid": distribution.kernel_distance(self.real, made),
                       **distribution.precision_recall(self.real, made)}
            metrics |= self.cover(x)
        if self.inception is not None:
            metrics["fid_inception"] = distribution.frechet_distance(self.real_inception, inception_features(self.inception, x))
        if copies:
            metrics |= distribution.memorisation(array(x.flatten(1)), self.flat["train"], self.flat["test"])
        return {**metrics, "sharpness": distribution.sharpness(array(x))} if min(x.shape[2:]) >= 3 else metrics

    def cover(self, x) -> dict[str, float]:
        if not hasattr(self.net, "logits"):
            return {}
        probabilities = array(torch.cat([self.net.logits(part) for part in x.split(ROWS)]).softmax(1))
        metrics = distribution.class_cover(probabilities)
        if "stacked" in self.data.meta:
            metrics |= distribution.class_modes(probabilities.argmax(1), self.y["train"][self.rows["train"]], self.classes)
        return metrics

    def densities(self, width: int | None) -> dict[str, dict[str, float]]:
        """Exact negative log-likelihoods of explicit densities, under the names of the bounds that stand beside them."""
        names = ["elbo", *(f"iw_{k}" for k in self.settings.iw)]
        valid = array(image_tensor(self.data["valid.images"]).flatten(1))
        found = {"gaussian": densities.gaussian(self.flat["train"], valid, self.flat["test"])}
        if width is not None and width < self.flat["train"].shape[1]:
            found["pca"] = densities.probabilistic_pca(self.flat["train"], self.flat["test"], width)
        return {name: dict.fromkeys(names, float(value.mean())) for name, value in found.items()}

    def probed(self, codes):
        return [part for s in ("train", "test") for part in (codes[s][self.rows[s]], self.y[s][self.rows[s]])]

    def of_codes(self, codes) -> dict[str, float]:
        return probes.probe(*self.probed(codes), repeats=self.settings.few, seed=self.settings.seed) if self.labelled else {}

    def of_clusters(self, codes) -> dict[str, float]:
        if not self.labelled:
            return {}
        train, train_labels, test, test_labels = self.probed(codes)
        clusters = clustering.kmeans(train, test, self.classes, self.settings.seed)
        return clustering.agreement((clusters[0], train_labels), (clusters[1], test_labels))

    def of_logits(self, logits) -> dict[str, float]:
        rows, logits = self.rows["test"], torch.from_numpy(logits)
        truth = torch.from_numpy(self.y["test"][rows].astype(np.int64))
        chosen = logits[rows].argmax(1)
        return {"accuracy": float((chosen == truth).double().mean()), "heldout_loss": float(F.cross_entropy(logits[rows], truth)),
                "macro_f1": _macro_f1(truth.numpy(), chosen.numpy())}

    def exhibit(self, model, gallery, seed):
        shown = min(64, len(self.x["test"]))
        names = self.data.table("labels")
        real = pictures.to_bytes(self.x["test"][:shown].numpy())
        if hasattr(model, "sample"):
            made = self.samples(model, seed)
            first = pictures.to_bytes(made[:shown].numpy())
            gallery.picture("samples", pictures.grid(first, 8), "Samples", f"{shown} generated images, not selected.")
            gallery.picture("real", pictures.grid(real, 8), "Real images", f"The first {shown} test images.")
            near = distribution.squared_distances(array(made[:16].flatten(1)), self.flat["train"]).argmin(1)
            gallery.picture("copies", pictures.beside(first[:16], pictures.to_bytes(self.x["train"][near].numpy()), 8),
                            "Samples above their nearest training images", "Two images are the same where the model copied one.")
            self.class_table(made, names, gallery)
        if getattr(model, "sample_of", None):
            self.asked(model, names, gallery, seed)
        if hasattr(model, "reconstruct"):
            made = pictures.to_bytes(model.reconstruct(self.x["test"][:32]).numpy())
            gallery.picture("reconstructions", pictures.beside(real[:32], made, 8), "Test images above their reconstructions",
                            "Rows in turn: test images, and below each its reconstruction.")
        if hasattr(model, "encode") or hasattr(model, "features"):
            codes = self.through(getattr(model, "encode", None) or model.features, "test")
            gallery.picture("map", pictures.scatter(probes.principal_codes(codes, codes, 2)[0], self.y["test"]), "Map of the test images",
                            "Each dot a test image at the first two principal directions of its code; classes: "
                            f"{pictures.legend([str(n) for n in names]) or 'none'}.")
        if hasattr(model, "encode") and hasattr(model, "decode"):
            indices = self.through(model.indices, "test").astype(np.int64) if hasattr(model, "indices") else None
            latents.exhibit(model, codes, gallery, indices)
        if hasattr(model, "gradient_by_lag"):
            lags.exhibit(model, {"images": self.x["test"][:shown]}, gallery)
        if hasattr(model, "logits") and self.labelled:
            self.confusion(model, names, real, gallery)

    def asked(self, model, names, gallery, seed):
        """A row of samples for each class or category, and which classes a category stands for."""
        kind, choices = model.sample_of
        shown = min(choices, 30)
        made = model.sample(10 * shown, torch.Generator().manual_seed(seed), torch.arange(shown).repeat_interleave(10))
        said = f"{shown} rows, one a class." if kind == "class" else f"{shown} rows, one a category, as the head tells them apart."
        gallery.picture("asked", pictures.grid(pictures.to_bytes(made.numpy()), 10), f"Samples of each {kind}", said)
        if kind == "code" and self.labelled and choices <= 30 and self.classes <= 30:
            rows = self.rows["test"]
            table = np.zeros((choices, self.classes), int)
            np.add.at(table, (self.through(model.clusters, "test").argmax(1)[rows], self.y["test"][rows]), 1)
            gallery.table("Categories that the head finds, against classes", ["category", *map(str, names)],
                          [[str(i), *row.tolist()] for i, row in enumerate(table)], "Test images.")

    def class_table(self, made, names, gallery):
        if self.net is None or not hasattr(self.net, "logits") or not self.labelled or self.classes > 100:
            return
        counts = {}
        for title, x in (("samples", made), ("test", self.x["test"])):
            counts[title] = np.bincount(self.seen(x), minlength=self.classes) / len(x)
        gallery.table("Classes of the samples", ["class", "share of samples", "share of test images"],
                      [[str(n), counts["samples"][i], counts["test"][i]] for i, n in enumerate(names)], "As the feature net sees them.")

    def confusion(self, model, names, real, gallery):
        rows = self.rows["test"]
        predicted, truth = self.through(model.logits, "test").argmax(1)[rows], self.y["test"][rows]
        table = np.zeros((self.classes, self.classes), int)
        np.add.at(table, (truth, predicted), 1)
        if self.classes <= 30:
            gallery.table("Confusion matrix", ["true class", *(f"taken for {n}" for n in names)],
                          [[str(n), *table[i].tolist()] for i, n in enumerate(names)], "Test images.")
        wrong = rows[predicted != truth][:32]
        if len(wrong):
            pairs = zip(truth[predicted != truth][:32], predicted[predicted != truth][:32], strict=True)
            said = [f"{names[t]} taken for {names[p]}" for t, p in pairs]
            gallery.picture("errors", pictures.grid(pictures.to_bytes(self.x["test"][wrong].numpy()), 8), "Mistakes", "; ".join(said) + ".")


def _macro_f1(truth, predicted) -> float:
    from stages.evaluate.nodes import f1

    classes = np.unique(np.concatenate([truth, predicted]))
    return f1(truth[:, None] == classes, predicted[:, None] == classes)[1]
