# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""The screen: keys, selection, and the thread that reads telemetry."""

import contextlib
import curses
import threading
import time

from .client import Bad, Client, Gone, Silent
from .reading import Difference, Reading
from .view import head_lines, make_tables, title_line

RETRY_S = 0.5
KEY_WAIT_MS = 100

HELP = """\
q        quit                               h, ?   this text
Tab      the next table: devices, domains,  p      pause; the figures stay
         faults, counters                   + -    a shorter, a longer interval
Up Down  select a row                       n      the next IOMMU
PgUp PgDn Home End                          Enter  all counters of a row
< >      sort by the next column            r      reverse the order

FAULT/s   faults in a second; a * marks a device of a domain that other
          devices use too: the counter is that of all of them
WAIT      faults that wait for their answer
P50 P99   latency between the last two readings, from record to answer
REFUS/s   faults of a device past a limit, or without a domain
ABORT/s   accesses that the IOMMU aborted
poll core the share of its time that the poll thread works on records
PROD      stores of the index of the command queue
storms    losses: answers and events lost, overflows, recoveries

""".splitlines()


class Reader(threading.Thread):
    """Takes a reading each interval, so that keys never wait for the servicer."""

    def __init__(self, path, interval):
        super().__init__(daemon=True)
        self.path, self.interval = path, interval
        self.lock = threading.Lock()
        self.client = self.now = self.before = None
        self.trouble = ""
        self.wake = threading.Event()

    def latest(self):
        with self.lock:
            return self.now, self.before, self.trouble

    def fail(self, text):
        with self.lock:
            # Figures of another process are no base for a difference.
            self.trouble, self.before = text, None
        if self.client:
            self.client.close()
            self.client = None

    def read_once(self):
        try:
            if self.client is None:
                self.client = Client(self.path)
                with self.lock:
                    self.base = None
            reading = Reading(self.client)
        except Gone:
            pid = f" (process {self.now.pid})" if self.now else ""
            self.fail(f"the servicer{pid} has ended; waiting for it at {self.path}")
        except Silent:
            self.fail("the servicer does not answer; trying again")
        except Bad as e:
            self.fail(f"{e}; trying again")
        else:
            with self.lock:
                self.before, self.now, self.trouble = self.base, reading, ""
            self.base = reading
            return True
        return False

    def run(self):
        while True:
            done = self.read_once()
            self.wake.wait(self.interval if done else RETRY_S)
            self.wake.clear()


class Screen:
    def __init__(self, window, reader, iommu_id):
        self.window, self.reader = window, reader
        self.iommu_id = iommu_id
        self.tables, self.at = make_tables(), 0
        self.selected = [None] * len(self.tables)     # identity of a row, by table
        self.top = [0] * len(self.tables)             # the first row shown
        self.paused = self.help = self.detail = False
        self.frozen = None

    @property
    def table(self):
        return self.tables[self.at]

    def put(self, y, text, attribute=curses.A_NORMAL):
        height, width = self.window.getmaxyx()
        if y >= height:
            return
        # The last cell of the screen cannot be written without an error of curses.
        room = width - 1 if y == height - 1 else width
        try:
            self.window.addnstr(y, 0, text.ljust(room), room, attribute)
        except curses.error:
            pass

    def difference(self):
        now, before, trouble = self.frozen if self.paused and self.frozen else \
            self.reader.latest()
        if now is None or not now.iommus:
            return now, None, trouble
        if self.iommu_id not in now.iommus:
            self.iommu_id = min(now.iommus)
        old = before.iommus.get(self.iommu_id) if before else None
        return now, Difference(now.iommus[self.iommu_id], old), trouble

    def draw(self):
        self.window.erase()
        height, _ = self.window.getmaxyx()
        now, difference, trouble = self.difference()
        if self.help:
            for y, line in enumerate(HELP[:height - 1]):
                self.put(y, line)
            self.put(height - 1, "any key: back", curses.A_REVERSE)
        elif difference is None:
            self.put(0, "iopf-top", curses.A_BOLD)
            self.put(2, trouble or (f"process {now.pid} has no IOMMU open" if now else
                                    f"reading {self.reader.path}"))
            self.put(height - 1, "q quit", curses.A_REVERSE)
        else:
            self.draw_figures(now, difference, trouble, height)
        self.window.refresh()

    def draw_figures(self, now, difference, trouble, height):
        title = title_line(now, difference, len(now.iommus))
        self.put(0, title + ("  PAUSED" if self.paused else ""), curses.A_BOLD)
        lines = head_lines(now, difference)
        y = 1
        if trouble:
            self.put(y, trouble, curses.A_REVERSE | curses.A_BOLD)
            y += 1
        # Rows of the table matter more than the last lines of the head.
        for line in lines[:max(height - y - 5, 1)]:
            self.put(y, line)
            y += 1
        y += 1
        rows = self.table.rows(difference)
        room = max(height - y - 2, 1)
        index = self.index_of(rows)
        if self.detail and rows:
            self.draw_detail(y, room, rows[max(index, 0)])
        else:
            self.draw_rows(y, room, rows, index)
        self.put(height - 1, self.foot(len(rows)), curses.A_REVERSE)

    def index_of(self, rows):
        """Of the selected row; -1: none is."""
        for i, row in enumerate(rows):
            if self.table.identity(row) == self.selected[self.at]:
                return i
        return -1

    def draw_rows(self, y, room, rows, index):
        top = self.top[self.at]
        if index >= 0:
            top = min(max(top, index - room + 1), index)
        self.top[self.at] = top = max(min(top, len(rows) - room), 0)
        self.put(y, self.table.head(), curses.A_REVERSE)
        for i, row in enumerate(rows[top:top + room]):
            self.put(y + 1 + i, self.table.line(row),
                     curses.A_REVERSE if top + i == index else curses.A_NORMAL)
        if not rows:
            self.put(y + 1, f"no {self.table.title}")

    def draw_detail(self, y, room, row):
        """The counters of a row, in two columns."""
        first = self.table.columns[0]
        self.put(y, f"{first.title} {first.show(row).strip()}", curses.A_REVERSE)
        totals = row.get("totals", {k: v for k, v in row.items() if isinstance(v, (int, str))})
        pairs = [f"{key[:26]:26} {value!s:>11}" for key, value in totals.items()]
        half = min(max(-(-len(pairs) // 2), 1), room)
        for i in range(half):
            right = pairs[half + i] if half + i < len(pairs) else ""
            self.put(y + 1 + i, f"{pairs[i] if i < len(pairs) else '':39} {right}")

    def foot(self, nb):
        return (f"{self.table.title} ({nb}) by {self.table.sort_name()}, "
                f"{self.reader.interval:g} s   h help  q quit  Tab table  p pause  <> sort")

    def move(self, step):
        _, difference, _ = self.difference()
        rows = self.table.rows(difference) if difference else []
        if not rows:
            return
        index = self.index_of(rows)
        # The first step selects the first row that is shown.
        index = self.top[self.at] if index < 0 else index + step
        self.selected[self.at] = self.table.identity(rows[min(max(index, 0), len(rows) - 1)])

    def change_sort(self, step):
        nb = len(self.table.columns)
        self.table.sort = (-1 if self.table.sort is None else self.table.sort) + step
        self.table.sort %= nb

    def change_iommu(self):
        now, _, _ = self.reader.latest()
        ids = sorted(now.iommus) if now else []
        if self.iommu_id in ids:
            self.iommu_id = ids[(ids.index(self.iommu_id) + 1) % len(ids)]

    def change_interval(self, factor):
        self.reader.interval = min(max(self.reader.interval * factor, 0.1), 60)
        self.reader.wake.set()

    def handle(self, key):
        """False: quit."""
        if self.help and key not in (-1, curses.KEY_RESIZE):
            self.help = False
            return True
        if key in (ord("q"), 3):
            return False
        page = max(self.window.getmaxyx()[0] - 14, 1)
        moves = {curses.KEY_UP: -1, ord("k"): -1, curses.KEY_DOWN: 1, ord("j"): 1,
                 curses.KEY_PPAGE: -page, curses.KEY_NPAGE: page,
                 curses.KEY_HOME: -1 << 30, curses.KEY_END: 1 << 30}
        if key in moves:
            self.move(moves[key])
        elif key in (ord("h"), ord("?"), curses.KEY_F1):
            self.help = True
        elif key == ord("\t"):
            self.at, self.detail = (self.at + 1) % len(self.tables), False
        elif key in (ord("p"), ord(" ")):
            self.paused = not self.paused
            self.frozen = self.reader.latest() if self.paused else None
        elif key in (ord("<"), ord(",")):
            self.change_sort(-1)
        elif key in (ord(">"), ord("."), ord("s")):
            self.change_sort(1)
        elif key == ord("r"):
            self.table.reverse = not self.table.reverse
        elif key in (10, 13, curses.KEY_ENTER):
            self.detail = not self.detail
        elif key == ord("n"):
            self.change_iommu()
        elif key in (ord("+"), ord("=")):
            self.change_interval(0.5)
        elif key == ord("-"):
            self.change_interval(2)
        return True

    def run(self):
        self.window.timeout(KEY_WAIT_MS)
        drawn = None
        while True:
            key = self.window.getch()
            if not self.handle(key):
                return
            state = (self.reader.latest(), time.monotonic() if key != -1 else 0)
            if state != drawn:
                self.draw()
                drawn = state


def run_screen(path, interval, iommu_id):
    reader = Reader(path, interval)
    reader.start()

    def main(window):
        # The terminal's own colours: without this curses draws white on black.
        for call in (lambda: curses.curs_set(0), curses.use_default_colors):
            with contextlib.suppress(curses.error):
                call()
        Screen(window, reader, iommu_id).run()

    curses.wrapper(main)
