"""Pairs of sequences: a tagger beside the commonest tag of each word, a translator beside the nearest training pair."""

from __future__ import annotations

import numpy as np
import torch

from stages.evaluate import attention
from stages.evaluate.bleu import corpus_bleu
from stages.evaluate.kinds.base import Kind, array, filled, need
from stages.evaluate.spelling import speller
from stages.models.base import split_rows
from stages.settings import InputError

ROWS = 128
UNKNOWN = 0
COPIED = 3  # words in a row that stand in source and target: fewer may do so by chance


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.words = {side: self.data.table(f"{side}.words") for side in ("source", "target")}
        self.source, self.target = self.side("source", self.split), self.side("target", self.split)
        filled(self.source, self.data, self.split, "pair")
        chosen = np.random.default_rng(self.settings.seed).permutation(len(self.source))[: self.settings.limit_pairs]
        self.rows = np.sort(chosen)

    def side(self, side, split):
        """Sequences of ids of one side of a split."""
        tokens, offsets = np.array(self.data[f"{split}.{side}.tokens"]), np.array(self.data[f"{split}.{side}.offsets"])
        return [tokens[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    def headline(self, metrics):
        return "exact_match" if "bleu" in metrics else "accuracy"

    def measure(self, model, seed):
        need(model, "pairs", "search", "tag_logits")
        return self.translated(model) if hasattr(model, "search") else self.tagging(self.tags(model))

    # taggers

    def tags(self, model):
        rows = np.arange(len(self.source))
        parts = [split_rows(model, self.data, self.split, part) for part in np.split(rows, range(ROWS, len(rows), ROWS))]
        return np.concatenate([array(model.tag_logits(p["source.tokens"], p["source.offsets"])).argmax(1) for p in parts])

    def tagging(self, chosen):
        truth = np.concatenate(self.target)
        if len(truth) != sum(map(len, self.source)):
            raise InputError(f"{self.data.folder}: sources and targets differ in length, so these pairs are no tags; choose family seq2seq")
        scores = []
        for tag in np.unique(truth):
            right = ((chosen == tag) & (truth == tag)).sum()
            scores.append(2 * right / max((chosen == tag).sum() + (truth == tag).sum(), 1))
        wrong = np.add.reduceat(chosen != truth, np.cumsum([0, *map(len, self.source[:-1])]))
        return {"accuracy": float((chosen == truth).mean()), "macro_f1": float(np.mean(scores)),
                "sequence_accuracy": float((wrong == 0).mean())}

    def commonest(self):
        """(commonest tag of each source word in training, commonest of all)."""
        counted = np.zeros((len(self.words["source"]), len(self.words["target"])), np.int64)
        np.add.at(counted, (np.array(self.data["train.source.tokens"]), np.array(self.data["train.target.tokens"])), 1)
        overall = counted.sum(0).argmax()
        return np.where(counted.sum(1) > 0, counted.argmax(1), overall), overall

    # translators

    def translated(self, model):
        exact, found, forced, widths, hits, likeliest = {}, {}, [], [], [], []
        wanted = [self.target[r] for r in self.rows]
        for beam in (1, self.settings.beam):
            made = []
            for part in np.split(self.rows, range(ROWS, len(self.rows), ROWS)):
                batch = split_rows(model, self.data, self.split, part)
                texts, maps = model.search(batch["source.tokens"], batch["source.offsets"], beam)
                made += texts
                if beam == 1:
                    widths += [attention.entropies(array(m)) for m in maps if m.numel()]
                    hits += [near for r, text, weights in zip(part, texts, maps, strict=True) if weights.numel()
                             for near in aligned(array(weights), self.copies(r, text))]
                    losses, right, row = model.forced(batch)
                    likeliest.append(array(right))
                    every = torch.ones(len(part), dtype=torch.bool).scatter_reduce(0, row, right, "amin")
                    forced.append(np.stack([array(every.float()), array(torch.zeros(len(part)).index_add(0, row, losses))], 1))
            exact[beam] = self.exactly(made)
            if beam == 1:
                found["bleu"], self.made = self.bleu(made), made
            else:
                found["bleu_beam"] = self.bleu(made)
        every, losses = np.concatenate(forced).T
        every = every * self.known
        self.exact, forced_words = exact[1], float(np.concatenate(likeliest).mean())
        if widths:
            found["attention_entropy"] = float(np.concatenate(widths).mean())
        if hits:
            found["alignment"] = float(np.mean(hits))
        free_words = float(np.mean([same for a, b in zip(self.made, wanted, strict=True) for same in in_place(a, b)]))
        found |= {"accuracy_forced": forced_words, "accuracy_free": free_words, "exposure_gap_words": forced_words - free_words}
        return {"exact_match": float(exact[1].mean()), "exact_match_beam": float(exact[self.settings.beam].mean()), **found,
                "exact_match_forced": float(every.mean()), "exposure_gap": float(every.mean() - exact[1].mean()),
                "perplexity_target": float(np.exp(losses.sum() / sum(len(t) + 1 for t in wanted)))} | self.by_length(exact[1])

    @property
    def known(self):
        """Whether the target has known words alone, bool [rows]: one with another can be right by no translation."""
        return np.array([UNKNOWN not in self.target[r] for r in self.rows])

    def exactly(self, made):
        return self.known & np.array([a == self.target[r] for a, r in zip(made, self.rows, strict=True)])

    def bleu(self, made, rows=None):
        """BLEU of translations of the rows (places in `self.rows`, default all): of the dataset's tokens, or of running text where those

        are pieces of words. An unknown word of the target is never right.
        """
        rows = range(len(self.rows)) if rows is None else rows
        pairs = [(made[i], self.target[self.rows[i]]) for i in rows]
        if "subwords" in self.data.meta:
            texts = [(self.spelt("target", a), self.spelt("target", b).replace("<unk>", "<unseen>")) for a, b in pairs]
        else:
            texts = [(" ".join(map(str, a)), " ".join(str(w) if w != UNKNOWN else "unseen" for w in b)) for a, b in pairs]
        found, self.signature = corpus_bleu(*zip(*texts, strict=True), tokenize="13a" if "subwords" in self.data.meta else "none")
        return found

    def copies(self, row, text):
        """Places of a text in the source of test pair `row`."""
        source, target = self.words["source"], self.words["target"]
        return copied([source[w] for w in self.source[row]], [target[w] for w in text])

    def by_length(self, exact):
        """Exact match of the shorter and of the longer targets, where they differ in length."""
        lengths = np.array([len(self.target[r]) for r in self.rows])
        long = lengths > np.median([lengths.min(), lengths.max()])
        if long.all() or not long.any():
            return {}
        return {"exact_match_short": float(exact[~long].mean()), "exact_match_long": float(exact[long].mean())}

    def nearest(self):
        """Targets of the training pairs whose sources share most pairs of neighbouring words (cosine of their counts)."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.preprocessing import normalize

        counter = CountVectorizer(analyzer=lambda words: list(zip(words[:-1], words[1:], strict=True)) or [tuple(words)])
        train = normalize(counter.fit_transform(self.side("source", "train")).astype(np.float32))
        test = normalize(counter.transform([self.source[r] for r in self.rows]).astype(np.float32))
        targets = self.side("target", "train")
        return [targets[i] for i in np.asarray((test @ train.T).argmax(1)).ravel()]

    def baselines(self, model, fresh):
        """majority: the commonest tag; most_frequent_tag: of each word; nearest_pair: the target of the most similar training source;

        uniform_attention: as often as the most attended word would be right if each of the source were it as often.
        """
        if not hasattr(model, "search"):
            of_word, overall = self.commonest()
            flat = np.concatenate(self.source)
            return {"majority": self.tagging(np.full(len(flat), overall)), "most_frequent_tag": self.tagging(of_word[flat])}
        made = self.nearest()
        exact = self.exactly(made)
        found = {"nearest_pair": {"exact_match": float(exact.mean()), "bleu": self.bleu(made), **self.by_length(exact)}}
        chances = [chance for r in self.rows for chance in evenly(len(self.source[r]), self.copies(r, self.target[r]))]
        if model.config.attention != "none" and chances:
            found["uniform_attention"] = {"alignment": float(np.mean(chances))}
        return found

    def spelt(self, side, ids):
        return speller(self.words[side], "subwords" in self.data.meta)(ids)

    def exhibit(self, model, gallery, seed):
        if not hasattr(model, "search"):
            return self.exhibit_tags(model, gallery)
        for side, texts in (("source", self.source), ("target", self.target)):
            rows = [[name, int(own.sum()), round(float(self.exact[own].mean()), 4), round(self.bleu(self.made, np.flatnonzero(own)), 4)]
                    for name, own in classes(np.array([len(texts[r]) for r in self.rows]))]
            gallery.table(f"By length of the {side}", [f"words of the {side}", "pairs", "exact match", "BLEU"], rows,
                          f"Greedy search. BLEU is sacrebleu's, {self.signature}.")
        shown = np.linspace(0, len(self.rows) - 1, 12).astype(int)
        rows = [[self.spelt("source", self.source[self.rows[i]]), self.spelt("target", self.target[self.rows[i]]),
                 self.spelt("target", self.made[i])] for i in shown]
        gallery.table("Translations", ["source", "right", "made"], rows, "Greedy search.")
        if model.config.attention != "none":
            self.exhibit_attention(model, gallery)

    def exhibit_attention(self, model, gallery):
        """Maps of two sources as pictures, where the font has the letters of both sides; words longer than a map names as a table too."""
        rows = self.rows[:ROWS]
        batch, found = split_rows(model, self.data, self.split, rows), []
        for row, words, weights in zip(rows, *model.search(batch["source.tokens"], batch["source.offsets"]), strict=True):
            read, weights = [self.words["source"][w] for w in self.source[row]], array(weights)
            written = [*(self.words["target"][w] for w in words), "end"][: len(weights)]
            found.append((self.spelt("source", self.source[row]), weights[: len(written), : len(read)], read, written))
        chosen = [f for f in found if drawable(f[2], f[3])][:2] or found[:2]
        for number, (source, weights, read, written) in enumerate(chosen):
            if drawable(read, written):
                gallery.picture(f"attention{number}", attention.heat(weights, read, written), f"Attention, {source}",
                                "A row a word written, a column a word read, darker where it is attended; mean entropy "
                                f"{attention.entropies(weights).mean():.2f} nats.")
            if not drawable(read, written) or max(map(len, [*read, *written[:-1]]), default=0) > attention.NAMED:
                gallery.table(f"Attention, word by word, {source}", ["word written", "word attended most", "its weight", "entropy, nats"],
                              attention.alignment(weights, read, written), "Greedy search.")

    def exhibit_tags(self, model, gallery):
        chosen, truth = self.tags(model), np.concatenate(self.target)
        of_word = self.commonest()[0][np.concatenate(self.source)]
        rows = [[self.words["target"][t], int((truth == t).sum()), round(float((chosen == t)[truth == t].mean()), 4),
                 round(float((of_word == t)[truth == t].mean()), 4)] for t in np.unique(truth)]
        gallery.table("Recall by tag", ["tag", "tokens", "recall", "by the word's commonest tag"], sorted(rows, key=lambda r: -r[1]))
        ends = np.cumsum([len(s) for s in self.source])
        shown = [(i, ends[i] - len(self.source[i]), ends[i]) for i in np.linspace(0, len(self.source) - 1, 8).astype(int)]
        gallery.table("Tagged", ["tokens", "tags; in brackets what is right where the model is not"], [
            [self.spelt("source", self.source[i]), " ".join(self.words["target"][c] + (f"({self.words['target'][t]})" if c != t else "")
                                                            for c, t in zip(chosen[a:b], truth[a:b], strict=True))] for i, a, b in shown])


def drawable(read: list[str], written: list[str]) -> bool:
    """Whether the font of a map has the letters of both sides."""
    return all(word.isascii() for word in (*read, *written))


def classes(lengths: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """(name, which: bool [n]) of lengths: each by itself where they are few, else quarters."""
    different = np.unique(lengths)
    if len(different) <= 4:
        return [(str(n), lengths == n) for n in different]
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1.0]).astype(int))
    found = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        last = b == edges[-1]
        own = (lengths >= a) & ((lengths <= b) if last else (lengths < b))
        found += [(f"{a} to {b if last else b - 1}", own)] if own.any() else []
    return found


def copied(source: list, target: list) -> dict[int, int]:
    """{place in the target: place in the source} of what is written as it was read: stretches of COPIED words that the source has once."""
    found, last = {}, len(source) - COPIED + 1
    for i in range(len(target) - COPIED + 1):
        there = [j for j in range(last) if source[j : j + COPIED] == target[i : i + COPIED]]
        if len(there) == 1:
            found |= {i + d: there[0] + d for d in range(COPIED)}
    return found


def aligned(weights: np.ndarray, copies: dict[int, int]) -> list[bool]:
    """Whether the most attended word is the copied one or beside it, of each place of `copies`; weights [written, read]."""
    return [abs(int(weights[i].argmax()) - j) <= 1 for i, j in copies.items()]


def evenly(words: int, copies: dict[int, int]) -> list[float]:
    """The chance of that for each place, were every one of the source's words the most attended as often."""
    return [(min(j + 2, words) - max(j - 1, 0)) / words for j in copies.values()]


def in_place(made: list[int], wanted: list[int]) -> list[bool]:
    """Whether each wanted word, and its end, stands in the same place of what was made."""
    return [i < len(made) and made[i] == word for i, word in enumerate(wanted)] + [len(made) == len(wanted)]
