"""The network of the published FID: Inception v3 as in TensorFlow's release of December 2015, up to its pooled features.

Szegedy et al. 2016, Rethinking the Inception architecture, https://arxiv.org/abs/1512.00567; its use for FID is that of Heusel et al.
2017, https://arxiv.org/abs/1706.08500. Weights are the user's own file: the tensors of the `pt_inception-2015-12-05` port, which PyTorch
tools for FID share, under the names they have there, as safetensors (docs/metrics.md says how they are turned into that).

Where the port differs from the paper, so does this: averages beside a border leave the padding out, and the last block (Mixed_7c) takes a
maximum in place of its average. Images are enlarged to 299 x 299 bilinearly, without antialiasing, grey ones with three equal channels.
Figures computed with TensorFlow's own resizing differ a little, and those with other weights are not comparable at all.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.evaluate.settings import EvaluateSettings
from stages.settings import InputError

SIDE, ROWS = 299, 32  # pixels; images through the net at once
UNUSED = ("fc.", "AuxLogits.")  # what the file may have beyond the features
COUNTED = "num_batches_tracked"  # of batch normalisation in training
KINDS = ("images", "two_domains")


class Convolution(nn.Module):
    """Convolution without bias, batch normalisation with what the file has counted, ReLU."""

    def __init__(self, into: int, out: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | str = "same"):
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        sides = tuple(k // 2 for k in kernel) if padding == "same" else (padding, padding)
        self.conv = nn.Conv2d(into, out, kernel, stride, sides, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Paths side by side, their channels joined: each a list of layers by name, or of layers that share its input in a tuple."""

    def __init__(self, layers: dict[str, tuple], paths: list[list[str | tuple[str, ...]]]):
        super().__init__()
        for name, given in layers.items():
            setattr(self, name, Convolution(*given))
        self.paths = paths

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.along(x, path) for path in self.paths], 1)

    def along(self, x: Tensor, path: list) -> Tensor:
        for name in path:
            if isinstance(name, tuple):
                x = torch.cat([getattr(self, n)(x) for n in name], 1)
            else:
                x = POOLS[name](x) if name in POOLS else getattr(self, name)(x)
        return x


POOLS = {"average": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "largest": lambda x: F.max_pool2d(x, 3, 1, 1),
         "halved": lambda x: F.max_pool2d(x, 3, 2)}


def of_35(into: int, pooled: int) -> Block:
    """Figure 5 of the paper, on 35 x 35 places."""
    return Block({"branch1x1": (into, 64, 1), "branch5x5_1": (into, 48, 1), "branch5x5_2": (48, 64, 5),
                  "branch3x3dbl_1": (into, 64, 1), "branch3x3dbl_2": (64, 96, 3), "branch3x3dbl_3": (96, 96, 3),
                  "branch_pool": (into, pooled, 1)},
                 [["branch1x1"], ["branch5x5_1", "branch5x5_2"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
                  ["average", "branch_pool"]])


def to_17() -> Block:
    return Block({"branch3x3": (288, 384, 3, 2, 0), "branch3x3dbl_1": (288, 64, 1), "branch3x3dbl_2": (64, 96, 3),
                  "branch3x3dbl_3": (96, 96, 3, 2, 0)},
                 [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"], ["halved"]])


def of_17(c: int) -> Block:
    """Figure 6 with n = 7: 7 x 7 convolutions as 1 x 7 and 7 x 1, `c` channels inside."""
    across, down = (1, 7), (7, 1)
    return Block({"branch1x1": (768, 192, 1), "branch7x7_1": (768, c, 1), "branch7x7_2": (c, c, across), "branch7x7_3": (c, 192, down),
                  "branch7x7dbl_1": (768, c, 1), "branch7x7dbl_2": (c, c, down), "branch7x7dbl_3": (c, c, across),
                  "branch7x7dbl_4": (c, c, down), "branch7x7dbl_5": (c, 192, across), "branch_pool": (768, 192, 1)},
                 [["branch1x1"], [f"branch7x7_{i}" for i in (1, 2, 3)], [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)],
                  ["average", "branch_pool"]])


def to_8() -> Block:
    return Block({"branch3x3_1": (768, 192, 1), "branch3x3_2": (192, 320, 3, 2, 0), "branch7x7x3_1": (768, 192, 1),
                  "branch7x7x3_2": (192, 192, (1, 7)), "branch7x7x3_3": (192, 192, (7, 1)), "branch7x7x3_4": (192, 192, 3, 2, 0)},
                 [["branch3x3_1", "branch3x3_2"], [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)], ["halved"]])


def of_8(into: int, pool: str) -> Block:
    """Figure 7, on 8 x 8 places."""
    across, down = (1, 3), (3, 1)
    return Block({"branch1x1": (into, 320, 1), "branch3x3_1": (into, 384, 1), "branch3x3_2a": (384, 384, across),
                  "branch3x3_2b": (384, 384, down), "branch3x3dbl_1": (into, 448, 1), "branch3x3dbl_2": (448, 384, 3),
                  "branch3x3dbl_3a": (384, 384, across), "branch3x3dbl_3b": (384, 384, down), "branch_pool": (into, 192, 1)},
                 [["branch1x1"], ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
                  ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")], [pool, "branch_pool"]])


class Inception(nn.Module):
    """[B, 1 or 3, H, W] in [0, 1] -> `features` [B, 2048]."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, 1, 0)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = of_35(192, 32), of_35(256, 64), of_35(288, 64)
        self.Mixed_6a = to_17()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = of_17(128), of_17(160), of_17(160), of_17(192)
        self.Mixed_7a = to_8()
        self.Mixed_7b, self.Mixed_7c = of_8(1280, "average"), of_8(2048, "largest")

    def features(self, x: Tensor) -> Tensor:
        x = 2 * F.interpolate(x.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="bilinear", align_corners=False) - 1
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = POOLS["halved"](x)
        return x.mean((2, 3))


def inception_features(net: Inception, images: Tensor) -> np.ndarray:
    """[n, 1 or 3, H, W] in [0, 1] -> float64 [n, 2048]."""
    if images.shape[1] not in (1, 3):
        raise InputError(f"evaluate.inception: images of {images.shape[1]} channels, but Inception sees 1 or 3; leave it out")
    with torch.no_grad():
        return np.concatenate([net.features(part.float()).double().numpy() for part in images.split(ROWS)])


def check_inception(settings: EvaluateSettings, where: str) -> None:
    """InputError for a file without its hash, or a hash without a file: known before anything is trained."""
    if settings.inception and not settings.inception_sha256:
        raise InputError(f"{where}.inception_sha256 is missing; write what `sha256sum {settings.inception}` says")
    if settings.inception_sha256 and not settings.inception:
        raise InputError(f"{where}.inception_sha256 is of no file; name it in {where}.inception, or leave both out")


def inception_of(settings: EvaluateSettings, kind: str) -> tuple[Inception, str] | tuple[None, None]:
    """What `evaluate.inception` names, for that kind of data, and the sha256 of its weights; None twice where it names nothing."""
    check_inception(settings, "evaluate")
    if not settings.inception:
        return None, None
    if kind not in KINDS:
        raise InputError(f"evaluate.inception serves images, but the dataset holds {kind}; leave it out")
    return read_inception(Path(settings.inception), settings.inception_sha256)


def read_inception(path: Path, expected: str) -> tuple[Inception, str]:
    """The network with the weights of a safetensors file, and their sha256; InputError for a file that is another or does not fit.

    The hash is asked for, because what is measured goes by the weights and no stage depends on this file.
    """
    if not path.is_file():
        raise InputError(f"evaluate.inception: {path} is no file; give the weights as safetensors (docs/metrics.md), or leave it out")
    found = sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise InputError(f"evaluate.inception_sha256 is {expected}, but {path} has {found}; write that where it is the file you mean")
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"evaluate.inception: {path} is no safetensors file ({error}); docs/metrics.md says how to make one") from None
    net = Inception()
    wanted = {name: tensor.shape for name, tensor in net.state_dict().items() if not name.endswith(COUNTED)}
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED) and not name.endswith(COUNTED)}
    odd = sorted({*wanted} ^ {*given} | {n for n in {*wanted} & {*given} if wanted[n] != given[n].shape})
    if odd:
        raise InputError(f"{path}: {len(odd)} tensors are not those of Inception v3, the first is {odd[0]!r}; give the weights of "
                         "pt_inception-2015-12-05 as safetensors (docs/metrics.md)")
    net.load_state_dict(given, strict=False)
    return net.eval().to(memory_format=torch.channels_last), found  # 1.6 times as fast on one thread
