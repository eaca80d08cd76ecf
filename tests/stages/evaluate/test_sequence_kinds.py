"""Texts, bags, pairs, series and questions through the whole stage, and each metric where it must be perfect or chance."""

import json
import math

import numpy as np
import pytest
import torch

from stages.evaluate import attention, topics
from stages.evaluate.gallery import Gallery
from stages.evaluate.kinds import counts, pairs, questions, series
from stages.evaluate.kinds.base import Setting
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.texts import Texts
from stages.models import text_vae
from stages.models.base import split_rows
from stages.prepared import Prepared
from stages.settings import InputError, configure
from tests.stages.evaluate import test_evaluate_runs as runs

SPLITS = (("train", 80), ("valid", 20), ("test", 24))


def ragged(rng, n, size, low=1, lengths=None):
    rows = [rng.integers(low, size, k) for k in (rng.integers(2, 7, n) if lengths is None else lengths)]
    return np.concatenate(rows).astype(np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)


def bags(folder, labelled=True):
    rng, arrays = np.random.default_rng(0), {}
    for split, n in SPLITS:
        theme = rng.integers(0, 2, n)
        rows = [np.unique(rng.integers(1, 11, 6) + 10 * t) for t in theme]
        rows[3] = rows[3][:0]
        arrays[f"{split}.words"] = np.concatenate(rows).astype(np.int32)
        arrays[f"{split}.offsets"] = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        arrays[f"{split}.counts"] = rng.integers(1, 3, len(arrays[f"{split}.words"])).astype(np.int32)
        arrays[f"{split}.labels"] = (theme if labelled else np.full(n, -1)).astype(np.int32)
    arrays["counts"] = np.bincount(arrays["train.words"], arrays["train.counts"], 21).astype(np.int64)
    meta = {"domain": "corpora", "kind": "counts", "words": 21, "classes": 2}
    return runs.write_prepared(folder, meta, arrays, {"words": [f"w{i}" for i in range(21)], "labels": ["a", "b"]})


def tagged(folder):
    rng, arrays = np.random.default_rng(1), {}
    for split, n in SPLITS:
        source, offsets = ragged(rng, n, 12, 3)
        arrays |= {f"{split}.source.tokens": source, f"{split}.source.offsets": offsets,
                   f"{split}.target.tokens": (source % 4 + 3).astype(np.int32), f"{split}.target.offsets": offsets}
    meta = {"domain": "corpora", "kind": "pairs", "source_words": 12, "target_words": 7}
    return runs.write_prepared(folder, meta, arrays, {"source.words": ["<unk>", "<s>", "</s>", *"abcdefghi"],
                                                      "target.words": ["<unk>", "<s>", "</s>", *"wxyz"]})


def seasons(folder, sums=False):
    rng, arrays = np.random.default_rng(2), {}
    for split, n in SPLITS:
        t = np.arange(24)[None, :, None]
        arrays[f"{split}.series"] = np.sin(2 * np.pi * (t / 6 + rng.random((n, 1, 1)))).astype(np.float32)
        arrays[f"{split}.factors"] = arrays[f"{split}.series"].sum(1).astype(np.float64)
    meta = {"domain": "images", "kind": "series", "shape": [24, 1], "factors": ["sum"] if sums else ["slope"], "period": 6}
    return runs.write_prepared(folder, meta, arrays, {"labels": [], "factors": meta["factors"]})


def asked(folder):
    rng, arrays = np.random.default_rng(3), {}
    for split, n in SPLITS:
        for side in ("question", "answer"):
            arrays[f"{split}.{side}.tokens"], arrays[f"{split}.{side}.offsets"] = ragged(rng, n, 15)
        arrays[f"{split}.ids"], arrays[f"{split}.labels"] = (np.arange(n) // 4).astype(np.int32), (np.arange(n) % 4 == 1).astype(np.int32)
        arrays[f"{split}.labels"][:4] = 0  # a question without a right answer
    arrays["counts"] = np.ones(15, np.int64)
    return runs.write_prepared(folder, {"domain": "corpora", "kind": "questions", "words": 15}, arrays, {"words": list("abcdefghijklmno")})


def lines(folder):
    made = runs.sequences(folder, "documents")
    for split in ("train", "valid", "test"):
        tokens, offsets = (np.load(made / f"{split}.{name}.npy") for name in ("tokens", "offsets"))
        place = np.arange(len(tokens)) - np.repeat(offsets[:-1], np.diff(offsets))
        np.save(made / f"{split}.sentences.npy", (place // 3).astype(np.int32))
    return made


SMALL = {"text_vae": {"latent": 3, "embedding": 4, "hidden": 6, "longest": 8},
         "ml_vae": {"latent": 3, "upper": 2, "embedding": 4, "hidden": 6, "longest": 4, "sentences": 3},
         "nvdm": {"latent": 3, "hidden": [6]}, "recurrent": {"hidden": 6, "embedding": 4},
         "nasm": {"latent": 3, "embedding": 4, "hidden": 5},
         "seq2seq": {"hidden": 6, "embedding": 4, "attention": "additive", "longest": 8}}
CASES = {
    "text_vae": (lines, "elbo", {"unigram", "kneser_ney", "floor"}), "ml_vae": (lines, "elbo", {"unigram", "kneser_ney", "floor"}),
    "nvdm": (bags, "perplexity_document", {"unigram", "lda", "tf_idf"}),
    "recurrent-tags": (tagged, "accuracy", {"majority", "most_frequent_tag"}),
    "recurrent-forecast": (seasons, "mse", {"naive_forecast", "seasonal_naive"}),
    "recurrent-sum": (lambda f: seasons(f, True), "mse", {"mean"}), "recurrent-images": (runs.digits, "accuracy", None),
    "seq2seq": (tagged, "exact_match", {"nearest_pair"}), "nasm": (asked, "map", {"overlap", "query_likelihood", "lda", "equal_scores"}),
}


LAGS = ("recurrent-forecast", "recurrent-sum", "recurrent-images")


@pytest.mark.parametrize("case", CASES)
def test_every_kind_is_measured_beside_its_baselines(case, tmp_path, monkeypatch):
    make, headline, baselines = CASES[case]
    monkeypatch.setattr(runs, "MODELS", runs.MODELS | SMALL)
    data = make(tmp_path / "data")
    run = runs.write_run(tmp_path / "models" / "mine", case.partition("-")[0], data)
    metrics, details = runs.results(runs.call(tmp_path, monkeypatch, run, data, iw=[5], lda_topics=[2], sentences=20), "mine")
    assert metrics["headline"] == headline and (baselines is None or set(metrics["baselines"]) == baselines)
    assert any(headline in values for values in metrics["baselines"].values()) and (details["tables"] or details["pictures"])
    assert ("Gradient by lag" in [table["title"] for table in details["tables"]]) == (case in LAGS)


def of(kind, folder, **settings):
    return kind.Evaluation(Setting(Prepared(folder), {}, EvaluateSettings(**settings)))


class Spy(torch.nn.Module):
    def __init__(self, **found):
        super().__init__()
        self.__dict__.update(found)


def test_bags_perplexity_by_hand_retrieval_of_the_very_label_and_empty_ones_counted(tmp_path):
    evaluation = of(counts, bags(tmp_path / "d"), iw=(1,))
    whole, size = evaluation.bags("test"), 21
    label = Prepared(tmp_path / "d")["test.labels"]
    words = lambda b: torch.zeros(len(b["offsets"]) - 1, size).index_put_(  # noqa: E731
        (torch.repeat_interleave(torch.arange(len(b["offsets"]) - 1), b["offsets"].diff()), b["words"]), b["counts"].float())

    def bound(batch, generator=None):
        return words(batch).sum(1) * math.log(5), torch.zeros(len(words(batch)), 2)

    model = Spy(bound=bound, posterior=lambda b: (torch.zeros(len(words(b)), 2),) * 2, log_likelihood=lambda b, k, g: -bound(b)[0],
                encode=lambda b: torch.stack([words(b)[:, 1:11].sum(1), words(b)[:, 11:].sum(1)], 1), topics=lambda: torch.eye(2, size),
                inputs=("words", "counts"), ragged={"words": "offsets", "counts": "offsets"})
    found = evaluation.measure(model, 0)
    assert found["perplexity_document"] == pytest.approx(5) == found["perplexity_corpus"] == found["perplexity_document_iw_1"]
    assert found["empty_documents"] == (whole.lengths == 0).sum() == 1 and found["active_units"] == 0
    assert found["retrieval_precision_10"] == 1.0 and len(label) == 24
    assert evaluation.retrieval(evaluation.weighted) == {"retrieval_precision_10": 1.0}, "the themes share no word"
    unlabelled = of(counts, bags(tmp_path / "e", labelled=False))
    assert unlabelled.retrieval(unlabelled.weighted) == {}


def test_the_labels_of_the_nearest_against_plain_loops():
    rng = np.random.default_rng(0)
    known, asked, labels, truth = rng.normal(size=(30, 3)), rng.normal(size=(7, 3)), rng.integers(0, 3, 30), rng.integers(0, 3, 7)
    shares = []
    for code, own in zip(asked, truth, strict=True):
        cosines = [code @ k / math.sqrt((code @ code) * (k @ k)) for k in known]
        near = sorted(range(30), key=lambda i: -cosines[i])[:4]
        shares.append(sum(labels[i] == own for i in near) / 4)
    assert topics.same_label_nearby(known, labels, asked, truth, 4) == pytest.approx(np.mean(shares))


def test_the_commonest_tag_is_all_there_is_to_know_and_what_are_no_tags_is_said(tmp_path):
    evaluation = of(pairs, tagged(tmp_path / "d"))
    found = evaluation.baselines(Spy(), None)
    assert found["most_frequent_tag"] == {"accuracy": 1.0, "macro_f1": 1.0, "sequence_accuracy": 1.0}
    assert found["majority"]["accuracy"] < 0.6
    chosen = np.concatenate(evaluation.target)
    chosen[[0, len(evaluation.target[0])]] += 1  # the first tags of the first two sequences
    assert evaluation.tagging(chosen)["sequence_accuracy"] == pytest.approx(1 - 2 / 24)
    data = tmp_path / "d" / "test.source.offsets.npy"
    shorter = np.load(data)
    shorter[-1] -= 1
    np.save(data, shorter)
    with pytest.raises(InputError, match="sources and targets differ in length"):
        of(pairs, tmp_path / "d").baselines(Spy(), None)


def test_translations_by_hand(tmp_path):
    """Right ones, one that misses its last word, and targets with an unknown word, which nothing can match."""
    made = tagged(tmp_path / "d")
    data = made / "test.target.tokens.npy"
    ids, ends = np.load(data), np.load(made / "test.target.offsets.npy")
    ids[ends[2]] = 0
    np.save(data, ids)
    evaluation = of(pairs, made)
    right = [t[:] for t in evaluation.target]
    right[1] = right[1][:-1]
    evaluation.made = right
    assert evaluation.exactly(right).tolist() == [True, False, False, *[True] * 21]
    assert evaluation.bleu(right, [0]) == (pytest.approx(1.0) if len(right[0]) >= 4 else 0.0)
    assert evaluation.bleu(right) < 1.0 and "tok:none" in evaluation.signature
    found = dict((name, own.sum()) for name, own in pairs.classes(np.array([3, 3, 10, 3])))
    assert found == {"3": 3, "10": 1}
    quarters = pairs.classes(np.arange(1, 101))
    assert [name for name, _ in quarters] == ["1 to 24", "25 to 49", "50 to 74", "75 to 100"]
    assert sum(own.sum() for _, own in quarters) == 100


def test_attention_by_hand():
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    assert attention.entropies(weights) == pytest.approx([math.log(2), 0.0])
    assert attention.alignment(weights, ["سلام", "b"], ["x", "end"]) == [["x", "سلام", 0.5, 0.693], ["end", "b", 1.0, 0.0]]
    dark = attention.heat(weights, ["a", "b", ""], ["x", "end"])
    assert dark.shape == (18 + 14 * 2 + 6, 18 + 14 * 3 + 24, 3) and (dark[18 + 14 + 5, 18 + 14 + 5] == (0, 0, 255)).all()


@pytest.mark.parametrize(("words", "pictures", "tables"), [("wxyz", 2, 0), ("سلاد", 0, 2), (["www", "xxx", "yyy", "zzz"], 2, 2)])
def test_a_map_is_drawn_where_its_font_has_both_sides_and_long_words_stand_in_a_table(tmp_path, words, pictures, tables):
    evaluation, gallery = of(pairs, tagged(tmp_path / "d")), Gallery()
    evaluation.words["target"] = ["<unk>", "<s>", "</s>", *words]

    def search(tokens, offsets):
        lengths = offsets.diff().tolist()
        return [[3, 4, 5, 6, 6, 6][:n] for n in lengths], [torch.full((n + 1, max(lengths)), 1 / n) for n in lengths]

    evaluation.exhibit_attention(Spy(search=search, inputs=("source.tokens",), ragged={"source.tokens": "source.offsets"}), gallery)
    assert len(gallery.details["pictures"]) == pictures and len(gallery.details["tables"]) == tables
    for table in gallery.details["tables"]:
        assert table["rows"][0][0] == words[0] and len(table["rows"]) == len(table["title"].split(", ")[-1]) + 1


def test_a_season_that_repeats_is_forecast_by_its_naive_method_and_by_a_model_that_knows(tmp_path):
    evaluation = of(series, seasons(tmp_path / "d"))
    found = evaluation.baselines(None, None)
    assert max(found["seasonal_naive"].values()) < 1e-5 and found["naive_forecast"]["mse"] > 0.1

    def knows(x):  # sin(a + d) = 2 cos(d) sin(a) - sin(a - d)
        back = torch.cat([x[:, :1], x[:, :-1]], 1)
        return 2 * math.cos(2 * math.pi / 6) * x - back

    scored = evaluation.measure(Spy(forecast=knows), 0)
    assert scored["mse"] < 1e-9 and scored["mse_free_running"] < 1e-7


def test_questions_by_hand(tmp_path):
    evaluation = of(questions, asked(tmp_path / "d"))
    labels = Prepared(tmp_path / "d")["test.labels"].astype(float)
    for name in ("test.labels", "valid.labels"):
        np.save(tmp_path / "d" / f"{name}.npy", np.zeros_like(np.load(tmp_path / "d" / f"{name}.npy")))
    with pytest.raises(InputError, match="no question of its test split has a right and a wrong answer"):
        of(questions, tmp_path / "d")
    assert evaluation.left_out == 1 and evaluation.ranked(labels) == {"map": 1.0, "mrr": 1.0}
    q, a = (Prepared(tmp_path / "d")[f"test.{side}.tokens"] for side in ("question", "answer"))
    ends = [Prepared(tmp_path / "d")[f"test.{side}.offsets"] for side in ("question", "answer")]
    shares = np.maximum(np.bincount(Prepared(tmp_path / "d")["train.answer.tokens"], minlength=15), 0.5)
    own = a[: ends[1][1]].tolist()
    wanted = sum(math.log((own.count(w) + 10 * shares[w] / shares.sum()) / (len(own) + 10)) for w in q[: ends[0][1]].tolist())
    assert evaluation.query_likelihood("test", 10.0)[0] == pytest.approx(wanted)
    slow = []
    for rows in evaluation.groups:  # two right answers each: the i-th of them at place r gives i / r
        evaluation.labels[rows] = np.random.default_rng(len(slow)).permutation([1, 1, 0, 0])
        order = np.argsort(-(rows % 7), kind="stable")
        places = [place for place, row in enumerate(rows[order], 1) if evaluation.labels[row] == 1]
        slow.append((1 / places[0], np.mean([i / place for i, place in enumerate(places, 1)])))
    found = evaluation.ranked(np.arange(len(labels)) % 7 + 0.0)
    assert (found["mrr"], found["map"]) == pytest.approx(tuple(np.mean(slow, 0)))
    evaluation.labels = labels.astype(int)
    assert evaluation.ranked(-labels) == {"map": 0.25, "mrr": 0.25} and evaluation.ranked(0 * labels) == {"map": 0.4, "mrr": 0.4}


def test_topics_rank_the_answer_of_the_same_theme_that_shares_no_word(tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 400), ("valid", 40), ("test", 40)):
        theme = np.repeat(rng.integers(0, 2, n // 2), 2)  # a question has a right and a wrong answer
        right = np.arange(n) % 2 == 0
        rows = {"question": [1 + 10 * t + rng.permutation(5)[:3] for t in theme],
                "answer": [1 + 10 * (t if r else 1 - t) + (rng.permutation(10)[:5] if split == "train" else 5 + rng.permutation(5))
                           for t, r in zip(theme, right, strict=True)]}
        for side, texts in rows.items():
            arrays[f"{split}.{side}.tokens"] = np.concatenate(texts).astype(np.int32)
            arrays[f"{split}.{side}.offsets"] = np.cumsum([0, *map(len, texts)]).astype(np.int64)
        arrays[f"{split}.ids"], arrays[f"{split}.labels"] = (np.arange(n) // 2).astype(np.int32), right.astype(np.int32)
    arrays["counts"] = np.ones(21, np.int64)
    made = runs.write_prepared(tmp_path / "d", {"domain": "corpora", "kind": "questions", "words": 21}, arrays,
                               {"words": [f"w{i}" for i in range(21)]})
    found = of(questions, made, lda_topics=[2], lda_alpha=[0.1, 1.0]).baselines(None, None)
    assert found["lda"]["map"] > 0.95 and found["overlap"]["map"] == found["equal_scores"]["map"] == pytest.approx(2 / 3)


@torch.no_grad()
def test_every_account_of_a_text_by_hand(tmp_path):
    data = Prepared(lines(tmp_path / "d"))
    torch.manual_seed(0)
    model = text_vae.Model(configure(text_vae.Config, SMALL["text_vae"] | {"regularise": "mean"}, "m"), data.meta).eval()
    found = Texts(data, "test", EvaluateSettings(iw=(1, 50), sentences=1000)).measure(model, 0)
    batch = split_rows(model, data, "test", np.arange(60))
    mean, log_variance, _ = model.posterior(batch)
    at_mean = model.distortion(batch, mean)
    rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    assert found["reconstruction_nll"] == pytest.approx(at_mean.mean().item(), rel=1e-5) and found["iw_texts"] == 60
    assert found["kl"] == pytest.approx(rate.mean().item(), rel=1e-4) == found["kl_last_step"]
    both = (mean.var(0) > 0.01) & ((0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)).mean(0) > 0.01)
    assert found["active_units_kl"] == both.sum() <= found["active_units"]
    assert found["elbo"] == pytest.approx(found["distortion"] + found["kl"], rel=1e-6)
    assert found["published_loss"] == pytest.approx(found["reconstruction_nll"] + model.kl_over_time(batch)[0].mean().item(), rel=1e-5)
    words = len(data["test.tokens"]) + 60  # ends are predicted too
    assert found["perplexity_published"] == pytest.approx(math.exp(60 * found["published_loss"] / words), rel=1e-5)
    assert found["perplexity_elbo"] == pytest.approx(math.exp(60 * found["elbo"] / words), rel=1e-5)
    assert found["iw_50"] < found["iw_1"] + 0.05 and json.loads(json.dumps(found)) == found


def test_where_a_copied_stretch_stands():
    assert pairs.copied(list("on 2021 or 2022"), list("2021-2022")) == {1: 4, 2: 5, 3: 6, 6: 12, 7: 13, 8: 14}  # 202 stands twice
    assert pairs.copied(list("ab"), list("abc")) == {} == pairs.copied(list("abc"), list("ab"))


def test_alignment_is_the_share_of_copied_words_that_look_at_their_own():
    weights = np.zeros((4, 6))
    weights[[0, 1, 2, 3], [2, 4, 5, 0]] = 1
    assert pairs.aligned(weights, {0: 2, 1: 3, 2: 3}) == [True, True, False]
    assert pairs.evenly(6, {0: 0, 1: 3, 2: 5}) == pytest.approx([2 / 6, 3 / 6, 2 / 6])
    rng = np.random.default_rng(0)
    drawn = [hit for _ in range(4000) for hit in pairs.aligned(rng.random((3, 6)), {0: 0, 1: 3, 2: 5})]
    assert np.mean(drawn) == pytest.approx(np.mean(pairs.evenly(6, {0: 0, 1: 3, 2: 5})), abs=0.02)


def test_words_in_place_count_the_end():
    assert pairs.in_place([5, 6, 7], [5, 9, 7]) == [True, False, True, True]
    assert pairs.in_place([5], [5, 9]) == [True, False, False] and pairs.in_place([5, 6, 7], [5, 6]) == [True, True, False]
