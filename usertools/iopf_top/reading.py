# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""A reading of a servicer's telemetry, and what two readings say together."""

import time

from .client import MAX_PAGES, Silent, name, number

MAX_IOMMUS = 64
BUSY_TRIES = 20
BUSY_WAIT_S = 0.01

AGES_US = (("under_1ms", 1000), ("under_10ms", 10000), ("under_100ms", 100000),
           ("under_1s", 1000000), ("over_1s", None))
PERMILLE = (("p50_ns", 500), ("p90_ns", 900), ("p99_ns", 990), ("p999_ns", 999), ("max_ns", 1000))
CMDQ_ERRORS = ("cerror_ill", "cerror_abt", "cerror_atc", "cerror_other", "sync_timeouts",
               "backlog_lost", "answers_dropped", "bad_cons")
REFUSED = ("dev_refused_share", "dev_refused_rate", "dev_refused_quarantine", "dev_over_share",
           "dev_no_domain", "dev_expired")


def try_list(client, *args):
    """A list; empty if the servicer changes it all the time."""
    for _ in range(BUSY_TRIES):
        entries, total = client.ask_list(*args)
        if entries is not None:
            return entries, total
        time.sleep(BUSY_WAIT_S)
    raise Silent(f"{args[0]}: the list is being changed")


class Iommu:
    """One IOMMU at one moment."""

    def __init__(self, client, iommu_id):
        self.id = iommu_id
        info = client.ask_dict("/iopf/info", iommu_id)
        self.name = name(info.get("name"))
        self.driver = name(info.get("driver"))
        self.backend = name(info.get("backend"))
        self.state = name(info.get("state"))
        self.max_stalls = number(info.get("max_stalls"))
        self.max_requests = number(info.get("max_requests"))
        self.requests_granted = number(info.get("requests_granted"))
        stats = client.ask_dict("/iopf/stats", iommu_id)
        self.when = time.monotonic()
        self.stats = {name(k): number(v) for k, v in stats.items()
                      if isinstance(v, int) and k not in ("attachments", "next", "first")}
        self.attachments, _ = try_list(client, "/iopf/stats", "attachment_", "attachments",
                                       iommu_id)
        self.devices, _ = try_list(client, "/iopf/devices", "device_", "devices", iommu_id)
        self.faults, self.nb_faults = try_list(client, "/iopf/outstanding", "", "outstanding",
                                               iommu_id)
        self.queues, _ = client.ask_list("/iopf/queues", "queue_", "queues", iommu_id)
        self.histograms = {}
        for n, attachment in enumerate(self.attachments):
            domain = number(attachment.get("domain_id"), n)
            if domain not in self.histograms:
                self.histograms[domain] = self.read_histogram(client, domain, n)

    def read_histogram(self, client, domain, n):
        """{largest ns of a step: samples}"""
        histogram, step = {}, 0
        for _ in range(MAX_PAGES):
            page = client.ask_dict("/iopf/histogram", self.id, n, step)
            # An attach or detach may have moved the list.
            if number(page.get("domain_id"), n) != domain:
                break
            bounds, samples = page.get("max_ns"), page.get("samples")
            if isinstance(bounds, list) and isinstance(samples, list):
                for bound, count in zip(bounds, samples):
                    histogram[number(bound)] = histogram.get(number(bound), 0) + number(count)
            following = number(page.get("next"))
            if following <= step:
                break
            step = following
        return histogram


class Reading:
    """All IOMMUs and pools of a servicer."""

    def __init__(self, client):
        self.pid = client.pid
        ids = client.ask("/iopf/list")
        ids = [number(i) for i in ids][:MAX_IOMMUS] if isinstance(ids, list) else []
        self.iommus = {i: Iommu(client, i) for i in ids}
        self.pools, _ = client.ask_list("/iopf/pools", "pool_", "pools")
        self.when = time.monotonic()


def percentiles(histogram):
    """Of {largest ns: samples}; without samples all are 0."""
    total = sum(histogram.values())
    result = {"samples": total}
    steps = sorted(histogram.items())
    for key, permille in PERMILLE:
        rank, seen, value = max(-(-total * permille // 1000), 1), 0, 0
        for bound, count in steps:
            seen += count
            value = bound if count else value
            if seen >= rank:
                break
        result[key] = value if total else 0
    return result


def subtract(now, before):
    """The samples between two readings of a histogram."""
    return {bound: max(count - before.get(bound, 0), 0) for bound, count in now.items()}


def add(histograms):
    total = {}
    for histogram in histograms:
        for bound, count in histogram.items():
            total[bound] = total.get(bound, 0) + count
    return total


class Difference:
    """What an IOMMU did between two readings. Without an earlier one all rates are None."""

    def __init__(self, iommu, before):
        if before is not None and before.name != iommu.name:
            before = None
        self.iommu = iommu
        self.before = before
        self.seconds = iommu.when - before.when if before else None
        self.old_attachments = {self.identity(a): a for a in before.attachments} if before else {}
        self.old_devices = {self.identity(d): d for d in before.devices} if before else {}

    @staticmethod
    def identity(entry):
        return (name(entry.get("device")), entry.get("sid"), entry.get("pasid"),
                entry.get("domain_id"))

    def rate_of(self, now, before, *keys):
        """Of the sum of counters, in a second."""
        if not self.before or before is None or self.seconds <= 0:
            return None
        count = sum(number(now.get(k)) - number(before.get(k)) for k in keys)
        return max(count, 0) / self.seconds

    def rate(self, *keys):
        return self.rate_of(self.iommu.stats, self.before.stats if self.before else None, *keys)

    def latency_now(self, domain):
        now = self.iommu.histograms.get(domain, {})
        before = self.before.histograms.get(domain, {}) if self.before else now
        return subtract(now, before)

    def domains(self):
        """A row for each domain."""
        rows = {}
        for n, attachment in enumerate(self.iommu.attachments):
            domain = number(attachment.get("domain_id"), n)
            row = rows.get(domain)
            if row is None:
                old = self.old_attachments.get(self.identity(attachment))
                row = rows[domain] = {
                    "domain_id": domain, "domain": name(attachment.get("domain")), "devices": [],
                    "faults_per_s": self.rate_of(attachment, old, "faults"),
                    "deferred_per_s": self.rate_of(attachment, old, "deferred", "taken"),
                    "joined_per_s": self.rate_of(attachment, old, "joined"),
                    "pending": number(attachment.get("pending")),
                    "tripped": 0, "episode_open": 0,
                    "now": percentiles(self.latency_now(domain)),
                    "start": percentiles(self.iommu.histograms.get(domain, {})),
                    "totals": {name(k): number(v) for k, v in attachment.items()
                               if isinstance(v, int) and not k.startswith("dev_") and
                               k not in ("sid", "pasid", "domain_id", "tripped", "episode_open")},
                }
            row["devices"].append(device_key(attachment))
            row["tripped"] += number(attachment.get("tripped"))
            row["episode_open"] += number(attachment.get("episode_open"))
        for row in rows.values():
            row["attachments"] = len(row["devices"])
            row["devices"] = sorted(set(row["devices"]))
        return list(rows.values())

    def devices(self, domains=None):
        """A row for each device. The counters of faults are those of its domains."""
        domains = self.domains() if domains is None else domains
        rows = []
        for device in self.iommu.devices:
            key = device_key(device)
            own = [d for d in domains if key in d["devices"]]
            rates = [d["faults_per_s"] for d in own if d["faults_per_s"] is not None]
            faults = [f for f in self.iommu.faults if number(f.get("dev_sid"), -1) == key]
            mine = [a for a in self.iommu.attachments if device_key(a) == key]
            old = self.old_devices.get(self.identity(device))
            rows.append({
                "device": name(device.get("device")), "sid": key,
                "attachments": number(device.get("attachments")),
                "faults_per_s": sum(rates) if self.before else None,
                # A domain has one counter for all its devices.
                "shared": any(len(d["devices"]) > 1 for d in own),
                "outstanding": len(faults),
                "oldest_us": max((number(f.get("age_us")) for f in faults), default=0),
                "refused_per_s": self.rate_of(device, old, *REFUSED),
                "aborted_per_s": self.rate_of(device, old, "dev_reports"),
                "quarantined": number(device.get("dev_quarantined")),
                "tripped": sum(number(a.get("tripped")) for a in mine),
                "episode_open": sum(number(a.get("episode_open")) for a in mine),
                "totals": {name(k): number(v) for k, v in device.items()
                           if isinstance(v, int) and k.startswith("dev_") and
                           k != "dev_quarantined"},
            })
        return rows

    def outstanding(self):
        ages = [number(f.get("age_us")) for f in self.iommu.faults]
        result, low = {"total": self.iommu.nb_faults, "listed": len(ages)}, 0
        for key, high in AGES_US:
            result[key] = sum(low <= a and (high is None or a < high) for a in ages)
            low = high
        result["oldest_us"] = max(ages, default=0)
        return result

    def commands(self):
        stats = self.iommu.stats
        return {
            "commands_per_s": self.rate("commands"), "prod_writes_per_s": self.rate("batches"),
            "syncs_per_s": self.rate("syncs"), "commands": stats.get("commands", 0),
            "prod_writes": stats.get("batches", 0), "syncs": stats.get("syncs", 0),
            "backlog": stats.get("backlog", 0),
            "backlog_pushes_per_s": self.rate("backlog_pushes"),
            "errors": sum(stats.get(key, 0) for key in CMDQ_ERRORS),
            "errors_by_kind": {key: stats.get(key, 0) for key in CMDQ_ERRORS},
        }

    def queues(self):
        """A row for each queue, with the busy share of its poll thread."""
        rows = []
        queues = self.iommu.queues or []
        old = {q.get("key"): q for q in self.before.queues or []} if self.before else {}
        for queue in queues:
            before = old.get(queue.get("key"))
            passes = busy = None
            if before and self.seconds > 0:
                # The counter of passes has 32 bits.
                passes = (number(queue.get("passes")) - number(before.get("passes"))) % (1 << 32)
                busy = number(queue.get("busy_ns")) - number(before.get("busy_ns"))
                busy = min(max(busy, 0) / 1e9 / self.seconds, 1)
            rows.append({
                "queue": name(queue.get("queue")), "slots": number(queue.get("slots")),
                "poller": name(queue["poller"]) if "poller" in queue else None,
                "poller_id": queue.get("poller_id"), "idle": name(queue.get("idle", "-")),
                "busy": busy, "passes_per_s": passes / self.seconds if busy is not None else None,
                "busy_ns": number(queue.get("busy_ns")),
                "sleeps_per_s": self.rate_of(queue, before, "sleeps"),
            })
        return rows

    def summary(self):
        histogram = self.iommu.histograms
        return {
            "records_per_s": self.rate("records"), "faults_per_s": self.rate("faults"),
            "answers_per_s": self.rate("answers"),
            "faults": self.iommu.stats.get("faults", 0),
            "answers": self.iommu.stats.get("answers", 0),
            "latency": {
                "now": percentiles(add(self.latency_now(d) for d in histogram)),
                "start": percentiles(add(histogram.values())),
            },
        }


def device_key(entry):
    """A device of an IOMMU is named by its first StreamID."""
    return number(entry.get("sid"), -1)


def pool_rows(pools):
    keys = ("hugepages", "chunk_size", "chunks", "chunks_taken", "chunks_populated", "spaces",
            "regions", "fetches", "fetches_overdue", "budget", "resident", "leaving")
    return [dict({key: number(p.get(key)) for key in keys}, pool=name(p.get("pool")),
                 iommu=name(p.get("iommu"))) for p in pools or []]


def as_json(now, before):
    """All figures, for scripts."""
    iommus = []
    for iommu in now.iommus.values():
        d = Difference(iommu, before.iommus.get(iommu.id))
        domains = d.domains()
        iommus.append(dict(
            {"id": iommu.id, "name": iommu.name, "driver": iommu.driver,
             "backend": iommu.backend, "state": iommu.state, "max_stalls": iommu.max_stalls,
             "interval_s": d.seconds},
            **d.summary(), outstanding=d.outstanding(), queues=d.queues(), commands=d.commands(),
            devices=d.devices(domains), domains=domains, counters=iommu.stats))
    return {"version": 1, "pid": now.pid, "iommus": iommus, "pools": pool_rows(now.pools)}
