"""TransE: a relation is a translation from head to tail.

Bordes, Usunier, Garcia-Duran, Weston, Yakhnenko 2013 (https://papers.nips.cc/paper/5071), eq. 1, algorithm 1.

    margin:            sum over (h,r,t) and its corruptions  max(0, gamma + d(h + r, t) - d(h' + r, t'))
    self_adversarial:  -log s(gamma - d) - sum_i p_i log s(d_i - gamma),  p = softmax(alpha (gamma - d_i)) without gradient
                       (Sun, Deng, Nie, Tang 2019, https://arxiv.org/abs/1902.10197, eq. 5)

d is the L1 or the L2 norm (not its square). Head or tail is replaced by an entity drawn uniformly, `bern` choosing the side as in
Wang et al. 2014. Under the margin loss the entities stay on the unit sphere; under the self-adversarial loss they are free.

Deviations, and what they cost:
- One step a triple in place of minibatches; the entities that moved are put back on the sphere at once, not before the next batch.
- A corruption that is a training triple is drawn again (the paper keeps it).
- Adagrad with one accumulator a row converges in fewer epochs than the paper's SGD; `optimizer: sgd` is the paper's.
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
from stages.models.parts.sampling import shuffled
from stages.models.parts.triples import facts_of, train
from stages.settings import field

CITATION = "Bordes, Usunier, Garcia-Duran, Weston, Yakhnenko: Translating Embeddings for Modeling Multi-relational Data, NIPS 2013"
LOOKED_AT = 500  # validation triples a look ranks


@dataclass(frozen=True)
class Config:
    dimension: int = field(100, low=1, high=4096)
    norm: Literal[1, 2] = field(1, doc="of the distance")
    objective: Literal["margin", "self_adversarial"] = field("margin")
    margin: float = field(1.0, above=0.0, doc="gamma")
    temperature: float = field(1.0, above=0.0, doc="alpha of the self-adversarial weights")
    negatives: int = field(1, low=1, high=1024, doc="corruptions of a triple")
    corruption: Literal["unif", "bern"] = field("bern")
    optimizer: Literal["sgd", "adagrad"] = field("adagrad")
    lr: float = field(0.1, above=0.0)


def written_out_loss(config: Config, entity: Tensor, relation: Tensor, triples: Tensor, corrupted: Tensor) -> Tensor:
    """The objective in plain torch, summed over the batch: triples [B, 3] (head, relation, tail), corrupted [B, n, 3]. Scalar."""
    def distances(x):
        return torch.linalg.vector_norm(entity[x[..., 0]] + relation[x[..., 1]] - entity[x[..., 2]], ord=config.norm, dim=-1)

    true, false = distances(triples)[:, None], distances(corrupted)              # (B, 1), (B, n)
    if config.objective == "margin":
        return functional.relu(config.margin + true - false).sum()
    weights = functional.softmax(config.temperature * (config.margin - false), 1).detach()
    return -functional.logsigmoid(config.margin - true).sum() - (weights * functional.logsigmoid(false - config.margin)).sum()


class Model(KernelModel):
    kinds = ("triples",)
    train_defaults: Mapping[str, object] = {"epochs": 100}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config = config
        bound = 6.0 / config.dimension**0.5
        entity, relation = ((torch.rand(meta[name], config.dimension) * 2 - 1) * bound for name in ("entities", "relations"))
        if self.unit:
            entity, relation = functional.normalize(entity), functional.normalize(relation)
        self.entity = nn.Parameter(entity, requires_grad=False)
        self.relation = nn.Parameter(relation, requires_grad=False)
        if config.optimizer == "adagrad":
            self.register_buffer("entity_squares", torch.zeros(meta["entities"]))
            self.register_buffer("relation_squares", torch.zeros(meta["relations"]))

    @property
    def unit(self) -> bool:
        """Whether the entities are kept on the unit sphere."""
        return self.config.objective == "margin"

    def epoch(self, data, seed, epoch, epochs, threads):
        c, arrays, triples = self.config, views(self), data["train.triples"]
        facts = facts_of(triples, len(self.entity), len(self.relation), c.corruption)
        none = np.empty(0, np.float32)
        loss = train(triples, shuffled(len(triples), seed, epoch), arrays["entity"], arrays["relation"],
                     arrays.get("entity_squares", none), arrays.get("relation_squares", none), facts, negatives=c.negatives, norm=c.norm,
                     margin=c.margin, temperature=c.temperature if c.objective == "self_adversarial" else 0.0, unit=self.unit,
                     lr=c.lr, seed=seed, epoch=epoch)
        return len(triples), {"loss": loss}

    def score(self, h: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """-d(h + r, t) of triples given as ids [B]; higher is likelier."""
        gap = self.entity[h] + self.relation[r] - self.entity[t]
        return -torch.linalg.vector_norm(gap, ord=self.config.norm, dim=-1)

    def tail_scores(self, h: Tensor, r: Tensor) -> Tensor:
        """Scores [B, entities] of every entity as tail."""
        return -torch.cdist(self.entity[h] + self.relation[r], self.entity, p=float(self.config.norm))

    def head_scores(self, r: Tensor, t: Tensor) -> Tensor:
        """Scores [B, entities] of every entity as head."""
        return -torch.cdist(self.entity[t] - self.relation[r], self.entity, p=float(self.config.norm))

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
        """`entity` [entities, D] and `relation` [relations, D], float32."""
        return {"entity": self.entity.detach(), "relation": self.relation.detach()}


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
