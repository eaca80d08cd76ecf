"""The evaluation of graphs as a run sees it: whose labels count, several labels a node, what the page shows."""

import numpy as np
import pytest
import torch

from stages.evaluate.gallery import Gallery
from stages.evaluate.kinds.base import Setting
from stages.evaluate.kinds.graph import Evaluation
from stages.evaluate.settings import EvaluateSettings
from stages.files import write_json
from stages.prepared import Prepared
from stages.settings import InputError


class Vectors:
    def __init__(self, table):
        self.table = torch.from_numpy(np.asarray(table, np.float32))

    def vectors(self):
        return {"node": self.table}


def graph(folder, truth, reserved, alone=()):
    """Nodes that share a label are linked; `alone` have no edge."""
    linked = (truth @ truth.T.astype(int) > 0) & ~np.eye(len(truth), dtype=bool)
    linked[list(alone)] = linked[:, list(alone)] = False
    folder.mkdir()
    arrays = {"indptr": np.r_[0, np.cumsum(linked.sum(1))].astype(np.int64), "indices": np.nonzero(linked)[1].astype(np.int32),
              "weights": np.ones(linked.sum(), np.float32), "labels": np.where(truth.any(1), truth.argmax(1), -1).astype(np.int32),
              "label_matrix": truth, "labels_valid": reserved}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_json(folder / "nodes.json", [f"n{i}" for i in range(len(truth))])
    write_json(folder / "labels.json", [f"label {i}" for i in range(truth.shape[1])])
    write_json(folder / "meta.json", {"kind": "graph", "classes": truth.shape[1], "nodes": len(truth)})
    return Prepared(folder)


def evaluation(data, **settings):
    return Evaluation(Setting(data, {}, EvaluateSettings(shuffles=3, **settings)))


def several(n=160, seed=0):
    truth = np.random.default_rng(seed).random((n, 4)) < 0.4
    truth[np.arange(n), np.arange(n) % 4] = True
    return truth


def test_labels_of_validation_nodes_are_scored_there_and_only_there(tmp_path):
    truth, reserved = several(), np.arange(160) % 4 == 3
    told = np.where(reserved[:, None], truth, np.random.default_rng(1).random(truth.shape))  # vectors that know validation nodes alone
    data = graph(tmp_path / "data", truth, reserved)
    found = {split: evaluation(data, split=split).measure(Vectors(told), 0) for split in ("valid", "test")}
    assert found["valid"]["micro_f1_90"] > 0.95 and found["test"]["micro_f1_90"] < 0.8
    told = np.where(reserved[:, None], np.random.default_rng(1).random(truth.shape), truth)
    assert evaluation(data).measure(Vectors(told), 0)["micro_f1_90"] > 0.9 > evaluation(data, split="valid").measure(Vectors(told), 0)[
        "micro_f1_90"]


def test_a_page_shows_f1_against_the_share_of_labels_beside_the_baselines(tmp_path):
    truth = several()
    truth[7] = False  # a node without a label
    data = graph(tmp_path / "data", truth, np.zeros(160, bool), alone=(5, 6, 7))
    kind, gallery, model = evaluation(data), Gallery(), Vectors(truth)
    metrics, rivals = kind.measure(model, 0), kind.baselines(model, None)
    kind.exhibit(model, gallery, 0)
    assert metrics["micro_f1_50"] > 0.95 and kind.headline(metrics) == "macro_f1_50"
    names = {f"{a}_f1_{s}" for a in ("micro", "macro") for s in (2, 10, 50, 90)}
    assert all(names <= set(rivals[name]) for name in ("spectral", "label_propagation", "majority"))
    pictures = {p["file"]: p for p in gallery.details["pictures"]}
    assert {"macro_f1.png", "micro_f1.png", "map.png"} <= set(pictures)
    assert f"{metrics['macro_f1_50']:.3f} at 50 %" in pictures["macro_f1.png"]["alt"] and "spectral" in pictures["macro_f1.png"]["alt"]
    table = next(t for t in gallery.details["tables"] if t["title"] == "Macro-F1 by share of labels")
    assert table["rows"][0][0] == "this run" and table["rows"][0][3] == metrics["macro_f1_50"]
    assert "2 labelled nodes have no edge" in table["note"]  # 5 and 6; 7 has no label


def test_too_few_labels_for_choosing_settings_are_one_line(tmp_path):
    data = graph(tmp_path / "data", several(), np.arange(160) < 10)
    with pytest.raises(InputError, match="in the valid split: nothing to measure; set prepare.heldout_valid, .* or raise prepare.valid"):
        evaluation(data, split="valid")
