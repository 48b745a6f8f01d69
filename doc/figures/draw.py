#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""draw.py [--check]: draw the figures of the guides, NAME.dot, as NAME-light.svg and NAME-dark.svg.

The SVGs are in the tree, since README.md shows them. --check says which of them are not what the
text gives. The place of a text depends on the installed fonts and is not compared. Graphviz
versions write different SVGs: if the versions differ, only words and colours are compared.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
COLOURS = {
    "light": {
        "ink": "#24292f", "soft": "#57606a", "file": "#0550ae", "line": "#8c959f",
        "box": "#ffffff", "queue": "#fff4cc",
        "lane": "#eef1f4", "lane_poll": "#dcebfb", "lane_worker": "#dff3e2",
    },
    "dark": {
        "ink": "#e6edf3", "soft": "#9aa4b0", "file": "#79c0ff", "line": "#6e7681",
        "box": "#0d1117", "queue": "#3a3016",
        "lane": "#1c2128", "lane_poll": "#14263f", "lane_worker": "#14301d",
    },
}


def draw(source, colours):
    text = re.sub(r"\$(\w+)", lambda m: colours[m.group(1)], source.read_text())
    return subprocess.run(["neato", "-n2", "-Tsvg"], input=text, check=True,
                          capture_output=True, text=True).stdout


def same(old, new):
    version = re.compile(r"graphviz version (.*)")
    if version.findall(old) == version.findall(new):
        place = re.compile(r'(?<=<text text-anchor="middle") x="[^"]*" y="[^"]*"')
        return place.sub("", old) == place.sub("", new)
    words = re.compile(r"<(?:text|title)[^>]*>([^<]*)<|fill=\"([^\"]*)\"")
    return sorted(words.findall(old)) == sorted(words.findall(new))


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: draw.py [--check]")
    bad = 0
    for source in sorted(HERE.glob("*.dot")):
        for name, colours in COLOURS.items():
            target = HERE / f"{source.stem}-{name}.svg"
            svg = draw(source, colours)
            if not check:
                target.write_text(svg)
            elif not target.exists() or not same(target.read_text(), svg):
                print(f"doc/figures/{target.name} is not what {source.name} gives: "
                      "run doc/figures/draw.py")
                bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
