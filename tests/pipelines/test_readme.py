"""README's tables are what the published files say, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from pipelines.readme import rendered
from stages.settings import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_no_number_in_the_tables_is_typed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rendered(text, ROOT) == text, "run python -m pipelines.readme"
    assert rendered(text.replace("±", "+"), ROOT) == text


def test_a_missing_block_is_said():
    with pytest.raises(InputError, match="README.md: the block 'results' is missing"):
        rendered("nothing", ROOT)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_every_link_leads_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target
