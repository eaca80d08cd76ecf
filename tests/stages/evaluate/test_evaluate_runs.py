"""The whole stage on small data: every kind through real (untrained) families, the files it writes, and what bad input gets."""

import json
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from stages.command import command
from stages.evaluate import __main__ as stage
from stages.evaluate.kinds import points
from stages.evaluate.kinds.base import Setting
from stages.evaluate.repeated import Repeated
from stages.evaluate.settings import EvaluateSettings
from stages.files import read_json, write_json
from stages.models.base import image_tensor
from stages.prepared import Prepared
from stages.runs import family_module, load_run


def write_prepared(folder, meta, arrays, tables):
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    for name, rows in tables.items():
        write_json(folder / f"{name}.json", rows)
    write_json(folder / "meta.json", {"dataset": folder.name, "hash": "0", **meta})
    return folder


def encode(lists):
    return np.array([i for r in lists for i in r], np.int32), np.r_[0, np.cumsum([len(r) for r in lists])].astype(np.int64)


def sequences(folder, kind, size=40, seed=0):
    """Receipts or documents over `size` items; items 2i and 2i + 1 go together."""
    rng = np.random.default_rng(seed)
    arrays, lists = {}, {}
    for split, n in (("train", 300), ("valid", 60), ("test", 60)):
        first = rng.integers(1, size // 2, (n, 3))
        lists[split] = [[x for f in row for x in (2 * f, 2 * f + 1)] for row in first.tolist()]
        arrays[f"{split}.tokens"], arrays[f"{split}.offsets"] = encode(lists[split])
    arrays["counts"] = np.bincount(arrays["train.tokens"], minlength=size).astype(np.int64)
    names = [f"thing {i}" for i in range(size)]
    if kind == "documents":
        meta = {"domain": "corpora", "kind": kind, "words": size, "classes": 0}
        return write_prepared(folder, meta, arrays, {"words": names, "labels": []})
    arrays["counts"] = np.maximum(arrays["counts"], 1)
    arrays["field.category"] = (np.arange(size) // 4).astype(np.int32)
    arrays["field.brand"] = np.where(np.arange(size) % 3 == 0, -1, np.arange(size) % 3).astype(np.int32)
    tables = {"items": names, "field.category": [f"c{i}" for i in range(size // 4)], "field.brand": ["x", "y", "z"]}
    meta = {"domain": "receipts", "kind": kind, "items": size, "fields": {"category": size // 4, "brand": 3}}
    return write_prepared(folder, meta, arrays, tables)


def network(folder):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 20)
    chance = np.where(labels[:, None] == labels[None], 0.3, 0.02)
    upper = np.triu(rng.random((60, 60)) < chance, 1)
    held = np.argwhere(upper)[::10]
    upper[tuple(held.T)] = False
    both = upper | upper.T
    off = np.argwhere(np.triu(~both, 1))[:: 40][: len(held)]
    arrays = {"indptr": np.r_[0, np.cumsum(both.sum(1))].astype(np.int64), "indices": np.nonzero(both)[1].astype(np.int32),
              "weights": np.ones(both.sum(), np.float32), "labels": np.where(np.arange(60) % 10 == 0, -1, labels).astype(np.int32),
              "labels_valid": np.arange(60) % 5 == 1,
              "heldout.edges": held.astype(np.int32), "heldout.non_edges": off.astype(np.int32)}
    meta = {"domain": "graphs", "kind": "graph", "nodes": 60, "edges": int(upper.sum()), "classes": 3, "heldout": {"heldout": len(held)}}
    return write_prepared(folder, meta, arrays, {"nodes": [f"n{i}" for i in range(60)], "labels": ["a", "b", "c"]})


def knowledge(folder, test=30):
    rng = np.random.default_rng(2)
    rows = rng.permutation(np.unique(np.stack([rng.integers(0, 25, 300), rng.integers(0, 3, 300), rng.integers(0, 25, 300)], 1), axis=0))
    parts = {"test": rows[:test], "valid": rows[test : 2 * test], "train": rows[2 * test :]}
    arrays = {f"{s}.triples": r.astype(np.int32) for s, r in parts.items()}
    meta = {"domain": "graphs", "kind": "triples", "entities": 25, "relations": 3, "triples": {s: len(r) for s, r in parts.items()},
            "categories": {"p": "N-N", "q": "N-N", "r": "N-N"}}
    return write_prepared(folder, meta, arrays, {"entities": [f"e{i}" for i in range(25)], "relations": ["p", "q", "r"]})


def digits(folder, labelled=True):
    images, labels = load_digits(return_X_y=True)
    images = np.round(images[:420] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    arrays = {}
    for split, rows in (("train", slice(0, 240)), ("valid", slice(240, 300)), ("test", slice(300, 420))):
        arrays[f"{split}.images"] = images[rows]
        arrays[f"{split}.labels"] = (labels[:420][rows] if labelled else np.full(len(images[rows]), -1)).astype(np.int32)
    names = [str(i) for i in range(10)] if labelled else []
    meta = {"domain": "images", "kind": "images", "shape": [8, 8, 1], "classes": len(names), "images": {"train": 240}}
    return write_prepared(folder, meta, arrays, {"labels": names})


MODELS = {"language_model": {"dimension": 8, "hidden": 8}, "word2vec": {"dimension": 6},
          "item2vec": {"dimension": 6, "fields": ["category", "brand"]},
          "random_walk": {"dimension": 5}, "translation": {"dimension": 6},
          "vae": {"latent": 3, "hidden": [16]}, "gan": {"latent": 4, "hidden": [16]}, "classifier": {"channels": 4, "features": 12}}


def write_run(folder, family, data, seeds=(0,), change=None, **settings):
    """A run folder with an untrained model a seed; `change` may set its tensors."""
    from stages.settings import configure

    module, meta = family_module(family), read_json(data / "meta.json")
    given = {**MODELS.get(family, {}), **settings}
    for seed in seeds:
        torch.manual_seed(seed)
        model = module.Model(configure(module.Config, given, "model"), meta)
        if change:
            with torch.no_grad():
                change(model)
        (folder / str(seed)).mkdir(parents=True)
        save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / str(seed) / "weights.safetensors")
    write_json(folder / "run.json", {"run": folder.name, "family": family, "dataset": data.name, "domain": meta["domain"], "model": given,
                                     "train": {}, "seeds": list(seeds), "parameters": 7, "reproducible": True})
    return folder


def call(tmp_path, monkeypatch, run, data, features=None, reports="reports", **evaluate):
    entry = {"family": "x", "dataset": "d", "features": "none", "evaluate": evaluate}
    dataset = {"domain": "images", "source": "builtin", "name": "x", "options": {}, "validate": {}, "prepare": {}}
    params = {"split": {"salt": "s"}, "validate": {}, "datasets": {"d": dataset}, "train": {}, "runs": {run.name: entry}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    given = ["--model", run, "--data", data, "--params", tmp_path / "params.yaml", "--reports", tmp_path / reports]
    monkeypatch.setattr(sys, "argv", ["evaluate", run.name, *map(str, given + (["--features", features] if features else []))])
    command(stage.main)
    return tmp_path / reports


def results(reports, run):
    folder = reports / "samples" / run
    details = read_json(folder / "details.json")
    for picture in details["pictures"]:
        assert set(picture) == {"file", "title", "alt"} and (folder / picture["file"]).stat().st_size <= 300_000
        assert Image.open(folder / picture["file"]).format == "PNG"
    assert {p["file"] for p in details["pictures"]} | {"details.json"} == {f.name for f in folder.iterdir()}
    for table in details["tables"]:
        assert set(table) == {"title", "columns", "rows", "note"} and all(len(r) == len(table["columns"]) for r in table["rows"])
    return read_json(reports / "metrics" / f"{run}.json"), details


CASES = {
    "word2vec-receipts": (lambda f: sequences(f, "receipts"), "ndcg_10", {"popularity", "co_counts", "svd", "category_back_off"}),
    "word2vec-documents": (lambda f: sequences(f, "documents"), "heldout_loss", {"unigram"}),
    "language_model-documents": (lambda f: sequences(f, "documents"), "perplexity", {"unigram", "kneser_ney"}),
    "random_walk-graph": (network, "macro_f1_50", {"spectral", "label_propagation", "majority", "common_neighbours", "adamic_adar",
                                                   "preferential_attachment"}),
    "translation-triples": (knowledge, "mrr", {"random_by_frequency", "rules", "neighbours"}),
    "classifier-images": (digits, "accuracy", {"raw_pixels", "majority"}),
    "vae-images": (digits, "probe_accuracy", {"floor", "gaussian", "pca", "untrained", "raw_pixels", "kmeans"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_is_measured_beside_its_baselines(case, tmp_path, monkeypatch):
    make, headline, baselines = CASES[case]
    data = make(tmp_path / "data")
    run = write_run(tmp_path / "models" / "mine", case.partition("-")[0], data, seeds=(0, 1))
    reports = call(tmp_path, monkeypatch, run, data, shuffles=2, iw=[1, 5], few=2)
    metrics, details = results(reports, "mine")
    assert metrics["headline"] == headline and set(metrics["baselines"]) == baselines
    assert metrics[headline]["n"] == 2 and metrics["parameters"] == 7 and metrics["reproducible"] is True and metrics["features"] is None
    assert all(v["n"] == 1 and v["sd"] is None for values in metrics["baselines"].values() for v in values.values())
    assert any(headline in values for values in metrics["baselines"].values())
    assert details["pictures"]


def test_a_generator_is_measured_in_the_feature_nets_space_and_reruns_to_the_same_bytes(tmp_path, monkeypatch):
    from hashlib import sha256
    data = digits(tmp_path / "data")
    net = write_run(tmp_path / "models" / "net", "classifier", data)
    run = write_run(tmp_path / "models" / "gan", "gan", data)
    first, second = (call(tmp_path, monkeypatch, run, data, net, reports=r) for r in ("a", "b"))
    metrics, details = results(first, "gan")
    assert metrics["headline"] == "fid" and {"kid", "precision", "recall", "density", "coverage", "classes_covered", "confident_share",
                                             "memorisation", "sharpness"} <= set(metrics)
    assert metrics["fid"]["mean"] > metrics["baselines"]["gaussian"]["fid"]["mean"] > metrics["baselines"]["floor"]["fid"]["mean"]
    assert metrics["features"] == sha256((net / "0" / "weights.safetensors").read_bytes()).hexdigest()
    assert {"samples.png", "real.png", "copies.png"} <= {p["file"] for p in details["pictures"]}
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)


def test_bounds_stand_beside_exact_likelihoods_unless_the_likelihood_is_no_density(tmp_path, monkeypatch):
    data = digits(tmp_path / "data")
    found = {}
    for likelihood in ("gaussian", "bernoulli"):
        run = write_run(tmp_path / "m" / likelihood, "vae", data, likelihood=likelihood)
        found[likelihood] = results(call(tmp_path, monkeypatch, run, data, few=1), likelihood)[0]["baselines"]
    exact = found["gaussian"]
    assert {"elbo", "iw_1", "iw_50"} <= set(exact["gaussian"]) and exact["pca"]["elbo"] == exact["pca"]["iw_50"]
    assert exact["gaussian"]["elbo"]["mean"] < exact["pca"]["elbo"]["mean"]  # three components leave much to noise
    assert "elbo" not in found["bernoulli"]["gaussian"] and "elbo" not in found["bernoulli"]["pca"]


def test_the_floor_says_how_sure_the_net_is_of_test_images(tmp_path, monkeypatch):
    data = digits(tmp_path / "data")
    net = write_run(tmp_path / "models" / "net", "classifier", data, change=lambda model: [p.mul_(5) for p in model.parameters()])
    model = load_run(net, 0, read_json(data / "meta.json"))
    shares = {}
    for split in ("train", "test"):
        with torch.no_grad():
            sure = model.logits(image_tensor(np.load(data / f"{split}.images.npy"))).softmax(1).max(1).values
        shares[split] = float((sure > 0.9).double().mean())
    run = write_run(tmp_path / "models" / "gan", "gan", data)
    floor = results(call(tmp_path, monkeypatch, run, data, net), "gan")[0]["baselines"]["floor"]
    assert shares["train"] != shares["test"] and floor["confident_share"]["mean"] == pytest.approx(shares["test"], rel=1e-5)


def test_every_training_seed_draws_its_own_samples(tmp_path, monkeypatch):
    assert len({stage.sampling_seed(e, t) for e in range(3) for t in range(3)}) == 9
    assert all(0 <= stage.sampling_seed(0, t) < 2**63 and stage.sampling_seed(0, t) != t for t in range(5))
    data = digits(tmp_path / "data")

    def same(model):
        generator = torch.Generator().manual_seed(7)
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    run = write_run(tmp_path / "m" / "gan", "gan", data, seeds=(0, 1), change=same)
    metrics, _ = results(call(tmp_path, monkeypatch, run, data), "gan")
    assert metrics["sharpness"]["sd"] > 0  # equal models: all that differs is what they drew


def test_images_without_labels_are_measured_as_far_as_they_go(tmp_path, monkeypatch, capsys):
    data = digits(tmp_path / "data", labelled=False)
    run = write_run(tmp_path / "m" / "vae", "vae", data)
    line = refused(capsys, tmp_path, monkeypatch, run, data, probe="required")
    assert "run vae: evaluate.probe is required, but" in line and "labels of 0 classes, and a probe needs 2" in line
    metrics, _ = results(call(tmp_path, monkeypatch, run, data), "vae")
    assert metrics["headline"] == "elbo" and "probe_accuracy" not in metrics and "reconstruction_mse" in metrics["baselines"]["pca"]


def test_codes_of_known_factors_stand_beside_those_of_pca_and_of_an_untrained_encoder(tmp_path, monkeypatch):
    """Images are lit in one row or another, weakly or strongly: two factors that principal components must mix in part."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 4, 300), rng.integers(0, 3, 300)], 1).astype(np.float32)
    images = np.zeros((300, 8, 8, 1), np.uint8)
    for image, (row, light) in zip(images, factors.astype(int), strict=True):
        image[2 * row : 2 * row + 2] = 80 * (light + 1)
    arrays = {}
    for split, rows in (("train", slice(0, 180)), ("valid", slice(180, 220)), ("test", slice(220, 300))):
        arrays |= {f"{split}.images": images[rows], f"{split}.factors": factors[rows],
                   f"{split}.labels": np.full(len(images[rows]), -1, np.int32)}
    meta = {"domain": "images", "kind": "images", "shape": [8, 8, 1], "classes": 0, "images": {"train": 180}}
    data = write_prepared(tmp_path / "rows", meta, arrays, {"labels": []})
    metrics, _ = results(call(tmp_path, monkeypatch, write_run(tmp_path / "m" / "v", "vae", data), data, samples=50), "v")
    beside = metrics["baselines"]
    assert metrics["headline"] == "mig" and 0 <= metrics["mig"]["mean"] <= 1
    assert beside["pca"]["dci_informativeness"]["mean"] > 0.9  # the rows and their light are linear in the pixels
    assert 0 <= beside["pca"]["mig"]["mean"] < 0.9 and "mig" in beside["untrained"] and "mig" not in beside["gaussian"]


def test_the_unigram_baseline_is_what_the_family_measures_on_a_model_that_knows_only_frequency(tmp_path, monkeypatch):
    data = sequences(tmp_path / "data", "documents")
    counts = np.load(data / "counts.npy").astype(float)

    def only_frequency(model):
        noise = counts**0.75 / (counts**0.75).sum()
        share = counts / counts.sum()
        best = np.log(np.maximum(share, 1e-9)) - np.log(np.maximum(5 * noise * (1 - share), 1e-9))
        model.input.zero_()
        model.output.zero_()
        model.bias.copy_(torch.from_numpy(best).float())
    run = write_run(tmp_path / "m" / "w", "word2vec", data, change=only_frequency, bias=True, window=3)
    metrics, _ = results(call(tmp_path, monkeypatch, run, data), "w")
    assert metrics["heldout_loss"]["mean"] == pytest.approx(metrics["baselines"]["unigram"]["heldout_loss"]["mean"], rel=0.02)


def test_conditional_scoring_ranks_by_the_probability_that_the_loss_estimates(tmp_path, monkeypatch):
    """Vectors with in.out = log(count / f^a): the optimum of the loss when co-counts are all there is. They must rank as co-counts do."""
    data = sequences(tmp_path / "data", "receipts")
    from stages.evaluate.recommend import co_counts, measure, trial
    load = lambda name: np.load(data / f"{name}.npy")  # noqa: E731
    task = trial((load("train.tokens"), load("train.offsets")), (load("test.tokens"), load("test.offsets")), 40)
    target = np.log(np.maximum(co_counts(task)(np.arange(40)), 1e-6)) - 0.75 * np.log(np.load(data / "counts.npy"))

    def counted(model):
        model.input.copy_(torch.eye(40))
        model.output.copy_(torch.from_numpy(target.T).float())
    run = write_run(tmp_path / "m" / "p", "word2vec", data, change=counted, dimension=40)
    metrics, _ = results(call(tmp_path, monkeypatch, run, data, scoring="conditional"), "p")
    expected, _ = measure(co_counts(task), task)
    for name in ("ndcg_10", "mrr", "hit_rate_10"):
        assert metrics[name]["mean"] == pytest.approx(expected[name], rel=1e-2)  # float32 splits ties
    dotted, _ = results(call(tmp_path, monkeypatch, run, data, reports="dot", scoring="dot"), "p")
    assert abs(dotted["ndcg_10"]["mean"] - metrics["ndcg_10"]["mean"]) > 1e-3


def test_scoring_and_rivals_are_chosen_on_the_validation_split(tmp_path, monkeypatch):
    """Items 2i and 2i + 1 follow one another, so the reach of 1 is best; outputs hold that partner, the inputs' cosine knows nothing."""
    data = sequences(tmp_path / "data", "receipts")
    partner = np.arange(40) ^ 1

    def paired(model):
        model.input.copy_(torch.eye(40))
        model.output.copy_(torch.eye(40)[partner] * 9)
    run = write_run(tmp_path / "m" / "p", "word2vec", data, change=paired, dimension=40)
    metrics, details = results(call(tmp_path, monkeypatch, run, data), "p")
    table = next(t for t in details["tables"] if t["title"] == "Chosen on the validation split")
    assert [row[:2] for row in table["rows"][:4:2]] == [["scoring by items", "conditional"], ["co-counts", "at most 1 apart"]]
    assert table["rows"][1][0] == "mix with co-counts" and table["rows"][3][1].startswith("width ")
    assert table["rows"][4][1].startswith("field ") and len(table["rows"]) == 5
    given = {s: results(call(tmp_path, monkeypatch, run, data, reports=s, scoring=s), "p")[0] for s in ("conditional", "cosine")}
    assert metrics["ndcg_10"] == given["conditional"]["ndcg_10"] and metrics["ndcg_10"]["mean"] > given["cosine"]["ndcg_10"]["mean"] + 0.2


def test_metadata_scores_the_items_that_have_no_vectors_of_their_own(tmp_path, monkeypatch):
    """Item vectors are nothing; items ask for their own category: only the scoring with metadata knows, and the run is known by it."""
    data = sequences(tmp_path / "data", "receipts")

    def by_category(model):
        model.input.zero_()
        model.output.zero_()
        model.input[40:50] = torch.eye(10) * 3
        model.output[40:50] = torch.eye(10) * 3
    run = write_run(tmp_path / "m" / "p", "item2vec", data, change=by_category, dimension=10)
    metrics, details = results(call(tmp_path, monkeypatch, run, data), "p")
    chosen = next(t for t in details["tables"] if t["title"] == "Chosen on the validation split")["rows"]
    assert [row[0] for row in chosen[:3]] == ["scoring by items and metadata", "scoring by items", "mix with co-counts"]
    assert chosen[0][1].endswith("of category") and metrics["hit_rate_10"]["mean"] > 2 * metrics["items_alone_hit_rate_10"]["mean"]
    assert metrics["mix_ndcg_10"]["mean"] > metrics["ndcg_10"]["mean"] and "items_alone_mrr" in metrics
    alone, _ = results(call(tmp_path, monkeypatch, write_run(tmp_path / "m" / "q", "item2vec", data, fields=[]), data), "q")
    assert "items_alone_mrr" not in alone and "mix_mrr" in alone


def test_points_are_held_against_their_modes(tmp_path):
    rng = np.random.default_rng(0)
    modes = np.array([[np.cos(t), np.sin(t)] for t in np.arange(8) * np.pi / 4])
    drawn = {s: (modes[rng.integers(0, 8, 300)] + rng.normal(0, 0.02, (300, 2))).astype(np.float32) for s in ("train", "test")}
    data = write_prepared(tmp_path / "ring", {"domain": "images", "kind": "points", "modes": modes.tolist(), "sigma": 0.02, "classes": 8},
                          {f"{s}.points": x for s, x in drawn.items()}, {})

    class OneMode:
        def sample(self, n, generator):
            return torch.tensor([1.0, 0.0]) + 0.02 * torch.randn(n, 2, generator=generator)
    evaluation = points.Evaluation(Setting(Prepared(data), {}, EvaluateSettings()))
    found, beside = evaluation.measure(OneMode(), 0), evaluation.baselines(OneMode(), None)
    assert found["modes"] == 1 and found["high_quality"] > 0.95 and found["recall"] < 0.3
    assert beside["floor"]["modes"] == 8 and beside["floor"]["high_quality"] > 0.95 > 0.5 > beside["gaussian"]["high_quality"]


def test_mean_and_deviation_over_seeds():
    found = stage.summarised([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {"a": 5.0}])
    assert found == {"a": {"mean": 3.0, "sd": 2.0, "n": 3, "values": [1.0, 3.0, 5.0]}, "b": {"mean": 5.0, "sd": None, "n": 1}}


def test_one_seed_shows_the_spread_of_its_repetitions_and_several_show_their_own():
    one, two = Repeated([0.5, 0.7]), Repeated([0.9, 0.9])
    assert stage.summarised([{"f1": one}]) == {"f1": {"mean": 0.6, "sd": None, "n": 1, "spread": pytest.approx(0.02**0.5)}}
    assert stage.summarised([{"f1": one}, {"f1": two}])["f1"] == {"mean": 0.75, "sd": pytest.approx(0.045**0.5), "n": 2,
                                                                           "values": [0.6, 0.9]}
    assert stage.summarised([{"f1": Repeated([0.5])}]) == {"f1": {"mean": 0.5, "sd": None, "n": 1}}


@pytest.mark.parametrize("case", ["word2vec-receipts", "word2vec-documents", "translation-triples", "vae-images"])
def test_scoring_the_validation_split_is_scoring_it_in_the_test_splits_place(case, tmp_path, monkeypatch):
    make, headline, _ = CASES[case]
    data, moved = make(tmp_path / "a"), make(tmp_path / "b")
    for path in moved.glob("valid.*.npy"):
        path.replace(moved / path.name.replace("valid.", "test."))
    for path in data.glob("valid.*.npy"):
        (moved / path.name).write_bytes(path.read_bytes())
    run = write_run(tmp_path / "m" / "mine", case.partition("-")[0], data)
    found = [results(call(tmp_path, monkeypatch, run, d, reports=d.name, few=1, **more), "mine")[0]
             for d, more in ((data, {"split": "valid"}), (moved, {}), (data, {}))]
    assert found[0].pop("split") == "valid" and "split" not in found[2]
    if case == "translation-triples":  # the known triples of the two folders differ, raw ranks do not
        found = [{k: v for k, v in f.items() if k.startswith("raw_")} for f in found]
    assert found[0] == found[1] != found[2]


def refused(capsys, tmp_path, monkeypatch, *args, **kwargs):
    """The one line a user reads; nothing may have been written."""
    with pytest.raises(SystemExit) as stop:
        call(tmp_path, monkeypatch, *args, **kwargs)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and not list((tmp_path / "reports").glob("**/*.*"))
    return lines[0]


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    data = digits(tmp_path / "digits")
    run = write_run(tmp_path / "m" / "vae", "vae", data)
    gan = write_run(tmp_path / "m" / "gan", "gan", data)
    say = lambda *a, **k: refused(capsys, tmp_path, monkeypatch, *a, **k)  # noqa: E731
    assert "runs.vae.evaluate.shufles: unknown setting" in (line := say(run, data, shufles=3)) and "did you mean 'shuffles'" in line
    assert "1, 5, 50, 500, 5000" in say(run, data, iw=[7])
    assert "no such file" in say(tmp_path / "m" / "absent", data)
    assert "no such file" in say(run, tmp_path / "absent")
    assert "family gan has no features" in say(run, data, features=gan)
    (run / "0" / "weights.safetensors").write_bytes(b"\x80\x04 a pickle")
    assert "not a safetensors file" in say(run, data)


def test_data_without_a_test_split_is_one_line(tmp_path, monkeypatch, capsys):
    data = knowledge(tmp_path / "kg", test=0)
    assert "no test triple" in refused(capsys, tmp_path, monkeypatch, write_run(tmp_path / "m" / "t", "translation", data), data)


def test_not_a_number_is_refused_not_ranked_first(tmp_path, monkeypatch, capsys):
    data = sequences(tmp_path / "shop", "receipts")
    run = write_run(tmp_path / "m" / "p", "word2vec", data, change=lambda model: model.input[3].fill_(float("nan")))
    assert "run p, seed 0: scores hold NaN" in refused(capsys, tmp_path, monkeypatch, run, data)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_weights_that_are_no_numbers_leave_no_metrics(family, tmp_path, monkeypatch, capsys):
    data = digits(tmp_path / "digits")
    run = write_run(tmp_path / "m" / "mine", family, data, change=lambda model: [p.fill_(float("nan")) for p in model.parameters()])
    assert "run mine, seed 0: " in (line := refused(capsys, tmp_path, monkeypatch, run, data)) and "nan" in line.lower()


def test_a_graph_without_labels_and_held_out_edges_says_what_to_set(tmp_path, monkeypatch, capsys):
    data = network(tmp_path / "graph")
    np.save(data / "labels.npy", np.full(60, -1, np.int32))
    run = write_run(tmp_path / "m" / "walks", "random_walk", data)
    metrics, _ = results(call(tmp_path, monkeypatch, run, data, reports="linked"), "walks")
    assert metrics["headline"] == "auc" and "macro_f1_50" not in metrics
    (data / "heldout.edges.npy").unlink()
    capsys.readouterr()
    assert "set prepare.heldout" in refused(capsys, tmp_path, monkeypatch, run, data)


def test_a_kind_nobody_measures_names_those_that_are(tmp_path, monkeypatch, capsys):
    data = digits(tmp_path / "digits")
    run = write_run(tmp_path / "m" / "vae", "vae", data)
    meta = json.loads((data / "meta.json").read_text())
    write_json(data / "meta.json", {**meta, "kind": "imagess"})
    assert "did you mean 'images'" in refused(capsys, tmp_path, monkeypatch, run, data)
