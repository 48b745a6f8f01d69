#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
"""Test usertools/iopf-setup on a tree of files in place of /sys, /proc and /dev.

FakeKernel does to the tree what a kernel does when its sysfs files are written.
"""

import contextlib
import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
from load_tool import load_tool  # noqa: E402

TOOL = pathlib.Path(__file__).resolve().parent.parent / "usertools/iopf-setup"

tool = load_tool(TOOL)
SMMU = "9050000.smmuv3"
EDU = "0000:00:01.0"


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    def file(self, path, text=""):
        p = self.root / path
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(text)

    def device(self, bus, name, **files):
        self.file(f"sys/bus/{bus}/devices/{name}/driver_override", "(null)\n")
        self.file(f"sys/bus/{bus}/drivers_probe")
        for file, text in files.items():
            self.file(f"sys/bus/{bus}/devices/{name}/{file}", text)

    def driver(self, bus, name, unbind=True):
        self.file(f"sys/bus/{bus}/drivers/{name}/bind")
        if unbind:
            self.file(f"sys/bus/{bus}/drivers/{name}/unbind")

    def bind(self, bus, name, driver):
        link = self.root / f"sys/bus/{bus}/devices/{name}/driver"
        link.symlink_to(self.root / f"sys/bus/{bus}/drivers/{driver}")

    def driver_of(self, bus, name):
        link = self.root / f"sys/bus/{bus}/devices/{name}/driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else ""

    def text(self, path):
        return (self.root / path).read_text()


class FakeKernel(tool.System):
    """Effects of the writes that iopf-setup makes."""

    refuse = ()         # devices that VFIO does not bind
    pages = 1 << 20     # hugepages that fit into memory

    def write(self, path, text):
        super().write(path, text)
        if self.dry_run:
            return
        rel = path.relative_to(self.root).parts
        bus = rel[2] if rel[:2] == ("sys", "bus") else None
        tree = Tree(self.root)
        name = text.strip()
        if path.name == "unbind":
            path.parent.parent.joinpath("driver").unlink()
        elif path.name == "driver_override":
            path.write_text(f"{name or '(null)'}\n")
        elif path.name == "drivers_probe":
            dev = self.root / f"sys/bus/{bus}/devices/{name}"
            wanted = dev.joinpath("driver_override").read_text().strip()
            own = dev / "own_driver"
            if wanted == "(null)":
                wanted = own.read_text() if own.exists() else ""
            if wanted and name not in self.refuse and not dev.joinpath("driver").is_symlink():
                tree.bind(bus, name, wanted)
                if wanted.startswith("vfio") and not dev.joinpath("iommu_group").is_symlink():
                    tree.file("sys/kernel/iommu_groups/3/name", "vfio-noiommu\n")
                    tree.file("dev/vfio/noiommu-3")
                    dev.joinpath("iommu_group").symlink_to(
                        self.root / "sys/kernel/iommu_groups/3")
        elif path.name == "nr_hugepages":
            path.write_text(f"{min(int(name), self.pages)}\n")


class Test(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        t = self.tree = Tree(self.dir.name)
        t.device("platform", SMMU, **{"of_node/compatible": "arm,smmu-v3\0"})
        t.device("platform", "serial0")
        t.device("pci", EDU, vendor="0x1234\n", device="0x11e8\n")
        for bus, driver in (("platform", "vfio-platform"), ("pci", "vfio-pci"), ("pci", "nic")):
            t.driver(bus, driver)
        t.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n")
        t.file("proc/sys/kernel/osrelease", "6.12.0\n")
        t.file("dev/vfio/vfio")
        t.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n")
        t.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n")
        t.file("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n")

    def run_tool(self, *args, kernel=FakeKernel):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = tool.main(["--root", self.dir.name, *args], make=kernel)
            except SystemExit as e:
                status = e.code
        return status, out.getvalue(), err.getvalue()

    def snapshot(self):
        return {str(p): os.readlink(p) if p.is_symlink() else p.read_text()
                for p in sorted(self.tree.root.rglob("*")) if p.is_symlink() or p.is_file()}

    def test_setup_binds_enables_and_reserves(self):
        status, out, err = self.run_tool("setup", SMMU, EDU, "--hugepages", "256M")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.tree.driver_of("platform", SMMU), "vfio-platform")
        self.assertEqual(self.tree.driver_of("pci", EDU), "vfio-pci")
        self.assertEqual(self.tree.text(
            "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"), "1")
        self.assertEqual(self.tree.text(
            "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "128\n")
        # Each step was printed.
        self.assertIn(f"echo vfio-platform > {self.dir.name}/sys/bus/platform/devices/"
                      f"{SMMU}/driver_override", out)
        # A second call changes nothing.
        before = self.snapshot()
        status, out, _ = self.run_tool("setup", SMMU, EDU)
        self.assertEqual(status, 0)
        self.assertIn("already", out)
        self.assertEqual(self.snapshot(), before)

    def test_dry_run_changes_nothing(self):
        before = self.snapshot()
        for where in (["--dry-run", "setup"], ["setup", "--dry-run"]):
            status, out, _ = self.run_tool(*where, SMMU, EDU, "--hugepages", "1G")
            self.assertEqual(status, 0)
            self.assertIn("drivers_probe", out)
            self.assertIn("echo 512 > ", out)
            self.assertEqual(self.snapshot(), before)

    def test_reset_gives_back(self):
        self.tree.file(f"sys/bus/pci/devices/{EDU}/own_driver", "nic")
        self.tree.bind("pci", EDU, "nic")
        self.run_tool("setup", SMMU, EDU, "--hugepages", "64M")
        self.assertEqual(self.tree.driver_of("pci", EDU), "vfio-pci")
        status, _, err = self.run_tool("reset", SMMU, EDU, "--hugepages")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.tree.driver_of("platform", SMMU), "")
        self.assertEqual(self.tree.driver_of("pci", EDU), "nic")
        self.assertEqual(self.tree.text(
            "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "0\n")
        for bus, name in (("platform", SMMU), ("pci", EDU)):
            self.assertEqual(self.tree.text(
                f"sys/bus/{bus}/devices/{name}/driver_override"), "(null)\n")

    def test_the_kernels_own_smmu_driver_is_not_fought(self):
        self.tree.driver("platform", "arm-smmu-v3", unbind=False)
        self.tree.bind("platform", SMMU, "arm-smmu-v3")
        status, _, err = self.run_tool("setup", SMMU)
        self.assertEqual(status, 1)
        self.assertIn("initcall_blacklist=arm_smmu_driver_init", err)
        self.assertEqual(self.tree.driver_of("platform", SMMU), "arm-smmu-v3")
        _, out, _ = self.run_tool("status")
        self.assertIn("module_blacklist=arm_smmu_v3", out)

    def test_a_driver_that_lets_go_is_unbound(self):
        self.tree.driver("platform", "arm-smmu-v3")
        self.tree.bind("platform", SMMU, "arm-smmu-v3")
        status, _, _ = self.run_tool("setup", SMMU)
        self.assertEqual(status, 0)
        self.assertEqual(self.tree.driver_of("platform", SMMU), "vfio-platform")

    def test_a_network_interface_that_is_up_is_left(self):
        self.tree.bind("pci", EDU, "nic")
        self.tree.file(f"sys/bus/pci/devices/{EDU}/net/eth0/operstate", "up\n")
        status, _, err = self.run_tool("setup", EDU)
        self.assertEqual(status, 1)
        self.assertIn("eth0 is up", err)
        self.assertEqual(self.tree.driver_of("pci", EDU), "nic")
        self.assertEqual(self.run_tool("setup", EDU, "--force")[0], 0)
        self.assertEqual(self.tree.driver_of("pci", EDU), "vfio-pci")

    def test_refusals_say_what_mends_them(self):
        status, _, err = self.run_tool("setup", "nothing.smmuv3")
        self.assertEqual(status, 1)
        self.assertIn("no such platform device", err)
        self.assertEqual(self.run_tool("setup", "../../etc")[0], 1)
        self.assertEqual(self.run_tool("setup")[0], 2)
        self.assertEqual(self.run_tool("setup", "--hugepages", "0M")[0], 1)
        self.assertEqual(self.run_tool("setup", "--hugepages", "lots")[0], 1)

        class Refuses(FakeKernel):
            refuse = (SMMU,)
        status, _, err = self.run_tool("setup", SMMU, kernel=Refuses)
        self.assertEqual(status, 1)
        self.assertIn("reset_required=0", err)

        class Small(FakeKernel):
            pages = 10
        status, _, err = self.run_tool("setup", "--hugepages", "256M", kernel=Small)
        self.assertEqual(status, 1)
        self.assertIn("got 10 of 128", err)
        self.assertIn("hugepages=128", err)

    def test_a_missing_mode_is_named(self):
        (self.tree.root / tool.NOIOMMU).unlink()
        status, _, err = self.run_tool("setup", SMMU)
        self.assertEqual(status, 1)
        self.assertIn("CONFIG_VFIO_NOIOMMU", err)

    def test_a_missing_device_stops_all(self):
        before = self.snapshot()
        self.assertEqual(self.run_tool("setup", SMMU, "0000:00:09.0")[0], 1)
        self.assertEqual(self.snapshot(), before)

    def test_status_shows_what_is_there_and_missing(self):
        with gzip.open(self.tree.root / "proc/config.gz", "wt") as f:
            f.write("CONFIG_VFIO=m\nCONFIG_VFIO_PLATFORM=y\n# CONFIG_VFIO_NOIOMMU is not set\n"
                    "CONFIG_VFIO_PCI=y\nCONFIG_PROC_PAGE_MONITOR=y\nCONFIG_HUGETLBFS=y\n")
        status, out, _ = self.run_tool("status")
        self.assertEqual(status, 1)
        self.assertIn(f"{SMMU} is not bound to VFIO: iopf-setup setup {SMMU}", out)
        self.assertIn("the kernel lacks CONFIG_VFIO_NOIOMMU", out)
        self.assertIn("1234:11e8", out)
        self.assertIn("no hugepages are reserved", out)
        self.assertNotIn("serial0", out)
        (self.tree.root / "proc/config.gz").unlink()
        self.run_tool("setup", SMMU, EDU, "--hugepages", "64M")
        status, out, _ = self.run_tool("status")
        self.assertEqual(status, 0)
        self.assertRegex(out, rf"{SMMU} +vfio-platform +noiommu-3 +ready")
        self.assertIn("no-IOMMU mode is on", out)

    def test_a_reader_that_ends_early_is_no_error(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        run = subprocess.run([TOOL, "--root", self.dir.name, "status"], stdout=write_end,
                             stderr=subprocess.PIPE, text=True, check=False)
        os.close(write_end)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_the_command_runs_by_itself(self):
        run = subprocess.run([TOOL, "--root", self.dir.name, "status"], capture_output=True,
                             text=True, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn(SMMU, run.stdout)
        run = subprocess.run([TOOL, "--root", self.dir.name, "--dry-run", "setup", SMMU],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0)
        self.assertEqual(run.stderr, "")


if __name__ == "__main__":
    unittest.main()
