#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# deps.sh run|check|lab|debian13: install the Debian packages that are missing for building and
# running (run), for all checks too (check), for the arm64 cross build and the two
# labs (lab), or for debian13.sh (debian13). Says what it does; installs nothing that is there.
set -eu

RUN="gcc libc6-dev make meson ninja-build pkg-config python3
	libdpdk-dev liburcu-dev libnuma-dev libcjson-dev libssl-dev zlib1g-dev liburing-dev"
CHECK="g++ clang libclang-rt-14-dev|libclang-rt-dev libcmocka-dev spin git valgrind mmdebstrap
	doxygen graphviz python3-sphinx gnuplot-nox"
LAB="$RUN gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm mmdebstrap cpio flex
	bison bc xz-utils device-tree-compiler"

case "${1:-}" in
run) want=$RUN ;;
debian13) want="mmdebstrap" ;;
check) want="$RUN $CHECK" ;;
lab) want=$LAB ;;
*)
	echo "usage: deps.sh run|check|lab|debian13" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps.sh: this is not a Debian machine; install the equivalents of:" $want >&2
	exit 1
fi

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for entry in $want; do
	found=
	for package in $(echo "$entry" | tr '|' ' '); do
		if installed "$package"; then
			found=1
		fi
	done
	[ -n "$found" ] || missing="$missing $entry"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: packages are missing and this is neither root nor has sudo." >&2
		echo "deps.sh: as root, run: apt-get install$(echo "$missing" | sed 's/|[^ ]*//g')" >&2
		exit 1
	fi
	as_root=sudo
fi

echo "Installing Debian packages:$(echo "$missing" | sed 's/|[^ ]*//g')"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! $as_root apt-get -qq update >"$log" 2>&1; then
	cat "$log" >&2
	echo "deps.sh: apt-get update failed; is the package mirror reachable?" >&2
	exit 1
fi
packages=
for entry in $missing; do
	# Of alternatives the first that this release has.
	for package in $(echo "$entry" | tr '|' ' '); do
		if [ -n "$(apt-cache --names-only search "^$package\$")" ]; then
			packages="$packages $package"
			break
		fi
	done
done
# shellcheck disable=SC2086
if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
		--no-install-recommends $packages >"$log" 2>&1; then
	cat "$log" >&2
	echo "deps.sh: apt-get install failed, see above" >&2
	exit 1
fi
