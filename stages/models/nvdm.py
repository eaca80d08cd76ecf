"""Neural variational document model: a Gaussian code of a bag of words.

Miao, Yu, Blunsom 2016, Neural variational inference for text processing, https://arxiv.org/abs/1511.06038 (section 3):

    q(h|X) = N(mu(f(X)), diag sigma^2(f(X))),  f of the counts X by tanh units;   p(w|h) = softmax(R h + b)_w   (eq. 6)
    log p(X) >= E_q sum_i log p(w_i|h) - KL(q(h|X) || N(0, I))                                                  (eq. 7)

`updates: alternate` is the authors' way (https://github.com/ysmiao/nvdm): decoder and encoder take turns, each on the other's fixed
weights. They change turns after an epoch and ours within a step, each on a batch of its own.

Deviations, and what they cost: b starts at the logarithm of the training frequencies (without it the first epochs learn nothing else);
dropout on f and early stopping on the validation bound, for small corpora (without them the bound turns up after a few epochs).
A document of unknown words alone is an empty bag: its words cost nothing, evaluation leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import Phase, split_rows
from stages.models.parts.gaussian import kl_to_standard, log_mean_exp, log_normal_units, reparameterise
from stages.models.parts.nets import ACTIVATIONS
from stages.settings import field

CITATION = "Miao, Yu, Blunsom 2016, Neural variational inference for text processing, https://arxiv.org/abs/1511.06038"
RELEVANCE = 0.3  # weight of a word's probability beside its lift, by coherence on training documents: .024, .026, -.048 at 1, 0.3, 0.15
ROWS = 512  # documents at once where nothing is differentiated


@dataclass(frozen=True)
class Config:
    latent: int = field(50, low=1, high=4096)
    hidden: tuple[int, ...] = field((500,), low=1, doc="of the encoder")
    activation: Literal["tanh", "relu", "silu"] = field("tanh")
    dropout: float = field(0.0, low=0.0, high=0.9, doc="share of the encoder's last hidden units left out at a step")
    updates: Literal["joint", "alternate"] = field("joint", doc="encoder and decoder at once, or in turn")


class Encoder(nn.Module):
    """f and the two heads: sparse counts -> [B, 2 latent]. The first layer is a sum of the rows of the words that are there."""

    def __init__(self, size: int, config: Config):
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.first = nn.EmbeddingBag(size, config.hidden[0], mode="sum", include_last_offset=True)
        nn.init.uniform_(self.first.weight, -(size**-0.5), size**-0.5)  # as nn.Linear begins
        layers = [part for a, b in zip(config.hidden[:-1], config.hidden[1:], strict=True) for part in (nn.Linear(a, b), activation())]
        self.rest = nn.Sequential(activation(), *layers, nn.Dropout(config.dropout), nn.Linear(config.hidden[-1], 2 * config.latent))

    def forward(self, words: Tensor, counts: Tensor, offsets: Tensor) -> Tensor:
        return self.rest(self.first(words, offsets, counts))


class Model(Base):
    kinds = ("counts",)
    inputs = ("words", "counts")
    ragged = {"words": "offsets", "counts": "offsets"}
    per_example = True
    train_defaults = {"steps": 1000, "batch_size": 64, "lr": 1e-3, "validate_every": 50, "patience": 6, "log_every": 25}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        self.config, self.size = config, meta["words"]
        self.encoder = Encoder(self.size, config)
        self.decoder = nn.Linear(config.latent, self.size)  # R and b
        if config.updates == "alternate":
            self.phases = (Phase("decoder", ("decoder",)), Phase("encoder", ("encoder",)))

    def begin(self, data, seed):
        counts = torch.from_numpy(np.maximum(np.array(data["counts"], np.float32), 0.5))
        with torch.no_grad():
            self.decoder.bias.copy_((counts / counts.sum()).log())

    def posterior(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(h|X): two of [B, latent]."""
        return self.encoder(batch["words"], batch["counts"].float(), batch["offsets"]).float().chunk(2, 1)

    def log_p(self, batch: dict[str, Tensor], h: Tensor) -> Tensor:
        """log p(X|h) in nats, of codes [..., B, latent]: [..., B]."""
        offsets, logits = batch["offsets"], self.decoder(h).float()
        row = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=h.device), offsets.diff())
        counts = batch["counts"].float()
        own = torch.zeros_like(logits[..., 0]).index_add(-1, row, logits[..., row, batch["words"]] * counts)
        return own - torch.zeros(len(offsets) - 1, device=h.device).index_add(0, row, counts) * torch.logsumexp(logits, -1)

    def bound(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] at one draw of the code, rate [B, latent]), in nats; their sum is -ELBO."""
        mean, log_variance = self.posterior(batch)
        return -self.log_p(batch, reparameterise(mean, log_variance, generator)), kl_to_standard(mean, log_variance)

    def log_likelihood(self, batch: dict[str, Tensor], k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound on log p(X) of k draws, in nats: [B]."""
        mean, log_variance = (t.expand(k, -1, -1) for t in self.posterior(batch))
        h, zero = reparameterise(mean, log_variance, generator), torch.zeros(1, device=mean.device)
        rate = log_normal_units(h, mean, log_variance) - log_normal_units(h, zero, zero)
        return log_mean_exp(self.log_p(batch, h) - rate.sum(-1), 0)

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean of q(h|X): [B, latent]."""
        return self.posterior(batch)[0]

    def topics(self) -> Tensor:
        """How much each word belongs to each unit of h, float32 [latent, V]: its relevance (Sievert and Shirley 2014,

        https://aclanthology.org/W14-3110) log p(w|h) - (1 - RELEVANCE) log p(w|0), one unit of h two deviations of the prior up, others 0.
        Not log p(w|h) itself: the commonest words lead every unit (of 25 words a unit .05 differ, here .19 at the same coherence); nor R
        alone: that ranks words first that training has seen twice, whatever they mean.
        """
        bias = self.decoder.bias.detach()
        raised = torch.log_softmax(2 * self.decoder.weight.detach().T + bias, 1)
        return raised - (1 - RELEVANCE) * torch.log_softmax(bias, 0)

    def loss(self, batch, phase, step):
        distortion, rate = self.bound(batch)
        distortion, rate = distortion.mean(), rate.sum(1).mean()
        return distortion + rate, {"distortion": distortion, "kl": rate}

    def validate(self, data):
        """-ELBO of a validation document, one draw each, and its KL, in nats."""
        rows = np.arange(len(data["valid.offsets"]) - 1)
        device = self.decoder.bias.device
        found = [self.bound(split_rows(self, data, "valid", part, device)) for part in np.split(rows, range(ROWS, len(rows), ROWS))]
        distortion, rate = (torch.cat(column) for column in zip(*found, strict=True))
        return {"loss": (distortion + rate.sum(1)).mean().item(), "kl": rate.sum(1).mean().item()}
