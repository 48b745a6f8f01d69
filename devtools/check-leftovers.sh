#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# check-leftovers.sh BUILD_DIR: run each program that starts EAL with its default EAL options.
# A run must leave no file or socket in the working directory, in TMPDIR or in EAL's runtime
# directory, and no directory of its own.
set -u

if [ $# -ne 1 ] || [ ! -f "$1/build.ninja" ]; then
	echo "usage: check-leftovers.sh BUILD_DIR" >&2
	exit 2
fi
build=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# run STATUS PROGRAM ARGUMENTS...; EAL's runtime directory is below RUNTIME_DIRECTORY.
run() {
	local expected=$1 status left
	shift
	rm -rf "$dir/cwd" "$dir/tmp" "$dir/run"
	mkdir "$dir/cwd" "$dir/tmp" "$dir/run"
	(cd "$dir/cwd" && TMPDIR=$dir/tmp RUNTIME_DIRECTORY=$dir/run timeout 120 "$@") \
		>"$dir/out" 2>&1
	status=$?
	# Programs with --no-shconf and EAL's default prefix share the empty directory "rte".
	left=$(cd "$dir" && find cwd tmp run -mindepth 1 ! -path run/dpdk ! -path run/dpdk/rte)
	if [ $status -ne "$expected" ]; then
		echo "FAILED: $(basename "$1") ${*:2}: exit status $status"
		tail -n 20 "$dir/out"
	elif [ -n "$left" ]; then
		echo "FAILED: $(basename "$1") ${*:2}: left behind: ${left//$'\n'/ }"
	else
		return
	fi
	failed=1
}

head -c 100000 /dev/urandom >"$dir/data"
run 0 "$build/app/test-iopf/test-iopf" null telemetry mmem_exit model_power lab_open
run 0 "$build/app/test-iopf/test-order"
run 0 "$build/app/iopf-bench/iopf-bench" --depths 1 --rounds 1 --faults 4096
run 0 "$build/examples/hello/hello"
run 0 "$build/examples/accel/accel" copy "$dir/data"
run 0 "$build/examples/dataplane/dataplane"
run 0 "$build/examples/gpu-hang/gpu-hang" --ms 20 --hang-ms 20
run 0 "$build/examples/vmm-relay/vmm-relay"

# A VMM that is killed does not leave its guest, which polls.
"$build/examples/vmm-relay/vmm-relay" --latency 10000 >"$dir/out" 2>&1 &
vmm=$!
guest=
for ((i = 0; i < 200; i++)); do
	guest=$(awk -v vmm=$vmm '$4 == vmm { print $1 }' /proc/[0-9]*/stat 2>/dev/null)
	[ -z "$guest" ] || break
	sleep 0.05
done
# Time for its driver to come up: before that it ends by itself.
sleep 0.3
kill -KILL $vmm 2>/dev/null
wait $vmm 2>/dev/null
for ((i = 0; i < 200; i++)); do
	kill -0 "$guest" 2>/dev/null || break
	sleep 0.05
done
if [ -z "$guest" ] || kill -0 "$guest" 2>/dev/null; then
	echo "FAILED: vmm-relay: its guest (process $guest) goes on without it, or did not start"
	failed=1
fi
exit $failed
