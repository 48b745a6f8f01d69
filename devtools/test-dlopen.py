#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Test that programs can load the shared libraries with dlopen(): test-dlopen.py BUILD_DIR.

This program is not linked with EAL, as an interpreter and most hosts of plug-ins are not. If a
library of iopf reads a thread-local variable of EAL or liburcu by the model initial-exec, dlopen()
must place all of that library's in the few bytes that are left for it, and fails.
"""

import ctypes
import os
import pathlib
import subprocess
import sys
import unittest

LIBRARIES = (
    "lib/pgtable/libiopf_pgtable.so",
    "lib/iopf/libiopf.so",
    "lib/mmem/libiopf_mmem.so",
    "drivers/smmuv3_pmd/libiopf_smmuv3.so",
    "drivers/smmuv3_model/libsmmuv3_model.so",
)


class Dlopen(unittest.TestCase):
    def test_each_library_loads_into_a_program_without_eal(self):
        for library in LIBRARIES:
            with self.subTest(library):
                # A process for each: a library stays loaded.
                load = subprocess.run([sys.executable, __file__, "--load", BUILD / library],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(load.returncode, 0, load.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"] and len(sys.argv) == 3:
        try:
            ctypes.CDLL(sys.argv[2], mode=os.RTLD_NOW)
        except OSError as e:
            sys.exit(str(e))
        sys.exit(0)
    if len(sys.argv) < 2 or not pathlib.Path(sys.argv[1]).is_dir():
        sys.exit("usage: test-dlopen.py BUILD_DIR [unittest options]")
    BUILD = pathlib.Path(sys.argv[1]).resolve()
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
