"""A kernel compiled just now and one read from numba's cache give the same bytes: same commit and machine, same result."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import hashlib, sys
sys.path[:0] = ["tests/contract", "."]
from test_families import FAMILIES, made
from stages.models.base import KernelModel
for family in FAMILIES:
    model, data, _ = made(family)
    if isinstance(model, KernelModel):
        for epoch in range(3):
            model.epoch(data, 0, epoch, 3, 1)
        print(family, hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest())
"""


def test_compiled_and_cached_kernels_agree_to_the_bit(tmp_path):
    def run():
        done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    fresh = run()
    assert list(tmp_path.rglob("*.nbi")) and fresh.count("\n") >= 3
    assert run() == fresh
