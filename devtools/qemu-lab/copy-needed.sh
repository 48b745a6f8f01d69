#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# copy-needed.sh BUILD ROOT FILE...: copy the shared libraries that files of a guest need,
# recursively, from an arm64 build or its sysroot to ROOT/usr/lib/aarch64-linux-gnu.
set -euo pipefail

build=$1 libs=$2/usr/lib/aarch64-linux-gnu
shift 2
sysroot=$(readlink "$build/sysroot")

copy_needed() {
	local name found
	readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r name; do
		if [ -e "$libs/$name" ] || [ "$name" = ld-linux-aarch64.so.1 ]; then
			continue
		fi
		found=$(find "$sysroot"/{usr/,}lib/aarch64-linux-gnu "$build"/{lib,drivers} \
			-name "$name" | head -n 1)
		if [ -z "$found" ]; then
			echo "copy-needed.sh: $1 needs $name, which is neither in the sysroot" \
				"nor in the build" >&2
			exit 2
		fi
		cp -L "$found" "$libs/"
		copy_needed "$libs/$name" || exit
	done
}

mkdir -p "$libs" "${libs%/usr/*}/lib"
cp "$sysroot/lib/ld-linux-aarch64.so.1" "${libs%/usr/*}/lib/"
# pthread_cancel() loads it at run time; no file lists it as needed.
cp -L "$sysroot/lib/aarch64-linux-gnu/libgcc_s.so.1" "$libs/"
for file; do
	# A script, such as one beside a program, needs none.
	[ "$(head -c 4 "$file")" != $'\x7fELF' ] || copy_needed "$file"
done
