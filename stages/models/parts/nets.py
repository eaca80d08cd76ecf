"""Small networks that several families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from stages.settings import InputError

ACTIVATIONS = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": partial(nn.LeakyReLU, 0.2)}


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, last: bool = False) -> nn.Sequential:
    """Linear layers sizes[0] -> ... -> sizes[-1] with `activation` between them, and after the last one if `last`.

    Layers about a tanh begin as Glorot and Bengio 2010 say (https://proceedings.mlr.press/v9/glorot10a.html, eq. 16), with no bias: torch's
    own start has a third of that variance and loses the signal on the way.
    """
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers.append(nn.Linear(a, b))
        if activation is nn.Tanh:
            nn.init.xavier_uniform_(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)
        if last or i < len(sizes) - 2:
            layers.append(activation())
    return nn.Sequential(*layers)


def convolutions(shape: Sequence[int], channels: Sequence[int], width: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """[B, C, H, W] -> [B, width]: a convolution of stride 2 (kernel 4) for each of `channels`, then one linear layer."""
    sizes, layers = _halved(shape, len(channels)), []
    for a, b in zip((shape[0], *channels), channels, strict=False):
        layers += [nn.Conv2d(a, b, 4, 2, 1), activation()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * sizes[0] * sizes[1], width))


def deconvolutions(width: int, channels: Sequence[int], shape: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """[B, width] -> [B, C * H * W] (flat): the mirror of `convolutions` with the same `channels`."""
    (height, length), layers = _halved(shape, len(channels)), []
    layers = [nn.Linear(width, channels[-1] * height * length), activation(), nn.Unflatten(1, (channels[-1], height, length))]
    for a, b in zip(reversed(channels), (*reversed(channels[:-1]), shape[0]), strict=True):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), activation()]
    return nn.Sequential(*layers[:-1], nn.Flatten())


class ConditionalBatchNorm(nn.Module):
    """gamma_y x_hat + beta_y: batch normalisation with a gain and a bias a class (de Vries et al. 2017, https://arxiv.org/abs/1707.00683).

    [B, features, ...] and classes int64 [B] -> like the first.
    """

    def __init__(self, norm: nn.Module, features: int, classes: int):
        super().__init__()
        self.norm = norm
        self.gain, self.bias = nn.Embedding(classes, features), nn.Embedding(classes, features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shape = (*self.gain(y).shape, *[1] * (x.dim() - 2))
        return self.gain(y).view(shape) * self.norm(x) + self.bias(y).view(shape)


class Conditional(nn.Sequential):
    """A sequence of layers that hands the class of each example to those which ask for it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, y) if isinstance(layer, ConditionalBatchNorm) else layer(x)
        return x


def batch_normalised(net: nn.Sequential, classes: int = 1) -> Conditional:
    """The layers of `net` with conditional batch normalisation after each that has weights, the last one apart."""
    layers, weighted = [], [i for i, layer in enumerate(net) if hasattr(layer, "weight")]
    for i, layer in enumerate(net):
        layers.append(layer)
        if i in weighted[:-1]:
            flat = isinstance(layer, nn.Linear)
            features = layer.out_features if flat else layer.out_channels
            layers.append(ConditionalBatchNorm((nn.BatchNorm1d if flat else nn.BatchNorm2d)(features, affine=False), features, classes))
    return Conditional(*layers)


def _halved(shape: Sequence[int], times: int) -> tuple[int, int]:
    sizes = tuple(side // 2**times for side in shape[1:])
    if any(side * 2**times != full or side < 1 for side, full in zip(sizes, shape[1:], strict=True)):
        raise InputError(f"model.channels: {times} of them halve the image {times} times, but {shape[1]} x {shape[2]} cannot be halved so "
                         "often; give fewer, or pad the images (options.size of the dataset)")
    return sizes
