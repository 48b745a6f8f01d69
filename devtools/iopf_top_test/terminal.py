# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""A terminal for a program of curses, for test-iopf-top.py."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

PATIENCE_S = 120


class Terminal:
    """A program on a pseudo-terminal, with enough of a terminal to know what is on the screen."""

    def __init__(self, lines, columns, program, *options, term="vt100"):
        self.lines, self.columns = lines, columns
        self.cells = {}
        self.y = self.x = 0
        self.region = (0, lines)        # lines that scroll
        self.overflow = False
        self.pending = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ["TERM"] = term
            os.environ.pop("LINES", None)
            os.environ.pop("COLUMNS", None)
            # The size is set before curses asks for it.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execv(program, [str(program), *map(str, options)])
        self.pid = pid

    def resize(self, lines, columns):
        self.lines, self.columns, self.region = lines, columns, (0, lines)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def send(self, keys):
        os.write(self.fd, keys.encode())

    def text(self):
        return "\n".join("".join(self.cells.get((y, x), " ") for x in range(self.columns)).rstrip()
                         for y in range(self.lines))

    def feed(self, data):
        self.pending += data
        pattern = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()]?.|[\s\S]")
        at = 0
        for match in pattern.finditer(self.pending):
            rest = self.pending[match.start():]
            if rest[0] == "\x1b" and not re.match(r"\x1b\[[?\d;]*[A-Za-z]|\x1b[()].|\x1b[^\[()]",
                                                 rest):
                break
            at = match.end()
            self.act(match)
        self.pending = self.pending[at:]

    def act(self, match):
        text, final = match.group(0), match.group(2)
        numbers = [int(n) if n.isdigit() else 0 for n in (match.group(1) or "").split(";")]
        if final == "H":
            self.y = max(numbers[0], 1) - 1
            self.x = (max(numbers[1], 1) if len(numbers) > 1 else 1) - 1
        elif final == "J":
            self.clear(lambda y, x: numbers[0] == 2 or (y, x) >= (self.y, self.x))
        elif final == "K":
            self.clear(lambda y, x: y == self.y and
                       (x >= self.x if numbers[0] == 0 else x <= self.x))
        elif final in "ABCD" if final else False:
            step = max(numbers[0], 1)
            self.y += {"A": -step, "B": step}.get(final, 0)
            self.x += {"C": step, "D": -step}.get(final, 0)
        elif final == "r":
            self.region = (max(numbers[0], 1) - 1, (numbers[1] if len(numbers) > 1 else 0) or
                           self.lines)
            self.y = self.x = 0
        elif text == "\x1bM":
            self.step(-1, self.region[0])
        elif text in ("\n", "\x1bD"):
            self.step(1, self.region[1] - 1)
        elif text == "\r":
            self.x = 0
        elif text == "\b":
            self.x -= 1
        elif text == "\t":
            self.x = (self.x // 8 + 1) * 8
        elif len(text) == 1 and text >= " ":
            self.overflow |= not (0 <= self.y < self.lines and 0 <= self.x < self.columns)
            self.cells[self.y, self.x] = text
            self.x += 1

    def step(self, step, edge):
        """Up or down; at the edge of the region its lines move instead."""
        if self.y != edge:
            self.y += step
            return
        top, bottom = self.region
        self.cells = {(y - step if top <= y < bottom else y, x): c
                      for (y, x), c in self.cells.items()
                      if not top <= y < bottom or top <= y - step < bottom}

    def clear(self, inside):
        self.cells = {at: c for at, c in self.cells.items() if not inside(*at)}

    def read(self, seconds):
        """False: the program has closed the terminal."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            self.feed(data.decode("ascii"))
            return bool(data)
        return True

    def wait_for(self, what, without=None):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            text = self.text()
            if what in text and (without is None or without not in text):
                return text
            if not self.read(0.05) and what not in self.text():
                break
        raise AssertionError(f"not on the screen: {what}\n{self.text()}")

    def end(self):
        self.send("q")
        while self.read(1):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)
