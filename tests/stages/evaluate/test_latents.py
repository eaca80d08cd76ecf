"""Traversals, ways and codebook use by hand."""

import math

import numpy as np
import pytest
import torch

from stages.evaluate import latents
from stages.evaluate.gallery import Gallery


class Echo:
    """Decodes a code to an image that holds it."""

    def decode(self, z):
        return z.view(len(z), 1, 1, -1)


def test_codebook_use_by_hand():
    found = latents.codebook_use(np.array([[0, 1], [0, 1], [0, 3], [0, 3]]), 5)
    assert found["codebook_perplexity"] == pytest.approx(math.exp(0.5 * math.log(2) + 0.5 * math.log(4)))
    assert found["dead_codes"] == 2
    assert latents.codebook_use(np.arange(8)[:, None], 8) == {"codebook_perplexity": pytest.approx(8.0), "dead_codes": 0}


def test_a_traversal_moves_one_unit_and_leaves_the_others_at_the_median():
    codes = torch.tensor([[0.0, 5.0, 1.0], [2.0, 5.0, 3.0], [4.0, 5.0, 11.0]])
    made = latents.traversals(Echo(), codes, np.array([2, 0])).flatten(1)
    assert made.shape == (2 * latents.STEPS, 3)
    assert torch.equal(made[: latents.STEPS, :2], torch.tensor([2.0, 5.0]).expand(latents.STEPS, 2))
    assert made[0, 2].item() == pytest.approx(3.0 - 2 * codes[:, 2].std().item()) and made[latents.STEPS :, 2].unique().tolist() == [3.0]


def test_ways_begin_and_end_at_the_codes():
    codes = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    made = latents.between(Echo(), codes, 2).flatten(1).view(2, latents.STEPS, 3)
    assert torch.allclose(made[:, 0], codes[::2]) and torch.allclose(made[:, -1], codes[1::2], atol=1e-6)
    assert torch.allclose(made.diff(dim=1), ((codes[1::2] - codes[::2]) / (latents.STEPS - 1))[:, None].expand(2, 7, 3), atol=1e-6)


def test_use_of_codes_is_darkest_where_most_images_are_and_sorted_by_use():
    page = latents.use(np.array([[2, 0], [2, 0], [2, 1], [2, 1]]), 4, cell=3)
    assert page.shape == (6, 12, 3)
    cells = page[::3, ::3, 0]
    assert cells[0].tolist() == [0, 255, 255, 255]  # value 2, the most used, comes first
    assert cells[1].tolist() == [255, 75, 75, 255]  # half of the most frequent: 255 (1 - sqrt(1/2))


def test_only_active_units_are_traversed():
    class Model(Echo):
        posterior = None

    codes = np.random.default_rng(0).normal(size=(40, 5)) * np.array([1.0, 0.001, 2.0, 0.001, 0.001])
    gallery = Gallery()
    latents.exhibit(Model(), codes, gallery)
    told = {p["file"]: p["alt"] for p in gallery.details["pictures"]}
    assert told["traversals.png"].startswith("2 of 5 units are active") and "units 2 (variance" in told["traversals.png"]
    assert "between.png" in told and "codebook.png" not in told
