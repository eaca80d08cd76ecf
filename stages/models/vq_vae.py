"""Vector-quantised VAE: codes are the nearest rows of a learnt codebook, with an autoregressive prior over them so that it can be sampled.

van den Oord, Vinyals, Kavukcuoglu 2017, Neural discrete representation learning, https://arxiv.org/abs/1711.00937.

    e_i = codebook row nearest to z_i(x);  loss = -log p(x | e) + commitment sum_i ||z_i - sg[e_i]||^2          (eq. 3)

The decoder's gradient reaches the encoder straight through e. The codebook has no gradient: counts and sums of its codes are moving
averages, n <- d n + (1 - d) count, m <- d m + (1 - d) sum, row = m / n with n smoothed (appendix A.1). A row unused for `revive` steps is
put on an encoder output of the batch, or the codebook collapses on a few rows. The prior p(e_1) p(e_2|e_1) ... is a GRU over the positions,
a phase of its own trained beside the rest on codes without gradient (the paper trains a PixelCNN afterwards). With q deterministic the
negative ELBO is -log p(x|e) - log p(e): that is what `bound` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import Phase, image_tensor
from stages.models.parts.likelihoods import Pixels
from stages.models.parts.nets import ACTIVATIONS, mlp
from stages.settings import field

CITATION = "van den Oord, Vinyals, Kavukcuoglu 2017, Neural discrete representation learning, https://arxiv.org/abs/1711.00937"


@dataclass(frozen=True)
class Config:
    codes: int = field(8, low=1, high=4096, doc="positions: codebook rows that describe an image")
    codebook: int = field(64, low=2, high=65536, doc="rows")
    dimension: int = field(8, low=1, high=1024, doc="of a row")
    hidden: tuple[int, ...] = field((128, 128), low=1)
    activation: Literal["silu", "tanh", "relu"] = field("silu")
    commitment: float = field(0.25, low=0.0)
    decay: float = field(0.99, low=0.0, high=1.0, doc="of the moving averages of counts and sums")
    revive: int = field(100, low=0, doc="steps without use after which a row is re-seeded; 0: never")
    prior: int = field(64, low=1, high=4096, doc="units of the GRU over positions")
    likelihood: Literal["gaussian", "bernoulli", "logistic"] = field("gaussian")
    sigma: float | None = field(None, above=0.0, doc="of the Gaussian; null: learnt")
    binarise: Literal["none", "dynamic", "fixed"] = field("none", doc="binary images drawn from the grey ones (Bernoulli)")


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest row (Euclidean; the first of equals): [..., D], [K, D] -> int64 [...]."""
    distances = z.square().sum(-1, keepdim=True) - 2 * z @ codebook.T + codebook.square().sum(-1)
    return distances.argmin(-1)


class Prior(nn.Module):
    """log p of a row of code indices, each position given those before it."""

    def __init__(self, codebook: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(codebook + 1, width)  # the last row: nothing yet
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, codebook)

    def forward(self, indices: Tensor) -> Tensor:
        """log p of every index: int64 [B, codes] -> [B, codes]."""
        start = torch.full_like(indices[:, :1], self.head.out_features)
        states, _ = self.gru(self.embedding(torch.cat([start, indices[:, :-1]], 1)))
        return F.log_softmax(self.head(states), -1).gather(-1, indices[..., None])[..., 0]

    def sample(self, n: int, codes: int, generator: torch.Generator | None) -> Tensor:
        """int64 [n, codes]."""
        found = [torch.full((n, 1), self.head.out_features, device=self.head.weight.device)]
        state = None
        for _ in range(codes):
            out, state = self.gru(self.embedding(found[-1]), state)
            found.append(torch.multinomial(self.head(out[:, 0]).softmax(-1), 1, generator=generator))
        return torch.cat(found[1:], 1)


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    phases = (Phase("main", ("encoder", "decoder", "pixels")), Phase("prior", ("prior",)))
    train_defaults = {"steps": 3000, "batch_size": 128, "lr": 2e-3, "lr_decay": "cosine", "validate_every": 250, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        self.config, self.shape = config, (depth, height, width)
        pixels, code = depth * height * width, config.codes * config.dimension
        self.encoder = mlp((pixels, *config.hidden, code), ACTIVATIONS[config.activation])
        self.decoder = mlp((code, *reversed(config.hidden), pixels), ACTIVATIONS[config.activation])
        self.pixels = Pixels(config.likelihood, config.sigma, config.binarise, self.shape)
        self.prior = Prior(config.codebook, config.prior)
        self.register_buffer("rows", torch.randn(config.codebook, config.dimension) * 0.1)
        self.register_buffer("counts", torch.ones(config.codebook))
        self.register_buffer("sums", self.rows.clone())
        self.register_buffer("unused", torch.zeros(config.codebook, dtype=torch.int64))
        self._last: tuple[Tensor, Tensor] | None = None  # encoder outputs and their rows, from the loss to its update

    def begin(self, data, seed):
        self.pixels.begin(data["train.images"], self.decoder[-1].bias)

    def z(self, x: Tensor) -> Tensor:
        """Encoder outputs: [B, C, H, W] -> [B, codes, dimension]."""
        return self.encoder(self.pixels.centred(x).flatten(1)).float().view(-1, self.config.codes, self.config.dimension)

    def observed(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images that the likelihood is of: x, or binary ones drawn from it."""
        return self.pixels.observed(x, generator)

    def log_p_x(self, x: Tensor, e: Tensor) -> Tensor:
        """log p(x|e) in nats: [B, ...], [B, codes, dimension] -> [B]."""
        return self.pixels.log_prob(x.flatten(1), self.decoder(e.flatten(1)).float())

    def loss(self, batch, phase, step):
        x = self.observed(batch["images"])
        if phase == "prior":
            with torch.no_grad():
                indices = self.indices(x)
            loss = -self.prior(indices).sum(1).mean()
            return loss, {"nll": loss}
        z = self.z(x)
        indices = nearest(z.detach(), self.rows)
        e = self.rows[indices]
        self._last = z.detach(), indices
        distortion = -self.log_p_x(x, z + (e - z).detach()).mean()
        commitment = (z - e).square().sum((1, 2)).mean()
        return distortion + self.config.commitment * commitment, {"distortion": distortion, "commitment": commitment}

    @torch.no_grad()
    def after_update(self, phase, step):
        if phase != "main" or self._last is None:
            return
        (z, indices), c, self._last = self._last, self.config, None
        z, indices = z.flatten(0, 1), indices.flatten()
        counts = torch.bincount(indices, minlength=c.codebook).to(z.dtype)
        self.counts.lerp_(counts, 1 - c.decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, indices, z), 1 - c.decay)
        total = self.counts.sum()
        smoothed = (self.counts + 1e-5) / (total + c.codebook * 1e-5) * total
        self.rows.copy_(self.sums / smoothed[:, None])
        self.unused.add_(1)[counts > 0] = 0
        dead = torch.nonzero(self.unused >= c.revive)[:, 0] if c.revive else self.unused.new_empty(0)
        if len(dead):
            chosen = z[torch.randint(len(z), (len(dead),), device=z.device)]
            self.rows[dead], self.sums[dead], self.counts[dead], self.unused[dead] = chosen, chosen, 1.0, 0

    def indices(self, x: Tensor) -> Tensor:
        """Row of each position: [B, C, H, W] -> int64 [B, codes]."""
        return nearest(self.z(x), self.rows)

    def bound(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] = -log p(x|e), rate [B, codes] = -log p(e_i | e_<i)) in nats; their sum is -ELBO. x as `observed`."""
        indices = self.indices(x)
        return -self.log_p_x(x, self.rows[indices]), -self.prior(indices)

    def log_likelihood(self, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """The same bound whatever k, for q is deterministic: [B, ...] -> [B] in nats."""
        distortion, rate = self.bound(x)
        return -distortion - rate.sum(1)

    def validate(self, data):
        draw = torch.Generator(self.rows.device).manual_seed(0)
        x = self.observed(image_tensor(data["valid.images"], self.rows.device), draw)
        distortion, rate = self.bound(x)
        return {"loss": (distortion + rate.sum(1)).mean().item(), "kl": rate.sum(1).mean().item()}

    def encode(self, x: Tensor) -> Tensor:
        """The chosen rows, end to end: [B, C, H, W] -> [B, codes * dimension]."""
        return self.rows[self.indices(x)].flatten(1)

    def decode(self, e: Tensor) -> Tensor:
        """Mean image: [B, codes * dimension] -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(self.decoder(e)).view(-1, *self.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Means p(x|e) for codes from the learnt prior: [n, C, H, W]."""
        return self.decode(self.rows[self.prior.sample(n, self.config.codes, generator)].flatten(1))
