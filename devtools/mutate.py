#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Mutate the SMMUv3 driver and report the tests that fail.

Each mutant is the driver without one thing: a barrier, a CMD_SYNC that the driver waits
for or adds after commands, an invalidation command, the check of a value, or the test of
a state. A mutant is caught if it does not build or if a test fails, crashes or hangs. A
mutant survives if it passes every suite: a test is missing, or the removed line has no
observable effect, and EXPLAINED gives the reason.

The choice of mutants depends only on the seed and the sources. The draw alternates between
files and kinds, so that each file and each kind has its share.
"""

import argparse
import concurrent.futures
import contextlib
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DRIVER = 'drivers/smmuv3_pmd'
# In the order in which they run. Suites that do not use the driver are left out.
PROGRAMS = ['app/test-iopf/test-order', 'app/test-iopf/test-iopf', 'app/test-iopf/test-bench']
FIRST_SUITES = ('pmd_', 'pri_')
SUITE_SECONDS = 90

# Mutants that behave as the driver does: file, a word of the line, and the reason.
EXPLAINED = [
    ('cmdq_error.c', 'SMMUV3_OP_ATC_INV', 'the word of the next CMD_SYNC says the same'),
    ('ste.c', 'smmuv3_io_wmb', 'the owner of the CMDQ calls it: PROD is stored behind a barrier'),
    ('gbpa.c', 'gbpa & SMMUV3_GBPA_ABORT', 'without it the same value is written again'),
    ('strtab.c', '(have)', 'it saves an allocation; the check under the lock decides'),
    ('cmdq.h', 'smmuv3_backlog_has_cmd', 'it saves the flush of an empty backlog'),
    ('cmdq_ring.h', 'q->records_cmds', 'it saves two tests, each of which is repeated'),
    ('main_cmdq.c', '== SMMUV3_STATE_OFF', 'smmuv3_may_translate() returns false too'),
    ('ecmdq.c', 's->ecmdq_error', 'the exchange that follows says the same'),
    ('cmdq_sync.c', '>= SMMUV3_STATE_FAILED', 'it leaves registers out of a line of the log'),
]


def balanced_end(text, start):
    """Index after the parenthesis that closes the one at start."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] == '(':
            depth += 1
        elif text[i] == ')':
            depth -= 1
            if depth == 0:
                return i + 1
    return -1


def blank_comments(text):
    """The text with comments and strings replaced by spaces, offsets unchanged."""
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"',
                  lambda m: re.sub(r'[^\n]', ' ', m.group()), text, flags=re.S)


def calls(text, pattern):
    for m in re.finditer(pattern + r'\(', text):
        end = balanced_end(text, m.end() - 1)
        # Not a declaration or a definition.
        before = text[text.rfind('\n', 0, m.start()) + 1:m.start()]
        if end > 0 and before.strip() != '' and not re.match(
                r'^(static |inline |int |void |bool |struct \w+( \*)?)+$', before):
            yield m.start(), end


def mutations(text):
    """Yields (kind, start, end, replacement)."""
    code = blank_comments(text)
    for m in re.finditer(r'\bsmmuv3_io_w?mb\(\);', code):
        yield 'barrier', m.start(), m.end(), ';'
    for m in re.finditer(r'\bsmmuv3_(store_prod|store_cons|load_prod|load_status)\b(?=\()', code):
        plain = 'smmuv3_write32' if 'store' in m.group() else 'smmuv3_read32'
        yield 'barrier', m.start(), m.end(), plain
    for start, end in calls(code, r'\bsmmuv3_cmdq_sync'):
        yield 'SYNC', start, end, '(0)'
    for m in re.finditer(r'(?m)^\t+\w+(?:\[[^]]*\])? = smmuv3_cmd_sync\(\);', code):
        yield 'SYNC', m.start(), m.end(), '\t\t;'
    for start, end in calls(code, r'\bsmmuv3_cmd_(?:tlbi|cfgi|atc_inv|stall_term)\w*'):
        kind = 'TLBI' if 'tlbi' in code[start:end] else 'CFGI' if 'cfgi' in code[start:end] \
            else 'command'
        yield kind, start, end, 'smmuv3_cmd_sync()'
    for m in re.finditer(r'(?m)^\t+(?:\} else )?if \(', code):
        start = m.end() - 1
        end = balanced_end(code, start)
        if end < 0:
            continue
        condition = code[start:end]
        state = re.search(r'state|atomic_load|_is\(|\bon\b|dead|epoch|stage', condition)
        body = re.match(r'\s*\{?\s*(return|continue|break|goto)\b', code[end:end + 80])
        if state:
            yield 'state', start, end, '(0)'
        elif body:
            yield 'check', start, end, '(0)'


def draw(seed, count):
    rooms = {}
    for path in sorted(glob.glob(os.path.join(TOP, DRIVER, '*.[ch]'))):
        name = os.path.basename(path)
        if name in ('backend_vfio.c', 'vfio_check.c', 'phys.c'):
            # Runs only with VFIO: in the QEMU lab.
            continue
        with open(path, encoding='utf-8') as f:
            text = f.read()
        for mutation in mutations(text):
            line = text.count('\n', 0, mutation[1]) + 1
            rooms.setdefault((mutation[0], name), []).append((path, line, text) + mutation)
    rng = random.Random(seed)
    order = sorted(rooms)
    for room in order:
        rng.shuffle(rooms[room])
    rng.shuffle(order)
    drawn = []
    while order and len(drawn) < count:
        for room in list(order):
            if len(drawn) < count:
                drawn.append(rooms[room].pop())
            if not rooms[room]:
                order.remove(room)
    return drawn


class Tree:
    """A copy of the sources with a build of its own."""

    def __init__(self, parent, number):
        self.path = os.path.join(parent, f'tree{number}')
        files = subprocess.run(['git', 'ls-files', '-z'], cwd=TOP, check=True,
                               capture_output=True).stdout.decode().split('\0')
        for name in filter(None, files):
            source = os.path.join(TOP, name)
            if not os.path.exists(source):
                continue
            target = os.path.join(self.path, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target)
        self.build = os.path.join(self.path, 'build')
        subprocess.run(['meson', 'setup', self.build, '-Dwerror=false', '-Ddefault_library=static'],
                       cwd=self.path, check=True, stdout=subprocess.DEVNULL)
        if not self.compile():
            sys.exit('mutate.py: the unchanged tree does not build')

    def compile(self):
        return subprocess.run(['ninja', '-C', self.build] + PROGRAMS,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def suites(self):
        """All suites as (program, suite), in the order in which they run."""
        found = []
        for program in PROGRAMS:
            names = subprocess.run([os.path.join(self.build, program), '--list'], text=True,
                                   capture_output=True, check=True).stdout.split()
            found += [(program, name) for name in
                      sorted(names, key=lambda n: (not n.startswith(FIRST_SUITES), n))]
        return found

    def run(self, program, suite):
        """None if the suite passes, or its name and the reason."""
        try:
            ret = subprocess.run([os.path.join(self.build, program), suite],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 timeout=SUITE_SECONDS).returncode
        except subprocess.TimeoutExpired:
            return suite + ' (hangs)'
        return None if ret == 0 else suite if ret > 0 else f'{suite} (signal {-ret})'

    def failing_suite(self, suites):
        """The first suite that fails, or None."""
        return next(filter(None, (self.run(*suite) for suite in suites)), None)

    @contextlib.contextmanager
    def changed(self, path, text, start, end, replacement):
        mine = os.path.join(self.path, os.path.relpath(path, TOP))
        with open(mine, 'w', encoding='utf-8') as f:
            f.write(text[:start] + replacement + text[end:])
        try:
            yield
        finally:
            with open(mine, 'w', encoding='utf-8') as f:
                f.write(text)

    def try_mutant(self, mutant, suites):
        path, _, text, _, start, end, replacement = mutant
        with self.changed(path, text, start, end, replacement):
            return self.failing_suite(suites) if self.compile() else 'the compiler'

    def find_suites(self, pool):
        """The suites that can catch a mutant: those that open the driver, or call its functions."""
        path = os.path.join(TOP, DRIVER, 'smmuv3_pmd.c')
        with open(path, encoding='utf-8') as f:
            text = f.read()
        opening = re.search(r'(?m)^pmd_open\([^)]*\)\n\{', text).end()
        suites = self.suites()
        with self.changed(path, text, opening, opening, ' _Exit(1);'):
            if not self.compile():
                sys.exit('mutate.py: a driver that cannot be opened does not build')
            failed = pool.map(lambda suite: self.run(*suite), suites)
            found = [suite for suite, noticed in zip(suites, failed)
                     if noticed is not None or suite[1].startswith('pmd_')]
        self.compile()
        return found


def explanation(mutant, text):
    for name, word, why in EXPLAINED:
        if os.path.basename(mutant[0]) == name and word in text:
            return why
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=8)
    parser.add_argument('--count', type=int, default=60)
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--survive', type=int, default=3, help='largest number of mutants that may survive')
    parser.add_argument('--list', action='store_true', help='list the mutants without running them')
    options = parser.parse_args()

    drawn = draw(options.seed, options.count)
    if options.list:
        for path, line, _, kind, *_ in drawn:
            print(f'{os.path.basename(path)}:{line}: {kind}')
        return 0
    survived = []
    with tempfile.TemporaryDirectory(prefix='iopf-mutate.', dir=os.environ.get('TMPDIR')) as parent:
        trees = [Tree(parent, i) for i in range(options.jobs)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            suites = trees[0].find_suites(pool)
            for noticed in pool.map(lambda suite: trees[0].run(*suite), suites):
                if noticed is not None:
                    sys.exit(f'mutate.py: suite {noticed} fails without any mutant')
        print(f'{len(suites)} suites use the driver', flush=True)

        def work(mutant):
            tree = trees.pop()
            begin = time.monotonic()
            try:
                return tree.try_mutant(mutant, suites), time.monotonic() - begin
            finally:
                trees.append(tree)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for mutant, (noticed, seconds) in zip(drawn, pool.map(work, drawn)):
                path, line, source, kind, start, end, _ = mutant
                text = ' '.join(source[start:end].split())
                print(f'{"caught" if noticed else "SURVIVED":8} {os.path.basename(path)}:{line} '
                      f'{kind}: {text[:60]} -- {noticed or explanation(mutant, text) or "?"} '
                      f'({seconds:.0f} s)', flush=True)
                if noticed is None:
                    survived.append(mutant)
    caught = len(drawn) - len(survived)
    print(f'seed {options.seed}: {len(drawn)} mutants, {caught} caught, {len(survived)} survived; '
          f'at most {options.survive} may')
    good = len(drawn) >= options.count and len(survived) <= options.survive
    print(f'{int(good)} passed, {int(not good)} failed, 0 skipped')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
