#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Test usertools/iopf-bench-report on made results, and with a build folder as its argument on
what iopf-bench of that build writes: all files of one run have the same figures."""

import contextlib
import copy
import csv
import gzip
import html.parser
import io
import itertools
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
from load_tool import load_tool  # noqa: E402

TOOL = pathlib.Path(__file__).resolve().parent.parent / "usertools/iopf-bench-report"
BUILD = None

tool = load_tool(TOOL)      # it makes its modules known

from iopf_bench_report import compare as comparison  # noqa: E402
from iopf_bench_report import figures, plot  # noqa: E402
from iopf_bench_report import page as report  # noqa: E402
from iopf_bench_report import result as loading  # noqa: E402


def spread(value, rounds):
    return {"median": value, "min": value * 0.9, "max": value * 1.1, "rounds": rounds}


def make_result(rounds=9, scale=1.0, jitter=0.01):
    """A result of the modes; each latency is multiplied by scale."""
    cases, by_round = [], [{} for _ in range(rounds)]
    for mode, ns in [("polled", 500.0), ("null", 400.0), ("eventfd", 20000.0)]:
        for depth in (1, 16):
            name, p50 = f"{mode}_d{depth}", ns * depth * scale
            cases.append({
                "name": name, "mode": mode, "depth": depth, "pages": 1, "samples": 20000,
                "p50_ns": p50, "p90_ns": p50 * 2, "p99_ns": p50 * 3, "p999_ns": p50 * 4,
                "p9999_ns": None, "end_to_end_p50_ns": p50 * 2, "end_to_end_p99_ns": p50 * 4,
                "p50_ns_by_round": spread(p50, rounds), "mfaults_per_s": 100 / p50,
                "mfaults_per_s_by_round": spread(100 / p50, rounds),
                "histogram": [[p50, 10001], [p50 * 2, 8000], [p50 * 3, 1800], [p50 * 4, 199]]})
            for i, one in enumerate(by_round):
                wobble = 1 + jitter * ((i * 7 + len(name)) % 5 - 2)
                one[name] = {"p50_ns": p50 * wobble, "p99_ns": p50 * 3 * wobble,
                             "mfaults_per_s": 100 / p50 * wobble}
    cases.append({"name": "polled_drain", "mode": "polled", "waiting": 256, "ns_per_fault": 40,
                  "mfaults_per_s": 25, "mfaults_per_s_by_round": spread(25, rounds)})
    for load, p99 in [(0.2, 900), (0.5, 1000), (0.9, 9000)]:
        cases.append({"name": f"polled_open_poisson_l{load}", "mode": "polled", "loop": "open",
                      "arrival": "poisson", "load": load, "offered_mfaults_per_s": load * 2,
                      "mfaults_per_s": load * 2, "p50_ns": 500, "p99_ns": p99,
                      "generator_lag_p99_ns": 100, "generator_kept_up": load < 0.9,
                      "servicer_cpu_share": 1, "servicer_busy_share": load,
                      "samples": 5000})
    return {
        "format": 1, "noisy": False, "rounds_counted": rounds, "cases": cases,
        "program": {"version": "0.1.0", "command": "iopf-bench --quick", "ended": "2026"},
        "options": {"quick": True, "depths": [1, 16]},
        "machine": {"cpu": "A CPU", "cpus": 2, "model_on_cpu": 0, "servicer_on_cpu": 1},
        "caveats": ["This is a virtual machine."],
        "ratios": {"p50_eventfd_over_polled": 40},
        "ratios_detail": {"p50_eventfd_over_polled": {"all": spread(40, rounds), "at_most": 50,
                                                      "met": True}},
        "rounds": [{"pingpong_ns": 120, "counted": True, "cases": one,
                    "ratios": {"p50_eventfd_over_polled": 40 * (1 + jitter * (i % 3))}}
                   for i, one in enumerate(by_round)]}


def make_passive_result():
    """A run of the engine none; an interval has no fault."""
    case = {"name": "passive", "mode": "polled", "loop": "passive", "p50_ns": 1500.0,
            "p90_ns": 1600.0, "p99_ns": 2000.0, "p999_ns": None, "p9999_ns": None,
            "p50_ns_by_round": spread(1500.0, 3), "faults_per_s": 77777.0, "samples": 311108,
            "mfaults_per_s": 0.1, "histogram": [[1500.0, 300000], [2000.0, 11108]]}
    by_round = [{"p50_ns": p50, "p99_ns": p50 and p50 * 2, "faults_per_s": rate,
                 "mfaults_per_s": rate / 1e6, "samples": rate}
                for p50, rate in [(1400.0, 100000), (None, 0), (1600.0, 105554), (1500.0, 105554)]]
    result = make_result()
    result.update(cases=[case], ratios={}, ratios_detail={}, rounds_counted=4, rounds=[
        {"seconds": 1.0, "counted": True, "cases": {"passive": one}} for one in by_round])
    return result


class Page(html.parser.HTMLParser):
    """The tags of a page: balanced, ids unique; its scripts and its references."""

    VOID = {"meta", "wbr", "br", "link", "img"}

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.tags, self.links, self.text = [], [], [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if self.open[-1] != tag:
            raise AssertionError(f"</{tag}> ends <{self.open[-1]}>")
        self.open.pop()

    def handle_data(self, data):
        self.text += data


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def put(self, name, result):
        path = self.dir / name
        path.write_text(result if isinstance(result, str) else json.dumps(result))
        return str(path)

    def run_tool(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = tool.main(list(args))
        return status, out.getvalue(), err.getvalue()


class ReportTest(ToolTest):
    def make_page(self, result):
        status, _, err = self.run_tool(self.put("r.json", result), "-o",
                                       str(self.dir / "r.html"))
        self.assertEqual((status, err), (0, ""))
        return (self.dir / "r.html").read_text()

    def test_a_report_is_one_file_without_scripts(self):
        page = self.make_page(make_result())
        parsed = Page(page)
        self.assertEqual(parsed.open, [])
        self.assertEqual(len(parsed.ids), len(set(parsed.ids)))
        self.assertNotIn("script", parsed.tags)
        self.assertNotIn("@import", page)
        self.assertNotIn("url(", page)
        # Each reference is to an id of the page.
        self.assertEqual([link for link in parsed.links if link[1:] not in parsed.ids], [])

    def test_a_figure_has_the_variant_with_the_lowest_p50(self):
        result = make_result()
        for name, ns in (("slow", 9000), ("fast", 2500), ("slower", 9900)):
            result["cases"].append({"name": f"uffd_{name}_d1", "mode": "uffd", "variant": name,
                                    "depth": 1, "pages": 1, "p50_ns": ns,
                                    "histogram": [[ns, 1000]]})
        case = figures.closed_cases(result)[1, "uffd"]
        self.assertEqual(case["variant"], "fast")

    def test_a_report_has_the_figures_the_machine_and_the_caveats(self):
        page = self.make_page(make_result())
        parsed = Page(page)
        for text in ("A CPU", "iopf-bench --quick", "This is a virtual machine.",
                     "Latency by percentile, depth 1", "Latency by percentile, depth 16",
                     "Throughput over depth", "p99 latency over load, poisson arrivals",
                     "CPU busy with faults over load", "CPU used over load",
                     "p50_eventfd_over_polled", "at most 50.0", "met",
                     "polled_drain"):
            self.assertIn(text, parsed.text)
        self.assertEqual(parsed.tags.count("svg"), 7)
        # The baselines are in the figures.
        self.assertGreaterEqual(page.count("<title>eventfd</title>"), 3)

    def test_a_passive_run_has_its_faults_and_figures_over_time(self):
        parsed = Page(self.make_page(make_passive_result()))
        self.assertEqual(parsed.open, [])
        for text in ("Faults that arrived", "77,777", "311,108", "Faults over time",
                     "Latency over time"):
            self.assertIn(text, parsed.text)
        self.assertNotIn("Servicer alone", parsed.text)
        self.assertEqual(parsed.tags.count("svg"), 2)

    def test_colours_follow_the_colour_scheme(self):
        page = self.make_page(make_result())
        self.assertIn("prefers-color-scheme: dark", page)
        for svg in re.findall(r"<svg.*?</svg>", page, re.S):
            self.assertNotIn("rgb(", svg)
            self.assertNotRegex(svg, r'(fill|color)="black"')
            for name in re.findall(r"var\(--(\w+)\)", svg):
                self.assertEqual(len(re.findall(rf"--{name}:", page)), 2)

    def test_ticks_have_their_unit(self):
        for low, high, want in [(300, 2e6, ["100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms"]),
                                (4e3, 9e4, ["1 us", "3 us", "10 us", "30 us", "100 us", "300 us"]),
                                (150, 900, ["100 ns", "200 ns", "500 ns", "1 us", "2 us", "5 us"])]:
            settings = plot.log_axis("y", "time", [high, low], plot.TIMES)
            self.assertEqual(re.findall('"([^"]*s)" ', settings[2]), want)
        ticks = plot.log_axis("x", "rate", [plot.SMALLEST, plot.LARGEST], plot.RATES)[2]
        self.assertLessEqual(ticks.count(",") + 1, plot.MAX_TICKS)

    def test_pictures_stand_alone_on_light_and_dark_pages(self):
        folder = self.dir / "new"
        status, _, err = self.run_tool(self.put("r.json", make_result()), "--svg",
                                       str(folder))
        self.assertEqual((status, err), (0, ""))
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["latency-d1.svg", "latency-d16.svg", "load-busy-poisson.svg",
                                 "load-cpu-poisson.svg", "load-p50-poisson.svg",
                                 "load-p99-poisson.svg", "throughput.svg"])
        for name in names:
            picture = (folder / name).read_text()
            xml.etree.ElementTree.fromstring(picture)
            self.assertEqual(
                re.findall(r"var\(|<script|url\(|@import|\"black\"|rgb\(", picture), [])
            # Each colour of an element has another one for dark pages.
            for attribute, colour in re.findall(r' (stroke|fill|color)="(#\w+)"', picture):
                self.assertIn(f'[{attribute}="{colour}"] {{ {attribute}: #', picture)

    def test_a_result_may_be_packed(self):
        path = self.dir / "r.json.gz"
        path.write_bytes(gzip.compress(json.dumps(make_result()).encode()))
        self.assertEqual(self.run_tool(str(path), "-o", str(self.dir / "r.html"))[0], 0)
        for damaged in (path.read_bytes()[:-20], b"\x1f\x8bx",
                        path.read_bytes()[:40] + b"\0" * 40,
                        gzip.compress(b" " * (loading.MAX_BYTES + 1))):
            path.write_bytes(damaged)
            status, _, err = self.run_tool(str(path), "-o", "x")
            self.assertEqual(status, 2)
            self.assertRegex(err, r"^iopf-bench-report: .*r\.json\.gz (is damaged|has more).*\n$")

    def test_a_curve_ends_where_few_samples_are_beyond(self):
        case = {"histogram": [[100, 80], [200, 10], [300, 5], [400, 5]]}
        self.assertEqual(figures.curve(case), [(5.0, 100), (10.0, 200)])

    def test_the_file_is_not_trusted(self):
        result = make_result()
        hostile = '<script>alert(1)</script>"; system "touch /tmp/x" #'
        result["machine"]["cpu"] = result["program"]["command"] = hostile
        result["caveats"] = [hostile, 7, None]
        result["ratios_detail"][hostile] = {"all": {"median": "x"}}
        result["cases"][0].update(mode=hostile, name=hostile)
        page = self.make_page(result)
        self.assertNotIn("<script", page)
        self.assertNotIn('"; system', re.sub(r"&.*?;", "", page.split("<svg", 1)[1]))

    def test_wrong_types_make_a_report_without_the_figure(self):
        good = make_result()
        for junk in (None, 7, "x", [], {}, [[]], [None], [{"all": 1}], 1e308, -1, True,
                     10 ** 400):
            for key in good:
                if key != "format":
                    result = copy.deepcopy(good)
                    result[key] = junk
                    if key != "cases":
                        self.check_made(result)
            for key in good["cases"][0]:
                result = copy.deepcopy(good)
                for case in result["cases"]:
                    case[key] = junk
                self.check_made(result, figures=False)

    def check_made(self, result, figures=True):
        # gnuplot takes the time: once with all figures is enough.
        make_svg, report.make_svg = report.make_svg, lambda *args: "<svg></svg>"
        self.addCleanup(setattr, report, "make_svg", make_svg)
        try:
            path = self.put("junk.json", result)
            Page(tool.make_html(tool.load(path)))
        finally:
            report.make_svg = make_svg

    def test_damaged_files_get_one_line(self):
        good = json.dumps(make_result())
        for damaged in ("", "{", good[:-40], "[1]", "null", '{"cases": []}', '{"cases": 5}',
                        "\0", "[" * 100000, '{"cases": NaN}', '{"cases": [{"n": Infinity}]}',
                        '{"format": 2, "cases": [{}]}', '{"n": ' + "9" * 5000 + "}"):
            status, out, err = self.run_tool(self.put("d.json", damaged), "-o",
                                             str(self.dir / "d.html"))
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(err, r"^iopf-bench-report: .*d\.json.*\n$")
            self.assertFalse((self.dir / "d.html").exists())
        (self.dir / "d.json").write_bytes(b"\xff\xfe{}")
        self.assertEqual(self.run_tool(str(self.dir / "d.json"), "-o", "x")[0], 2)
        self.assertEqual(self.run_tool(str(self.dir / "none"), "-o", "x")[0], 2)

    def test_a_report_that_cannot_be_written_gets_one_line(self):
        status, _, err = self.run_tool(self.put("r.json", make_result()), "-o",
                                       str(self.dir / "none/r.html"))
        self.assertEqual(status, 2)
        self.assertRegex(err, r"^iopf-bench-report: cannot write .*none/r\.html: .*\n$")

    def test_a_suite_has_its_ratios_and_figures(self):
        page = Page(self.make_page({
            "suite": "cmdq", "figures": {"traffic.map.t1": spread(5, 3)},
            "ratios_detail": {"over": {"all": spread(2, 3), "at_least": 3, "met": False}}}))
        for text in ("suite cmdq", "traffic.map.t1", "at least 3.00", "missed"):
            self.assertIn(text, page.text)


class CompareTest(ToolTest):
    def compare(self, a, b):
        status, out, err = self.run_tool("--compare", self.put("a.json", a), self.put("b.json", b))
        self.assertEqual((status, err), (0, ""))
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80, line)
        return out

    def test_the_same_result_is_noise(self):
        out = self.compare(make_result(), make_result())
        self.assertIn("19 compared: 19 noise\n", out)
        self.assertNotIn("warning", out)

    def test_a_reader_that_ends_early_is_no_error(self):
        results = [self.put(name, make_result()) for name in ("a.json", "b.json")]
        read_end, write_end = os.pipe()
        os.close(read_end)
        run = subprocess.run([TOOL, "--compare", *results], stdout=write_end,
                             stderr=subprocess.PIPE, text=True, check=False)
        os.close(write_end)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_a_change_is_named_with_its_direction(self):
        slow, fast = make_result(scale=1.6), make_result()
        out = self.compare(fast, slow)
        self.assertRegex(out, r"polled_d1 p50_ns +500 +800 +1\.6 +0\.0000  worse\n")
        self.assertRegex(out, r"polled_d1 mfaults_per_s +0\.2 +0\.125 +0\.625 +0\.0000  worse\n")
        self.assertRegex(out, r"polled_d1 p99_ns +1500 +2400 +1\.6 +0\.0000  noise\n")
        self.assertRegex(self.compare(slow, fast), r"polled_d1 p50_ns .* 0\.625 .*  better\n")

    def test_a_change_of_a_ratio_has_no_direction(self):
        other = make_result()
        for one in other["rounds"]:
            one["ratios"]["p50_eventfd_over_polled"] *= 1.4
        self.assertRegex(self.compare(make_result(), other),
                         r"p50_eventfd_over_polled .* 1\.4 +0\.0000  changed\n")

    def test_a_change_within_the_spread_of_the_rounds_is_noise(self):
        out = self.compare(make_result(jitter=0.4), make_result(jitter=0.4, scale=1.4))
        self.assertRegex(out, r"polled_d1 p50_ns .* 1\.4 .*  noise\n")

    def test_few_rounds_say_nothing(self):
        out = self.compare(make_result(rounds=4), make_result(scale=3))
        self.assertIn("19 compared: 19 few\n", out)
        self.assertIn("fewer than 5 rounds", out)

    def test_rounds_that_do_not_count_are_left_out(self):
        other = make_result()
        for one in other["rounds"][:5]:
            one["counted"] = False
        self.assertIn("19 few", self.compare(make_result(), other))

    def test_another_machine_or_option_is_a_warning(self):
        other = make_result()
        other["machine"].update(cpu="Another", servicer_on_cpu=3)
        other["options"]["depths"] = [1]
        other["noisy"] = other["interrupted"] = True
        out = self.compare(make_result(), other)
        for text in ("machine.cpu differs", "machine.servicer_on_cpu differs: 1, 3",
                     "options.depths differs", "B is NOISY", "B was interrupted"):
            self.assertIn("warning: " + text, out)

    def test_p_is_that_of_all_permutations(self):
        for a, b in [([1, 2, 3], [4, 5, 6, 7]), ([1, 1, 2, 5], [1, 2, 2, 3]), ([1, 1], [1, 1]),
                     ([5, 1, 4], [2, 3, 6])]:
            ranks = comparison.double_ranks(a + b)
            middle = len(a) * (len(ranks) + 1)
            sums = [sum(c) for c in itertools.combinations(ranks, len(a))]
            far = sum(abs(s - middle) >= abs(sum(ranks[:len(a)]) - middle) for s in sums)
            self.assertAlmostEqual(comparison.p_value(a, b), far / len(sums))
        # The approximation for many rounds continues it.
        a, b = [i * 7 % 23 for i in range(22)], [i * 5 % 23 + 4 for i in range(22)]
        exact = comparison.p_value(a, b)
        comparison.EXACT_ROUNDS, before = 0, comparison.EXACT_ROUNDS
        self.addCleanup(setattr, comparison, "EXACT_ROUNDS", before)
        self.assertAlmostEqual(comparison.p_value(a, b), exact, places=2)

    def test_junk_in_a_result_is_left_out_or_gets_one_line(self):
        for junk in (None, 7, "x", [], {}, [[]], [None], [{"counted": True, "cases": 1}],
                     [{"counted": True, "cases": {"a": 1}, "ratios": {"b\x1b[2J": 1}}]):
            for key in ("rounds", "machine", "options"):
                other = make_result()
                other[key] = junk
                status, out, err = self.run_tool("--compare", self.put("a.json", make_result()),
                                                 self.put("b.json", other))
                self.assertEqual((status, len(err.splitlines())), (2, 1) if key == "rounds"
                                 else (0, 0))
                self.assertNotIn("\x1b", out + err)
        status, _, err = self.run_tool("--compare", self.put("a.json", make_result()),
                                       self.put("b.json", "{"))
        self.assertEqual(status, 2)
        self.assertRegex(err, r"^iopf-bench-report: .*b\.json is damaged: .*\n$")


class RunTest(unittest.TestCase):
    """A short run of the benchmark: its files agree."""

    @classmethod
    def setUpClass(cls):
        if BUILD is None:
            raise unittest.SkipTest("no build folder given")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.program = f"{BUILD}/app/iopf-bench/iopf-bench"
        cls.ended = subprocess.run(
            [cls.program, "--modes", "polled,null", "--depths", "1,16", "--rounds", "2",
             "--faults", "4096", "--json", cls.dir / "r.json", "--csv", cls.dir / "r.csv",
             "--hgrm", cls.dir / "hgrm", "--html", cls.dir / "r.html"],
            capture_output=True, text=True, check=False)
        cls.result = {}
        if cls.ended.returncode == 0:
            cls.result = json.loads((cls.dir / "r.json").read_text())

    def test_it_ends_well_and_leaves_these_files(self):
        self.assertEqual(self.ended.returncode, 0, self.ended.stderr)
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()),
                         ["hgrm", "r.csv", "r.html", "r.json"])
        self.assertIn("--faults 4096", self.result["program"]["command"])
        self.assertTrue(self.result["caveats"])

    def test_percentiles_are_those_of_the_histogram(self):
        for case in self.result["cases"]:
            for prefix in ("", "end_to_end_"):
                if prefix + "histogram" not in case:
                    self.assertRegex(case["name"], "_(drain|open_max)$")
                    continue
                pairs = case[prefix + "histogram"]
                self.assertEqual(sum(n for _, n in pairs), case["samples"])
                self.assertEqual(pairs, sorted(pairs))
                for key, share in [("p50_ns", .5), ("p90_ns", .9), ("p99_ns", .99),
                                   ("p999_ns", .999), ("p9999_ns", .9999)]:
                    beyond = case["samples"] * (1 - share)
                    if case[prefix + key] is None:
                        self.assertLess(beyond, 10)
                        continue
                    self.assertGreater(beyond, 9.99)
                    seen = 0
                    for upper, n in pairs:
                        seen += n
                        if seen > int(case["samples"] * share):
                            break
                    self.assertLessEqual(case[prefix + key], upper + 0.01)
                    self.assertGreater(case[prefix + key], upper * 0.99 - 1)

    @staticmethod
    def as_csv(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else value if isinstance(value, str) else f"{value:.15g}"

    def test_csv_and_hgrm_have_the_same_figures(self):
        with open(self.dir / "r.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["name"] for row in rows],
                         [case["name"] for case in self.result["cases"]])
        for row, case in zip(rows, self.result["cases"]):
            for key, value in case.items():
                if not isinstance(value, (list, dict)):
                    self.assertEqual(row[key], self.as_csv(value))
            if "histogram" not in case:
                continue
            lines = (self.dir / f"hgrm/{case['name']}.hgrm").read_text().splitlines()
            self.assertIn(f"Total count    = {case['samples']:12}", "\n".join(lines))
            for line in lines[2:-3]:
                value, level, total = [float(word) for word in line.split()[:3]]
                self.assertEqual(total, sum(n for upper, n in case["histogram"]
                                            if upper / 1e3 <= value + 0.0006))
                self.assertGreaterEqual(total / case["samples"], level - 1e-9)

    def test_ratios_of_rounds_have_the_medians_of_the_result(self):
        for name, ratio in self.result["ratios"].items():
            values = sorted(one["ratios"][name] for one in self.result["rounds"]
                            if one["counted"])
            self.assertAlmostEqual(ratio, (values[0] + values[-1]) / 2, places=3)

    def test_the_html_report_has_the_cases(self):
        page = Page((self.dir / "r.html").read_text())
        for case in self.result["cases"]:
            self.assertIn(case["name"], page.text)

    def interrupt(self, sign, *args):
        """Run on a terminal, and send SIGINT once it has shown the sign."""
        path = self.dir / "interrupted.json"
        ours, theirs = pty.openpty()
        with subprocess.Popen([self.program, "--modes", "polled,null", "--json", path, *args],
                              stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):      # the end of a terminal
                while data := os.read(ours, 4096):
                    if sign not in shown and sign in shown + data:
                        process.send_signal(signal.SIGINT)
                    shown += data
            os.close(ours)
        result = json.loads(path.read_text()) if path.exists() else None
        path.unlink(missing_ok=True)
        return process.returncode, shown, result

    def test_an_interrupted_run_keeps_its_complete_rounds(self):
        status, shown, result = self.interrupt(b" left", "--depths", "1,16", "--rounds", "200",
                                               "--faults", "1024")
        self.assertEqual(status, 3, shown)
        self.assertRegex(shown, rb"\] +\d+%  \d+:\d\d left ")
        self.assertTrue(result["interrupted"])
        self.assertTrue(0 < len(result["rounds"]) < 200)
        self.assertTrue(any("was interrupted" in caveat for caveat in result["caveats"]))
        # Each case has the samples of these rounds.
        for case in result["cases"]:
            if "samples" in case:
                self.assertEqual(case["samples"], sum(
                    one["cases"][case["name"]]["samples"] for one in result["rounds"]
                    if one["counted"]))

    def test_a_run_without_a_complete_round_leaves_nothing(self):
        status, shown, result = self.interrupt(b"%", "--rounds", "1")
        self.assertEqual((status, result), (3, None))
        self.assertIn(b"interrupted in the first round", shown)

    def test_a_missing_program_gets_one_line_before_the_run(self):
        for path, missing in [("", "python3"), ("bin", "gnuplot")]:
            (self.dir / "bin").mkdir(exist_ok=True)
            if not (self.dir / "bin/python3").exists():
                (self.dir / "bin/python3").symlink_to(sys.executable)
            run = subprocess.run([self.program, "--html", self.dir / "x.html"],
                                 env={"PATH": str(self.dir / path) if path else "/nonexistent"},
                                 capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 2)
            self.assertRegex(run.stderr, rf"^iopf-bench: --html: {missing} is missing; .*\n$")
        (self.dir / "bin/python3").unlink()
        (self.dir / "bin").rmdir()


if __name__ == "__main__":
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).is_dir():
        BUILD = sys.argv.pop(1)
    unittest.main()
