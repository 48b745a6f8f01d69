#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Check that a build with -Dtrace_fp=true traces the fault of the hello example once.

check-trace.py [BUILD_DIR]: configures BUILD_DIR (build-trace) and builds the example in it.
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STREAM_ID = 8
NO_PASID = 0xffffffff
PERM_WRITE = 2


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"check-trace.py: {' '.join(map(str, command))} ended with {done.returncode}:\n"
                 f"{done.stdout}{done.stderr}")
    return done.stdout


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build-trace")
    if not (build / "build.ninja").exists():
        run("meson", "setup", "-Dtrace_fp=true", "-Dtests=disabled", build, ROOT)
    run("ninja", "-C", build, "examples/hello/hello")
    with tempfile.TemporaryDirectory() as out:
        said = run(build / "examples/hello/hello", "--no-huge", "-m", "64", "--no-pci",
                   "--no-telemetry", "--no-shconf", "--trace=lib.iopf.*", f"--trace-dir={out}")
        addr = int(re.search(r"StreamID 8 may use (0x[0-9a-f]+)", said).group(1), 16)
        files = [p for p in pathlib.Path(out).rglob("*") if p.is_file()]
        metadata = "".join(p.read_text() for p in files if p.name == "metadata")
        points = dict(re.findall(r'id = (\d+);\s*name = "(lib\.iopf\.\w+)"', metadata))
        ids = [int(i) for i, name in points.items() if name == "lib.iopf.fault"]
        if not ids:
            sys.exit(f"check-trace.py: no trace point lib.iopf.fault among {points}")
        # The id ends the event's header, its fields follow: see iopf_trace.h.
        event = struct.pack("<HHIIQB", ids[0], 0, STREAM_ID, NO_PASID, addr, PERM_WRITE)
        found = sum(p.read_bytes().count(event) for p in files if p.name != "metadata")
    if found != 1:
        sys.exit(f"check-trace.py: the fault at {addr:#x} is {found} times in the trace, not once")
    print(f"the fault at {addr:#x} is in the trace")


if __name__ == "__main__":
    main()
