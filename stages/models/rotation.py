"""Features of images without labels: a small network that tells by how many right angles an image was turned.

Gidaris et al. 2018, Unsupervised representation learning by predicting image rotations, https://arxiv.org/abs/1803.07728, equation 3: the
mean over the four rotations of an image of -log p(rotation | rotated image). To tell top from bottom the network must know light, texture
and shape; its features are what FID of patches of photographs is computed in, as a classifier's are where there are labels.

Deviation: a network of some thousand weights, averaged over the image before its last layers, for patches of at least 16 pixels. Half of
the examples are mirrored. Numbers in its features are comparable with one another only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.models.parts.translators import mirrored
from stages.settings import InputError, field

CITATION = "Gidaris et al. 2018, Unsupervised representation learning by predicting image rotations, https://arxiv.org/abs/1803.07728"


@dataclass(frozen=True)
class Config:
    channels: int = field(16, low=1, high=1024, doc="of the first convolution; twice as many in each that follows")
    features: int = field(64, low=2, high=4096, doc="width of what FID is computed in")


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    train_defaults = {"steps": 800, "batch_size": 32, "lr": 2e-3, "lr_decay": "cosine", "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        if height != width:
            raise InputError(f"family rotation turns images, which must be square, but the dataset has {height}x{width}; cut patches")
        layers, channels = [], config.channels
        for _ in range(3):
            layers += [nn.Conv2d(depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(2)]
            depth, channels = channels, 2 * channels
        self.trunk = nn.Sequential(*layers[:-1])
        self.hidden, self.head = nn.Linear(depth, config.features), nn.Linear(config.features, 4)

    def features(self, x: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1], H and W at least 4 -> [B, features], after the ReLU."""
        return F.relu(self.hidden(self.trunk(x).mean((2, 3))))

    encode = features

    def rotation_loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(mean loss, share told right) over the four rotations of each image."""
        turned = torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)])
        truth = torch.arange(4, device=x.device).repeat_interleave(len(x))
        logits = self.head(self.features(turned))
        return F.cross_entropy(logits, truth), (logits.argmax(1) == truth).float().mean()

    def loss(self, batch, phase, step):
        loss, accuracy = self.rotation_loss(*mirrored(batch["images"]))
        return loss, {"accuracy": accuracy}

    def validate(self, data):
        loss, accuracy = self.rotation_loss(image_tensor(data["valid.images"], self.head.weight.device))
        return {"loss": loss.item(), "accuracy": accuracy.item()}

    def pretext_accuracy(self, x: Tensor) -> float:
        """Share of the four rotations of each image [B, C, H, W] that are told right; 0.25 by chance."""
        return self.rotation_loss(x)[1].item()
