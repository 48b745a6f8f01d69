#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""verdict.py ROW TESTS OUT EXPECTED: judge one boot of the Linux lab.

A test of a row passes if its failures are exactly those that the list EXPECTED has for it.
Beside the row's tests there are "kernel", unprovoked messages of Linux, and "model", the
model's driver errors, oracle errors and the end of the boot. The last line is "N passed, N failed".
"""

import fnmatch
import pathlib
import re
import sys

# Normal messages of Linux's driver, and records of faults that tests provoke.
HARMLESS = re.compile(
    r"(ias \d+-bit, )?oas \d+-bit|allocated \d+ entries for|msi_domain absent"
    r"|event 0x[0-9a-f]+ received:|\t0x[0-9a-f]{16}|option mask"
    r"|event: \w+ client: |(un)?priv (data|inst) (read|write) s[12] "
    r"|SMMU currently enabled! Resetting")
STAMP = re.compile(r"^\[ *[\d.]+\] ")
SPLAT = re.compile(r"WARNING:|BUG:|Oops|Call trace|Kernel panic|Unable to handle|rcu: INFO"
                   r"|blocked for more than|soft lockup")


class Expected:
    """One expected failure of one test."""

    def __init__(self, test, what, reason):
        self.test = test
        self.may = what.startswith("?")
        self.what = what.removeprefix("?")
        self.reason = reason
        self.seen = False

    def matches(self, test, what):
        return self.test == test and re.fullmatch(self.what, what) is not None


def covers(patterns, row):
    names = [n.strip() for n in patterns.split(",")]
    return any(fnmatch.fnmatchcase(row, n) for n in names if not n.startswith("!")) and \
        not any(fnmatch.fnmatchcase(row, n[1:]) for n in names if n.startswith("!"))


def read_expected(path, linux, row, tests):
    entries = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [f.strip() for f in line.split(" | ")]
        if len(fields) != 5 or not all(fields):
            sys.exit(f"verdict.py: {path}:{number}: not Linux | rows | test | what | reason")
        if fnmatch.fnmatchcase(linux, fields[0]) and covers(fields[1], row):
            entries += [Expected(t, what, fields[4]) for t in tests
                        if fnmatch.fnmatchcase(t, fields[2]) for what in fields[3].split(" ; ")]
    return entries


def read_console(text):
    """Failures as test -> {what: text}, and the tests that ended."""
    failures, ended = {}, set()
    for line in text.splitlines():
        line = STAMP.sub("", line.rstrip())
        m = re.search(r"lab: FAILED (\S+): (.*?)( \(.*)?$", line)
        if m:
            failures.setdefault(m[1], {}).setdefault(m[2], (m[2] + (m[3] or "")))
        m = re.search(r"lab: test (\S+): \d+ checks, \d+ failed", line)
        if m:
            ended.add(m[1])
        m = re.match(r"arm-smmu-v3 \S+: (.*)", line)
        if (m and not HARMLESS.match(m[1])) or SPLAT.search(line):
            what = m[1] if m else line
            failures.setdefault("kernel", {}).setdefault(what, what)
    if not re.search(r"lab: end: ", text):
        what = "the guest did not end"
        failures.setdefault("kernel", {})[what] = what
    return failures, ended


def read_host(text):
    """Errors that the model reports."""
    found = dict.fromkeys(re.findall(r"(?:driver|oracle) error: .*", text))
    m = re.search(r"end: (.*), CR0 0x(\w+), driver errors (\d+), oracle errors (\d+), "
                  r"stalls outstanding (\d+)", text)
    if m is None or m[1] != "the guest is done":
        found["the host program did not end"] = None
    else:
        if int(m[2], 16) & 1:
            found["the SMMU is still on at the end"] = None
        if m[5] != "0":
            found[f"stalls outstanding: {m[5]}"] = None
    return {what: what for what in found}


def main():
    row, tests, out, path = sys.argv[1:]
    out = pathlib.Path(out)
    tests = tests.split(",") + ["kernel", "model"]
    try:
        console = (out / "console").read_text(errors="replace")
    except FileNotFoundError:
        print((out / "qemu").read_text() + (out / "host").read_text())
        print(f"[  FAILED  ] {row}: the guest did not start, see above")
        print("0 passed, 1 failed")
        return
    linux = re.search(r"Linux version (\S+)", console)
    expected = read_expected(path, linux[1] if linux else "?", row, tests)
    failures, ended = read_console(console)
    failures["model"] = read_host((out / "host").read_text(errors="replace"))
    # A failure outside the row's tests is counted as the kernel's.
    for test in [t for t in failures if t not in tests]:
        failures["kernel"] = failures.get("kernel", {}) | {
            f"{test}: {w}": f"{test}: {t}" for w, t in failures[test].items()}
    passed = failed = 0
    for test in tests:
        wrong = []
        if test not in ("kernel", "model") and test not in ended:
            wrong.append("the test did not end")
        for what, text in failures.get(test, {}).items():
            entries = [e for e in expected if e.matches(test, what)]
            for e in entries:
                e.seen = True
            if not entries:
                wrong.append(text)
        wrong += [f"expected but missing: {e.what} ({e.reason})" for e in expected
                  if e.test == test and not e.seen and not e.may]
        for text in wrong:
            print(f"[  FAILED  ] {row} {test}: {text}")
        passed += not wrong
        failed += bool(wrong)
    print(f"{passed} passed, {failed} failed")


main()
