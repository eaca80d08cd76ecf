"""Claims: the verdict follows its rule, and a planted wrong formula turns it."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from stages.claims import games
from stages.claims.__main__ import experiment
from stages.claims.record import Check, Claim
from stages.settings import InputError

ROOT = Path(__file__).resolve().parents[3]


def test_the_rule():
    def claim(*checks):
        return Claim("s", "p", "d", "t", list(checks)).verdict

    good, bad, lost = Check("a", 1.0005, 1.0, 1e-3), Check("b", 1.002, 1.0, 1e-3), Check("c", math.nan, 1.0, 1e9)
    assert claim(good) == "holds" and claim(good, bad) == "does not hold" and claim(lost) == "does not hold" and claim() == "does not hold"


def test_c10_holds():
    claim = games.c10(games.C10(), [0])
    assert claim.verdict == "holds" and len(claim.checks) == 4 + 4 + 2 + 1
    assert {label.split(",")[0] for label, _ in claim.lines} == {"simultaneous", "alternating", "flow"}


@pytest.mark.parametrize(("name", "wrong"), [
    ("simultaneous", lambda x, y, eta: (x + eta * y, y + eta * x)),  # a sign: both ascend
    ("simultaneous", lambda x, y, eta: (x - eta * y, y + eta * (x - eta * y))),  # one sees the other's new place
    ("alternating", lambda x, y, eta: (x - eta * (y + eta * x), y + eta * x / 2)),  # a factor
    ("alternating", games.simultaneous),
    ("flow", lambda steps: games.path(games.simultaneous, 0.01, steps)),
])
def test_a_planted_wrong_formula_turns_the_verdict(monkeypatch, name, wrong):
    monkeypatch.setattr(games, name, wrong)
    assert games.c10(games.C10(), [0]).verdict == "does not hold"


def test_unknown_claim_and_theme():
    with pytest.raises(InputError, match="unknown theme 'game'; allowed: games \\(did you mean 'games'\\?\\)"):
        experiment("c10", "game", "w")
    with pytest.raises(InputError, match="w: unknown claim of theme games 'c11'; allowed: c10"):
        experiment("c11", "games", "w")


def test_the_stage_writes_its_record(tmp_path):
    done = subprocess.run([sys.executable, "-m", "stages.claims", "c10", "--reports", tmp_path], cwd=ROOT, capture_output=True, text=True)
    record = json.loads((tmp_path / "claims/c10.json").read_text())
    assert done.returncode == 0 and record["verdict"] == "holds" and "11 of 11 checks pass" in done.stdout
    bad = subprocess.run([sys.executable, "-m", "stages.claims", "c99", "--reports", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert bad.returncode == 2 and bad.stderr == "error: claims: unknown claim 'c99'; allowed: c10\n"
