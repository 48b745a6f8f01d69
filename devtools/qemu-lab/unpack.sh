#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# unpack.sh DIR MMDEBSTRAP-ARGUMENTS...: unpack Debian packages and their dependencies
# below DIR, without installing them. DIR appears when it is complete.
set -euo pipefail

dir=$1
shift
# mmdebstrap passes descriptor numbers to dash, which accepts only numbers below 10.
for path in "/proc/$$/fd"/*; do
	fd=${path##*/}
	[[ $fd -le 2 || $fd -eq 255 ]] || exec {fd}>&-
done
new=$dir.new
rm -rf "$new"
mkdir -p "$new"

# No program of the packages runs, so this needs no root. With tar the files belong to the
# caller.
mode=root
[ "$(id -u)" -eq 0 ] || mode=chrootless
if ! mmdebstrap --variant=extract --mode="$mode" "$@" - 2>"$new.log" |
		tar -x --no-same-owner --exclude='./dev/*' -C "$new"; then
	tail -n 20 "$new.log" >&2
	echo "unpack.sh: mmdebstrap failed, see above: is the package mirror reachable?" >&2
	exit 1
fi
# An absolute link would point outside DIR.
find "$new" -type l -lname '/*' | while read -r link; do
	ln -snfr "$new$(readlink "$link")" "$link"
done
rm "$new.log"
mv "$new" "$dir"
