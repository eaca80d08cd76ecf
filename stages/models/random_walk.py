"""DeepWalk and node2vec: skip-gram over random walks, trained by negative sampling or with the full softmax over all nodes.

Perozzi, Al-Rfou, Skiena 2014 (https://arxiv.org/abs/1403.6652); Grover, Leskovec 2016 (https://arxiv.org/abs/1607.00653).

    softmax:            sum_u sum_{v in N_R(u)}  -log exp(z_u . y_v) / sum_j exp(z_u . y_j)                 O(V) a pair, O(V^2) an epoch
    negative sampling:  sum_u sum_{v in N_R(u)}  -log s(z_u . y_v) - sum_{i=1..k} log s(-z_u . y_{n_i}),   n_i ~ degree^exponent

N_R(u) are the nodes within `window` steps of u on the walks, z the `node` vectors, y a second table of context vectors (as in word2vec;
one table for both would put every node first among its own neighbours). With `exclude` no noise n_i is a neighbour of u.
p = q = 1 is DeepWalk; (p, q) biases the walk as in node2vec (parts/walks.py).

Deviations, and what they cost:
- Negative sampling in place of DeepWalk's hierarchical softmax, as node2vec does; k negatives per centre, shared by its window.
- The papers draw `walks` walks a node once and pass over them; here every epoch draws `walks` new ones, so that a node starts
  walks x epochs walks in all: nothing is seen twice and nothing need be kept.
- The noise is drawn by the node's weighted degree, the share of visits of an unbiased walk, rather than by counting visits.
- The softmax is exact and trained in steps of `batch` nodes of walks by Adagrad (parts/softmax.py), for small graphs.
- A node without an edge is trained by nothing (the softmax still pushes its context vector away): it keeps its random start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import KernelModel, views
from stages.models.parts import skipgram, softmax, unlinked
from stages.models.parts.negative_sampling import written_out_loss as written_out_loss
from stages.models.parts.sampling import alias_table, noise_weights, shuffled
from stages.models.parts.walks import graph_from, walk
from stages.settings import InputError, field

CITATION = "Perozzi, Al-Rfou, Skiena: DeepWalk, KDD 2014; Grover, Leskovec: node2vec, KDD 2016"
BATCH = 1 << 20  # nodes of walks held in memory at once
NO_BIAS = np.empty(0, np.float32)


@dataclass(frozen=True)
class Config:
    objective: Literal["negative_sampling", "softmax"] = field("negative_sampling", doc="softmax: exact, over all nodes")
    dimension: int = field(128, low=1, high=4096)
    walks: int = field(5, low=1, doc="started at every node in every epoch")
    length: int = field(40, low=2, doc="nodes of a walk")
    window: int = field(10, low=1)
    shrink: bool = field(True, doc="draw the reach uniformly from 1..window")
    negatives: int = field(5, low=1, high=1000)
    exponent: float = field(0.75, low=-4.0, high=4.0, doc="noise ~ degree^exponent")
    exclude: bool = field(False, doc="no neighbour of a node is noise to it; a draw for each pair, several times slower")
    p: float = field(1.0, above=0.0, doc="node2vec's return parameter")
    q: float = field(1.0, above=0.0, doc="node2vec's in-out parameter")
    lr: float = field(0.025, above=0.0)
    lr_end: float = field(0.0001, low=0.0, doc="the rate falls linearly to this")
    batch: int = field(4096, low=1, doc="nodes of walks a step of the softmax objective")


class Model(KernelModel):
    kinds = ("graph",)
    train_defaults: Mapping[str, object] = {"epochs": 10}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        if config.exclude and config.objective == "softmax":
            raise InputError("model.exclude: the softmax has no noise to leave neighbours out of; remove it, or take negative_sampling")
        self.config, self._graph = config, None
        start = (torch.rand(meta["nodes"], config.dimension) * 2 - 1) / config.dimension
        self.node = nn.Parameter(start, requires_grad=False)
        self.context = nn.Parameter(torch.zeros(meta["nodes"], config.dimension), requires_grad=False)
        if config.objective == "softmax":  # Adagrad's sums of squared gradients; from 1, so that the first steps are no leaps
            self.register_buffer("node_squares", torch.ones_like(self.node))
            self.register_buffer("context_squares", torch.ones_like(self.context))

    def epoch(self, data, seed, epoch, epochs, threads):
        c, graph = self.config, self.graph(data)
        nodes = len(graph.indptr) - 1
        noise, keep = self.noise(data), np.ones(nodes)
        starts = shuffled(nodes * c.walks, seed, epoch) % nodes
        pieces = np.array_split(starts, max(1, -(-len(starts) * c.length // BATCH)))
        fall = (c.lr_end - c.lr) / (epochs * len(pieces))
        examples = loss = 0
        for i, piece in enumerate(pieces):
            paths = walk(graph, piece, c.length, c.p, c.q, seed=seed, epoch=epoch, part=2 * i, threads=threads)
            done = epoch * len(pieces) + i
            rates = c.lr + fall * done, c.lr + fall * (done + 1)
            common = {"window": c.window, "shrink": c.shrink, "rates": rates, "seed": seed, "epoch": epoch, "part": 2 * i + 1}
            documents = paths.ravel(), np.arange(len(piece) + 1) * c.length, np.arange(len(piece))
            if c.objective == "softmax":
                squares = self.node_squares, self.context_squares, None
                pairs, mean = softmax.train(*documents, self.node, self.context, None, squares, keep, batch=c.batch, **common)
            elif c.exclude:
                pairs, mean = unlinked.train(paths, graph.indptr, graph.indices, *self.tables(), noise, k=c.negatives, **common)
            else:
                pairs, mean = skipgram.train(*documents, *self.tables(), NO_BIAS, noise, keep, k=c.negatives, threads=threads, **common)
            examples, loss = examples + pairs, loss + mean / len(pieces)
        return examples, {"loss": loss}

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        arrays = views(self)
        return arrays["node"], arrays["context"]

    def graph(self, data: Mapping[str, np.ndarray]):
        """The graph as walks read it, built once for the epochs of one training."""
        if self._graph is None or self._graph[0] is not data:
            self._graph = data, graph_from(data["indptr"], data["indices"], data["weights"], self.config.q)
        return self._graph[1]

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
