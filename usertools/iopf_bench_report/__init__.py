# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""iopf-bench-report: result.py reads a result, figures.py chooses what to draw, plot.py draws it
with gnuplot, page.py writes the report, picture.py single pictures, compare.py compares two
results."""
