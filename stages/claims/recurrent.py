"""Claims about gradients through time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.claims.record import Check, Claim, Figure, over_seeds, worst
from stages.settings import field

PASCANU = "Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks, https://arxiv.org/abs/1211.5063"
HOCHREITER = "Hochreiter and Schmidhuber 1997, Long short-term memory, Neural Computation 9(8)"


def matrix(rng: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """A random matrix [size, size] scaled to the spectral radius."""
    w = rng.standard_normal((size, size)) / math.sqrt(size)
    return w * radius / np.abs(np.linalg.eigvals(w)).max()


class RNN:
    """h' = tanh(W h + U x)."""

    def __init__(self, rng: np.random.Generator, size: int, radius: float):
        self.size = size
        self.w, self.u = (torch.from_numpy(m) for m in (matrix(rng, size, radius), rng.standard_normal((size, size)) / math.sqrt(size)))

    def start(self) -> Tensor:
        return torch.zeros(self.size, dtype=torch.float64)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        return torch.tanh(self.w @ state + self.u @ x)

    def hidden(self, state: Tensor) -> Tensor:
        return state


class LSTM:
    """c' = f c + i g, h' = o tanh(c'); gates s(W h + U x + b). The state is (c, h) end to end; without `through` the gates see no h."""

    gates = 4

    def __init__(self, rng: np.random.Generator, size: int, radius: float, bias: float = 0.0, through: bool = True):
        self.size, self.bias, self.through = size, bias, through
        self.w = torch.from_numpy(np.concatenate([matrix(rng, size, radius) for _ in range(self.gates)]))
        self.u = torch.from_numpy(rng.standard_normal((self.gates * size, size)) / math.sqrt(size))

    def start(self) -> Tensor:
        return torch.zeros(2 * self.size, dtype=torch.float64)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        c, h = state.chunk(2)
        i, f, o, g = (self.w @ (h if self.through else h.detach()) + self.u @ x).chunk(4)
        self.forget = torch.sigmoid(f + self.bias)
        c = self.forget * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([c, torch.sigmoid(o) * torch.tanh(c)])

    def hidden(self, state: Tensor) -> Tensor:
        return state[self.size :]


class GRU(LSTM):
    """r, u = s(...); n = tanh(U x + r W h); h' = (1 - u) n + u h."""

    gates = 3

    def start(self) -> Tensor:
        return torch.zeros(self.size, dtype=torch.float64)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        (ru, rr, rn), (xu, xr, xn) = (self.w @ state).chunk(3), (self.u @ x).chunk(3)
        update = torch.sigmoid(ru + xu)
        return (1 - update) * torch.tanh(xn + torch.sigmoid(rr + xr) * rn) + update * state

    def hidden(self, state: Tensor) -> Tensor:
        return state


def unrolled(cell, inputs: Tensor) -> list[Tensor]:
    """The states from before the first input to after the last, [T + 1], ready to be differentiated by."""
    states = [cell.start().requires_grad_()]
    for x in inputs:
        states.append(cell.step(x, states[-1]))
    return states


def by_lag(cell, inputs: Tensor) -> list[float]:
    """Norm of the gradient of one direction of h_T by h_t, by lag T - t = 1 ... T, by automatic differentiation."""
    states = unrolled(cell, inputs)
    direction = torch.ones(cell.size, dtype=torch.float64) / math.sqrt(cell.size)
    return [float(g.norm()) for g in reversed(torch.autograd.grad(cell.hidden(states[-1]) @ direction, states[:-1]))]


def matrix_norms(outputs: Tensor, states: list[Tensor], size: int | None = None) -> list[float]:
    """Spectral norm of d outputs / d (first `size` numbers of each state), from the last state to the first."""
    rows = [torch.autograd.grad(output, states, retain_graph=True) for output in outputs]
    return [float(torch.linalg.matrix_norm(torch.stack([row[t][:size] for row in rows]), 2)) for t in reversed(range(len(states)))]


def norms_by_lag(cell, inputs: Tensor) -> list[float]:
    """Spectral norm of dh_T / dh_t by lag; of an LSTM by its whole state (c_t, h_t), for h_t alone is not all that it carries on."""
    states = unrolled(cell, inputs)
    return matrix_norms(cell.hidden(states[-1]), states[:-1])


def jacobians(cell: RNN, inputs: Tensor) -> list[np.ndarray]:
    """dh_{t+1} / dh_t = diag(1 - h_{t+1}^2) W, by formula."""
    h, found = cell.start(), []
    for x in inputs:
        h = cell.step(x, h)
        found.append(((1 - h**2)[:, None] * cell.w).numpy())
    return found


# ---- C23


@dataclass(frozen=True)
class C23:
    size: int = field(24, low=2, high=256, doc="hidden units")
    length: int = field(60, low=5, high=1000)
    radii: tuple[float, ...] = field((0.7, 1.0, 1.5), above=0.0, high=5.0, doc="spectral radii of the RNN")
    biases: tuple[float, ...] = field((0.0, 1.0, 3.0), low=-5.0, high=10.0, doc="of the LSTM's forget gate")
    inputs: float = field(0.1, low=0.0, high=10.0, doc="deviation of the inputs")
    clip: float = field(1.0, above=0.0)


def c23(settings: C23, seeds: list[int]) -> Claim:
    """SPEC's C23."""
    growth, bounds, kept, linear, clipped, figure = [], [], [], [], [], {}

    def plotted(label, cell, inputs):
        if label not in figure:  # of the first seed
            figure[label] = norms_by_lag(cell, inputs)

    for seed in seeds:
        rng = np.random.default_rng([seed, 23])
        inputs = settings.inputs * torch.from_numpy(rng.standard_normal((settings.length, settings.size)))
        for radius in settings.radii:
            cell = RNN(rng, settings.size, radius)
            norms = by_lag(cell, inputs)
            found = jacobians(cell, inputs)
            v = np.ones(settings.size) / math.sqrt(settings.size)
            logs, limits = [], []
            for j in reversed(found):
                before, v = np.linalg.norm(v), j.T @ v
                logs.append(math.log(np.linalg.norm(v) / before))
                limits.append(math.log(np.linalg.norm(j, 2)))
            growth.append((math.log(norms[-1]) / len(norms), float(np.mean(logs))))
            bounds.append(float(np.max(np.log(norms) - np.cumsum(limits))))
            plotted(f"RNN, radius {radius:g}", cell, inputs)
            turned = torch.from_numpy(radius * np.linalg.qr(rng.standard_normal((settings.size, settings.size)))[0])
            cell.w, cell.step = turned, lambda x, state, w=turned: w @ state
            linear.append(math.log(by_lag(cell, inputs)[-1]) / settings.length - math.log(radius))
        weights = torch.from_numpy(rng.standard_normal(settings.size)).requires_grad_()
        (1e3 * weights.square().sum()).backward()
        before = weights.detach().clone()
        torch.nn.utils.clip_grad_norm_([weights], settings.clip)
        torch.optim.SGD([weights], lr=0.1).step()
        clipped.append(float((weights.detach() - before).norm()))
        plotted("GRU", GRU(rng, settings.size, 1.0), inputs)
        for bias in settings.biases:
            cell = LSTM(rng, settings.size, 1.0, bias)
            plotted(f"LSTM, forget bias {bias:g}", cell, inputs)
            cell.through, state, product = False, cell.start().requires_grad_(), torch.ones(settings.size, dtype=torch.float64)
            first = state
            for x in inputs:
                state = cell.step(x, state)
                product = product * cell.forget.detach()
            cells = torch.autograd.grad(state[: settings.size].sum(), first)[0][: settings.size]
            kept.append((float(cells.log().mean()), float(product.log().mean()), float(cells.pow(1 / settings.length).mean()), bias))
    open_gate = max(settings.biases)
    lags = np.arange(1, settings.length + 1)
    return Claim(
        statement="The gradient across T steps of an RNN shrinks or grows at the mean log growth of its Jacobians, and is bounded by their "
        "norms. Clipping bounds the step. Along an LSTM's cell path the gradient is the product of the forget gates, and an open gate "
        "keeps it alive.",
        formula=r"\frac{\partial h_T}{\partial h_t} = \prod_{s = t + 1}^T \diag(1 - h_s^2) W, \quad \frac{\partial c_T}{\partial c_t} "
        r"\text{ (cell path)} = \prod_{s = t + 1}^T f_s",
        source=f"{PASCANU}, section 2; {HOCHREITER}; Gers et al. 2000, Learning to forget, Neural Computation 12(10)",
        done=f"RNNs of {settings.size} units at three spectral radii, a GRU and LSTMs with forget biases "
        f"{', '.join(f'{b:g}' for b in settings.biases)} ran over {settings.length} random inputs in double precision. Norms by lag came "
        "from automatic differentiation and were held against products of Jacobians and gates by formula.",
        turn="claims.c23.settings.biases: sigma(bias)^T is what is left of the cell path's gradient after T steps, and inputs move it a "
        "little",
        changes="inputs so large that tanh saturates, which shrinks every Jacobian whatever the spectral radius",
        checks=[
            worst(
                "growth of the gradient a step (expected: mean log growth of the Jacobians), worst radius and seed",
                *np.array(growth).T,
                1e-9,
            ),
            Check("log gradient norm less the sum of log Jacobian norms, largest at any lag", max(bounds), 0.0, 1e-9, "at most"),
            worst("linear RNN, orthogonal W: growth a step less log of the radius", linear, 0.0, 1e-9),
            Check(f"step after clipping to {settings.clip:g}, rate 0.1: largest", max(clipped), 0.1 * settings.clip, 1e-6, "at most"),
            worst(
                "cell path of the LSTM: mean log dc_T/dc_0 (expected: log of the product of forget gates), worst bias and seed",
                *np.array([k[:2] for k in kept]).T,
                1e-9,
            ),
            over_seeds(
                f"factor a step along the cell path, forget bias {open_gate:g} (expected: s({open_gate:g}))",
                [k[2] for k in kept if k[3] == open_gate],
                1 / (1 + math.exp(-open_gate)),
                5e-3,
            ),
        ],
        figures=[
            Figure(
                "Norm of dh_T/dh_t by lag (of an LSTM by its state c, h), first seed",
                [(label, [(float(lag), max(n, 1e-12)) for lag, n in zip(lags, norms, strict=True)]) for label, norms in figure.items()],
                x="lag",
            )
        ],
    )


# ---- C24


@dataclass(frozen=True)
class C24:
    size: int = field(24, low=2, high=256)
    length: int = field(40, low=5, high=1000)
    radius: float = field(6.0, above=0.0, high=20.0, doc="spectral radius of each gate's recurrent matrix")
    bias: float = field(2.0, low=-5.0, high=10.0, doc="of the forget gate")


def largest_gradient(cell: LSTM, inputs: Tensor) -> tuple[float, list[float]]:
    """(largest norm, norms by lag) of dc_T/dc_t as a matrix's spectral norm."""
    states = unrolled(cell, inputs)
    norms = matrix_norms(states[-1][: cell.size], states[:-1], cell.size)
    return max(norms), norms


def c24(settings: C24, seeds: list[int]) -> Claim:
    """SPEC's C24: expected to fail."""
    whole, path, first = [], [], {}
    for seed in seeds:
        for through, found in ((True, whole), (False, path)):
            rng = np.random.default_rng([seed, 24])
            cell = LSTM(rng, settings.size, settings.radius, settings.bias, through)
            inputs = 0.1 * torch.from_numpy(rng.standard_normal((settings.length, settings.size)))
            largest, norms = largest_gradient(cell, inputs)
            found.append(largest)
            first.setdefault("all paths" if through else "cell path alone", norms)
    return Claim(
        statement="An LSTM's gradient cannot explode because its forget gate is at most 1. (Expected to fail: the gates read h, and "
        "through them the gradient has a second path that no gate bounds.)",
        formula=r"\left\lVert \frac{\partial c_T}{\partial c_t} \right\rVert \le \prod_s \max_i f_{s, i} \le 1",
        source=f"said of {HOCHREITER} in many text books; the counter-example follows {PASCANU}, section 2",
        done=f"LSTMs of {settings.size} units with recurrent matrices of spectral radius {settings.radius:g} ran over {settings.length} "
        "inputs. The largest spectral norm of dc_T/dc_t over all lags was computed with all paths, as training has them, and with the "
        "gates cut off from h, the path that the statement speaks of.",
        turn="claims.c24.settings.radius: with small recurrent weights the statement holds",
        changes="recurrent weights small enough for the hidden path to shrink",
        checks=[
            over_seeds("largest norm of dc_T/dc_t, cell path alone", path, 1.0, 1e-9, "at most"),
            over_seeds("largest norm of dc_T/dc_t, all paths", whole, 1.0, 1e-9, "at most"),
        ],
        figures=[
            Figure(
                "Norm of dc_T/dc_t by lag, first seed",
                [(label, [(float(i + 1), max(n, 1e-12)) for i, n in enumerate(norms)]) for label, norms in first.items()],
                x="lag",
            )
        ],
    )


# ---- C25


@dataclass(frozen=True)
class C25:
    size: int = field(12, low=2, high=128)
    length: int = field(30, low=3, high=500)
    radius: float = field(0.9, above=0.0, high=3.0)
    windows: tuple[int, ...] = field((1, 2, 4, 8, 16), low=1, high=500, doc="lengths of truncation")


def bptt(w: np.ndarray, u: np.ndarray, inputs: np.ndarray, targets: np.ndarray, window: int) -> np.ndarray:
    """Gradient by W of sum_t |h_t - y_t|^2 / 2, errors carried back over at most `window` steps (Werbos 1990), written out."""
    hidden = [np.zeros(len(w))]
    for x in inputs:
        hidden.append(np.tanh(w @ hidden[-1] + u @ x))
    gradient = np.zeros_like(w)
    for t in range(1, len(hidden)):
        delta = hidden[t] - targets[t - 1]
        for s in range(t, max(0, t - window), -1):
            delta = delta * (1 - hidden[s] ** 2)
            gradient += np.outer(delta, hidden[s - 1])
            delta = w.T @ delta
    return gradient


def unfolded(w: np.ndarray, u: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The same by automatic differentiation of a feed-forward network with a copy of W at every step, summed over the copies."""
    copies = [torch.from_numpy(w).clone().requires_grad_() for _ in inputs]
    h, loss = torch.zeros(len(w), dtype=torch.float64), 0.0
    for copy, x, y in zip(copies, inputs, targets, strict=True):
        h = torch.tanh(copy @ h + torch.from_numpy(u @ x))
        loss = loss + 0.5 * (h - torch.from_numpy(y)).square().sum()
    return sum(torch.autograd.grad(loss, copies)).numpy()


def c25(settings: C25, seeds: list[int]) -> Claim:
    """SPEC's C25."""
    errors, bias, decomposed = [], [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 25])
        w, u = matrix(rng, settings.size, settings.radius), rng.standard_normal((settings.size, settings.size)) / math.sqrt(settings.size)
        inputs, targets = 0.3 * rng.standard_normal((2, settings.length, settings.size))
        whole, reference = bptt(w, u, inputs, targets, settings.length), unfolded(w, u, inputs, targets)
        errors.append(float(np.linalg.norm(whole - reference) / np.linalg.norm(reference)))
        bias.append(
            [float(np.linalg.norm(bptt(w, u, inputs, targets, k) - reference) / np.linalg.norm(reference)) for k in settings.windows]
        )
        decomposed.append(float(np.linalg.norm(bptt(w, u, inputs, targets, settings.length + 10) - whole)))
    bias = np.array(bias)
    return Claim(
        statement="Backpropagation through time is backpropagation through the unfolded network; cutting it off after k steps biases the "
        "gradient by an amount that is measured here.",
        formula=r"\frac{\partial L}{\partial W} = \sum_t \sum_{s \le t} \frac{\partial L_t}{\partial h_t} \frac{\partial h_t}{\partial "
        r"h_s} \frac{\partial^+ h_s}{\partial W}",
        source="Werbos 1990, Backpropagation through time, Proceedings of the IEEE 78(10); Williams and Peng 1990, truncation",
        done=f"An RNN of {settings.size} units over {settings.length} steps in double precision: the recursion written out by hand against "
        "automatic differentiation of the unfolded network with a copy of W at every step. Then the hand-written one was cut off after "
        f"{', '.join(map(str, settings.windows))} steps.",
        turn="claims.c25.settings.radius: the nearer to 1, the more a truncation leaves out",
        changes="single precision, in which the two agree to seven digits only",
        checks=[
            Check("relative difference from the unfolded network, largest over seeds", max(errors), 1e-12, 0.0, "at most"),
            Check("windows beyond the start of the sequence change the gradient by at most", max(decomposed), 0.0, 1e-15),
            Check("smallest bias of the shortest truncation", float(bias[:, 0].min()), 1e-3, 0.0, "at least"),
            Check(
                "bias of the longest truncation over that of the shortest, largest over seeds",
                float((bias[:, -1] / bias[:, 0]).max()),
                1.0,
                0.0,
                "at most",
            ),
        ],
        figures=[
            Figure(
                "Relative bias of the truncated gradient",
                [
                    (f"seed {seed}", [(float(k), b) for k, b in zip(settings.windows, row, strict=True)])
                    for seed, row in list(zip(seeds, bias, strict=True))[:5]
                ],
                x="steps",
                log_x=True,
            )
        ],
    )
