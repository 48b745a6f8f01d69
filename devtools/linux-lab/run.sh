#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# run.sh [options] [row ...]: run Linux's unmodified SMMUv3 driver on the software SMMUv3.
# See doc/guides/linux-lab.rst.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$top/devtools/linux-lab
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}/iopf-lab
suite=trixie
jobs=$(nproc)
[ "$jobs" -le 2 ] || jobs=$((jobs / 2))
all='' self_test='' list='' keep=''
rows=()

usage() {
	cat <<-EOF
		usage: run.sh [options] [row ...]
		Boots Linux on the software SMMUv3, once for each row of devtools/linux-lab/rows,
		and once for each mutant of the model, which must fail.
		  --all              also run the rows that take longer
		  --self-test        run only the mutants
		  --list             list the names of the rows
		  --jobs N           number of boots at the same time ($jobs)
		  --kernel-suite SUITE  trixie (6.12), or trixie-backports: the newest kernel
		                     of Debian's archives
		  --cache DIR        folder of the kernel ($cache)
		  --keep             keep the output of guests and host programs
		  --help
	EOF
}

die() {
	echo "run.sh: $*" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case "$1" in
	--jobs | --kernel-suite | --cache)
		[ -n "${2:-}" ] || die "$1 needs a value; see --help"
		;;&
	--jobs) jobs=$2; shift ;;
	--kernel-suite) suite=$2; shift ;;
	--cache) cache=$2; shift ;;
	--all) all=1 ;;
	--self-test) self_test=1 ;;
	--list) list=1 ;;
	--keep) keep=1 ;;
	--help) usage; exit 0 ;;
	-*) die "unknown option $1; --help lists the options" ;;
	*) rows+=("$1") ;;
	esac
	shift
done
[[ $jobs =~ ^[1-9][0-9]*$ ]] || die "--jobs $jobs: not a number"

# lines FILE: print its lines without comments.
lines() {
	grep -v '^#' "$lab/$1"
}

# Sets model, machine, arguments and tests of a row; fails for an unknown row.
find_row() {
	local line
	line=$(lines rows | grep -E "^\+?$1\|") || return
	IFS='|' read -r _ model machine arguments tests <<<"$line"
	[ -n "$tests" ] || tests=$(lines rows | sed -n 's/^default|.*|//p')
}

if [ -n "$list" ]; then
	lines rows | cut -d '|' -f 1 | tr -d +
	exit
fi
for row in "${rows[@]}"; do
	find_row "$row" || die "unknown row $row; --list lists the rows"
done
if [ ${#rows[@]} -eq 0 ] && [ -z "$self_test" ]; then
	mapfile -t rows < <(lines rows | cut -d '|' -f 1 | if [ -n "$all" ]; then tr -d +
		else grep -v +; fi)
	self_test=1
fi
mutants=()
[ -z "$self_test" ] || mapfile -t mutants < <(lines mutants | cut -d '|' -f 1)

"$top/devtools/deps.sh" lab || exit 2
mkdir -p "$cache" || exit 2
cache=$(cd "$cache" && pwd)
work=$(mktemp -d)
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT

"$top/devtools/qemu-lab/kernel.sh" "$cache" "$suite" | tee "$work/kernel" || exit 2
kernel=$(tail -n 1 "$work/kernel")
build=$top/build-linux-lab/${kernel##*/}
mkdir -p "$build"
# Builds share the folder, so only one may run.
exec 7>"$build/lock"
flock 7

# Write the mutant's copy of the model's file.
make_mutant() {
	local name=$1 original=$top/drivers/smmuv3_model/$2 script=$3 changed=$build/mutant/$1/$2
	mkdir -p "$build/mutant/$name"
	sed "$script" "$original" >"$changed" || return
	if cmp -s "$original" "$changed"; then
		echo "run.sh: mutant $name changes nothing in $original: fix its line in mutants" >&2
		return 1
	fi
}

rm -rf "$build/mutant"
while IFS='|' read -r name file script _; do
	make_mutant "$name" "$file" "$script" || exit 2
done < <(lines mutants)
if ! make -f "$lab/Makefile" -C "$build" -j "$jobs" TOP="$top" KERNEL="$kernel" \
		MUTANTS="${mutants[*]}" >"$work/log" 2>&1; then
	grep -E 'error|Error|warning|undefined' "$work/log" | head -n 40 >&2
	die "the build in $build failed, see above"
fi

# The program of rows with the option relay has the whole project.
build_relay() {
	local dir=$build/relay
	[ -f "$dir/build.ninja" ] || meson setup -Dtests=disabled "$dir" "$top" || return
	ninja -C "$dir" -j "$jobs" devtools/linux-lab/linux-lab-relay
}

is_relay() {
	find_row "$1" && [[ " $model " == *" relay "* ]]
}

for row in "${rows[@]}"; do
	is_relay "$row" || continue
	build_relay >"$work/log" 2>&1 && break
	grep -E 'error|Error|ERROR|warning|undefined' "$work/log" | head -n 40 >&2
	die "the build in $build/relay failed, see above"
done

# boot NAME SMMU: boot once, with the files in $work/NAME.
boot() {
	ln -s "$kernel/Image" "$build/initramfs.gz" "$work/$1/"
	"$lab/row.sh" "$work/$1" "$2" "$tests" "$model" "$machine" "$arguments"
}

run_row() {
	local program=$build/smmu
	if is_relay "$1"; then
		program=$build/relay/devtools/linux-lab/linux-lab-relay
		model=${model/relay/}
	fi
	if boot "$1" "$program"; then
		"$lab/verdict.py" "$1" "$tests" "$work/$1" "$lab/expected"
	else
		echo "[  FAILED  ] $1: the row did not start, see above"
		echo "0 passed, 1 failed"
	fi
}

# Run the default row's model with the mutation. The named failure must occur.
run_mutant() {
	local test what caught
	model='' machine='' arguments=wait_ms=5000
	IFS='|' read -r _ _ _ tests test what < <(lines mutants | grep "^$1|")
	boot "mutant-$1" "$build/mutant/$1/smmu" &&
		"$lab/verdict.py" default "$tests" "$work/mutant-$1" "$lab/expected" \
			>"$work/mutant-$1/failures" 2>&1
	if caught=$(grep -E "^\[  FAILED  \] default $test: $what" "$work/mutant-$1/failures"); then
		echo "caught: $(head -n 1 <<<"${caught#*] default }")"
		echo "1 passed, 0 failed"
	else
		sed 's/^\[  FAILED  \]/but:/' "$work/mutant-$1/failures"
		echo "[  FAILED  ] mutant $1 is not caught by $test: $what"
		echo "0 passed, 1 failed"
	fi
}

# timed NAME TITLE COMMAND...: run it and print a summary and its output at once, because
# several commands run at the same time.
timed() {
	local name=$1 title=$2 begin=$SECONDS counts status=ok
	shift 2
	mkdir "$work/$name"
	echo "0 passed, 1 failed" >"$work/$name/counts"
	"$@" >"$work/$name/verdict" 2>&1
	counts=$(tail -n 1 "$work/$name/verdict")
	echo "$counts" >"$work/$name/counts"
	[[ $counts == *", 0 failed" ]] || status=FAILED
	{
		printf '%-7s %-28s %4ds  %s\n' "$status" "$title" $((SECONDS - begin)) "$counts"
		head -n -1 "$work/$name/verdict"
	} >"$work/$name/report"
	cat "$work/$name/report"
}

slot() {
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
}

echo "Linux of $suite, $jobs boots at the same time"
for row in "${rows[@]}"; do
	slot
	timed "$row" "$row" run_row "$row" &
done
for name in "${mutants[@]}"; do
	slot
	timed "mutant-$name" "mutant $name" run_mutant "$name" &
done
wait
[ -z "$keep" ] || echo "Kept: $work"
awk -v boots=$((${#rows[@]} + ${#mutants[@]})) '
	/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3; boots-- }
	END {
		failed += boots
		printf "%d passed, %d failed, 0 skipped\n", passed, failed
		exit failed != 0
	}' "$work"/*/counts
