#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Check the layers: which folder may include headers of which other folder.

Each folder lists the project folders whose headers it may include; all other includes
are errors. Further rules: words that a folder's code must not use, the one file of the
driver that may include the model's header, and no printf, exit or abort in libraries
and drivers.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# folder -> folders whose headers it may include (its own is always allowed)
ALLOWED = {
    "drivers/common/smmuv3": [],
    "drivers/smmuv3_model": ["drivers/common/smmuv3"],
    "lib/iopf": [],
    "lib/pgtable": [],
    "lib/mmem": ["lib/iopf:iopf.h", "lib/iopf:iopf_compat.h", "lib/iopf:iopf_handler.h",
                 "lib/iopf:iopf_inval.h", "lib/iopf:iopf_iommu.h", "lib/iopf:iopf_support.h",
                 "lib/pgtable:pgtable.h", "lib/pgtable:pgtable_resize.h"],
    "drivers/smmuv3_pmd": ["lib/iopf:iopf.h", "lib/iopf:iopf_driver.h", "lib/iopf:iopf_guest.h",
                           "lib/iopf:iopf_handler.h",
                           "lib/iopf:iopf_inval.h", "lib/iopf:iopf_iommu.h",
                           "lib/iopf:iopf_support.h", "drivers/common/smmuv3"],
    "app/iopf-bench": ["lib/iopf:iopf.h", "lib/iopf:iopf_handler.h", "lib/iopf:iopf_inval.h",
                       "lib/iopf:iopf_iommu.h", "lib/iopf:iopf_pci.h", "lib/iopf:iopf_policy.h",
                       "lib/iopf:iopf_poller.h", "lib/iopf:iopf_power.h", "lib/iopf:iopf_stats.h",
                       "lib/mmem:iopf_pgtable.h", "lib/mmem:mmem.h", "lib/mmem:mmem_dirty.h",
                       "lib/mmem:mmem_move.h", "lib/pgtable:pgtable.h",
                       "drivers/smmuv3_model:smmuv3_model.h"],
    "examples": ["lib/iopf:iopf.h", "lib/iopf:iopf_guest.h", "lib/iopf:iopf_handler.h", "lib/iopf:iopf_inval.h",
                 "lib/iopf:iopf_iommu.h", "lib/iopf:iopf_pci.h", "lib/iopf:iopf_policy.h",
                 "lib/iopf:iopf_poller.h", "lib/iopf:iopf_power.h", "lib/iopf:iopf_stats.h",
                 "lib/mmem:iopf_pgtable.h", "lib/mmem:mmem.h", "lib/mmem:mmem_dirty.h",
                 "lib/mmem:mmem_move.h", "lib/pgtable:pgtable.h",
                 "drivers/smmuv3_model:smmuv3_model.h"],
}
# single files that may reach further
EXTRA = {
    "drivers/smmuv3_pmd/backend_model.c": ["drivers/smmuv3_model:smmuv3_model.h"],
    # registers a second copy of the driver
    "app/iopf-bench/mmio.c": ["lib/iopf:iopf_driver.h"],
}
EXTRA_GLOB = [("app/iopf-bench/baseline_*", ["drivers/common/smmuv3"]),
              ("app/iopf-bench/mmio_driver.h", ["drivers/common/smmuv3"]),
              # the virtual SMMU of a guest, and its memory
              ("examples/vmm-relay/*", ["drivers/common/smmuv3", "lib/iopf:iopf_guest.h",
                                        "drivers/smmuv3_model:smmuv3_front.h",
                                        "drivers/smmuv3_model:smmuv3_model_page.h"]),
              # the benchmark of the replacement policy
              ("app/iopf-bench/mem_*", ["lib/mmem:mmem_policy.h"]),
              # the benchmark of the driver's command queue
              ("app/iopf-bench/cmdq_*", ["drivers/common/smmuv3", "drivers/smmuv3_pmd:cmdq.h"])]

# system headers a folder may not use: (folder, pattern)
NO_SYSTEM = [
    ("drivers/common/smmuv3", r"^(rte_|urcu|iopf|linux/)"),
    ("drivers/smmuv3_model", r"^(rte_|urcu|linux/vfio)"),
    ("lib/pgtable", r"^(rte_|urcu|linux/)"),
    ("lib/iopf", r"^(linux/vfio|smmuv3)"),
]
# words that a folder's code does not know (comments do not count)
NO_WORDS = {
    "lib/iopf": r"\b(smmu\w*|vfio\w*|ste|ttbr\w*|asid\w*|pgt_\w+)\b",
    "lib/mmem": r"\b(smmu\w*|vfio\w*|asid\w*)\b",
}
NO_CALLS = re.compile(r"(?<![\w.>])(printf|puts|exit|_exit|abort|rte_exit|rte_panic)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.S)


def folder_of(path):
    rel = path.relative_to(ROOT).as_posix()
    for folder in ALLOWED:
        if rel.startswith(folder + "/"):
            return folder
    return None


def main():
    headers = {}
    files = []
    for folder in ALLOWED:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            files.append(path)
            if path.suffix == ".h":
                headers.setdefault(path.name, set()).add(folder)

    bad = []
    for path in files:
        rel = path.relative_to(ROOT).as_posix()
        folder = folder_of(path)
        text = path.read_text()
        allowed = list(ALLOWED[folder]) + EXTRA.get(rel, [])
        for pattern, more in EXTRA_GLOB:
            if path.match(pattern):
                allowed += more
        for match in INCLUDE.finditer(text):
            name = pathlib.PurePosixPath(match.group(2)).name
            line = text.count("\n", 0, match.start()) + 1
            if match.group(1) == "<":
                for where, pattern in NO_SYSTEM:
                    if where == folder and re.search(pattern, match.group(2)):
                        bad.append(f"{rel}:{line}: <{match.group(2)}> is not for {folder}")
                # <sys/wait.h> is no header of this tree.
                if "/" in match.group(2):
                    continue
            owners = headers.get(name)
            if owners is None or folder in owners or (path.parent / name).exists():
                continue
            if not any(a == o or a == f"{o}:{name}" for o in owners for a in allowed):
                bad.append(f"{rel}:{line}: {name} is {'/'.join(sorted(owners))}'s, "
                           f"which {folder} may not include")
        code = COMMENT.sub(lambda m: "\n" * m.group(0).count("\n"), text)
        if folder in NO_WORDS:
            for match in re.finditer(NO_WORDS[folder], code, re.I):
                line = code.count("\n", 0, match.start()) + 1
                bad.append(f"{rel}:{line}: \"{match.group(0)}\" is a word {folder} does not know")
        if folder.startswith(("lib/", "drivers/")):
            for match in NO_CALLS.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                bad.append(f"{rel}:{line}: {match.group(1)}() in a library")
    for line in bad:
        print(line)
    if not files:
        print("no sources found: run from a checkout")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
