from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.evaluate import names, pictures

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_of_metrics_is_up_to_date():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == names.markdown(), "run python -m stages.evaluate.names"


def test_every_entry_says_what_it_is():
    for name, entry in names.names().items():
        assert set(entry) == {"title", "better", "unit", "meaning"} and entry["better"] in ("higher", "lower", "none"), name
        assert entry["title"] and entry["meaning"].endswith(".") and "|" not in entry["meaning"], name


def test_a_metric_without_an_entry_is_noticed_in_the_run_and_in_a_baseline():
    fine = {"headline": "fid", "fid": {}, "baselines": {"floor": {"kid": {}}}, "parameters": 1, "reproducible": True, "features": None}
    names.check_names(fine)
    for broken in ({**fine, "fidd": {}}, {**fine, "baselines": {"floor": {"fidd": {}}}}, {**fine, "headline": "fidd"}):
        with pytest.raises(ValueError, match="fidd"):
            names.check_names(broken)


def test_images_become_bytes_by_value():
    grey = pictures.to_bytes(np.array([[[[0.0, 0.5, 2.0]]]]))
    assert grey.shape == (1, 1, 3, 3) and grey[0, 0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    assert pictures.to_bytes(np.random.default_rng(0).random((2, 5, 4, 4))).shape == (2, 4, 4, 3)


def test_a_grid_keeps_pixels_square_and_in_order():
    images = np.stack([np.full((2, 2, 3), 10 * i, np.uint8) for i in range(3)])
    page = pictures.grid(images, 2, width=60)
    scale, gap = 10, 5
    assert page.shape == (2 * (20 + gap) + gap, 2 * (20 + gap) + gap, 3)
    assert page[gap, gap, 0] == 0 and page[gap, gap + 20 + gap, 0] == 10 and page[gap + 20 + gap, gap, 0] == 20
    assert (page[-1] == pictures.BORDER).all() and (page[gap : gap + scale, gap : gap + scale] == 0).all()


def test_beside_puts_each_image_above_its_counterpart():
    first, second = np.full((3, 1, 1, 3), 1, np.uint8), np.full((3, 1, 1, 3), 2, np.uint8)
    page = pictures.beside(first, second, 2)
    row = page.shape[0] // 4
    assert [page[row * i + row // 2, page.shape[1] // 4, 0] for i in range(4)] == [1, 2, 1, 2]


def test_a_map_colours_by_label_and_survives_equal_points():
    page = pictures.scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, -1]), size=100)
    assert page[80, 20].tolist() == pictures.PALETTE[0].tolist() and page[20, 80].tolist() == [150] * 3  # up is up
    assert pictures.scatter(np.zeros((5, 2))).shape == (640, 640, 3)


def test_pictures_stay_under_the_limit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    pictures.save(noise, tmp_path / "n.png")
    assert (tmp_path / "n.png").stat().st_size <= 300_000 and Image.open(tmp_path / "n.png").size[0] >= 100
