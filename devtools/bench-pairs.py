#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Compare the benchmark of two builds, run by turns in one session.

The speed of a machine drifts by more than the differences of interest. Thus each pair runs
both builds one after the other, the order alternates, and a figure is the median over the
pairs of new / old. The middle half of these ratios shows how far to trust it."""

import argparse
import json
import statistics
import subprocess
import tempfile

FIGURES = ("p50_ns", "end_to_end_p50_ns", "mfaults_per_s")


def run_benchmark(program, options):
    """Return {figure: value} of one run."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([program, "--quick", "--json", out.name, *options], check=True,
                       stdout=subprocess.DEVNULL)
        with open(out.name, encoding="utf-8") as file:
            result = json.load(file)
    figures = {}
    for case in result["cases"]:
        for figure in FIGURES:
            if case.get(figure):
                figures[f"{case['name']} {figure}"] = case[figure]
    for name, ratio in result.get("ratios", {}).items():
        if isinstance(ratio, (int, float)) and ratio > 0:
            figures[f"ratio {name}"] = ratio
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="iopf-bench of the old build")
    parser.add_argument("new", help="iopf-bench of the new build")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("options", nargs="*", help="options of iopf-bench, after --")
    # Or "--pairs" between the programs and "--" ends the list of positional arguments.
    args = parser.parse_intermixed_args()
    if args.pairs < 2:
        parser.error(f"--pairs {args.pairs}: at least 2")
    pairs = []
    for pair in range(args.pairs):
        if pair % 2 == 0:
            old = run_benchmark(args.old, args.options)
            new = run_benchmark(args.new, args.options)
        else:
            new = run_benchmark(args.new, args.options)
            old = run_benchmark(args.old, args.options)
        pairs.append((old, new))
    print(f"{'figure':44} {'old':>9} {'new':>9} {'change':>8}  middle half of the pairs")
    for figure in pairs[0][1]:
        values = [(old[figure], new[figure]) for old, new in pairs
                  if figure in old and figure in new]
        if len(values) < 2:
            continue
        low, middle, high = statistics.quantiles([100 * (new / old - 1) for old, new in values],
                                                 n=4, method="inclusive")
        old, new = (statistics.median(side) for side in zip(*values))
        print(f"{figure:44} {old:9.3f} {new:9.3f} {middle:+7.1f}%  {low:+.1f} to {high:+.1f}")


if __name__ == "__main__":
    main()
