"""Claims about what recurrent networks learn: how far back they can remember."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.claims.record import Claim, Contrast, Figure, paired
from stages.claims.trials import trained
from stages.models.base import Model
from stages.settings import field

SYMBOLS = 8  # of the copy problem; two more tokens are blank and go


def adding(n: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(x [n, length, 2], y [n]): numbers in [0, 1] with a mark on one in each half; y is the sum of the marked ones."""
    numbers, marks = rng.random((n, length)), np.zeros((n, length))
    half = length // 2
    places = np.stack([rng.integers(0, half, n), rng.integers(half, length, n)], 1)
    np.put_along_axis(marks, places, 1.0, 1)
    return np.stack([numbers, marks], 2).astype(np.float32), (numbers * marks).sum(1).astype(np.float32)


def copying(n: int, length: int, rng: np.random.Generator, symbols: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(x [n, length, SYMBOLS + 2] one-hot, y [n, symbols]): `symbols` symbols, blanks, and go, after which they are to be told again."""
    y = rng.integers(0, SYMBOLS, (n, symbols))
    tokens = np.full((n, length), SYMBOLS)
    tokens[:, :symbols], tokens[:, -symbols] = y, SYMBOLS + 1
    return np.eye(SYMBOLS + 2, dtype=np.float32)[tokens], y


class Reader(Model):
    """A recurrent network whose last states are read: one number (adding), or a symbol at each of the last steps (copying)."""

    inputs = ("x", "y")

    def __init__(self, cell: str, inputs: int, hidden: int, symbols: int):
        super().__init__()
        self.symbols = symbols
        self.cell = nn.LSTM(inputs, hidden, batch_first=True) if cell == "lstm" else nn.RNN(inputs, hidden, batch_first=True)
        if cell == "lstm":
            with torch.no_grad():
                self.cell.bias_ih_l0[hidden : 2 * hidden] = 1.0  # an open forget gate (Gers et al. 2000)
        self.read = nn.Linear(hidden, SYMBOLS if symbols else 1)

    def told(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B] or logits [B, symbols, SYMBOLS]."""
        states = self.cell(x)[0]
        return self.read(states[:, -self.symbols :]) if self.symbols else self.read(states[:, -1])[:, 0]

    def loss(self, batch, phase, step):
        told = self.told(batch["x"])
        error = F.cross_entropy(told.transpose(1, 2), batch["y"]) if self.symbols else F.mse_loss(told, batch["y"])
        return error, {"error": error}


@dataclass(frozen=True)
class C26:
    length: int = field(40, low=8, high=1000, doc="of the sequences")
    hidden: int = field(32, low=1, high=1024)
    steps: int = field(1500, low=1, high=10**6)
    lr: float = field(5e-3, above=0.0)
    batch: int = field(64, low=1, high=100000)
    rows: int = field(20000, low=100, high=10**7, doc="training sequences")


def outcome(cell: str, task: str, settings: C26, seed: int) -> tuple[float, list[tuple[float, float]]]:
    """(error, training curve) of a cell: mean squared error over its baseline's 1/6 (adding), share of wrong symbols (copying)."""
    make, symbols = (adding, 0) if task == "adding" else (copying, 3)
    rng = np.random.default_rng([seed, 26, symbols])
    x, y = make(settings.rows, settings.length, rng)
    model, result = trained(
        lambda: Reader(cell, x.shape[2], settings.hidden, symbols),
        {"x": x, "y": y},
        seed,
        steps=settings.steps,
        batch_size=settings.batch,
        lr=settings.lr,
        lr_decay="cosine",
        clip_norm=1.0,
        log_every=max(1, settings.steps // 30),
    )
    x, y = make(1000, settings.length, rng)
    with torch.no_grad():
        told = model.told(torch.from_numpy(x)).numpy()
    error = float((told.argmax(2) != y).mean()) if symbols else float(((told - y) ** 2).mean() * 6)
    return error, [(float(row["step"]), row["loss"]) for row in result.curve]


@paired
def c26(settings: C26, seeds: list[int]) -> Claim:
    """SPEC's C26."""
    found = {
        (task, cell): [outcome(cell, task, settings, seed) for seed in seeds] for task in ("adding", "copying") for cell in ("rnn", "lstm")
    }
    errors = {key: [error for error, _ in outcomes] for key, outcomes in found.items()}
    baseline, tests = {"adding": 1.0, "copying": 1 - 1 / SYMBOLS}, []
    for task, floor in baseline.items():
        rnn, lstm = errors[task, "rnn"], errors[task, "lstm"]
        tests += [
            Contrast(f"{task}: error of the RNN less that of the LSTM", tuple(a - b for a, b in zip(rnn, lstm, strict=True))),
            Contrast(f"{task}: a fifth of the baseline's error less that of the LSTM (solved)", tuple(floor / 5 - e for e in lstm)),
            Contrast(f"{task}: error of the RNN less 0.8 of the baseline's (not solved)", tuple(e - 0.8 * floor for e in rnn)),
        ]
    return Claim(
        statement=f"On the adding and the copy problem of length {settings.length} an LSTM solves what an RNN leaves at the baseline.",
        formula=r"e_{\mathrm{LSTM}} < \frac{1}{5} e_{\mathrm{baseline}}, \quad e_{\mathrm{RNN}} > 0.8\, e_{\mathrm{baseline}}",
        source="Hochreiter and Schmidhuber 1997, Long short-term memory, section 5.4, Neural Computation 9(8)",
        done=f"An RNN and an LSTM of {settings.hidden} units were trained for {settings.steps} steps on both problems, {len(seeds)} seeds "
        "each. Adding: error relative to always saying 1. Copying: share of wrong symbols of three, told after a pause; guessing leaves 7 "
        "of 8 wrong.",
        turn="claims.c26.settings.length: on short sequences the RNN solves both, on long ones the LSTM needs more steps",
        changes="an RNN begun at the identity with rectified units, which solves adding; too few steps for the LSTM",
        tests=tests,
        figures=[
            Figure(f"Training loss, {task}, first seed", [(cell.upper(), found[task, cell][0][1]) for cell in ("rnn", "lstm")])
            for task in baseline
        ],
    )
