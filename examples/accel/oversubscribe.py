#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""oversubscribe.py ACCEL RESULT.json [ROUNDS]: run times of a kernel over oversubscription.

The kernel is spmv, eight times, with a random matrix that this program makes. Oversubscription is the
data over the budget. In each round the ways of giving a device its data run one after the other at
each budget:

  managed          managed memory with the budget, on an SMMU with HTTU
  managed-no-httu  the same, on an SMMU that sets no access flags
  hints            managed, with a second queue that fetches ahead of the kernels
  pinned           all mapped before the start; only where the data fit
  copies           the program copies the matrix to pinned buffers of the budget's size
  mapping          the CPU's product from a file mapping, in a process with this memory limit. It needs
                   systemd-run and the right to use it; without them it is left out

doc/figures/accel.py draws the result.
"""

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time

ROWS, ENTRIES, REPEAT = 100000, 1000000, 8
OVER = [0.5, 1, 1.5, 2, 4]
WAYS = {
    "managed": [],
    "hints": ["--queues", "2", "--hints"],
    "managed-no-httu": ["--no-httu"],
    "pinned": ["--prefetch"],
    "copies": ["--copies"],
    "mapping": ["--mapping"],
}
SLACK = 4 << 20         # of the limit: page tables, and other memory of the kernel


def write_matrix(path):
    rng = random.Random(1)
    rows = sorted(int(ROWS * rng.random() ** 2) + 1 for _ in range(ENTRIES))
    with open(path, "w", encoding="ascii") as f:
        f.write(f"%%MatrixMarket matrix coordinate integer general\n{ROWS} {ROWS} {ENTRIES}\n")
        f.writelines(f"{row} {int(ROWS * rng.random()) + 1} {rng.randrange(-99, 100)}\n"
                     for row in rows)


def run(accel, folder, options, limit=0):
    """The figures of a run, or the reason for which there are none."""
    out = os.path.join(folder, "run.json")
    command = [accel, *options, "--repeat", str(REPEAT), "--json", out, "spmv",
               os.path.join(folder, "matrix.mtx")]
    if limit:
        command = ["systemd-run", "--scope", "--quiet", "-p", f"MemoryMax={limit}",
                   "-p", "MemorySwapMax=0", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode != 0:
        return None, " ".join(done.stderr.split())[-200:]
    with open(out, encoding="utf-8") as f:
        return json.load(f), ""


def run_way(accel, folder, way, plain, over):
    """plain: a run without a budget."""
    budget = int(plain["data"] / over)
    if way == "pinned":
        return run(accel, folder, WAYS[way]) if over <= 1 else (None, "")
    if way == "mapping":
        limit = plain["private"] + budget + SLACK
        return run(accel, folder, WAYS[way], limit)
    return run(accel, folder, [*WAYS[way], "--budget", str(budget)])


def main(argv):
    if len(argv) not in (3, 4):
        sys.exit(__doc__)
    accel, rounds = os.path.abspath(argv[1]), int(argv[3]) if len(argv) == 4 else 5
    result = {"data": 0, "repeat": REPEAT, "rounds": rounds, "machine": platform.machine(),
              "cpus": os.cpu_count(), "ended": "", "left_out": {}, "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        write_matrix(os.path.join(folder, "matrix.mtx"))
        plain, why = run(accel, folder, [])
        mapping, why2 = run(accel, folder, WAYS["mapping"])
        if plain is None or mapping is None:
            sys.exit(f"oversubscribe.py: {why or why2}")
        result["data"] = plain["data"]
        for number in range(rounds):
            for over in OVER:
                for way in WAYS:
                    if way in result["left_out"]:
                        continue
                    figures, why = run_way(accel, folder, way,
                                           mapping if way == "mapping" else plain, over)
                    if figures is not None:
                        result["runs"].append({"round": number, "way": way, "over": over,
                                               **figures})
                    elif why:
                        result["left_out"][way] = why
                        print(f"oversubscribe.py: {way} is left out: {why}", file=sys.stderr)
    result["ended"] = time.strftime("%Y-%m-%d")
    with open(argv[2], "w", encoding="utf-8") as f:
        json.dump(result, f)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
