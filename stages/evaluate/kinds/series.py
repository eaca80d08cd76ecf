"""Series: a hidden sum beside its mean, forecasts beside naive ones, and how far back a gradient reaches."""

from __future__ import annotations

import numpy as np
import torch

from stages.evaluate import charts, lags
from stages.evaluate.kinds.base import Kind, array, need

ROWS = 256
AHEAD = 12  # steps of a forecast that goes on from its own


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.series = np.array(self.data[f"{self.split}.series"])
        self.sums = np.array(self.data[f"{self.split}.factors"])[:, 0] if "sum" in self.data.meta["factors"] else None
        self.period = int(self.data.meta.get("period") or 1)  # steps of a season, where it is known
        self.first = min(max(self.period, 1), self.series.shape[1] - 1)  # of the steps that are scored: all methods can tell them
        self.half = self.series.shape[1] // 2

    def headline(self, metrics):
        return "mse"

    def measure(self, model, seed):
        need(model, "series", "sums", "forecast")
        x = torch.from_numpy(self.series)
        if self.sums is not None:
            return errors(array(torch.cat([model.sums(part) for part in x.split(ROWS)])), self.sums)
        made = torch.cat([model.forecast(part) for part in x.split(ROWS)])
        return errors(array(made)[:, self.first - 1 : -1], self.series[:, self.first :]) | self.ahead(array(self.continued(model, x)))

    def continued(self, model, x):
        """AHEAD steps after the first half, each from the ones before it: [B, AHEAD, D]."""
        x = x[:, : self.half]
        for _ in range(min(AHEAD, self.half)):
            x = torch.cat([x, torch.cat([model.forecast(part)[:, -1:] for part in x.split(ROWS)])], 1)
        return x[:, self.half :]

    def ahead(self, made):
        wanted = self.series[:, self.half : self.half + made.shape[1]]
        return {"mse_free_running": float(((made - wanted) ** 2).mean())}

    def baselines(self, model, fresh):
        """mean: of the training sums; naive_forecast: the last value again; seasonal_naive: the value a season ago."""
        if self.sums is not None:
            return {"mean": errors(np.full(len(self.sums), np.array(self.data["train.factors"])[:, 0].mean()), self.sums)}
        s, found, ahead = self.series, {}, min(AHEAD, self.half)
        found["naive_forecast"] = errors(s[:, self.first - 1 : -1], s[:, self.first :]) | self.ahead(
            np.repeat(s[:, self.half - 1 : self.half], ahead, 1))
        if 1 < self.period <= self.half:
            back = [self.half + i - self.period * (1 + i // self.period) for i in range(ahead)]
            found["seasonal_naive"] = errors(s[:, : -self.period], s[:, self.period :]) | self.ahead(s[:, back])
        return found

    def exhibit(self, model, gallery, seed):
        if hasattr(model, "gradient_by_lag"):
            lags.exhibit(model, {"series": torch.from_numpy(self.series[:ROWS])}, gallery)
        if self.sums is None:
            x = torch.from_numpy(self.series[:3])
            made = array(self.continued(model, x))
            for i in range(len(x)):
                whole = self.series[i, : self.half + made.shape[1], 0]
                both = (np.concatenate([whole, made[i, :, 0]]) - whole.min()) / max(np.ptp(whole), 1e-9)
                steps = list(range(0, len(whole), 2))  # every second one: there is no room for more
                lines = {"series": [(t, float(both[t])) for t in steps],
                         "forecast": [(t, float(both[len(whole) + t - self.half])) for t in steps if t >= self.half]}
                gallery.picture(f"forecast{i}", charts.lines(lines, "step", "value, scaled", steps), f"Forecast of test series {i + 1}",
                                "The series, and the forecast that goes on from its own values after the first half.")


def errors(made: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    return {"mse": float(((made - wanted) ** 2).mean()), "mae": float(np.abs(made - wanted).mean())}
