#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Count the instructions of the library and driver for each kind of fault.

insn-guard.py [--update] [--json FILE] [BUILD_DIR]: runs insn-guard under callgrind and
compares with devtools/insn-guard/figures.txt. A figure that differs by more than the
tolerance fails, also if it is smaller: --update records the new figures, and their diff
belongs to the commit that changed them. Figures belong to one compiler; with another all
are skipped.

It also counts, by source line, the instructions of an unmap that belong to the gate for
suspend: is_off() in tlbi.c, and the condition that calls it. The ratio
map_unmap_gate_instructions_over_none is all over those without the gate; above GATE_MOST
it fails, with each compiler. --json writes it to a file.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = ROOT / "devtools/insn-guard/figures.txt"
TOLERANCE = 0.03
TIMES = 256
GATE = ROOT / "drivers/smmuv3_pmd/tlbi.c"
GATE_RATIO = "map_unmap_gate_instructions_over_none"
GATE_MOST = 1.02

HEADER = """\
# Instructions per fault, counted by devtools/insn-guard.py (see there).
# stall: one at a time; stall-burst: one of 32 in a burst; group: eight page requests;
# request and request-burst: the same for groups of one page request;
# deferred: on the poll thread; worker: the same fault on the worker; unmap: one page.
# Of 32 in a burst on one page: echo: each is answered at once; duplicate: it gets the first
# one's answer; joined: it waits for the first one, which is taken.
"""


class Trouble(Exception):
    """The reason that counting is impossible."""


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def build_of(build, program):
    """The line that names the build of the figures."""
    options = json.loads(output("meson", "introspect", "--buildoptions", str(build)))
    options = {o["name"]: o["value"] for o in options}
    sanitize = options["b_sanitize"]
    return (f"{output(program, '--compiler').strip()}, {platform.machine()}, "
            f"{options['buildtype']}"
            + ("" if sanitize in ("none", []) else f", sanitizer {sanitize}"))


def read_figures():
    figures, build = {}, None
    for line in FIGURES.read_text().splitlines():
        if line.startswith("build: "):
            build = line[len("build: "):]
        elif line and not line.startswith("#"):
            name, value = line.split()
            figures[name] = float(value)
    return build, figures


def count(program, name, out="/dev/null"):
    command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--compress-strings=no",
               "--compress-pos=no", f"--callgrind-out-file={out}", str(program), name, str(TIMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C"})
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or collected is None:
        raise Trouble(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return int(collected.group(1)) / int(done.stdout)


def gate_lines():
    """The lines of is_off(), and that of the condition that calls it."""
    lines = GATE.read_text().splitlines()
    begin = next((n for n, text in enumerate(lines) if text.startswith("is_off(")), None)
    call = [n for n, text in enumerate(lines) if re.search(r"[^_\w]is_off\(s\)", text)]
    if begin is None or len(call) != 1:
        raise Trouble(f"no is_off() with one caller in {GATE.relative_to(ROOT)}")
    end = next(n for n in range(begin, len(lines)) if lines[n] == "}")
    return set(range(begin + 1, end + 2)) | {call[0] + 1}


def count_lines(report, source, lines):
    """Instructions of these lines of a source, inlined ones too, in a report of callgrind."""
    here, skip, total = False, False, 0
    for text in report.read_text().splitlines():
        if text.startswith(("fl=", "fi=", "fe=")):
            here = text[3:].endswith(source)
        elif text.startswith("calls="):
            skip = True     # the next line has the cost of the called function
        elif re.match(r"\d+ \d+$", text):
            line, cost = map(int, text.split())
            total += cost if here and not skip and line in lines else 0
            skip = False
    return total


def measure_gate(program):
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "callgrind.out"
        everything = count(program, "unmap", report)
        gate = count_lines(report, GATE.name, gate_lines()) / TIMES
    if gate < 2:
        raise Trouble(f"the gate has {gate:.0f} instructions: the build has no line numbers")
    return everything / (everything - gate)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--update", action="store_true", help="record the new figures")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the gate's ratio")
    args = parser.parse_args()

    program = args.build / "devtools/insn-guard/insn-guard"
    if not program.exists():
        raise Trouble(f"no {program}: install valgrind (devtools/deps.sh check), "
                      f"then ninja -C {args.build}; a build configured without valgrind needs "
                      f"meson setup --reconfigure {args.build}")
    gate = measure_gate(program)
    verdict = "met" if gate <= GATE_MOST else "MISSED"
    print(f"{GATE_RATIO}: {gate:.4f}, at most {GATE_MOST}: {verdict}")
    if args.json is not None:
        args.json.write_text(json.dumps({
            "ratios": {GATE_RATIO: round(gate, 4)},
            "ratios_detail": {GATE_RATIO: {"at_most": GATE_MOST, "met": gate <= GATE_MOST}},
        }, indent=1) + "\n")
    if gate > GATE_MOST:
        print(f"error: Failure: {GATE_RATIO}")
        return 1
    build = build_of(args.build, program)
    names = output(program, "--list").split()
    recorded_build, recorded = read_figures() if FIGURES.exists() else (None, {})
    if not args.update and build != recorded_build:
        print(f"skipped: figures are of {recorded_build}, this build is of {build}")
        print(f"0 passed, 0 failed, {len(names)} skipped")
        return 0

    now = {}
    failed = []
    print(f"{'case':<16}{'recorded':>10}{'now':>10}{'change':>10}")
    for name in names:
        now[name] = count(program, name)
        was = recorded.get(name)
        change = None if not was else now[name] / was - 1
        bad = not args.update and (change is None or abs(change) > TOLERANCE)
        failed += [name] if bad else []
        print(f"{name:<16}{was if was is not None else '-':>10}{now[name]:>10.1f}"
              f"{'-' if change is None else format(change, '+.2%'):>10}"
              + ("  FAILED" if bad else ""))
    if args.update:
        with FIGURES.open("w") as out:
            out.write(f"{HEADER}build: {build}\n")
            for name in names:
                out.write(f"{name:<12} {now[name]:.2f}\n")
    if failed:
        print(f"error: Failure: {', '.join(failed)}: more than {TOLERANCE:.0%} from "
              f"{FIGURES.relative_to(ROOT)}; if that is intended, record it with "
              "insn-guard.py --update")
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"insn-guard.py: {trouble}", file=sys.stderr)
        sys.exit(2)
