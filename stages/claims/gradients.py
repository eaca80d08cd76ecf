"""Claims about gradients that vanish: saturating losses, discriminators near their optimum, and the critic that keeps its slope."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linprog
from torch import nn

from stages.claims.quadrature import grid
from stages.claims.record import Check, Claim, Figure, lines, over_seeds, worst
from stages.claims.trials import trained
from stages.models.base import Model
from stages.models.parts.nets import mlp
from stages.settings import field

ARJOVSKY = (
    "Arjovsky and Bottou 2017, Towards principled methods for training generative adversarial networks, https://arxiv.org/abs/1701.04862"
)
WGAN = "Arjovsky, Chintala and Bottou 2017, Wasserstein GAN, https://arxiv.org/abs/1701.07875"


# ---- C03: the losses of the generator as functions of the logit a


def saturating_slope(a: np.ndarray) -> np.ndarray:
    """d log(1 - s(a)) / da."""
    return -1 / (1 + np.exp(-a))


def nonsaturating_slope(a: np.ndarray) -> np.ndarray:
    """d (-log s(a)) / da."""
    return -1 / (1 + np.exp(a))


@dataclass(frozen=True)
class C03:
    distance: float = field(4.0, low=0.0, high=20.0, doc="between the data's N(distance, 1/2) and the generator's N(0, 1)")
    steps: int = field(600, low=50, high=100000, doc="of the discriminator, the generator held fast")


class Watched(Model):
    """A discriminator in training before a generator x = m + z that waits; `validate` gives the norm of both of its gradients."""

    inputs = ("real", "fake")

    def __init__(self):
        super().__init__()
        self.net = mlp((1, 32, 1), nn.Tanh)

    def loss(self, batch, phase, step):
        loss = -(F.logsigmoid(self.net(batch["real"])).mean() + F.logsigmoid(-self.net(batch["fake"])).mean())
        return loss, {"d": loss}

    def validate(self, data):
        z = torch.from_numpy(data["train.fake"][:2000]).float()
        with torch.enable_grad():
            m = torch.zeros((), requires_grad=True)
            norms = [
                abs(torch.autograd.grad(loss(self.net(m + z)).mean(), m)[0].item())
                for loss in (lambda a: F.logsigmoid(-a), lambda a: -F.logsigmoid(a))
            ]
        return {"loss": 0.0, "saturating": norms[0], "nonsaturating": norms[1]}


def c03(settings: C03, seeds: list[int]) -> Claim:
    """SPEC's C03."""
    a = torch.linspace(-12, 12, 97, dtype=torch.float64, requires_grad=True)
    slopes = [torch.autograd.grad(loss.sum(), a)[0].numpy() for loss in (torch.log(1 - torch.sigmoid(a)), -torch.log(torch.sigmoid(a)))]
    at, norms = a.detach().numpy(), []
    for seed in seeds:
        rng = np.random.default_rng([seed, 3])
        arrays = {"real": rng.normal(settings.distance, 0.5, (5000, 1)), "fake": rng.normal(0, 1, (5000, 1))}
        _, result = trained(Watched, arrays, seed, steps=settings.steps, batch_size=256, lr=5e-3, validate_every=10, log_every=10)
        norms.append([[row["valid_saturating"], row["valid_nonsaturating"]] for row in result.curve])
    norms = np.array(norms)  # (seeds, looks, 2)
    shares = norms[:, -1, 0] / norms[:, -1, 1]
    steps = 10 * (1 + np.arange(norms.shape[1]))
    return Claim(
        statement="In the discriminator's logit a, log(1 - s(a)) has slope -s(a) and -log s(a) has slope -(1 - s(a)): a discriminator that "
        "is sure of itself (a far below zero on generated x) starves the generator of the first loss and not that of the second.",
        formula=r"\frac{d}{da} \log (1 - s(a)) = -s(a), \quad \frac{d}{da} \left( -\log s(a) \right) = -(1 - s(a))",
        source="Goodfellow et al. 2014, Generative adversarial nets, section 3, https://arxiv.org/abs/1406.2661",
        done="Both slopes were taken by automatic differentiation at 97 logits and compared with the formulas. Then a discriminator was "
        f"trained for {settings.steps} steps against a generator that waits, {settings.distance:g} from the data, and the norm of the "
        "generator's gradient under both losses was measured along the way.",
        turn="claims.c03.settings.distance: nearer distributions keep the discriminator unsure and both gradients alive",
        changes="a discriminator that stays unsure, by overlap, few steps or noise, keeps the saturating gradient alive",
        checks=[
            worst("slope of log(1 - s(a)) at the worst of 97 logits", slopes[0], saturating_slope(at), 1e-9),
            worst("slope of -log s(a) at the worst of 97 logits", slopes[1], nonsaturating_slope(at), 1e-9),
            over_seeds(
                "saturating over non-saturating gradient norm of the generator after the last step", list(shares), 0.1, 0.0, "at most"
            ),
        ],
        figures=[
            Figure("Norm of the generator's gradient, first seed", lines(["saturating", "non-saturating"], steps, norms[0].T)),
            Figure("Size of the slope by the logit", lines(["saturating", "non-saturating"], at, [-s for s in slopes]), x="logit a"),
        ],
    )


# ---- C04: the bound near an optimal discriminator


@dataclass(frozen=True)
class C04:
    closeness: tuple[float, ...] = field((0.3, 0.1, 0.03, 0.01, 0.003, 0.001), above=0.0, high=0.5, doc="e of D from D*")
    waves: float = field(3.0, above=0.0, high=50.0, doc="frequency of D on the generator's support")
    steps: int = field(400, low=50, high=100000, doc="of a trained discriminator")


def vanishing_bound(jacobian: float, e: float) -> float:
    """M e / (1 - e) (Arjovsky and Bottou 2017, theorem 2.4)."""
    return jacobian * e / (1 - e)


def saturating_gradient(d: np.ndarray, slope: np.ndarray, jacobian: np.ndarray) -> float:
    """Norm of E_z grad log(1 - D(g(z))) for D and dD/dx at g(z), and dg/dtheta [n, parameters]."""
    return float(np.linalg.norm(((-slope / (1 - d))[:, None] * jacobian).mean(0)))


def c04(settings: C04, seeds: list[int]) -> Claim:
    """SPEC's C04."""
    z = grid(0.0, 1.0, 2000)[0]
    jacobian = np.stack([np.ones_like(z), z], 1)  # of x = m + w z by (m, w), at m = 0, w = 1: the generator's support is [0, 1]
    m = math.sqrt((jacobian**2).sum(1).mean())
    wave, slope = 0.5 * (1 + np.sin(settings.waves * z)), 0.5 * settings.waves * np.cos(settings.waves * z)
    largest = (wave + np.abs(slope)).max()  # of |D - D*| + |dD/dx - dD*/dx|, D* = 0 on all of the support
    gradients = [saturating_gradient(e * wave / largest, e * slope / largest, jacobian) for e in settings.closeness]
    bounds = [vanishing_bound(m, e) for e in settings.closeness]
    checks = [
        Check(f"gradient norm at closeness {e:g}, as a share of the bound", g / b, 1.0, 0.0, "at most")
        for e, g, b in zip(settings.closeness, gradients, bounds, strict=True)
    ]
    tiny = np.array([1e-4, 1e-5])
    small = [saturating_gradient(e * wave / largest, e * slope / largest, jacobian) for e in tiny]
    checks.append(
        Check(
            "order of the gradient in e (slope of its logarithm, from 1e-4 to 1e-5)",
            float(np.log(small[0] / small[1]) / np.log(tiny[0] / tiny[1])),
            1.0,
        )
    )
    e = min(settings.closeness)  # all of e in the slope: how tight the bound can be
    tight = saturating_gradient(np.zeros_like(z), np.full_like(z, e), np.ones((len(z), 1))) / vanishing_bound(1.0, e)
    checks.append(Check("share of the bound that a discriminator which is all slope reaches (expected: 1 - e)", tight, 1 - e, 1e-6))
    shares, trace = [], []
    for seed in seeds:
        _, result = trained(
            lambda: Apart(z),
            {"real": 2 + z[:, None], "fake": z[:, None]},
            seed,
            steps=settings.steps,
            batch_size=len(z),
            lr=2e-2,
            validate_every=20,
            log_every=20,
        )
        found = [(row["valid_e"], row["valid_gradient"]) for row in result.curve if row["valid_e"] < 1]
        shares.append(max(g / vanishing_bound(m, e) for e, g in found) if found else math.nan)
        trace.append(found)
    checks.append(over_seeds("largest share of the bound along the training of a discriminator", shares, 1.0, 0.0, "at most"))
    found = sorted(trace[0])
    return Claim(
        statement="On disjoint supports, near an optimal discriminator, the gradient of the saturating loss is at most M e / (1 - e): e is "
        "how close D is to D* in value and gradient, M the root mean square of the generator's Jacobian.",
        formula=r"\lVert \nabla_\theta \E_z \log (1 - D(g_\theta(z))) \rVert \le M \frac{\epsilon}{1 - \epsilon}, \quad \epsilon = \sup ( "
        r"\lvert D - D^* \rvert + \lVert \nabla D - \nabla D^* \rVert )",
        source=f"{ARJOVSKY}, theorem 2.4",
        done="Generator x = m + w z on [0, 1], data on [2, 3]: D* is 0 with gradient 0 on all that is generated. Discriminators at known e "
        "were laid on it and the gradient computed by quadrature; then a network was trained and its e, gradient and bound followed.",
        turn="claims.c04.settings.closeness: the gradient falls in proportion to e",
        changes="supports that overlap: then D* is neither 0 nor flat where samples fall, and a gradient stays",
        checks=checks,
        figures=[
            Figure(
                "Gradient of a trained discriminator and its bound",
                lines(["gradient", "bound"], [e for e, _ in found], [[g for _, g in found], [vanishing_bound(m, e) for e, _ in found]]),
                x="closeness e",
                log_x=True,
            )
        ],
    )


class Apart(Model):
    """A discriminator between disjoint supports; `validate` measures e and the saturating gradient on the generator's support."""

    inputs = ("real", "fake")

    def __init__(self, z: np.ndarray):
        super().__init__()
        self.net, self.z = mlp((1, 16, 1), nn.Tanh), torch.from_numpy(z[:, None]).float()

    def loss(self, batch, phase, step):
        loss = -(F.logsigmoid(self.net(batch["real"])).mean() + F.logsigmoid(-self.net(batch["fake"])).mean())
        return loss, {"d": loss}

    def validate(self, data):
        with torch.enable_grad():
            x = self.z.clone().requires_grad_()
            d = torch.sigmoid(self.net(x))
            slope = torch.autograd.grad(d.sum(), x)[0]
        d, slope = d.detach().double().numpy()[:, 0], slope.double().numpy()[:, 0]
        z = self.z.double().numpy()[:, 0]
        gradient = saturating_gradient(d, slope, np.stack([np.ones_like(z), z], 1))
        return {"loss": 0.0, "e": float((d + np.abs(slope)).max()), "gradient": gradient}


# ---- C09: a critic and a discriminator, both at their best


def best_critic(x: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, float]:
    """(f on the grid x, E_p f - E_q f) of the best 1-Lipschitz critic: a linear program in its differences."""
    h = np.diff(x)
    flux = np.cumsum((q - p)[:-1])  # E_p f - E_q f = sum_i flux_i (f_{i+1} - f_i)
    found = linprog(-flux, bounds=np.stack([-h, h], 1), method="highs")
    return np.concatenate([[0.0], np.cumsum(found.x)]), float(-found.fun)


def penalised_slope(extent: float, penalty: float) -> float:
    """Mean of f' over the generator's block [0, 1] at the optimum of E_q f - E_p f + penalty E_u max(0, |f'| - 1)^2.

    u is uniform over the extent of both blocks and the gap. Pointwise f' = 1 + flux x extent / (2 penalty), the flux being x on that block.
    """
    return 1 + extent / (4 * penalty)


@dataclass(frozen=True)
class C09:
    gaps: tuple[float, ...] = field((0.5, 1.0, 2.0, 4.0), above=0.0, high=100.0, doc="between generator's block [0, 1] and the data's")
    steps: int = field(600, low=100, high=100000, doc="of the networks")
    penalty: float = field(10.0, above=0.0, doc="weight of the gradient penalty")


class Opponent(Model):
    """Critic with a penalty on slopes above 1, or discriminator; `validate`: the gradient by which x = m + z moves to the data.

    The penalty is one-sided (Petzka et al. 2018): on a line the two-sided one has a second minimum, a critic of the wrong sign.
    """

    inputs = ("real", "fake", "between")

    def __init__(self, penalty: float | None):
        super().__init__()
        self.net, self.penalty = mlp((1, 32, 32, 1), nn.Tanh), penalty

    def loss(self, batch, phase, step):
        real, fake = self.net(batch["real"]), self.net(batch["fake"])
        if self.penalty is None:
            loss = -(F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean())
            return loss, {"d": loss}
        x = batch["between"].requires_grad_()
        slope = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]
        loss = fake.mean() - real.mean() + self.penalty * F.relu(slope.abs() - 1).square().mean()
        return loss, {"d": loss}

    def validate(self, data):
        with torch.enable_grad():
            x = torch.from_numpy(np.array(data["train.fake"])).float().requires_grad_()
            a = self.net(x)
            gradient = torch.autograd.grad((a if self.penalty else F.logsigmoid(-a)).mean(), x)[0].sum()
        return {"loss": 0.0, "gradient": gradient.item() if self.penalty else -gradient.item()}


def c09(settings: C09, seeds: list[int]) -> Claim:
    """SPEC's C09."""
    slopes, values = [], []
    for gap in settings.gaps:
        x = np.linspace(-1, gap + 3, 401)
        q, p = ((x >= 0) & (x <= 1)).astype(float), ((x >= 1 + gap) & (x <= 2 + gap)).astype(float)
        f, best = best_critic(x, p / p.sum(), q / q.sum())
        inside = q > 0
        slopes.append(float(np.gradient(f, x)[inside][1:-1].mean()))
        values.append(best / ((x * p).sum() / p.sum() - (x * q).sum() / q.sum()))
    traces, ends = {}, {"critic": [], "discriminator": []}
    gap = settings.gaps[len(settings.gaps) // 2]
    for seed in seeds:
        fake = grid(0.0, 1.0, 128)[0][:, None]
        arrays = {"real": 1 + gap + fake, "fake": fake, "between": fake * (2 + gap)}
        for name, penalty in (("critic", settings.penalty), ("discriminator", None)):
            _, result = trained(
                lambda penalty=penalty: Opponent(penalty),
                arrays,
                seed,
                steps=settings.steps,
                batch_size=128,
                lr=1e-2,
                lr_decay="cosine",
                validate_every=20,
                log_every=20,
            )
            curve = [(float(row["step"]), max(row["valid_gradient"], 1e-9)) for row in result.curve]
            traces.setdefault(name, curve)
            ends[name].append(curve[-1][1])
    return Claim(
        statement="On disjoint supports a critic that is Lipschitz and trained to optimality still gives the generator a gradient; an "
        "optimal discriminator gives none.",
        formula=r"\max_{\lVert f \rVert_L \le 1} \E_p f - \E_q f \; \Rightarrow \; f' = 1 \text{ on the generator's block}, \quad D^* = 0 "
        r"\; \Rightarrow \; \nabla \log (1 - D^*) = 0",
        source=f"{WGAN}, theorem 3 and figure 2; Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028 and Petzka et al. 2018, "
        "https://arxiv.org/abs/1709.08894 (the penalty)",
        done="Generator on [0, 1], data a gap further on. The best 1-Lipschitz critic was found by a linear program on a grid at every "
        f"gap. At one gap two equal networks were trained for {settings.steps} steps, one as a critic with gradient penalty, one as a "
        "discriminator, and the gradient that each gives a translation of the generator was followed.",
        turn="claims.c09.settings.steps: the longer both are trained, the farther their gradients part",
        changes="overlapping supports, where an optimal discriminator has a gradient too, or a critic free of its Lipschitz bound",
        checks=[
            worst("mean slope of the best critic on the generator's block, worst gap", slopes, 1.0),
            worst("value of the best critic over the distance of the means, worst gap", values, 1.0),
            over_seeds(
                "gradient from the trained critic (expected: the penalised optimum's, 1 + extent / (4 x penalty))",
                ends["critic"],
                penalised_slope(2 + gap, settings.penalty),
                1e-2,
            ),
            over_seeds("gradient from the trained discriminator (saturating)", ends["discriminator"], 0.01, 0.0, "at most"),
        ],
        figures=[Figure("Gradient that the generator gets, first seed", list(traces.items()))],
    )
