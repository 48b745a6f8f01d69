# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Tables out of the code, so that the guides cannot differ from it.

.. ctable:: FILE enum NAME      enumerators and their comments
.. ctable:: FILE struct NAME    fields and their comments
.. ctable:: FILE define NAME    macros from that one up to an empty line, and their comments
.. ctable:: FILE strings ARRAY  the first string of each entry

FILE is relative to the top of the tree. With ``:names: FILE`` an enum gets a column
with the names that the table ``[ENUMERATOR] = "name"`` in that file gives.
Something that is not found is an error of the build.
"""

import pathlib
import re

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

ROOT = pathlib.Path(__file__).resolve().parents[2]


def clean(comment):
    comment = re.sub(r"^\s*\*+ ?", "", comment, flags=re.M)
    comment = re.sub(r"@p (\w+)", r"\1", comment)
    return " ".join(comment.split())


def body_of(text, start):
    """The text between the braces that open at or after start."""
    begin = text.index("{", start) + 1
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    raise ValueError("a brace is not closed")


# A comment, or code that is not one.
TOKEN = re.compile(r"/\*(.*?)\*/|([^/]+|/(?!\*))", re.S)


def entries(body, separator):
    """[code, comment] of each entry; a comment behind it or in front of it is its own."""
    found = []
    before = ""
    code = ""
    for match in TOKEN.finditer(body):
        if match.group(1) is not None:
            comment = match.group(1).lstrip("*")
            if comment.startswith("<"):
                if code.strip():
                    found.append([code.strip(), ""])
                    code = ""
                if found:
                    found[-1][1] = (found[-1][1] + " " + clean(comment[1:])).strip()
            elif code.strip() == "" and not _same_line(body, match.start(), found):
                before = clean(comment)
            else:
                if code.strip():
                    found.append([code.strip(), ""])
                    code = ""
                found[-1][1] = clean(comment)
            continue
        parts = match.group(2).split(separator)
        for i, part in enumerate(parts):
            code += part
            if i < len(parts) - 1:
                if code.strip():
                    found.append([code.strip(), before])
                    before = ""
                code = ""
    if code.strip():
        found.append([code.strip(), before])
    return found


def _same_line(body, at, found):
    line = body[body.rfind("\n", 0, at) + 1:at]
    return bool(found) and line.strip() != ""


def enum_rows(text, name, _):
    match = re.search(r"enum %s\s*\{" % re.escape(name), text)
    if match is None:
        raise ValueError("there is no enum %s" % name)
    rows = []
    for code, comment in entries(body_of(text, match.start()), ","):
        rows.append([re.match(r"\w+", code).group(0), comment])
    return rows


def struct_rows(text, name, _):
    match = re.search(r"struct %s\s*\{" % re.escape(name), text)
    if match is None:
        raise ValueError("there is no struct %s" % name)
    rows = []
    for code, comment in entries(body_of(text, match.start()), ";"):
        pointer = re.search(r"\(\*(\w+)\)", code)
        field = pointer.group(1) + "()" if pointer else re.search(r"(\w+)(\[\w*\])?$", code).group(1)
        rows.append([field, comment])
    return rows


def define_rows(text, name, _):
    match = re.search(r"^#define %s\b.*?\n(?=\n|\Z)" % re.escape(name), text, re.M | re.S)
    if match is None:
        raise ValueError("there is no macro %s" % name)
    rows = []
    before = ""
    for part in re.finditer(r"/\*\*(.*?)\*/|^#define (\w+)", match.group(0), re.M | re.S):
        if part.group(2):
            rows.append([part.group(2), before])
            before = ""
        elif part.group(1).startswith("<"):
            rows[-1][1] = clean(part.group(1)[1:])
        else:
            before = clean(part.group(1))
    return rows


def string_rows(text, name, _):
    match = re.search(r"\b%s\[[^\]]*\] = \{" % re.escape(name), text)
    if match is None:
        raise ValueError("there is no array %s" % name)
    return [[m.group(1)] for m in
            re.finditer(r"\{\s*\"(\w+)\"", body_of(text, match.end() - 1))]


KINDS = {"enum": enum_rows, "struct": struct_rows, "define": define_rows, "strings": string_rows}


class CTable(SphinxDirective):
    required_arguments = 3
    option_spec = {"names": directives.unchanged}

    def run(self):
        path, kind, name = self.arguments
        source = ROOT / path
        self.env.note_dependency(str(source))
        try:
            rows = KINDS[kind](source.read_text(), name, self)
            if "names" in self.options:
                names_file = ROOT / self.options["names"]
                self.env.note_dependency(str(names_file))
                names = dict(re.findall(r'\[(\w+)\] = "([^"]*)"', names_file.read_text()))
                rows = [[names[r[0]], *r] for r in rows]
        except (OSError, KeyError, ValueError) as error:
            raise self.error("ctable %s %s %s: %s" % (path, kind, name, error))
        if not rows:
            raise self.error("ctable %s %s %s: it is empty" % (path, kind, name))
        return [self.table(rows)]

    def table(self, rows):
        widths = {1: [100], 2: [35, 65], 3: [20, 35, 45]}[len(rows[0])]
        table = nodes.table(classes=["colwidths-given"])
        group = nodes.tgroup(cols=len(widths))
        table += group
        for width in widths:
            group += nodes.colspec(colwidth=width)
        body = nodes.tbody()
        group += body
        for row in rows:
            line = nodes.row()
            for i, cell in enumerate(row):
                entry = nodes.entry()
                paragraph = nodes.paragraph()
                if i < len(row) - 1 or len(row) == 1:
                    paragraph += nodes.literal(text=cell)
                else:
                    paragraph += nodes.Text(cell)
                entry += paragraph
                line += entry
            body += line
        return table


def setup(app):
    app.add_directive("ctable", CTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
