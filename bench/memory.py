"""Peak memory of training word vectors on 100 million tokens that lie in a file: tables of the vocabulary + at most 200 MB.

`python -m bench.memory [--quick]` writes a random corpus (Zipf frequencies, 100,000 words, documents of 1,000 words) to a temporary folder
as prepared arrays and trains one epoch of skip-gram on it, with windows of 1 (memory does not depend on them), in a process of its own,
through the family and the memory-mapped reader that the train stage uses. The peak is that process's resident set (what of the mapped file
is in memory counts too), less what it held before with all libraries loaded and the kernels compiled. The tables are the model's vectors;
a width that is no multiple of 8 is padded in a copy, which counts against the 200 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

VOCABULARY, LENGTH, DIMENSION, BUDGET = 100_000, 1000, 100, 200e6

CHILD = """
import json, sys, time
import torch
from stages.models import word2vec
from stages.prepared import Prepared
from stages.settings import configure

def resident(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

folder, dimension = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
small = Prepared(folder + "/small")
config = configure(word2vec.Config, {"dimension": dimension, "window": 1}, "model")
word2vec.Model(config, small.meta).epoch(small, 0, 0, 1, 1)
before = resident("VmRSS")
data, begun = Prepared(folder + "/large"), time.perf_counter()
model = word2vec.Model(config, data.meta)
examples, terms = model.epoch(data, 0, 0, 1, 1)
tables = sum(p.numel() * 4 for p in model.parameters())
print(json.dumps({"peak": resident("VmHWM") - before, "before": before, "tables": tables, "examples": examples, "loss": terms["loss"],
                  "seconds": time.perf_counter() - begun}))
"""


def write(folder: Path, documents: int, vocabulary: int, seed: int) -> None:
    """A prepared dataset of random words, written block by block."""
    folder.mkdir(parents=True)
    rng, counts = np.random.default_rng(seed), np.zeros(vocabulary, np.int64)
    edges = np.cumsum(1.0 / np.arange(1, vocabulary))
    edges /= edges[-1]
    header = {"descr": "<i4", "fortran_order": False, "shape": (documents * LENGTH,)}
    with open(folder / "train.tokens.npy", "wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, documents, 1000):
            n = min(1000, documents - start) * LENGTH
            words = (1 + np.searchsorted(edges, rng.random(n))).astype(np.int32)
            counts += np.bincount(words, minlength=vocabulary)
            out.write(words.data)
    np.save(folder / "train.offsets.npy", np.arange(documents + 1, dtype=np.int64) * LENGTH)
    np.save(folder / "counts.npy", counts)
    (folder / "meta.json").write_text(json.dumps({"kind": "documents", "words": vocabulary}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 million tokens in place of 100 million")
    parser.add_argument("--dimension", type=int, default=DIMENSION, help="a width of vectors")
    options = parser.parse_args()
    tokens = 3_000_000 if options.quick else 100_000_000
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write(Path(folder) / "small", 10, 1000, 0)
        write(Path(folder) / "large", tokens // LENGTH, VOCABULARY, 1)
        print(f"{tokens:,} tokens, {tokens * 4 / 1e6:.0f} MB, written in {time.perf_counter() - begun:.0f} s", flush=True)
        done = subprocess.run([sys.executable, "-c", CHILD, folder, str(options.dimension)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout)
    allowed = found["tables"] + BUDGET
    print(f"before {found['before'] / 1e6:.0f} MB, tables {found['tables'] / 1e6:.0f} MB, "
          f"peak above the start {found['peak'] / 1e6:.0f} MB, allowed {allowed / 1e6:.0f} MB")
    print(f"{found['examples'] / found['seconds'] / 1e6:.2f} M pairs/s, loss {found['loss']:.4f}")
    numbers = {"peer": allowed / 1e6, "ours": found["peak"] / 1e6, "ratio": allowed / found["peak"], "quality_peer": 0.0,
               "quality_ours": found["loss"], "tables": found["tables"] / 1e6, "tokens": tokens}
    name = f"peak memory of skip-gram over {tokens // 1_000_000} million tokens in a file: allowed (tables + 200 MB), ours"
    shown = {k: float(f"{v:.4g}") for k, v in numbers.items()}
    print(json.dumps({"name": name, **shown, "unit": "MB"}))


if __name__ == "__main__":
    main()
