#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# From a fresh clone to served faults: installs missing packages, builds, and runs the
# benchmark on the software SMMUv3. Needs no hugepages, and privileges only to install
# packages.
set -eu
cd "$(dirname "$0")/.."

devtools/deps.sh run

if [ ! -f build/build.ninja ]; then
	echo "Configuring build/"
	meson setup build >build.log 2>&1 || {
		cat build.log >&2
		echo "quickstart: meson failed, see above" >&2
		exit 1
	}
fi
echo "Building (the first time takes a minute)"
ninja -C build >build.log 2>&1 || {
	tail -n 40 build.log >&2
	echo "quickstart: the build failed, see above; all of it is in build.log" >&2
	exit 1
}
rm -f build.log

echo "Serving page faults of a software device"
build/app/iopf-bench/iopf-bench --quick --json build/quickstart.json
echo
echo "Results: build/quickstart.json"
echo "Next:    build/examples/hello/hello        one fault, in 100 lines of C"
echo "         build/examples/accel/accel --help a small accelerator runtime"
echo "         devtools/check.sh                 every test"
