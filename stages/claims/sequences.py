"""Claims about what recurrent networks learn, read from trained runs: how far back, from where, and from whose words."""

from __future__ import annotations

from dataclasses import dataclass

from stages.claims.record import Claim, Contrast
from stages.claims.runs import Runs
from stages.settings import field


def apart(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    """a - b, seed by seed."""
    return tuple(x - y for x, y in zip(a, b, strict=True))


# ---- C26: how far back


@dataclass(frozen=True)
class C26:
    solved: float = field(0.2, above=0.0, high=0.5, doc="share of the baseline's error below which a problem is solved")
    unsolved: float = field(0.8, low=0.5, high=1.0, doc="share above which a network is at the baseline")


def remaining(runs: Runs, i: int, task: str) -> tuple[float, ...]:
    """Error of the i-th run over its baseline's, seed by seed: squared error (adding), wrong symbols (copying)."""
    if task == "adding":
        floor = runs.baseline(i, "mean", "mse")
        return tuple(error / floor for error in runs.values(i, "mse"))
    floor = 1 - runs.baseline(i, "most_frequent_tag", "accuracy")
    return tuple((1 - right) / floor for right in runs.values(i, "accuracy"))


def c26(settings: C26, runs: Runs) -> Claim:
    """SPEC's C26. Runs: an RNN and an LSTM on the adding problem, the same two on the copy problem."""
    tests = []
    for task, rnn, lstm in (("adding", 0, 1), ("copying", 2, 3)):
        of_rnn, of_lstm = remaining(runs, rnn, task), remaining(runs, lstm, task)
        tests += [
            Contrast(f"{task}: share of the baseline's error, RNN less LSTM", apart(of_rnn, of_lstm)),
            Contrast(f"{task}: {settings.solved:g} less the share that the LSTM leaves (solved)",
                     tuple(settings.solved - e for e in of_lstm)),
            Contrast(f"{task}: the share that the RNN leaves less {settings.unsolved:g} (not solved)",
                     tuple(e - settings.unsolved for e in of_rnn)),
        ]
    return Claim(
        statement="On the adding and the copy problem an LSTM solves lengths at which an RNN stays at the baseline.",
        formula=r"e_{\mathrm{LSTM}} < " + f"{settings.solved:g}" + r"\, e_{\mathrm{baseline}}, \quad e_{\mathrm{RNN}} > "
        + f"{settings.unsolved:g}" + r"\, e_{\mathrm{baseline}}",
        source="Hochreiter and Schmidhuber 1997, Long short-term memory, section 5.4, Neural Computation 9(8); Arjovsky, Shah and Bengio "
        "2016, section 4.1, https://arxiv.org/abs/1511.06464 (the copy problem)",
        done=f"An RNN and an LSTM of equal size and steps on each problem, {runs.seeds} seeds each, compared seed by seed. Adding: squared "
        "error over that of always saying the mean. Copying: wrong symbols over those of answering each word by its commonest tag.",
        turn="datasets.adding.options.length and datasets.copying.options.lag: short, the RNN solves both; long, the LSTM needs more steps",
        changes="an RNN begun at the identity with rectified units, which solves adding; too few steps for the LSTM",
        tests=tests,
        figures=[runs.by_seed("mse", (0, 1)), runs.by_seed("accuracy", (2, 3))],
    )


# ---- C27: from where


@dataclass(frozen=True)
class C27:
    short: str = field("exact_match_short", doc="metric of the pairs of short targets")
    long: str = field("exact_match_long", doc="metric of the pairs of long targets")


def c27(settings: C27, runs: Runs) -> Claim:
    """SPEC's C27. Runs: sequence to sequence without and with attention."""
    chance = runs.baseline(1, "uniform_attention", "alignment")
    gains = [runs.less(1, 0, metric) for metric in (settings.long, settings.short)]
    return Claim(
        statement="Attention aligns source and target, and it helps long sources most.",
        formula=r"c_t = \sum_j a_{t j} h_j, \quad \argmax_j a_{t j} \approx j(t), \quad \Delta_{\text{long}} > \Delta_{\text{short}}",
        source="Bahdanau, Cho and Bengio 2015, sections 5.2.1 and 5.2.2, https://arxiv.org/abs/1409.0473",
        done=f"Runs {runs.names[0]} and {runs.names[1]} write dates of twenty languages as numbers, one date or two in a text, "
        f"{runs.seeds} seeds each. Where a stretch is written as it stands in the source, its place there is known: the most attended word "
        f"was held against it, one place of tolerance, beside {chance:.3g} by chance. The gain in exact match was compared between texts "
        "of two dates and of one.",
        turn="model.hidden of runs.seq2seq and runs.seq2seq-additive: a wider first state holds more of a source, and attention gains less",
        changes="sources short enough for one vector; a task in which no word is copied, where the alignment is not known; runs too short "
        "for either to learn, or both at the ceiling",
        tests=[
            Contrast(f"alignment less {chance:.3g}, that of attending evenly", tuple(a - chance for a in runs.values(1, "alignment"))),
            Contrast(f"{settings.long}: with attention less without", gains[0]),
            Contrast("its gain on long texts less its gain on short ones", apart(*gains)),
        ],
        figures=[runs.by_seed(settings.long, (0, 1)), runs.by_seed(settings.short, (0, 1)), runs.by_seed("alignment", (1,))],
    )


# ---- C28: from whose words


@dataclass(frozen=True)
class C28:
    gap: str = field("exposure_gap_words", doc="metric of what is lost to a model's own mistakes")
    right: str = field("accuracy_free", doc="metric of what it writes when running free")


def c28(settings: C28, runs: Runs) -> Claim:
    """SPEC's C28. Runs: teacher forcing, scheduled sampling, own words from the first step; the first two with attention."""
    return Claim(
        statement="Teacher forcing leaves a gap when the model runs free; scheduled sampling narrows it; a model that never sees the true "
        "words is far behind after as many steps.",
        formula=r"P(\text{right} \mid y_{< t}) - P(\text{right} \mid \hat y_{< t}) > 0, \quad \epsilon_i = \max \left( \epsilon, 1 - "
        r"\frac{i}{k} \right)",
        source="Bengio et al. 2015, Scheduled sampling, sections 2.2 to 2.4, https://arxiv.org/abs/1506.03099; Williams and Zipser 1989 "
        "(teacher forcing)",
        done=f"Without attention, where the dates are not solved, {runs.names[0]}, {runs.names[1]} and {runs.names[2]} had the same steps, "
        f"{runs.seeds} seeds each. The share of right words after true words less that after own words is the gap; it was compared seed by "
        "seed, and so was the share of right words when running free. Shown beside it is the gap with attention, where the task is solved.",
        turn="runs.seq2seq-plain-sampled.model.floor: at 0 the model ends on its own words alone",
        changes="a task that is solved, where no mistake is made and no gap is left; a schedule that falls before anything is learnt",
        tests=[
            Contrast(f"{settings.gap} of teacher forcing", runs.values(0, settings.gap)),
            Contrast(f"{settings.gap}: teacher forcing less scheduled sampling", runs.less(0, 1, settings.gap)),
            Contrast(f"{settings.right}: teacher forcing less own words from the start", runs.less(0, 2, settings.right)),
        ],
        figures=[runs.by_seed(settings.gap, range(5)), runs.by_seed(settings.right, range(5))],
    )
