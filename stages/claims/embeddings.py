"""Claims about embeddings: what an example costs, and what the choice of model changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from stages.claims.record import Claim, Contrast, Figure, lines, worst
from stages.claims.runs import Runs
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
        statement="The full softmax touches O(V) rows of the output table an example and negative sampling O(k). An epoch of a random-walk "
        "objective, an example from every node, touches O(V^2) rows against O(V k).",
        formula=r"\text{softmax: } V \text{ rows an example, } V^2 \text{ an epoch}; \quad \text{sampling: } k + 1 \text{ and } V (k + 1)",
        source=f"{MIKOLOV}; Perozzi et al. 2014, DeepWalk, section 4.2, https://arxiv.org/abs/1403.6652",
        done=f"One example was differentiated automatically at V = {', '.join(map(str, v))} and k = {', '.join(map(str, ks))}, and the "
        "rows of the output table with a gradient were counted. Exponents were fitted to the counts, an epoch being one example from each "
        "of V nodes. Seconds are not part of the record, for they differ between machines.",
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


# ---- C20: CBOW and skip-gram


@dataclass(frozen=True)
class C20:
    rare: str = field("inflection_mrr_rare", doc="metric of rare words")
    syntactic: str = field("inflection_accuracy", doc="metric of syntactic analogies")


def c20(settings: C20, runs: Runs) -> Claim:
    """SPEC's C20, without semantic analogies. Runs: CBOW; skip-gram with noise drawn for every pair, then once for a window."""
    return Claim(
        statement="CBOW touches fewer rows a token than skip-gram; skip-gram is better on rare words; CBOW leans to syntactic analogies. "
        "(That skip-gram leans to semantic ones is not decided: no built-in text has questions of that kind, and what it speaks of is too "
        "narrow for the public ones.)",
        formula=r"\text{CBOW: } n + (k + 1) \text{ rows a token}, \quad \text{skip-gram: } n + n (k + 1)",
        source=f"{MIKOLOV}; section 4 and table 3 of the first, the authors' notes on their code for rare words",
        done=f"Runs {runs.names[0]}, {runs.names[1]} and {runs.names[2]} on the standard library's documentation, {runs.seeds} seeds each. "
        "Rows are those of all training windows. A rare word (fewer than ten occurrences) should have its own form with -s, -ed or -ing "
        "near, by the reciprocal rank of the cosine; analogies between such forms of common words are the syntactic ones.",
        turn="runs.skipgram-pair.model.draw: noise drawn once for a window makes skip-gram's rows those of CBOW",
        changes="a larger text, in which fewer words are rare; rates of learning that are not those best for each",
        tests=[
            Contrast("rows a token: skip-gram less CBOW", runs.less(1, 0, "rows_per_token")),
            Contrast(f"{settings.rare}: skip-gram less CBOW", runs.less(1, 0, settings.rare)),
            Contrast(f"{settings.syntactic}: CBOW less skip-gram", runs.less(0, 1, settings.syntactic)),
        ],
        figures=[runs.by_seed(metric, range(3)) for metric in ("rows_per_token", settings.rare, settings.syntactic)],
    )


# ---- C21: metadata and pairs never seen


@dataclass(frozen=True)
class C21:
    signal: tuple[float, ...] = field((0.0, 0.5, 1.0), low=0.0, high=1.0, doc="share of items with metadata of their own, of the last runs")
    unseen: str = field("ndcg_10_pairs_0", doc="metric of test pairs that share no training receipt")
    seen: str = field("ndcg_10_pairs_10_up", doc="metric of test pairs that share ten or more")


def c21(settings: C21, runs: Runs) -> Claim:
    """SPEC's C21. Runs: prod2vec; Meta-Prod2Vec without weight on its metadata; the same with weight, by rising signal of the metadata."""
    gain = {key: [runs.less(i, 0, metric) for i in range(1, 5)] for key, metric in (("unseen", settings.unseen), ("seen", settings.seen))}
    more = tuple(u - s for u, s in zip(gain["unseen"][-1], gain["seen"][-1], strict=True))

    def curve(metric):
        return [(share, sum(runs.values(i + 2, metric)) / runs.seeds) for i, share in enumerate(settings.signal)]

    def level(i, metric):
        return [(share, sum(runs.values(i, metric)) / runs.seeds) for share in (settings.signal[0], settings.signal[-1])]

    shares = ", ".join(f"{share:g}" for share in settings.signal)
    return Claim(
        statement="prod2vec fits exact pairs: Meta-Prod2Vec wins on test pairs never seen together in training, more than on pairs seen "
        "often, and only as far as its metadata say something: with metadata dealt out at random the gain is gone.",
        formula=r"L = L_{J \mid I} + \lambda \left( L_{M_J \mid I} + L_{J \mid M_I} + L_{M_J \mid M_I} + L_{I \mid M_I} \right)",
        source="Vasile, Smirnova and Conneau 2016, Meta-Prod2Vec, section 4.3, https://arxiv.org/abs/1607.07326",
        done=f"On the simulated shop the metadata of a share of the items ({shares}) are their own, those of the rest dealt out among "
        f"them; the receipts stay the same. NDCG@10 of the next item was compared over {runs.seeds} seeds on test pairs that share no "
        "training receipt and on pairs that share ten or more. prod2vec and a Meta-Prod2Vec with weight 0 stand beside.",
        turn="datasets.shop-half.options.own_metadata: the share of items whose metadata are their own",
        changes="metadata that say nothing of what is bought together, or data in which nearly every test pair was seen",
        tests=[
            Contrast("unseen pairs: all metadata their own less prod2vec", gain["unseen"][-1]),
            Contrast("unseen pairs: all metadata their own less none", runs.less(4, 2, settings.unseen)),
            Contrast("unseen pairs: half of the metadata their own less none", runs.less(3, 2, settings.unseen)),
            Contrast("its gain on unseen pairs less its gain on pairs seen often", more),
        ],
        figures=[
            Figure(
                f"NDCG@10 of pairs {name}, by the metadata's signal",
                [("Meta-Prod2Vec", curve(metric)), ("prod2vec", level(0, metric)), ("weight 0", level(1, metric))],
                x="share of own metadata",
            )
            for name, metric in (("never seen", settings.unseen), ("seen often", settings.seen))
        ],
    )


# ---- C22: relations of many


@dataclass(frozen=True)
class C22:
    many: tuple[str, ...] = field(
        ("hits_10_tail_1_n", "hits_10_head_n_1", "hits_10_head_n_n", "hits_10_tail_n_n"),
        doc="metrics of the sides of which a relation has many",
    )
    single: tuple[str, ...] = field(("hits_10_head_1_n", "hits_10_tail_n_1"), doc="metrics of the other sides")
    spread: tuple[str, ...] = field(
        ("spread_tail_1_n", "spread_head_n_1", "spread_head_n_n", "spread_tail_n_n"),
        doc="metrics of the distance between the answers to one question over that between answers to others",
    )


def c22(settings: C22, runs: Runs) -> Claim:
    """SPEC's C22. Runs: TransE, TransH."""
    gains = {metric: runs.less(1, 0, metric) for metric in (*settings.many, *settings.single)}

    def mean(metrics):
        return [sum(values) / len(metrics) for values in zip(*(gains[metric] for metric in metrics), strict=True)]

    return Claim(
        statement="TransE pulls together the tails of 1-N, the heads of N-1 and both of N-N relations; TransH, which projects onto a "
        "hyperplane of each relation, gains on these sides, and there more than on the others.",
        formula=r"f_r(h, t) = \lVert (h - w_r^\top h\, w_r) + d_r - (t - w_r^\top t\, w_r) \rVert^2",
        source="Wang et al. 2014, Knowledge graph embedding by translating on hyperplanes, table 4, "
        "https://ojs.aaai.org/index.php/AAAI/article/view/8870; Bordes et al. 2013",
        done=f"Runs {runs.names[0]} and {runs.names[1]} on the standard library's graph, {runs.seeds} seeds each: filtered hits@10 by kind "
        "of relation and side, compared seed by seed. The distance between entities that answer one question (the tails of one head) over "
        "that between answers to others was measured on the entities' own vectors, the same before TransH projects them.",
        turn="comparisons.c22.runs: transe, transe-l2 or transh-bern in their place",
        changes="a TransE with settings of its own in place of those of TransH, more dimensions or self-adversarial negatives",
        tests=[
            *(Contrast(f"1 less {metric} of TransE: it pulls them together", tuple(1 - value for value in runs.values(0, metric)))
              for metric in settings.spread),
            *(Contrast(f"{metric}: TransH less TransE", runs.less(1, 0, metric)) for metric in settings.spread),
            *(Contrast(f"{metric}: TransH less TransE", gains[metric]) for metric in settings.many),
            Contrast(
                "mean gain on the sides of many less on the others",
                tuple(a - b for a, b in zip(mean(settings.many), mean(settings.single), strict=True)),
            ),
        ],
        figures=[
            *(runs.by_seed(metric, (0, 1)) for metric in settings.spread[:2]),
            Figure(
                "Gain of TransH, hits@10, by seed", [(key, list(enumerate(map(float, values)))) for key, values in gains.items()], x="seed"
            )
        ],
    )
