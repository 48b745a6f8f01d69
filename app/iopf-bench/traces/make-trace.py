#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""make-trace.py [--seed N] KIND OUT: make a trace of page accesses that a program could have.

Kinds:
  hot-scan   random accesses to a hot set, between them a scan that comes round and round
  loop       a loop over a little more than half of the pages, between two passes over all
  zipf-scan  accesses by Zipf's law to a part of the pages, and now and then a scan of others
  repeat=N:TRACE  the accesses of TRACE, N times

The same seed gives the same file. The format is that of iopf-trace-record.
"""

import argparse
import gzip
import itertools
import random
import sys


def make_hot_scan(rand):
    hot, cold = 240, 720
    for i in range(50_000):
        yield rand.randrange(hot) if i % 3 else hot + i // 3 % cold


def make_loop(rand):
    del rand
    pages = 640
    yield from range(pages)
    for _ in range(20):
        yield from range(pages * 11 // 20)
    yield from range(pages)


def make_zipf_scan(rand):
    often, cold, scan = 700, 500, 250
    places = rand.sample(range(often), often)
    weights = list(itertools.accumulate(1 / (i + 1) ** 0.9 for i in range(often)))
    for i in range(16):
        yield from rand.choices(places, cum_weights=weights, k=3500)
        yield from (often + (i * scan + k) % cold for k in range(scan))


def read(path):
    """The accesses of a trace, by the place of the page in its address space."""
    with gzip.open(path, "rt") as f:
        lines = [line.split() for line in f]
    places = [0]
    for line in lines:
        if line[0] == "#M":
            places.append(places[-1] + int(line[2]))
    return [places[int(line[0])] for line in lines if not line[0].startswith("#")]


def write(path, accesses, text):
    merged = [(page, len(list(group))) for page, group in itertools.groupby(accesses)]
    numbers = {}
    for page, _ in merged:
        numbers.setdefault(page, len(numbers))
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as f:
        f.write(f"# iopf trace 1 page_size=4096 pages={len(numbers)} "
                f"accesses={sum(n for _, n in merged)} lines={len(merged)} "
                f'program="{text}"\n'.encode())
        for page, n in merged:
            f.write(f"{numbers[page]} R{f' {n}' if n > 1 else ''}\n".encode())
        places = list(numbers)
        for i in range(1, len(places)):
            f.write(f"#M {i} {places[i] - places[i - 1]}\n".encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("kind", metavar="KIND")
    parser.add_argument("out", metavar="OUT")
    args = parser.parse_args()
    kinds = {"hot-scan": make_hot_scan, "loop": make_loop, "zipf-scan": make_zipf_scan}
    if args.kind in kinds:
        accesses = kinds[args.kind](random.Random(args.seed))
    elif args.kind.startswith("repeat="):
        times, _, path = args.kind[len("repeat="):].partition(":")
        accesses = read(path) * int(times)
    else:
        sys.exit(f"make-trace.py: no kind '{args.kind}'; see make-trace.py --help")
    kind = args.kind if args.kind in kinds else f"repeat={times}"
    write(args.out, accesses, f"make-trace.py --seed {args.seed} {kind}")


if __name__ == "__main__":
    main()
