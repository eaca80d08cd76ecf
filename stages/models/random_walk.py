"""DeepWalk and node2vec: skip-gram with negative sampling over random walks.

Perozzi, Al-Rfou, Skiena 2014 (https://arxiv.org/abs/1403.6652); Grover, Leskovec 2016 (https://arxiv.org/abs/1607.00653).

    sum_u sum_{v in N_R(u)}  -log s(z_u . y_v) - sum_{i=1..k} log s(-z_u . y_{n_i}),   n_i ~ degree^exponent

N_R(u) are the nodes within `window` steps of u on the walks, z the `node` vectors, y a second table of context vectors (as in word2vec).
p = q = 1 is DeepWalk; (p, q) biases the walk as in node2vec (parts/walks.py).

Deviations, and what they cost:
- Negative sampling in place of DeepWalk's hierarchical softmax, as node2vec does; k negatives per centre, shared by its window.
- The papers draw `walks` walks a node once and pass over them; here every epoch draws `walks` new ones, so that a node starts
  walks x epochs walks in all: nothing is seen twice and nothing need be kept.
- The noise is drawn by the node's weighted degree, the share of visits of an unbiased walk, rather than by counting visits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import KernelModel, views
from stages.models.parts.negative_sampling import written_out_loss as written_out_loss
from stages.models.parts.sampling import alias_table, noise_weights, shuffled
from stages.models.parts.skipgram import train
from stages.models.parts.walks import graph_from, walk
from stages.settings import field

CITATION = "Perozzi, Al-Rfou, Skiena: DeepWalk, KDD 2014; Grover, Leskovec: node2vec, KDD 2016"
BATCH = 1 << 20  # nodes of walks held in memory at once


@dataclass(frozen=True)
class Config:
    dimension: int = field(128, low=1, high=4096)
    walks: int = field(5, low=1, doc="started at every node in every epoch")
    length: int = field(40, low=2, doc="nodes of a walk")
    window: int = field(10, low=1)
    shrink: bool = field(True, doc="draw the reach uniformly from 1..window")
    negatives: int = field(5, low=1, high=1000)
    exponent: float = field(0.75, low=-4.0, high=4.0, doc="noise ~ degree^exponent")
    p: float = field(1.0, above=0.0, doc="node2vec's return parameter")
    q: float = field(1.0, above=0.0, doc="node2vec's in-out parameter")
    lr: float = field(0.025, above=0.0)
    lr_end: float = field(0.0001, low=0.0)


class Model(KernelModel):
    kinds = ("graph",)
    train_defaults: Mapping[str, object] = {"epochs": 10}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config = config
        start = (torch.rand(meta["nodes"], config.dimension) * 2 - 1) / config.dimension
        self.node = nn.Parameter(start, requires_grad=False)
        self.context = nn.Parameter(torch.zeros(meta["nodes"], config.dimension), requires_grad=False)

    def epoch(self, data, seed, epoch, epochs, threads):
        c, arrays = self.config, views(self)
        graph = graph_from(data["indptr"], data["indices"], data["weights"], c.q)
        nodes = len(graph.indptr) - 1
        noise, keep = self.noise(data), np.ones(nodes)
        starts = shuffled(nodes * c.walks, seed, epoch) % nodes
        pieces = np.array_split(starts, max(1, -(-len(starts) * c.length // BATCH)))
        fall = (c.lr_end - c.lr) / (epochs * len(pieces))
        examples = loss = 0
        for i, piece in enumerate(pieces):
            paths = walk(graph, piece, c.length, c.p, c.q, seed=seed, epoch=epoch, part=2 * i, threads=threads)
            done = epoch * len(pieces) + i
            pairs, mean = train(paths.ravel(), np.arange(len(piece) + 1) * c.length, np.arange(len(piece)),
                                arrays["node"], arrays["context"], np.empty(0, np.float32), noise, keep,
                                window=c.window, shrink=c.shrink, k=c.negatives, rates=(c.lr + fall * done, c.lr + fall * (done + 1)),
                                seed=seed, epoch=epoch, part=2 * i + 1, threads=threads)
            examples, loss = examples + pairs, loss + mean / len(pieces)
        return examples, {"loss": loss}

    def noise(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Alias table of degree^exponent; isolated nodes are never noise."""
        rows = np.repeat(np.arange(len(data["indptr"]) - 1), np.diff(data["indptr"]))
        degrees = np.bincount(rows, weights=data["weights"], minlength=len(data["indptr"]) - 1)
        return alias_table(noise_weights(degrees, self.config.exponent))

    def score_edges(self, edges: Tensor) -> Tensor:
        """Score [B] of node pairs int [B, 2], higher is likelier an edge: the cosine of their vectors, so that degree does not decide."""
        pairs = nn.functional.normalize(self.node, dim=1)[edges]
        return (pairs[:, 0] * pairs[:, 1]).sum(1)

    def validate(self, data):
        """1 - AUC of the held-out validation edges against as many non-edges."""
        if not len(data["heldout_valid.edges"]):
            return {}
        positive, negative = (self.score_edges(torch.from_numpy(np.array(data[f"heldout_valid.{name}"], np.int64))).numpy()
                              for name in ("edges", "non_edges"))
        ranked = np.sort(negative)
        below = np.searchsorted(ranked, positive, "left") + np.searchsorted(ranked, positive, "right")
        return {"loss": float(1.0 - below.mean() / (2 * max(len(negative), 1)))}

    def vectors(self) -> dict[str, Tensor]:
        """`node` and `context` vectors, float32 [N, D] each."""
        return {"node": self.node.detach(), "context": self.context.detach()}
