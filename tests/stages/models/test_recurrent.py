import numpy as np
import pytest
import torch

from stages.models import recurrent
from stages.models.base import split_rows
from stages.models.parts.ragged import packing
from stages.models.parts.recurrent import Reader
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

PAIRS = {"kind": "pairs", "source_words": 9, "target_words": 5}
SERIES = {"kind": "series", "shape": [12, 2], "factors": ["sum"]}


def made(meta, **settings):
    torch.manual_seed(0)
    return recurrent.Model(configure(recurrent.Config, {"hidden": 6, "embedding": 4, **settings}, "model"), meta).eval()


def ragged():
    torch.manual_seed(1)
    layout = packing(torch.tensor([3, 7, 1, 5]))
    return torch.randn(16, 4, requires_grad=True), layout


def gradients(cell, window):
    x, layout = ragged()
    torch.manual_seed(2)
    reader = Reader(cell, 4, 5)
    every, last = reader(x, layout, window=window)
    (every.square().sum() + last.sum()).backward()
    return [x.grad, *(p.grad for p in reader.parameters())], every, last


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_truncated_bptt_is_the_full_gradient_where_the_window_covers_and_the_same_values_where_not(cell):
    full, every, last = gradients(cell, 0)
    covered, _, _ = gradients(cell, 7)
    assert all(torch.equal(a, b) for a, b in zip(full, covered, strict=True))
    short, every_short, last_short = gradients(cell, 3)
    assert torch.allclose(every, every_short, atol=1e-6) and torch.allclose(last, last_short, atol=1e-6)
    assert not torch.allclose(full[0], short[0]), "something is cut"


def test_a_window_stops_the_gradient_where_it_begins():
    x, layout = ragged()
    reader = Reader("rnn", 4, 5)
    every, _ = reader(x, layout, window=3)
    of = (layout.row == 1) & (layout.step == 4)  # its window holds steps 3, 4, 5
    (grad,) = torch.autograd.grad(every[of].sum(), x)
    reached = {int(s) for s, r, g in zip(layout.step, layout.row, grad.abs().sum(1), strict=True) if g > 0 and r == 1}
    assert reached == {3, 4}


@torch.no_grad()
def test_each_sequence_has_the_tags_it_has_alone():
    for both in (False, True):
        model = made(PAIRS, both_ways=both)
        tokens, offsets = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8]), torch.tensor([0, 3, 4, 8])
        together = model.tag_logits(tokens, offsets)
        for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            assert torch.allclose(together[a:b], model.tag_logits(tokens[a:b], torch.tensor([0, b - a])), atol=1e-6)
    forward = made(PAIRS).tag_logits(tokens, offsets)
    changed = made(PAIRS).tag_logits(torch.tensor([1, 2, 8, 4, 5, 6, 7, 8]), offsets)
    assert torch.equal(forward[:2], changed[:2]), "one way, what comes later is not known"


@torch.no_grad()
def test_a_forecast_reads_nothing_of_the_step_it_tells():
    model = made({"kind": "series", "shape": [12, 2], "factors": []})
    x = torch.randn(3, 12, 2)
    y = x.clone()
    y[:, 7:] += 1.0
    assert torch.equal(model.forecast(x)[:, :7], model.forecast(y)[:, :7])
    assert not torch.allclose(model.forecast(x)[:, 7], model.forecast(y)[:, 7])


def test_the_gradient_by_lag_is_that_of_the_last_state_and_falls_in_a_net_that_forgets():
    model = made(SERIES, cell="rnn")
    with torch.no_grad():
        model.reader.net.weight_hh_l0.mul_(0.3)
    found = model.gradient_by_lag({"series": torch.randn(5, 12, 2)})
    assert found.shape == (12,) and (found[2:] < found[:-2] * 0.5).all() and found[0] > 1e-3


def test_the_forget_gate_starts_open_and_what_cannot_be_is_one_line():
    model = made(SERIES, forget=2.5)
    assert (model.reader.net.bias_hh_l0[6:12] == 2.5).all()
    u = model.reader.net.weight_hh_l0[:6]
    assert torch.allclose(u @ u.T, torch.eye(6), atol=1e-5)
    with pytest.raises(InputError, match="model.both_ways: true reads a sequence from its end"):
        made(SERIES, both_ways=True)


def test_pairs_that_are_no_tags_and_images_without_classes_are_refused():
    data = {"train.source.offsets": np.array([0, 3, 5]), "train.target.offsets": np.array([0, 2, 4])}
    with pytest.raises(InputError, match="but 1 training pairs have targets of another length than their sources"):
        made(PAIRS).begin(data, 0)
    with pytest.raises(InputError, match="tells the class of an image, but the dataset has 0 classes"):
        made({"kind": "images", "shape": [8, 8, 1], "classes": 0})


@torch.no_grad()
def test_an_image_is_read_row_by_row_or_pixel_by_pixel():
    x = torch.arange(12.0).view(1, 1, 3, 4) / 12
    meta = {"kind": "images", "shape": [3, 4, 1], "classes": 2}
    assert torch.allclose(made(meta).image_steps(x)[0], 2 * x[0, 0] - 1)
    assert torch.allclose(made(meta, steps="pixels").image_steps(x)[0, :, 0], 2 * x.flatten() - 1)
    assert made(meta, both_ways=True).logits(x).shape == (1, 2)


def test_a_short_adding_problem_is_solved():
    rng = np.random.default_rng(0)
    data = {}
    for split, n in (("train", 600), ("valid", 200)):
        x = np.zeros((n, 8, 2), np.float32)
        x[..., 0] = rng.random((n, 8))
        x[np.arange(n), rng.integers(4, size=n), 1] = x[np.arange(n), 4 + rng.integers(4, size=n), 1] = 1
        data |= {f"{split}.series": x, f"{split}.factors": (x[..., :1] * x[..., 1:]).sum((1, 2))[:, None].astype(np.float64)}
    model = made({"kind": "series", "shape": [8, 2], "factors": ["sum"]}, hidden=24)
    train(model, data, TrainSettings(**{**model.train_defaults, "steps": 400, "lr": 0.01}), 0, torch.device("cpu"))
    assert model.eval().validate(data)["loss"] < 0.02 < 0.3 * float(data["valid.factors"].var())
    assert split_rows(model, data, "valid", np.arange(2))["series"].shape == (2, 8, 2)
