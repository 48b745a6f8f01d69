#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Test usertools/iopf-top: test-iopf-top.py BUILD_DIR.

Most tests ask a fake servicer, whose replies are exact, late, wrong or hostile. One runs the
benchmark with telemetry, and compares the figures with what the benchmark says that it has done.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = ROOT / "usertools/iopf-top"
BUILD = None
READINGS = 5

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "usertools"))
from iopf_top import client, reading, view  # noqa: E402
from iopf_top_test.servicer import Servicer  # noqa: E402
from iopf_top_test.terminal import PATIENCE_S, Terminal  # noqa: E402


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = pathlib.Path(self.dir.name) / "socket"
        self.servicers = []
        self.addCleanup(lambda: [s.close() for s in self.servicers])

    def start(self):
        self.servicers.append(Servicer(self.path))
        return self.servicers[-1]

    def stop(self):
        self.servicers.pop().close()

    def run_tool(self, *options):
        return subprocess.run([TOOL, "--socket", self.path, *options], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)


class Figures(Case):
    def two_readings(self, change):
        servicer = self.start()
        c = client.Client(self.path)
        before = reading.Reading(c)
        change(servicer)
        now = reading.Reading(c)
        for r, when in ((before, 100.0), (now, 102.0)):
            r.iommus[0].when = when
        c.close()
        return reading.as_json(now, before)["iommus"][0], now, before

    def grow(self, servicer):
        servicer.faults = 3000
        servicer.histogram = {500: 900, 2000: 1100, 8000: 1000}

    def test_rates_are_of_the_time_between(self):
        iommu, _, _ = self.two_readings(self.grow)
        self.assertEqual(iommu["interval_s"], 2.0)
        self.assertEqual(iommu["faults_per_s"], 1000)
        self.assertEqual(iommu["faults"], 3000)
        commands = iommu["commands"]
        self.assertEqual((commands["commands_per_s"], commands["prod_writes_per_s"],
                          commands["syncs_per_s"], commands["backlog"], commands["errors"]),
                         (1000, 100, 0, 5, 2))

    def test_latency_now_is_the_difference_of_two_histograms(self):
        iommu, _, _ = self.two_readings(self.grow)
        now, start = iommu["latency"]["now"], iommu["latency"]["start"]
        self.assertEqual((now["samples"], now["p50_ns"], now["p99_ns"]), (2000, 2000, 8000))
        self.assertEqual((start["samples"], start["p50_ns"], start["max_ns"]), (3000, 2000, 8000))
        row = {d["domain"]: d for d in iommu["domains"]}["space-0"]
        self.assertEqual(row["now"]["samples"], 2000)
        self.assertEqual(row["start"]["samples"], 3000)

    def test_pages_of_lists_are_joined(self):
        iommu, _, _ = self.two_readings(lambda s: None)
        self.assertEqual([d["domain"] for d in iommu["domains"]], ["space-0", "space-1",
                                                                   "space-2"])
        self.assertEqual(iommu["outstanding"]["total"], 3)
        self.assertEqual(iommu["outstanding"]["listed"], 3)

    def test_waiting_faults_are_counted_by_age_and_device(self):
        iommu, _, _ = self.two_readings(lambda s: None)
        o = iommu["outstanding"]
        self.assertEqual((o["under_1ms"], o["under_10ms"], o["under_100ms"], o["under_1s"],
                          o["over_1s"], o["oldest_us"]), (1, 1, 0, 0, 1, 1000000))
        devices = {d["device"]: d for d in iommu["devices"]}
        # The fault's StreamID is not the device's first one.
        self.assertEqual(devices["gpu"]["outstanding"], 3)
        self.assertEqual(devices["nic0"]["outstanding"], 0)

    def test_devices_have_the_faults_of_their_domains(self):
        iommu, _, _ = self.two_readings(self.grow)
        devices = {d["device"]: d for d in iommu["devices"]}
        self.assertEqual(devices["nic0"]["faults_per_s"], 1000)
        self.assertEqual(devices["gpu"]["faults_per_s"], 0)
        self.assertEqual(devices["nic0"]["quarantined"], 1)
        self.assertEqual(devices["gpu"]["tripped"], 1)
        self.assertFalse(devices["nic0"]["shared"])

    def test_busy_share_is_of_the_time_between(self):
        iommu, _, _ = self.two_readings(self.grow)
        # 2 ms of 2 s.
        self.assertAlmostEqual(iommu["queues"][0]["busy"], 0.001)
        self.assertEqual(iommu["queues"][0]["passes_per_s"], 1000)

    def test_passes_wrap_at_32_bits(self):
        before = {"passes": (1 << 32) - 10}
        iommu, now, old = self.two_readings(lambda s: None)
        old.iommus[0].queues[0].update(before)
        now.iommus[0].queues[0]["passes"] = 10
        queue = reading.Difference(now.iommus[0], old.iommus[0]).queues()[0]
        self.assertEqual(queue["passes_per_s"], 10)

    def test_percentiles_are_those_of_the_library(self):
        # As iopf_hist_permille(): the least value that p of 1000 samples do not exceed.
        p = reading.percentiles({10: 1, 20: 98, 30: 1})
        self.assertEqual((p["p50_ns"], p["p99_ns"], p["p999_ns"], p["max_ns"]), (20, 20, 30, 30))
        self.assertEqual(reading.percentiles({})["p99_ns"], 0)

    def test_numbers_keep_their_columns(self):
        for n in (None, 0, 0.04, 9.96, 999.6, 9999.4, 9999.6, 99949, 99951, 999499, 999501,
                  (1 << 64) - 1):
            self.assertLessEqual(len(view.count(n)), 6, n)
            self.assertLessEqual(len(view.duration(n)), 6, n) if n is None or n < 1e12 else None


class Once(Case):
    def test_json_is_complete(self):
        self.start()
        run = self.run_tool("--once", "--json", "--interval", "0.1")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        document = json.loads(run.stdout)
        self.assertEqual((document["version"], document["pid"]), (1, 4242))
        self.assertEqual(document["pools"][0]["chunks_taken"], 9)
        self.assertEqual(document["pools"][0]["resident"], 48 << 20)
        lines = view.pool_lines([{"pool": "p", "budget": 64 << 20, "resident": 48 << 20}], 1)
        self.assertIn("of budget", lines[0])
        self.assertEqual(len(document["iommus"]), 1)

    def test_text_has_lines_of_80_columns_and_no_escape(self):
        self.start()
        run = self.run_tool("--once", "--interval", "0.1")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        for word in ("nic0", "space-2", "quarantined", "tripped", "cerror_ill", "dead0002", "main"):
            self.assertIn(word, run.stdout)
        self.assertLessEqual(max(map(len, run.stdout.splitlines())), 80)
        self.assertTrue(run.stdout.replace("\n", "").isprintable())

    def test_no_servicer_is_one_line(self):
        for options in (["--once"], []):
            run = self.run_tool(*options)
            self.assertEqual(run.returncode, 1)
            self.assertEqual(len(run.stderr.splitlines()), 1)
            self.assertIn(str(self.path), run.stderr)

    def test_wrong_options_are_refused(self):
        for options in (["--interval", "0"], ["--interval", "nan"], ["--interval", "61"],
                        ["--json"], ["--iommu", "x"], ["more"]):
            run = self.run_tool(*options)
            self.assertEqual(run.returncode, 2, options)
            self.assertIn(options[0], run.stderr)

    def test_the_servicer_may_have_no_iommu(self):
        self.start().replies["/iopf/list"] = b'{"/iopf/list": []}'
        run = self.run_tool("--once", "--interval", "0.1")
        self.assertEqual(run.returncode, 0)
        self.assertIn("no IOMMU", run.stdout)

    def test_a_servicer_without_the_new_commands(self):
        servicer = self.start()
        servicer.replies["/iopf/queues,0"] = b'{"/iopf/queues": null}'
        servicer.replies["/iopf/pools"] = b'{"/iopf/pools": null}'
        for n in range(3):
            servicer.replies[f"/iopf/histogram,0,{n},0"] = b'{"/iopf/histogram": null}'
        run = self.run_tool("--once", "--interval", "0.1")
        self.assertEqual((run.returncode, run.stderr), (0, ""))


class Hostile(Case):
    """Whatever a servicer replies, there is an answer or one line, and soon."""

    def check(self, servicer, ok):
        begin = time.monotonic()
        run = self.run_tool("--once", "--json", "--interval", "0.1")
        self.assertLess(time.monotonic() - begin, PATIENCE_S)
        self.assertNotIn("Traceback", run.stderr)
        self.assertEqual(run.returncode, 0 if ok else 1, run.stderr)
        if not ok:
            self.assertEqual(len(run.stderr.splitlines()), 1)
        return run

    def test_replies_that_are_no_replies(self):
        servicer = self.start()
        for raw in (b"x", b"{", b"[]", b"3", b'{"/iopf/stats": {}}', b"\xff\xfe", b"[" * 16000,
                    b'{"/iopf/info": NaN}', b'{"/iopf/info": {}, "more": 1}', b"{}",
                    b'{"/iopf/info": ' + b"9" * 10000 + b"}"):
            servicer.replies["/iopf/info,0"] = raw
            self.check(servicer, False)

    def test_a_reply_beyond_the_limit(self):
        servicer = self.start()
        servicer.replies["/iopf/info,0"] = b'{"/iopf/info": "' + b"x" * 40000 + b'"}'
        self.assertIn("longer", self.check(servicer, False).stderr)

    def test_values_of_wrong_types(self):
        servicer = self.start()
        for value in (None, 3, "x", [], [1], {"name": {}}, {"state": [], "max_stalls": -1}):
            servicer.replies["/iopf/info,0"] = json.dumps({"/iopf/info": value}).encode()
            self.check(servicer, True)
        servicer.replies["/iopf/list"] = b'{"/iopf/list": {"a": 1}}'
        self.check(servicer, True)
        del servicer.replies["/iopf/list"]
        for command in ("stats", "devices", "queues", "outstanding"):
            for entry in ({"device_0": {}}, {"attachment_0": {"sid": "x", "faults": None}},
                          {"queue_0": {"passes": [], "busy_ns": -3, "poller": 7}},
                          {"x": {"age_us": "old", "addr": 1 << 70, "perm": {}}},
                          {"next": "x"}, {"next": -1}, {"next": 1 << 80}):
                servicer.replies[f"/iopf/{command},0"] = json.dumps(
                    {f"/iopf/{command}": entry}).encode()
                self.check(servicer, True)
                self.run_tool("--once", "--interval", "0.1").check_returncode()
            del servicer.replies[f"/iopf/{command},0"]

    def test_a_list_without_an_end(self):
        servicer = self.start()
        reply = servicer.reply

        def endless(command, parameters):
            value = reply(command, parameters)
            if command in ("/iopf/outstanding", "/iopf/histogram"):
                # The last parameter is where the page begins.
                at = 2 if command == "/iopf/histogram" else 1
                value["next"] = (parameters + [0, 0])[at] + 1
            return value
        servicer.nb_outstanding = 1 << 30
        servicer.reply = endless
        document = json.loads(self.check(servicer, True).stdout)
        self.assertEqual(document["iommus"][0]["outstanding"]["total"], 1 << 30)
        self.assertLessEqual(document["iommus"][0]["outstanding"]["listed"],
                             2 * client.MAX_PAGES)

    def test_a_list_that_is_always_busy(self):
        servicer = self.start()
        servicer.replies["/iopf/devices,0"] = b'{"/iopf/devices": {"devices": "busy"}}'
        self.check(servicer, False)

    def test_names_of_terminal_escapes(self):
        servicer = self.start()
        servicer.replies["/iopf/info,0"] = json.dumps(
            {"/iopf/info": {"name": "\x1b]0;x\x07\u202e" + "n" * 1000}}).encode()
        document = json.loads(self.check(servicer, True).stdout)
        name = document["iommus"][0]["name"]
        self.assertTrue(name.isascii() and name.isprintable() and len(name) <= client.MAX_NAME)

    def test_no_greeting_and_a_wrong_one(self):
        servicer = self.start()
        for greeting in ("x", "[]", "{}", '{"pid": 1}', "null"):
            servicer.greeting = greeting
            self.check(servicer, False)

    def test_a_servicer_that_is_silent(self):
        servicer = self.start()
        servicer.silent = True
        self.assertIn("no answer", self.check(servicer, False).stderr)


class Keys(Case):
    def open(self, lines=24, columns=80):
        terminal = Terminal(lines, columns, TOOL, "--socket", self.path, "--interval", "0.1")
        self.addCleanup(self.kill, terminal)
        return terminal

    def kill(self, terminal):
        with contextlib.suppress(OSError, ChildProcessError):
            if os.waitpid(terminal.pid, os.WNOHANG)[0] == 0:
                os.kill(terminal.pid, 9)
                os.waitpid(terminal.pid, 0)

    def test_figures_and_tables_fit_80_columns_and_24_lines(self):
        servicer = self.start()
        terminal = self.open()
        for word in ("process 4242", "smmuv3,model=fake", "running", "poll core", "commands",
                     "backlog 5", "errors 2", "9 of 32 chunks", "nic0", "gpu", "quarantin",
                     "q quit", "1 breakers tripped"):
            terminal.wait_for(word)
        servicer.histogram = {500: 5000, 2000: 1000}
        terminal.wait_for("p50  500ns")
        terminal.send("\t")
        terminal.wait_for("space-1")
        terminal.send("\t")
        terminal.wait_for("dead0002")
        terminal.send("\t")
        terminal.wait_for("cerror_ill")
        terminal.send("h")
        terminal.wait_for("reverse the order")
        terminal.send("x")
        terminal.wait_for("cerror_ill")
        self.assertFalse(terminal.overflow)
        self.assertEqual(terminal.end(), 0)

    def test_sort_select_and_details(self):
        self.start()
        terminal = self.open()

        def wait_for_first(first, second):
            """A screen that is half written has one of them at most."""
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until:
                at = [terminal.text().find(name) for name in (first, second)]
                if -1 not in at and at[0] < at[1]:
                    return
                terminal.read(0.05)
            self.fail(f"{first} is not before {second}:\n{terminal.text()}")

        terminal.wait_for("by FAULT/s")
        for _ in range(3):
            terminal.send("<")
        terminal.wait_for("by DEVICE")
        wait_for_first("nic0", "gpu  ")
        terminal.send("r")
        wait_for_first("gpu  ", "nic0")
        # The second row.
        terminal.send("jj\r")
        terminal.wait_for("dev_refused_quarantine")
        terminal.send("\r")
        terminal.wait_for("DOMS")
        self.assertEqual(terminal.end(), 0)

    def test_pause_keeps_the_figures(self):
        servicer = self.start()
        terminal = self.open()
        terminal.wait_for("1000 since start")
        terminal.send("p")
        terminal.wait_for("PAUSED")
        servicer.faults = 5000
        time.sleep(0.5)
        terminal.send("j")
        terminal.wait_for("1000 since start")
        terminal.send("p")
        terminal.wait_for("5000 since start", without="PAUSED")
        self.assertEqual(terminal.end(), 0)

    def test_a_servicer_that_ends_is_waited_for(self):
        self.start()
        terminal = self.open()
        terminal.wait_for("nic0")
        self.stop()
        text = terminal.wait_for("has ended; waiting")
        # The last figures stay.
        self.assertIn("nic0", text)
        self.assertIn("process 4242", text)
        self.start().greeting = json.dumps({"version": "new", "pid": 5353,
                                            "max_output_len": 16384})
        terminal.wait_for("process 5353", without="has ended")
        self.assertEqual(terminal.end(), 0)

    def test_a_silent_servicer_does_not_delay_keys(self):
        servicer = self.start()
        terminal = self.open()
        terminal.wait_for("nic0")
        servicer.silent = True
        terminal.wait_for("does not answer")
        self.assertEqual(terminal.end(), 0)

    def test_wrong_replies_do_not_end_it(self):
        servicer = self.start()
        terminal = self.open()
        terminal.wait_for("nic0")
        servicer.replies["/iopf/info,0"] = b"{"
        terminal.wait_for("not JSON")
        servicer.replies.clear()
        terminal.wait_for("nic0", without="not JSON")
        self.assertEqual(terminal.end(), 0)

    def test_other_sizes_and_a_resize(self):
        self.start()
        terminal = self.open(10, 40)
        terminal.wait_for("DEVICE")
        self.assertFalse(terminal.overflow)
        terminal.resize(24, 80)
        terminal.wait_for("STATE")
        terminal.resize(3, 12)
        time.sleep(0.5)
        terminal.send("\t\t")
        self.assertEqual(terminal.end(), 0)

    def test_the_colours_are_those_of_the_terminal(self):
        self.start()
        terminal = Terminal(24, 80, TOOL, "--socket", self.path, term="xterm-256color")
        self.addCleanup(self.kill, terminal)
        written, until = b"", time.monotonic() + PATIENCE_S
        while b"nic0" not in written and time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                written += os.read(terminal.fd, 65536)
        self.assertIn(b"nic0", written)
        for colour in (b"[37m", b"[40m", b"[37;40m"):
            self.assertNotIn(colour, written)

    def test_a_terminal_that_cannot_show_it_is_one_line(self):
        self.start()
        run = self.run_tool()
        self.assertEqual((run.returncode, len(run.stderr.splitlines())), (1, 1))
        self.assertIn("--once", run.stderr)


class Held:
    """A pipe that is full: its writer blocks until release()."""

    def __init__(self, fd, path):
        self.fd = fd
        self.write = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self.held = False

    def hold(self):
        with contextlib.suppress(BlockingIOError):
            while not self.held:
                os.write(self.write, b"\0" * 4096)
        self.held = True

    def release(self):
        """What the writer wrote, until its end."""
        self.close()
        written = b""
        while part := os.read(self.fd, 65536):
            written += part.replace(b"\0", b"")
        return written.decode(errors="replace")

    def close(self):
        if self.write >= 0:
            os.close(self.write)
        self.write = -1


class Live(Case):
    """The figures of a benchmark run are those that it reports."""

    def test_figures_agree_with_the_benchmark(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one CPU")
        env = dict(os.environ, RUNTIME_DIRECTORY=self.dir.name)
        faults = 32768
        bench = subprocess.Popen(
            [BUILD / "app/iopf-bench/iopf-bench", "--no-huge", "-m", "64", "--no-pci",
             "--file-prefix=top", "--log-level=lib.eal:warning", "--", "--modes",
             "polled,eventfd", "--loop", "closed", "--depths", "16", "--rounds", "200",
             "--faults", str(faults)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
        self.addCleanup(bench.stderr.close)
        self.addCleanup(bench.wait)
        self.addCleanup(bench.kill)
        progress = Held(bench.stderr.fileno(), f"/proc/{bench.pid}/fd/2")
        self.addCleanup(progress.close)
        readings, wrong = 0, ["no reading"]
        until = time.monotonic() + PATIENCE_S
        while bench.poll() is None and (wrong or readings < READINGS) and \
                time.monotonic() < until:
            run = subprocess.run([TOOL, "--file-prefix", "top", "--once", "--json",
                                  "--interval", "0.1"], capture_output=True, text=True, env=env,
                                 timeout=PATIENCE_S, check=False)
            document = json.loads(run.stdout) if run.returncode == 0 else None
            for iommu in document["iommus"] if document else []:
                readings += 1
                self.assertEqual(document["pid"], bench.pid)
                self.check(iommu)
                # After the first round the benchmark blocks at its next line of progress, between
                # two cells: its counters become exact then, and stay so.
                if iommu["domains"] and iommu["faults"] >= faults:
                    progress.hold()
                    wrong = self.compare_at_rest(iommu)
        bench.send_signal(signal.SIGINT)
        output = progress.release()
        # 3: the rounds that were complete have no errors.
        self.assertIn(bench.wait(), (0, 3), output)
        self.assertEqual(wrong, [])
        self.assertGreaterEqual(readings, READINGS)

    def check(self, iommu):
        """Counters of one reading agree; the benchmark runs meanwhile."""
        self.assertEqual(iommu["name"], "smmuv3,model=iopf-bench-polled")
        if not iommu["domains"]:
            return
        domain, device = iommu["domains"][0], iommu["devices"][0]
        self.assertEqual((domain["domain"], device["device"]), ("bench", "engines"))
        total = domain["totals"]
        self.assertEqual(total["answered_invalid"], 0)
        # Read later than the counters of the IOMMU.
        self.assertGreaterEqual(total["faults"], iommu["faults"] - 64)
        self.assertGreaterEqual(domain["start"]["samples"], total["answered_success"])
        self.assertGreaterEqual(iommu["commands"]["commands"], iommu["answers"])
        self.assertEqual(iommu["commands"]["errors"], 0)
        self.assertLessEqual(iommu["commands"]["prod_writes"], iommu["commands"]["commands"])
        if iommu["faults_per_s"]:
            # Each page faults once in each pass of the region.
            self.assertGreater(iommu["queues"][0]["busy"], 0)
            self.assertLessEqual(iommu["queues"][0]["busy"], 1)
            self.assertEqual(iommu["queues"][0]["poller"], "bench")

    @staticmethod
    def compare_at_rest(iommu):
        """The counters that are not exact; none are if no cell is being measured."""
        domain = iommu["domains"][0]
        total = domain["totals"]
        pairs = (("answered", total["faults"], total["answered_success"]),
                 ("samples", total["faults"], domain["start"]["samples"]),
                 ("answers of the IOMMU", iommu["faults"], iommu["answers"]),
                 ("faults over whole regions", total["faults"] % 256, 0))
        return [p for p in pairs if p[1] != p[2]]


if __name__ == "__main__":
    if len(sys.argv) < 2 or not pathlib.Path(sys.argv[1], "build.ninja").is_file():
        sys.exit("usage: test-iopf-top.py BUILD_DIR [unittest options]")
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
