#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# run.sh [options] [suite ...]: run test-iopf on arm64, in a guest on QEMU's SMMUv3, driven
# through VFIO. See doc/guides/lab.rst.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$top/devtools/qemu-lab
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}/iopf-lab
qemu_version=
seconds=1500
suite_seconds=180
command=
except=
trace=
keep=
shell=
suites=()

usage() {
	cat <<-EOF
		usage: run.sh [options] [suite ...]
		Runs the given suites of test-iopf, or all, in an arm64 guest on QEMU's SMMUv3.
		  --qemu 7.2|10.0    QEMU's version (default: the installed one)
		  --cache DIR        folder of the kernel, libraries and other QEMUs
		                     ($cache)
		  --timeout SECONDS  kill the guest after this time ($seconds)
		  --except PATTERN   leave out suites with these names, such as 'mmem_*'
		  --command COMMAND  run a command in the guest instead of the suites
		  --shell            start a shell in the guest instead of the suites
		  --trace PATTERN    keep QEMU's trace events with these names, such as 'smmuv3_*'
		  --keep             keep the guest's files and console output
		  --help
	EOF
}

die() {
	echo "run.sh: $*" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case "$1" in
	--qemu | --cache | --timeout | --except | --command | --trace)
		[ -n "${2:-}" ] || die "$1 needs a value; see --help"
		;;&
	--qemu) qemu_version=$2; shift ;;
	--cache) cache=$2; shift ;;
	--timeout) seconds=$2; shift ;;
	--except) except=$2; shift ;;
	--command) command=$2; shift ;;
	--trace) trace=$2; keep=1; shift ;;
	--shell) shell=1 ;;
	--keep) keep=1 ;;
	--help) usage; exit 0 ;;
	-*) die "unknown option $1; --help lists the options" ;;
	*) suites+=("$1") ;;
	esac
	shift
done
case "$qemu_version" in
"" | 7.2 | 10.0) ;;
*) die "--qemu $qemu_version: use 7.2 or 10.0" ;;
esac
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--timeout $seconds: not a number of seconds"

"$top/devtools/deps.sh" lab || exit 2
mkdir -p "$cache" || exit 2
cache=$(cd "$cache" && pwd)
work=$(mktemp -d)
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT

version_of() {
	"$@" --version | sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p'
}

# Sets qemu to the command that runs qemu_version.
find_qemu() {
	local installed root libs options=() triplet
	qemu=(qemu-system-aarch64)
	installed=$(version_of "${qemu[@]}")
	qemu_version=${qemu_version:-$installed}
	[ "$qemu_version" != "$installed" ] || return 0

	root=$cache/qemu-$qemu_version
	if [ ! -d "$root" ]; then
		echo "Unpacking QEMU $qemu_version into $root"
		if [ "$qemu_version" = 10.0 ]; then
			# shellcheck disable=SC2016
			options=(--aptopt='APT::Default-Release "bookworm-backports"'
				--setup-hook='cd "$1/etc/apt" && sed -n \
					"s/ bookworm / bookworm-backports /p" sources.list \
					>sources.list.d/backports.list')
		fi
		"$lab/unpack.sh" "$root" --include=qemu-system-arm "${options[@]}" bookworm ||
			exit 2
	fi
	# Use its own libraries and modules: the installed ones belong to another version.
	triplet=$(gcc -print-multiarch)
	libs=$root/usr/lib/$triplet
	export QEMU_MODULE_DIR=$libs/qemu
	qemu=("$root/lib/$triplet"/ld-linux-*.so.?
		--library-path "$root/lib/$triplet:$libs:$libs/pulseaudio"
		"$root/usr/bin/qemu-system-aarch64" -L "$root/usr/share/qemu")
	[ "$(version_of "${qemu[@]}")" = "$qemu_version" ] ||
		die "$root has another version than QEMU $qemu_version; remove it and run again"
}

# Make the guest's file system: busybox, the programs and their libraries.
make_initramfs() {
	local root=$work/root program python=usr/lib/python3.11
	local plugins=usr/lib/aarch64-linux-gnu/dpdk/pmds-23.0
	mkdir -p "$root"/{bin,iopf,var/tmp,usr/bin,$python/lib-dynload,$plugins} &&
		cp "$lab/init" "$root/" &&
		cp "$sysroot/bin/busybox" "$root/bin/" || return
	# Python, and the modules that iopf-setup imports.
	ln -s /bin/busybox "$root/usr/bin/env" &&
		cp "$sysroot/usr/bin/python3.11" "$root/usr/bin/python3" &&
		cp -r "$sysroot/$python"/{*.py,collections,encodings,importlib,re,urllib} \
			"$root/$python/" || return
	# EAL loads its drivers from this folder, by the whole version; a mempool needs this one.
	cp -L "$sysroot/$plugins/librte_mempool_ring.so.23.0" "$root/$plugins/" || return
	# The suite of network block devices.
	local nbdkit=usr/lib/aarch64-linux-gnu/nbdkit
	mkdir -p "$root/$nbdkit"/{plugins,filters} &&
		cp "$sysroot/$nbdkit/plugins/nbdkit-file-plugin.so" "$root/$nbdkit/plugins/" &&
		cp "$sysroot/$nbdkit"/filters/nbdkit-{delay,error}-filter.so \
			"$root/$nbdkit/filters/" &&
		cp "$sysroot"/usr/bin/nbdkit "$sysroot"/sbin/mke2fs \
			"$root/usr/bin/" && cp "$lab/nbd.sh" "$root/iopf/" || return
	for program in "$build"/app/*/* "$build"/examples/*/*; do
		if [ -f "$program" ] && [ -x "$program" ] && [[ $program != *.so* ]]; then
			cp "$program" "$root/iopf/" || return
		fi
	done
	"$lab/copy-needed.sh" "$build" "$root" "$root"/iopf/* "$root/$plugins"/* \
		"$root"/usr/bin/{python3,nbdkit,mke2fs} "$root/$nbdkit"/*/* &&
		cp "$top/usertools/iopf-setup" "$root/iopf/" || return
	printf '%s=%q\n' LAB_SUITES "${suites[*]}" LAB_EXCEPT "$except" \
		LAB_COMMAND "$command" LAB_SHELL "$shell" \
		LAB_SUITE_SECONDS "$suite_seconds" IOPF_LAB_QEMU "$qemu_version" >"$root/env"
	(cd "$root" && find . | cpio --quiet -o -H newc -R +0:+0 | gzip -1) >"$work/initramfs.gz"
}

# Add up the counts of test-iopf on the console, and count other errors.
count() {
	awk -v status="$1" -v seconds="$seconds" '
	function wrong(what) {
		print "run.sh: " what
		failed++
	}
	/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
		passed += $1; failed += $3; skipped += $5
		expect = $3 ? 1 : 0
	}
	/^lab: suite .* ended with / {
		if ($6 != expect)
			wrong("suite " $3 " ended early with status " $6 \
				($6 == 137 ? ": killed, it hung" : ""))
		expect = -1; runs++
	}
	/^lab: step .* ended with / {
		if ($6)
			wrong("step " $3 " ended with status " $6)
		else
			passed++
		runs += $3 == "command"
	}
	/^lab: end$/ { ended = 1 }
	BEGIN { expect = -1 }
	END {
		if (!ended && status == 124)
			wrong("the guest was killed after " seconds " s; it hung after what is above")
		else if (!ended)
			wrong("the guest ended before the tests did; the reason is above")
		else if (!runs)
			wrong("nothing was run")
		printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
		exit failed != 0
	}' "$work/console"
}

exec 8>"$cache/lab.lock"
flock 8
find_qemu
exec 8>&-
"$lab/kernel.sh" "$cache" | tee "$work/kernel" || exit 2
kernel=$(tail -n 1 "$work/kernel")

build=$top/build-arm64
"$top/devtools/cross-arm64.sh" --cache "$cache" "$build" || exit 2
sysroot=$(readlink "$build/sysroot")
make_initramfs || exit 2

# The guide explains the kernel parameters.
qemu+=(-machine "virt,iommu=smmuv3,gic-version=3" -cpu max -smp 2 -m 1G
	-nodefaults -display none -no-reboot -device "edu,dma_mask=0xffffffffffff"
	-kernel "$kernel/Image" -initrd "$work/initramfs.gz"
	-append "console=ttyAMA0 quiet panic=-1 deferred_probe_timeout=0
		initcall_blacklist=arm_smmu_driver_init vfio_platform.reset_required=0")
[ -z "$trace" ] || qemu+=(-trace "$trace" -D "$work/trace")
echo "Starting the guest on QEMU $qemu_version"
if [ -n "$shell" ]; then
	"${qemu[@]}" -serial mon:stdio
	exit
fi
timeout --foreground -k 5 "$seconds" "${qemu[@]}" -serial stdio </dev/null 2>&1 |
	tr -d '\r' | tee "$work/console"
status=$?
[ -z "$keep" ] || echo "Kept: $work"
count $status
