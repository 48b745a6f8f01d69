# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""The report: one page of HTML without scripts."""

import html
import math

from .figures import list_figures
from .plot import COLOURS, make_svg
from .result import entry, items, number, objects, text

STYLE = """
:root { color-scheme: light dark; --bg: #fff; --soft: #595959; --line: #d4d4d4;
 --box: #f5f5f2; --warn: #fff4d6; LIGHT }
@media (prefers-color-scheme: dark) { :root { --bg: #16181b; --soft: #adadad;
 --line: #3d4147; --box: #202327; --warn: #3a3216; DARK } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--bg); color: var(--fg);
 font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: .5rem 0 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
p.sub { color: var(--soft); margin: 0 0 1rem }
.pair { display: grid; gap: 1rem;
 grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)) }
.box { background: var(--box); border-radius: .4rem; padding: .75rem 1rem; min-width: 0 }
.warn { background: var(--warn) } .box h2 { margin-top: 0 }
.box ul { padding-left: 1.2rem; margin: 0 }
dl { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1rem; margin: 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
code { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere }
.figures { display: grid; gap: 1.5rem 2rem;
 grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)) }
figure { margin: 0; min-width: 0 } figcaption { color: var(--soft); font-size: .9rem }
figure h3 { font-size: 1rem; margin: 0 } svg { width: 100%; height: auto; display: block }
svg text { font-family: system-ui, sans-serif }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: right; padding: .25rem .45rem; border-bottom: 1px solid var(--line);
 white-space: nowrap }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
td { font-variant-numeric: tabular-nums }
@media (max-width: 30rem) { th, td { padding: .25rem .35rem }
 td:first-child { white-space: normal; min-width: 7.5rem } }
@media (min-width: 30.01rem) { wbr { display: none } }
summary { cursor: pointer; margin: 1rem 0 .5rem; font-weight: 600 }
"""


def show(value, digits=3):
    """A number with three significant digits, or a dash."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"[:12]


def show_percent(obj, key):
    value = number(obj, key)
    return "–" if value is None else f"{value * 100:.1f}"[:12]


def count(obj, key):
    value = number(obj, key)
    return "–" if value is None else f"{value:,.0f}"


def show_range(spread):
    low, high = number(spread, "min"), number(spread, "max")
    return f"{show(low)} – {show(high)}" if low is not None and high is not None else "–"


def table(head, rows):
    if not rows:
        return ""
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    # A name may be broken at "_" on a small screen.
    body = "".join(f"<tr><td>{html.escape(row[0]).replace('_', '_<wbr>')}</td>" +
                   "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) + "</tr>"
                   for row in rows)
    return f'<div class="scroll"><table><tr>{cells}</tr>{body}</table></div>'


def make_figures(result):
    parts = [f"<figure><h3>{html.escape(one.name)}</h3>"
             f"{make_svg(i, one.name, one.settings, one.series, variable)}"
             f"<figcaption>{html.escape(one.caption)}</figcaption></figure>"
             for i, one in enumerate(list_figures(result))]
    return f'<h2>Figures</h2><div class="figures">{"".join(parts)}</div>' if parts else ""


def variable(attribute, name):
    return f'style="{attribute}:var(--{name})"'


def make_origin(result):
    """The machine and the command line, and the caveats beside them."""
    machine, program = entry(result, "machine"), entry(result, "program")
    rows = [("CPU", text(machine, "cpu")),
            ("CPUs", f"{count(machine, 'cpus')}; model on CPU {count(machine, 'model_on_cpu')}, "
                     f"servicer on CPU {count(machine, 'servicer_on_cpu')}"),
            ("Clock", f"{show(number(machine, 'clock_ghz'))} GHz"),
            ("Kernel", f"{text(machine, 'arch')} {text(machine, 'kernel')}"),
            ("Virtual", {True: "yes", False: "no"}.get(machine.get("virtual"), "unknown")),
            ("Governor", text(machine, "governor")),
            ("Program", f"iopf-bench {text(program, 'version')}, {text(program, 'build')}"),
            ("Compiler", text(program, "compiler")), ("DPDK", text(program, "dpdk")),
            ("Rounds", f"{len(items(result, 'rounds'))}, of which "
                       f"{count(result, 'rounds_counted')} count"),
            ("Command", text(program, "command"))]
    facts = "".join(f"<dt>{key}</dt><dd>{'<code>' if key == 'Command' else ''}{html.escape(value)}"
                    f"{'</code>' if key == 'Command' else ''}</dd>" for key, value in rows if value)
    caveats = [item[:2000] for item in items(result, "caveats")[:50] if isinstance(item, str)]
    caveats = caveats or ["The file has no caveats: it was written by an old iopf-bench."]
    points = "".join(f"<li>{html.escape(caveat)}</li>" for caveat in caveats)
    return (f'<div class="pair"><div class="box"><h2>Machine and run</h2><dl>{facts}</dl></div>'
            f'<div class="box warn"><h2>Before you quote a figure</h2><ul>{points}</ul></div>'
            '</div>')


def make_ratios(result):
    rows = []
    for name, detail in entry(result, "ratios_detail").items():
        spread = entry(detail, "all")
        target = next((f"{words} {show(number(detail, key))}" for key, words in
                       [("at_most", "at most"), ("at_least", "at least")]
                       if number(detail, key) is not None), "")
        met = {True: "met", False: "missed"}.get(detail.get("met") if isinstance(detail, dict)
                                                  else None, "")
        rows.append([name[:100], show(number(spread, "median")), show_range(spread),
                     count(spread, "rounds"), target, met])
    head = ["Ratio", "Median", "Range", "Rounds", "Target", ""]
    if not any(row[4] for row in rows):
        head, rows = head[:4], [row[:4] for row in rows]
    return (f"<h2>Ratios</h2><p>One case or mode divided by another in the same round; the median "
            f"and the range of the rounds that count.</p>{table(head, rows)}" if rows else "")


def make_cases(result):
    closed, opened, alone, passive = [], [], [], []
    for case in objects(result, "cases"):
        name, rate = text(case, "name")[:60], show(number(case, "mfaults_per_s"))
        percentiles = [show(number(case, key)) for key in
                       ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns")]
        if text(case, "loop") == "open":
            opened.append([name, show(number(case, "offered_mfaults_per_s")), rate, *percentiles,
                           show(number(case, "generator_lag_p99_ns")),
                           show_percent(case, "servicer_cpu_share"),
                           show_percent(case, "servicer_busy_share"), count(case, "samples")])
        elif text(case, "loop") == "passive":
            passive.append([name, show(number(case, "faults_per_s")), *percentiles,
                            show_range(entry(case, "p50_ns_by_round")), count(case, "samples")])
        elif number(case, "depth") is not None:
            closed.append([name, *percentiles, show_range(entry(case, "p50_ns_by_round")),
                           show(number(case, "end_to_end_p50_ns")),
                           show(number(case, "end_to_end_p99_ns")), rate,
                           count(case, "samples")])
        else:
            alone.append([name, show(number(case, "ns_per_fault")), rate,
                          show_range(entry(case, "mfaults_per_s_by_round"))])
    marks = ["p50", "p90", "p99", "p99.9", "p99.99"]
    parts = [("Faults that arrived: ns from the read of a record to the send of its answer", table(
        ["Case", "Faults/s", *marks, "p50 by interval", "Samples"], passive)),
        ("Servicer alone: the queue is full, the model stands still", table(
        ["Case", "ns per fault", "Mfaults/s", "Range by round"], alone)),
        ("Open loop: ns from the due moment to the answer consumed", table(
            ["Case", "Offered, M/s", "Reached", *marks, "Generator late, p99",
             "CPU, %", "Busy", "Samples"], opened)),
        ("Closed loop: service latency in ns", table(
            ["Case", *marks, "p50 by round", "End to end p50", "p99", "Mpages/s",
             "Samples"], closed))]
    return "".join(f"<h2>{name}</h2>{body}" for name, body in parts if body)


def make_details(result):
    rounds = [[str(i + 1), show(number(one, "pingpong_ns")), show(number(one, "foreign_cores")),
               show(number(one, "seconds")), "yes" if one.get("counted") is True else "no"]
              for i, one in enumerate(objects(result, "rounds")[:1000])]
    figures = [[name[:100], show(number(spread, "median")), show_range(spread)]
               for name, spread in list(entry(result, "figures").items())[:2000]]
    parts = [("Rounds", table(["Round", "Cache line and back, ns", "Other processes, cores",
                               "Seconds", "Counts"], rounds)),
             ("Figures", table(["Figure", "Median", "Range"], figures))]
    return "".join(f"<details><summary>{name}</summary>{body}</details>"
                   for name, body in parts if body)


def make_html(result):
    suite = text(result, "suite")
    title = f"iopf-bench, suite {suite}" if suite else "iopf-bench: page faults served"
    ended = text(entry(result, "program"), "ended")
    style = STYLE
    for i, word in enumerate(("LIGHT", "DARK")):
        style = style.replace(word, "".join(f"--{name}: {colours[i]};"
                                            for name, colours in COLOURS.items()))
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"
            f'<h1>{html.escape(title)}</h1><p class="sub">{html.escape(ended)}</p>'
            f"{make_origin(result)}{make_ratios(result)}{make_figures(result)}"
            f"{make_cases(result)}{make_details(result)}</body></html>\n")
