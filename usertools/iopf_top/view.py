# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Readings as lines of text: a head of figures, and tables."""

from .client import name, number
from .reading import REFUSED, pool_rows

WIDTH = 80


def count(n, width=6):
    """A number of at most six characters; None: it is not known yet."""
    if n is None:
        return "-".rjust(width)
    unit = ""
    if n >= 9999.5:
        for unit in "kMGTPE":
            n /= 1000
            if n < 999.5:
                break
    whole = n >= 99.95 or not unit and (n >= 9.95 or n == int(n))
    return f"{n:.{0 if whole else 1}f}{unit}".rjust(width)


def duration(ns, width=6):
    if ns is None:
        return "-".rjust(width)
    value, unit = ns, "ns"
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = ns / size
        if value < 999.5 or unit == "s":
            break
    text = f"{value:.0f}" if unit == "ns" or value >= 99.5 else f"{value:.3g}"
    return (text + unit).rjust(width)


def size(n):
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if n < 1024 or unit == "TiB":
            return f"{n:.0f} {unit}"
        n /= 1024


def percent(share):
    return "-" if share is None else f"{share * 100:.0f}%"


def cut(text, width):
    return text if len(text) <= width else text[:width - 1] + "~"


class Column:
    """A column of a table; right-aligned if it has numbers."""

    def __init__(self, title, width, show, key, numbers=True):
        self.title, self.width, self.show, self.key = title, width, show, key
        self.numbers = numbers

    def align(self, text):
        text = cut(text.strip(), self.width)
        return text.rjust(self.width) if self.numbers else text.ljust(self.width)


def known(value):
    """For sorting: a rate that is not known yet is the least."""
    return -1 if value is None else value


def state_of(row):
    words = [word for word, key in (("quarantined", "quarantined"), ("tripped", "tripped"),
                                    ("episode", "episode_open")) if row.get(key)]
    return "+".join(words) if words else "ok"


def text_column(title, width, key):
    return Column(title, width, lambda r: str(r[key]), lambda r: str(r[key]), numbers=False)


def rate_column(title, width, key, mark=lambda r: ""):
    return Column(title, width, lambda r: count(r[key]) + mark(r), lambda r: known(r[key]))


def latency_column(title, key, when="now"):
    return Column(title, 6, lambda r: duration(r[when][key] if r[when]["samples"] else None),
                  lambda r: r[when][key])


DEVICES = (
    text_column("DEVICE", 16, "device"),
    Column("SID", 8, lambda r: str(r["sid"]), lambda r: r["sid"]),
    Column("DOMS", 4, lambda r: str(r["attachments"]), lambda r: r["attachments"]),
    rate_column("FAULT/s", 8, "faults_per_s", lambda r: "*" if r["shared"] else " "),
    Column("WAIT", 5, lambda r: str(r["outstanding"]), lambda r: r["outstanding"]),
    Column("OLDEST", 6, lambda r: duration(r["oldest_us"] * 1000 if r["outstanding"] else None),
           lambda r: r["oldest_us"]),
    rate_column("REFUS/s", 7, "refused_per_s"),
    rate_column("ABORT/s", 7, "aborted_per_s"),
    Column("STATE", 11, state_of, state_of, numbers=False),
)
DOMAINS = (
    text_column("DOMAIN", 16, "domain"),
    Column("DEVS", 4, lambda r: str(len(r["devices"])), lambda r: len(r["devices"])),
    rate_column("FAULT/s", 7, "faults_per_s"),
    latency_column("P50", "p50_ns"),
    latency_column("P99", "p99_ns"),
    latency_column("P99.9", "p999_ns"),
    Column("WAIT", 5, lambda r: count(r["pending"]), lambda r: r["pending"]),
    rate_column("DEFER/s", 7, "deferred_per_s"),
    rate_column("JOIN/s", 6, "joined_per_s"),
    Column("STATE", 7, state_of, state_of, numbers=False),
)


def fault_row(fault):
    perm = number(fault.get("perm"))
    return {
        "key": name(fault.get("key")), "age_us": number(fault.get("age_us")),
        "state": name(fault.get("state")), "sid": number(fault.get("sid")),
        "pasid": str(number(fault["pasid"])) if "pasid" in fault else "-",
        "addr": f"{number(fault.get('addr')):x}",
        "perm": "".join(c if perm & 1 << bit else "-" for bit, c in enumerate("rwx")),
        "reason": name(fault.get("reason")),
    }


FAULTS = (
    Column("AGE", 6, lambda r: duration(r["age_us"] * 1000), lambda r: r["age_us"]),
    text_column("STATE", 8, "state"),
    Column("SID", 8, lambda r: str(r["sid"]), lambda r: r["sid"]),
    Column("PASID", 7, lambda r: r["pasid"], lambda r: r["pasid"]),
    Column("ADDRESS", 16, lambda r: r["addr"], lambda r: int(r["addr"], 16)),
    text_column("RWX", 3, "perm"),
    text_column("REASON", 8, "reason"),
    text_column("GROUP", 16, "key"),
)
COUNTERS = (
    text_column("COUNTER", 34, "counter"),
    Column("SINCE START", 20, lambda r: str(r["total"]), lambda r: r["total"]),
    rate_column("A SECOND", 12, "rate"),
)


class Table:
    """Rows of one kind, and the column after which they are sorted."""

    def __init__(self, title, columns, identity, rows, sort, reverse=True):
        self.title, self.columns, self.identity, self.make_rows = title, columns, identity, rows
        self.sort, self.reverse = sort, reverse

    def rows(self, difference):
        rows = self.make_rows(difference)
        if self.sort is not None:
            rows.sort(key=self.columns[self.sort].key, reverse=self.reverse)
        return rows

    def head(self):
        return " ".join(c.align(c.title) for c in self.columns)

    def line(self, row):
        return " ".join(c.align(c.show(row)) for c in self.columns)

    def sort_name(self):
        return "as listed" if self.sort is None else self.columns[self.sort].title


def counter_rows(difference):
    return [{"counter": key, "total": value, "rate": difference.rate(key)}
            for key, value in difference.iommu.stats.items()]


def make_tables():
    return [
        Table("devices", DEVICES, lambda r: r["sid"], lambda d: d.devices(), 3),
        Table("domains", DOMAINS, lambda r: r["domain_id"], lambda d: d.domains(), 2),
        Table("faults", FAULTS, lambda r: r["key"],
              lambda d: [fault_row(f) for f in d.iommu.faults], 0),
        Table("counters", COUNTERS, lambda r: r["counter"], counter_rows, None),
    ]


def latency_line(title, latency):
    if not latency["samples"]:
        return f"{title:12}no fault was answered"
    return (f"{title:12}p50 {duration(latency['p50_ns'])}  p90 {duration(latency['p90_ns'])}  "
            f"p99 {duration(latency['p99_ns'])}  p99.9 {duration(latency['p999_ns'])}  "
            f"max {duration(latency['max_ns'])}")


def fault_line(difference):
    stats = difference.iommu.stats
    bursts, records = difference.rate("bursts"), difference.rate("records")
    text = (f"{'faults':12}{count(difference.rate('faults')).strip()}/s, answers "
            f"{count(difference.rate('answers')).strip()}/s")
    if bursts:
        text += f", {records / bursts:.1f} records in a burst"
    return text + f"; {count(stats.get('faults', 0)).strip()} since start"


def waiting_line(difference):
    o = difference.outstanding()
    text = (f"{'waiting':12}{o['total']}: <1ms {o['under_1ms']}, <10ms {o['under_10ms']}, "
            f"<100ms {o['under_100ms']}, <1s {o['under_1s']}, older {o['over_1s']}")
    if o["listed"]:
        text += f"; oldest {duration(o['oldest_us'] * 1000).strip()}"
    return text


def trouble_line(difference):
    """Storms, breakers, quarantines, and what was refused or lost."""
    iommu = difference.iommu
    quarantined = sum(number(d.get("dev_quarantined")) > 0 for d in iommu.devices)
    tripped = sum(number(a.get("tripped")) > 0 for a in iommu.attachments)
    episodes = sum(number(a.get("episode_open")) > 0 for a in iommu.attachments)
    refused = sum(number(d.get(k)) for d in iommu.devices for k in REFUSED)
    lost = sum(iommu.stats.get(k, 0) for k in ("answers_lost", "event_losses",
                                               "request_overflows", "recoveries"))
    return (f"{'storms':12}{quarantined} quarantined, {tripped} breakers tripped, "
            f"{episodes} episodes; {count(refused).strip()} refused, {count(lost).strip()} losses")


def queue_lines(difference):
    lines = []
    for q in difference.queues():
        if q["poller"] is None:
            what = "in no poller"
        else:
            what = f"{percent(q['busy'])} busy, {count(q['passes_per_s']).strip()} passes/s"
            if q["idle"] == "sleep":
                what += f", {count(q['sleeps_per_s']).strip()} sleeps/s"
            what += f", {cut(q['poller'], 20)} ({q['idle']})"
        lines.append(f"{'poll core':12}{q['queue']}: {what}")
    return lines


def command_line(difference):
    c = difference.commands()
    return (f"{'commands':12}{count(c['commands_per_s']).strip()}/s, PROD "
            f"{count(c['prod_writes_per_s']).strip()}/s, syncs "
            f"{count(c['syncs_per_s']).strip()}/s, backlog {c['backlog']}, "
            f"errors {count(c['errors']).strip()}")


def pool_lines(pools, most):
    lines = []
    for p in pool_rows(pools):
        text = (f"{'pool':12}{cut(p['pool'], 16)}: {p['chunks_taken']} of {p['chunks']} chunks of "
                f"{size(p['chunk_size'])}, {p['chunks_populated']} populated")
        if p["fetches"]:
            text += f", {p['fetches']} fetches ({p['fetches_overdue']} late)"
        if p["budget"]:
            text += f", {size(p['resident'])} of budget {size(p['budget'])}"
        lines.append(text)
    if len(lines) > most:
        lines = lines[:most - 1] + [f"{'pool':12}and {len(lines) - most + 1} more pools"]
    return lines


def title_line(reading, difference, nb):
    iommu = difference.iommu
    place = f" ({sorted(reading.iommus).index(iommu.id) + 1} of {nb})" if nb > 1 else ""
    return f"iopf-top  process {reading.pid}  {cut(iommu.name, 40)}{place}  {iommu.state}"


def head_lines(reading, difference, max_pools=2):
    """The figures of an IOMMU, and the pools."""
    s = difference.summary()
    return [
        fault_line(difference),
        latency_line("latency", s["latency"]["now"]),
        latency_line("since start", s["latency"]["start"]),
        waiting_line(difference), trouble_line(difference),
        *queue_lines(difference), command_line(difference),
        *pool_lines(reading.pools, max_pools),
    ]


def as_text(now, before, difference_of):
    """All figures as lines."""
    lines = []
    for iommu in now.iommus.values():
        difference = difference_of(iommu, before)
        lines += [title_line(now, difference, len(now.iommus)), ""]
        lines += head_lines(now, difference, 1 << 16)
        for table in make_tables():
            rows = table.rows(difference)
            if table.title == "counters":
                rows = [r for r in rows if r["total"]]
            if rows:
                lines += ["", table.head()] + [table.line(r) for r in rows]
        lines.append("")
    if not now.iommus:
        lines = [f"process {now.pid} has no IOMMU open"]
    return [line[:WIDTH].rstrip() for line in lines]
