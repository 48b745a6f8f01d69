# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""A result of iopf-bench. The file is not trusted: each access checks the type."""

import gzip
import io
import json
import math
import re
import sys
import zlib

MAX_BYTES = 64 << 20
MAX_ITEMS = 20000       # of a list


class Failed(Exception):
    """One line: what failed, why, and the remedy."""


def number(obj, key):
    """A finite number, or None."""
    value = obj.get(key) if isinstance(obj, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def text(obj, key):
    value = obj.get(key) if isinstance(obj, dict) else None
    return value[:2000] if isinstance(value, str) else ""


def entry(obj, key):
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if isinstance(value, dict) else {}


def items(obj, key):
    value = obj.get(key) if isinstance(obj, dict) else None
    return value[:MAX_ITEMS] if isinstance(value, list) else []


def objects(obj, key):
    return [item for item in items(obj, key) if isinstance(item, dict)]


def refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def read(path):
    """The bytes of a file, one more than MAX_BYTES at most; unpacked if it is a file of gzip."""
    try:
        with open(path, "rb") if path != "-" else sys.stdin.buffer as file:
            data = file.read(MAX_BYTES + 1)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Failed(f"{path} is damaged: {error}; make it again with iopf-bench --json and "
                     "gzip") from error
    except OSError as error:
        raise Failed(f"cannot read {path}: {error.strerror}") from error
    return data


def load(path):
    """Read a result of iopf-bench."""
    data = read(path)
    if len(data) > MAX_BYTES:
        raise Failed(f"{path} has more than {MAX_BYTES >> 20} MiB; a result has less")
    try:
        result = json.loads(data.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:100]
        raise Failed(f"{path} is damaged: {why}; make it again with iopf-bench --json") from error
    if not isinstance(result, dict) or not (objects(result, "cases") or entry(result, "figures")):
        raise Failed(f"{path} has no cases and no figures; give a file of iopf-bench --json")
    if "format" in result and number(result, "format") != 1:
        raise Failed(f"{path} has another format than 1; use the iopf-bench-report of the program "
                     "that wrote it")
    return result


def clean(name):
    """A name without characters that gnuplot could interpret."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:40] or "_"


def median(values):
    order = sorted(values)
    return (order[(len(order) - 1) // 2] + order[len(order) // 2]) / 2
