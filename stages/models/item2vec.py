"""prod2vec and Meta-Prod2Vec: vectors of items, and of what is known about them, from receipts.

prod2vec: Grbovic et al. 2015 (https://arxiv.org/abs/1606.07154), skip-gram with negative sampling, receipts as sentences.
Meta-Prod2Vec: Vasile, Smirnova, Conneau 2016 (https://arxiv.org/abs/1607.07326, section 4), values of metadata fields as further rows of
the same two tables. For every pair of an item I near an item J, with values M_I and M_J of a field,

    loss = l(I, J) + lambda sum over fields [ l(I, M_J) + l(M_I, J) + l(M_I, M_J) + l(M_I, I) ]
    l(a, b) = -log s(in_a . out_b) - sum_{i=1..k} log s(-in_a . out_{n_i}),   n_i ~ f^exponent of b's own vocabulary

that is, items compete with items and the values of a field with the values of that field. lambda = 0, or no fields, is prod2vec to the bit:
the side terms draw from a stream of their own.

Deviations, and what they cost:
- The noise items of a centre J are drawn once for all that is near it, as in word2vec's `shared`: same expectation.
- `sides: one` takes the side terms of one field a centre, drawn uniformly, times the number of fields: same expectation, a fraction of the
  time; `all` takes every field.
- l(M_J, J) is counted once for every I near J (and not l(M_I, I) at J's turn): over a receipt both are the same sum.
- Noise equal to its target is dropped; k of the values is a setting of its own (`side_negatives`), since fields have few values.
- An item without a value of a field takes no part in that field's terms.
- `window: 0` takes the whole receipt, which has no order.
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
from stages.models.parts.heldout import heldout
from stages.models.parts.items import train
from stages.models.parts.sampling import alias_table, noise_weights, shuffled
from stages.settings import InputError, choose, field

CITATION = "Vasile, Smirnova, Conneau: Meta-Prod2Vec - Product Embeddings Using Side-Information for Recommendation, RecSys 2016"


@dataclass(frozen=True)
class Config:
    fields: tuple[str, ...] = field((), doc="metadata fields of the dataset that take part; none: prod2vec")
    side_weight: float = field(0.5, low=0.0, doc="lambda of the side terms; 0: prod2vec")
    sides: Literal["one", "all"] = field("one", doc="fields whose side terms a centre takes: one drawn at random, or all")
    side_negatives: int = field(5, low=1, high=1000, doc="noise values of a metadata target")
    dimension: int = field(32, low=1, high=4096)
    window: int = field(3, low=0, doc="reach to each side; 0: the whole receipt")
    shrink: bool = field(True, doc="draw the reach uniformly from 1..window")
    negatives: int = field(10, low=1, high=1000)
    exponent: float = field(0.75, low=-4.0, high=4.0, doc="noise ~ frequency^exponent")
    subsample: float = field(0.0, low=0.0, high=1.0, doc="t of sqrt(t / frequency); 0: keep every occurrence")
    lr: float = field(0.025, above=0.0)
    lr_end: float = field(0.0001, low=0.0)


def written_out_loss(inputs: Tensor, outputs: Tensor, values: np.ndarray, side_weight: float, pairs: list[tuple[int, int]],
                     noise: list[Tensor], k: list[int]) -> Tensor:
    """The objective in plain torch, summed over the pairs (I, J), the expectation over the noise written out. Scalar, in nats.

    inputs, outputs [V + values, D]; values [fields, V]: rows of the items' values (-1: none); noise: of the items, then of each field,
    weights [V + values] that sum to 1; k: noise rows of an item and of each field's value.
    """
    scores = inputs @ outputs.T

    def term(a, b, kind):
        against = functional.softplus(scores[a]) * noise[kind]
        return -functional.logsigmoid(scores[a, b]) + k[kind] * (against.sum() - against[b])

    loss = 0.0
    for i, j in pairs:
        loss = loss + term(i, j, 0)
        for f, rows in enumerate(values.tolist()):
            m_i, m_j = rows[i], rows[j]
            if m_j >= 0:
                loss = loss + side_weight * term(i, m_j, f + 1)
            if m_i >= 0:
                loss = loss + side_weight * (term(m_i, j, 0) + term(m_i, i, 0))
            if m_i >= 0 and m_j >= 0:
                loss = loss + side_weight * term(m_i, m_j, f + 1)
    return loss


class Model(KernelModel):
    kinds = ("receipts",)
    train_defaults: Mapping[str, object] = {"epochs": 20}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config, known = config, meta["fields"]
        if config.fields and not known:
            raise InputError(f"model.fields: dataset {meta['dataset']} has no metadata, but {', '.join(config.fields)} was asked for; "
                             "name its columns under the dataset's options.metadata, or write fields: [] for prod2vec")
        for name in config.fields:
            choose(name, known, f"model.fields: dataset {meta['dataset']}", "metadata field")
        if len(set(config.fields)) < len(config.fields):
            raise InputError(f"model.fields: a field stands twice in {', '.join(config.fields)}; name each once")
        self.items = meta["items"]
        self.starts = np.cumsum([self.items, *(known[name] for name in config.fields)]).astype(np.int64)
        start = [(torch.rand(n, config.dimension) * 2 - 1) / config.dimension for n in np.diff(self.starts, prepend=0).tolist()]
        self.input = nn.Parameter(torch.cat(start), requires_grad=False)  # the items' part is drawn first: as it is without fields
        self.output = nn.Parameter(torch.zeros_like(self.input), requires_grad=False)

    def epoch(self, data, seed, epoch, epochs, threads):
        c, arrays = self.config, views(self)
        fall = (c.lr_end - c.lr) / epochs
        examples, loss = train(data["train.tokens"], data["train.offsets"], shuffled(len(data["train.offsets"]) - 1, seed, epoch),
                               arrays["input"], arrays["output"], self.noise(data), self.keep(data), *self.sides(data),
                               side_weight=c.side_weight, one_field=c.sides == "one", window=c.window, shrink=c.shrink, k=c.negatives,
                               side_k=c.side_negatives, rates=(c.lr + fall * epoch, c.lr + fall * (epoch + 1)), seed=seed, epoch=epoch,
                               threads=threads)
        return examples, {"loss": loss}

    def noise(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Alias table of the items' noise distribution."""
        return alias_table(noise_weights(data["counts"], self.config.exponent))

    def keep(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probability that an occurrence is trained on, float64 [V]."""
        counts = np.array(data["counts"], np.float64)
        frequency = np.maximum(counts, 1.0) / max(counts.sum(), 1.0)
        return np.minimum(np.sqrt(self.config.subsample / frequency), 1.0) if self.config.subsample else np.ones(len(counts))

    def values(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """int32 [fields, V]: the row of the tables that holds an item's value, -1 for none."""
        found = np.full((len(self.config.fields), self.items), -1, np.int32)
        for row, name, start in zip(found, self.config.fields, self.starts, strict=False):
            ids = np.asarray(data[f"field.{name}"])
            row[:] = np.where(ids >= 0, ids + start, -1)
        return found

    def sides(self, data: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(values, starts, the fields' alias tables end to end): a value's noise is by how often items with it were bought."""
        values, tables = self.values(data), [np.empty((0, 2), np.uint32)]
        for row, start, stop in zip(values, self.starts, self.starts[1:], strict=False):
            counts = np.bincount(row[row >= 0] - start, np.asarray(data["counts"])[row >= 0], stop - start)
            tables.append(alias_table(noise_weights(counts, self.config.exponent)))
        return values, self.starts, np.concatenate(tables)

    def heldout_loss(self, data: Mapping[str, np.ndarray], split: str) -> float:
        """Mean loss l(I, J) per pair of items on a split, in nats: what prod2vec and Meta-Prod2Vec have in common."""
        c = self.config
        return heldout(data[f"{split}.tokens"], data[f"{split}.offsets"], self.input.numpy(), self.output.numpy(), np.empty(0, np.float32),
                       self.noise(data), self.keep(data), window=c.window, shrink=c.shrink, k=c.negatives)

    def validate(self, data):
        return {"loss": self.heldout_loss(data, "valid")}

    def vectors(self) -> dict[str, Tensor]:
        """`input` and `output` of the items, float32 [V, D] each; of each field `field.<name>` and `output.field.<name>`, [values, D]."""
        found = {}
        for table, prefix in ((self.input.detach(), ""), (self.output.detach(), "output.")):
            found[prefix.rstrip(".") or "input"] = table[: self.items]
            for name, start, stop in zip(self.config.fields, self.starts, self.starts[1:], strict=False):
                found[f"{prefix}field.{name}"] = table[start:stop]
        return found
