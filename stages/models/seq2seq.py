"""Sequence to sequence: an LSTM that reads and an LSTM that writes, without attention or with one of two.

Sutskever, Vinyals, Le 2014, https://arxiv.org/abs/1409.3215; additive attention: Bahdanau, Cho, Bengio 2015,
https://arxiv.org/abs/1409.0473 (section 3.1); multiplicative: Luong, Pham, Manning 2015, https://arxiv.org/abs/1508.04025 (eq. 8, general):

    additive        e_tj = v . tanh(W s_{t-1} + U h_j)         multiplicative   e_tj = s_{t-1} . W h_j
    a_t = softmax over j of e_t,  c_t = sum_j a_tj h_j,  s_t = LSTM(s_{t-1}, [y_{t-1}, c_t]),  p(y_t) = softmax(V [s_t, c_t] + b)

Scheduled sampling (Bengio et al. 2015, https://arxiv.org/abs/1506.03099, section 2.4): at step i of training each word before is the true
one with probability eps_i, else one drawn from the model: linear max(floor, 1 - i / k), exponential k^i, inverse sigmoid k/(k + exp(i/k)).

Deviations, and what they cost: the multiplicative form attends before the step, as the additive one does, so that only the score differs
(Luong et al. attend after it); one layer, reading both ways, where Sutskever et al. have four and reverse the source; the first state of
the writer is a linear map of the reader's last states. Without attention c_t is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.models.base import Model as Base
from stages.models.base import split_rows
from stages.models.parts.ragged import packing
from stages.models.parts.recurrent import Reader
from stages.settings import InputError, field

CITATION = "Bahdanau, Cho, Bengio 2015, Neural machine translation by jointly learning to align and translate, https://arxiv.org/abs/1409.0473"
START, END = 1, 2  # of stages/prepare/text.py; 0 is <unk>
ROWS = 256


@dataclass(frozen=True)
class Config:
    attention: Literal["none", "additive", "multiplicative"] = field("none")
    embedding: int = field(32, low=1, high=4096)
    hidden: int = field(96, low=1, high=4096, doc="of the writer; the reader has half of it each way")
    dropout: float = field(0.0, low=0.0, high=0.9)
    sampling: Literal["none", "linear", "exponential", "inverse_sigmoid"] = field("none", doc="scheduled sampling")
    k: float = field(1000.0, above=0.0, doc="of the schedule: steps to zero (linear), base below 1 (exponential), speed (inverse sigmoid)")
    floor: float = field(0.0, low=0.0, high=1.0, doc="least probability of the true word (linear)")
    longest: int = field(100, low=1, doc="words of a translation")


def true_word_probability(kind: str, step: int, k: float, floor: float) -> float:
    """eps_i of the step."""
    if kind == "none":
        return 1.0
    if kind == "linear":
        return max(floor, 1 - step / k)
    return k**step if kind == "exponential" else k / (k + math.exp(min(step / k, 700.0)))


class Model(Base):
    kinds = ("pairs",)
    inputs = ("source.tokens", "target.tokens")
    ragged = {"source.tokens": "source.offsets", "target.tokens": "target.offsets"}
    train_defaults = {"steps": 1000, "batch_size": 64, "lr": 3e-3, "clip_norm": 1.0, "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        c, self.config = config, config
        if c.sampling == "exponential" and c.k >= 1:
            raise InputError(f"model.k: {c.k:g} is the base of exponential decay, which must be below 1, for example 0.999")
        width = max(1, c.hidden // 2)
        self.source, self.target = nn.Embedding(meta["source_words"], c.embedding), nn.Embedding(meta["target_words"], c.embedding)
        self.reader, self.start = Reader("lstm", c.embedding, width, both_ways=True), nn.Linear(2 * width, c.hidden)
        attends = c.attention != "none"
        self.writer = nn.LSTMCell(c.embedding + 2 * width * attends, c.hidden)
        self.dropout, self.output = nn.Dropout(c.dropout), nn.Linear(c.hidden + 2 * width * attends, meta["target_words"])
        if c.attention == "additive":
            self.query, self.energy = nn.Linear(c.hidden, c.hidden, bias=False), nn.Linear(c.hidden, 1, bias=False)
        if attends:
            self.key = nn.Linear(2 * width, c.hidden, bias=False)

    def read(self, tokens: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(first state of the writer [B, hidden], what can be attended [B, longest, 2 width], places without: bool [B, longest])."""
        layout = packing(offsets.diff())
        states, last = self.reader(self.dropout(self.source(tokens[offsets[layout.row] + layout.step])), layout)
        memory = states.new_zeros(len(last), int(layout.lengths.max()), states.shape[1]).index_put((layout.row, layout.step), states)
        nothing = torch.arange(memory.shape[1], device=memory.device)[None] >= layout.lengths[:, None]
        return torch.tanh(self.start(last)), memory, nothing

    def attend(self, state: Tensor, memory: Tensor, keys: Tensor, nothing: Tensor) -> tuple[Tensor, Tensor]:
        """(context [B, 2 width], weights [B, longest] that sum to 1 and are 0 where there is nothing)."""
        if self.config.attention == "additive":
            scores = self.energy(torch.tanh(self.query(state)[:, None] + keys))[..., 0]
        else:
            scores = torch.bmm(keys, state[..., None])[..., 0]
        weights = scores.float().masked_fill(nothing, -math.inf).softmax(1)
        return torch.bmm(weights[:, None], memory)[:, 0], weights

    def keys(self, memory: Tensor) -> Tensor | None:
        return self.key(memory) if self.config.attention != "none" else None

    def step(self, word: Tensor, state: tuple[Tensor, Tensor], memory: Tensor, keys: Tensor | None, nothing: Tensor):
        """(logits [B, words], the next state, attention weights [B, longest] or None) after one more word, int64 [B]."""
        x, weights, context = self.dropout(self.target(word)), None, None
        if keys is not None:
            context, weights = self.attend(state[0], memory, keys, nothing)
            x = torch.cat([x, context], 1)
        state = self.writer(x, state)
        out = state[0] if context is None else torch.cat([state[0], context], 1)
        return self.output(self.dropout(out)).float(), state, weights

    def forced(self, batch: dict[str, Tensor], eps: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """(-log p of each target word and end, whether it is the likeliest, which pair it is of): [N] each, N all words and ends.

        Each word before is the true one with probability eps, else drawn from the model. Pairs leave when their target has ended.
        """
        tokens, offsets = batch["target.tokens"], batch["target.offsets"]
        first, memory, nothing = self.read(batch["source.tokens"], batch["source.offsets"])
        order = torch.argsort(offsets.diff(), descending=True, stable=True)
        lengths, starts, keys = offsets.diff()[order], offsets[:-1][order], self.keys(memory[order])
        memory, nothing, state = memory[order], nothing[order], (first[order], torch.zeros_like(first))
        word, losses, right, rows = torch.full_like(lengths, START), [], [], []
        for t in range(int(lengths[0]) + 1):
            n = int((lengths >= t).sum())
            state = state[0][:n], state[1][:n]
            logits, state, _ = self.step(word[:n], state, memory[:n], None if keys is None else keys[:n], nothing[:n])
            target = torch.where(lengths[:n] == t, END, tokens[(starts[:n] + t).clamp_(max=len(tokens) - 1)])
            losses.append(cross_entropy(logits, target, reduction="none"))
            right.append(logits.argmax(1) == target)
            rows.append(order[:n])
            word = target
            if eps < 1:
                own = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
                word = torch.where(torch.rand(n, device=own.device) < eps, target, own)
        return torch.cat(losses), torch.cat(right), torch.cat(rows)

    def loss(self, batch, phase, step):
        c = self.config
        losses, right, _ = self.forced(batch, true_word_probability(c.sampling, step, c.k, c.floor))
        return losses.sum() / len(batch["source.offsets"].diff()), {"word_loss": losses.mean(), "accuracy": right.float().mean()}

    def validate(self, data):
        """Loss a word of the validation pairs under teacher forcing, and the share of right words."""
        rows, device, found = np.arange(len(data["valid.source.offsets"]) - 1), self.start.bias.device, []
        for part in np.split(rows, range(ROWS, len(rows), ROWS)):
            found.append(self.forced(split_rows(self, data, "valid", part, device))[:2])
        losses, right = (torch.cat(column) for column in zip(*found, strict=True))
        return {"loss": losses.mean().item(), "accuracy": right.float().mean().item()}

    @torch.no_grad()
    def search(self, tokens: Tensor, offsets: Tensor, beam: int = 1, normalise: float = 1.0) -> tuple[list[list[int]], list[Tensor]]:
        """(the likeliest target found for each source, its attention weights [words, longest] or empty). Width 1 is greedy.

        Hypotheses compete by log p / length^normalise when they end; a search stops when `beam` have ended or at `longest` words.
        """
        first, memory, nothing = self.read(tokens, offsets)
        n, device = len(first), first.device
        spread = torch.arange(n, device=device).repeat_interleave(beam)
        memory, nothing, keys = memory[spread], nothing[spread], self.keys(memory)
        keys = None if keys is None else keys[spread]
        state = (first[spread], torch.zeros_like(first[spread]))
        word = torch.full((n * beam,), START, device=device)
        scores = torch.full((n, beam), -math.inf, device=device)
        scores[:, 0] = 0.0
        texts, maps = [[[] for _ in range(beam)] for _ in range(n)], [[[] for _ in range(beam)] for _ in range(n)]
        ended: list[list] = [[] for _ in range(n)]
        for length in range(1, self.config.longest + 2):
            logits, state, weights = self.step(word, state, memory, keys, nothing)
            total = scores[..., None] + torch.log_softmax(logits, 1).view(n, beam, -1)
            best, at = total.flatten(1).topk(beam, 1)
            parent, word = at // logits.shape[1], at % logits.shape[1]
            before_texts, before_maps = texts, maps
            texts, maps = [[None] * beam for _ in range(n)], [[None] * beam for _ in range(n)]
            over = (word == END) | (length > self.config.longest)
            for i, (of, words, costs, stops) in enumerate(zip(parent.tolist(), word.tolist(), best.tolist(), over.tolist(), strict=True)):
                for j, (p, w, cost, stop) in enumerate(zip(of, words, costs, stops, strict=True)):
                    if not math.isfinite(cost):
                        texts[i][j], maps[i][j] = [], []
                        continue
                    own = before_maps[i][p] + ([weights[i * beam + p]] if weights is not None else [])
                    texts[i][j], maps[i][j] = [*before_texts[i][p], w], own
                    if stop and len(ended[i]) < beam:
                        ended[i].append((cost / length**normalise, before_texts[i][p], own))
            scores = best.masked_fill(over, -math.inf)
            done = torch.tensor([len(e) >= beam for e in ended], device=device)
            scores[done] = -math.inf
            if not torch.isfinite(scores).any():
                break
            flat = (torch.arange(n, device=device)[:, None] * beam + parent).flatten()
            state, word = (state[0][flat], state[1][flat]), word.flatten()
        chosen = [max(e, key=lambda h: h[0]) if e else (0.0, [], []) for e in ended]
        return [c[1] for c in chosen], [torch.stack(c[2]) if c[2] else torch.zeros(0, 0) for c in chosen]
