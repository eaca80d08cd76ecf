"""Claims about embeddings: what an example costs, and what the choice of model changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from stages.claims.record import Claim, Figure, lines, worst
from stages.settings import field

MIKOLOV = "Mikolov et al. 2013, https://arxiv.org/abs/1301.3781 and https://arxiv.org/abs/1310.4546"


# ---- C19: rows touched


@dataclass(frozen=True)
class C19:
    sizes: tuple[int, ...] = field((250, 500, 1000, 2000, 4000), low=50, high=10**6, doc="V, of the vocabulary or of the nodes")
    negatives: tuple[int, ...] = field((5, 10, 20, 40), low=1, high=45, doc="k, of an example")
    dimension: int = field(16, low=1, high=1000)


def rows(objective: str, size: int, k: int, dimension: int, rng: np.random.Generator) -> int:
    """Rows of the output table [size, dimension] with a gradient after one example: counted, not reckoned."""
    table = torch.from_numpy(rng.normal(0, 0.1, (size, dimension))).requires_grad_()
    word, target = torch.from_numpy(rng.normal(0, 0.1, dimension)), 0
    noise = torch.from_numpy(1 + rng.choice(size - 1, k, replace=False))
    if objective == "softmax":
        loss = -F.log_softmax(table @ word, 0)[target]
    else:
        loss = -F.logsigmoid(table[target] @ word) - F.logsigmoid(-(table[noise] @ word)).sum()
    loss.backward()
    return int((table.grad != 0).any(1).sum())


def exponent(x, y) -> float:
    """Slope of log y in log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def c19(settings: C19, seeds: list[int]) -> Claim:
    """SPEC's C19."""
    rng, v, ks = np.random.default_rng([*seeds, 19]), list(settings.sizes), list(settings.negatives)
    full = [rows("softmax", n, ks[0], settings.dimension, rng) for n in v]
    few = [rows("sampling", n, ks[0], settings.dimension, rng) for n in v]
    by_k = [rows("sampling", v[-1], k, settings.dimension, rng) for k in ks]
    epochs = {name: [n * count for n, count in zip(v, found, strict=True)] for name, found in (("softmax", full), ("sampling", few))}
    return Claim(
        statement="The full softmax touches O(V) rows of the output table an example and negative sampling O(k). An epoch of a "
        "random-walk objective, "
        "an example from every node, touches O(V^2) rows against O(V k).",
        formula=r"\text{softmax: } V \text{ rows an example, } V^2 \text{ an epoch}; \quad \text{sampling: } k + 1 \text{ and } V (k + 1)",
        source=f"{MIKOLOV}; Perozzi et al. 2014, DeepWalk, section 4.2, https://arxiv.org/abs/1403.6652",
        done=f"One example was differentiated automatically at V = {', '.join(map(str, v))} and k = {', '.join(map(str, ks))}, and the "
        f"rows of the output "
        "table with a gradient were counted. Exponents were fitted to the counts, an epoch being one example from each of V nodes. "
        "Seconds are "
        "not part of the record, for they differ between machines.",
        turn="claims.c19.settings.negatives: k enters as k + 1, so its fitted exponent is below 1 for small k",
        changes="a tree or a cache in place of the full softmax; negatives drawn with replacement, which count as fewer rows",
        checks=[
            worst("rows of the full softmax over V, worst V", np.array(full) / v, 1.0, 1e-9),
            worst(
                "rows of negative sampling over k + 1, worst V or k",
                [c / (k + 1) for c, k in zip([*few, *by_k], [ks[0]] * len(v) + ks, strict=True)],
                1.0,
                1e-9,
            ),
            worst("exponent of V, softmax, an example", exponent(v, full), 1.0),
            worst("exponent of V, sampling, an example", exponent(v, few), 0.0),
            worst("exponent of k + 1, sampling, an example", exponent(np.array(ks) + 1, by_k), 1.0),
            worst("exponent of V, softmax, an epoch", exponent(v, epochs["softmax"]), 2.0),
            worst("exponent of V, sampling, an epoch", exponent(v, epochs["sampling"]), 1.0),
        ],
        figures=[
            Figure(
                "Rows touched in an epoch of V examples",
                lines(["full softmax", f"sampling, k = {ks[0]}"], v, epochs.values()),
                x="V",
                log_x=True,
            )
        ],
    )
