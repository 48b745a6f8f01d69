#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Each "name()" in a comment of lib/ and drivers/ is a function, an operation or a macro.

A name exists if the code of the tree defines, declares or calls it; so a comment may name
functions of libc and DPDK that the code uses. OTHER lists those that it does not use.
And no line is longer than WIDTH columns.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["lib", "drivers"]
WIDTH = 100
# Named in comments, and not used by the code: system calls and other programs' functions.
OTHER = {"exec", "membarrier", "poll", "rte_eal_cleanup", "rte_eal_init"}

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(\)")
CODE = re.compile(r"(\w+)\s*\(|\(\s*\*\s*(\w+)\s*\)\s*\(|#\s*define\s+(\w+)\(")


def sources(folder):
    for path in sorted((ROOT / folder).rglob("*.[ch]")):
        yield path, path.read_text()


def main():
    known = set(OTHER)
    for folder in FOLDERS + ["app", "examples"]:
        for _, text in sources(folder):
            code = TOKEN.sub(" ", text)
            known.update(name for match in CODE.findall(code) for name in match if name)
    bad = 0
    for folder in FOLDERS:
        for path, text in sources(folder):
            for number, line in enumerate(text.split("\n"), 1):
                if len(line.expandtabs(8)) > WIDTH:
                    print(f"{path.relative_to(ROOT)}:{number}: longer than {WIDTH} columns")
                    bad += 1
            for comment in TOKEN.finditer(text):
                if not comment.group(0).startswith("/"):
                    continue
                for name in NAME.finditer(comment.group(0)):
                    if name.group(1) in known:
                        continue
                    line = text.count("\n", 0, comment.start() + name.start()) + 1
                    print(f"{path.relative_to(ROOT)}:{line}: there is no {name.group(1)}()")
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
