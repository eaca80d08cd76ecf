"""Profiles beside the workspace, and publishing what they found."""

from __future__ import annotations

import json
import sys

import pytest

from pipelines.graph import Graph
from pipelines.publish import PICTURE, picture_of, protocol
from pipelines.yaml_file import read_yaml
from tests.pipelines.conftest import ROOT, STUDY, dvc, sh, steer

pytestmark = pytest.mark.xdist_group("prefect")


def module(folder, name, *arguments):
    return sh(folder, sys.executable, "-m", f"pipelines.{name}", *arguments)


def workspace(folder):
    """Everything of the workspace that the user sees."""
    status = sh(folder, "git", "status", "--porcelain").stdout
    return status, {str(p): p.read_bytes() for p in sorted(folder.rglob("*"))
                    if p.is_file() and p.relative_to(folder).parts[0] not in (".git", ".dvc") and ".profiles" not in p.parts}


def test_a_profile_runs_beside_the_workspace_and_is_published(studied, api):
    before = workspace(studied)
    wrong = module(studied, "publish", "study")
    assert wrong.returncode == 2 and "nothing there to publish; run python -m pipelines.profile study first" in wrong.stderr
    dry = module(studied, "profile", "study", "--dry")
    assert {line.partition(":")[0] for line in dry.stdout.splitlines()[:-1]} >= {"train@vae", "train@more", "report"}, dry.stderr
    run = module(studied, "profile", "study", "--api", api, "evaluate@vae")
    assert run.returncode == 0 and run.stdout.startswith("3 of 3 stages to run"), run.stderr
    assert workspace(studied) == before
    assert len(Graph(studied).stages) == 9 and module(studied, "graph").stdout.endswith("0 of 9 stages to run\n")

    steer(studied, "reports/study", "gone.json", "{}")
    assert module(studied, "publish", "study").stdout.strip() == "published 1 runs to reports/study; not finished: emb, gan, more"
    entry = json.loads((studied / "reports/study/vae.json").read_text())
    metrics = json.loads((studied / "data/.profiles/study/reports/metrics/vae.json").read_text())
    assert entry["auc"]["mean"] == pytest.approx(metrics["auc"]["mean"], rel=1e-5)
    assert metrics != json.loads((studied / "reports/metrics/vae.json").read_text())
    assert entry["params"]["model"] == {"d": 30} and entry["params"]["train"] == {"lr": 1, "threads": 1}
    assert entry["protocol"] == "test split, 1 seed"
    assert protocol({"split": "valid", "features": "a1"}, {"seeds": [0, 1], "features": "net", "evaluate": {"samples": 9}}) == (
        "valid split, 2 seeds, feature net net, samples 9")
    given = {"evaluate": {"inception": "/home/me/w.safetensors", "inception_sha256": "0123456789"}}
    assert protocol({"inception": "0123456789"}, given) == "test split, 1 seed, Inception 01234567"
    assert entry["commit"] == sh(studied, "git", "rev-parse", "HEAD").stdout.strip()
    assert set(entry["data"]) == {"data/models/vae"} and entry["dataset"]["domain"] == "images"
    assert not (studied / "reports/study/gone.json").exists() and "picture" not in entry

    made = studied / "data/.profiles/study/reports/samples/vae"
    made.mkdir(parents=True, exist_ok=True)
    (made / "details.json").write_text(json.dumps({"pictures": [{"file": "s.png", "title": "Samples", "alt": "seven"}]}))
    (made / "s.png").write_bytes(b"a picture")
    steer(studied, "reports/study", "gone.png", "of a run that is no more")
    assert module(studied, "publish", "study").returncode == 0
    entry = json.loads((studied / "reports/study/vae.json").read_text())
    assert entry["picture"] == {"title": "Samples", "alt": "seven"} and (studied / "reports/study/vae.png").read_bytes() == b"a picture"
    assert not (studied / "reports/study/gone.png").exists()
    (made / "s.png").unlink()
    module(studied, "publish", "study")
    assert "picture" not in json.loads((studied / "reports/study/vae.json").read_text())
    assert not (studied / "reports/study/vae.png").exists()

    # the profile changes and is committed: what it published before is no longer finished
    (studied / "profiles/study.yaml").write_text(STUDY.replace("30", "31"))
    sh(studied, "git", "commit", "-q", "-am", "other study")
    module(studied, "profile", "study", "--dry")
    left = module(studied, "publish", "study")
    assert left.returncode == 2 and "no finished run in it" in left.stderr
    assert (studied / "reports/study/vae.json").is_file()


def test_the_first_picture_that_is_small_enough_is_published():
    """Of three, one is too large and one is missing; of a run without pictures, none."""
    class Source:
        def read(self, path):
            return {"details.json": json.dumps({"pictures": [{"file": f"{f}.png", "title": f, "alt": "of " + f} for f in "abc"]}).encode(),
                    "a.png": b"x" * (PICTURE + 1), "c.png": b"small"}.get(path.removeprefix("reports/samples/vae/"))
    assert picture_of("vae", Source()) == ({"title": "c", "alt": "of c"}, b"small") and picture_of("gan", Source()) is None


def test_dvc_exp_run_with_temp_leaves_the_workspace_and_is_published_by_name(studied):
    before = workspace(studied)
    dvc(studied, "exp", "run", "--temp", "-S", "+profiles=study", "-n", "mine")
    assert workspace(studied) == before
    told = module(studied, "publish", "study", "--rev", "mine")
    assert told.stdout.strip() == "published 4 runs to reports/study", told.stderr
    entry = json.loads((studied / "reports/study/more.json").read_text())
    assert entry["params"]["model"] == {"d": 9} and entry["hours"] is None and entry["machine"] is None
    wrong = module(studied, "publish", "study", "--rev", "mien")
    assert wrong.returncode == 2
    assert "unknown revision 'mien'; allowed: any commit; branch master; experiment mine (did you mean 'mine'?)" in wrong.stderr


def test_wrong_profiles_are_one_line(studied):
    unknown = module(studied, "profile", "stduy")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: profiles: unknown profile 'stduy'; allowed: study (did you mean 'study'?)\n"
    (studied / "profiles/new.yaml").write_text(STUDY)
    assert "profiles/new.yaml: not in git" in module(studied, "profile", "new").stderr
    (studied / "profiles/study.yaml").write_text("# @package _global_\ndefaults: [nowhere]\n")
    sh(studied, "git", "commit", "-q", "-am", "broken")
    broken = module(studied, "profile", "study")
    assert broken.returncode == 2 and broken.stderr.startswith("error: profiles/study.yaml: cannot be laid over params.yaml: ")


def test_the_states_of_sources_know_the_datasets_of_profiles():
    """`dvc exp run -S +profiles=paper` fails on a dataset without an entry in data/sources.json."""
    states = json.loads((ROOT / "data/sources.json").read_text())
    missing = [f"{path.stem}: {name}" for path in sorted((ROOT / "profiles").glob("*.yaml"))
               for name in read_yaml(path).get("datasets", {}) if name not in states]
    assert not missing, "run python -m stages.ingest.states"
