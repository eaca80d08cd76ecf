"""Codes that a generator is given to spend and a head has to find again: one categorical choice and some continuous values.

Chen et al. 2016, InfoGAN, https://arxiv.org/abs/1606.03657: c has a uniform category and values uniform in [-1, 1]; the head's
-log Q(c | G(z, c)) bounds the information of c in the image from below (equation 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.settings import InputError


@dataclass(frozen=True)
class Codes:
    """`categories` (0: no categorical code) and so many `continuous` values; a code is [n, width], a category one-hot and the values."""

    categories: int
    continuous: int

    def check(self, meta: Mapping) -> None:
        """InputError for one category, or more than the dataset of `meta` has training examples."""
        n = meta.get(meta.get("kind", "images"), {}).get("train")
        if self.categories == 1:
            raise InputError("model.categories: 1 category says nothing; allowed: 0 (no categorical code) or at least 2")
        if n is not None and self.categories > n:
            raise InputError(f"model.categories: {self.categories} are more than the {n} training examples they are to tell apart; "
                             f"allowed: at most {n}")

    @property
    def width(self) -> int:
        """Of a code, and of what the head gives: logits of the categories, means of the values."""
        return self.categories + self.continuous

    def draw(self, n: int, device: torch.device, generator: torch.Generator | None = None, category: Tensor | None = None) -> Tensor:
        """n codes from the prior, or those with `category` int64 [n] as asked."""
        parts = []
        if self.categories:
            drawn = torch.randint(self.categories, (n,), device=device, generator=generator) if category is None else category
            parts.append(F.one_hot(drawn, self.categories).float())
        if self.continuous:
            parts.append(2 * torch.rand(n, self.continuous, device=device, generator=generator) - 1)
        return torch.cat(parts, 1)

    def loss(self, head: Tensor, code: Tensor) -> Tensor:
        """Mean of -log Q(c | .) in nats, [n, width] twice: cross-entropy, and Gaussians of deviation 1 as in the authors' code."""
        head = head.float()
        values = 0.5 * (math.log(2 * math.pi) + (code - head)[:, self.categories :].square()).sum(1)
        if not self.categories:
            return values.mean()
        return (values - (code[:, : self.categories] * F.log_softmax(head[:, : self.categories], 1)).sum(1)).mean()

    def likeliest(self, head: Tensor) -> Tensor:
        """The code that the head finds: its likeliest category and its values, cut to [-1, 1]; [n, width]."""
        parts = [head[:, self.categories :].clamp(-1, 1)]
        if self.categories:
            parts.insert(0, F.one_hot(head[:, : self.categories].argmax(1), self.categories).float())
        return torch.cat(parts, 1)
