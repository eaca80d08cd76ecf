"""Negative sampling as its paper writes it: what kernels are held against (Mikolov et al. 2013, https://arxiv.org/abs/1310.4546, eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def written_out_loss(inputs: Tensor, outputs: Tensor, bias: Tensor | None, contexts: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """The objective in plain torch, summed over the batch.

    inputs, outputs [V, D]; bias [V] or None; contexts [B, n] (skip-gram: n = 1), targets [B], negatives [B, k]. Scalar, in nats.
    """
    hidden = inputs[contexts].mean(1)  # (B, D)
    rows = torch.cat([targets[:, None], negatives], 1)  # (B, 1 + k)
    scores = torch.einsum("bd,bkd->bk", hidden, outputs[rows])
    if bias is not None:
        scores = scores + bias[rows]
    counted = (negatives != targets[:, None]).to(scores)
    return -functional.logsigmoid(scores[:, 0]).sum() - (counted * functional.logsigmoid(-scores[:, 1:])).sum()
