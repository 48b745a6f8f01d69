#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# kernel.sh DIR: build the guest's kernel, DIR/Image, from Debian's source package:
# tinyconfig and what kernel.config adds. DIR appears when the kernel is there.
set -euo pipefail

dir=$1
new=$dir.new
config=$(cd "$(dirname "$0")" && pwd)/kernel.config
# 6.1's vfio-platform does not honour reset_required=0.
suite=trixie
source=linux-source-6.12

rm -rf "$new" "$dir.deb"
mkdir -p "$new/source"
"$(dirname "$0")/unpack.sh" "$dir.deb" --include="$source" "$suite"
tar -x -C "$new/source" --strip-components=1 -f "$dir.deb/usr/src/$source.tar.xz"
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

if ! make -j "$(nproc)" Image >"$new/log" 2>&1; then
	tail -n 40 "$new/log" >&2
	echo "kernel.sh: the kernel did not build, see above" >&2
	exit 1
fi
mv arch/arm64/boot/Image .config System.map "$new"
cd /
rm -rf "$new/source" "$new/log"
mv "$new" "$dir"
