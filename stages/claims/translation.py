"""Claims about translating images, read from trained runs: what the terms of the loss keep, and sharpness against faithfulness."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stages.claims.record import Claim, Contrast
from stages.claims.runs import Runs
from stages.settings import field


@dataclass(frozen=True)
class C29:
    content: str = field("label_kept_matched", doc="share of images whose class survives, up to the best one-to-one match of classes")
    colour: str = field("colour_shift", doc="what a translator does to images that are in its domain already")


def c29(settings: C29, runs: Runs) -> Claim:
    """SPEC's C29. Runs: CycleGAN with and without the cycle term, then with and without the identity term."""
    kept, chance = runs.by_seed(settings.content, (0, 1)), runs.baseline(0, "chance", settings.content)
    with_chance = replace(kept, lines=[*kept.lines, ("chance", [(x, chance) for x, _ in kept.lines[0][1]])])
    return Claim(
        statement="Without the cycle term a translation loses its content, up to the best one-to-one match of classes; without the "
        "identity term it shifts the colour.",
        formula=r"L = L_{\mathrm{GAN}} + \lambda \left( \lVert F(G(x)) - x \rVert_1 + \lVert G(F(y)) - y \rVert_1 \right) + \mu \left( "
        r"\lVert G(y) - y \rVert_1 + \lVert F(x) - x \rVert_1 \right)",
        source="Zhu et al. 2017, Unpaired image-to-image translation, sections 3.2 and 5.2, https://arxiv.org/abs/1703.10593",
        done=f"Two pairs of runs that differ in one term, {runs.seeds} seeds each, compared seed by seed: on digits the share whose class "
        "the feature net still sees after translation, with classes matched one to one; on photographs how far a translator moves the "
        "mean colour of what is in its domain already.",
        turn="runs.cyclegan-nocycle.model.cycle: a small weight already keeps content",
        changes="domains so alike that the networks begin near the identity, which keeps content without any term",
        tests=[
            Contrast(f"{settings.content} with the cycle term less without it", runs.less(0, 1, settings.content)),
            Contrast(f"{settings.colour} without the identity term less with it", runs.less(3, 2, settings.colour)),
        ],
        figures=[with_chance, runs.by_seed(settings.colour, (2, 3))],
    )


@dataclass(frozen=True)
class C30:
    faithful: str = field("psnr_y", doc="metric in which SRGAN is said to lose")
    natural: str = field("fid", doc="metric of patches in which it is said to win")


def c30(settings: C30, runs: Runs) -> Claim:
    """SPEC's C30. Runs: SRResNet, SRGAN; SRResNet with the steps and the rate of SRGAN."""
    return Claim(
        statement="SRGAN loses PSNR to SRResNet and wins on FID of patches.",
        formula=r"\text{PSNR}_{\mathrm{SRGAN}} < \text{PSNR}_{\mathrm{SRResNet}}, \quad \text{FID}_{\mathrm{SRGAN}} < "
        r"\text{FID}_{\mathrm{SRResNet}}",
        source="Ledig et al. 2017, Photo-realistic single image super-resolution, table 2, https://arxiv.org/abs/1609.04802; Blau and "
        "Michaeli 2018, The perception-distortion tradeoff, https://arxiv.org/abs/1711.06077",
        done=f"Runs {runs.names[0]} and {runs.names[1]}, {runs.seeds} seeds each, compared seed by seed on test photographs: PSNR of the "
        f"luma and FID of patches on features of the pipeline's own network. {runs.names[2]} has the steps and the rate of {runs.names[1]} "
        "and no adversary, so that these are not taken for what the adversary does.",
        turn="runs.srgan-x4.model.adversarial: the weight of the adversarial term",
        changes="an adversarial weight near zero, which makes the two the same; too few steps after the start",
        tests=[
            Contrast(f"{settings.faithful} of SRResNet less that of SRGAN", runs.less(0, 1, settings.faithful)),
            Contrast(f"{settings.natural} of SRResNet less that of SRGAN", runs.less(0, 1, settings.natural)),
            Contrast(f"{settings.faithful} at equal steps: SRResNet less SRGAN", runs.less(2, 1, settings.faithful)),
            Contrast(f"{settings.natural} at equal steps: SRResNet less SRGAN", runs.less(2, 1, settings.natural)),
        ],
        figures=[runs.by_seed(settings.faithful, range(3)), runs.by_seed(settings.natural, range(3))],
    )
