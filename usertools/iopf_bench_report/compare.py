# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""What differs between two results by more than noise."""

import json
import math
import re
import textwrap

from .result import Failed, clean, entry, median, number, objects

ALPHA = 0.01            # a difference is no noise if chance alone makes it less often
# And if the medians differ by this factor: two runs of one program differ by more than the rounds
# of each do, since places of memory and of virtual CPUs last for a run.
FACTOR, FACTOR_P99 = 1.3, 2
MIN_ROUNDS = 5          # of each result; with fewer no difference could be less likely
EXACT_ROUNDS = 60       # of both; with more the sum of ranks is almost normal


def double_ranks(values):
    """Twice the rank of each value; equal values share theirs."""
    order = sorted(values)
    first, last = {}, {}
    for at, value in enumerate(order, 1):
        first.setdefault(value, at)
        last[value] = at
    return [first[value] + last[value] for value in values]


def count_rank_sums(ranks, n):
    """How many choices of n of the ranks have the sum s, for each s."""
    width = len(ranks) + 1      # bits of a count: there are fewer than 2^len(ranks) choices
    # Polynomials in 2^width: the coefficient of x^s counts the choices with the sum s.
    choices = [1] + [0] * n
    for rank in ranks:
        for k in range(n, 0, -1):
            choices[k] += choices[k - 1] << rank * width
    mask, packed, counts = (1 << width) - 1, choices[n], []
    while packed:
        counts.append(packed & mask)
        packed >>= width
    return counts


def p_value(a, b):
    """How often chance alone separates the two lists as much: a permutation test of the ranks
    (Wilcoxon, Mann and Whitney), two-sided, exact with equal values too."""
    ranks = double_ranks(a + b)
    total, n = len(ranks), len(a)
    mean = n * (total + 1)      # of twice the ranks
    distance = abs(sum(ranks[:n]) - mean)
    if total <= EXACT_ROUNDS:
        counts = count_rank_sums(ranks, n)
        far = sum(count for s, count in enumerate(counts) if abs(s - mean) >= distance)
        return far / sum(counts)
    # The variance of a sum of n of the ranks that are there.
    centred = sum((rank - (total + 1)) ** 2 for rank in ranks)
    variance = centred * n * (total - n) / (total * (total - 1))
    return math.erfc(distance / math.sqrt(2 * variance)) if variance > 0 else 1.0


def is_compared(metric):
    return metric in ("p50_ns", "p99_ns", "mfaults_per_s", "ns_per_fault") or \
        metric.endswith(("_p50_ns", "_p99_ns"))


def values_by_round(result):
    """{(name, metric): value of each round that counts}; the metric of a ratio is ""."""
    values = {}

    def add(key, obj, name):
        value = number(obj, name)
        if value is not None:
            values.setdefault(key, []).append(value)

    for one in objects(result, "rounds")[:1000]:
        if one.get("counted") is not True:
            continue
        for case, figures in entry(one, "cases").items():
            for metric in filter(is_compared, figures if isinstance(figures, dict) else ()):
                add((clean(case), metric), figures, metric)
        for kind in ("ratios", "figures"):
            for name in entry(one, kind):
                add((re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60],
                     "" if kind == "ratios" else "figure"), entry(one, kind), name)
    return values


def differs(name, metric, old, new):
    """Is the difference of the medians larger than what two runs of one program show?"""
    factor = FACTOR_P99 if "p99" in name + metric else FACTOR
    low, high = sorted((old, new))
    if low > 0:
        return high / low >= factor
    return high - low >= (factor - 1) * max(abs(low), abs(high)) and high > low


def verdict(name, metric, a, b):
    """(p or None, word)"""
    if min(len(a), len(b)) < MIN_ROUNDS:
        return None, "few"
    p = p_value(a, b)
    old, new = median(a), median(b)
    if p >= ALPHA or not differs(name, metric, old, new):
        return p, "noise"
    if metric in ("", "figure"):
        return p, "changed"
    return p, "better" if (new < old) == (metric != "mfaults_per_s") else "worse"


def list_differences(a, b):
    """Lines on what else differs between the runs, which a change may come from."""
    lines = []
    for part in ("machine", "options"):
        one, two = entry(a, part), entry(b, part)
        for key in sorted(set(one) | set(two)):
            left, right = one.get(key), two.get(key)
            if key == "clock_ghz" and number(one, key) and number(two, key) and \
                    abs(number(one, key) / number(two, key) - 1) < 0.01:
                continue
            if left != right:
                shown = [ascii(json.dumps(v))[1:-1][:60] if v is not None else "not said"
                         for v in (left, right)]
                lines.append(f"warning: {part}.{clean(key)} differs: {shown[0]}, {shown[1]}")
    for name, result in (("A", a), ("B", b)):
        if result.get("noisy") is True:
            lines.append(f"warning: {name} is NOISY: other processes used the CPUs")
        if result.get("interrupted") is True:
            lines.append(f"warning: {name} was interrupted")
    return lines


def compare(a, b):
    """The lines of the comparison, of 80 columns."""
    left, right = values_by_round(a), values_by_round(b)
    keys = [key for key in left if key in right]
    if not keys:
        raise Failed("the two results have no case, ratio or figure by round in common; make both "
                     "with the same options of this iopf-bench")
    lines = list_differences(a, b)
    lines.append(f"{'median by round':35} {'A':>9} {'B':>9} {'B / A':>8} {'p':>6}  verdict")
    counts = {}
    for name, metric in keys:
        one, two = left[name, metric], right[name, metric]
        p, word = verdict(name, metric, one, two)
        counts[word] = counts.get(word, 0) + 1
        label = f"{name} {metric}" if metric not in ("", "figure") else name
        if len(label) > 35:
            lines.append(label)
            label = ""
        old, new = median(one), median(two)
        change = f"{new / old:.4g}" if old > 0 else "-"
        shown = "-" if p is None else f"{p:.4f}"
        lines.append(f"{label:35} {show_plain(old):>9} {show_plain(new):>9} {change:>8} "
                     f"{shown:>6}  {word}")
    missing = len(set(left) ^ set(right))
    tested = len(keys) - counts.get("few", 0)
    lines += ["", f"{len(keys)} compared: " + ", ".join(f"{n} {word}" for word, n in
                                                      sorted(counts.items())) +
              (f"; {missing} in one of the files only" if missing else ""),
              f"No noise: p < {ALPHA} by a rank test over the rounds, and medians that differ by a "
              f"factor of {FACTOR}, or {FACTOR_P99} (p99), since two runs of one program differ by "
              f"nearly as much. By chance alone p is that low in about {tested * ALPHA:.1f} of "
              f"{tested} tests. Smaller changes need several runs by turns."]
    if counts.get("few"):
        lines.append(f"few: fewer than {MIN_ROUNDS} rounds that count; nothing can be said.")
    return [part.rstrip() for line in lines
            for part in textwrap.wrap(line, 80, drop_whitespace=False) or [""]]


def show_plain(value):
    return f"{value:.4g}" if abs(value) < 1000 or abs(value) >= 1e8 else f"{value:.0f}"
