# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Single pictures: files of SVG with a background of their own, so that each page may show them.
A reader of a dark screen gets dark ones where the viewer knows it; the others get light ones."""

import html
import re

from .figures import list_figures
from .plot import COLOURS, FIGURE_HEIGHT, FIGURE_WIDTH, make_svg
from .result import entry, text

HEAD = 32               # the height of the name above the figure
BACKGROUND = ("#ffffff", "#16181b")


def make_style(svg):
    """Rules for the colours that the picture has."""
    rules = "".join(f'[{attribute}="{light}"] {{ {attribute}: {dark} }}\n'
                    for light, dark in [*COLOURS.values(), BACKGROUND]
                    for attribute in ("stroke", "fill", "color")
                    if f'{attribute}="{light}"' in svg)
    return f"<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>"


def make_picture(figure, ended):
    svg = make_svg("", figure.name, figure.settings, figure.series,
                   lambda attribute, name: f'{attribute}="{COLOURS[name][0]}"')
    svg = svg.replace(f'viewBox="0 0 {FIGURE_WIDTH} {FIGURE_HEIGHT}"',
                      f'viewBox="0 -{HEAD} {FIGURE_WIDTH} {FIGURE_HEIGHT + HEAD}" '
                      f'width="{FIGURE_WIDTH}" height="{FIGURE_HEIGHT + HEAD}"', 1)
    origin = f"<desc>iopf-bench, a run that ended {html.escape(ended)}</desc>" if ended else ""
    head = (f'<rect y="-{HEAD}" width="100%" height="100%" rx="6" fill="{BACKGROUND[0]}"/>\n'
            f'<text x="{FIGURE_WIDTH // 2}" y="-8" text-anchor="middle" font-family="sans-serif" '
            f'font-size="16" font-weight="bold" fill="{COLOURS["fg"][0]}">'
            f"{html.escape(figure.name)}</text>")
    return re.sub(r"(<svg[^>]*>)", rf"\1\n{origin}{make_style(head + svg)}\n{head}", svg, count=1)


def make_pictures(result):
    """{name of a file: its text}"""
    ended = text(entry(result, "program"), "ended")
    return {f"{figure.key}.svg": make_picture(figure, ended) for figure in list_figures(result)}
