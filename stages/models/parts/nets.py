"""Small networks that several families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from stages.settings import InputError

ACTIVATIONS = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU}


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, last: bool = False) -> nn.Sequential:
    """Linear layers sizes[0] -> ... -> sizes[-1] with `activation` between them, and after the last one if `last`."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers.append(nn.Linear(a, b))
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


def _halved(shape: Sequence[int], times: int) -> tuple[int, int]:
    sizes = tuple(side // 2**times for side in shape[1:])
    if any(side * 2**times != full or side < 1 for side, full in zip(sizes, shape[1:], strict=True)):
        raise InputError(f"model.channels: {times} of them halve the image {times} times, but {shape[1]} x {shape[2]} cannot be halved so "
                         "often; give fewer, or pad the images (options.size of the dataset)")
    return sizes
