"""One run on two processes: the same result as on one, whoever begins and whoever goes on; a process that dies is one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.models.base import Model
from stages.runs import family_module
from stages.settings import InputError
from stages.train.group import AGAIN
from stages.train.settings import check_processes, run_settings
from tests.contract.test_families import made
from tests.stages.train.conftest import arguments, digits, finish, params, start
from tests.stages.train.shares import BATCHES, SPLIT, trained

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """What two processes left of tests/stages/train/shares.py; `begun by one` was begun here."""
    folder = tmp_path_factory.mktemp("halves")
    for family in SPLIT:
        trained(family, 16, folder=folder / "begun by one", stop_after=5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "tests.stages.train.shares", str(folder)]
    both = [subprocess.Popen(command, cwd=ROOT, env={**place, "RANK": rank}, stderr=subprocess.PIPE, text=True) for rank in "01"]
    for process in both:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    return folder


def same(family, found, expected, rank):
    """Equal up to the order of float32 sums, measured by how far training went."""
    start = made(family)[0].state_dict()
    for name, tensor in expected.items():
        moved = (tensor.double() - start[name].double()).abs().max()
        assert (found[name].double() - tensor.double()).abs().max() <= 2e-4 * moved + 1e-7, f"process {rank}: {name}"


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("family", SPLIT)
def test_two_processes_end_where_one_does(family, batch_size, halves):
    whole = trained(family, batch_size).weights
    both = [load_file(halves / f"{family}.{batch_size}.{rank}") for rank in (0, 1)]
    for rank in (0, 1):
        same(family, both[rank], whole, rank)
    assert all(torch.equal(both[0][k], both[1][k]) for k in whole)  # to the bit between them, or they would drift apart


@pytest.mark.parametrize("family", SPLIT)
def test_what_two_began_one_goes_on_with_and_the_other_way_round(family, halves, tmp_path):
    whole = trained(family, 16)
    rest = trained(family, 16, folder=halves / "begun by two")
    assert (rest.processes, rest.steps, rest.examples, len(rest.curve)) == (2, whole.steps, whole.examples, len(whole.curve))
    same(family, rest.weights, whole.weights, "alone")
    for rank in (0, 1):
        same(family, load_file(halves / f"{family}.resumed.{rank}"), whole.weights, rank)


def test_shares_of_noise_are_rows_of_the_noise_of_the_whole_batch(halves):
    torch.manual_seed(5)
    inner = torch.nn.functional.dropout(torch.ones(16, 3), 0.5)
    whole = {"randn": torch.randn(16, 3), "dropout": inner, "one for all": torch.randint(0, 100, (2,)),
             "like": torch.rand_like(torch.zeros(16, 2, 2)), "inside": torch.empty(16, 2).uniform_(1, 2)}
    whole["bernoulli"] = torch.bernoulli(torch.full((16, 4), 0.3))
    for rank in (0, 1):
        share = load_file(halves / f"noise.{rank}")
        assert {k for k, v in whole.items() if torch.equal(share[k], v if k == "one for all" else v[8 * rank:8 * rank + 8])} == set(whole)


def test_only_families_that_can_be_split_are():
    class Whole(Model):
        """A loss over pairs of examples, say."""

    with pytest.raises(InputError, match="runs.r.train.processes: found 2, but family pairs has a loss that is no mean over examples"):
        check_processes(Whole, "pairs", 2, "runs.r")
    with pytest.raises(InputError, match="found 2, but family word2vec trains by kernels on the processor, in one process"):
        run_settings("word2vec", {}, {"train": {"processes": 2}}, "runs.r")
    assert run_settings("vae", {}, {"train": {"processes": 2}}, "runs.r")[2].processes == 2
    assert not family_module("word2vec").Model.per_example and {"vae", "classifier"} <= set(SPLIT)


# --- the stage as a program -------------------------------------------------------------------------------------------------------------

RUN = "{family: vae, dataset: d, features: none, model: {hidden: [32]}, train: {steps: %d, batch_size: 32, processes: %d}}"


def processes(command):
    """{rank: pid} of the processes of a group whose command line holds `command`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if command in (folder / "cmdline").read_bytes().decode().split("\0"):
                variables = dict(line.split("=", 1) for line in (folder / "environ").read_bytes().decode().split("\0") if "=" in line)
                if "RANK" in variables:
                    found[int(variables["RANK"])] = int(folder.name)
        except OSError:
            continue
    return found


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return value


def checkpoints(tmp_path):
    return list((tmp_path / "checkpoints").glob("r/0/*.safetensors"))


def test_a_process_of_torchrun_is_killed_and_one_process_goes_on(tmp_path, run_here):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", RUN % (600, 1))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "stages.train"]
    training = subprocess.Popen([*command, *arguments(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: checkpoints(tmp_path))
    ranks = processes(str(tmp_path / "params.yaml"))
    os.kill(ranks[1], signal.SIGKILL)
    code, _, err = finish(training)
    own = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code != 0 and len(own) == 1 and own[0].startswith("error: process 0 of 2 ends: "), err
    assert own[0].endswith(AGAIN)
    assert not (tmp_path / "out").exists() and len(checkpoints(tmp_path)) == 1
    code, err = run_here()
    assert code == 0 and "r  goes on from steps" in err
    told = json.loads((tmp_path / "out/run.json").read_text())
    assert told["train"]["processes"] == 2 and not told["reproducible"]


@pytest.mark.parametrize("victim", [0, 1])
def test_the_stage_starts_the_processes_and_none_outlives_another(tmp_path, victim):
    digits(tmp_path / "data")
    params(tmp_path / "params.yaml", RUN % (100_000, 2))
    first = start(tmp_path)
    until(lambda: checkpoints(tmp_path))
    ((rank, other),) = processes(str(tmp_path / "params.yaml")).items()  # the first was started without a rank
    os.kill((first.pid, other)[victim], signal.SIGKILL)
    code, _, err = finish(first)
    own = [text for text in err.splitlines() if "error" in text]
    if victim == 0:  # the other ends with it; whether it still finds the connection closed is a matter of milliseconds
        assert code == -9 and all(text.startswith("error: process 1 of 2 ends: ") for text in own) and len(own) < 2
    else:
        assert code == 1 and own == [f"error: process 0 of 2 ends: signal 9 ended another one; {AGAIN}"]
    assert rank == 1
    until(lambda: not Path(f"/proc/{other}").exists(), 10)
    assert not (tmp_path / "out").exists()
