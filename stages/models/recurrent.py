"""Recurrent nets over sequences that are given whole: one answer a sequence, one a step, or the next step.

What is answered follows from the data: the class of an image read row by row or pixel by pixel (many to one), the class of each token
(many to many, in step), the sum that a series hides (many to one), or, of a series without one, each step from those before it.

    rnn  h_t = tanh(W x_t + U h_{t-1} + b)             Elman 1990, https://doi.org/10.1207/s15516709cog1402_1
    gru, lstm                                          Cho et al. 2014, https://arxiv.org/abs/1406.1078; Hochreiter and Schmidhuber 1997,
                                                       https://doi.org/10.1162/neco.1997.9.8.1735, with the forget gates of Gers et al. 2000
    truncated BPTT: `window` steps                     Williams and Peng 1990, https://doi.org/10.1162/neco.1990.2.4.490

The gradient of an answer is stopped where the window of `window` steps begins that the answer lies in, so that it passes between 0 and
window - 1 steps back; with window >= length, and with 0, it is the full gradient. `train.clip_norm` and `train.clip_value` clip it.
The forget gate starts open (bias `forget`), recurrent matrices orthogonal: with torch's own start an LSTM needs more steps for `adding`.
Sequences of unequal length are packed: nothing is computed on padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.models.base import Model as Base
from stages.models.base import split_rows
from stages.models.parts.ragged import Packing, packing
from stages.models.parts.recurrent import Reader
from stages.settings import InputError, field

CITATION = "Hochreiter and Schmidhuber 1997, Long short-term memory, https://doi.org/10.1162/neco.1997.9.8.1735"
ROWS = 256


@dataclass(frozen=True)
class Config:
    cell: Literal["rnn", "gru", "lstm"] = field("lstm")
    hidden: int = field(64, low=1, high=4096)
    embedding: int = field(32, low=1, high=4096, doc="of a token")
    steps: Literal["rows", "pixels"] = field("rows", doc="of an image")
    both_ways: bool = field(False, doc="a second net reads from the end; not for forecasts")
    window: int = field(0, low=0, doc="steps of truncated BPTT; 0: the whole sequence")
    forget: float = field(1.0, doc="bias of an LSTM's forget gate at the start")
    dropout: float = field(0.0, low=0.0, high=0.9)


class Model(Base):
    kinds = ("pairs", "series", "images")
    per_example = False  # a mean over tokens, whose number differs between shares
    train_defaults = {"steps": 1000, "batch_size": 64, "lr": 3e-3, "clip_norm": 1.0, "log_every": 25}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        c, self.config, self.kind = config, config, meta["kind"]
        if self.kind == "pairs":
            self.inputs = ("source.tokens", "target.tokens")
            self.ragged = {"source.tokens": "source.offsets", "target.tokens": "target.offsets"}
            self.embedding = nn.Embedding(meta["source_words"], c.embedding)
            width, answers = c.embedding, meta["target_words"]
        elif self.kind == "images":
            if meta["classes"] < 2:
                raise InputError(f"family recurrent tells the class of an image, but the dataset has {meta['classes']} classes; choose a "
                                 "labelled dataset")
            self.inputs = ("images", "labels")
            height, across, depth = meta["shape"]
            width, answers = (across * depth if c.steps == "rows" else depth), meta["classes"]
        else:
            self.forecasts = "sum" not in meta.get("factors", ())
            self.inputs = ("series",) if self.forecasts else ("series", "factors")
            width = meta["shape"][1]
            answers = width if self.forecasts else 1
        if c.both_ways and (c.window or self.kind == "series"):
            raise InputError("model.both_ways: true reads a sequence from its end, which truncated BPTT (model.window) and series do not "
                             "allow; set it to false")
        self.reader = Reader(c.cell, width, c.hidden, c.both_ways)
        self.dropout, self.output = nn.Dropout(c.dropout), nn.Linear(c.hidden * (1 + c.both_ways), answers)
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                for block in parameter.split(c.hidden):
                    nn.init.orthogonal_(block)
            if "bias_hh" in name and c.cell == "lstm":
                nn.init.constant_(parameter[c.hidden : 2 * c.hidden], c.forget)

    def begin(self, data, seed):
        if self.kind == "pairs" and not np.array_equal(data["train.source.offsets"], data["train.target.offsets"]):
            wrong = int((np.diff(data["train.source.offsets"]) != np.diff(data["train.target.offsets"])).sum())
            raise InputError(f"family recurrent tells a tag for each word, but {wrong} training pairs have targets of another length than "
                             "their sources; for translations choose family seq2seq")
        if self.kind == "series" and not self.forecasts:
            with torch.no_grad():
                self.output.bias.fill_(float(data["train.factors"][:, 0].mean()))

    def states(self, x: Tensor, layout: Packing) -> tuple[Tensor, Tensor]:
        """(states after every element [N, hidden], last state [B, hidden]) of elements x [N, D]; of both directions, joined."""
        return self.reader(x, layout, window=self.config.window)

    def sequence(self, x: Tensor) -> tuple[Tensor, Packing]:
        """Elements and layout of equally long sequences [B, T, D]."""
        layout = packing(torch.full((len(x),), x.shape[1], device=x.device))
        return x[layout.row, layout.step], layout

    def image_steps(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, T, D], rows or pixels, between -1 and 1."""
        rows = images.permute(0, 2, 3, 1)
        return 2 * (rows.flatten(2) if self.config.steps == "rows" else rows.flatten(1, 2)) - 1

    def logits(self, x: Tensor) -> Tensor:
        """Class logits of images: [B, C, H, W] -> [B, classes]."""
        return self.output(self.dropout(self.states(*self.sequence(self.image_steps(x)))[1]))

    def tag_logits(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Logits of each token's class, in the order of the tokens: [N, classes]."""
        layout = packing(offsets.diff())
        at = offsets[layout.row] + layout.step
        states, _ = self.states(self.embedding(tokens)[at], layout)
        return torch.empty(len(tokens), self.output.out_features, device=tokens.device).index_copy(0, at, self.output(self.dropout(states)))

    def sums(self, series: Tensor) -> Tensor:
        """What each series hides: [B, T, D] -> [B]."""
        return self.output(self.dropout(self.states(*self.sequence(series))[1]))[:, 0]

    def forecast(self, series: Tensor) -> Tensor:
        """The step after each: [B, T, D] -> [B, T, D], the last value plus what the net adds."""
        x, layout = self.sequence(series)
        made = x + self.output(self.dropout(self.states(x, layout)[0]))
        return torch.empty_like(series).index_put((layout.row, layout.step), made)

    def loss(self, batch, phase, step):
        if self.kind == "images":
            logits, target = self.logits(batch["images"]), batch["labels"]
        elif self.kind == "pairs":
            logits, target = self.tag_logits(batch["source.tokens"], batch["source.offsets"]), batch["target.tokens"]
        else:
            series = batch["series"]
            error = (self.forecast(series)[:, :-1] - series[:, 1:] if self.forecasts else self.sums(series) - batch["factors"][:, 0])
            return error.square().mean(), {"mse": error.square().mean().detach()}
        loss = cross_entropy(logits.float(), target)
        return loss, {"accuracy": (logits.argmax(1) == target).float().mean()}

    def validate(self, data):
        name = {"pairs": "source.offsets", "series": "series", "images": "images"}[self.kind]
        rows = np.arange(len(data[f"valid.{name}"]) - (self.kind == "pairs"))
        device, losses = self.output.bias.device, []
        for part in np.split(rows, range(ROWS, len(rows), ROWS)):
            losses.append(self.loss(split_rows(self, data, "valid", part, device), "main", 0)[0].item() * len(part))
        return {"loss": sum(losses) / len(rows)}

    def gradient_by_lag(self, batch: dict[str, Tensor]) -> Tensor:
        """Norm of the gradient that the answer at the last step sends to the input of each step, last first, mean over the sequences: [T].

        Of equally long sequences, with the full gradient whatever `window` is.
        """
        with torch.enable_grad():
            x = (self.image_steps(batch["images"]) if self.kind == "images" else batch["series"]).detach().requires_grad_()
            elements, layout = self.sequence(x)
            _, last = self.reader(elements, layout)
            (found,) = torch.autograd.grad(self.output(last).sum(), x)
        return found.norm(dim=2).mean(0).flip(0)
