"""Numbers, outcomes and chart geometry by value, and the contrast of the colours."""

import re
from pathlib import Path

import pytest

from stages.report import charts
from stages.report.compare import metric_line
from stages.report.inputs import Curves, Metrics, Name, Value
from stages.report.numbers import figure, in_words, median, number, outcome, spread
from stages.report.pages import TEMPLATES
from stages.report.terms import title

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.967, "0.967"),
        (1.0, "1.00"),
        (43.81, "43.8"),
        (110.2, "110"),
        (1376.4, "1,376"),
        (9.996, "10.0"),
        (0.0432, "0.0432"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.000012345, "1.23×10⁻⁵"),
        (2.5e9, "2.50×10⁹"),
        (12345, "12,345"),
        (7, "7"),
        (None, "–"),
        (float("nan"), "–"),
        (True, "yes"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Value(43.81, 1.26, 3), "1.3"),
        (Value(0.967, 0.0042, 3), "0.004"),
        (Value(0.967, 0.0002, 3), "0.0002"),
        (Value(110.2, 4.4, 3), "4"),
        (Value(0.9, 0.1, 1), ""),
        (Value(0.9, 0.0, 3), "0"),
        (Value(None, None, 3), ""),
    ],
)
def test_spread_has_the_decimals_of_the_mean(value, shown):
    assert spread(value) == shown


def test_the_median_is_of_three_seeds_and_more_whose_values_were_kept():
    assert median(Value(4.0, 3.6, 3, values=(2.0, 8.2, 1.8))) == "2.00"
    assert median(Value(4.0, 3.6, 4, values=(1.0, 2.0, 4.0, 9.0))) == "3.00"
    assert median(Value(4.0, 3.6, 3)) == median(Value(4.0, 3.6, 2, values=(2.0, 6.0))) == median(Value(4.0)) == ""


def test_counted_things_are_whole():
    assert (figure(10.0, "classes"), figure(9.5, "classes"), figure(10.0, "nats"), figure(None, "classes")) == ("10", "9.50", "10.0", "–")


def measured(mean, sd=None, n=1, spread=None, **baselines):
    return Metrics("m", {"m": Value(mean, sd, n, spread)}, {k: {"m": Value(v)} for k, v in baselines.items()}, None, True, None)


@pytest.mark.parametrize(
    ("metrics", "better", "kind", "baseline", "close"),
    [
        (measured(0.9, a=0.8, b=0.85), "higher", "ahead", "b", False),
        (measured(0.9, a=0.8, b=0.95), "higher", "behind", "b", False),
        (measured(0.9, a=0.8, b=0.95), "lower", "behind", "a", False),
        (measured(10.0, gaussian=110.0, floor=3.0), "lower", "ahead", "gaussian", False),  # the floor is not a method to beat
        (measured(0.9, a=0.9), "lower", "level", "a", False),
        (measured(0.9, 0.02, 3, a=0.89), "higher", "ahead", "a", True),
        (measured(0.9, None, 1, 0.02, a=0.91), "higher", "behind", "a", True),  # one seed, repeated inside its evaluation
        (measured(0.9, None, 1, 0.02, a=0.93), "higher", "behind", "a", False),
        (measured(0.9, 0.001, 3, 0.02, a=0.91), "higher", "behind", "a", False),  # several seeds: theirs counts
        (measured(0.9, a=0.8), "none", "alone", None, False),
        (measured(0.9), "higher", "alone", None, False),
        (measured(None, a=0.8), "higher", "alone", None, False),
    ],
)
def test_outcome_says_how_it_came_out(metrics, better, kind, baseline, close):
    found = outcome(metrics, "m", Name("M", better))
    assert (found.kind, found.baseline, found.close) == (kind, baseline, close)


def test_best_of_a_line_is_marked_only_where_there_is_a_direction():
    columns = [("run", False, [Value(5.0)]), ("a", True, [Value(4.0), Value(6.0)]), ("floor", True, [Value(1.0)]), ("b", True, [])]
    names = {"low": Name("L", "lower"), "high": Name("H", "higher")}
    equal = [(key, True, [Value(0.0)]) for key in "ab"]
    assert [c.best for c in metric_line(names, "low", equal).cells] == [False, False]
    assert [c.best for c in metric_line(names, "low", columns).cells] == [False, True, False, False]
    assert [c.best for c in metric_line(names, "high", columns).cells] == [False, True, False, False]
    assert [c.best for c in metric_line(names, "other", columns).cells] == [False] * 4


def test_ticks_are_round_and_inside():
    assert charts.linear_ticks(0, 1980, 4) == [0, 500, 1000, 1500]
    assert charts.linear_ticks(-0.03, 0.11, 5) == [0.0, 0.05, 0.1]
    assert charts.log_ticks(0.3, 40) == [0.5, 1, 2, 5, 10, 20]
    assert charts.log_ticks(2e-4, 3e3) == pytest.approx([1e-2, 1.0, 100.0])
    assert [charts.tick(v) for v in (0, 500, 2000, 25000, 1.5e6, 0.25, -3)] == ["0", "500", "2,000", "25k", "1.5M", "0.25", "−3"]


def test_lines_end_at_the_edges_and_keep_order():
    chart = charts.line_chart("loss", [("loss", "s0", [(0, 2.0), (50, 1.5), (100, 1.0)])])
    xs, ys = zip(*chart.lines[0].points, strict=True)
    assert (xs[0], xs[-1]) == (charts.LEFT, charts.WIDTH - charts.RIGHT)
    assert ys[0] < ys[1] < ys[2] and not chart.log  # larger values stand higher
    assert chart.description == "loss: 2.00 at step 0, 1.00 at step 100; lowest 1.00 at step 100."


def test_wide_positive_curves_get_a_log_scale_and_others_do_not():
    assert charts.line_chart("a", [("a", "s0", [(0, 300.0), (1, 1.0)])]).log
    assert not charts.line_chart("a", [("a", "s0", [(0, 300.0), (1, 0.0)])]).log
    flat = charts.line_chart("a", [("a", "s0", [(5, 0.0)])])
    assert flat.lines[0].points == [
        (round((charts.LEFT + charts.WIDTH - charts.RIGHT) / 2, 1), round((charts.TOP + charts.HEIGHT - charts.BOTTOM) / 2, 1))
    ]


def test_validation_is_drawn_beside_training_and_long_curves_are_thinned():
    data = [(float(i), float(i % 7)) for i in range(5001)]
    found = charts.curve_charts(Curves({"loss": {"0": data}, "valid_loss": {"0": data[::100]}, "kl": {"0": data, "1": data}}))
    assert [(c.title, [line.label for line in c.lines]) for c in found] == [
        ("Loss", ["training", "validation"]),
        ("Rate", ["seed 0", "seed 1"]),
    ]
    kept = found[0].lines[0].data
    assert len(kept) == charts.POINTS and kept[0] == data[0] and kept[-1] == data[-1]


def test_the_loss_of_the_last_phase_is_not_drawn_twice():
    data = {"0": [(1.0, 2.0)]}
    assert [c.title for c in charts.curve_charts(Curves({"loss": data, "d_loss": {"0": [(1.0, 3.0)]}, "g_loss": data}))] == [
        "Loss, discriminator",
        "Loss, generator",
    ]


def test_every_term_of_a_default_run_has_a_title():
    columns = {name for file in (ROOT / "reports/curves").glob("*.csv") for name in file.read_text().splitlines()[0].split(",")[2:]}
    assert len(columns) > 20 and not [name for name in columns if title(name)[0] == name]
    assert title("valid_loss")[0] == "Loss, validation" and title("d_odd") == ("d_odd", "") and title("<b>") == ("<b>", "")


def test_bars_start_at_zero_also_for_negative_values():
    found = charts.bars([("run", "run", 3.0, "3"), ("a", "baseline", -1.0, "-1"), ("b", "baseline", None, "–")])
    assert [(b.start, b.width) for b in found] == [(25.0, 75.0), (0.0, 25.0), (0, 0)]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_have_the_contrast_that_wcag_aa_asks(theme):
    css = (TEMPLATES / "style.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", css, re.S)[theme]))

    def contrast(a: str, b: str) -> float:
        light, dark = sorted((luminance(colours[a]), luminance(colours[b])), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for text, ground in [(t, g) for t in ("ink", "muted", "link", "strong") for g in ("page", "card", "even-page")] + [
        (k, f"{k}-page") for k in ("good", "bad", "even")
    ]:
        assert contrast(text, ground) >= 4.5, (text, ground, contrast(text, ground))
    for line in ("s0", "s1", "s2", "s3", "s4", "s5", "fill"):
        assert contrast(line, "card") >= 3, (line, contrast(line, "card"))


def test_keys_of_metrics_in_a_text_are_shown_by_their_titles():
    names = {"exact_match": Name("Exact match"), "kl": Name("KL"), "modes": Name("Modes covered")}
    assert in_words(names, "exact_match of a less exact_matches at theta_0") == "Exact match of a less exact_matches at theta_0"
    assert in_words(names, "kl, by seed") == "KL, by seed" and in_words(names, "modes of 8, kl") == "modes of 8, kl"
