"""Ingest of a receipts CSV larger than one would load whole: peak memory and seconds, against loading it with pandas.

    python -m bench.ingest_receipts            20 million lines
    python -m bench.ingest_receipts --quick    1 million lines

Runs peer and ours in turn, each in a process of its own, and prints a table and, last, one line of JSON; `ratio` is the peer's
peak memory over ours. The file is made under --folder (2.1 GB in full) and removed again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PARAMS = """
split: {salt: bench, valid: 0.1, test: 0.1}
validate: {}
datasets:
  big:
    domain: receipts
    source: path
    name: 'SOURCE'
    options:
      columns: {receipt_id: Receipt, item_id: Code, item: Description, quantity: Quantity, timestamp: Moment}
      metadata: {category: Category}
    validate: {}
    prepare: {}
train: {}
runs: {}
"""
PEER = """
import sys
import pandas as pd
table = pd.read_csv(sys.argv[1], dtype={"Receipt": str, "Code": str}, parse_dates=["Moment"])
table["position"] = table.groupby("Receipt").cumcount()
items = table.groupby("Code")[["Description", "Category"]].first()
table.to_parquet(sys.argv[2], compression="zstd")
print(len(table), len(items))
"""


def make(path: Path, lines: int, seed: int = 0) -> None:
    """A CSV of `lines` lines: receipts of 8 lines on average, 50,000 items, 40 categories, times over a year."""
    rng = np.random.default_rng(seed)
    receipt = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write("Receipt,Code,Description,Category,Quantity,Moment\n")
        for start in range(0, lines, 500_000):
            n = min(500_000, lines - start)
            receipts = receipt + np.cumsum(rng.random(n) < 1 / 8)
            receipt = int(receipts[-1])
            codes = (rng.random(n) ** 3 * 50_000).astype(int)
            file.writelines(
                f"{r + 10_000_000},{c:05d},item number {c} of the shop,category {c % 40:02d},{q},"
                f"2024-{1 + r % 12:02d}-{1 + r % 28:02d} {r % 24:02d}:{r % 60:02d}:00\n"
                for r, c, q in zip(receipts.tolist(), codes.tolist(), rng.integers(1, 9, n).tolist(), strict=True)
            )


def measured(command: list[str]) -> tuple[float, float]:
    """(seconds, peak resident memory in GB) of a child process of its own."""
    code = ("import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)")
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command[:4])} failed: {done.stderr.strip().splitlines()[-1:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, int(done.stdout) * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest_receipts", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 million lines instead of 20")
    parser.add_argument("--lines", type=int, help="so many lines")
    parser.add_argument("--pairs", type=int, default=None, help="times each side runs (default: 3, or 1 in full)")
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made (default: the system's temporary folder)")
    args = parser.parse_args()
    lines = args.lines or (1_000_000 if args.quick else 20_000_000)
    pairs = args.pairs or (3 if args.quick else 1)
    folder = Path(tempfile.mkdtemp(prefix="baznama-bench-", dir=args.folder))
    try:
        if shutil.disk_usage(folder).free < lines * 300:
            sys.exit(f"error: {folder} has too little free space for {lines} lines; name another --folder")
        source = folder / "receipts.csv"
        make(source, lines)
        params = folder / "params.yaml"
        params.write_text(PARAMS.replace("SOURCE", str(source)), encoding="utf-8")
        ours = [sys.executable, "-m", "stages.ingest", "big", "--params", str(params), "--out", str(folder / "ours")]
        peer = [sys.executable, "-c", PEER, str(source), str(folder / "peer.parquet")]
        runs = {"pandas": [], "ours": []}
        for _ in range(pairs):
            runs["pandas"].append(measured(peer))
            runs["ours"].append(measured(ours))
        rows = {name: json.loads((folder / "ours" / "source.json").read_text())["rows"] if name == "ours" else lines for name in runs}
        size = source.stat().st_size / 1e9
    finally:
        shutil.rmtree(folder)
    print(f"{lines:,} lines, {size:.2f} GB of CSV")
    print(f"{'':10}{'seconds':>10}{'peak GB':>10}{'rows':>14}")
    for name, results in runs.items():
        print(f"{name:10}{min(s for s, _ in results):10.1f}{max(m for _, m in results):10.2f}{rows[name]:14,}")
    peer_gb, ours_gb = (max(m for _, m in runs[name]) for name in ("pandas", "ours"))
    print(json.dumps({"name": "ingest of a receipts CSV: pandas, ours",
                      "peer": round(peer_gb, 2), "ours": round(ours_gb, 2), "ratio": round(peer_gb / ours_gb, 2),
                      "quality_peer": rows["pandas"], "quality_ours": rows["ours"], "unit": f"GB peak, {lines} lines"}))


if __name__ == "__main__":
    main()
