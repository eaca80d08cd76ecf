"""Claims about adversarial models on images, read from trained runs: sharp samples, codes, and the scores of BigBiGAN."""

from __future__ import annotations

from dataclasses import dataclass

from stages.claims.record import Claim, Contrast, Figure
from stages.claims.runs import Runs
from stages.settings import field


@dataclass(frozen=True)
class C18:
    fid: str = field("fid", doc="metric of the samples' distance")
    images: tuple[int, int] = field((278, 1172), low=1, doc="training images of the runs with few and with all")


def c18(settings: C18, runs: Runs) -> Claim:
    """SPEC's C18. Runs: VAE, GAN; the same two with few images; the GAN stopped after as many steps as the VAE has."""
    real = runs.baseline(0, "floor", "sharpness")
    off = [[abs(value - real) for value in runs.values(i, "sharpness")] for i in (0, 1)]
    loss = [runs.less(few, many, settings.fid) for many, few in ((0, 2), (1, 3))]
    probe = tuple(a - b for a, b in zip(runs.values(0, "probe_accuracy"), runs.values(1, "probe_accuracy_inverted"), strict=True))
    return Claim(
        statement="GAN samples beat VAE samples on FID, and their sharpness is nearer to that of real images. VAE codes win the probe "
        "against codes obtained by inverting a GAN. A GAN needs more data and more steps.",
        formula=r"\text{FID}_{\mathrm{GAN}} < \text{FID}_{\mathrm{VAE}}, \quad \lvert s_{\mathrm{GAN}} - s_{\mathrm{real}} \rvert < \lvert "
        r"s_{\mathrm{VAE}} - s_{\mathrm{real}} \rvert, \quad z^* = \argmin_z \lVert G(z) - x \rVert^2",
        source="Larsen et al. 2016, Autoencoding beyond pixels, https://arxiv.org/abs/1512.09300; Heusel et al. 2017 (FID), "
        "https://arxiv.org/abs/1706.08500; Zhu et al. 2016 (inversion), https://arxiv.org/abs/1609.03552",
        done=f"Five runs on the digits, {runs.seeds} seeds each, compared seed by seed on the same test images: VAE and GAN in FID (the "
        f"pipeline's own feature net), in how far the variance of the Laplacian is from {real:.3g}, that of real images, and by a linear "
        "probe on the VAE's codes and on the latents that the GAN needs for each image. FID against the number of images is that of both "
        "with about a quarter of the training images; the GAN was also stopped after the VAE's number of steps.",
        turn="datasets.digits-few.prepare.valid: how many images are kept from training",
        changes="a VAE with a sharper likelihood or a discrete code, a GAN that collapsed, or few images that are still plenty",
        tests=[
            Contrast("FID of the VAE less that of the GAN", runs.less(0, 1, settings.fid)),
            Contrast("distance of the VAE's sharpness from the real one less the GAN's", tuple(a - b for a, b in zip(*off, strict=True))),
            Contrast("probe on the VAE's codes less that on the inverted GAN's", probe),
            Contrast("what few images cost in FID: GAN less VAE", tuple(b - a for a, b in zip(*loss, strict=True))),
            Contrast("FID of the GAN stopped at the VAE's steps less the VAE's", runs.less(4, 0, settings.fid)),
        ],
        figures=[
            Figure("FID by the number of training images, mean over seeds",
                   [(runs.names[i], [(float(n), sum(runs.values(j, settings.fid)) / runs.seeds)
                                     for n, j in zip(settings.images, (i + 2, i), strict=True)]) for i in (0, 1)], x="training images"),
            runs.by_seed(settings.fid, range(5)),
            runs.by_seed("sharpness", (0, 1)),
        ],
    )


@dataclass(frozen=True)
class C31:
    probe: str = field("probe_accuracy", doc="metric that s_z and s_x are said to raise")


def effect(runs: Runs, metric: str, on: tuple[int, int], off: tuple[int, int]) -> tuple[float, ...]:
    """Main effect of a score in the 2 x 2: mean of the two runs that have it less mean of the two that do not, seed by seed."""
    return tuple((a + b - c - d) / 2 for a, b, c, d in zip(*(runs.values(i, metric) for i in (*on, *off)), strict=True))


def c31(settings: C31, runs: Runs) -> Claim:
    """SPEC's C31. Runs: neither score, s_x alone, s_z alone, both."""
    with_x, without_x, with_z, without_z = (1, 3), (0, 2), (2, 3), (0, 1)
    return Claim(
        statement="In BigBiGAN the unary score s_x lowers FID, and s_z and s_x raise the probe on the encoder's codes. (Reported as paired "
        "effects, whatever their sign.)",
        formula=r"\text{effect of } s = \frac{1}{2} \left( m_{s, t} + m_{s, \bar t} - m_{\bar s, t} - m_{\bar s, \bar t} \right)",
        source="Donahue and Simonyan 2019, Large scale adversarial representation learning, table 1, https://arxiv.org/abs/1907.02544",
        done=f"The four runs of the 2 x 2 on the digits, {runs.seeds} seeds each. The main effect of a score is the mean difference "
        "between the two runs with it and the two without it, within a seed.",
        turn="runs.bigbigan.model.gamma, and that of the other three: a stronger penalty hides what the scores do",
        changes="larger networks and images, as in the paper, where the effects are those of 100 times as many steps",
        tests=[
            Contrast("FID without s_x less with it (main effect)", effect(runs, "fid", without_x, with_x)),
            Contrast(f"{settings.probe} with s_z less without it (main effect)", effect(runs, settings.probe, with_z, without_z)),
            Contrast(f"{settings.probe} with s_x less without it (main effect)", effect(runs, settings.probe, with_x, without_x)),
        ],
        figures=[runs.by_seed("fid", range(4)), runs.by_seed(settings.probe, range(4))],
    )


@dataclass(frozen=True)
class C32:
    accuracy: str = field("hungarian_accuracy")


def c32(settings: C32, runs: Runs) -> Claim:
    """SPEC's C32. Runs: BigBiGAN, BigBiGAN with an InfoGAN head."""
    return Claim(
        statement="The InfoGAN head on BigBiGAN beats k-means on BigBiGAN's codes in Hungarian-matched accuracy, and it helps the game: "
        "FID is lower with it. (Reported as paired effects, whatever their sign.)",
        formula=r"\text{accuracy}(Q(c \mid F(x))) > \text{accuracy}(\text{k-means}(E(x))), \quad \text{FID}_{\mathrm{with}} < "
        r"\text{FID}_{\mathrm{without}}",
        source="Chen et al. 2016, InfoGAN, https://arxiv.org/abs/1606.03657; Donahue and Simonyan 2019, https://arxiv.org/abs/1907.02544",
        done=f"Runs {runs.names[0]} and {runs.names[1]}, {runs.seeds} seeds each, compared seed by seed: the head's clusters of real test "
        "images against k-means on the codes of the model without a head, both matched to the classes on train, and FID.",
        turn="runs.bigbigan-infogan.model.weight: of the code's likelihood",
        changes="more categories than classes, or a head whose trunk is too narrow to hold both tasks",
        tests=[
            Contrast("Hungarian accuracy: head less k-means", runs.less(1, 0, settings.accuracy)),
            Contrast("FID without the head less with it", runs.less(0, 1, "fid")),
        ],
        figures=[runs.by_seed(settings.accuracy, (0, 1)), runs.by_seed("fid", (0, 1))],
    )
