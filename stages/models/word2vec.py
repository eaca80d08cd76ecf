"""word2vec and prod2vec: skip-gram and CBOW, trained by negative sampling or with the full softmax.

Mikolov, Chen, Corrado, Dean 2013 (https://arxiv.org/abs/1301.3781) and Mikolov et al. 2013 (https://arxiv.org/abs/1310.4546, eq. 4);
on receipts it is prod2vec (Grbovic et al. 2015, https://arxiv.org/abs/1606.07154).

    NEG:      -log s(w_t . e_c + b_t) - sum_{i=1..k} log s(-(w_{n_i} . e_c + b_{n_i})),   n_i ~ f^exponent
    softmax:  -log exp(w_t . e_c + b_t) / sum_j exp(w_j . e_c + b_j)                        (1301.3781; 1310.4546, eq. 2)

e are the `input` vectors, w the `output` vectors, b an optional output bias. Skip-gram: e_c is the vector of one context word and the
loss is summed over the window. CBOW: e_c is the mean of the window's vectors, and its gradient is that of the mean (each context
word gets 1/n of it; the authors' code gives each the whole).

Deviations, and what they cost:
- Skip-gram is written as "the context word predicts the centre". Over a corpus both directions give the same pairs with the same
  probability (the reach of a window does not depend on which of the two is its centre), and the rows of a centre are fetched once.
- `negatives: shared` draws the k noise words once per centre: another estimator of the same loss, same expectation, more than twice as
  fast; held-out loss was equal to the third digit. `pair` draws them for every pair.
- A noise word equal to the target is dropped, as in the authors' code.
- Subsampling keeps a word with probability sqrt(t / f), the paper's formula, not that of the authors' code.
- Documents are visited in a new order every epoch (of a long corpus by stretches of a million tokens); the rate falls linearly over all.
- Receipts have no order, so `window: 0` takes the whole basket.
- The softmax is exact, over every word of the vocabulary; the authors train an approximation (hierarchical). Its gradient is summed over
  about `batch` tokens and the step is Adagrad's, for one dense step per pair would cost V rows each; the word read is the centre, so that
  the normaliser of a window is computed once.

NEG's optimum is w_t . e_c + b_t = log p(t | c) - log(k P_noise(t)) (Levy and Goldberg 2014), so adding log P_noise(t) to the scores
turns its vectors into a conditional distribution: `context_loss` compares both objectives by the same exact softmax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import KernelModel, views
from stages.models.parts import softmax
from stages.models.parts.heldout import heldout
from stages.models.parts.negative_sampling import written_out_loss as written_out_loss
from stages.models.parts.sampling import alias_table, noise_weights
from stages.models.parts.skipgram import train, visiting_order
from stages.settings import field

CITATION = "Mikolov, Sutskever, Chen, Corrado, Dean: Distributed Representations of Words and Phrases and their Compositionality, NIPS 2013"


@dataclass(frozen=True)
class Config:
    architecture: Literal["skipgram", "cbow"] = field("skipgram")
    objective: Literal["negative_sampling", "softmax"] = field("negative_sampling")
    dimension: int = field(100, low=1, high=4096)
    window: int = field(5, low=0, doc="reach to each side; 0: the whole document or basket")
    shrink: bool = field(True, doc="draw the reach uniformly from 1..window, so that near words weigh more")
    negatives: int = field(5, low=1, high=1000)
    draw: Literal["shared", "pair"] = field("shared", doc="noise words drawn once per centre, or for every pair")
    exponent: float = field(0.75, low=-4.0, high=4.0, doc="noise ~ frequency^exponent")
    subsample: float = field(0.0, low=0.0, high=1.0, doc="t of sqrt(t / frequency); 0: keep every occurrence")
    bias: bool = field(False, doc="an output bias per word")
    lr: float = field(0.025, above=0.0)
    lr_end: float = field(0.0001, low=0.0, doc="the rate falls linearly to this")
    batch: int = field(4096, low=1, doc="tokens a step of the softmax objective")


class Model(KernelModel):
    kinds = ("documents", "receipts")
    train_defaults: Mapping[str, object] = {"epochs": 5}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config = config
        self.has_unknown = meta["kind"] == "documents"
        size = meta["words"] if self.has_unknown else meta["items"]
        start = (torch.rand(size, config.dimension) * 2 - 1) / config.dimension  # a smaller start loses quality
        self.input = nn.Parameter(start, requires_grad=False)
        self.output = nn.Parameter(torch.zeros(size, config.dimension), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(size), requires_grad=False) if config.bias else None
        if config.objective == "softmax":  # Adagrad's sums of squared gradients; from 1, so that the first steps are no leaps
            for name, parameter in list(self.named_parameters()):
                self.register_buffer(f"{name}_squares", torch.ones_like(parameter))

    def epoch(self, data, seed, epoch, epochs, threads):
        c = self.config
        order = visiting_order(data["train.offsets"], seed, epoch)
        fall = (c.lr_end - c.lr) / epochs
        rates = c.lr + fall * epoch, c.lr + fall * (epoch + 1)
        if c.objective == "softmax":
            squares = self.input_squares, self.output_squares, getattr(self, "bias_squares", None)
            examples, loss = softmax.train(data["train.tokens"], data["train.offsets"], order, self.input, self.output, self.bias, squares,
                                           self.keep(data), **self.windows(), batch=c.batch, rates=rates, seed=seed, epoch=epoch)
            return examples, {"loss": loss}
        examples, loss = train(data["train.tokens"], data["train.offsets"], order, *self.tables(), self.noise(data), self.keep(data),
                               **self.windows(), k=c.negatives, per_pair=c.draw == "pair", rates=rates, seed=seed, epoch=epoch,
                               threads=threads)
        return examples, {"loss": loss}

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        arrays = views(self)
        return arrays["input"], arrays["output"], arrays.get("bias", np.empty(0, np.float32))

    def windows(self) -> dict:
        return {"window": self.config.window, "shrink": self.config.shrink, "cbow": self.config.architecture == "cbow"}

    def noise(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Alias table of the noise distribution."""
        return alias_table(self.noise_weights(data))

    def noise_weights(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """P(n) of the noise, float64 [V]; `<unk>` is never noise."""
        counts = np.array(data["counts"])
        if self.has_unknown:
            counts[0] = 0
        return noise_weights(counts, self.config.exponent)

    def keep(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probability that an occurrence is trained on, float64 [V]; `<unk>` is left out, so that its neighbours move together."""
        counts = np.array(data["counts"], np.float64)
        if self.has_unknown:
            counts[0] = 0
        frequency = np.maximum(counts, 1.0) / max(counts.sum(), 1.0)
        keep = np.minimum(np.sqrt(self.config.subsample / frequency), 1.0) if self.config.subsample else np.ones(len(counts))
        if self.has_unknown:
            keep[0] = 0.0
        return keep

    def heldout_loss(self, data: Mapping[str, np.ndarray], split: str) -> float:
        """Mean loss per example (pair, or window of CBOW) on a split, in nats, without subsampling.

        Windows, and k fresh noise words per example, come from one fixed seed: an unbiased estimate of the expected loss, and the same
        draws for every model of this vocabulary.
        """
        if self.config.objective == "softmax":
            return self.context_loss(data, split)
        return heldout(data[f"{split}.tokens"], data[f"{split}.offsets"], *self.tables(), self.noise(data), self.keep(data),
                       **self.windows(), k=self.config.negatives)

    def context_loss(self, data: Mapping[str, np.ndarray], split: str) -> float:
        """Mean -log p(word | context) on a split in nats, exact over the vocabulary, windows as in `heldout_loss`; for either objective."""
        parts = [losses for _, _, losses in self.context_losses(data, split)]
        return float(np.concatenate(parts).mean()) if parts else float("nan")

    def context_losses(self, data: Mapping[str, np.ndarray], split: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(word read, -1 in CBOW; word predicted; -log p(predicted | read) in nats) of a split's examples, in pieces."""
        bias = self.bias
        if self.config.objective == "negative_sampling":
            log_noise = torch.from_numpy(np.log(np.maximum(self.noise_weights(data), 1e-30))).float()
            bias = log_noise if bias is None else bias + log_noise
        return softmax.heldout(data[f"{split}.tokens"], data[f"{split}.offsets"], self.input, self.output, bias, self.keep(data),
                               **self.windows())

    def validate(self, data):
        return {"loss": self.heldout_loss(data, "valid")}

    def vectors(self) -> dict[str, Tensor]:
        """`input` and `output` vectors, float32 [V, D] each."""
        return {"input": self.input.detach(), "output": self.output.detach()}
