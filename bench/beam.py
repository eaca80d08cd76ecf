"""Translating by beam search of width 5 against greedy search, the same network: how much the wider search costs.

`python -m bench.beam [--quick]`. An untrained seq2seq with additive attention whose translations go on to 23 symbols, as long as two ISO
dates; sources of 30 symbols, 128 at once. The rates are translations a second; no quality is measured.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from bench.pairs import alternate, closing_line, timed
from stages.models.seq2seq import END, Config, Model

SOURCES, LENGTH, WIDTH, THREADS = 128, 30, 5, 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.beam", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one batch a run instead of four")
    batches = 1 if parser.parse_args().quick else 4
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = Model(Config(attention="additive", longest=23), {"source_words": 200, "target_words": 16}).eval()
    with torch.no_grad():
        model.output.bias[END] = -100.0
    tokens, offsets = torch.randint(3, 200, (SOURCES * LENGTH,)), torch.arange(SOURCES + 1) * LENGTH

    def run(beam):
        return lambda seed: timed(lambda: [len(model.search(tokens, offsets, beam)[0][0]) for _ in range(batches)][0])

    run(WIDTH)(0)
    runs = alternate(run(1), run(WIDTH), 3)
    rates = [[SOURCES * batches / pair[side].wall for pair in runs] for side in range(2)]
    print(f"greedy {statistics.median(rates[0]):.0f}, beam of {WIDTH} {statistics.median(rates[1]):.0f} translations/s")
    print(closing_line(f"seq2seq with attention: greedy search, beam search of width {WIDTH}, {THREADS} thread", *rates, 0.0, 0.0,
                       "translations/s"))


if __name__ == "__main__":
    main()
