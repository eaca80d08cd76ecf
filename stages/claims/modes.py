"""Claims about modes that a generator covers and leaves."""

from __future__ import annotations

from dataclasses import dataclass

from stages.claims.record import Claim, Contrast
from stages.claims.runs import Runs
from stages.settings import field


@dataclass(frozen=True)
class C08:
    metrics: tuple[str, ...] = field(("modes", "high_quality"), doc="in which the saturating GAN is said to be behind")


def c08(settings: C08, runs: Runs) -> Claim:
    """SPEC's C08. Runs: saturating on the ring, WGAN-GP on it, the same two on the grid."""
    places = (("ring", 1, 0), ("grid", 3, 2))
    found = [
        (f"{metric} on the {place}: WGAN-GP less saturating GAN", runs.less(a, b, metric))
        for place, a, b in places
        for metric in settings.metrics
    ]
    return Claim(
        statement="At convergence, with fixed small networks, a saturating GAN covers fewer modes of a mixture than a WGAN with gradient "
        "penalty, and fewer of its samples are near one.",
        formula=r"\min_G \max_D \E \log D(x) + \E \log (1 - D(G(z))): \quad \text{modes}(G) < \text{modes}(G_{\text{WGAN-GP}})",
        source="Metz et al. 2017, Unrolled generative adversarial networks, section 3.1, https://arxiv.org/abs/1611.02163; Gulrajani et "
        "al. 2017, https://arxiv.org/abs/1704.00028",
        done=f"Eight Gaussians on a ring and 25 on a grid, {runs.seeds} seeds of each run: the saturating GAN with the networks and rates "
        "of the first paper, and a WGAN-GP. Modes within three deviations of a sample and the share of samples near a mode were compared "
        "seed by seed. Hopping from mode to mode is not tested here: the runs keep their last generator alone.",
        turn="runs.ring-gan-saturating.model.penalty: with the gradient penalty r1 the same loss keeps its modes",
        changes="a penalty, noise or averaged weights in the saturating GAN; its networks made wider",
        tests=[Contrast(what, differences) for what, differences in found],
        figures=[runs.by_seed(metric, range(4)) for metric in settings.metrics],
    )
