# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

project = "iopf"
copyright = "2026 The iopf authors"
author = "The iopf authors"
extensions = ["ctable"]
exclude_patterns = ["_build"]
highlight_language = "none"
html_theme = "alabaster"
html_theme_options = {
    "description": "IOMMU faults, served by polling",
    "page_width": "1100px",
    "fixed_sidebar": True,
}
html_sidebars = {"**": ["about.html", "navigation.html"]}
html_copy_source = False
html_show_sphinx = False
