# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Requests to DPDK's telemetry socket (version 2).

The socket is of type SOCK_SEQPACKET. The server sends a greeting, then one reply for each request.
A reply is a JSON object with one member, which has the name of the command. Nothing of a reply is
trusted: its size, depth, types and characters are bounded, and so is the length of a list.
"""

import json
import os
import pathlib
import socket

MAX_REPLY = 1 << 20     # bytes; DPDK's replies have at most 16 KiB
MAX_PAGES = 128         # of a list
MAX_NAME = 124
MAX_NUMBER = (1 << 64) - 1


class Gone(Exception):
    """There is no servicer at the socket, or it has ended."""


class Bad(Exception):
    """The servicer's reply is no reply of telemetry."""


class Silent(Exception):
    """The servicer does not answer in time."""


def runtime_dir():
    """Where EAL makes a directory for each file prefix."""
    base = os.environ.get("RUNTIME_DIRECTORY")
    if base is None:
        base = "/var/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")
    return pathlib.Path(base) / "dpdk"


def socket_path(prefix):
    return runtime_dir() / prefix / "dpdk_telemetry.v2"


def is_listening(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(0.2)
        try:
            s.connect(str(path))
        except OSError:
            return False
    return True


def list_prefixes():
    """The file prefixes of the processes that answer."""
    try:
        found = sorted(p.parent.name for p in runtime_dir().glob("*/dpdk_telemetry.v2"))
    except OSError:
        return []
    return [prefix for prefix in found if is_listening(socket_path(prefix))]


def number(value, default=0):
    """A counter of a reply."""
    ok = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
    return value if ok else default


def name(value):
    """A name of a reply: it is shown on a terminal."""
    if not isinstance(value, str):
        return "?"
    return "".join(c if " " <= c <= "~" else "?" for c in value[:MAX_NAME])


def no_constant(text):
    raise ValueError(f"{text} is no number")


def parse(data, command):
    """The value that a reply has under the command's name."""
    try:
        reply = json.loads(data.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as e:
        raise Bad(f"{command}: the reply is not JSON") from e
    if not isinstance(reply, dict) or list(reply) != [command]:
        raise Bad(f"{command}: the reply is to another command")
    return reply[command]


class Client:
    """A connection; one request at a time. close() ends it."""

    def __init__(self, path, timeout=2.0):
        self.path = str(path)
        self.limit = MAX_REPLY
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(self.path)
            greeting = json.loads(self.receive().decode("utf-8"))
            self.pid = number(greeting["pid"])
            self.limit = min(max(number(greeting["max_output_len"]), 1024), MAX_REPLY)
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            self.close()
            raise Bad(f"{self.path}: the greeting is not that of DPDK's telemetry") from e
        except socket.timeout as e:
            self.close()
            raise Silent(f"{self.path}: no answer") from e
        except OSError as e:
            self.close()
            raise Gone(f"{self.path}: {e.strerror or e}") from e
        except Gone:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def receive(self):
        # One byte more than a reply may have: a longer one is noticed.
        data = self.socket.recv(self.limit + 1)
        if not data:
            raise Gone(f"{self.path}: the process has closed the connection")
        if len(data) > self.limit:
            raise Bad(f"{self.path}: a reply is longer than {self.limit} bytes")
        return data

    def ask(self, command, *parameters):
        """The value of the reply; None if the servicer has none."""
        request = ",".join([command] + [str(p) for p in parameters])
        try:
            self.socket.sendall(request.encode("ascii"))
            data = self.receive()
        except socket.timeout as e:
            raise Silent(f"{self.path}: no answer to {request}") from e
        except OSError as e:
            raise Gone(f"{self.path}: {e.strerror or e}") from e
        return parse(data, command)

    def ask_dict(self, command, *parameters):
        value = self.ask(command, *parameters)
        return value if isinstance(value, dict) else {}

    def ask_list(self, command, entry, total, *parameters):
        """The entries ENTRY_N of a list that comes in pages, and its length.

        None in place of the entries: the servicer changes the list at the moment.
        """
        entries, first = [], 0
        for _ in range(MAX_PAGES):
            page = self.ask_dict(command, *parameters, *([first] if first else []))
            if page.get(total) == "busy":
                return None, 0
            # An outstanding fault has its group's id as its key.
            entries += [dict(value, key=name(key)) for key, value in page.items()
                        if isinstance(value, dict) and key.startswith(entry)]
            following = number(page.get("next"))
            if following <= first:
                break
            first = following
        return entries, number(page.get(total))
