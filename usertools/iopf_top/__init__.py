# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""iopf-top: client.py asks, reading.py reads and subtracts, view.py writes, screen.py shows."""
