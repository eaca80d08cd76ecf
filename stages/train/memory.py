"""Is there memory for a training step? A step that cannot fit is told before it is tried: the kernel would end it without a line."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.settings import InputError


def available(device: torch.device) -> int | None:
    """Bytes that this process may still take: of the device, or of the machine (/proc/meminfo); None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def check_memory(model, batch_size: int, run: str, device: torch.device) -> None:
    """Raise InputError where the model can tell what a step holds (`step_bytes(batch_size)`) and that is more than there is."""
    there = available(device)
    if there is None or not hasattr(model, "step_bytes"):
        return
    wanted, of = model.step_bytes(batch_size)
    if wanted > there:
        raise InputError(f"run {run}: a training step holds {of} at once, about {wanted / 2**30:.1f} GiB, but {there / 2**30:.1f} GiB are "
                         "free; lower train.batch_size or the settings named")
