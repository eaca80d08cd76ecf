"""Claims about autoencoders: the linear one and PCA, and the weight of the rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stages.claims.record import Claim, Contrast, Figure, over_seeds
from stages.claims.runs import Runs
from stages.claims.trials import trained
from stages.models.base import Model
from stages.settings import field

# ---- C14: the linear autoencoder and PCA


@dataclass(frozen=True)
class C14:
    dimension: int = field(12, low=3, high=500)
    width: int = field(3, low=1, high=100, doc="of the code")
    gap: float = field(2.0, above=0.0, high=100.0, doc="ratio less 1 of the last variance kept to the first left out")
    steps: int = field(1500, low=100, high=100000)
    rows: int = field(500, low=20, high=100000)


class Linear(Model):
    """x -> x A B without biases."""

    inputs = ("x",)

    def __init__(self, dimension: int, width: int):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(dimension, width, bias=False), nn.Linear(width, dimension, bias=False)

    def loss(self, batch, phase, step):
        error = (self.decoder(self.encoder(batch["x"])) - batch["x"]).square().sum(1).mean()
        return error, {"error": error}


def principal(x: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """(projector on the principal subspace, mean squared error of PCA) of centred rows x [n, D]."""
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    kept = directions[:, -width:]
    return kept @ kept.T, float(variances[:-width].sum())


def c14(settings: C14, seeds: list[int]) -> Claim:
    """SPEC's C14."""
    width, distances, errors, curve = min(settings.width, settings.dimension - 1), [], [], None
    for seed in seeds:
        rng = np.random.default_rng([seed, 14])
        variances = np.concatenate([(1 + settings.gap) * np.linspace(1.5, 1, width), np.linspace(1, 0.2, settings.dimension - width)])
        turned = np.linalg.qr(rng.standard_normal((settings.dimension, settings.dimension)))[0]
        x = rng.standard_normal((settings.rows, settings.dimension)) * np.sqrt(variances) @ turned.T
        x -= x.mean(0)
        projector, least = principal(x, width)
        model, result = trained(
            lambda: Linear(settings.dimension, width),
            {"x": x},
            seed,
            steps=settings.steps,
            batch_size=len(x),
            lr=2e-2,
            lr_decay="cosine",
            log_every=25,
        )
        decoder = torch.linalg.qr(model.decoder.weight.detach().double())[0].numpy()
        distances.append(float(np.linalg.norm(decoder @ decoder.T - projector)))
        with torch.no_grad():
            made = model.decoder(model.encoder(torch.from_numpy(x).float())).double().numpy()
        errors.append(float(((made - x) ** 2).sum(1).mean() / least))
        curve = curve or [(float(row["step"]), max(row["loss"] / least - 1, 1e-8)) for row in result.curve]
    return Claim(
        statement="A linear autoencoder on centred data whose covariance has a gap after its k-th eigenvalue spans the principal subspace "
        "and reaches the error of PCA.",
        formula=r"\lVert P_{\mathrm{decoder}} - P_{\mathrm{PCA}} \rVert_F = 0, \quad \min_{A, B} \E \lVert x - B A x \rVert^2 = \sum_{i > "
        r"k} \lambda_i",
        source="Baldi and Hornik 1989, Neural networks and principal component analysis, Neural Networks 2(1)",
        done=f"Gaussian data in {settings.dimension} dimensions with a gap after the {width}th variance, centred. The autoencoder was "
        f"trained by Adam for {settings.steps} steps; the projector on what its decoder spans and its error were compared with those of "
        "the eigendecomposition.",
        turn="claims.c14.settings.gap: as it closes, the subspace is no longer determined and training takes longer to find it",
        changes="data that are not centred, equal eigenvalues at the cut, or too few steps",
        checks=[
            over_seeds("distance of the projectors (Frobenius)", distances, 0.0),
            over_seeds("error over that of PCA", errors, 1.0),
        ],
        figures=[Figure("Error over that of PCA, less 1, first seed", [("training", curve)])],
    )


# ---- C17: beta


@dataclass(frozen=True)
class C17:
    betas: tuple[float, ...] = field((0.04, 1.0, 4.0, 8.0, 16.0), above=0.0, doc="of the five runs, in their order")
    score: str = field("mig", doc="disentanglement metric")
    rise: int = field(3, low=1, high=4, doc="disentanglement is said to rise up to this place, the best on validation images")


def c17(settings: C17, runs: Runs) -> Claim:
    """SPEC's C17."""
    found = {key: [runs.values(i, key) for i in range(len(settings.betas))] for key in ("kl", "distortion", settings.score)}
    b = settings.betas
    steps = list(zip(range(len(b)), range(1, len(b)), strict=False))
    tests = [Contrast(f"rate at beta {b[i]:g} less at {b[j]:g}, nats", runs.less(i, j, "kl")) for i, j in steps]
    tests += [Contrast(f"distortion at beta {b[j]:g} less at {b[i]:g}, nats", runs.less(j, i, "distortion")) for i, j in steps]
    tests += [
        Contrast(f"{settings.score} at beta {b[settings.rise]:g} less at {b[0]:g}", runs.less(settings.rise, 0, settings.score)),
        Contrast(f"{settings.score} at beta {b[settings.rise]:g} less at {b[-1]:g}", runs.less(settings.rise, len(b) - 1, settings.score)),
    ]

    def mean(key):
        return [(beta, sum(values) / len(values)) for beta, values in zip(b, found[key], strict=True)]

    return Claim(
        statement="In a beta-VAE the rate does not rise and the distortion does not fall with beta, the multiplier of the constrained "
        f"problem; on the shapes disentanglement rises up to beta {b[settings.rise]:g} and falls at {b[-1]:g}, where codes collapse. beta "
        "= 1 is the VAE.",
        formula=r"\max \E_q \log p(x \mid z) - \beta\, \KL(q(z \mid x) \parallel p(z)) \; \Rightarrow \; \frac{d R}{d \beta} \le 0, \; "
        r"\frac{d D}{d \beta} \ge 0",
        source="Higgins et al. 2017, beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl; Alemi et al. 2018, Fixing a broken ELBO, "
        "https://arxiv.org/abs/1711.00464",
        done=f"Five runs on the shapes that differ in beta alone ({', '.join(f'{beta:g}' for beta in b)}), {runs.seeds} seeds each. "
        f"Neighbouring betas were compared seed by seed in rate and distortion on test images, and {settings.score} at the stated range's "
        "end with both ends of the sweep.",
        turn="runs.shapes-beta-vae-b16.model.beta (and comparisons.c17.settings.betas with it): still larger, the code dies",
        changes="a likelihood whose variance is learnt, which undoes beta; models too small or too briefly trained for their optimum",
        tests=tests,
        figures=[
            *(
                Figure(f"{name}, nats", [(name, mean(key))], x="beta", log_x=True)
                for name, key in (("rate", "kl"), ("distortion", "distortion"))
            ),
            Figure(f"Disentanglement ({settings.score})", [(settings.score, mean(settings.score))], x="beta", log_x=True),
        ],
    )
