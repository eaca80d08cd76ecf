"""How far back the last state of a recurrent net reaches, as a picture and a table."""

from __future__ import annotations

import numpy as np

from stages.evaluate import charts
from stages.evaluate.kinds.base import array


def exhibit(model, batch, gallery) -> None:
    """The gradient that the last state sends to the input of each step, of sequences of one length (model.gradient_by_lag)."""
    norms = array(model.gradient_by_lag(batch))
    shown = np.unique(np.linspace(0, len(norms) - 1, 9).astype(int))
    share = norms / max(norms.max(), 1e-300)
    gallery.picture("gradient", charts.lines({"gradient": [(int(i), float(share[i])) for i in shown]}, "steps back",
                                             "norm of the gradient, largest 1", [int(i) for i in shown]), "Gradient by lag",
                    "Norm of the gradient of the last state by the input so many steps back, as a share of the largest.")
    gallery.table("Gradient by lag", ["steps back", "norm"], [[int(i), f"{norms[i]:.3g}"] for i in shown],
                  "Of the last state, all units through the output weights, with respect to each step's input; full gradient.")
