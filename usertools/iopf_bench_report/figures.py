# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""What to draw of a result."""

import collections
import math

from .plot import MODES, RATES, STYLES, TIMES, Series, fits_log, log_axis, style_of
from .result import clean, entry, items, number, objects, text

MIN_BEYOND = 10         # samples; curves end where fewer are left

# key names its file. settings are those of gnuplot.
Figure = collections.namedtuple("Figure", "key name settings series caption")


def curve(case, prefix=""):
    """Rows (1/(1-p), ns) of a histogram, thinned, as far as MIN_BEYOND samples are beyond."""
    pairs = []
    for pair in items(case, prefix + "histogram"):
        if not isinstance(pair, list) or len(pair) != 2:
            return []
        ns, samples = number({"v": pair[0]}, "v"), number({"v": pair[1]}, "v")
        if ns is None or samples is None or samples < 1 or not fits_log(ns, samples):
            return []
        pairs.append((ns, samples))
    total, seen, rows = sum(samples for _, samples in pairs), 0, []
    for ns, samples in sorted(pairs):
        seen += samples
        if total - seen < MIN_BEYOND:
            break
        x = total / (total - seen)
        if not rows or x > rows[-1][0] * 1.01 or ns > rows[-1][1] * 1.05:
            rows.append((x, ns))
    return rows


def closed_cases(result):
    """Cases of the closed loop with one page for each write, by depth and mode. Of the variants of
    a mode it is the one with the lowest p50."""
    cases = {}
    for case in objects(result, "cases"):
        depth = number(case, "depth")
        if depth is not None and depth >= 1 and fits_log(depth) and \
                text(case, "loop") in ("", "closed") and number(case, "pages") in (None, 1):
            key = int(depth), clean(text(case, "mode"))
            if key not in cases or number(case, "p50_ns") is not None and \
                    number(case, "p50_ns") < (number(cases[key], "p50_ns") or math.inf):
                cases[key] = case
    return cases


def values_of(series, *columns):
    return [row[column] for one in series for row in one.rows for column in columns]


def figures_of_percentiles(cases, styles):
    depths = sorted({depth for depth, _ in cases})
    chosen = sorted({depths[0], depths[len(depths) // 2], depths[-1]}) if depths else []
    ticks = ", ".join(f'"{label}" {x}' for label, x in [
        ("50", 2), ("90", 10), ("99", 100), ("99.9", 1000), ("99.99", 10000),
        ("99.999", 100000)])
    for depth in chosen:
        series = [Series(mode, styles[mode], curve(cases[depth, mode])) for mode in styles
                  if (depth, mode) in cases]
        settings = ["set logscale x", f"set xtics ({ticks})", 'set xlabel "percentile, %"',
                    "set xrange [1:*]",
                    *log_axis("y", "service latency", values_of(series, 1), TIMES)]
        yield Figure(f"latency-d{depth}", f"Latency by percentile, depth {depth}", settings,
                     series, "From the event's publication to the answer consumed; of uffd the "
                     "whole access, in its fastest variant. Lower is better. A curve ends where "
                     f"fewer than {MIN_BEYOND} samples are beyond it.")


def figure_of_throughput(cases, styles):
    curves = {}
    for (depth, mode), case in sorted(cases.items()):
        spread = entry(case, "mfaults_per_s_by_round")
        row = (number(case, "mfaults_per_s"), number(spread, "min"), number(spread, "max"))
        if all(value is not None and fits_log(value) for value in row):
            curves.setdefault(mode, []).append((depth, *(value * 1e6 for value in row)))
    depths = sorted({depth for depth, _ in cases})
    if len(depths) < 2:
        return
    series = [Series(mode, styles[mode], curves[mode], bars=True) for mode in styles
              if mode in curves]
    settings = ["set logscale x 2", 'set xlabel "writes under way"',
                f"set xrange [{depths[0] * 0.9:g}:{depths[-1] * 1.12:g}]",
                f"set xtics ({', '.join(str(depth) for depth in depths)})",
                *log_axis("y", "pages per second", values_of(series, 1, 2, 3), RATES)]
    yield Figure("throughput", "Throughput over depth", settings, series,
                 "The median of the rounds and their range; the model's own work is in it. Higher "
                 "is better.")


LOAD_LATENCY = ("From the moment at which a fault was due to the answer consumed. Where it turns "
                "upwards servicer or generator is at its limit. Ringed points: the generator was "
                "late itself.")
# Field of a case, key of the figure, its name, the factor to nanoseconds or percent, the caption.
LOAD_FIGURES = [
    ("p50_ns", "load-p50", "Median latency", 1, LOAD_LATENCY),
    ("p99_ns", "load-p99", "p99 latency", 1, LOAD_LATENCY),
    ("servicer_busy_share", "load-busy", "CPU busy with faults", 100,
     "The part of one CPU that the faults cost. Of a thread that polls it is the time without its "
     "passes that found no fault. Lower is better."),
    ("servicer_cpu_share", "load-cpu", "CPU used", 100,
     "The CPU time of the servicer's threads. A thread that polls uses its CPU with faults or "
     "without."),
]


def load_series(cases, styles, key, scale):
    series = []
    for mode in styles:
        rows = sorted((number(case, "offered_mfaults_per_s") * 1e6, value * scale,
                       case.get("generator_kept_up") is False)
                      for case in cases if clean(text(case, "mode")) == mode
                      and (value := number(case, key)) is not None
                      and (fits_log(value) or scale != 1))
        if not rows:
            continue
        series.append(Series(mode, styles[mode], [row[:2] for row in rows]))
        late = [row[:2] for row in rows if row[2]]
        if late and scale == 1:
            series.append(Series("", styles[mode], late, hollow=True))
    return series


def figures_of_load(result, styles):
    """Latency, and the processor's share, over the offered load, of the open-loop cases."""
    kinds = {}
    for case in objects(result, "cases"):
        offered = number(case, "offered_mfaults_per_s")
        if text(case, "loop") == "open" and offered is not None and fits_log(offered):
            kinds.setdefault(clean(text(case, "arrival") or "open"), []).append(case)
    for kind, cases in sorted(kinds.items()):
        for key, name, label, scale, caption in LOAD_FIGURES:
            series = load_series(cases, styles, key, scale)
            settings = log_axis("x", "offered, faults per second", values_of(series, 0), RATES)
            if scale == 1:
                settings += log_axis("y", label, values_of(series, 1), TIMES)
            else:
                top = max([103, *values_of(series, 1)])
                settings += [f'set ylabel "{label}, %"', f"set yrange [0:{top:g}]"]
            yield Figure(f"{name}-{kind}", f"{label} over load, {kind} arrivals", settings,
                         series, caption)


def figures_of_time(result, styles):
    """The intervals of a passive run: rate and latency over time."""
    modes = {text(case, "name"): clean(text(case, "mode")) for case in objects(result, "cases")
             if text(case, "loop") == "passive"}
    for name, mode in modes.items():
        curves, end = {"faults_per_s": [], "p50_ns": [], "p99_ns": []}, 0
        for one in objects(result, "rounds"):
            end += number(one, "seconds") or 0
            case = entry(entry(one, "cases"), name)
            for key, rows in curves.items():
                value = number(case, key)
                if value is not None and (key == "faults_per_s" or fits_log(value)):
                    rows.append((end, value))
        rates = [Series(mode, styles[mode], curves["faults_per_s"])]
        yield Figure("time-rate", "Faults over time", [
            'set xlabel "seconds"', "set yrange [0:*]", 'set ylabel "faults per second"'], rates,
            "Answered in each interval; a point is at its end.")
        times = [Series(f"{mode}, p50", styles[mode], curves["p50_ns"]),
                 Series("p99", (styles[mode] + 1) % len(STYLES), curves["p99_ns"])]
        yield Figure("time-latency", "Latency over time", [
            'set xlabel "seconds"', *log_axis("y", "latency", values_of(times, 1), TIMES)], times,
            "From the read of a record to the send of its answer, in each interval that has "
            "enough faults. Lower is better.")


def list_figures(result):
    """All figures that the result has data for."""
    cases = closed_cases(result)
    modes = list(dict.fromkeys(clean(text(case, "mode")) for case in objects(result, "cases")))
    styles = style_of(sorted(modes, key=lambda m: (MODES.index(m) if m in MODES else 99)))
    figures = [*figures_of_percentiles(cases, styles), *figure_of_throughput(cases, styles),
               *figures_of_load(result, styles), *figures_of_time(result, styles)]
    shown = [figure._replace(series=[one for one in figure.series if one.rows])
             for figure in figures]
    return [figure for figure in shown if figure.series]
