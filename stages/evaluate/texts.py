"""Language models and text VAEs side by side: what a text costs by every account, which accounts are bounds, and what a code holds."""

from __future__ import annotations

import math

import numpy as np
import torch

from stages.evaluate import generative
from stages.evaluate.bleu import self_bleu
from stages.evaluate.kinds.base import array, filled
from stages.evaluate.latents import ACTIVE, STEPS
from stages.evaluate.ngrams import KneserNey
from stages.evaluate.spelling import speller
from stages.models.base import split_rows

ROWS = 64
HELD = 2000  # codes' draws times texts held at once
DRAWN = 200  # texts for self-BLEU
ACCOUNTS = {"reconstruction_nll": ("reconstruction at the mean", "perplexity_reconstruction", "no bound: the code is free"),
            "elbo": ("negative ELBO", "perplexity_elbo", "upper bound"),
            "published_loss": ("reconstruction at the mean + KL averaged over time", "perplexity_published",
                               "no bound, but what is published for TWR-VAE")}


class Texts:
    """The texts of a split that has any word, their lengths with the end, and the sample for importance-weighted bounds."""

    def __init__(self, data, split: str, settings):
        self.data, self.split, self.settings = data, split, settings
        offsets = np.array(data[f"{split}.offsets"])
        self.rows = np.flatnonzero(np.diff(offsets) > 0)
        filled(self.rows, data, split, "document")
        self.lengths = np.diff(offsets)[self.rows] + 1
        chosen = np.random.default_rng(settings.seed).permutation(len(self.rows))[: settings.sentences]
        self.sample = np.sort(chosen)  # places in `rows`

    def batches(self, model, rows, size=ROWS):
        """Batches of the rows, and which of them each holds; rows of about one length together."""
        offsets = np.array(self.data[f"{self.split}.offsets"])
        order = np.argsort(np.diff(offsets)[rows], kind="stable")
        for part in np.split(order, range(size, len(rows), size)):
            yield part, split_rows(model, self.data, self.split, rows[part])

    def over(self, model, rows, measured):
        """`measured(batch)`, a tuple of tensors [B, ...], over the rows in their order: float64 arrays."""
        parts, where = [], []
        for part, batch in self.batches(model, rows):
            parts.append([array(t) for t in measured(batch)])
            where.append(part)
        back = np.argsort(np.concatenate(where), kind="stable")
        return [np.concatenate(column)[back] for column in zip(*parts, strict=True)]

    def perplexity(self, losses, rows=slice(None)) -> float:
        return float(np.exp(losses.sum() / self.lengths[rows].sum()))

    def measure(self, model, seed: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(seed)
        if not model.config.latent:
            (losses,) = self.over(model, self.rows, lambda b: (model.distortion(b, None),))
            exact = {f"iw_{k}": float(losses[self.sample].mean()) for k in self.settings.iw}
            exact |= {f"perplexity_iw_{k}": self.perplexity(losses[self.sample], self.sample) for k in self.settings.iw}
            return {"elbo": float(losses.mean()), "perplexity_elbo": self.perplexity(losses), **exact,
                    "iw_texts": float(len(self.sample)), "self_bleu": self_bleu(model.write(DRAWN, generator))}

        def measured(batch):
            distortion, rate = model.bound(batch, generator)
            mean, log_variance = model.posterior(batch)[:2]
            return distortion, rate, model.distortion(batch, mean), *model.kl_over_time(batch), mean, log_variance

        distortion, units, at_mean, over_time, at_last, mean, log_variance = self.over(model, self.rows, measured)
        rate, moves = units.sum(1), mean.var(0, ddof=1) > ACTIVE
        found = {"reconstruction_nll": at_mean.mean(), "elbo": (distortion + rate).mean(), "distortion": distortion.mean(),
                 "kl": rate.mean(), "kl_over_time": over_time.mean(), "kl_last_step": at_last.mean(),
                 "published_loss": (at_mean + over_time).mean(),
                 "perplexity_elbo": self.perplexity(distortion + rate), "perplexity_reconstruction": self.perplexity(at_mean),
                 "perplexity_published": self.perplexity(at_mean + over_time),
                 "active_units": moves.sum(), "active_units_kl": (moves & (units.mean(0)[: len(moves)] > ACTIVE)).sum(),
                 "mutual_information": generative.mutual_information(torch.from_numpy(mean).float(), torch.from_numpy(log_variance).float(),
                                                                     self.settings.seed)}
        for k in self.settings.iw:
            bounds, where = [], []
            for part, batch in self.batches(model, self.rows[self.sample], max(1, min(ROWS, HELD // min(k, HELD)))):
                bounds.append(torch.full((len(part),), -math.inf, dtype=torch.float64))
                generative.add_draws(bounds[-1], lambda n, b=batch: model.log_likelihood(b, n, generator), k, max(1, HELD // len(part)))
                where.append(part)
            losses = math.log(k) - array(torch.cat(bounds))[np.argsort(np.concatenate(where), kind="stable")]
            found |= {f"iw_{k}": losses.mean(), f"perplexity_iw_{k}": self.perplexity(losses, self.sample)}
        found |= {"iw_texts": len(self.sample), "self_bleu": self_bleu(model.write(DRAWN, generator))}
        self.measured = {name: float(value) for name, value in found.items()}  # the page's table is of the first seed's
        return self.measured

    def baselines(self, counts: np.ndarray) -> dict[str, dict[str, float]]:
        """unigram and kneser_ney: exact -log p of a text, its end one more word."""
        size, found = len(counts), {}

        def ended(split):
            tokens, offsets = np.array(self.data[f"{split}.tokens"]), np.array(self.data[f"{split}.offsets"])
            return np.insert(tokens, offsets[1:], size), offsets + np.arange(len(offsets))

        train, (tokens, offsets) = ended("train"), ended(self.split)
        seen = np.append(counts, len(train[1]) - 1)
        plain = -np.log(np.maximum(seen, 0.5) / np.maximum(seen, 0.5).sum())
        for name, losses in (("unigram", plain[tokens]), ("kneser_ney", KneserNey(*train, seen, 5).losses(tokens, offsets))):
            each = np.add.reduceat(losses, offsets[:-1])[self.rows]
            found[name] = {"elbo": float(each.mean()), "perplexity_elbo": self.perplexity(each)}
            for k in self.settings.iw:
                own = each[self.sample]
                found[name] |= {f"iw_{k}": float(own.mean()), f"perplexity_iw_{k}": self.perplexity(own, self.sample)}
        real = [tokens[a : b - 1].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        found["floor"] = {"self_bleu": self_bleu([real[r] for r in self.rows[:: max(1, len(self.rows) // DRAWN)][:DRAWN]])}
        return found

    def exhibit(self, model, gallery, seed: int) -> None:
        names = [*self.data.table("words"), "<end>"]
        plain = speller(names, "subwords" in self.data.meta)

        def spelt(words):
            return plain(words) or "(nothing)"

        generator = torch.Generator().manual_seed(seed)
        if model.config.latent:
            metrics = self.measured
            rows = [[title, round(metrics[name], 2), round(metrics[perplexity], 1), said]
                    for name, (title, perplexity, said) in ACCOUNTS.items()]
            rows += [[f"IW-{k}", round(metrics[f"iw_{k}"], 2), round(metrics[f"perplexity_iw_{k}"], 1),
                      f"upper bound, tighter with more draws; of {len(self.sample)} of the texts"] for k in self.settings.iw]
            gallery.table("What a test text costs, by every account", ["account", "nats", "perplexity", "what it is"], rows,
                          "Perplexities are per word, ends counted." + ("" if getattr(model.config, "read", "last") == "last" else
                          " The prior of the code that is read depends on the text's length: the bounds are on -log p(text | its length), "
                          "below those of models that must pay for the length."))
        drawn = [spelt(t) for t in model.write(12, generator)]
        self.begun(model, gallery, seed, spelt)
        if getattr(model, "classes", 0):
            labels = self.data.table("labels")
            gallery.table("Written as it was asked", ["class asked for", "text"],
                          [[labels[i % model.classes], text] for i, text in enumerate(drawn)], "Words drawn from the decoder.")
        else:
            gallery.table("Drawn from the model", ["text"], [[text] for text in drawn],
                          "The code, if there is one, from the prior; words drawn from the decoder.")
        if not model.config.latent:
            return
        shown = self.rows[:: max(1, len(self.rows) // 10)][:10]
        batch = split_rows(model, self.data, self.split, shown)
        codes, offsets = model.encode(batch), batch["offsets"].tolist()
        texts = [batch["tokens"][a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        gallery.table("Reconstructions", ["test text", "likeliest words at the mean of its code"],
                      [[spelt(a), spelt(b)] for a, b in zip(texts, model.decode(codes), strict=True)])
        way = torch.linspace(0, 1, STEPS)[:, None]
        lines = [spelt(t) for pair in ((0, 1), (2, 3)) if len(codes) > pair[1]
                 for t in model.decode(codes[pair[0]] + way * (codes[pair[1]] - codes[pair[0]]))]
        gallery.table("Between two texts", ["likeliest words on a straight way between two codes"], [[line] for line in lines],
                      f"Two ways of {STEPS} codes each, ends included.")

    def begun(self, model, gallery, seed, spelt):
        """A text from each of the commonest first words: the first of DRAWN draws that begins so, which is a draw of what follows it."""
        first = np.array(self.data["train.tokens"])[np.array(self.data["train.offsets"])[:-1][np.diff(self.data["train.offsets"]) > 0]]
        words, counts = np.unique(first, return_counts=True)
        drawn = [t for t in model.write(DRAWN, torch.Generator().manual_seed(seed)) if t]
        rows = []
        for word in words[np.argsort(-counts, kind="stable")][:8]:
            own = [t for t in drawn if t[0] == word]
            rows += [[spelt([word]), spelt(own[0]), len(own)]] if own else []
        gallery.table("Written on from a first word", ["first word", "text", f"of {DRAWN} draws begin so"], rows,
                      "Words drawn from the decoder; draws that begin with the word are draws of what follows it.")
