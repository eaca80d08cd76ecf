"""What a run's page shows beside its numbers: `reports/samples/RUN/`, pictures and details.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.evaluate import pictures
from stages.files import write_json


class Gallery:
    """Collects pictures and tables; `write` puts them into an empty folder."""

    def __init__(self):
        self.images: list[tuple[str, np.ndarray]] = []
        self.details = {"pictures": [], "tables": []}

    def picture(self, name: str, pixels: np.ndarray, title: str, alt: str) -> None:
        """An RGB array as NAME.png; `alt` says in words what is to be seen."""
        self.images.append((f"{name}.png", pixels))
        self.details["pictures"].append({"file": f"{name}.png", "title": title, "alt": alt})

    def table(self, title: str, columns: list[str], rows: list[list], note: str = "") -> None:
        self.details["tables"].append({"title": title, "columns": columns, "rows": [list(r) for r in rows], "note": note})

    def write(self, folder: Path) -> None:
        for name, pixels in self.images:
            pictures.save(pixels, folder / name)
        write_json(folder / "details.json", self.details)
