#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Test usertools/iopf-trace-record: on made output of lackey, with a script in place of valgrind,
and with a short program under valgrind."""

import contextlib
import gzip
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import unittest
import unittest.mock

sys.dont_write_bytecode = True
from load_tool import load_tool  # noqa: E402

TOOL = pathlib.Path(__file__).resolve().parent.parent / "usertools/iopf-trace-record"

tool = load_tool(TOOL)

VALGRIND = """#!/bin/sh
for option; do
	case "$option" in --log-fd=*) fd=${option#--log-fd=} ;; esac
done
"""


class Made(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "x.trace"

    def run_tool(self, *options):
        """Returns the exit status and the text for the user."""
        text = io.StringIO()
        with contextlib.redirect_stderr(text):
            try:
                status = tool.main(["-o", str(self.output), *options])
            except SystemExit as e:
                status = e.code
        return status, text.getvalue()

    def record(self, data, *options):
        source = self.folder / "lackey"
        source.write_bytes(data)
        return self.run_tool("--input", str(source), "--program", "x", *options)

    def lines(self):
        return self.output.read_text().splitlines()

    def replace_valgrind(self, script):
        """The environment in which valgrind is this script, with its output at $fd."""
        valgrind = self.folder / "valgrind"
        valgrind.write_text(VALGRIND + script)
        valgrind.chmod(0o755)
        return os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def start_with(self, script, *options):
        return subprocess.Popen([TOOL, "-o", self.output, *options, "true"],
                                env=self.replace_valgrind(script), text=True,
                                stderr=subprocess.PIPE)

    def test_pages_are_numbered_by_first_touch(self):
        status, _ = self.record(b"==1== Lackey\nI  00a000,4\n L 00a010,8\n S 012ff8,8\n"
                                b" M 00b000,4\n L 00a000,1\n")
        self.assertEqual(0, status)
        self.assertEqual(['# iopf trace 1 page_size=4096 pages=3 accesses=5 lines=4 program="x"',
                          "0 R 2", "1 W", "2 W", "0 R", "#M 1 8", "#M 2 -7"], self.lines())

    def test_one_write_makes_the_merged_line_a_write(self):
        self.record(b" L 1000,4\n S 1004,4\n L 1008,4\n")
        self.assertEqual("0 W 3", self.lines()[1])

    def test_an_access_across_pages_counts_on_each(self):
        self.record(b" L 1ffc,8\n")
        self.assertEqual(["0 R", "1 R", "#M 1 1"], self.lines()[1:])

    def test_options_cut_a_window_out(self):
        data = b"".join(b"I  9000,4\n L %x000,4\n" % i for i in range(1, 9))
        self.record(data, "--data-only", "--skip", "2", "--max-accesses", "3")
        self.assertEqual(["0 R", "1 R", "2 R"], self.lines()[1:4])
        self.assertIn("pages=3 accesses=3 lines=3", self.lines()[0])
        self.record(data, "--skip", "2")
        self.assertIn("accesses=14 ", self.lines()[0])

    def test_damaged_output_gets_its_line_and_leaves_no_file(self):
        for line in (b" L 10g0,4", b" L 1000", b" L 1000,", b" L 1000,0", b" L 1000,9999",
                     b" L -1000,4", b" L 1_0,4", b" L ffffffffffffffff,2", b" X 1000,4",
                     b" L " + b"f" * 60000 + b",4", b"\0\xff", b"x" * 3000000):
            with self.subTest(line[:20]):
                status, text = self.record(b" L 1000,4\n" + line + b"\n L 1000,4\n")
                self.assertEqual(1, status)
                self.assertIn("line 2 of lackey's output is damaged", text)
                self.assertEqual(1, text.count("\n"))
                self.assertLess(len(text), 400)
                self.assertEqual(["lackey"], os.listdir(self.folder))

    def test_a_cut_last_line_is_left_out(self):
        self.record(b" L 1000,4\n L 2000,4\n L 30")
        self.assertIn("pages=2 ", self.lines()[0])

    def test_what_the_benchmark_refuses_is_not_written(self):
        status, text = self.record(b" L 1000,4\n L ffffffff0000,4\n")
        self.assertEqual(1, status)
        self.assertIn("more than 2^31 pages", text)
        with unittest.mock.patch.object(tool, "MAX_PAGES", 2):
            status, text = self.record(b" L 1000,4\n L 2000,4\n L 3000,4\n")
        self.assertEqual(1, status)
        self.assertIn("more than 2 pages", text)
        with unittest.mock.patch.object(tool, "MAX_LINES", 1):
            status, text = self.record(b" L 1000,4\n L 2000,4\n")
        self.assertEqual(1, status)
        self.assertIn("more than 1 lines", text)
        self.assertFalse(self.output.exists())

    def test_a_program_text_cannot_damage_the_header(self):
        self.record(b" L 1000,4\n", "--program", 'a"b\nc\u00e9' + "d" * 1000)
        self.assertIn('program="a?b?c?ddd', self.lines()[0])
        self.assertLess(len(self.lines()[0]), 512)

    def test_equal_traces_are_equal_compressed_files(self):
        self.output = self.folder / "x.gz"
        self.record(b" L 1000,4\n")
        first = self.output.read_bytes()
        self.assertTrue(gzip.decompress(first).endswith(b"\n0 R\n"))
        self.output = self.folder / "y.gz"
        self.record(b" L 1000,4\n")
        self.assertEqual(first, self.output.read_bytes())

    def test_memory_does_not_grow_with_the_text(self):
        size = 4 << 20
        source = self.folder / "long"
        source.write_bytes(b" L 1000,4\n S 2000,4\n" * (size // 20))
        with open(os.devnull, "wb") as out, open(source, "rb") as f:
            trace = tool.Trace(out, 0, 1 << 40, True)
            tracemalloc.start()
            trace.read(f)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self.assertEqual(size // 20 * 2, trace.accesses)
        self.assertLess(peak, size // 2)

    def test_endless_output_ends_at_the_limit(self):
        with self.start_with("yes ' L 1000,4' >&$fd\n", "--max-accesses", "1000") as process:
            text = process.communicate(timeout=60)[1]
        self.assertEqual(0, process.returncode, text)
        self.assertEqual(["0 R 1000"], self.lines()[1:])

    def test_an_endless_line_is_refused(self):
        with self.start_with("tr '\\0' x </dev/zero >&$fd\n") as process:
            text = process.communicate(timeout=60)[1]
        self.assertEqual(1, process.returncode)
        self.assertIn("line 1 of lackey's output is damaged", text)
        self.assertFalse(self.output.exists())

    def test_an_interrupt_keeps_what_came(self):
        # The script says on standard error that its line is written, and then prints no more.
        with self.start_with("echo ' L 1000,4' >&$fd\necho ready >&2\nexec sleep 600\n"
                             ) as process:
            self.assertEqual("ready\n", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            text = process.communicate(timeout=60)[1]
        self.assertEqual(0, process.returncode, text)
        self.assertEqual(["0 R"], self.lines()[1:])

    def test_a_program_that_fails_is_told(self):
        with self.start_with("echo ' L 1000,4' >&$fd\nexit 3\n") as process:
            text = process.communicate(timeout=60)[1]
        self.assertEqual(0, process.returncode)
        self.assertIn("true ended with status 3", text)

    def test_wrong_options_get_one_reason(self):
        for options, says in (((), "give either a program or --input"),
                              (("--input", "x", "true"), "give either a program or --input"),
                              (("--max-accesses", "0", "true"), "--max-accesses"),
                              (("--skip", "-1", "true"), "--skip"),
                              (("-o", "/", "true"), "in a folder that exists"),
                              (("-o", "/nonexistent/x", "true"), "in a folder that exists")):
            with self.subTest(options):
                status, text = self.run_tool(*options)
                self.assertEqual(2, status)
                self.assertIn(says, text.splitlines()[-1])
        for options, says in ((("--input", "/nonexistent"), "cannot read /nonexistent"),
                              (("/nonexistent",), "/nonexistent: no such program")):
            status, text = self.run_tool(*options)
            self.assertEqual(1, status)
            self.assertIn(says, text)
        self.assertIn("no access was recorded", self.record(b"==1== Lackey\n")[1])

    def test_a_real_program(self):
        with subprocess.Popen([TOOL, "-o", self.output, "--data-only", "head", "-c", "262144",
                               "/dev/zero"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as process:
            text = process.communicate(timeout=120)[1]
        self.assertEqual(0, process.returncode, text)
        body = self.lines()[1:]
        touched = accesses = 0
        for page, kind, *repeat in (line.split() for line in body if line[0] != "#"):
            self.assertLessEqual(int(page), touched)
            self.assertIn(kind, "RW")
            touched = max(touched, int(page) + 1)
            accesses += int(repeat[0]) if repeat else 1
        self.assertGreater(touched, 10)
        self.assertIn(f" pages={touched} accesses={accesses} ", self.lines()[0])
        self.assertEqual(touched - 1, sum(line.startswith("#M ") for line in body))


if __name__ == "__main__":
    unittest.main()
