"""The one training loop: gradient phases and kernel epochs, device, autocast, clipping, moving averages, NaN guard, curve, checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stages.models.base import KernelModel, Model, Phase
from stages.settings import InputError
from stages.train.batches import Batches, seed_noise
from stages.train.checkpoints import State, Store
from stages.train.parallel import Alone
from stages.train.progress import Progress
from stages.train.settings import TrainSettings

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
VALIDATION = 0x7A11DA7E  # stream of random numbers of the looks at the validation split


class DivergedError(RuntimeError):
    """A loss is NaN or infinite. The message names phase, step and every term."""


@dataclass
class Trained:
    """Result of one seed: final weights, rows of the curve, and over all sittings examples, seconds, and the most processes of one."""

    weights: dict[str, Tensor]
    curve: list[dict]
    examples: int
    seconds: float
    steps: int
    processes: int = 1


@dataclass
class _Curve:
    """Rows of the curve and the running means between two rows; plain JSON, so that it travels in a checkpoint."""

    rows: list[dict] = field(default_factory=list)
    sums: dict[str, list] = field(default_factory=dict)

    def add(self, terms: Mapping[str, float]) -> None:
        for name, value in terms.items():
            total = self.sums.setdefault(name, [0.0, 0])
            total[0], total[1] = total[0] + value, total[1] + 1

    def row(self, step: int, extra: Mapping[str, float]) -> dict[str, float]:
        terms = {name: total / n for name, (total, n) in self.sums.items()} | dict(extra)
        self.rows.append({"step": step, **terms})
        self.sums = {}
        return terms


def pick_device(name: str) -> torch.device:
    """cpu or cuda; `auto` takes cuda where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device: cuda was asked for, but torch sees no GPU here; allowed: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def train(
    model: Model,
    data: Mapping[str, np.ndarray],
    settings: TrainSettings,
    seed: int,
    device: torch.device,
    store: Store | None = None,
    progress: Progress | None = None,
    stop_after: int | None = None,
    among: Alone | None = None,
) -> Trained | None:
    """Train `model` in place on `data`, from its last checkpoint in `store` if there is one.

    `stop_after` ends after that many steps with a checkpoint and returns None (what being killed looks like, for tests). `among` several
    processes (stages/train/parallel.py) each calls this, and the first alone writes checkpoints. Raises DivergedError when a loss is not
    finite; the last good checkpoint stays.
    """
    if settings.patience and not settings.validate_every:
        raise InputError(
            f"train.patience: {settings.patience} looks are waited for, but train.validate_every is 0; set it to a number of steps"
        )
    kernel, among = isinstance(model, KernelModel), among or Alone()
    device = torch.device("cpu") if kernel else device  # numba kernels write into the model's memory
    model.to(device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    stepper = _Epochs(model, data, settings, seed) if kernel else _Steps(model, data, settings, seed, device, among)
    total = settings.epochs if kernel else settings.steps
    curve, best, examples, earlier, step = _Curve(), _Best(), 0, 0.0, 0
    state = among.in_turn(lambda: store.load(seed)) if store else None
    among.agree(state.step if state else 0)
    processes = max(among.size, state.facts["processes"] if state else 1)
    if state:
        step, examples, earlier = state.step, state.facts["examples"], state.facts["seconds"]
        curve = _Curve(state.facts["rows"], state.facts["sums"])
        model.load_state_dict({k.removeprefix("model."): t for k, t in state.tensors.items() if k.startswith("model.")})
        if not state.done:
            best.load(state, settings.patience)
            stepper.load(state)
    else:
        model.begin(data, seed)
    if progress and store and store.damaged:
        progress.say(f"a checkpoint could not be read and was put aside as {store.damaged}; training starts afresh")
    if progress and state:
        progress.say("is finished, its weights are taken over" if state.done else f"goes on from {progress.unit} {step} of {total}")
    if state and state.done:
        return Trained(_weights(model), curve.rows, examples, earlier, step, state.facts["processes"])
    started = saved = time.monotonic()

    def checkpoint(done: bool = False) -> None:
        if among.rank:
            return
        facts = {"examples": examples, "seconds": earlier + time.monotonic() - started, "processes": processes,
                 "rows": curve.rows, "sums": curve.sums}
        tensors = {f"model.{k}": t for k, t in _weights(model).items()}
        if not done:
            best.save(facts, tensors)
            stepper.save(facts, tensors)
        store.save(seed, State(step, tensors, facts, done))

    while step < total and not best.stopped:
        n, terms = stepper.run(step)
        examples, step = examples + n, step + 1
        curve.add(terms)
        look = settings.validate_every and (step % settings.validate_every == 0 or step == total)
        if look or step % (1 if kernel else settings.log_every) == 0 or step == total:
            found = among.first(_look(model, data, seed, device)) if look else {}
            shown = curve.row(step, {f"valid_{k}": v for k, v in found.items()})
            if look and settings.patience:
                best.see(found, step, model, settings.patience)
            if progress:
                progress.show(step, shown, final=step == total or best.stopped)
        if store and time.monotonic() - saved >= settings.checkpoint_seconds:
            checkpoint()
            saved = time.monotonic()
        if stop_after is not None and step >= stop_after and step < total:
            checkpoint()
            return None
    if best.weights is not None:
        model.load_state_dict(best.weights)
    if store:
        checkpoint(done=True)
    return Trained(_weights(model), curve.rows, examples, earlier + time.monotonic() - started, step, processes)


def _weights(model: Model) -> dict[str, Tensor]:
    return {k: t.detach().to("cpu").clone() for k, t in model.state_dict().items()}


def _look(model: Model, data, seed: int, device: torch.device) -> dict[str, float]:
    model.eval()
    seed_noise(device, seed, VALIDATION)
    with torch.no_grad():
        found = model.validate(data)
    model.train()
    if not found:
        raise InputError(
            f"train.validate_every: {type(model).__module__.rsplit('.', 1)[-1]} watches nothing on the validation split; set it to 0"
        )
    return found


class _Best:
    """The best weights by validation loss, and how many looks ago."""

    def __init__(self):
        self.loss, self.since, self.stopped, self.weights = math.inf, 0, False, None

    def see(self, found: dict[str, float], step: int, model: Model, patience: int) -> None:
        if found["loss"] < self.loss:
            self.loss, self.since, self.weights = found["loss"], 0, _weights(model)
        else:
            self.since += 1
            self.stopped = self.since >= patience

    def save(self, facts: dict, tensors: dict[str, Tensor]) -> None:
        facts["best"] = {"loss": self.loss, "since": self.since} if self.weights is not None else None
        tensors.update({f"best.{k}": t for k, t in (self.weights or {}).items()})

    def load(self, state: State, patience: int) -> None:
        if state.facts.get("best"):
            self.loss, self.since = state.facts["best"]["loss"], state.facts["best"]["since"]
            self.weights = {k.removeprefix("best."): t for k, t in state.tensors.items() if k.startswith("best.")}
            self.stopped = self.since >= patience


class _Epochs:
    """Kernel families: a step of the loop is an epoch."""

    def __init__(self, model: KernelModel, data, settings: TrainSettings, seed: int):
        self.model, self.data, self.settings, self.seed = model, data, settings, seed

    def run(self, epoch: int) -> tuple[int, dict[str, float]]:
        examples, terms = self.model.epoch(self.data, self.seed, epoch, self.settings.epochs, self.settings.threads)
        _finite(terms, "epoch", epoch)
        return examples, terms

    def save(self, facts, tensors) -> None:
        """The parameters are all there is."""

    def load(self, state) -> None:
        """The parameters are all there is."""


class _Steps:
    """Gradient families: every phase that is due, each with its own parameters, optimiser and batch."""

    def __init__(self, model: Model, data, settings: TrainSettings, seed: int, device: torch.device, among: Alone):
        self.model, self.settings, self.seed, self.device, self.among = model, settings, seed, device, among
        self.batches = Batches(data, model.inputs, settings.batch_size, seed, device, among.rows, model.ragged)
        among.prepare(model, self.batches.size)
        self.draws = sum(p.repeat for p in model.phases)
        # once, before any phase freezes another's parameters: a list computed later would be empty
        self.parameters = {p.name: _phase_parameters(model, p) for p in model.phases}
        self.all = [p for p in model.parameters() if p.requires_grad]
        self.optimizers = {p.name: self._optimizer(p) for p in model.phases}
        self.averages = {p.name: self._averaged(p) for p in model.phases}

    def _optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        s = self.settings
        for name in s.lr_scale:
            if name not in {p.name for p in self.model.phases}:
                raise InputError(f"train.lr_scale.{name}: no such phase; allowed: {', '.join(p.name for p in self.model.phases)}")
        options = {"lr": s.lr * s.lr_scale.get(phase.name, 1.0), "weight_decay": s.weight_decay}
        if s.optimizer in ("adam", "adamw"):
            options.update(betas=s.betas, fused=True)
        return OPTIMIZERS[s.optimizer](self.parameters[phase.name], **options)

    def run(self, step: int) -> tuple[int, dict[str, float]]:
        s, model, terms, draw = self.settings, self.model, {}, step * self.draws
        seed_noise(self.device, self.seed, step)
        for phase in model.phases:
            if step % phase.every or step < phase.start or (phase.stop is not None and step >= phase.stop):
                continue
            active = self.parameters[phase.name]
            if len(model.phases) > 1:
                chosen = set(map(id, active))
                for p in self.all:
                    p.requires_grad_(id(p) in chosen)
            optimizer = self.optimizers[phase.name]
            for group in optimizer.param_groups:
                group["lr"] = s.lr * s.lr_scale.get(phase.name, 1.0) * decay(s.lr_decay, step, s.steps)
            for _ in range(phase.repeat):
                batch = self.batches.batch(draw)
                draw += 1
                autocast = torch.autocast(self.device.type, torch.bfloat16) if s.autocast and not phase.fp32 else contextlib.nullcontext()
                with autocast, self.among.noise():
                    loss, parts = model.loss(batch, phase.name, step)
                for p in active:
                    p.grad = None
                loss.backward(self.among.weight)
                self.among.add_gradients(active)
                if s.clip_value:
                    torch.nn.utils.clip_grad_value_(active, s.clip_value)
                norm = _clipped_norm(active, s.clip_norm)
                prefix = "" if len(model.phases) == 1 else f"{phase.name}_"
                values = self.among.mean({"loss": loss.item(), **{f"{prefix}{k}": v.item() for k, v in parts.items()}})
                _finite({**values, "gradient norm": norm.item()}, phase.name, step)
                if model.adversarial:  # what reaches each player, a curve of its own
                    values[f"{prefix}gradient_norm"] = norm.item()
                optimizer.step()
                self._average(phase)
                model.after_update(phase.name, step)
                terms.update(values)
        for p in self.all:
            p.requires_grad_(True)
        return self.batches.size, terms

    def _averaged(self, phase: Phase) -> tuple[list[Tensor], ...]:
        """Averages and their parameters, copies and their buffers, of what the phase changes."""
        found = ([], [], [], [])
        for name, averaged in getattr(self.model, "averages", {}).items():
            if not phase.modules or name in phase.modules:
                source, target = getattr(self.model, name), getattr(self.model, averaged)
                tensors = (target.parameters(), source.parameters(), target.buffers(), source.buffers())
                for kept, more in zip(found, tensors, strict=True):
                    kept.extend(more)
        return found

    @torch.no_grad()
    def _average(self, phase: Phase) -> None:
        averages, parameters, copies, buffers = self.averages[phase.name]
        if averages:
            torch._foreach_lerp_(averages, parameters, 1 - self.settings.ema)
        if copies:
            torch._foreach_copy_(copies, buffers)

    def save(self, facts: dict, tensors: dict[str, Tensor]) -> None:
        for name, optimizer in self.optimizers.items():
            for i, values in optimizer.state_dict()["state"].items():
                tensors.update({f"optimizer.{name}.{i}.{k}": v.detach().to("cpu").clone() for k, v in values.items() if torch.is_tensor(v)})

    def load(self, state: State) -> None:
        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            prefix = f"optimizer.{name}."
            for key, tensor in state.tensors.items():
                if key.startswith(prefix):
                    i, slot = key.removeprefix(prefix).split(".", 1)
                    slots.setdefault(int(i), {})[slot] = tensor
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
            for parameter, values in optimizer.state.items():  # fused optimisers walk raw memory: the layout must be the parameter's
                values.update({k: torch.empty_like(parameter).copy_(v) for k, v in values.items() if v.shape == parameter.shape})


def _phase_parameters(model: Model, phase: Phase) -> list[torch.nn.Parameter]:
    modules = [getattr(model, name) for name in phase.modules] or [model]
    found = {id(p): p for m in modules for p in m.parameters() if p.requires_grad}
    if not found:
        raise ValueError(f"phase {phase.name!r} of {type(model).__module__} has no parameter to train")
    return list(found.values())


def _clipped_norm(parameters: list[torch.nn.Parameter], bound: float | None) -> Tensor:
    """Norm of the gradients, which are shortened to `bound` where there is one."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if bound:
        torch.nn.utils.clip_grads_with_norm_(parameters, bound, norm)
    return norm


def decay(kind: str, step: int, steps: int) -> float:
    """Factor on the learning rate: 1 at the first step, towards 0 at the last; `late` falls from the middle on."""
    left = 1 - step / steps
    return {"none": 1.0, "linear": left, "late": min(1.0, 2 * left), "cosine": 0.5 * (1 + math.cos(math.pi * step / steps))}[kind]


def _finite(terms: Mapping[str, float], phase: str, step: int) -> None:
    if not all(map(math.isfinite, terms.values())):
        shown = ", ".join(f"{k} {v:.6g}" for k, v in terms.items())
        raise DivergedError(
            f"training diverged in phase {phase!r} at step {step}: {shown}; lower train.lr or set train.clip_norm "
            "(the last good checkpoint is kept)"
        )
