"""`-S key=value`: other parameters beside the workspace, kept as an experiment."""

from __future__ import annotations

import pytest

from pipelines.yaml_file import read_yaml
from tests.pipelines.conftest import dvc, repro, sh, steer
from tests.pipelines.test_profile import workspace

pytestmark = pytest.mark.xdist_group("prefect")


def test_other_parameters_run_beside_the_workspace_and_are_kept_as_an_experiment_once_nothing_failed(studied, api):
    (studied / "params.yaml").write_text((studied / "params.yaml").read_text().replace("k: 1}}", "k: 2}}  # mine"))  # not committed
    before = workspace(studied)
    line = ("-S", "runs.vae.model.d=30", "--name", "wide", "--api", api, "evaluate@vae", "evaluate@gan")
    assert repro(studied, *line, "--dry").returncode == 0  # lays the worktree
    failing = steer(studied / "data/.profiles/wide", "fail", "train-vae")
    failed = repro(studied, *line)
    assert failed.returncode == 1 and "FAILED train@vae: error: train-vae cannot go on" in failed.stderr, failed.stderr
    assert "experiment:" not in failed.stdout and not dvc(studied, "exp", "list", "--name-only").stdout.strip()
    failing.unlink()

    run = repro(studied, *line)  # the same line goes on
    assert run.returncode == 0, run.stderr + run.stdout
    assert "note: with the changes that are not committed, of params.yaml" in run.stderr
    assert workspace(studied) == before
    lines = run.stdout.splitlines()
    assert lines[0].startswith("2 of 5 stages to run"), lines[0]  # evaluate@gan was done; what the parameters do not change was restored
    assert lines[-1].startswith("experiment: wide (")
    moved = [line.split()[:2] for line in lines if line.startswith(("vae ", "gan "))]
    assert ["vae", "auc"] in moved and ["emb", "auc"] not in moved
    assert any("runs.vae.model.d" in line or "model.d" in line for line in lines)
    beside = studied / "data/.profiles/wide"
    assert read_yaml(beside / "params.yaml")["runs"]["vae"]["model"] == {"d": 30} and "# mine" in (beside / "params.yaml").read_text()
    assert dvc(studied, "exp", "list", "--name-only").stdout.split() == ["wide"]
    refs = sh(studied, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()  # DVC's own bookkeeping lies there too
    (ref,) = [ref for ref in refs if ref.endswith("/wide")]
    kept = sh(studied, "git", "show", f"{ref}:params.yaml").stdout
    assert "d: 30" in kept and "k: 2" in kept

    again = repro(studied, "-S", "runs.vae.model.d=30", "--name", "wide", "evaluate@vae")
    assert again.returncode == 0 and again.stdout.startswith("nothing to do: 3 stages are up to date"), again.stdout + again.stderr


def test_dry_and_estimate_run_nothing_and_a_name_is_made_from_the_parameters(studied):
    dry = repro(studied, "-S", "runs.gan.evaluate.k=9", "-S", "+runs.gan.evaluate.new=true", "--dry", "--estimate", "evaluate@gan")
    assert dry.stdout.splitlines()[:2] == ["evaluate@gan: params.yaml: runs.gan.evaluate modified", "1 of 3 stages to run"], dry.stdout
    assert "never timed" in dry.stdout and not dvc(studied, "exp", "list", "--name-only").stdout.strip()
    (folder,) = (studied / "data/.profiles").iterdir()
    assert folder.name.startswith("set-") and read_yaml(folder / "params.yaml")["runs"]["gan"]["evaluate"] == {"k": 9, "new": True}
    repro(studied, "-S", "+runs.gan.evaluate.new=true", "-S", "runs.gan.evaluate.k=9", "--dry")
    assert list((studied / "data/.profiles").iterdir()) == [folder]  # the order does not matter


def test_a_profile_and_a_parameter_together(studied):
    dry = repro(studied, "-S", "+profiles=study", "-S", "runs.vae.model.d=31", "--name", "both", "--dry")
    assert dry.returncode == 0, dry.stderr
    runs = read_yaml(studied / "data/.profiles/both/params.yaml")["runs"]
    assert runs["vae"]["model"] == {"d": 31} and runs["more"]["dataset"] == "digits"


@pytest.mark.parametrize(("arguments", "line"), [
    (["-S", "runs.vea.model.d=3"], "-S 'runs.vea.model.d=3': unknown key 'runs.vea.model.d' (did you mean 'runs.vae.model.d'?); "
                                   "+runs.vea.model.d=3 adds a new one"),
    (["-S", "runs.vae.model.d=wide"], "-S 'runs.vae.model.d=wide': runs.vae.model.d is a number, now 3; found text"),
    (["-S", "runs.vae=3"], "-S 'runs.vae=3': runs.vae is a mapping, now "),
    (["-S", "split.salt=true"], "-S 'split.salt=true': split.salt is text, now \"a\"; found true or false"),
    (["-S", "split.test=0.1,0.2"], "-S 'split.test=0.1,0.2': several values at once; give one"),
    (["-S", "split.test"], "-S 'split.test': not to be understood; allowed: key=value as in "),
    (["-S", "~runs.vea"], "-S '~runs.vea': unknown key 'runs.vea' (did you mean 'runs.vae'?)"),
    (["-S", "+profiles=stduy"], "-S '+profiles=stduy': unknown profile 'stduy'; allowed: study (did you mean 'study'?)"),
    (["-S", "split.test=0.2", "--name", "a b"], "--name 'a b': not a name; allowed: letters"),
    (["-S", "split.test=0.2", "--name", "study"], "--name study: a profile has this name"),
    (["--name", "x"], "--name names the experiment that -S makes"),
])
def test_mistakes_are_one_line_before_any_work(studied, arguments, line):
    wrong = repro(studied, *arguments)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"error: {line}") and len(wrong.stderr.splitlines()) == 1, wrong.stderr
    assert not (studied / "data/.profiles").exists()
