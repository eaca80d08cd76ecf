"""Settings of the training loop. Layers, narrowest wins: these < the family's train_defaults < `train:` < `runs.<name>.train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stages.models.base import KernelModel
from stages.runs import family_module
from stages.settings import InputError, configure, field


@dataclass(frozen=True)
class TrainSettings:
    device: Literal["auto", "cpu", "cuda"] = field("auto", doc="auto: cuda where there is one")
    processes: int = field(1, low=1, high=1024, doc="a batch is split over so many, one GPU each (docs/pipeline.md, Several GPUs)")
    threads: int = field(1, low=1, high=256, doc="of torch and of the kernels; more than one makes Hogwild kernels irreproducible")
    autocast: bool = field(False, doc="bfloat16 outside the phases marked fp32")
    channels_last: bool = field(False, doc="memory layout of convolutions")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = field("adam")
    lr: float = field(1e-3, above=0.0)
    lr_scale: dict[str, float] = field({}, above=0.0, doc="factor on lr, by name of phase")
    lr_decay: Literal["none", "linear", "late", "cosine"] = field("none", doc="to zero at the last step; late: from the middle on")
    betas: tuple[float, float] = field((0.9, 0.999), low=0.0, high=1.0)
    weight_decay: float = field(0.0, low=0.0)
    clip_norm: float | None = field(None, above=0.0, doc="the gradient norm of a phase is clipped to this")
    clip_value: float | None = field(None, above=0.0, doc="each number of the gradient is clipped to this, before the norm is")
    batch_size: int = field(128, low=1)
    steps: int = field(1000, low=1, doc="of gradient families")
    epochs: int = field(5, low=1, doc="of kernel families")
    log_every: int = field(50, low=1, doc="steps between two rows of the curve")
    validate_every: int = field(0, low=0, doc="steps (epochs of kernel families) between two looks at the validation split; 0: never")
    patience: int = field(0, low=0, doc="stop after so many looks without improvement and keep the best; 0: keep the last")
    ema: float = field(0.999, low=0.0, high=1.0, doc="decay of the moving average of weights, in families that keep one")
    checkpoint_seconds: float = field(15.0, low=0.0, doc="0: after every step")


def run_settings(family: str, model: Mapping, layers: Mapping[str, Mapping], where: str):
    """(module, the family's Config, TrainSettings) of a run.

    `layers` maps the place of each layer of loop settings to it, widest first; each is checked where it stands, so that a mistake's line
    names that place. `where` is the place of the run.
    """
    module = family_module(family, f"{where}.family")
    config = configure(module.Config, model, f"{where}.model")
    merged = dict(module.Model.train_defaults)
    for place, layer in layers.items():
        configure(TrainSettings, layer, place)
        merged.update(layer)
    settings = configure(TrainSettings, merged, f"{where}.train")
    check_processes(module.Model, family, settings.processes, where)
    return module, config, settings


def check_processes(model: type, family: str, processes: int, where: str) -> None:
    """Raise InputError where a run of the family cannot be split over so many processes."""
    if processes == 1 or model.per_example:
        return
    why = ("trains by kernels on the processor, in one process (train.threads uses more cores)" if issubclass(model, KernelModel) else
           "has a loss that is no mean over examples (per_example in stages/models/base.py), so its batch cannot be split")
    raise InputError(f"{where}.train.processes: found {processes}, but family {family} {why}; set it to 1")
