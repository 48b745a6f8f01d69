#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# check-spin.sh MODEL.pml: check a model, in a temporary directory.
#
# The model's first comment lists the runs: lines that begin with "spin", with -D
# options. The runs before the line "must be found wrong" must pass; without any, the
# model runs without options. The runs after that line have a mistake built in: each
# must fail, or the model does not detect it. A run with an ltl property is searched
# for acceptance cycles under weak fairness, any other run for assertions and invalid
# end states.
#
# A statement that no passing run reaches is an error too, unless its line has a
# comment with the word "unreached".
set -u

if [ $# -ne 1 ] || [ ! -f "$1" ]; then
	echo "usage: check-spin.sh MODEL.pml" >&2
	exit 2
fi
model=$(realpath "$1")
name=$(basename "$model")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
cp "$model" . || exit 1
model=$name
bad=0

# The -D options of the lines in the first comment: "good" or "wrong".
lines() {
	awk -v want="$1" '
		/must be found wrong/ { part = "wrong" }
		/^[ \t]*\*[ \t]*spin / {
			options = ""
			for (i = 1; i <= NF; i++)
				if ($i ~ /^-D/ && $i != "-DSAFETY")
					options = options " " $i
				else if ($i ~ /^(&&|\|\||;)$/)
					break
			if (part == want)
				print options == "" ? " " : options
		}
		/\*\// && ++comments == 3 { exit }
		' part=good "$model"
}

# run OPTIONS CC-OPTIONS PAN-OPTIONS: writes the report to pan.out.
run() {
	rm -f pan pan.* ./*.trail
	# shellcheck disable=SC2086
	if ! spin $1 -a "$model" >spin.out 2>&1 || [ ! -f pan.c ]; then
		cat spin.out
		return 1
	fi
	# shellcheck disable=SC2086
	gcc -w -O2 -DCOLLAPSE $2 -o pan pan.c || return 1
	# shellcheck disable=SC2086
	./pan -m1000000 $3 >pan.out 2>&1
}

complete() {
	grep -q 'errors: 0$' pan.out && ! grep -qE 'error: max search depth|out of memory|not completed' pan.out
}

good=$(lines good)
[ -n "$good" ] || good=" "
n=0
while IFS= read -r options; do
	begin=$SECONDS
	# shellcheck disable=SC2086
	if spin $options -a "$model" 2>/dev/null | grep -q '^ltl '; then
		run "$options" "-DNFAIR=4" "-a -f"
	else
		run "$options" "-DSAFETY" ""
	fi
	if [ ! -f pan.out ] || ! complete; then
		echo "$name$options: not right:"
		grep -E 'pan:|errors:|error:' pan.out
		# shellcheck disable=SC2086
		[ ! -f "$name.trail" ] || spin $options -t -p -g "$model" | tail -n 60
		bad=1
		continue
	fi
	echo "$name$options: $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1 states/p' pan.out)," \
		"$((SECONDS - begin)) s"
	# Record lines with a reached statement, and lines with a missed one.
	./pan -d >table.out 2>/dev/null
	python3 - pan.out table.out "$name" >>reached <<'PYTHON'
import re
import sys

missed = set()
proctype = None
for text in open(sys.argv[1], errors="replace"):
    match = re.match(r"unreached in proctype (\w+)", text)
    if match:
        proctype = match.group(1)
    elif re.match(r"unreached in ", text):
        proctype = None
    match = re.match(r"\t\S*?(\d+), state (\d+),", text)
    if match and proctype:
        missed.add((proctype, int(match.group(2))))
proctype = None
for text in open(sys.argv[2], errors="replace"):
    match = re.match(r"(proctype|claim|init)\s*(\w*)", text)
    if match:
        proctype = match.group(2) if match.group(1) == "proctype" else None
    match = re.match(r"\s*state\s+(\d+) -\(tr\s+\d+\)-> .* line (\d+) =>|"
                     r"\s*state\s+(\d+) -\(tr\s+\d+\)-> .*:(\d+) =>", text)
    if match and proctype:
        state, line = (int(x) for x in match.groups() if x)
        print(line, "missed" if (proctype, state) in missed else "reached")
PYTHON
	n=$((n + 1))
done <<<"$good"

if [ $n -gt 0 ]; then
	for line in $(awk '{ seen[$1]; if ($2 == "reached") reached[$1] }
			END { for (l in seen) if (!(l in reached)) print l }' reached | sort -n); do
		text=$(sed -n "${line}p" "$model")
		case $text in
		*unreached* | *'-end-'*) continue ;;
		esac
		echo "$name:$line: never reached: $(echo "$text" | sed 's/^[ \t]*//')"
		bad=1
	done
fi

wrong=$(lines wrong)
while IFS= read -r options; do
	[ -n "$options" ] || continue
	if ! run "$options" "-DSAFETY" "" && [ ! -f pan.out ]; then
		bad=1
	elif complete; then
		echo "$name$options: the mistake was not seen"
		bad=1
	elif ! grep -qE '^pan: ?[0-9]*: *(assertion violated|invalid end state)' pan.out; then
		echo "$name$options: ended without a verdict"
		grep -E 'pan:|error' pan.out
		bad=1
	fi
done <<<"$wrong"
[ -z "$wrong" ] || echo "$name: $(echo "$wrong" | wc -l) mistakes tried"
exit $bad
