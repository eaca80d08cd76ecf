"""Neural language model: a word from the words around it, by a feed-forward network and a full softmax.

Bengio, Ducharme, Vincent, Jauvin 2003 (https://jmlr.org/papers/v3/bengio03a.html, eq. 1 and section 2):

    x = (C(w_1), ..., C(w_n)),   p(w | x) = softmax(b + U tanh(d + H x) [+ W x])

C are the `input` vectors, U the `output` vectors, W the optional direct connections. The context is the paper's `words` words to the
left, or the same number left and right, or one word drawn from the `words` nearest on either side (every one as likely).

<unk>, which stands for the rare words, is a word like any other: it is read, predicted and counted in the perplexity (a closed vocabulary,
as on Penn Treebank). Places before the beginning and after the end of a document are one padding word of their own, which is never
predicted; the end of a document is not predicted either.

Deviations from the paper: Adagrad on the gradient summed over `batch` places in place of single stochastic steps, dropout on tanh in
place of weight decay, b starts at the logarithm of the training frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import KernelModel
from stages.models.parts.softmax import adagrad_, softmax_gradients, softmax_loss
from stages.settings import field

CITATION = "Bengio, Ducharme, Vincent, Jauvin: A Neural Probabilistic Language Model, JMLR 3, 2003"
SCORED = 4096  # places scored at once


@dataclass(frozen=True)
class Config:
    context: Literal["left", "both", "nearby"] = field("left", doc="words to the left, to both sides, or one of both sides' words")
    words: int = field(4, low=1, high=64, doc="to a side")
    dimension: int = field(64, low=1, high=4096, doc="of a word's vector")
    hidden: int = field(64, low=1, high=4096)
    direct: bool = field(False, doc="connections from the word vectors to the output")
    dropout: float = field(0.0, low=0.0, high=0.9, doc="share of the hidden units left out at a training step")
    lr: float = field(0.1, above=0.0)
    lr_end: float = field(0.0, low=0.0, doc="the rate falls linearly to this")
    batch: int = field(512, low=1, doc="places a step")


class Model(KernelModel):
    kinds = ("documents",)
    train_defaults: Mapping[str, object] = {"epochs": 5}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        self.config, self.size = config, meta["words"]
        reads = {"left": config.words, "both": 2 * config.words, "nearby": 1}[config.context]
        inner = reads * config.dimension
        width = config.hidden + inner * config.direct
        fixed = dict(requires_grad=False)
        self.input = nn.Parameter(torch.randn(self.size + 1, config.dimension) * 0.1, **fixed)  # the last row is the padding
        self.weight = nn.Parameter((torch.rand(inner, config.hidden) * 2 - 1) / inner**0.5, **fixed)  # H
        self.shift = nn.Parameter(torch.zeros(config.hidden), **fixed)  # d
        self.output = nn.Parameter(torch.zeros(self.size, width), **fixed)  # U, W
        self.bias = nn.Parameter(torch.zeros(self.size), **fixed)
        for name, parameter in list(self.named_parameters()):
            self.register_buffer(f"{name}_squares", torch.ones_like(parameter))  # Adagrad's; from 1, so that the first steps are no leaps

    def begin(self, data, seed):
        counts = torch.from_numpy(np.maximum(np.array(data["counts"], np.float32), 0.5))
        self.bias.copy_((counts / counts.sum()).log())

    def reach(self) -> np.ndarray:
        """Places read, relative to the one predicted."""
        left = np.arange(-self.config.words, 0)
        return left if self.config.context == "left" else np.concatenate([left, -left[::-1]])

    def contexts(self, tokens, document, places: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Ids of the words at `reach` [n] (or [places, n]) around each place, int64 [places, n]; outside its document the padding."""
        at = places[:, None] + reach
        inside = np.clip(at, 0, len(tokens) - 1)
        known = (at == inside) & (document[inside] == document[places][:, None]) & (tokens[inside] >= 0)
        return np.where(known, tokens[inside], self.size).astype(np.int64)

    def hidden(self, contexts: Tensor, kept: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """(x [B, n D], tanh(d + H x) times what dropout keeps [B, hidden]) of contexts [B, n]."""
        x = self.input[contexts].flatten(1)
        return x, torch.tanh(torch.addmm(self.shift, x, self.weight)) * kept

    def context_vectors(self, contexts: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        """What the output layer reads."""
        x, h = self.hidden(contexts, kept)
        return torch.cat([h, x], 1) if self.config.direct else h

    def epoch(self, data, seed, epoch, epochs, threads):
        c, rng = self.config, np.random.default_rng([seed, epoch])
        tokens, document = whole(data, "train")
        places = rng.permutation(np.flatnonzero(tokens >= 0))
        reach, loss = self.reach(), 0.0
        for start in range(0, len(places), c.batch):
            chosen = places[start : start + c.batch]
            near = reach
            if c.context == "nearby":
                near = self.drawn(document, chosen, reach, rng)
            kept = torch.from_numpy((rng.random((len(chosen), c.hidden)) >= c.dropout) / (1 - c.dropout)).float() if c.dropout else 1.0
            contexts = torch.from_numpy(self.contexts(tokens, document, chosen, near))
            lr = c.lr + (c.lr_end - c.lr) * (epoch + start / len(places)) / epochs
            loss += self.step(contexts, torch.from_numpy(tokens[chosen].astype(np.int64)), kept, lr)
        return len(places), {"loss": loss / max(len(places), 1)}

    def step(self, contexts: Tensor, targets: Tensor, kept: Tensor | float, lr: float) -> float:
        """One step on contexts [B, n] and targets [B]: the loss of the batch, summed, in nats."""
        loss, gradients, words = self.gradients(contexts, targets, kept)
        for name, gradient in gradients.items():
            parameter, squares = getattr(self, name), getattr(self, f"{name}_squares")
            if name == "input":  # only the rows that were read
                own, sums = parameter[words], squares[words]
                adagrad_(own, gradient, sums, lr)
                parameter[words], squares[words] = own, sums
            else:
                adagrad_(parameter, gradient, squares, lr)
        return loss

    def gradients(self, contexts: Tensor, targets: Tensor, kept: Tensor | float = 1.0) -> tuple[float, dict[str, Tensor], Tensor]:
        """(summed loss, its gradient by parameter, ids of the rows of `input` that theirs are for)."""
        x, h = self.hidden(contexts, kept)
        read = torch.cat([h, x], 1) if self.config.direct else h
        loss, d_read, d_output, d_bias = softmax_gradients(read, self.output, self.bias, torch.arange(len(targets)), targets)
        raw = h / kept if not isinstance(kept, Tensor) else torch.where(kept > 0, h / kept, 0.0)
        d_inner = d_read[:, : self.config.hidden] * kept * (1 - raw * raw)
        d_x = d_inner @ self.weight.T
        if self.config.direct:
            d_x += d_read[:, self.config.hidden :]
        words, place = torch.unique(contexts, return_inverse=True)
        d_input = torch.zeros(len(words), self.config.dimension).index_add_(0, place.flatten(), d_x.view(-1, self.config.dimension))
        return loss, {"input": d_input, "weight": x.T @ d_inner, "shift": d_inner.sum(0), "output": d_output, "bias": d_bias}, words

    def drawn(self, document, places: np.ndarray, reach: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place of `reach` for each, of those inside its document, every one as likely [places, 1]; alone in it, one outside."""
        at = places[:, None] + reach
        inside = np.clip(at, 0, len(document) - 1)
        score = rng.random(at.shape) + ((at == inside) & (document[inside] == document[places][:, None]))
        return reach[score.argmax(1)][:, None]

    def losses(self, data: Mapping[str, np.ndarray], split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(word predicted [B], -log p of it in nats [B]) over all places of a split in order; `nearby`: the mean over the words around."""
        tokens, document = whole(data, split)
        places, reach = np.flatnonzero(tokens >= 0), self.reach()
        for start in range(0, len(places), SCORED):
            chosen = places[start : start + SCORED]
            targets = torch.from_numpy(tokens[chosen].astype(np.int64))
            contexts = self.contexts(tokens, document, chosen, reach)
            if self.config.context != "nearby":
                vectors = self.context_vectors(torch.from_numpy(contexts))
                found = softmax_loss(vectors, self.output, self.bias, torch.arange(len(chosen)), targets)
                yield tokens[chosen], found.double().numpy()
                continue
            alone = (contexts == self.size).all(1)
            row, side = np.nonzero((contexts != self.size) | (alone[:, None] & (reach == reach[0])))
            words, place = np.unique(contexts[row, side], return_inverse=True)
            found = softmax_loss(self.context_vectors(torch.from_numpy(words[:, None])), self.output, self.bias, torch.from_numpy(place),
                                 targets[row]).double().numpy()
            yield tokens[chosen], np.bincount(row, found) / np.bincount(row)

    def heldout_loss(self, data: Mapping[str, np.ndarray], split: str) -> float:
        """Mean -log p(word | context) over every word of a split, <unk> included, in nats; NaN for an empty split."""
        parts = [found for _, found in self.losses(data, split)]
        return float(np.concatenate(parts).mean()) if parts else float("nan")

    def validate(self, data):
        return {"loss": self.heldout_loss(data, "valid")}

    def vectors(self) -> dict[str, Tensor]:
        """`input` vectors, float32 [V, D]."""
        return {"input": self.input.detach()[: self.size]}


def whole(data: Mapping[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
    """(tokens end to end, document of each)."""
    offsets = data[f"{split}.offsets"]
    return data[f"{split}.tokens"], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
