#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# kernel.sh CACHE [SUITE]: the guest kernel of both labs, from Debian's source package:
# tinyconfig and what kernel.config adds. The last line of the output is its folder in
# CACHE, with Image, and build, which modules are built against. Built if it is not there.
# SUITE is trixie (6.12) or trixie-backports, for the newest kernel of Debian's archives.
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
config=$lab/kernel.config
cache=$(cd "$1" && pwd)
suite=${2:-trixie}
case "$suite" in
# 6.1's vfio-platform does not honour reset_required=0.
trixie) source=linux-source-6.12 options=() ;;
trixie-backports)
	source=linux-source
	# shellcheck disable=SC2016
	options=(--aptopt='APT::Default-Release "trixie-backports"'
		--setup-hook='cd "$1/etc/apt" && sed -n "s/ trixie / trixie-backports /p" \
			sources.list >sources.list.d/backports.list')
	;;
*)
	echo "kernel.sh: $suite: known are trixie and trixie-backports" >&2
	exit 2
	;;
esac

dir=$cache/kernel-$suite-$(cat "$config" "$lab/kernel.sh" | cksum | cut -d ' ' -f 1)
new=$dir.new
exec 8>"$dir.lock"
flock 8
if [ -d "$dir" ]; then
	echo "$dir"
	exit
fi
echo "Building the guest's kernel in $dir (minutes, once)"

rm -rf "$new" "$dir.deb"
mkdir -p "$new/source"
"$lab/unpack.sh" "$dir.deb" --include="$source" "${options[@]}" trixie
tar -x -C "$new/source" --strip-components=1 -f "$dir.deb"/usr/src/linux-source-*.tar.xz
rm -rf "$dir.deb"

cd "$new/source"
export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-
{
	make tinyconfig
	scripts/kconfig/merge_config.sh -m .config "$config"
	make olddefconfig
} >"$new/log" 2>&1 || {
	tail -n 40 "$new/log" >&2
	echo "kernel.sh: the configuration failed, see above" >&2
	exit 1
}
# olddefconfig drops in silence what depends on something that is not set.
while read -r line; do
	case "$line" in
	CONFIG_*) grep -qxF "$line" .config ;;
	'# CONFIG_'*' is not set') ! grep -q "^${line:2:-11}=" .config ;;
	*) true ;;
	esac || {
		echo "kernel.sh: this kernel cannot have: $line" >&2
		exit 1
	}
done <"$config"

if ! make -j "$(nproc)" Image modules >"$new/log" 2>&1; then
	tail -n 40 "$new/log" >&2
	echo "kernel.sh: the kernel did not build, see above" >&2
	exit 1
fi
# Told that CC is HOSTCC it keeps the programs of the build as they are: for this machine.
if ! srctree=. SRCARCH=arm64 CC=gcc HOSTCC=gcc MAKE=make \
		sh scripts/package/install-extmod-build "$new/build" >"$new/log" 2>&1; then
	cat "$new/log" >&2
	echo "kernel.sh: what modules need could not be copied, see above" >&2
	exit 1
fi
mv arch/arm64/boot/Image .config System.map "$new"
cd /
rm -rf "$new/source" "$new/log"
mv "$new" "$dir"
echo "$dir"
