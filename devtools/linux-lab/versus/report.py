#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""report.py WORK ROUNDS COUNT BURST_COUNT [JSON]: check and report the boots of versus.sh."""

import json
import pathlib
import re
import statistics
import sys

ABOUT = {
    "placement": "the SMMU's thread alone on host processor 0; QEMU, all its virtual processors, "
                 "on host processor 1; faults are served by the guest's processor 0 on both sides",
    "interrupt": "Linux's is the cheapest there can be: a process of the lowest priority in the "
                 "guest, in the place of the idle loop, sees the record in the queue's registers "
                 "and sets the interrupt pending at the GIC. iopf polls",
    "time": "from the store of EVTQ_PROD to the SMMU's consumption of the RESUME, by the SMMU's "
            "clock; of a burst, from the first access to the end of the last, per fault",
    "instructions": "of the guest, median. Linux: from the interrupt's cause to the time when its "
                    "processor has nothing left to do. iopf: the pass that found the fault, whole",
    "distortions": [
        "QEMU translates the guest's instructions: both sides are slower than on a processor, "
        "code with barriers, exceptions and system registers not in proportion",
        "no cost of caches, of barriers or of an MMIO read of silicon is in it",
        "the emulated GIC is in Linux's time, not in its instructions: setting the interrupt "
        "pending, its acknowledgement and its end are accesses that leave the guest",
        "a page is zeroed before it is mapped: by Linux at the fault, by iopf's pool before it",
        "with two host processors the tail is the host's noise: no percentile above the median "
        "is given",
    ],
}


def fail(text):
    sys.exit(f"versus.sh: {text}")


class Boot:
    """One boot: the host's measurements without the first, and the guest's ticks by pass."""

    def __init__(self, work, name, count):
        self.name = name
        self.console = (work / name / "console").read_text(errors="replace")
        host = (work / name / "host").read_text(errors="replace")
        self.benches = []
        for line in host.splitlines():
            fields = line.split()
            if line.startswith("bench "):
                self.benches.append({"batch": int(fields[2]), "hz": float(fields[3]), "dmas": [],
                                     "failed": int(fields[4]), "stalls": int(fields[5])})
            elif line.startswith("bench-dma "):
                self.benches[-1]["dmas"].append([int(f) for f in fields[1:]])
        self.ticks = [int(t) for t in re.findall(r"^versus: ticks (\d+)", self.console, re.M)]
        self.check(host)
        self.benches = self.benches[1:]
        # The guest's last measurement; the pass of the DMA before the first one is before them.
        if len(self.ticks) < count:
            fail(f"{name}: the guest counted {len(self.ticks)} passes")
        self.ticks = self.ticks[-count:]

    def check(self, host):
        ended = re.search(r"end: the guest is done, .*driver errors (\d+), oracle errors (\d+), "
                          r"stalls outstanding (\d+)", host)
        if ended is None or "versus: FAILED" in self.console:
            print("\n".join(self.console.splitlines()[-20:] + host.splitlines()[-5:]))
            fail(f"{self.name} did not end, see above; --keep keeps all of it")
        if ended.groups() != ("0", "0", "0"):
            fail(f"{self.name}: the SMMU has errors: {ended[0]}")
        specs = re.findall(r"^versus: \S+: (\d+) failed, \d+ stalls, (\d+) bytes wrong",
                           self.console, re.M)
        if len(specs) != len(self.benches) or any(s != ("0", "0") for s in specs):
            fail(f"{self.name}: an access failed, or memory is wrong: {specs}")
        for bench in self.benches:
            if bench["failed"] != 0 or bench["stalls"] != len(bench["dmas"]):
                fail(f"{self.name}: of {len(bench['dmas'])} accesses {bench['failed']} failed, "
                     f"and they stalled {bench['stalls']} times")

    def time_ns(self):
        """Median of one stall's service."""
        bench = next(b for b in self.benches if b["batch"] == 1)
        return statistics.median(d[2] - d[1] for d in bench["dmas"]) * 1e9 / bench["hz"]

    def burst_ns(self):
        """Median of the bursts, per fault."""
        bench = next(b for b in self.benches if b["batch"] > 1)
        n, dmas = bench["batch"], bench["dmas"]
        bursts = [dmas[i:i + n] for i in range(0, len(dmas), n)]
        return statistics.median(max(d[3] for d in b) - min(d[0] for d in b)
                                 for b in bursts) / n * 1e9 / bench["hz"]

    def instructions(self):
        return statistics.median_low(self.ticks)


def side(work, name, rounds, count):
    boots = [Boot(work, f"{name}-{r}", count) for r in range(1, rounds + 1)]
    counted = [Boot(work, f"{name}-icount-{r}", count) for r in (1, 2)]
    return {"p50_ns": [b.time_ns() for b in boots],
            "burst_ns_per_fault": [b.burst_ns() for b in boots],
            "instructions": [b.instructions() for b in counted]}, boots[0]


def ratio(linux, polled, key):
    """Of the two boots of a round, one after the other."""
    return [a / b for a, b in zip(linux[key], polled[key])]


def show(name, values, unit, digits):
    print(f"{name:34} {statistics.median(values):10.{digits}f} {unit:4} "
          f"[{min(values):.{digits}f} to {max(values):.{digits}f}]")


def main():
    work = pathlib.Path(sys.argv[1])
    rounds, count, burst_count = map(int, sys.argv[2:5])
    linux, boot = side(work, "linux", rounds, count)
    polled, _ = side(work, "iopf", rounds, count)
    ratios = {"p50_linux_over_polled": ratio(linux, polled, "p50_ns"),
              "burst_linux_over_polled": ratio(linux, polled, "burst_ns_per_fault"),
              "instructions_linux_over_polled": ratio(linux, polled, "instructions")}
    print(f"Medians of {rounds} rounds and their range; each round: median of {count} stalls, "
          f"and of {burst_count // 256} bursts. Instructions: two boots.")
    for name, figures in (("Linux", linux), ("iopf", polled)):
        show(f"{name}, one stall", figures["p50_ns"], "ns", 0)
        show(f"{name}, burst of 256, each", figures["burst_ns_per_fault"], "ns", 0)
        show(f"{name}, instructions of one stall", figures["instructions"], "", 0)
    for name, values in ratios.items():
        show(name, values, "", 2)
    if len(sys.argv) > 5 and sys.argv[5]:
        result = {"ratios": {n: statistics.median(v) for n, v in ratios.items()},
                  "ratios_of_rounds": ratios, "linux": linux, "polled": polled,
                  "kernel": re.search(r"Linux version (\S+)", boot.console)[1],
                  "rounds": rounds, "count": count, "burst_count": burst_count,
                  "about": ABOUT}
        pathlib.Path(sys.argv[5]).write_text(json.dumps(result, indent=1) + "\n")


main()
