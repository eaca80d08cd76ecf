"""Neural answer selection: which of its candidate answers a question has, by a stochastic attention over the answer.

Miao, Yu, Blunsom 2016, Neural variational inference for text processing, https://arxiv.org/abs/1511.06038 (section 4). No implementation is
maintained. LSTMs read question and answer, s_q and s_a(1..T):

    p(h|q) = N(mu(s_q), diag sigma^2(s_q)),   alpha(j) ~ exp(w . tanh(W_h h + W_s s_a(j))),   c = sum_j alpha(j) s_a(j)
    z_a = tanh(W_a c + W_n s_a(T)),   z_q = s_q(T),   p(y = 1|q, a, h) = s(z_q . M z_a + b)
    -E_q log p(y|z_q, z_a(h)) + KL(q(h|q, a, y) || p(h|q)),   q from [s_q, s_a(T), s_y]

A candidate is scored with h at the prior's mean. `attention: mean` has no noise and no KL (h is the prior's mean in training too), `none`
leaves c out: LSTM matching, the baseline. With `overlap` the score is joined by two features in a logistic layer, as in the paper: how many
words of the question the answer has, plain and weighted by log(N / n_w) over the training answers.

`ranks_by: likelihood` is the fully generative ranker beside them: a language model p(a|q) that reads s_q beside every word, trained on
right answers alone, half of the objective with s_q replaced by 0, which gives p(a) too. It scores by log p(a|q), which favours short
answers, or with `ranks_by: information` by log p(a|q) - log p(a), the order by p(q|a) under Bayes' rule (Li et al. 2016,
https://arxiv.org/abs/1510.03055, section 4).

Deviations, and what they cost: word vectors are learnt with the rest where the paper starts from 50-dimensional word2vec (rare words are
worse); both texts are read by one LSTM; Adam; one draw of h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.models.base import Model as Base
from stages.models.base import split_rows
from stages.models.parts.gaussian import kl_between, reparameterise
from stages.models.parts.ragged import packing
from stages.models.parts.recurrent import Reader, WordDecoder
from stages.settings import InputError, field

CITATION = "Miao, Yu, Blunsom 2016, Neural variational inference for text processing, https://arxiv.org/abs/1511.06038"
ROWS = 256


@dataclass(frozen=True)
class Config:
    attention: Literal["stochastic", "mean", "none"] = field("stochastic", doc="none: LSTM matching")
    latent: int = field(50, low=1, high=4096)
    embedding: int = field(50, low=1, high=4096)
    hidden: int = field(50, low=1, high=4096)
    dropout: float = field(0.3, low=0.0, high=0.9, doc="of the word vectors")
    overlap: bool = field(True, doc="word-overlap features beside the score")
    ranks_by: Literal["match", "likelihood", "information"] = field(
        "match", doc="likelihood, information: by a language model of the answer given the question (attention: none, overlap: false)")


class Model(Base):
    kinds = ("questions",)
    inputs = ("question.tokens", "answer.tokens", "labels")
    ragged = {"question.tokens": "question.offsets", "answer.tokens": "answer.offsets"}
    train_defaults = {"steps": 1000, "batch_size": 64, "lr": 2e-3, "clip_norm": 5.0, "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        c, self.config, self.size = config, config, meta["words"]
        self.embedding, self.dropout = nn.Embedding(self.size, c.embedding), nn.Dropout(c.dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.reader = Reader("lstm", c.embedding, c.hidden)
        if self.writes:
            if c.attention != "none" or c.overlap:
                raise InputError(f"model.ranks_by: {c.ranks_by} scores by a language model alone, but model.attention is {c.attention} and "
                                 f"model.overlap {str(c.overlap).lower()}; set them to none and false")
            self.decoder = WordDecoder("lstm", self.size, c.embedding, c.hidden, c.hidden, c.dropout)
            return
        self.of_last = nn.Linear(c.hidden, c.hidden, bias=False)  # W_n
        self.match, self.bias = nn.Linear(c.hidden, c.hidden, bias=False), nn.Parameter(torch.zeros(()))  # M
        if c.attention != "none":
            self.prior_net = nn.Sequential(nn.Linear(c.hidden, c.hidden), nn.Tanh(), nn.Linear(c.hidden, c.latent * (1 + self.stochastic)))
            self.of_latent, self.of_word = nn.Linear(c.latent, c.hidden, bias=False), nn.Linear(c.hidden, c.hidden, bias=False)
            self.energy, self.of_context = nn.Linear(c.hidden, 1, bias=False), nn.Linear(c.hidden, c.hidden, bias=False)
        if self.stochastic:
            self.label = nn.Embedding(2, c.hidden)
            self.posterior_net = nn.Sequential(nn.Linear(3 * c.hidden, c.hidden), nn.Tanh(), nn.Linear(c.hidden, 2 * c.latent))
        self.register_buffer("weights", torch.zeros(self.size))  # log(N / n_w)
        if c.overlap:
            self.features = nn.Linear(2, 1, bias=False)
            nn.init.constant_(self.features.weight, 0.1)

    @property
    def writes(self) -> bool:
        return self.config.ranks_by != "match"

    @property
    def stochastic(self) -> bool:
        return self.config.attention == "stochastic"

    def begin(self, data, seed):
        if self.writes:
            return
        offsets, tokens = np.array(data["train.answer.offsets"]), np.array(data["train.answer.tokens"])
        row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        found = np.bincount(np.unique(row * np.int64(self.size) + tokens) % self.size, minlength=self.size)
        weights = np.log((len(offsets) - 1) / np.maximum(found, 1))
        weights[0] = 0.0  # <unk> is no word that two texts share
        self.weights.copy_(torch.from_numpy(weights))

    def read(self, tokens: Tensor, offsets: Tensor):
        """(states of the words [N, hidden], last state of each text [B, hidden], layout)."""
        layout = packing(offsets.diff())
        states, last = self.reader(self.dropout(self.embedding(tokens[offsets[layout.row] + layout.step])), layout)
        return states, last, layout

    def overlap(self, batch: dict[str, Tensor]) -> Tensor:
        """Different words of the question that the answer has, counted and weighted: [B, 2]. <unk> is none."""
        found = torch.zeros(len(batch["labels"]), 2, device=self.weights.device)
        rows = {side: torch.repeat_interleave(torch.arange(len(found), device=found.device), batch[f"{side}.offsets"].diff())
                for side in ("question", "answer")}
        keys = [torch.unique(rows[side] * self.size + batch[f"{side}.tokens"]) for side in rows]
        both = keys[0][torch.isin(keys[0], keys[1])]
        row, word = both // self.size, both % self.size
        values = torch.stack([(word > 0).float(), self.weights[word]], 1)
        return found.index_add_(0, row, values)

    def logits(self, batch: dict[str, Tensor], posterior: bool = False) -> tuple[Tensor, Tensor]:
        """(logit that the answer is right [B], KL of the latent [B]); h from q where `posterior`, else the prior's mean (KL 0)."""
        _, asked, _ = self.read(batch["question.tokens"], batch["question.offsets"])
        words, answered, layout = self.read(batch["answer.tokens"], batch["answer.offsets"])
        z, kl = self.of_last(answered), torch.zeros(len(asked), device=asked.device)
        if self.config.attention != "none":
            h = self.prior_net(asked).float()
            if self.stochastic:
                h, log_variance = h.chunk(2, 1)
                if posterior:
                    mean, own = self.posterior_net(torch.cat([asked, answered, self.label(batch["labels"])], 1)).float().chunk(2, 1)
                    kl = kl_between(mean, own, h, log_variance).sum(1)
                    h = reparameterise(mean, own)
            z = z + self.of_context(self.context(h, words, layout)[0])
        logits = (asked * self.match(torch.tanh(z))).sum(1) + self.bias
        return (logits + self.features(self.overlap(batch))[:, 0] if self.config.overlap else logits).float(), kl

    def context(self, h: Tensor, words: Tensor, layout) -> tuple[Tensor, Tensor]:
        """(c [B, hidden], alpha [N], which sums to 1 over each answer); of words as `layout`, none of them padding."""
        scores = self.energy(torch.tanh(self.of_latent(h)[layout.row] + self.of_word(words)))[:, 0]
        highest = torch.full((len(h),), -torch.inf, device=h.device).scatter_reduce(0, layout.row, scores.detach(), "amax")
        weights = torch.exp(scores - highest[layout.row])
        alpha = weights / layout.total(weights)[layout.row]
        return layout.total(alpha[:, None] * words), alpha

    def written(self, batch: dict[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(-log p(a|q), -log p(a)) in nats of the rows `chosen`, bool [B]: two of [chosen rows]."""
        _, asked, _ = self.read(batch["question.tokens"], batch["question.offsets"])
        lengths = batch["answer.offsets"].diff()
        tokens = batch["answer.tokens"][torch.repeat_interleave(chosen, lengths)]
        offsets = torch.cat([lengths.new_zeros(1), lengths[chosen].cumsum(0)])
        codes = torch.stack([asked[chosen], torch.zeros_like(asked[chosen])])
        return tuple(self.decoder.losses_of_draws(tokens, offsets, codes))

    def loss(self, batch, phase, step):
        if self.writes:
            right = batch["labels"] == 1
            if not right.any():  # nothing to learn from: a gradient of zeros
                return sum(p.sum() for p in self.parameters()) * 0.0, {"given": torch.zeros(())}
            given, alone = self.written(batch, right)
            return 0.5 * (given + alone).mean(), {"given": given.mean(), "alone": alone.mean()}
        logits, kl = self.logits(batch, posterior=True)
        fit, kl = binary_cross_entropy_with_logits(logits, batch["labels"].float()), kl.mean()
        return fit + kl, {"cross_entropy": fit} | ({"kl": kl} if self.stochastic else {})

    def scores(self, batch: dict[str, Tensor]) -> Tensor:
        """How likely each answer is right, higher is likelier: [B]."""
        if self.writes:
            given, alone = self.written(batch, torch.ones_like(batch["labels"], dtype=torch.bool))
            return -given if self.config.ranks_by == "likelihood" else alone - given
        return self.logits(batch)[0]

    def validate(self, data):
        """Cross-entropy of the validation pairs with h at the prior's mean; of a language model that of their right answers; in nats."""
        rows, device, found = np.arange(len(data["valid.labels"])), self.embedding.weight.device, []
        for part in np.split(rows, range(ROWS, len(rows), ROWS)):
            batch = split_rows(self, data, "valid", part, device)
            if self.writes:
                right = batch["labels"] == 1
                found += [self.written(batch, right)[0]] if right.any() else []
                continue
            found.append(binary_cross_entropy_with_logits(self.scores(batch), batch["labels"].float(), reduction="none"))
        return {"loss": torch.cat(found).mean().item()} if found else {}
