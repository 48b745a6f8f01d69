#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# versus.sh [options]: Linux's service of a stall (SVA) and iopf's, on the same software
# SMMUv3, in guests with the same kernel. See doc/guides/bench.rst.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$top/devtools/linux-lab
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}/iopf-lab
rounds=5
count=2048
# Of 256 faults: a multiple of that, at most 4096.
burst_count=4096
json=''
keep=''

usage() {
	cat <<-EOF
		usage: versus.sh [options]
		Measures Linux and iopf in turns, each on the same software SMMUv3: one stall,
		$((burst_count / 256)) bursts of 256, and the guest's instructions for one stall.
		  --rounds N    boots of each side for times ($rounds)
		  --count N     stalls one at a time, a multiple of 256 ($count)
		  --json FILE   write the results there too
		  --cache DIR   folder of the kernel and the arm64 libraries ($cache)
		  --keep        keep the output of guests and host programs
		  --help
	EOF
}

die() {
	echo "versus.sh: $*" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case "$1" in
	--rounds | --count | --json | --cache)
		[ -n "${2:-}" ] || die "$1 needs a value; see --help"
		;;&
	--rounds) rounds=$2; shift ;;
	--count) count=$2; shift ;;
	--json) json=$2; shift ;;
	--cache) cache=$2; shift ;;
	--keep) keep=1 ;;
	--help) usage; exit 0 ;;
	*) die "unknown option $1; --help lists the options" ;;
	esac
	shift
done
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "--rounds $rounds: not a number"
# A multiple of the burst; memory and the guests' tables have room for so many.
[[ $count =~ ^[1-9][0-9]*$ ]] || die "--count $count: not a number"
if [ $((count % 256)) -ne 0 ] || [ "$count" -gt 4096 ]; then
	die "--count $count: use a multiple of 256, at most 4096"
fi
[ "$(nproc)" -ge 2 ] || die "two processors are needed: one is the SMMU's"

# Before all boots, not after them.
if [ -n "$json" ] && ! : 2>/dev/null >>"$json"; then
	die "--json $json: cannot write there"
fi

"$top/devtools/deps.sh" lab || exit 2
mkdir -p "$cache" || exit 2
cache=$(cd "$cache" && pwd)
work=$(mktemp -d)
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT

"$top/devtools/qemu-lab/kernel.sh" "$cache" | tee "$work/kernel" || exit 2
kernel=$(tail -n 1 "$work/kernel")
"$top/devtools/cross-arm64.sh" --cache "$cache" "$top/build-arm64" \
	devtools/linux-lab/versus-iopf || exit 2
build=$top/build-linux-lab/${kernel##*/}
mkdir -p "$build"
# run.sh builds there too.
exec 7>"$build/lock"
flock 7
if ! make -f "$lab/Makefile" -C "$build" TOP="$top" KERNEL="$kernel" smmu versus-linux \
		module/smmulab.ko >"$work/log" 2>&1; then
	grep -E 'error|Error|warning|undefined' "$work/log" | head -n 40 >&2
	die "the build in $build failed, see above"
fi

# One file system for both sides.
make_initramfs() {
	local root=$work/root arm64=$top/build-arm64
	mkdir -p "$root"/{bin,var,versus} &&
		cp "$lab/versus/init" "$build/module/smmulab.ko" "$root/" &&
		cp "$arm64/sysroot/bin/busybox" "$root/bin/" &&
		cp "$arm64/devtools/linux-lab/versus-iopf" "$build/versus-linux" "$root/versus/" &&
		"$top/devtools/qemu-lab/copy-needed.sh" "$arm64" "$root" "$root/versus/versus-iopf" &&
		(cd "$root" && find . | cpio --quiet -o -H newc -R +0:+0 | gzip -1) \
			>"$work/initramfs.gz"
}
make_initramfs || die "cannot make the guest's file system"

# boot NAME SIDE SPECS [MACHINE-OPTION...]: the first measurement of a boot is not counted. The
# thread of the SMMU has host processor 0 alone; QEMU and the rest have processor 1.
boot() {
	local name=$1 side=$2 arguments="side=$2 specs=512:1:50,$3 norandmaps"
	shift 3
	# Only one processor serves faults. Without its own driver the SMMU is left to VFIO.
	case "$side" in
	linux) arguments+=" workqueue.unbound_cpus=0" ;;
	iopf) arguments+=" initcall_blacklist=arm_smmu_driver_init deferred_probe_timeout=0" ;
		arguments+=" vfio_platform.reset_required=0" ;;
	esac
	mkdir "$work/$name"
	ln -s "$kernel/Image" "$work/initramfs.gz" "$work/$name/"
	echo "$name"
	taskset -c 1 "$lab/row.sh" "$work/$name" "$build/smmu" none "cpu=0 no_irqs" \
		"cpu=neoverse-n1 $*" "$arguments"
}

for ((round = 1; round <= rounds; round++)); do
	for side in linux iopf; do
		boot "$side-$round" $side "$count:1:50,$burst_count:256:1000" || exit 2
	done
done
# In a second boot the figures are the same, to the instruction.
for round in 1 2; do
	for side in linux iopf; do
		boot "$side-icount-$round" $side "$count:1:50" smp=1 icount || exit 2
	done
done
[ -z "$keep" ] || echo "Kept: $work"
"$lab/versus/report.py" "$work" "$rounds" "$count" "$burst_count" "$json"
