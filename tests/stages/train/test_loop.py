"""The loop: phases change their own modules alone, resuming is exact, a loss that is not finite stops the run and loses nothing."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from stages.models.base import KernelModel, Model, Phase
from stages.settings import InputError
from stages.train.batches import Batches, derived_seed
from stages.train.checkpoints import State, Store
from stages.train.loop import DivergedError, decay, train
from stages.train.settings import TrainSettings
from tests.stages.train.conftest import arguments, digits, finish, params, start, weights

CPU = torch.device("cpu")
DATA = {"train.points": np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)}


class Two(Model):
    """Two players on a bilinear game with noise, one of them twice a step from step 2 on."""

    inputs = ("points",)

    def __init__(self):
        super().__init__()
        self.left, self.right, self.idle = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.phases = (Phase("l", ("left",), repeat=2, start=2), Phase("r", ("right",), every=3))
        self.seen = []

    def loss(self, batch, phase, step):
        self.seen.append((step, phase, batch["points"].sum().item(), [n for n, p in self.named_parameters() if p.requires_grad]))
        x = batch["points"] + 0.1 * torch.randn_like(batch["points"])
        value = (self.left(x) * self.right(x)).mean() + self.left(x).square().mean() + self.right(x).square().mean()
        return value, {"value": value}


def fresh():
    torch.manual_seed(0)
    return Two()


def settings(**changes):
    return TrainSettings(**{"steps": 12, "batch_size": 8, "log_every": 4, "checkpoint_seconds": 1e9, **changes})


def test_phases_run_when_due_on_batches_of_their_own_and_change_their_modules_alone():
    model = fresh()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train(model, DATA, settings(steps=1), 0, CPU)
    after = model.state_dict()
    assert {k for k in before if not torch.equal(before[k], after[k])} == {"right.weight", "right.bias"}
    model = fresh()
    train(model, DATA, settings(), 0, CPU)
    assert [(s, p) for s, p, *_ in model.seen][:7] == [(0, "r"), (2, "l"), (2, "l"), (3, "l"), (3, "l"), (3, "r"), (4, "l")]
    assert len({total for *_, total, _ in model.seen if True}) == len(model.seen)  # no two phases share a batch
    assert all(
        free == [f"{'left' if p == 'l' else 'right'}.weight", f"{'left' if p == 'l' else 'right'}.bias"] for _, p, _, free in model.seen
    )
    assert torch.equal(model.state_dict()["idle.weight"], before["idle.weight"])


def test_batches_are_a_pure_function_of_seed_and_step_and_cover_every_row():
    data = {"train.points": np.arange(20, dtype=np.float32)[:, None]}
    one, two = Batches(data, ("points",), 5, 7, CPU), Batches(data, ("points",), 5, 7, CPU)
    drawn = [one.batch(i)["points"][:, 0].tolist() for i in range(8)]
    assert sorted(sum(drawn[:4], [])) == sorted(sum(drawn[4:], [])) == list(range(20)) and drawn[:4] != drawn[4:]
    assert [two.batch(i)["points"][:, 0].tolist() for i in (6, 1)] == [drawn[6], drawn[1]]
    assert drawn[0] != Batches(data, ("points",), 5, 8, CPU).batch(0)["points"][:, 0].tolist()
    assert derived_seed(1, 23) != derived_seed(12, 3)


def test_images_come_as_floats_in_nchw():
    data = {"train.images": np.array([[[[0, 255]]]], np.uint8), "train.labels": np.array([3], np.int32)}
    batch = Batches(data, ("images", "labels"), 4, 0, CPU).batch(0)
    assert batch["images"].tolist() == [[[[0.0]], [[1.0]]]] and batch["labels"].dtype == torch.int64
    with pytest.raises(InputError, match="train split is empty"):
        Batches({"train.points": np.zeros((0, 2))}, ("points",), 4, 0, CPU)


def test_ragged_rows_come_whole_once_an_epoch_and_next_to_rows_of_their_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 1003)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    data = {"train.tokens": np.repeat(np.arange(1003), lengths).astype(np.int32), "train.offsets": offsets, "train.labels": np.arange(1003)}
    made = Batches(data, ("tokens", "labels"), 10, 3, CPU, ragged={"tokens": "offsets"})
    seen, spread = [], []
    for draw in range(100):
        batch = made.batch(draw)
        rows, own = batch["labels"].tolist(), batch["offsets"].diff().tolist()
        assert batch["tokens"].tolist() == [r for r in rows for _ in range(lengths[r])] and own == [lengths[r] for r in rows]
        seen += rows
        spread.append(max(own) - min(own))
    assert len(set(seen)) == 1000 and np.mean(spread) < 6, "chance has a spread of 32"
    other = Batches(data, ("tokens",), 10, 3, CPU, ragged={"tokens": "offsets"})
    assert torch.equal(other.batch(57)["tokens"], made.batch(57)["tokens"]), "a pure function of seed and draw"
    firsts = {int(Batches(data, ("tokens",), 10, s, CPU, ragged={"tokens": "offsets"}).batch(0)["offsets"][-1]) for s in range(8)}
    assert len(firsts) > 4, "short batches do not come first"


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_killed_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, optimizer):
    options = settings(optimizer=optimizer, lr_decay="cosine", clip_norm=1.0)
    whole = train(fresh(), DATA, options, 0, CPU)
    store = Store(tmp_path, "run", "key")
    assert train(fresh(), DATA, options, 0, CPU, store, stop_after=5) is None
    torch.manual_seed(99)  # whatever the new process starts from
    resumed = train(fresh(), DATA, options, 0, CPU, store)
    assert all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights)
    assert whole.curve == resumed.curve and whole.examples == resumed.examples


def test_each_number_of_the_gradient_can_be_clipped():
    model, before = fresh(), fresh().state_dict()
    train(model, DATA, settings(steps=1, optimizer="sgd", lr=1.0, clip_value=0.01), 0, CPU)
    moved = [(v - before[k]).abs().max().item() for k, v in model.state_dict().items() if k.startswith("right")]
    assert moved == pytest.approx([0.01, 0.01], abs=1e-6), "the gradients of this game are far larger"


class Convolved(Two):
    """A convolution whose weights lie in memory channels-last."""

    inputs = ("images",)
    kinds = ("images",)

    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))

    def loss(self, batch, phase, step):
        value = (
            self.left(batch["images"]) - self.right(batch["images"].mean((1, 2)).mean(1)[:, None].expand(-1, 2))[:, :1, None, None]
        ).square()
        return value.mean(), {"value": value.mean()}


def test_resume_is_exact_where_memory_lies_channels_last(tmp_path):
    images = {"train.images": np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)}

    def made():
        torch.manual_seed(0)
        return Convolved()

    options = settings(channels_last=True, steps=20)
    whole = train(made(), images, options, 0, CPU)
    store = Store(tmp_path, "run", "key")
    assert train(made(), images, options, 0, CPU, store, stop_after=9) is None
    resumed = train(made(), images, options, 0, CPU, store)
    assert all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights)


class Watched(Two):
    """Validation that gets worse after a while."""

    def validate(self, data):
        self.looks = getattr(self, "looks", 0) + 1
        return {"loss": (self.left.weight.detach().sum() - 1.0).abs().item()}


def test_early_stopping_keeps_the_best_and_resumes_to_the_same(tmp_path):
    def made():
        torch.manual_seed(3)
        return Watched()

    options = settings(steps=400, validate_every=1, patience=5, lr=0.05, log_every=1)
    whole = train(made(), DATA, options, 0, CPU)
    losses = [r["valid_loss"] for r in whole.curve]
    assert whole.steps < 400 and whole.steps == len(losses) == losses.index(min(losses)) + 6
    model = made()
    model.load_state_dict(whole.weights)
    assert model.validate(None)["loss"] == min(losses)
    store = Store(tmp_path, "run", "key")
    assert train(made(), DATA, options, 0, CPU, store, stop_after=whole.steps - 2) is None
    resumed = train(made(), DATA, options, 0, CPU, store)
    assert resumed.steps == whole.steps and all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights)
    late = Store(tmp_path / "late", "run", "key")  # killed between the look that stopped it and the end
    assert train(made(), DATA, options, 0, CPU, late, stop_after=whole.steps) is None
    assert train(made(), DATA, options, 0, CPU, late).curve == whole.curve
    with pytest.raises(InputError, match="train.patience: 3 looks are waited for, but train.validate_every is 0"):
        train(made(), DATA, settings(patience=3), 0, CPU)
    with pytest.raises(InputError, match="watches nothing"):
        train(fresh(), DATA, settings(validate_every=1), 0, CPU)


class Diverging(Two):
    def loss(self, batch, phase, step):
        value, terms = super().loss(batch, phase, step)
        return (value * float("nan"), {"value": value, "other": value}) if step == 6 else (value, terms)


def test_a_loss_that_is_not_finite_names_phase_step_and_terms_and_keeps_the_checkpoint(tmp_path):
    torch.manual_seed(0)
    store = Store(tmp_path, "run", "key")
    with pytest.raises(DivergedError) as caught:
        train(Diverging(), DATA, settings(checkpoint_seconds=0.0), 0, CPU, store)
    assert "phase 'l' at step 6: loss nan" in str(caught.value) and "l_other" in str(caught.value)
    state = store.load(0)
    assert state.step == 6 and not state.done and all(torch.isfinite(t).all() for t in state.tensors.values())


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: unspecified launch failure"), OSError(28, "No space left")])
def test_memory_device_or_disk_gone_at_a_step_keeps_the_checkpoint_and_the_next_start_ends_the_same(tmp_path, error):
    class Failing(Two):
        def loss(self, batch, phase, step):
            if step == 7 and phase == "l":
                raise error
            return super().loss(batch, phase, step)

    whole = train(fresh(), DATA, settings(), 0, CPU)
    torch.manual_seed(0)
    store = Store(tmp_path, "run", "key")
    with pytest.raises(type(error)):
        train(Failing(), DATA, settings(checkpoint_seconds=0.0), 0, CPU, store)
    assert store.load(0).step == 7
    resumed = train(fresh(), DATA, settings(), 0, CPU, store)
    assert all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights) and resumed.curve == whole.curve


class Hidden(Two):
    """A finite loss whose gradient is not: the square root at zero."""

    def loss(self, batch, phase, step):
        value, terms = super().loss(batch, phase, step)
        zero = (self.left.weight - self.left.weight.detach()).square().sum() if phase == "l" else torch.zeros(())
        return (value + zero.sqrt(), terms) if step == 6 and phase == "l" else (value, terms)


def test_a_gradient_that_is_not_finite_never_reaches_weights_or_checkpoint(tmp_path):
    torch.manual_seed(0)
    store = Store(tmp_path, "run", "key")
    with pytest.raises(DivergedError, match="phase 'l' at step 6: .*gradient norm nan"):
        train(Hidden(), DATA, settings(checkpoint_seconds=0.0), 0, CPU, store)
    assert all(torch.isfinite(t).all() for t in store.load(0).tensors.values())


class Counting(KernelModel):
    def __init__(self):
        super().__init__()
        self.total = nn.Parameter(torch.zeros(3), requires_grad=False)

    def epoch(self, data, seed, epoch, epochs, threads):
        self.total.numpy()[:] += np.random.default_rng([seed, epoch]).normal(size=3).astype(np.float32)
        return 10, {"loss": float(self.total.sum())}


def test_kernel_families_go_through_the_same_loop(tmp_path):
    options = settings(epochs=6)
    whole = train(Counting(), {}, options, 1, CPU)
    store = Store(tmp_path, "run", "key")
    assert train(Counting(), {}, options, 1, CPU, store, stop_after=4) is None
    resumed = train(Counting(), {}, options, 1, CPU, store)
    assert torch.equal(whole.weights["total"], resumed.weights["total"]) and whole.examples == 60 and len(whole.curve) == 6
    assert whole.curve == resumed.curve


def test_moving_average_of_weights():
    class Averaged(Two):
        averages = {"left": "left_average"}

        def __init__(self):
            super().__init__()
            self.left_average = nn.Linear(2, 2).requires_grad_(False)

        def after_update(self, phase, step):
            if phase == "l":
                self.path.append(self.left.weight.detach().clone())

    torch.manual_seed(0)
    model = Averaged()
    model.path, expected = [], model.left_average.weight.clone()
    train(model, DATA, settings(ema=0.9), 0, CPU)
    for weight in model.path:
        expected = 0.9 * expected + 0.1 * weight
    assert len(model.path) == 20 and torch.allclose(expected, model.left_average.weight, atol=1e-6)


def test_learning_rate_decay_by_value():
    assert [decay("linear", s, 4) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    assert [decay("late", s, 4) for s in range(4)] == [1, 1, 1, 0.5]
    assert decay("cosine", 2, 4) == pytest.approx(0.5) and decay("none", 3, 4) == 1


def test_unknown_phase_in_lr_scale():
    with pytest.raises(InputError, match="train.lr_scale.q: no such phase; allowed: l, r"):
        train(fresh(), DATA, settings(lr_scale={"q": 1.0}), 0, CPU)


def test_a_torn_checkpoint_is_put_aside_and_training_starts_afresh(tmp_path):
    store = Store(tmp_path, "run", "key")
    store.save(0, State(3, {"model.x": torch.zeros(100)}, {"rows": []}))
    path = store.path(0)
    path.write_bytes(path.read_bytes()[:200])
    assert store.load(0) is None and path.with_suffix(".bad").exists() and not path.exists()


def test_a_pickle_in_place_of_a_checkpoint_is_never_opened(tmp_path):
    store = Store(tmp_path, "run", "key")
    store.path(0).parent.mkdir(parents=True)
    torch.save({"x": 1}, store.path(0))
    assert store.load(0) is None


# --- the stage as a program -------------------------------------------------------------------------------------------------------------


RUN = "{family: gan, dataset: d, features: none, seeds: %s, model: {hidden: [32]}, train: {steps: %d}}"


def test_kill_9_in_the_middle_of_training_ends_with_the_same_bytes(tmp_path):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", RUN % ("[0]", 600))
    assert finish(start(tmp_path))[0] == 0
    expected, curve = weights(tmp_path), (tmp_path / "reports/curves/r.csv").read_bytes()
    assert finish(start(tmp_path))[0] == 0  # asked for again with the same seeds: trained again, and to the same bytes
    assert weights(tmp_path) == expected
    subprocess.run(["rm", "-r", tmp_path / "checkpoints", tmp_path / "out"], check=True)
    process = start(tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "checkpoints").glob("r/0/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (checkpoint,) = (tmp_path / "checkpoints").glob("r/0/*.safetensors")
    with safe_open(checkpoint, "pt") as file:
        reached = json.loads(file.metadata()["facts"])
    assert 0 < reached["step"] < 600 and not reached["done"] and not (tmp_path / "out").exists()
    code, _, err = finish(start(tmp_path))
    assert code == 0 and f"r  goes on from steps {reached['step']} of 600" in err
    assert weights(tmp_path) == expected and (tmp_path / "reports/curves/r.csv").read_bytes() == curve


def test_adding_a_seed_trains_that_seed_alone_and_a_changed_setting_starts_afresh(tmp_path, run_here):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", RUN % ("[0]", 40))
    assert run_here()[0] == 0
    first = weights(tmp_path)
    (done,) = (tmp_path / "checkpoints").glob("r/0/*.safetensors")
    stamp = done.stat().st_mtime_ns
    params(tmp_path / "params.yaml", RUN % ("[0, 5]", 40))
    assert run_here()[0] == 0
    assert done.stat().st_mtime_ns == stamp and weights(tmp_path) == first != weights(tmp_path, 5)
    rows = list(csv.DictReader((tmp_path / "reports/curves/r.csv").open()))
    assert {r["seed"] for r in rows} == {"0", "5"} and rows[0].keys() >= {"step", "loss", "d_accuracy"}
    params(tmp_path / "params.yaml", RUN % ("[0]", 41))
    assert run_here()[0] == 0
    assert weights(tmp_path) != first and not done.exists()


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("{family: gna, dataset: d, features: none}", "runs.r.family: unknown family 'gna'"),
        ("{family: gan, dataset: d, features: none, model: {latnet: 1}}", "runs.r.model.latnet: unknown setting"),
        ("{family: gan, dataset: d, features: none, train: {validate_every: 2, steps: 4}}", "gan watches nothing on the validation split"),
        ("{family: gan, dataset: d, features: none, train: {lr: 1.0e+30, steps: 9}}", "training diverged in phase"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_half_written(tmp_path, run_here, run, expected):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", run)
    code, err = run_here()
    assert code in (1, 2) and err.count("error: ") == 1 and expected in err and "Traceback" not in err
    assert not (tmp_path / "out").exists() and not (tmp_path / "reports").exists()


def test_wrong_kind_of_data_missing_data_and_truncated_arrays(tmp_path, run_here):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", "{family: gan, dataset: d, features: none, train: {steps: 2}}")
    meta = json.loads((tmp_path / "data/meta.json").read_text())
    (tmp_path / "data/meta.json").write_text(json.dumps({**meta, "kind": "triples"}))
    assert "family gan reads images or points, but" in run_here()[1]
    (tmp_path / "data/meta.json").write_text(json.dumps(meta))
    images = tmp_path / "data/train.images.npy"
    images.write_bytes(images.read_bytes()[:300])
    assert "train.images.npy: not readable as an array" in run_here()[1]
    images.unlink()
    assert "has no array 'train.images'" in run_here()[1]
    (tmp_path / "data/meta.json").write_text("{")
    assert "not readable as JSON" in run_here()[1]


def test_a_probe_that_is_required_wants_labels_before_training(tmp_path, run_here):
    digits(tmp_path / "data")
    run = "{family: vae, dataset: d, features: none, model: {hidden: [8]}, train: {steps: 1}, evaluate: {probe: required}}"
    params(tmp_path / "params.yaml", run)
    assert run_here()[0] == 0
    meta = json.loads((tmp_path / "data/meta.json").read_text())
    (tmp_path / "data/meta.json").write_text(json.dumps({**meta, "classes": 0}))
    code, said = run_here()
    assert code == 2 and "evaluate.probe is required, but" in said and "has labels of 0 classes, and a probe needs 2" in said
    assert "steps" not in said


def test_full_disk_is_one_line_and_the_next_start_goes_on(tmp_path, run_here):
    """A real one: a file-size limit stands for a full disk where no small file system can be mounted; the write fails half-way."""
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", "{family: gan, dataset: d, features: none, model: {hidden: [32]}, train: {steps: 30}}")
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "bash"]
    full = [*limited, sys.executable, "-m", "stages.train", *arguments(tmp_path)]
    done = subprocess.run(full, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: disk full"), done.stderr
    assert not (tmp_path / "out").exists() and not list((tmp_path / "checkpoints").rglob("*.tmp"))
    assert run_here()[0] == 0


def test_more_memory_than_there_is_is_one_line(tmp_path, run_here):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", "{family: gan, dataset: d, features: none, model: {hidden: [100000000000]}, train: {steps: 2}}")
    code, err = run_here()
    assert code == 1 and err.startswith("error: out of memory: ") and err.count("\n") == 1
    assert not (tmp_path / "out").exists() and not (tmp_path / "reports").exists()


def test_settings_file_in_place_of_yaml(tmp_path, run_here):
    digits(tmp_path / "data")
    (tmp_path / "run.json").write_text(json.dumps({"family": "gan", "seeds": [1], "model": {"hidden": [8]}, "train": {"steps": 3}}))
    assert run_here("--settings", tmp_path / "run.json")[0] == 0
    assert (tmp_path / "out/1/weights.safetensors").exists()
    (tmp_path / "run.json").write_text(json.dumps({"family": "gan", "sedes": [1]}))
    assert "unknown key 'sedes'" in run_here("--settings", tmp_path / "run.json")[1]
