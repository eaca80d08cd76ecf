"""Image classifier: the feature net of the pipeline's own FID, and the supervised ceiling beside the probes.

A small residual-free convolutional net with batch normalisation; its penultimate layer (`features`) is what FID and KID are computed on.
Cross-entropy -log softmax(logits)_y; random shifts by one pixel as the only augmentation, and neither dropout nor weight decay, which
shrink the features and with them every FID. No paper is reproduced here: convolutions and batch normalisation as in Ioffe and Szegedy 2015 (https://arxiv.org/abs/1502.03167).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.settings import InputError, field

CITATION = "Ioffe and Szegedy 2015, Batch normalization, https://arxiv.org/abs/1502.03167"


@dataclass(frozen=True)
class Config:
    channels: int = field(32, low=1, high=1024, doc="of the first convolution; doubled at each halving of the image")
    features: int = field(64, low=2, high=4096, doc="width of the penultimate layer")
    shift: int = field(1, low=0, high=8, doc="images are moved by up to so many pixels in training")


class Model(Base):
    kinds = ("images",)
    inputs = ("images", "labels")
    per_example = True
    train_defaults = {"steps": 1000, "batch_size": 128, "lr": 2e-3, "lr_decay": "cosine", "validate_every": 250, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        if meta["classes"] < 2:
            raise InputError(
                f"family classifier needs at least 2 classes, but the dataset has {meta['classes']}; choose a labelled dataset"
            )
        height, width, depth = meta["shape"]
        self.config = config
        layers, side, channels = [], min(height, width), config.channels
        while side >= 4:
            layers += [nn.Conv2d(depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
            depth, channels, side = channels, min(2 * channels, 8 * config.channels), side // 2
        with torch.no_grad():
            self.trunk = nn.Sequential(*layers, nn.Flatten())
            flat = self.trunk.eval()(torch.zeros(1, meta["shape"][2], height, width)).shape[1]
        self.hidden = nn.Linear(flat, config.features)
        self.head = nn.Linear(config.features, meta["classes"])
        self.train()

    def features(self, x: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] -> [B, features], after the ReLU."""
        return F.relu(self.hidden(self.trunk(x)))

    def logits(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        return self.head(self.features(x))

    def loss(self, batch, phase, step):
        x, y = _shifted(batch["images"], self.config.shift), batch["labels"]
        logits = self.logits(x)
        loss = F.cross_entropy(logits, y)
        return loss, {"accuracy": (logits.argmax(1) == y).float().mean()}

    def validate(self, data):
        logits = torch.cat([self.logits(x) for x in image_tensor(data["valid.images"], self.head.weight.device).split(1024)])
        y = torch.from_numpy(data["valid.labels"].astype("int64")).to(logits.device)
        return {"loss": F.cross_entropy(logits, y).item(), "accuracy": (logits.argmax(1) == y).float().mean().item()}


def _shifted(x: Tensor, by: int) -> Tensor:
    """The whole batch moved by the same random offset, zeros moving in."""
    if not by:
        return x
    dy, dx = torch.randint(0, 2 * by + 1, (2,)).tolist()
    return F.pad(x, (by, by, by, by))[..., dy : dy + x.shape[-2], dx : dx + x.shape[-1]]
