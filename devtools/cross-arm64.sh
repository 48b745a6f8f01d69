#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# cross-arm64.sh [--cache DIR] [BUILD_DIR [TARGET...]]: build everything, or the given targets
# of ninja, for arm64 on another architecture, into BUILD_DIR (build-arm64). It links with Debian's libraries,
# unpacked once into DIR/sysroot-*; none of them is installed on this machine.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
suite=bookworm
packages=libc6-dev,libdpdk-dev,liburcu-dev,libnuma-dev,libcmocka-dev,libcjson-dev
packages+=,zlib1g-dev,libssl-dev,liburing-dev
# For the guest of the QEMU lab.
packages+=,busybox-static,python3-minimal,libpython3-stdlib
packages+=,nbdkit,e2fsprogs
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}/iopf-lab
build=
targets=()

usage() {
	echo "usage: cross-arm64.sh [--cache DIR] [BUILD_DIR [TARGET...]]"
	echo "  --cache DIR  folder of the arm64 libraries (default $cache)"
	echo "  BUILD_DIR    default build-arm64 in the source tree"
}

while [ $# -gt 0 ]; do
	case "$1" in
	--cache) cache=${2:?"--cache needs a directory"}; shift ;;
	--help) usage; exit 0 ;;
	-*)
		echo "cross-arm64.sh: unknown option $1; --help lists the options" >&2
		exit 2
		;;
	*) if [ -z "$build" ]; then build=$1; else targets+=("$1"); fi ;;
	esac
	shift
done
build=${build:-$top/build-arm64}

"$top/devtools/deps.sh" lab
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/sysroot.lock"
flock 9

# A changed package list gets a new sysroot.
sysroot=$cache/sysroot-$suite-$(echo "$packages" | cksum | cut -d ' ' -f 1)
if [ ! -d "$sysroot" ]; then
	echo "Unpacking arm64 libraries into $sysroot"
	"$top/devtools/qemu-lab/unpack.sh" "$sysroot" --architectures=arm64 \
		--include="$packages" "$suite"
fi

cross=$sysroot.ini
cat >"$cross.new" <<-EOF
	[constants]
	sysroot = '$sysroot'

	[binaries]
	c = 'aarch64-linux-gnu-gcc'
	ar = 'aarch64-linux-gnu-gcc-ar'
	strip = 'aarch64-linux-gnu-strip'
	pkgconfig = 'pkg-config'

	[built-in options]
	c_args = ['--sysroot=' + sysroot]
	c_link_args = ['--sysroot=' + sysroot]

	[properties]
	sys_root = sysroot
	pkg_config_libdir = [sysroot / 'usr/lib/aarch64-linux-gnu/pkgconfig']
	needs_exe_wrapper = true

	[host_machine]
	system = 'linux'
	cpu_family = 'aarch64'
	cpu = 'aarch64'
	endian = 'little'
EOF
# A rewrite of this file would make meson configure everything again.
cmp -s "$cross.new" "$cross" || cp "$cross.new" "$cross"
rm "$cross.new"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ "$(readlink "$build/sysroot")" != "$sysroot" ] || [ ! -f "$build/build.ninja" ]; then
	# Remove a build against another sysroot.
	wipe=
	[ ! -f "$build/build.ninja" ] || wipe=--wipe
	if ! meson setup $wipe --cross-file "$cross" -Dtests=enabled "$build" "$top" >"$log" 2>&1; then
		cat "$log" >&2
		echo "cross-arm64.sh: meson failed, see above" >&2
		exit 1
	fi
	ln -sfn "$sysroot" "$build/sysroot"
fi
echo "Building for arm64 in $build"
if ! ninja -C "$build" "${targets[@]}" >"$log" 2>&1; then
	grep -E 'error|undefined|warning' "$log" | cut -c 1-300 | head -n 40 >&2
	echo "cross-arm64.sh: the build failed; ninja -C $build shows all errors" >&2
	exit 1
fi
