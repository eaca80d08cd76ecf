"""Deterministic autoencoders on images: the linear one, whose optimum is the principal subspace, and a deep one.

Linear: min over U, V of ||x - U V x||^2 on centred x; every optimum's U spans the first `latent` principal directions, at PCA's error
(Bourlard and Kamp 1988, https://doi.org/10.1007/BF00332918; Baldi and Hornik 1989). Deep: Hinton and Salakhutdinov 2006,
https://doi.org/10.1126/science.1127647, without their layer-wise pre-training, which today's initialisation makes needless.

`hidden: []` is the linear one: no bias, the data centred on the training mean, which is kept with the weights. Its landscape has saddles
and no other minima; Adam with a rate that falls to zero reaches the subspace wherever the eigenvalues on both sides of `latent` differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.models.parts.nets import ACTIVATIONS, mlp
from stages.settings import InputError, field

CITATION = "Bourlard and Kamp 1988, Auto-association by multilayer perceptrons and singular value decomposition, Biological Cybernetics 59"


@dataclass(frozen=True)
class Config:
    latent: int = field(10, low=1, high=4096)
    hidden: tuple[int, ...] = field((), low=1, doc="(): linear")
    activation: Literal["silu", "tanh", "relu"] = field("silu")


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    train_defaults = {"steps": 2000, "batch_size": 2048, "lr": 1e-2, "lr_decay": "cosine", "validate_every": 100, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        pixels = depth * height * width
        if not config.hidden and config.latent >= pixels:
            raise InputError(f"model.latent: {config.latent} units hold all {pixels} pixels: a linear autoencoder must be narrower; "
                             f"allowed: 1 to {pixels - 1}")
        if config.latent > pixels:
            raise InputError(f"model.latent: {config.latent} units are more than the image's {pixels} pixels, so there is no PCA of that "
                             f"width to compare with; allowed: 1 to {pixels}")
        self.config, self.shape = config, (depth, height, width)
        self.register_buffer("mean", torch.zeros(pixels))
        if config.hidden:
            activation = ACTIVATIONS[config.activation]
            self.encoder = mlp((pixels, *config.hidden, config.latent), activation)
            self.decoder = mlp((config.latent, *reversed(config.hidden), pixels), activation)
        else:
            self.encoder, self.decoder = nn.Linear(pixels, config.latent, bias=False), nn.Linear(config.latent, pixels, bias=False)

    def begin(self, data, seed):
        self.mean.copy_(image_tensor(data["train.images"]).flatten(1).double().mean(0))

    def restored(self, z: Tensor) -> Tensor:
        """[B, latent] -> pixels [B, C * H * W], which the linear model does not keep within [0, 1]."""
        return self.mean + self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, latent]."""
        return self.encoder(x.flatten(1) - self.mean)

    def decode(self, z: Tensor) -> Tensor:
        """[B, latent] -> images [B, C, H, W], cut to [0, 1] where `raw_reconstruct` is not."""
        return self.restored(z).clamp(0, 1).view(-1, *self.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def raw_reconstruct(self, x: Tensor) -> Tensor:
        """Reconstruction as the objective sees it, not cut to [0, 1]."""
        return self.restored(self.encode(x)).view(-1, *self.shape)

    def subspace(self) -> Tensor | None:
        """Orthonormal basis [pixels, latent] of what the linear decoder spans; None of a deep one."""
        return None if self.config.hidden else torch.linalg.qr(self.decoder.weight.double())[0]

    def loss(self, batch, phase, step):
        x = batch["images"].flatten(1)
        error = (self.restored(self.encode(batch["images"])) - x).square().sum(1).mean()
        return error, {"mse": error / x.shape[1]}

    def validate(self, data):
        x = image_tensor(data["valid.images"], self.mean.device)
        return {"loss": (self.raw_reconstruct(x) - x).square().flatten(1).sum(1).mean().item()}
