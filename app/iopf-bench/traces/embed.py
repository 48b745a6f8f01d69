#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""embed.py OUT FILE...: put the traces into a C file, for the suite mmem (mem_suite.h)."""

import pathlib
import sys


def main():
    out, files = sys.argv[1], [pathlib.Path(arg) for arg in sys.argv[2:]]
    text = ['#include "mem_suite.h"\n']
    for i, path in enumerate(files):
        data = path.read_bytes()
        text.append(f"static const unsigned char trace_{i}[] = {{\n")
        for k in range(0, len(data), 32):
            text.append("".join(f"{byte}," for byte in data[k:k + 32]) + "\n")
        text.append("};\n")
    text.append("const struct mem_file mem_files[] = {\n")
    for i, path in enumerate(files):
        name = path.name.split(".")[0]
        text.append(f'{{ "{name}", trace_{i}, sizeof(trace_{i}) }},\n')
    text.append(f"}};\nconst unsigned int mem_nb_files = {len(files)};\n")
    pathlib.Path(out).write_text("".join(text))


if __name__ == "__main__":
    main()
