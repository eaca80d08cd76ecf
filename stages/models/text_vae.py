"""Recurrent language models of whole texts, without a latent code, with one (LSTM-VAE), or with one at every step (TWR-VAE).

LSTM-VAE: Bowman et al. 2016, Generating sentences from a continuous space, https://arxiv.org/abs/1511.06349. TWR-VAE: Li, Li, Chen, Lin
2020, Improving variational autoencoder for text modelling with timestep-wise regularisation, https://arxiv.org/abs/2011.01136 (eq. 7):

    -log p(x|z_T)  +  KL(q(z_T|x) || N(0, I))                                    regularise: last   (LSTM-VAE)
    -log p(x|z_T)  +  1/T sum_t KL(q(z_t|x_1..x_t) || N(0, I))                   regularise: mean   (TWR-VAE as published)
    ... the sum over t without 1/T                                               regularise: sum

The encoder's state after word t gives q(z_t|x_1..t); the decoder reads its code as first state and beside every word. `read: mean` and
`sum` give it the mean or sum of all z_t. With one word TWR-VAE is the plain VAE. Against a code that the decoder leaves unread: `anneal`
raises the KL's weight from 0 to 1 (linear: Bowman et al.; cyclic: Fu et al. 2019, https://arxiv.org/abs/1903.10145, rising over the first
half of each of four cycles), `free_bits` nats a unit cost nothing (Kingma et al. 2016, https://arxiv.org/abs/1606.04934, eq. 15, over the
batch), `keep_words` below 1 hides words from the decoder (word dropout). `weight: length` weighs the last step's KL by 1/T: what averaging
over time does to the one code that is read, without the other steps. `latent: 0` is the language model.

The bounds that evaluation reports are of the code that is read: q(z_T|x) against N(0, I); the mean (sum) of T codes is Gaussian, and its
prior is N(0, I/T) (N(0, T I)), so that those runs bound log p(x | its length). The published figure, reconstruction at the mean plus the
KL averaged over time, is no bound; `kl_over_time` is that KL.

Deviations, and what they cost: networks are smaller than the papers' (embedding 512, hidden 256) and trained for some epochs at a higher
rate; the code is also the decoder's first state; TWR-VAE's variants with other cells use them in encoder and decoder alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import split_rows
from stages.models.parts.gaussian import kl_to_standard, log_mean_exp, log_normal_units, reparameterise
from stages.models.parts.ragged import packing
from stages.models.parts.recurrent import Reader, WordDecoder
from stages.settings import InputError, field

CITATION = "Bowman et al. 2016, https://arxiv.org/abs/1511.06349; Li et al. 2020 (TWR-VAE), https://arxiv.org/abs/2011.01136"
ROWS = 128  # texts at once where nothing is differentiated
CYCLES = 4  # of cyclic annealing


@dataclass(frozen=True)
class Config:
    latent: int = field(32, low=0, high=4096, doc="0: a language model")
    cell: Literal["lstm", "gru", "rnn"] = field("lstm")
    embedding: int = field(128, low=1, high=4096)
    hidden: int = field(128, low=1, high=4096, doc="of encoder and decoder")
    dropout: float = field(0.3, low=0.0, high=0.9, doc="of the decoder's inputs and outputs")
    regularise: Literal["last", "mean", "sum"] = field("last", doc="the KL of the last step, or of all steps averaged or summed")
    read: Literal["last", "mean", "sum"] = field("last", doc="what the decoder reads: the last code, or the mean or sum of all")
    weight: Literal["one", "length"] = field("one", doc="length: the KL of a text of T words weighs 1/T")
    anneal: Literal["none", "linear", "cyclic"] = field("none")
    anneal_steps: int = field(1000, low=1, doc="until the KL's weight is 1; cyclic: of all cycles")
    free_bits: float = field(0.0, low=0.0, doc="nats a unit that cost nothing")
    condition: bool = field(False, doc="the decoder reads the text's label, as it would a code (latent: 0)")
    keep_words: float = field(1.0, low=0.0, high=1.0, doc="share of the words that the decoder may read")
    longest: int = field(60, low=1, doc="words of a text that is drawn")


def _consistent(c: Config) -> None:
    """InputError where one setting has no meaning beside another."""
    if not c.latent:
        for name, plain in (("regularise", "last"), ("read", "last"), ("weight", "one"), ("anneal", "none"), ("free_bits", 0.0)):
            if getattr(c, name) != plain:
                raise InputError(f"model.{name}: {getattr(c, name)} is of a latent code, but model.latent is 0; leave it out")
    elif c.condition:
        raise InputError(f"model.condition: true is for language models, but model.latent is {c.latent}; set it to 0")
    for name, plain in (("weight", "one"), ("free_bits", 0.0)):
        if c.regularise != "last" and getattr(c, name) != plain:
            raise InputError(f"model.{name}: {getattr(c, name)} is of the last step's KL, but model.regularise is {c.regularise}; "
                             "set that to last")


def annealed(kind: str, step: int, steps: int) -> float:
    """Weight of the KL at a step."""
    if kind == "none":
        return 1.0
    if kind == "linear":
        return min(1.0, step / steps)
    cycle = steps / CYCLES
    return 1.0 if step >= steps else min(1.0, 2 * (step % cycle) / cycle)


class Model(Base):
    kinds = ("documents",)
    inputs = ("tokens",)
    ragged = {"tokens": "offsets"}
    train_defaults = {"steps": 1000, "batch_size": 64, "lr": 3e-3, "clip_norm": 5.0, "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        _consistent(config)
        c, self.config, self.size = config, config, meta["words"]
        self.classes = meta["classes"] if c.condition else 0
        if c.condition:
            if not self.classes:
                raise InputError("model.condition: true needs labels, but the dataset has none; leave it out")
            self.inputs, self.sample_of = ("tokens", "labels"), ("class", self.classes)
        self.decoder = WordDecoder(c.cell, self.size, c.embedding, c.hidden, c.latent or self.classes, c.dropout)
        if c.latent:
            self.embedding = nn.Embedding(self.size, c.embedding)
            nn.init.normal_(self.embedding.weight, std=0.1)
            self.encoder, self.heads = Reader(c.cell, c.embedding, c.hidden), nn.Linear(c.hidden, 2 * c.latent)

    def begin(self, data, seed):
        counts, texts = np.maximum(np.array(data["counts"], np.float64), 0.5), len(data["train.offsets"]) - 1
        shares = torch.from_numpy(np.log(np.append(counts, texts) / (counts.sum() + texts))).float()
        with torch.no_grad():
            self.decoder.output.bias.copy_(shares)

    def steps(self, batch: dict[str, Tensor]):
        """(layout of the words, mean and log-variance of q(z_t|x_1..t) after each: [N, latent]). An empty text is read as one <unk>."""
        tokens, lengths = batch["tokens"], batch["offsets"].diff()
        layout = packing(lengths.clamp_(min=1))
        at = batch["offsets"][layout.row] + layout.step
        words = torch.cat([tokens, tokens.new_zeros(1)])[at] if len(tokens) else torch.zeros_like(at)
        words = torch.where(batch["offsets"].diff()[layout.row] == 0, 0, words)
        states, _ = self.encoder(self.embedding(words), layout)
        mean, log_variance = self.heads(states).float().chunk(2, 1)
        return layout, mean, log_variance

    def code(self, layout, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(mean, log-variance, log-variance of the prior) of the code that the decoder reads: [B, latent] twice and [B, 1]."""
        final, length = layout.step == layout.lengths[layout.row] - 1, layout.lengths[:, None].float()
        if self.config.read == "last":
            kept = torch.argsort(layout.row[final])
            return mean[final][kept], log_variance[final][kept], torch.zeros_like(length)
        mean, variance = layout.total(mean), layout.total(log_variance.exp())
        if self.config.read == "sum":
            return mean, variance.log(), length.log()
        return mean / length, variance.log() - 2 * length.log(), -length.log()

    def posterior(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """As `code`, of texts."""
        return self.code(*self.steps(batch))

    def divergence(self, mean: Tensor, log_variance: Tensor, prior: Tensor) -> Tensor:
        """KL of the code that is read to its prior N(0, exp(prior) I), each unit, in nats."""
        return kl_to_standard(mean * torch.exp(-0.5 * prior), log_variance - prior)

    def kl_over_time(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """KL(q(z_t|x_1..t) || N(0, I)) averaged over the steps of each text [B], and at the last step [B]."""
        layout, mean, log_variance = self.steps(batch)
        rates = kl_to_standard(mean, log_variance).sum(1)
        final = layout.step == layout.lengths[layout.row] - 1
        return layout.total(rates) / layout.lengths, layout.total(torch.where(final, rates, 0))

    def bound(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] at one draw of the code, rate [B, latent]), in nats; their sum is -ELBO."""
        mean, log_variance, prior = self.posterior(batch)
        z = reparameterise(mean, log_variance, generator)
        return self.distortion(batch, z), self.divergence(mean, log_variance, prior)

    def label(self, batch: dict[str, Tensor]) -> Tensor | None:
        """What a conditional language model reads in a code's place, float32 [B, classes]; zeros where there is no label."""
        if not self.classes:
            return None
        found = torch.zeros(len(batch["labels"]), self.classes + 1, device=batch["labels"].device)
        return found.scatter_(1, batch["labels"][:, None] % (self.classes + 1), 1.0)[:, :-1]  # -1 is the last column

    def distortion(self, batch: dict[str, Tensor], z: Tensor | None) -> Tensor:
        """-log p(text and its end | code) in nats: [B]; of a language model z is None and this is exact."""
        return self.decoder.losses(batch["tokens"], batch["offsets"], z if self.config.latent else self.label(batch))

    def log_likelihood(self, batch: dict[str, Tensor], k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound on log p of k draws in nats, [B]; of a language model log p itself."""
        if not self.config.latent:
            return -self.distortion(batch, None)
        mean, log_variance, prior = (t.expand(k, -1, -1) for t in self.posterior(batch))
        z = reparameterise(mean, log_variance, generator)
        rate = log_normal_units(z, mean, log_variance) - log_normal_units(z, torch.zeros_like(mean), prior)
        return log_mean_exp(-self.decoder.losses_of_draws(batch["tokens"], batch["offsets"], z) - rate.sum(-1), 0)

    def loss(self, batch, phase, step):
        c, tokens, offsets = self.config, batch["tokens"], batch["offsets"]
        keep = torch.rand(len(tokens), device=tokens.device) < c.keep_words if c.keep_words < 1 else None
        if not c.latent:
            distortion = self.decoder.losses(tokens, offsets, self.label(batch), keep=keep).mean()
            return distortion, {"distortion": distortion}
        layout, means, log_variances = self.steps(batch)
        mean, log_variance, prior = self.code(layout, means, log_variances)
        distortion = self.decoder.losses(tokens, offsets, reparameterise(mean, log_variance), keep=keep).mean()
        rate = self.divergence(mean, log_variance, prior)
        if c.regularise != "last":
            counted = layout.total(kl_to_standard(means, log_variances).sum(1))
            counted = (counted / layout.lengths if c.regularise == "mean" else counted).mean()
        elif c.free_bits:
            counted = rate.mean(0).clamp(min=c.free_bits).sum()
        else:
            counted = (rate.sum(1) / (layout.lengths if c.weight == "length" else 1)).mean()
        return distortion + annealed(c.anneal, step, c.anneal_steps) * counted, {"distortion": distortion, "kl": rate.sum(1).mean()}

    def validate(self, data):
        """-ELBO of a validation text in nats (not the objective where that weighs the KL otherwise), and its KL."""
        rows, device, losses, rates = np.arange(len(data["valid.offsets"]) - 1), self.decoder.output.bias.device, [], []
        for part in np.split(rows, range(ROWS, len(rows), ROWS)):
            batch = split_rows(self, data, "valid", part, device)
            if not self.config.latent:
                losses.append(self.distortion(batch, None))
                continue
            distortion, rate = self.bound(batch)
            losses.append(distortion + rate.sum(1))
            rates.append(rate.sum(1))
        return {"loss": torch.cat(losses).mean().item()} | ({"kl": torch.cat(rates).mean().item()} if rates else {})

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean of the code that is read: [B, latent]."""
        return self.posterior(batch)[0]

    def decode(self, z: Tensor, generator: torch.Generator | None = None) -> list[list[int]]:
        """Texts of codes [n, latent]: the likeliest word each time, or drawn."""
        return self.decoder.write(len(z), z, self.config.longest, generator)[0]

    def write(self, n: int, generator: torch.Generator, of: Tensor | None = None) -> list[list[int]]:
        """n texts: code from the prior (of one step), words drawn; with labels of the classes `of`, int64 [n], by default in turn."""
        device = self.decoder.output.bias.device
        z = torch.randn(n, self.config.latent, generator=generator, device=device) if self.config.latent else None
        if self.classes:
            z = self.label({"labels": torch.arange(n, device=device) % self.classes if of is None else of})
        return self.decoder.write(n, z, self.config.longest, generator)[0]
