"""TransE: a relation is a translation from head to tail. TransH (`hyperplanes: true`): the same on a hyperplane of the relation's own.

Bordes, Usunier, Garcia-Duran, Weston, Yakhnenko 2013 (https://papers.nips.cc/paper/5071), eq. 1, algorithm 1; Wang, Zhang, Feng, Chen
2014 (https://ojs.aaai.org/index.php/AAAI/article/view/8870), eq. 1-5, section 3.2.

    TransE:            d(h, r, t) = |h + r - t|          TransH:  |h_p + d_r - t_p|,  x_p = x - (w_r.x) w_r,  |w_r| = 1
    margin:            sum over (h,r,t) and its corruptions  max(0, gamma + d(h, r, t) - d(h', r, t'))
    self_adversarial:  -log s(gamma - d) - sum_i p_i log s(d_i - gamma),  p = softmax(alpha (gamma - d_i)) without gradient
                       (Sun, Deng, Nie, Tang 2019, https://arxiv.org/abs/1902.10197, eq. 5)
    softmax:           -log exp(-d) / (exp(-d) + sum_i exp(-d_i))
                       (Ruffinelli, Broscheit, Gemulla 2020, https://openreview.net/forum?id=BkxSmlBFvr, with sampled negatives)
    TransH adds        C (sum_e [|e|^2 - 1]_+ + sum_r [(w_r.d_r)^2 / |d_r|^2 - epsilon^2]_+)

|.| is the L1 norm, the L2 norm or the squared L2 norm (TransH's own). Head or tail is replaced by an entity drawn uniformly, `bern`
choosing the side. Under the margin loss TransE's entities stay on the unit sphere; under the others they are free. TransH's entities are
kept in the unit ball, and d_r orthogonal to w_r, by the soft bounds alone, under every loss.

Deviations, and what they cost:
- One step a triple in place of minibatches; the entities that moved are put back on the sphere (the normal of the relation on its own) at
  once, not before the next batch, and the soft bounds are summed over the entities and the relation of the step, not over all.
- A corruption that is a training triple is drawn again (the papers keep it).
- Adagrad with one accumulator a row converges in fewer epochs than the papers' SGD; `optimizer: sgd` is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.models.base import KernelModel, views
from stages.models.parts.distances import distances
from stages.models.parts.sampling import shuffled
from stages.models.parts.triples import facts_of, train
from stages.settings import field

CITATION = (
    "Bordes, Usunier, Garcia-Duran, Weston, Yakhnenko: Translating Embeddings for Modeling Multi-relational Data, NIPS 2013; "
    "Wang, Zhang, Feng, Chen: Knowledge Graph Embedding by Translating on Hyperplanes, AAAI 2014"
)
LOOKED_AT = 500  # validation triples a look ranks


@dataclass(frozen=True)
class Config:
    dimension: int = field(100, low=1, high=4096)
    hyperplanes: bool = field(False, doc="TransH: head and tail are projected on the relation's hyperplane first")
    distance: Literal["l1", "l2", "squared_l2"] = field("l1")
    objective: Literal["margin", "self_adversarial", "softmax"] = field("margin")
    margin: float = field(1.0, above=0.0, doc="gamma; softmax has none")
    temperature: float = field(1.0, above=0.0, doc="alpha of the self-adversarial weights")
    negatives: int = field(1, low=1, high=1024, doc="corruptions of a triple")
    corruption: Literal["unif", "bern"] = field("bern")
    constraint: float = field(0.25, low=0.0, doc="C of TransH's soft bounds")
    epsilon: float = field(0.1, low=0.0, high=1.0, doc="of TransH's soft bounds: cosine of d_r and w_r that costs nothing")
    optimizer: Literal["sgd", "adagrad"] = field("adagrad")
    lr: float = field(0.1, above=0.0)
    lr_decay: Literal["none", "linear"] = field("none", doc="linear: to zero at the last epoch, in a step an epoch")


def written_out_loss(config: Config, tables: Mapping[str, Tensor], triples: Tensor, corrupted: Tensor) -> Tensor:
    """The objective in plain torch, summed over the batch: triples [B, 3] (head, relation, tail), corrupted [B, n, 3]. Scalar.

    tables: entity, relation and for TransH normal [., D]. TransH's bounds are summed over the entities and relations of each row of the
    batch, each counted once a row.
    """
    entity, relation = tables["entity"], tables["relation"]
    order = 1 if config.distance == "l1" else 2

    def measured(x):
        h, r, t = (table[x[..., i]] for i, table in enumerate((entity, relation, entity)))
        if config.hyperplanes:
            w = tables["normal"][x[..., 1]]
            h, t = (e - (w * e).sum(-1, keepdim=True) * w for e in (h, t))
        size = torch.linalg.vector_norm(h + r - t, ord=order, dim=-1)
        return size.square() if config.distance == "squared_l2" else size

    true, false = measured(triples)[:, None], measured(corrupted)                # (B, 1), (B, n)
    if config.objective == "margin":
        loss = functional.relu(config.margin + true - false).sum()
    elif config.objective == "softmax":
        loss = -functional.log_softmax(-torch.cat([true, false], 1), 1)[:, 0].sum()
    else:
        weights = functional.softmax(config.temperature * (config.margin - false), 1).detach()
        loss = -functional.logsigmoid(config.margin - true).sum() - (weights * functional.logsigmoid(false - config.margin)).sum()
    if not config.hyperplanes:
        return loss
    for row, others in zip(triples, corrupted, strict=True):
        touched = torch.cat([row[None], others])[:, [0, 2]].unique()
        d, w = relation[row[1]], tables["normal"][row[1]]
        bounds = functional.relu(entity[touched].square().sum(1) - 1).sum()
        loss = loss + config.constraint * (bounds + functional.relu((w @ d) ** 2 / (d @ d) - config.epsilon**2))
    return loss


class Model(KernelModel):
    kinds = ("triples",)
    train_defaults: Mapping[str, object] = {"epochs": 100}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config = config
        bound = 6.0 / config.dimension**0.5
        if config.objective == "self_adversarial":  # distances near gamma from the start, as in the authors' code
            bound = (config.margin + 2.0) / config.dimension ** (1.0 if config.distance == "l1" else 0.5)
        tables = {name: (torch.rand(meta[size], config.dimension) * 2 - 1) * bound for name, size in self.tables(config).items()}
        if config.objective == "margin":
            tables = {name: functional.normalize(table) for name, table in tables.items()}
        if config.hyperplanes:
            tables["normal"] = functional.normalize(tables["normal"])
        for name, table in tables.items():
            setattr(self, name, nn.Parameter(table, requires_grad=False))
            if config.optimizer == "adagrad":
                self.register_buffer(f"{name}_squares", torch.zeros(len(table)))
        self._facts = None

    @staticmethod
    def tables(config: Config) -> dict[str, str]:
        """Tables of vectors: which of the meta's sizes counts the rows of each."""
        return {"entity": "entities", "relation": "relations", **({"normal": "relations"} if config.hyperplanes else {})}

    @property
    def unit(self) -> bool:
        """Whether the entities are kept on the unit sphere."""
        return self.config.objective == "margin" and not self.config.hyperplanes

    def epoch(self, data, seed, epoch, epochs, threads):
        c, triples = self.config, data["train.triples"]
        if self._facts is None or not np.array_equal(self._facts[0], triples):
            self._facts = np.array(triples), facts_of(triples, len(self.relation), c.corruption)
        loss = train(self._facts[1], shuffled(len(triples), seed, epoch), views(self), negatives=c.negatives, distance=c.distance,
                     objective=c.objective, margin=c.margin, temperature=c.temperature, unit=self.unit, strength=c.constraint,
                     epsilon=c.epsilon, lr=c.lr * (1 - epoch / epochs if c.lr_decay == "linear" else 1.0), seed=seed, epoch=epoch)
        return len(triples), {"loss": loss}

    def score(self, h: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """-d(h, r, t) of triples given as ids [B]; higher is likelier."""
        gap = self._projected(h, r) + self.relation[r] - self._projected(t, r)
        size = torch.linalg.vector_norm(gap, ord=1 if self.config.distance == "l1" else 2, dim=-1)
        return -(size.square() if self.config.distance == "squared_l2" else size)

    def tail_scores(self, h: Tensor, r: Tensor) -> Tensor:
        """Scores [B, entities] of every entity as tail."""
        return self._all_scores(self._projected(h, r) + self.relation[r], r)

    def head_scores(self, r: Tensor, t: Tensor) -> Tensor:
        """Scores [B, entities] of every entity as head."""
        return self._all_scores(self._projected(t, r) - self.relation[r], r)

    def _projected(self, e: Tensor, r: Tensor) -> Tensor:
        vectors = self.entity[e]
        if not self.config.hyperplanes:
            return vectors
        w = self.normal[r]
        return vectors - (w * vectors).sum(1, keepdim=True) * w

    def _all_scores(self, queries: Tensor, r: Tensor) -> Tensor:
        normals = self.normal[r].numpy() if self.config.hyperplanes else None
        return torch.from_numpy(-distances(queries.numpy(), self.entity.numpy(), self.config.distance, normals))

    def validate(self, data):
        """1 - filtered MRR over both sides of at most LOOKED_AT validation triples, the same at every look (ties by the mean)."""
        known = np.concatenate([data["train.triples"], data["valid.triples"]]).astype(np.int64)
        drawn = np.random.default_rng(0).permutation(len(data["valid.triples"]))[:LOOKED_AT]  # they lie sorted by head
        queries = np.array(data["valid.triples"][np.sort(drawn)], np.int64)
        if not len(queries):
            return {}
        h, r, t = torch.from_numpy(queries).T
        ranks = [_ranks(self.tail_scores(h, r).numpy(), queries, known, 0, 2), _ranks(self.head_scores(r, t).numpy(), queries, known, 2, 0)]
        mrr = float((1.0 / np.concatenate(ranks)).mean())
        return {"loss": 1.0 - mrr, "mrr": mrr}

    def vectors(self) -> dict[str, Tensor]:
        """`entity` [entities, D], `relation` and for TransH `normal` [relations, D], float32."""
        return {name: getattr(self, name).detach() for name in self.tables(self.config)}


def _ranks(scores: np.ndarray, queries: np.ndarray, known: np.ndarray, given: int, asked: int) -> np.ndarray:
    """Filtered ranks: other known answers to the same (given entity, relation) do not count."""
    relations = known[:, 1].max() + 1
    keys = known[:, given] * relations + known[:, 1]
    order = np.argsort(keys, kind="stable")
    keys, answers = keys[order], known[order, asked]
    wanted = queries[:, given] * relations + queries[:, 1]
    first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    ranks = np.empty(len(queries))
    for i, row in enumerate(scores):
        target = row[queries[i, asked]]
        row[answers[first[i]:last[i]]] = -np.inf
        ranks[i] = 1 + (row > target).sum() + (row == target).sum() / 2
    return ranks
