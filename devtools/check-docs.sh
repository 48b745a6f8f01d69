#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# check-docs.sh [OUT]: build the API reference (doxygen) into OUT/api and the guides
# (sphinx) into OUT/guides. Every warning is an error. So is a figure that is not what its text
# gives, and a file, function or message named in a guide that does not exist. Without OUT they
# are built into a temporary directory and thrown away.
set -u
[ $# -eq 0 ] || out=$(realpath -m "$1")
cd "$(dirname "$0")/.." || exit 1

for tool in doxygen sphinx-build neato gnuplot; do
	command -v $tool >/dev/null || {
		echo "check-docs.sh: $tool is missing; run devtools/deps.sh check" >&2
		exit 1
	}
done
if [ $# -eq 0 ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out/api" "$out/guides" || exit 1

bad=0
doc/figures/draw.py --check || bad=1
doc/figures/bench.py --check || bad=1
doc/figures/accel.py --check || bad=1
devtools/check-names.py || bad=1
{
	cat doc/api/Doxyfile
	echo "OUTPUT_DIRECTORY = $out/api"
} | doxygen - || {
	echo "check-docs.sh: doxygen found the above in the public headers" >&2
	bad=1
}
PYTHONDONTWRITEBYTECODE=1 sphinx-build -q -W --keep-going -n -b html -d "$out/doctrees" \
	doc/guides "$out/guides" || {
	echo "check-docs.sh: sphinx found the above in doc/guides" >&2
	bad=1
}
exit $bad
