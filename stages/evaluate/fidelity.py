"""How near images come to the ones they should be, and what happens to their colours. Images are float [n, C, H, W] in [0, 1]."""

from __future__ import annotations

import numpy as np

CROP = 4  # pixels left out at every border, as papers on x4 super-resolution do
K1, K2, SIGMA, REACH = 0.01, 0.03, 1.5, 5  # of SSIM


def luma(images: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 as MATLAB's rgb2ycbcr has it, 16/255 to 235/255: [n, 3, H, W] -> [n, 1, H, W]; of one channel the same scaling."""
    x = np.asarray(images, np.float64)
    x = x if x.shape[1] == 3 else np.repeat(x, 3, 1)
    return (16 + np.tensordot([65.481, 128.553, 24.966], x, (0, 1)))[:, None] / 255


def cropped(images: np.ndarray, border: int = CROP) -> np.ndarray:
    """Without a border, where a pixel would be left."""
    return images[..., border:-border, border:-border] if border and min(images.shape[2:]) > 2 * border + 2 * REACH else images


def psnr(made: np.ndarray, truth: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """10 log10(1 / mean squared error) of each image, in decibels: [n]. Equal images have 100.

    `groups` [n] says which images are patches of one picture: then of each picture, over all its patches, as papers measure whole pictures.
    (A mean over patches would be one over skies and walls, which any method gets nearly right.)
    """
    error = ((np.asarray(made, np.float64) - truth) ** 2).mean((1, 2, 3))
    if groups is not None:
        error = np.array([error[groups == g].mean() for g in np.unique(groups)])
    return -10 * np.log10(np.maximum(error, 1e-10))


def ssim(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each image, a mean over channels and places: [n]. Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861.

    Windows are Gaussian, 11 x 11 with sigma 1.5, and lie wholly inside; smaller images have smaller windows.
    """
    x, y = np.asarray(made, np.float64), np.asarray(truth, np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y, both = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2, _blurred(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    places = ((2 * mean_x * mean_y + c1) * (2 * both + c2)) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return places.mean((1, 2, 3))


def _blurred(x: np.ndarray) -> np.ndarray:
    for axis in (2, 3):
        reach = min(REACH, (x.shape[axis] - 1) // 2)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
        weights /= weights.sum()
        size = x.shape[axis] - 2 * reach
        x = sum(w * np.take(x, range(i, i + size), axis) for i, w in enumerate(weights))
    return x


def likeness(made: np.ndarray, truth: np.ndarray, groups: np.ndarray | None = None) -> dict[str, float]:
    """psnr_y, ssim_y, psnr_rgb, ssim_rgb (of grey images psnr_y and ssim_y alone) without the border, and l1 with it.

    Means over images; PSNR over pictures where `groups` says of which one an image is a patch.
    """
    found = {"l1": float(np.abs(np.asarray(made, np.float64) - truth).mean())}
    a, b = cropped(np.asarray(made, np.float64)), cropped(np.asarray(truth, np.float64))
    found |= {"psnr_y": float(psnr(luma(a), luma(b), groups).mean()), "ssim_y": float(ssim(luma(a), luma(b)).mean())}
    if a.shape[1] == 3:
        found |= {"psnr_rgb": float(psnr(a, b, groups).mean()), "ssim_rgb": float(ssim(a, b).mean())}
    return found


def lab(images: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB under D65: [n, 3, H, W] -> [n, 3, H, W], L from 0 to 100 (IEC 61966-2-1; CIE 15)."""
    x = np.asarray(images, np.float64)
    x = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = np.moveaxis(np.tensordot(matrix, x, (1, 1)), 0, 1) / np.array([0.95047, 1.0, 1.08883])[:, None, None]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def colour_shift(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """What a network that should leave images as they are does to their colours, [n, 3, H, W] twice.

    colour_shift: distance of the images' mean colours in Lab (1 is about what one can just see), mean over images. colour_histogram: first
    Wasserstein distance between the histograms of all their pixels, mean over L, a and b.
    """
    a, b = lab(before), lab(after)
    shift = np.sqrt(((a.mean((2, 3)) - b.mean((2, 3))) ** 2).sum(1)).mean()
    sides = (np.sort(np.moveaxis(x, 1, 0).reshape(3, -1), 1) for x in (a, b))
    first, second = sides
    return {"colour_shift": float(shift), "colour_histogram": float(np.abs(first - second).mean())}
