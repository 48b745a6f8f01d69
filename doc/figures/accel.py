#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""accel.py RESULT.json: keep a result of examples/accel/oversubscribe.py for the guide, and draw its
picture. accel.py --check: say whether the picture is that of the result.
"""

import json
import pathlib
import statistics
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "usertools"), str(HERE)]

from bench import list_words  # noqa: E402
from iopf_bench_report.figures import Figure  # noqa: E402
from iopf_bench_report.picture import make_picture  # noqa: E402
from iopf_bench_report.plot import TIMES, Series, log_axis  # noqa: E402
from iopf_bench_report.result import Failed  # noqa: E402

RESULT = HERE / "accel-result.json"
PICTURE = HERE / "accel-oversubscription.svg"
# way -> (its label, its style)
WAYS = {
    "managed": ("managed memory", 0),
    "hints": ("managed, prefetched", 5),
    "managed-no-httu": ("managed, no HTTU", 3),
    "copies": ("explicit copies", 4),
    "pinned": ("all pinned", 1),
    "mapping": ("CPU, file mapping", 2),
}


def list_rows(result, way):
    """(oversubscription, median, least, largest time in ns)"""
    times = {}
    for run in result["runs"]:
        if run["way"] == way:
            times.setdefault(run["over"], []).append(run["seconds"] * 1e9)
    return [(over, statistics.median(values), min(values), max(values))
            for over, values in sorted(times.items())]


def draw(result):
    series = [Series(label, style, rows, bars=True) for way, (label, style) in WAYS.items()
              if (rows := list_rows(result, way))]
    values = [value for one in series for row in one.rows for value in row[1:]]
    settings = ['set xlabel "data over memory"', "set logscale x 2", "set xrange [0.45:4.5]",
                'set xtics ("0.5" 0.5, "1" 1, "1.5" 1.5, "2" 2, "4" 4)',
                *log_axis("y", "run time", values, TIMES)]
    figure = Figure("accel-oversubscription", "Run time over oversubscription", settings, series, "")
    return make_picture(figure, "")


def main(argv):
    if len(argv) != 1:
        sys.exit("usage: accel.py RESULT.json | accel.py --check")
    path = RESULT if argv == ["--check"] else pathlib.Path(argv[0])
    try:
        result = json.loads(path.read_text())
        picture = draw(result)
    except (OSError, ValueError, KeyError, Failed) as error:
        sys.exit(f"accel.py: {path}: {error}")
    if argv == ["--check"]:
        if list_words(PICTURE.read_text()) == list_words(picture):
            return 0
        print(f"doc/figures/{PICTURE.name} is not what {RESULT.name} gives: run "
              f"doc/figures/accel.py doc/figures/{RESULT.name}")
        return 1
    RESULT.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    PICTURE.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
