# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Plots of gnuplot as SVG, with placeholders for colours, which page.py and picture.py replace."""

import html
import math
import re
import subprocess

from .result import Failed, clean

FIGURE_WIDTH, FIGURE_HEIGHT = 520, 400
MAX_TICKS = 9
# The least and the largest value of a logarithmic axis.
SMALLEST, LARGEST = 1e-6, 1e18

# A mode keeps its colour, point and dash in each figure: (light, dark, point, dash). The colours
# are told apart with each kind of colour blindness by their lightness, points and dashes.
MODES = ["polled", "null", "local", "eventfd", "uffd", "pri"]
STYLES = [
    ("#0060a8", "#63b7f5", 7, "1"),
    ("#666666", "#adadad", 9, "2"),
    ("#9a6700", "#f0c648", 13, "4"),
    ("#c24a00", "#ff8f57", 5, "1"),
    ("#00795a", "#3dd1a4", 11, "2"),
    ("#8e3b8a", "#e39ad6", 4, "1"),
    ("#20208a", "#b9b9ff", 6, "4"),
    ("#7a3b00", "#e8b48a", 8, "2"),
]
# name -> (light, dark). The others are those of STYLES: s0, s1, ...
COLOURS = {"fg": ("#1c1c1c", "#e6e6e6"), "grid": ("#c8c8c8", "#4a4f57")}
COLOURS.update({f"s{i}": style[:2] for i, style in enumerate(STYLES)})
# In place of a colour gnuplot gets a grey of its own for each name.
PLACEHOLDERS = {f"#{i:02x}{i:02x}{i:02x}": name for i, name in enumerate(COLOURS, 16)}
GREY = {name: grey for grey, name in PLACEHOLDERS.items()}

TIMES = [("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]       # of nanoseconds
RATES = [("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9)]


class Series:
    """A curve: its label, style and rows of numbers; hollow points mark doubtful rows."""

    def __init__(self, label, style, rows, bars=False, hollow=False):
        self.label, self.style, self.rows = label, style, rows
        self.bars, self.hollow = bars, hollow


def style_of(modes):
    """mode -> index into STYLES: its own, or for other modes one of those that are left."""
    known = [mode for mode in MODES if mode in modes]
    free = [i for i in range(len(STYLES)) if i >= len(MODES) or MODES[i] not in known]
    others = [mode for mode in modes if mode not in MODES]
    styles = {mode: MODES.index(mode) for mode in known}
    styles.update({mode: free[i % len(free)] for i, mode in enumerate(others)})
    return styles


def fits_log(*values):
    return all(SMALLEST <= value <= LARGEST for value in values)


def show_with_unit(value, units):
    name, factor = next(((name, factor) for name, factor in reversed(units) if value >= factor),
                        units[0])
    return f"{value / factor:.9g} {name}".rstrip()


def log_axis(axis, label, values, units):
    """Settings of a logarithmic axis: at each tick a number with its unit."""
    low, high = (min(values), max(values)) if values else (1, 1)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if math.log10(high / low) > 2.5 else (1, 3) if high / low > 12 else (1, 2, 5)
    every = (last - first) // MAX_TICKS + 1
    ticks = ", ".join(f'"{show_with_unit(step * 10.0 ** exponent, units)}" {step}e{exponent}'
                      for exponent in range(first, last + 1, every) for step in steps)
    return [f"set logscale {axis}", f'set {axis}label "{label}"', f"set {axis}tics ({ticks})",
            f"set {axis}range [{low / 1.25:.9g}:{high * 1.25:.9g}]"]


def plot_command(at, series):
    point, dash = STYLES[series.style][2:] if not series.hollow else (6, "1")
    size = 2 if series.hollow else 1
    command = f"$d{at} using 1:2"
    if series.bars:
        command += ":3:4 with yerrorlines"
    elif series.hollow:
        command += " with points"
    else:
        command += " with linespoints" + (" pn 8" if len(series.rows) > 40 else "")
    title = f'title "{clean(series.label)}"' if series.label else "notitle"
    return (f'{command} lc rgb "{GREY[f"s{series.style}"]}" pt {point} ps {size} dt {dash} '
            f'lw {3 if series.style == 0 else 2} {title}')


def run_gnuplot(script):
    try:
        run = subprocess.run(["gnuplot", "-d"], input=script, capture_output=True, text=True,
                             timeout=60, check=False)
    except FileNotFoundError as error:
        raise Failed("gnuplot is missing; install it (Debian: apt install gnuplot-nox)") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"gnuplot cannot run: {error}") from error
    if run.returncode != 0 or "</svg>" not in run.stdout:
        why = " ".join(run.stderr.split())[-200:]
        raise Failed(f"gnuplot {run.returncode}: {why}; its terminal svg is needed")
    return run.stdout


def make_svg(at, name, settings, series, colour):
    """An SVG element. colour(attribute, name) gives the attribute for a colour of COLOURS; the ids
    begin with f<at>."""
    foreground, grid = GREY["fg"], GREY["grid"]
    script = [f'set terminal svg size {FIGURE_WIDTH},{FIGURE_HEIGHT} dynamic noenhanced '
              f'font "sans-serif,16" name "f{at}"',
              "set rmargin 4", f'set border 3 lc rgb "{foreground}"',
              f'set tics nomirror textcolor rgb "{foreground}"',
              f'set grid lc rgb "{grid}" dt 1 lw 0.7',
              f'set key tmargin center horizontal samplen 2.5 textcolor rgb "{foreground}"',
              f'set xlabel textcolor rgb "{foreground}"',
              f'set ylabel textcolor rgb "{foreground}"', *settings]
    for i, one in enumerate(series):
        rows = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in one.rows)
        script.append(f"$d{i} << EOD\n{rows}\nEOD")
    script.append("plot " + ", ".join(plot_command(i, one) for i, one in enumerate(series)))
    svg = run_gnuplot("\n".join(script) + "\n")
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<filter.*?</filter>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<g [^>]*>\s*</g>\s*", "", svg)

    def replace(match):
        grey = f"#{int(match.group(2)):02x}" + f"{int(match.group(2)):02x}" * 2
        return colour(match.group(1), PLACEHOLDERS.get(grey, "fg"))

    svg = re.sub(r"\b(stroke|fill|color)=['\"]rgb\( *(\d+), *\2, *\2\)['\"]", replace, svg)
    svg = re.sub(r"\b(stroke|fill|color)=\"black\"", lambda m: colour(m.group(1), "fg"), svg)
    # Ids are unique in a file of HTML.
    svg = re.sub(r"\bid=(['\"])", rf"id=\1f{at}", svg)
    svg = re.sub(r"href=(['\"])#", rf"href=\1#f{at}", svg)
    svg = re.sub(rf"<title>f{at}_plot_(\d+)</title>",
                 lambda m: f"<title>{html.escape(series[int(m.group(1)) - 1].label)}</title>", svg)
    svg = re.sub(rf"<title>f{at}</title>\s*<desc>.*?</desc>", f"<title>{html.escape(name)}</title>",
                 svg, flags=re.S)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(name)}"', 1)
