#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Compare the tokens of C sources in two revisions, for commits that change comments only.

check-tokens.py OLD [NEW]: NEW is the working tree when it is left out. The compiler removes
the comments of each .c and .h file that differs and keeps its directives; what is left must
be the same, white space aside. This is stricter than to compare the preprocessed sources:
code that is configured out is compared too.
"""

import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\w+|\S', re.S)


def git(*args):
    return subprocess.run(['git', *args], cwd=TOP, check=True, capture_output=True).stdout


def source_of(revision, path):
    if revision is not None:
        return git('show', f'{revision}:{path}')
    with open(os.path.join(TOP, path), 'rb') as f:
        return f.read()


def tokens_of(source):
    # -fpreprocessed expands nothing and includes nothing, -dD keeps #define.
    # Other directives are hidden as pragmas would be: by a word that is no token of C.
    text = re.sub(rb'(?m)^([ \t]*)#(?![ \t]*(?:define|undef)\b)', rb'\1@', source)
    out = subprocess.run(['gcc', '-fpreprocessed', '-dD', '-E', '-P', '-x', 'c', '-'],
                         input=text, check=True, capture_output=True).stdout
    return TOKEN.findall(out.decode())


def changed_files(old, new):
    args = ['diff', '--name-status', '--no-renames', '-z', old] + ([new] if new else [])
    fields = git(*args).decode().split('\0')
    for status, path in zip(fields[0::2], fields[1::2]):
        if path.endswith(('.c', '.h')):
            yield status, path


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith('-'):
        print(__doc__)
        return 2
    old, new = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None
    compared = differ = 0
    for status, path in changed_files(old, new):
        compared += 1
        if status != 'M':
            print(f'{path}: only in one of the two revisions')
            differ += 1
            continue
        before = tokens_of(source_of(old, path))
        after = tokens_of(source_of(new, path))
        if before != after:
            at = next((i for i, (a, b) in enumerate(zip(before, after)) if a != b),
                      min(len(before), len(after)))
            print(f'{path}: "{" ".join(before[at:at + 8])}" became "{" ".join(after[at:at + 8])}"')
            differ += 1
    print(f'{compared} files compared, {differ} differ')
    return 1 if differ else 0


if __name__ == '__main__':
    sys.exit(main())
