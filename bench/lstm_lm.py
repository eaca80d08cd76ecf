"""Training an LSTM language model: a plain padded loop against ours, the same network, batch, rate and number of words.

`python -m bench.lstm_lm [--quick]`. The peer is what tutorials do: batches at random, padded to their longest, embedding, nn.LSTM and the
output layer on all of it, the loss without the padding (`ignore_index`). Ours: `text_vae` with latent 0, batches of about one length,
packed. Lengths are those of English sentences (log-normal, 4 to 60 words), 4,800 words by Zipf's law; both see the same texts.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from bench.pairs import alternate, closing_line, timed
from stages.models.text_vae import Config, Model
from stages.train.loop import train
from stages.train.settings import TrainSettings

WORDS, BATCH, RATE, THREADS = 4800, 64, 3e-3, 2


def texts(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(2.6, 0.6, n)), 4, 60).astype(np.int64)
    shares = 1 / np.arange(1, WORDS + 1)
    tokens = rng.choice(WORDS, lengths.sum(), p=shares / shares.sum()).astype(np.int32)
    offsets = np.concatenate([[0], lengths.cumsum()])
    return {"train.tokens": tokens, "train.offsets": offsets, "counts": np.bincount(tokens, minlength=WORDS)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lstm_lm", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 batches instead of 100")
    options = parser.parse_args()
    steps = 20 if options.quick else 100
    torch.set_num_threads(THREADS)
    data = texts(steps * BATCH)
    words = len(data["train.tokens"]) + steps * BATCH  # ends are predicted too
    rows = [torch.from_numpy(r).long() for r in np.split(data["train.tokens"], data["train.offsets"][1:-1])]

    def fresh(seed: int) -> Model:
        torch.manual_seed(seed)
        model = Model(Config(latent=0, dropout=0.0), {"words": WORDS})
        model.begin(data, seed)
        return model

    def peer(seed: int):
        model = fresh(seed)
        net, d = model.decoder.reader.net, model.decoder
        net = nn.LSTM(net.input_size, net.hidden_size, batch_first=True)
        net.load_state_dict(d.reader.net.state_dict())
        optimizer = torch.optim.Adam([*net.parameters(), *d.embedding.parameters(), *d.output.parameters()], RATE, fused=True)
        order = np.random.default_rng(seed).permutation(len(rows))

        def run():
            losses = []
            for step in range(steps):
                chosen = [rows[i] for i in order[step * BATCH : (step + 1) * BATCH]]
                read = pad_sequence([torch.cat([torch.tensor([WORDS]), r]) for r in chosen], True, 0)
                told = pad_sequence([torch.cat([r, torch.tensor([WORDS])]) for r in chosen], True, -1)
                logits = d.output(net(d.embedding(read))[0])
                loss = cross_entropy(logits.flatten(0, 1), told.flatten(), ignore_index=-1, reduction="sum") / BATCH
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                losses.append(loss.item())
            return statistics.mean(losses[-steps // 4 :])

        return timed(run)

    def ours(seed: int):
        model = fresh(seed)
        settings = TrainSettings(steps=steps, batch_size=BATCH, lr=RATE, clip_norm=5.0, log_every=steps // 4)
        return timed(lambda: train(model, data, settings, seed, torch.device("cpu")).curve[-1]["loss"])

    ours(0)  # libraries choose their kernels
    runs = alternate(peer, ours, 3)
    print(f"{words:,} words, batches of {BATCH} texts, {THREADS} threads\n{'':8}{'words/s':>10}{'wall s':>8}{'CPU s':>8}{'loss':>9}")
    for pair in runs:
        for name, run in zip(("padded", "ours"), pair, strict=True):
            print(f"{name:8}{words / run.wall:10.0f}{run.wall:8.2f}{run.cpu:8.2f}{run.result:9.3f}")
    rates = [[words / pair[side].wall for pair in runs] for side in range(2)]
    quality = [statistics.mean(pair[side].result for pair in runs) for side in range(2)]
    print(closing_line(f"LSTM language model, one epoch: a padded loop, ours packed by length, {THREADS} threads", *rates, *quality,
                       "words/s, nats a text"))


if __name__ == "__main__":
    main()
