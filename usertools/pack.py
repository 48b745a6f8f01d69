#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""pack.py OUT PROGRAM MODULE...: put a program of Python and its modules into one executable file,
an archive that Python runs. A module keeps the name of its folder."""

import io
import os
import pathlib
import sys
import zipfile


def pack(out, program, modules):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in [("__main__.py", program)] + [
                (f"{path.parent.name}/{path.name}", path) for path in modules]:
            # A fixed date: the same sources give the same archive.
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    pathlib.Path(out).write_bytes(b"#!/usr/bin/env python3\n" + buffer.getvalue())
    os.chmod(out, 0o755)


if __name__ == "__main__":
    pack(sys.argv[1], pathlib.Path(sys.argv[2]), [pathlib.Path(arg) for arg in sys.argv[3:]])
