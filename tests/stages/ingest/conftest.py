"""`take(domain, source, name, **options)` ingests into the test's own folder and gives (source.json, the folder)."""

import pytest

from stages.ingest.sources import ingest
from stages.params import Dataset
from stages.settings import InputError


@pytest.fixture
def take(tmp_path):
    def run(domain, source, name, **options):
        out = tmp_path / "raw" / "it"
        return ingest("it", Dataset(domain, source, str(name), options, {}, {}), out), out

    return run


@pytest.fixture
def refusal(take, tmp_path):
    """The one line with which an ingest is refused; that nothing is left behind is checked each time."""

    def run(*args, **options):
        with pytest.raises(InputError) as caught:
            take(*args, **options)
        raw = tmp_path / "raw"
        assert not raw.exists() or not list(raw.iterdir()), "something half-ingested was left"
        line = str(caught.value)
        assert "\n" not in line
        return line

    return run
