"""2-D mixtures of known modes: how many a generator covers, and how many samples are near one."""

from __future__ import annotations

import numpy as np
import torch

from stages.evaluate import distribution, pictures
from stages.evaluate.kinds.base import Kind, array, need


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.train, self.test = array(self.data["train.points"]), array(self.data[f"{self.split}.points"])
        self.modes, self.sigma = np.array(self.data.meta["modes"], np.float64), self.data.meta["sigma"]
        self.count = self.settings.samples or min(len(self.train), 10000)

    def headline(self, metrics):
        return "high_quality"

    def samples(self, model, seed):
        need(model, "points", "sample")
        with torch.no_grad():
            return array(model.sample(self.count, torch.Generator().manual_seed(seed)))

    def of_points(self, points):
        return {**distribution.mode_cover(points, self.modes, self.sigma), **distribution.precision_recall(self.test, points)}

    def measure(self, model, seed):
        return self.of_points(self.samples(model, seed))

    def baselines(self, model, fresh):
        mean, factor = self.train.mean(0), np.linalg.cholesky(np.cov(self.train, rowvar=False))
        noise = np.random.default_rng(self.settings.seed).standard_normal((self.count, 2))
        return {"floor": self.of_points(self.train[: self.count]), "gaussian": self.of_points(mean + noise @ factor.T)}

    def exhibit(self, model, gallery, seed):
        points = self.samples(model, seed)
        both, labels = np.concatenate([self.test, points]), np.r_[np.full(len(self.test), -1), np.zeros(len(points), int)]
        gallery.picture("samples", pictures.scatter(both, labels, radius=2), "Samples", "Test points in grey, samples in blue.")
