"""What every family must hold, found by file name: none can be missed. What a family means is tested in tests/stages/models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.models.base import KernelModel, gathered, split_rows
from stages.params import load
from stages.runs import families, family_module
from stages.settings import configure
from stages.train.batches import Batches
from stages.train.checkpoints import Store
from stages.train.loop import train
from stages.train.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = families()
CPU = torch.device("cpu")
# small networks: a family's own sizes are its business. Each width of vectors is a kernel to compile: these the families' tests have too
SMALL = {"classifier": {"channels": 8, "features": 16}, "vae": {"hidden": [32], "latent": 4}, "gan": {"hidden": [32], "latent": 4},
         "bigbigan": {"hidden": [32], "latent": 4, "features": 16, "joint": [16]},
         "autoencoder": {"latent": 8}, "gumbel_vae": {"hidden": [32], "codes": 4, "classes": 3},
         "vq_vae": {"hidden": [32], "codes": 4, "codebook": 8, "dimension": 3, "prior": 8}, "item2vec": {"fields": ["category"]},
         "nvdm": {"latent": 4, "hidden": [16]}, "text_vae": {"latent": 4, "embedding": 16, "hidden": 32, "dropout": 0.0},
         "recurrent": {"embedding": 16, "hidden": 24}, "seq2seq": {"embedding": 16, "hidden": 24, "attention": "additive"},
         "nasm": {"latent": 4, "embedding": 16, "hidden": 24, "dropout": 0.0},
         "ml_vae": {"latent": 4, "upper": 3, "embedding": 16, "hidden": 32, "dropout": 0.0},
         "rotation": {"channels": 4, "features": 16}, "cyclegan": {"channels": 4, "blocks": 1, "pool": 20, "critic_channels": 4},
         "pix2pix": {"channels": 4, "halvings": 2, "critic_channels": 4},
         "super_resolution": {"channels": 8, "blocks": 1, "adversarial": 0.001, "pretrain": 5, "critic_channels": 4},
         "word2vec": {"dimension": 16}, "random_walk": {"dimension": 16}}


def sequences(rng, n, vocabulary):
    lengths = rng.integers(3, 8, n)
    return {
        "tokens": rng.integers(0, vocabulary, lengths.sum()).astype(np.int32),
        "offsets": np.concatenate([[0], lengths.cumsum()]).astype(np.int64),
    }


def small_data(kind):
    """(arrays, meta) of a tiny prepared dataset of the kind, as docs/formats.md describes it."""
    rng, data, meta = np.random.default_rng(0), {}, {"kind": kind, "dataset": "tiny", "hash": "0"}
    if kind == "counts":
        for split, n in (("train", 60), ("valid", 12), ("test", 12)):
            data |= {f"{split}.words": rng.integers(0, 20, n).astype(np.int32), f"{split}.offsets": np.arange(n + 1, dtype=np.int64)}
            data[f"{split}.counts"] = rng.integers(5, 30, n).astype(np.int32)  # one word each: a code can hold all of it
        data["counts"] = np.bincount(data["train.words"], minlength=20).astype(np.int64)
        return data, {**meta, "words": 20}
    if kind == "questions":
        for split, n in (("train", 60), ("valid", 12), ("test", 12)):
            for side in ("question", "answer"):
                data |= {f"{split}.{side}.{k}": v for k, v in sequences(rng, n, 20).items()}
            data[f"{split}.labels"], data[f"{split}.ids"] = (np.arange(n) % 3 == 0).astype(np.int32), (np.arange(n) // 3).astype(np.int32)
        return data, {**meta, "words": 20}
    if kind == "pairs":
        for split, n in (("train", 60), ("valid", 12), ("test", 12)):
            found = sequences(rng, n, 20)
            data |= {f"{split}.source.{k}": v for k, v in found.items()}
            data |= {f"{split}.target.tokens": found["tokens"] % 7 + 3, f"{split}.target.offsets": found["offsets"]}
        return data, {**meta, "source_words": 20, "target_words": 10}
    if kind in ("documents", "receipts"):
        for split, n in (("train", 60), ("valid", 12), ("test", 12)):
            data |= {f"{split}.{k}": v for k, v in sequences(rng, n, 20).items()}
            place = np.arange(len(data[f"{split}.tokens"])) - np.repeat(data[f"{split}.offsets"][:-1], np.diff(data[f"{split}.offsets"]))
            data[f"{split}.sentences"] = (place // 3).astype(np.int32)
        data["counts"] = np.bincount(data["train.tokens"], minlength=20).astype(np.int64)
        data["field.category"] = (np.arange(20) // 5 - 1).astype(np.int32)  # the first five have none
        return data, {**meta, "words": 20, "items": 20, "fields": {"category": 3}, "tokens": {"train": len(data["train.tokens"])}}
    if kind == "graph":
        u, v = np.triu_indices(12, 1)
        keep = (rng.random(len(u)) < 0.4) | (v == u + 1)
        rows, columns = np.concatenate([u[keep], v[keep]]), np.concatenate([v[keep], u[keep]])
        order = np.lexsort((columns, rows))
        data = {
            "indptr": np.concatenate([[0], np.bincount(rows, minlength=12).cumsum()]).astype(np.int64),
            "indices": columns[order].astype(np.int32),
            "weights": np.ones(len(rows), np.float32),
            "labels": (np.arange(12) % 3).astype(np.int32),
        }
        for name in ("heldout", "heldout_valid"):
            data |= {f"{name}.edges": np.array([[0, 5]], np.int32), f"{name}.non_edges": np.array([[1, 7]], np.int32)}
        return data, {**meta, "nodes": 12, "edges": len(rows) // 2, "classes": 3}
    if kind == "triples":
        for split, n in (("train", 80), ("valid", 10), ("test", 10)):
            data[f"{split}.triples"] = np.stack([rng.integers(15, size=n), rng.integers(3, size=n), rng.integers(15, size=n)], 1).astype(
                np.int32
            )
        return data, {**meta, "entities": 15, "relations": 3}
    if kind == "points":
        return {f"{s}.points": rng.normal(size=(40, 2)).astype(np.float32) for s in ("train", "valid", "test")}, {**meta, "shape": [2]}
    if kind == "two_domains":
        for split, n in (("train", 48), ("valid", 12), ("test", 12)):
            source = (rng.random((n, 8, 8, 1)) * 60 + 60 * rng.integers(0, 3, (n, 1, 1, 1))).astype(np.uint8)
            data |= {f"{split}.source": source, f"{split}.target": 255 - source}
        return data, {**meta, "shape": [8, 8, 1], "source_shape": [8, 8, 1], "classes": 0, "paired": True, "truth": True, "task": "pairs"}
    for split, n in (("train", 48), ("valid", 12), ("test", 12)):
        data[f"{split}.labels"] = rng.integers(0, 3, n).astype(np.int32)
        data[f"{split}.images"] = (rng.random((n, 8, 8, 1)) * 60 + 60 * data[f"{split}.labels"][:, None, None, None]).astype(np.uint8)
    return data, {**meta, "shape": [8, 8, 1], "classes": 3}


def made(family):
    """(model, data, loop settings) with a small network."""
    module = family_module(family)
    data, meta = small_data(module.Model.kinds[0])
    torch.manual_seed(0)
    model = module.Model(configure(module.Config, SMALL.get(family, {}), family), meta)
    return model, data, {**module.Model.train_defaults, "validate_every": 0, "patience": 0, "log_every": 5, "batch_size": 16}


def gradient(names):
    return [f for f in names if not issubclass(family_module(f).Model, KernelModel)]


@pytest.mark.parametrize("family", gradient(FAMILIES))
def test_loss_is_a_finite_scalar_and_each_phase_reaches_all_its_parameters_and_no_other(family):
    model, data, options = made(family)
    batches = Batches(data, model.inputs, 16, 0, CPU, ragged=model.ragged)
    reached = set()
    for phase in model.phases:
        own = (
            {id(p) for name in phase.modules for p in getattr(model, name).parameters()}
            if phase.modules
            else {id(p) for p in model.parameters() if p.requires_grad}
        )
        trainable = [p for p in model.parameters() if p.requires_grad]
        for p in trainable:
            p.requires_grad_(id(p) in own)
            p.grad = None
        loss, terms = model.loss(batches.batch(0), phase.name, phase.start)
        assert loss.dim() == 0 and torch.isfinite(loss) and terms and all(torch.isfinite(t) for t in terms.values())
        loss.backward()
        for p in trainable:
            assert (p.grad is not None and p.grad.abs().sum() > 0) == (id(p) in own), f"{family}: phase {phase.name}"
            p.requires_grad_(True)
        reached |= own
    assert {id(p) for p in model.parameters() if p.requires_grad} == reached, "a parameter that no phase trains"


@pytest.mark.parametrize("family", [f for f in gradient(FAMILIES) if not family_module(f).Model.adversarial])
def test_one_batch_can_be_overfitted(family):
    model, data, options = made(family)
    rows = gathered({k: data[f"train.{k}"] for k in model.inputs}, {k: data[f"train.{k}"] for k in model.ragged.values()}, model.ragged,
                    dict.fromkeys(model.inputs, np.arange(16)))
    data |= {f"train.{k}": np.asarray(v) for k, v in rows.items() if k in model.ragged or k in model.ragged.values()}
    data |= {f"train.{k}": data[f"train.{k}"][:16] for k in model.inputs if k not in model.ragged}
    settings = TrainSettings(**{**options, "steps": 150, "lr": 3e-3, "lr_decay": "none", "log_every": 10})
    losses = [row["loss"] for row in train(model, data, settings, 0, CPU).curve]
    assert losses[-1] < losses[0] - 0.5 * abs(losses[0]) or losses[-1] < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_half_and_half_resumed_equals_whole_bit_for_bit(family, tmp_path):
    _, data, options = made(family)
    settings = TrainSettings(**{**options, "steps": 20, "epochs": 4, "checkpoint_seconds": 1e9})
    half = 2 if issubclass(family_module(family).Model, KernelModel) else 10
    whole = train(made(family)[0], data, settings, 3, CPU)
    store = Store(tmp_path, family, "key")
    assert train(made(family)[0], data, settings, 3, CPU, store, stop_after=half) is None
    torch.manual_seed(1234)
    resumed = train(made(family)[0], data, settings, 3, CPU, store)
    assert whole.weights.keys() == resumed.weights.keys()
    assert all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights) and whole.curve == resumed.curve
    moved = made(family)[0].state_dict()
    assert any(not torch.equal(moved[k], whole.weights[k]) for k in moved), "nothing was learnt"


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_capabilities_have_the_shapes_they_promise(family):
    model, data, _ = made(family)
    model.eval()
    offered = 0
    if "images" in model.inputs:
        x = Batches(data, ("images",), 5, 0, CPU).batch(0)["images"]
        for name in ("encode", "features", "logits"):
            if hasattr(model, name):
                out, offered = getattr(model, name)(x), offered + 1
                assert out.dim() == 2 and len(out) == 5 and torch.isfinite(out).all()
        if hasattr(model, "reconstruct"):
            out, offered = model.reconstruct(x), offered + 1
            assert out.shape == x.shape and 0 <= out.min() and out.max() <= 1
        if hasattr(model, "log_likelihood"):
            out, offered = model.log_likelihood(x, 3, torch.Generator().manual_seed(0)), offered + 1
            assert out.shape == (5,) and torch.isfinite(out).all()
        if hasattr(model, "sample"):
            out, offered = model.sample(4, torch.Generator().manual_seed(0)), offered + 1
            assert out.shape == (4, *x.shape[1:]) and 0 <= out.min() and out.max() <= 1
            assert torch.equal(out, model.sample(4, torch.Generator().manual_seed(0))) and not torch.equal(out[0], out[1])
    if model.ragged and hasattr(model, "bound"):
        batch, offered = split_rows(model, data, "test", np.arange(5)), offered + 1
        distortion, rate = model.bound(batch, torch.Generator().manual_seed(0))
        again = model.bound(batch, torch.Generator().manual_seed(0))[0]
        assert distortion.shape == (5,) and len(rate) == 5 and torch.isfinite(distortion).all() and (rate >= 0).all()
        assert torch.equal(distortion, again) and model.encode(batch).shape[0] == 5
        assert model.log_likelihood(batch, 3, torch.Generator().manual_seed(0)).shape == (5,)
    if model.kinds[0] == "questions":
        offered += 1
        assert model.scores(split_rows(model, data, "test", np.arange(5))).shape == (5,)
    if model.kinds[0] == "pairs":
        batch, offered = split_rows(model, data, "test", np.arange(5)), offered + 1
        source = batch["source.tokens"], batch["source.offsets"]
        if hasattr(model, "tag_logits"):
            assert model.tag_logits(*source).shape == (len(source[0]), 10)
        if hasattr(model, "search"):
            assert len(model.search(*source)[0]) == 5
    if hasattr(model, "translate"):
        x, offered = Batches(data, ("source",), 5, 0, CPU).batch(0)["source"], offered + 1
        for name in ("translate", "translate_back"):
            if hasattr(model, name):
                out = getattr(model, name)(x)
                assert out.shape == (5, 1, 8, 8) and 0 <= out.min() and out.max() <= 1
        assert model.halo >= 0 and model.multiple >= 1
    if hasattr(model, "vectors"):
        for name, table in model.vectors().items():
            offered += 1
            assert table.dim() == 2 and table.dtype == torch.float32 and torch.isfinite(table).all(), name
    if hasattr(model, "score"):
        offered += 1
        h, r, t = torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([3, 4])
        assert model.score(h, r, t).shape == (2,)
        assert torch.allclose(model.tail_scores(h, r)[torch.arange(2), t], model.score(h, r, t), atol=1e-5)
        assert torch.allclose(model.head_scores(r, t)[torch.arange(2), h], model.score(h, r, t), atol=1e-5)
    if "valid.images" in data or "valid.tokens" in data or "valid.triples" in data:
        found = model.validate(data)
        assert not found or np.isfinite(found["loss"])
    assert offered, f"{family} offers evaluation nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_house_rules(family):
    module = family_module(family)
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert len(module.CITATION) > 30 and "http" in module.__doc__, "the docstring cites the paper with its address"
    assert "print(" not in source and "open(" not in source and "torch.load" not in source and ".cuda(" not in source
    assert (ROOT / f"tests/stages/models/test_{family}.py").is_file(), "a semantic test of its own"
    assert any(run.family == family for run in load(ROOT / "params.yaml").runs.values()), "at least one run in params.yaml"


BARE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dvc", "dvclive", "prefect", "polars", "pyarrow", "great_expectations", "torchmetrics", "sklearn", "yaml",
                                  "pydantic",
                                  "pandas",
                                  "rich", "jinja2", "networkx", "PIL"}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocked())
import stages.train.__main__, stages.train.loop
from stages.runs import families, family_module
for family in families():
    family_module(family)
print("bare")
"""


def test_models_and_training_import_on_a_bare_machine():
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "bare", done.stderr
