#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""bench.py RESULT.json: keep a result of iopf-bench for the guides, and draw its pictures.
bench.py --check: say which of the pictures are not those of the result.

bench-result.json.gz has what the pictures and the tables of the report show, without the figures of
the rounds and the other histograms. The pictures, bench-NAME.svg, are in the tree, since README.md
shows one. gnuplot versions write different SVGs: --check compares the run and the words.
"""

import gzip
import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "usertools"))

from iopf_bench_report.picture import make_pictures  # noqa: E402
from iopf_bench_report.result import Failed, items, load, objects, text  # noqa: E402

RESULT = HERE / "bench-result.json.gz"
# Those that the guides show.
SHOWN = ("latency-d1.svg", "throughput.svg", "load-p50-poisson.svg", "load-busy-poisson.svg")


def shorten(result):
    for case in objects(result, "cases"):
        for key in [key for key in case if key.endswith("histogram")]:
            if key != "histogram" or text(case, "loop") == "open" or case.get("pages") != 1:
                del case[key]
    for one in objects(result, "rounds"):
        for key in ("cases", "ratios"):
            one.pop(key, None)
    return result


def list_words(svg):
    return re.findall(r"<(?:desc|title|text)[^>]*>([^<]*)<", svg)


def check(pictures):
    bad = 0
    for path in set(HERE.glob("bench-*.svg")) | set(pictures):
        if path not in pictures or not path.exists() or \
                list_words(path.read_text()) != list_words(pictures[path]):
            print(f"doc/figures/{path.name} is not what {RESULT.name} gives: run "
                  f"doc/figures/bench.py doc/figures/{RESULT.name}")
            bad = 1
    return bad


def main(argv):
    if len(argv) != 1:
        sys.exit("usage: bench.py RESULT.json | bench.py --check")
    try:
        result = load(str(RESULT) if argv == ["--check"] else argv[0])
        if text(result, "suite") or not items(result, "cases"):
            raise Failed(f"{argv[0]} is the result of a suite; give one of the modes")
        pictures = {HERE / f"bench-{name}": svg for name, svg in make_pictures(result).items()
                    if name in SHOWN}
    except Failed as error:
        sys.exit(f"bench.py: {error}")
    if argv == ["--check"]:
        return check(pictures)
    content = json.dumps(shorten(result), separators=(",", ":"))
    RESULT.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    for path in set(HERE.glob("bench-*.svg")) - set(pictures):
        path.unlink()
    for path, svg in pictures.items():
        path.write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
