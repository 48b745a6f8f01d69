#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Each file, function and message of this tree that README.md or a guide names exists.

A file is any NAME.c, .h, .py, .sh, .pml or .dot, with or without folders in front; a function is
NAME() in literal quotes, which a source calls, defines or has as a member: not an enum or a struct
of that name. doc/figures is checked too. A comment "columns: FOLDER ..." in front of a
list-table says in which folder the files of a column are; "-" is a column without files. A
message is in the first column of a table of messages.rst. Each log line of lib/iopf is in one of
these tables, and each function that tsan.supp names exists.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["lib", "drivers", "app", "examples", "usertools", "devtools", "doc"]

FILE = re.compile(r"(?<![\w/.<*$-])((?:[\w-]+/)*[\w-]+\.(?:c|h|py|sh|pml|dot))(?![\w.])")
FUNCTION = re.compile(r"`{1,2}(\w+)\(\)`{1,2}")
# A call, a definition, a macro with arguments; a member that points to a function. Not a word of C.
CALL = re.compile(r"\b(?!(?:if|for|while|switch|return|sizeof)\b)(\w+)\)?\(")
# Not of this tree: the kernel, libc, EAL; a program of the reader.
FOREIGN_FILES = {"prog.c", "test_NAME.c", "dpdk-telemetry.py", "dpdk-hugepages.py"}
FOREIGN = re.compile(r"^(rte_|_?name$|handle_mm_fault$|fork$|exec$|exit$|_exit$)")


# A string of C, of several pieces and with macros such as PRIu64.
STRING = re.compile(r'"(?:\\.|[^"\\])*"(?:\s*(?:PRI\w+\s*)?"(?:\\.|[^"\\])*")*')
PIECE = re.compile(r'"((?:\\.|[^"\\])*)"')
CONVERSION = re.compile(r"%[-0-9.*#]*[hlzj]*[a-zA-Z]?")
# In a message of the guide: what differs from one line to the next, and prefixes of log lines.
VARIES = re.compile(r'\.\.\.|\bPASID N\b|\b(?:NAME|FILE|LINE|DOMAIN|CR0ACK|[MNP])\b|\b\d+\b'
                    r'|0x|"|^(?:smmuv3|iopf-bench|iopf|mmem)\b')


def check_messages(guide):
    """The constant parts of each message are in a string of a source."""
    strings = []
    for folder in ["lib", "drivers", "app/iopf-bench", "examples"]:
        for path in (ROOT / folder).rglob("*.[ch]"):
            for match in STRING.finditer(path.read_text()):
                text = "".join(PIECE.findall(match.group(0))).replace('\\"', '"')
                strings.append(CONVERSION.sub("\0", text.replace("%%", "\1"))
                               .replace("\1", "%"))
    strings = "\n".join(strings)
    bad = 0
    for cell in re.findall(r"^   \* - (.*?)^     - ", guide.read_text(), re.S | re.M):
        for message in re.findall(r"``(.*?)``", cell, re.S):
            message = " ".join(message.split())
            if message.startswith(("EAL: ", "Cannot create runtime")):
                continue
            for part in VARIES.split(message):
                part = part.strip(" :;,.()=")
                if len(part) > 4 and part not in strings:
                    print(f"{guide.relative_to(ROOT)}: no source has the message "
                          f"\"{message}\": \"{part}\"")
                    bad = 1
    return bad


def check_log_lines(guide):
    """A constant part of each log line of lib/iopf, or its begin, is in the guide."""
    text = " ".join(guide.read_text().split())
    bad = 0
    for path in sorted((ROOT / "lib/iopf").glob("*.c")):
        for call in re.finditer(r"\bIOPF_LOG(?:_LIMITED)?\((.*?)\);", path.read_text(), re.S):
            string = STRING.search(call.group(1))
            if string is None:
                continue
            line = "".join(PIECE.findall(string.group(0))).replace('\\"', '"')
            parts = [part.strip(" :;,.()=\"") for part in CONVERSION.split(line)]
            parts = [part for part in parts if len(part) > 4]
            # Without a constant part the line has only texts of its arguments.
            if parts and not any(part[:18].strip() in text for part in parts):
                print(f"{path.relative_to(ROOT)}: {guide.relative_to(ROOT)} has no row for "
                      f"\"{line}\"")
                bad = 1
    return bad


def check_suppressions(path):
    """A suppression of a function that has another name by now suppresses nothing."""
    code = "\n".join(p.read_text() for f in ["lib", "drivers", "app", "examples"]
                     for p in (ROOT / f).rglob("*.[ch]"))
    bad = 0
    for kind, name in re.findall(r"^(\w+):(.*)$", path.read_text(), re.M):
        if not re.search(rf"^{re.escape(name)}\(", code, re.M):
            print(f"{path.relative_to(ROOT)}: {kind}:{name}: there is no function {name}()")
            bad = 1
    return bad


def check_columns(text, rel):
    """Files without a folder, in a table whose columns have one."""
    bad = 0
    for match in re.finditer(r"^\.\.  columns: (.*)\n\n(\.\. list-table::\n(?:\n?[ ]+.*\n)*)",
                             text, re.M):
        folders = match.group(1).split()
        for row in re.split(r"^   \* - ", match.group(2), flags=re.M)[2:]:
            cells = re.split(r"^     -", row, flags=re.M)
            if len(cells) != len(folders):
                print(f"{rel}: a row with {len(cells)} columns: {cells[0].strip()}")
                bad = 1
            for folder, cell in zip(folders, cells):
                for name in FILE.findall(cell) if folder != "-" else []:
                    if "/" not in name and not (ROOT / folder / name).exists():
                        print(f"{rel}: {cells[0].strip()}: there is no {folder}/{name}")
                        bad = 1
    return bad


def main():
    files = [p for f in FOLDERS for p in (ROOT / f).rglob("*") if p.is_file()]
    names = {"/" + p.relative_to(ROOT).as_posix() for p in files}
    functions = set()
    for path in files:
        if path.suffix in (".c", ".h", ".pml"):
            functions.update(CALL.findall(path.read_text()))
    bad = 0
    texts = sorted((ROOT / "doc").rglob("*.rst")) + sorted((ROOT / "doc").rglob("*.dot"))
    for text in [ROOT / "README.md"] + texts:
        rel = text.relative_to(ROOT)
        bad |= check_columns(text.read_text(), rel)
        for number, line in enumerate(text.read_text().splitlines(), 1):
            for name in FILE.findall(line):
                tail = name.replace("../", "")
                if name not in FOREIGN_FILES and not any(n.endswith("/" + tail) for n in names):
                    print(f"{rel}:{number}: there is no file {name}")
                    bad = 1
            for name in FUNCTION.findall(line):
                if name not in functions and not FOREIGN.match(name):
                    print(f"{rel}:{number}: there is no function {name}()")
                    bad = 1
    guide = ROOT / "doc/guides/messages.rst"
    return bad | check_messages(guide) | check_log_lines(guide) | \
        check_suppressions(ROOT / "devtools/tsan.supp")


if __name__ == "__main__":
    sys.exit(main())
