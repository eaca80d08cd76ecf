"""Two domains made of one set of images: what each task gives, what is paired, and what does not fit."""

from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from stages.bicubic import resized
from stages.prepare import domains
from stages.prepare.images import ImageSettings, images
from stages.prepare.splits import Shares
from stages.settings import InputError, configure

SHARES = Shares("s", 0.1, 0.2)


def made(pixels, task, table=None, **given):
    table = pl.DataFrame({"image_id": [f"i{n}" for n in range(len(pixels))]}) if table is None else table
    return images(table, pixels, "images", configure(ImageSettings, {"task": task, **given}, "prepare"), SHARES)


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8)


def test_reduced_images_stand_beside_their_own(photos):
    arrays, _, meta = made(photos, "reduce", scale=4)
    assert meta["kind"] == "two_domains" and meta["paired"] and meta["truth"]
    assert meta["source_shape"] == [4, 4, 3] and meta["shape"] == [16, 16, 3] and sum(meta["images"].values()) == 60
    for s in ("train", "valid", "test"):
        assert (arrays[f"{s}.source"] == resized(arrays[f"{s}.target"], Fraction(1, 4))).all() and len(arrays[f"{s}.source"])


def test_grey_is_the_luma_and_edges_are_where_it_is_steep():
    colours = np.zeros((60, 8, 8, 3), np.uint8)
    colours[..., 4:, :] = (255, 128, 0)
    assert made(colours, "grey")[0]["train.source"][0, 0, :, 0].tolist() == [0] * 4 + [151] * 4  # 0.299 x 255 + 0.587 x 128
    assert made(colours, "edges")[0]["train.source"][0, 3, :, 0].tolist() == [0, 0, 0, 255, 255, 0, 0, 0]


def test_a_hidden_change_pairs_no_training_image_and_every_test_image(photos):
    photos[:, 0, 0, 0], photos[:, 0, 0, 1] = np.arange(60), 255  # the image's number
    arrays, _, meta = made(photos, "change", changes=["inverted"])
    first, second = arrays["train.source"][:, 0, 0, 0], 255 - arrays["train.target"][:, 0, 0, 0]
    assert not {*first.tolist()} & {*second.tolist()} and abs(len(first) - len(second)) <= 1
    assert not meta["paired"] and meta["truth"] and (arrays["test.target"] == 255 - arrays["test.source"]).all()
    grouped = pl.DataFrame({"image_id": [f"i{n}" for n in range(60)], "group": [f"g{n // 6}" for n in range(60)]})
    arrays, _, meta = made(photos, "change", grouped, changes=["inverted"])
    groups = [{n // 6 for n in part.tolist()} for part in (arrays["train.source"][:, 0, 0, 0], 255 - arrays["train.target"][:, 0, 0, 0])]
    assert groups[0] and groups[1] and not groups[0] & groups[1] and sum(meta["groups"].values()) == 10
    arrays, _, _ = made(photos, "change", grouped, changes=["inverted"], apart="image")
    first, second = ((part[:, 0, 0, 0] ^ flip).tolist() for part, flip in ((arrays["train.source"], 0), (arrays["train.target"], 255)))
    assert not {*first} & {*second} and {n // 6 for n in first} & {n // 6 for n in second} and abs(len(first) - len(second)) <= 1


def test_changes_can_be_undone():
    grey = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 1), np.uint8)
    assert (255 - domains.inverted(grey) == grey).all() and (domains.coloured(grey)[..., :1] == grey).all()
    moved = domains.warped(grey)
    shifts = np.rint(np.sin(2 * np.pi * np.arange(8) / 8)).astype(int)
    assert shifts.any() and all((np.roll(moved[:, y], -s, 1) == grey[:, y]).all() for y, s in enumerate(shifts))
    assert (domains.changed(grey, ("inverted", "warped")) == domains.warped(domains.inverted(grey))).all()


def test_blur_is_binomial():
    dot = np.zeros((1, 9, 9, 1), np.uint8)
    dot[0, 4, 4] = 255
    expected = np.rint(255 * np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256)
    assert (domains.blurred(dot)[0, 2:7, 2:7, 0] == expected).all() and (domains.blurred(dot + 200)[0, 0, 0, 0] == 200)


def test_pairs_meet_by_group_and_piles_do_not(photos):
    table = pl.DataFrame({"image_id": [f"i{n}" for n in range(60)], "domain": ["a", "b"] * 30, "group": [f"g{n // 4}" for n in range(60)]})
    photos[:, 0, 0, 0] = np.arange(60)
    arrays, _, meta = made(photos, "pairs", table)
    for s in ("train", "valid", "test"):
        assert (arrays[f"{s}.target"][:, 0, 0, 0] - arrays[f"{s}.source"][:, 0, 0, 0] == 1).all()
    assert meta["paired"] and meta["truth"]
    assert not made(photos, "domains", table)[2]["truth"]
    few = table.with_columns(split=pl.Series(["train"] * 40 + ["valid"] * 19 + ["test"]))
    with pytest.raises(InputError, match=r"the test split of 1 images holds 1 \(b\); raise prepare.test, or put some of both into"):
        made(photos, "domains", few.drop("group"))
    with pytest.raises(InputError, match=r"pairs, but \d+ images of a meet \d+ of b \(.*has no other half\)"):
        made(photos[:-1], "pairs", table[:-1])


@pytest.mark.parametrize(("given", "message"), [
    ({"task": "reduce", "scale": 5}, "prepare.scale: images of 16x16 cannot be reduced 5 times"),
    ({"task": "change"}, r"prepare.changes: found \[\] with task change; task change needs at least one"),
    ({"task": "grey", "apart": "image"}, "prepare.apart: task grey does not part the training images"),
    ({"task": "grey", "changes": ["inverted"]}, r"found \['inverted'\] with task grey"),
    ({"task": "change", "changes": ["coloured"]}, "coloured is for grey images"),
    ({"task": "domains"}, r"but the train split of \d+ images holds 0 \(none\); name two subfolders"),
    ({"task": "colour"}, "prepare.task"),
])
def test_what_does_not_fit_is_one_line(photos, given, message):
    table = pl.DataFrame({"image_id": [f"i{n}" for n in range(60)], "domain": pl.Series([None] * 60, dtype=pl.String)})
    with pytest.raises(InputError, match=message):
        made(photos, table=table, **given)


def test_a_task_is_not_for_points():
    with pytest.raises(InputError, match="makes two domains of images, but the dataset holds points"):
        images(pl.DataFrame({"image_id": ["a"]}), np.zeros((1, 2), np.float32), "points", ImageSettings(task="grey"), SHARES)
