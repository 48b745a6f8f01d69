#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# debian13.sh [--cache DIR] [SUITE...]: build with Debian 13's compiler and libraries, and
# run all suites of test-iopf, or the given ones, there. Debian 13 is unpacked once into
# DIR/debian13-*; none of it is installed on this machine. The build directory is beside it.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
packages=base-files,coreutils,dash,grep,gcc,libc6-dev,meson,ninja-build,pkg-config,python3,libdpdk-dev,liburcu-dev
packages+=,libnuma-dev,libcjson-dev,libssl-dev,zlib1g-dev,libcmocka-dev
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}/iopf-lab
suites=()

usage() {
	echo "usage: debian13.sh [--cache DIR] [SUITE...]"
	echo "  --cache DIR  folder of Debian 13 and of the builds with it (default $cache)"
	echo "  SUITE        suites of test-iopf (default all)"
}

while [ $# -gt 0 ]; do
	case "$1" in
	--cache) cache=${2:?"--cache needs a directory"}; shift ;;
	--help) usage; exit 0 ;;
	-*)
		echo "debian13.sh: unknown option $1; --help lists the options" >&2
		exit 2
		;;
	*) suites+=("$1") ;;
	esac
	shift
done

"$top/devtools/deps.sh" debian13
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/debian13.lock"
flock 9

# A changed package list gets a new root.
root=$cache/debian13-$(echo "$packages" | cksum | cut -d ' ' -f 1)
if [ ! -d "$root" ]; then
	echo "Unpacking Debian 13 into $root"
	"$top/devtools/qemu-lab/unpack.sh" "$root" --include="$packages" trixie
fi
# Each source tree has its own build directory.
build=$root.build-$(echo "$top" | cksum | cut -d ' ' -f 1)
mkdir -p "$build" "$root"/{source,build,proc,sys,dev,tmp,run}

# In new mount and, without root, user namespaces: no mount remains afterwards.
namespaces=(--mount)
[ "$(id -u)" -eq 0 ] || namespaces+=(--map-root-user)
unshare "${namespaces[@]}" bash -s "$root" "$top" "$build" "${suites[@]}" <<'IN' 9>&-
set -euo pipefail
root=$1 top=$2 build=$3
shift 3
mount --make-rprivate /
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind "$top" "$root/source"
mount -o remount,bind,ro "$root/source"
mount --bind "$build" "$root/build"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C.UTF-8 HOME=/tmp \
	sh -euc '
	log=/tmp/log
	[ -f /build/build.ninja ] || meson setup -Dtests=enabled /build /source >$log 2>&1 || {
		cat $log >&2
		echo "debian13.sh: meson failed, see above" >&2
		exit 1
	}
	ninja -C /build >$log 2>&1 || {
		grep -E "error|undefined|warning" $log | cut -c 1-300 | head -n 40 >&2
		echo "debian13.sh: the build failed" >&2
		exit 1
	}
	cd /build
	exec app/test-iopf/test-iopf "$@"' sh "$@"
IN
