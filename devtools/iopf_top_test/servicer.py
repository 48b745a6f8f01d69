# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""A process with telemetry, for test-iopf-top.py."""

import contextlib
import json
import os
import socket
import threading


class Servicer:
    """Replies to telemetry requests: an IOMMU with two devices and three attachments."""

    def __init__(self, path):
        self.path = str(path)
        self.faults = 1000
        self.histogram = {500: 900, 2000: 100}
        self.replies = {}           # request: raw bytes, in place of the reply
        self.nb_outstanding = 3
        self.silent = False
        self.greeting = json.dumps({"version": "fake", "pid": 4242, "max_output_len": 16384})
        self.connections = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        self.socket.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        os.unlink(self.path)

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.send(self.greeting.encode())
            while True:
                request = connection.recv(1024).decode()
                if not request:
                    return
                if self.silent:
                    continue
                raw = self.replies.get(request)
                if raw is None:
                    command, *parameters = request.split(",")
                    value = self.reply(command, [int(p) for p in parameters])
                    raw = json.dumps({command: value}).encode()
                connection.send(raw)

    def attachment(self, n):
        device, sid, pasid, domain = (("nic0", 8, None, 0), ("gpu", 16, 1, 1),
                                      ("gpu", 16, 2, 2))[n]
        entry = {"device": device, "sid": sid, "domain": f"space-{domain}", "domain_id": domain,
                 "tripped": int(n == 1), "episode_open": 0, "pending": n,
                 "faults": self.faults if n == 0 else 10 * n, "deferred": 0, "taken": 0,
                 "joined": 0}
        if pasid is not None:
            entry["pasid"] = pasid
        return entry

    def reply(self, command, parameters):
        first = parameters[1] if len(parameters) > 1 else 0
        if command == "/iopf/list":
            return [0]
        if command == "/iopf/info":
            return {"name": "smmuv3,model=fake", "driver": "smmuv3", "backend": "model",
                    "state": "running", "max_stalls": 512}
        if command == "/iopf/stats":
            # Two pages, to be joined.
            page = {f"attachment_{n}": self.attachment(n) for n in ((0, 1), (2,))[first // 2]}
            if first == 0:
                page["next"] = 2
            return dict({"records": self.faults, "bursts": self.faults // 10,
                         "faults": self.faults, "answers": self.faults, "commands": self.faults,
                         "batches": self.faults // 10, "syncs": 7, "backlog": 5, "cerror_ill": 2},
                        **page, attachments=3)
        if command == "/iopf/devices":
            return {"device_0": {"device": "nic0", "sid": 8, "attachments": 1,
                                 "dev_quarantined": 1, "dev_refused_quarantine": 3},
                    "device_1": {"device": "gpu", "sid": 16, "attachments": 2,
                                 "dev_quarantined": 0}, "devices": 2}
        if command == "/iopf/outstanding":
            page = {f"{n:016x}": {"state": "taken", "sid": 17, "dev_sid": 16, "pasid": 2,
                                  "addr": 0xdead0000 + n, "perm": 3, "reason": "translation",
                                  "age_us": 10 ** (3 * n)}
                    for n in range(first, min(first + 2, self.nb_outstanding))}
            if first + 2 < self.nb_outstanding:
                page["next"] = first + 2
            return dict(page, outstanding=self.nb_outstanding)
        if command == "/iopf/queues":
            return {"queue_0": {"queue": "events", "slots": 1024, "passes": self.faults,
                                "busy_ns": self.faults * 1000, "poller": "poll\x1b[2J",
                                "poller_id": 3, "idle": "pause", "sleeps": 0}, "queues": 1}
        if command == "/iopf/histogram":
            histogram = self.histogram if first == 0 else {}
            return dict(self.attachment(first), attachments=3, max_ns=list(histogram),
                        samples=list(histogram.values()))
        if command == "/iopf/pools":
            return {"pool_0": {"pool": "main", "iommu": "smmuv3,model=fake", "hugepages": 0,
                               "chunk_size": 2 << 20, "chunks": 32, "chunks_taken": 9,
                               "chunks_populated": 4, "budget": 64 << 20,
                               "resident": 48 << 20, "leaving": 1 << 20}, "pools": 1}
        return None
