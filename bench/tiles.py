"""Peak memory of translating a photograph of 24 megapixels: allowed 2 GB.

`python -m bench.tiles [--quick]` writes a picture of 6,000 x 4,000 pixels to a temporary folder and takes it through a grey-to-colour U-Net
and a CycleGAN generator, tile by tile, to a PNG, in a process of its own each, as `python -m stages.evaluate translate` does. The peak is
that process's resident set, libraries included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BUDGET = 2e9

CHILD = """
import json, sys, time
from pathlib import Path
import torch
from stages.evaluate.translate import translated
from stages.models import cyclegan, pix2pix
from stages.settings import configure

torch.set_num_threads(1)
torch.manual_seed(0)
folder, family = Path(sys.argv[1]), {"pix2pix": pix2pix, "cyclegan": cyclegan}[sys.argv[2]]
channels = 1 if family is pix2pix else 3
meta = {"shape": [32, 32, 3], "source_shape": [32, 32, channels], "task": "grey" if channels == 1 else "domains", "paired": channels == 1}
model, begun = family.Model(configure(family.Config, {"channels": 16}, "model"), meta).eval(), time.perf_counter()
with torch.no_grad():
    translated(model, model.translate, folder / "in.png", folder / "out.png", (channels, 3), 1, "")
seconds = time.perf_counter() - begun
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "seconds": seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tiles", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,500 x 1,000 pixels")
    options = parser.parse_args()
    width, height = (1500, 1000) if options.quick else (6000, 4000)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height // 50, width // 50, 3), np.uint8))
        smooth.resize((width, height), Image.Resampling.BICUBIC).save(Path(folder) / "in.png")
        for family in ("pix2pix", "cyclegan"):
            done = subprocess.run([sys.executable, "-c", CHILD, folder, family], capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            found[family] = json.loads(done.stdout)
            print(f"{family}: {found[family]['peak'] / 1e6:.0f} MB, {found[family]['seconds']:.0f} s", flush=True)
    peak = max(f["peak"] for f in found.values())
    numbers = {"peer": BUDGET / 1e6, "ours": peak / 1e6, "ratio": BUDGET / peak, "quality_peer": 0.0, "quality_ours": 0.0}
    numbers |= {f"seconds_{family}": f["seconds"] for family, f in found.items()}
    name = f"peak memory of translating {width * height / 1e6:.0f} megapixels: allowed, ours (the larger of two networks)"
    print(json.dumps({"name": name, **{k: float(f"{v:.4g}") for k, v in numbers.items()}, "unit": "MB"}))


if __name__ == "__main__":
    main()
