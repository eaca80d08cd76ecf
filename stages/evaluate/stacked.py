"""Images whose channels are images of their own (stacked digits): what a net of single images says of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.settings import InputError


class Stacked(nn.Module):
    """A classifier of one channel asked of every channel: features side by side, classes as their combinations.

    With K classes a channel, class k_1 K^(C-1) + ... + k_C is that of the channels k_1 to k_C, and its probability their product; labels
    of stacked digits, "000" to "999", sort in that order.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def features(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C * features]."""
        return torch.cat([self.net.features(channel) for channel in x.split(1, 1)], 1)

    def logits(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> log-probabilities [B, K ** C]."""
        joint = x.new_zeros(len(x), 1)
        for channel in x.split(1, 1):
            joint = (joint[:, :, None] + self.net.logits(channel).log_softmax(1)[:, None]).flatten(1)
        return joint


def of_one_channel(meta: dict) -> dict:
    """The meta.json of the single images whose stacks are the dataset of `meta`; InputError where it lacks a combination of classes."""
    classes = round(meta["classes"] ** (1 / meta["stacked"]))
    if classes ** meta["stacked"] != meta["classes"]:
        raise InputError(f"{meta['classes']} combinations of classes are no power of {meta['stacked']}: some never occur; raise "
                         "options.stacked of the dataset, or write features: none")
    return {**meta, "shape": [*meta["shape"][:2], 1], "classes": classes}
