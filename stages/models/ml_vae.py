"""Multi-level VAE of texts of several sentences: a plan a sentence, words after their sentence's plan.

Shen, Celikyilmaz, Zhang, Chen, Wang, Gao, Carin 2019, Towards generating long and coherent text with multi-level latent variable models,
https://arxiv.org/abs/1902.00154 (sections 3.1 and 3.2). No official code exists.

    S (one level):  z ~ q(z|x);  a sentence-level LSTM turns z into plan vectors h_1, h_2, ...;  the word-level LSTM reads its sentence's
                    plan at every step.  -log p(x|z) + KL(q(z|x) || N(0, I))
    D (two levels): p(z2) p(z1|z2) p(x|z1) with p(z1|z2) = N(mu(z2), diag sigma^2(z2)), q(z1, z2|x) = q(z1|x) q(z2|x):
                    -E log p(x|z1) + E_{q(z2|x)} KL(q(z1|x) || p(z1|z2)) + KL(q(z2|x) || N(0, I))

`hierarchy: false` gives z to every word in place of plans (a flat decoder under the same encoder). The last sentence ends with a symbol of
its own, so that p(x) is a distribution over texts of any number of sentences; a flat model of the same text without sentence borders
pays nothing for those (they are one symbol a sentence, mostly certain after a full stop), which favours it a little.

Deviations, and what they cost: the encoder is one convolution over words and one over sentences, each read by its largest value, the
least of a hierarchy of convolutions such as the paper's; a sentence's plan is the LSTM's state after reading z once more, and the
word-level LSTM starts from it too and has a linear view of it added to its states, a path from the code to the words that no gate can
close; the rate of z1 is of one draw of z2; sizes are ours. On two thousand paragraphs the hierarchy alone did not keep the code alive,
with LSTMs or convolutions as encoder. What did is to begin as an autoencoder: `autoencode` steps without the KL, whose weight then rises
for `anneal_steps` (Li et al. 2019, A surprisingly effective fix for deep latent variable modeling of text,
https://arxiv.org/abs/1909.00868); neither is the paper's, with 0 and 0 the KL counts from the start as there. `free_bits` (Kingma et al.
2016, https://arxiv.org/abs/1606.04934, eq. 15, over the batch) is not the paper's either: a rate it holds up need not say anything of the
text, which the mutual information and the active units show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from stages.models.base import Model as Base
from stages.models.base import split_rows
from stages.models.parts.gaussian import kl_between, kl_to_standard, log_mean_exp, log_normal_units, reparameterise
from stages.models.parts.ragged import packing
from stages.models.parts.recurrent import Reader, WordDecoder
from stages.settings import field

CITATION = "Shen et al. 2019, Towards generating long and coherent text with multi-level latent variable models, https://arxiv.org/abs/1902.00154"
ROWS = 64


@dataclass(frozen=True)
class Config:
    latent: int = field(32, low=1, high=4096, doc="of the code that is decoded (z, z1)")
    upper: int = field(32, low=0, high=4096, doc="of z2; 0: one level (ml-VAE-S)")
    hierarchy: bool = field(True, doc="plans by a sentence-level LSTM; false: every word reads the code")
    embedding: int = field(128, low=1, high=4096)
    hidden: int = field(128, low=1, high=4096)
    dropout: float = field(0.3, low=0.0, high=0.9)
    autoencode: int = field(0, low=0, doc="first steps, without the KL")
    anneal_steps: int = field(0, low=0, doc="from then until the KL's weight is 1, linearly; 0: at once")
    free_bits: float = field(0.0, low=0.0, doc="nats a unit, of both levels, that cost nothing")
    sentences: int = field(10, low=1, doc="most sentences of a text that is drawn")
    longest: int = field(40, low=1, doc="most words of a sentence that is drawn")


class Convolution(nn.Module):
    """The largest value over a ragged sequence of a convolution's outputs; zeros stand beyond its ends, nothing is computed on padding."""

    def __init__(self, inputs: int, hidden: int, width: int):
        super().__init__()
        self.reach, self.net = width // 2, nn.Linear(width * inputs, hidden)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [N, inputs], lengths int64 [B] that sum to N, each at least 1 -> [B, hidden]."""
        row = torch.repeat_interleave(torch.arange(len(lengths), device=x.device), lengths)
        place, seen = torch.arange(len(x), device=x.device), []
        for shift in range(-self.reach, self.reach + 1):
            beside = (place + shift).clamp(0, len(x) - 1)
            inside = (place + shift == beside) & (row[beside] == row)
            seen.append(x[beside] * inside[:, None])
        return torch.segment_reduce(torch.relu(self.net(torch.cat(seen, 1))), "max", lengths=lengths)


class Planned(nn.LSTM):
    """An LSTM whose outputs have a linear view of the last `plan` inputs of their step added."""

    def __init__(self, inputs: int, hidden: int, plan: int):
        super().__init__(inputs, hidden)
        self.view = nn.Linear(plan, hidden, bias=False)

    def forward(self, x, start=None):
        out, state = super().forward(x, start)
        if isinstance(x, PackedSequence):
            return out._replace(data=out.data + self.seen(x.data)), state
        return out + self.seen(x), state

    def seen(self, x: Tensor) -> Tensor:
        return self.view(x[..., -self.view.in_features :])


class Model(Base):
    kinds = ("documents",)
    inputs = ("tokens", "sentences")
    ragged = {"tokens": "offsets", "sentences": "offsets"}
    train_defaults = {"steps": 600, "batch_size": 32, "lr": 3e-3, "clip_norm": 5.0, "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        c, self.config, self.size = config, config, meta["words"]
        self.embedding = nn.Embedding(self.size, c.embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(c.dropout)
        self.words, self.lines = Convolution(c.embedding, c.hidden, 5), Convolution(c.hidden, c.hidden, 3)
        self.heads = nn.Linear(c.hidden, 2 * c.latent)
        if c.upper:
            self.upper_heads = nn.Linear(c.hidden, 2 * c.upper)
            self.prior_net = nn.Sequential(nn.Linear(c.upper, c.hidden), nn.Tanh(), nn.Linear(c.hidden, 2 * c.latent))
        if c.hierarchy:
            self.planner = Reader("lstm", c.latent, c.hidden)
        plan = c.hidden if c.hierarchy else c.latent
        self.decoder = WordDecoder("lstm", self.size, c.embedding, c.hidden, plan, c.dropout, ends=2)
        self.decoder.reader.net = Planned(c.embedding + plan, c.hidden, plan)

    def begin(self, data, seed):
        counts, numbers = np.maximum(np.array(data["counts"], np.float64), 0.5), np.array(data["train.sentences"])
        texts = len(data["train.offsets"]) - 1
        ends = max(int((np.diff(numbers, prepend=0) > 0).sum()), 1)
        with torch.no_grad():
            self.decoder.output.bias.copy_(torch.from_numpy(np.log(np.concatenate([counts, [ends, texts]]))).float())

    def layout(self, batch: dict[str, Tensor]):
        """(offsets of the sentences in the tokens [S + 1], text of each [S], sentences of each text [B])."""
        offsets, numbers = batch["offsets"], batch["sentences"]
        text = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())
        new = torch.ones_like(numbers, dtype=torch.bool)
        new[1:] = (numbers[1:] != numbers[:-1]) | (text[1:] != text[:-1])
        starts = new.nonzero()[:, 0]
        return torch.cat([starts, offsets[-1:]]), text[starts], torch.bincount(text[starts], minlength=len(offsets) - 1)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """What the encoder makes of each text, [B, hidden]; zero for an empty one."""
        borders, text, count = self.layout(batch)
        found = torch.zeros(len(count), self.config.hidden, device=count.device)
        if not len(text):
            return found
        some = count.nonzero()[:, 0]
        sentences = self.words(self.dropout(self.embedding(batch["tokens"])), borders.diff())
        return found.index_copy(0, some, self.lines(sentences, count[some]))

    def posterior(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z1|x) (one level: q(z|x)): two of [B, latent]."""
        return self.heads(self.states(batch)).float().chunk(2, 1)

    def drawn(self, batch: dict[str, Tensor], k: int, generator: torch.Generator | None, analytic: bool) -> tuple[Tensor, Tensor]:
        """(distortion [k, B], rate [k, B, units]) of k draws from q; the rate in closed form where that is known and `analytic`."""
        states = self.states(batch)
        mean, log_variance = (t.expand(k, -1, -1) for t in self.heads(states).float().chunk(2, 1))
        z, zero = reparameterise(mean, log_variance, generator), torch.zeros(1, device=states.device)
        if not self.config.upper:
            rate = (kl_to_standard(mean, log_variance) if analytic
                    else log_normal_units(z, mean, log_variance) - log_normal_units(z, zero, zero))
            return self._distortion(batch, z), rate
        upper_mean, upper_log_variance = (t.expand(k, -1, -1) for t in self.upper_heads(states).float().chunk(2, 1))
        top = reparameterise(upper_mean, upper_log_variance, generator)
        prior = self.prior_net(top).float().chunk(2, -1)
        if analytic:
            lower, upper = kl_between(mean, log_variance, *prior), kl_to_standard(upper_mean, upper_log_variance)
        else:
            lower = log_normal_units(z, mean, log_variance) - log_normal_units(z, *prior)
            upper = log_normal_units(top, upper_mean, upper_log_variance) - log_normal_units(top, zero, zero)
        return self._distortion(batch, z), torch.cat([lower, upper], -1)

    def _distortion(self, batch: dict[str, Tensor], z: Tensor) -> Tensor:
        """-log p(x|z) of codes [k, B, latent]: [k, B]."""
        borders, text, count = self.layout(batch)
        last = torch.ones_like(text, dtype=torch.bool)
        last[:-1] = text[1:] != text[:-1]
        codes = self.plans(z, text, count) if self.config.hierarchy else z[:, text]
        losses = self.decoder.losses_of_draws(batch["tokens"], borders, codes, end=self.size + last.long())
        return torch.zeros(len(z), len(count), device=z.device).index_add(1, text, losses)

    def plans(self, z: Tensor, text: Tensor, count: Tensor) -> Tensor:
        """Plan vectors of the sentences: z [k, B, latent], text of each sentence [S] -> [k, S, hidden]."""
        k, some = len(z), count.nonzero()[:, 0]
        across = packing(count[some].repeat(k))
        flat = z[:, some].flatten(0, 1)
        states, _ = self.planner(flat[across.row], across)
        place = torch.empty(k * len(text), dtype=torch.long, device=z.device)
        starts = torch.cat([count.new_zeros(1), count[some].repeat(k).cumsum(0)[:-1]])
        place[starts[across.row] + across.step] = torch.arange(len(across.row), device=z.device)
        return states[place].view(k, len(text), -1)

    def distortion(self, batch: dict[str, Tensor], z: Tensor) -> Tensor:
        """-log p(text and its end | code) in nats: [B]."""
        return self._distortion(batch, z[None])[0]

    def bound(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] at one draw, rate [B, units of z1 then z2]), in nats; their sum is -ELBO."""
        distortion, rate = self.drawn(batch, 1, generator, True)
        return distortion[0], rate[0]

    def log_likelihood(self, batch: dict[str, Tensor], k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound on log p of k draws in nats: [B]."""
        distortion, rate = self.drawn(batch, k, generator, False)
        return log_mean_exp(-distortion - rate.sum(-1), 0)

    def kl_over_time(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The rate of each text, twice: there is one code a text."""
        rate = self.bound(batch, torch.Generator(batch["offsets"].device).manual_seed(0))[1].sum(1)
        return rate, rate

    def loss(self, batch, phase, step):
        distortion, units = self.bound(batch)
        distortion, rate = distortion.mean(), units.sum(1).mean()
        counted = units.mean(0).clamp(min=self.config.free_bits).sum() if self.config.free_bits else rate
        since = step - self.config.autoencode
        weight = float(since >= 0) if not self.config.anneal_steps else min(1.0, max(0.0, since / self.config.anneal_steps))
        return distortion + weight * counted, {"distortion": distortion, "kl": rate}

    def validate(self, data):
        """-ELBO of a validation text in nats, and its KL."""
        rows, device = np.arange(len(data["valid.offsets"]) - 1), self.heads.bias.device
        found = [self.bound(split_rows(self, data, "valid", part, device)) for part in np.split(rows, range(ROWS, len(rows), ROWS))]
        distortion, rate = (torch.cat(column) for column in zip(*found, strict=True))
        return {"loss": (distortion + rate.sum(1)).mean().item(), "kl": rate.sum(1).mean().item()}

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean of q(z1|x): [B, latent]."""
        return self.posterior(batch)[0]

    def decode(self, z: Tensor, generator: torch.Generator | None = None) -> list[list[int]]:
        """Texts of codes [n, latent]: sentence after sentence until one ends the text."""
        texts, going, state = [[] for _ in z], torch.arange(len(z), device=z.device), None
        for _ in range(self.config.sentences):
            if self.config.hierarchy:
                out, state = self.planner.net(z[None], state)
            codes = out[0] if self.config.hierarchy else z
            written, ended = self.decoder.write(len(going), codes[going], self.config.longest, generator)
            for i, words in zip(going.tolist(), written, strict=True):
                texts[i] += words
            going = going[ended != self.size + 1]
            if not len(going):
                break
        return texts

    def write(self, n: int, generator: torch.Generator) -> list[list[int]]:
        """n texts: codes from the prior, words drawn."""
        device, c = self.heads.bias.device, self.config
        if not c.upper:
            return self.decode(torch.randn(n, c.latent, generator=generator, device=device), generator)
        mean, log_variance = self.prior_net(torch.randn(n, c.upper, generator=generator, device=device)).chunk(2, 1)
        return self.decode(reparameterise(mean, log_variance, generator), generator)
