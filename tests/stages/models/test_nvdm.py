import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from stages.models import nvdm
from stages.models.base import split_rows
from stages.settings import configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

CPU = torch.device("cpu")


def made(**settings):
    torch.manual_seed(0)
    return nvdm.Model(configure(nvdm.Config, {"latent": 3, "hidden": [8], **settings}, "model"), {"words": 12})


def themes(n=120, seed=0):
    """Documents of one of two themes, words 1-5 or 6-11, each several times; the last one is empty."""
    rng = np.random.default_rng(seed)
    data = {}
    for split, size in (("train", n), ("valid", 40)):
        rows = [np.unique(rng.integers(1, 6, 5) if rng.random() < 0.5 else rng.integers(6, 12, 5)) for _ in range(size - 1)] + [[]]
        data[f"{split}.words"] = np.concatenate(rows).astype(np.int32)
        data[f"{split}.counts"] = rng.integers(1, 4, len(data[f"{split}.words"])).astype(np.int32)
        data[f"{split}.offsets"] = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    data["counts"] = np.bincount(data["train.words"], data["train.counts"], 12).astype(np.int64)
    return data


def test_the_bound_is_the_one_of_the_paper_written_out_document_by_document():
    model, data = made().eval(), themes()
    batch = split_rows(model, data, "valid", np.array([3, 39, 7]))
    h = torch.randn(3, 3)
    found = model.log_p(batch, h)
    for i, row in enumerate((3, 39, 7)):
        a, b = data["valid.offsets"][row : row + 2]
        p = torch.softmax(model.decoder.weight @ h[i] + model.decoder.bias, 0)
        pairs = zip(*(data[f"valid.{k}"][a:b].tolist() for k in ("words", "counts")), strict=True)
        wanted = sum(c * torch.log(p[w]) for w, c in pairs)
        assert torch.allclose(found[i], torch.as_tensor(wanted, dtype=torch.float32), atol=1e-5)
    assert found[1] == 0, "an empty document costs nothing"
    mean, log_variance = model.posterior(batch)
    rate = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0))
    assert torch.allclose(model.bound(batch)[1], rate, atol=1e-6)


def test_alternating_updates_touch_only_their_own_parameters():
    model, data = made(updates="alternate"), themes()
    assert [p.name for p in model.phases] == ["decoder", "encoder"]
    settings = TrainSettings(**{**model.train_defaults, "steps": 1, "validate_every": 0, "patience": 0, "batch_size": 16})
    for wanted in ("decoder", "encoder"):
        model.phases = tuple(p for p in made(updates="alternate").phases if p.name == wanted)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        model.begin = lambda data, seed: None
        train(model, data, settings, 0, CPU)
        moved = {k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        assert moved == {wanted}


def test_two_themes_are_found():
    model, data = made(), themes(400)
    train(model, data, TrainSettings(**{**model.train_defaults, "steps": 250, "lr": 0.01, "validate_every": 0, "patience": 0}), 0, CPU)
    model.eval()
    with torch.no_grad():
        distortion, rate = model.bound(split_rows(model, data, "valid", np.arange(39)), torch.Generator().manual_seed(0))
    seen = data["counts"] / data["counts"].sum()
    row = np.repeat(np.arange(40), np.diff(data["valid.offsets"]))
    plain = -np.bincount(row, data["valid.counts"] * np.log(seen[data["valid.words"]]), 40)[:39].mean()
    assert float((distortion + rate.sum(1)).mean()) < plain - 2.0, "the code must pay for itself"


def test_a_unit_shows_words_by_their_relevance():
    model = nvdm.Model(configure(nvdm.Config, {"latent": 1, "hidden": [2]}, "model"), {"words": 4})
    with torch.no_grad():
        model.decoder.bias.copy_(torch.log(torch.tensor([0.001, 0.6, 0.3, 0.099])))
        model.decoder.weight.copy_(torch.tensor([[1.0], [0.0], [0.3], [0.0]]))
    raised = np.array([0.001 * np.exp(2.0), 0.6, 0.3 * np.exp(0.6), 0.099])
    wanted = np.log(raised / raised.sum()) - 0.7 * np.log([0.001, 0.6, 0.3, 0.099])
    assert model.topics()[0].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    assert model.topics()[0].argmax() == 2, "neither the commonest word nor the one that is raised most"
