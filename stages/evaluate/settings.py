"""Settings of evaluation: `runs.<name>.evaluate`. Each kind of data reads its own; the defaults measure a default run in some seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.settings import field


@dataclass(frozen=True)
class EvaluateSettings:
    seed: int = field(0, low=0, doc="of every draw that evaluation itself makes")
    split: Literal["test", "valid"] = field("test", doc="what is scored; valid is for tuning, its numbers are no results")
    # receipts
    pairs: Literal["next", "all"] = field("next", doc="test pairs: each item and the one after it, or every two items of a receipt")
    scoring: Literal["auto", "conditional", "dot", "cosine"] = field(
        "auto", doc="of item vectors: input.output + exponent x log(frequency), input.output, their cosine; auto: best on valid")
    cold: int = field(10, low=0, doc="items in fewer training receipts are cold")
    limit: int = field(200000, low=1, doc="of more test pairs a seeded sample is measured")
    # graphs
    shuffles: int = field(10, low=1, doc="random choices of the labelled nodes, the same for every method")
    # images and points
    samples: int | None = field(None, low=10, doc="drawn from a generator; null: as many as training images, at most 10000")
    iw: tuple[Literal[1, 5, 50, 500, 5000], ...] = field((1, 50), doc="k of the importance-weighted bounds")
    inversion: int = field(0, low=0, doc="steps by which codes of images are sought for a GAN without an encoder; 0: none")
    # texts
    sentences: int = field(100, low=1, doc="texts of the split on which importance-weighted bounds are measured: a seeded sample")
    limit_pairs: int = field(500, low=1, doc="of more pairs a seeded sample is translated")
    beam: int = field(5, low=2, high=100, doc="width of the beam search that stands beside the greedy one")
    lda_topics: tuple[int, ...] = field((20,), low=2, doc="of the LDA beside a topic model; the best on the validation split is shown")
    lda_alpha: tuple[float, ...] = field((0.1,), above=0.0, doc="its prior on a document's topics, likewise")
    # images, also translated
    inception: str = field("", doc="safetensors of Inception v3, for fid_inception beside FID; docs/metrics.md says which")
    inception_sha256: str = field("", doc="of that file: figures go by the weights")
    few: int = field(10, low=1, doc="draws of 5 labels a class")
    probe: Literal["auto", "required"] = field("auto", doc="of codes, by labels; required: without them nothing is trained")
