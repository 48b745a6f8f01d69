#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# Run every check; a fresh clone is enough. The last line is "N passed, N failed". A check
# is a test of test-iopf or one of the steps below. --no-lab leaves out the guests of
# devtools/qemu-lab and devtools/linux-lab. --fast also leaves out the sanitizer builds,
# the spin models, Debian 13 and the docs. --long adds checks that take hours: a hundred
# million stalls and page requests, the fuzzers for an hour each, all rows of the Linux lab,
# also with the newest kernel of Debian's archives, and mutants of the driver.
set -u
cd "$(dirname "$0")/.." || exit 1

fast=
lab=1
long=
for option; do
	case "$option" in
	--fast)
		fast=1
		lab=
		;;
	--no-lab) lab= ;;
	--long) long=1 ;;
	*)
		echo "usage: check.sh [--fast | --no-lab | --long]" >&2
		exit 2
		;;
	esac
done

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# A check in the background ignores the interrupt key.
trap 'kill 0' INT
# Checks may run side by side: each result is a line in one of these files, and each report
# is printed at once.
touch "$out/counts" "$out/failures" "$out/lock"

# report NAME PASSED FAILED SKIPPED: count, and print the report from standard input.
report() {
	echo "$2 $3 $4" >>"$out/counts"
	[ "$3" -eq 0 ] || echo "$1" >>"$out/failures"
	flock "$out/lock" cat
}

# step NAME COMMAND...: run one check; print its output only if it fails.
step() {
	local name=$1 begin=$SECONDS log
	shift
	log=$(mktemp -p "$out")
	if "$@" >"$log" 2>&1; then
		printf 'ok      %-44s %4ds\n' "$name" $((SECONDS - begin)) | report "$name" 1 0 0
	else
		{
			printf 'FAILED  %s\n' "$name"
			tail -n 60 "$log"
		} | report "$name" 0 1 0
	fi
}

# tests NAME COMMAND...: run test-iopf; its last line has the counts.
tests() {
	local name=$1 begin=$SECONDS log status counts p f s _
	shift
	log=$(mktemp -p "$out")
	"$@" >"$log" 2>&1
	status=$?
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	if [ -z "$counts" ]; then
		name="$name: ended early with status $status"
		{
			printf 'FAILED  %s\n' "$name"
			tail -n 60 "$log"
		} | report "$name" 0 1 0
		return
	fi
	read -r p _ f _ s _ <<<"${counts//,/}"
	{
		printf '%-7s %-44s %4ds  %s\n' "$([ "$f$status" = 00 ] && echo ok || echo FAILED)" \
			"$name" $((SECONDS - begin)) "$counts"
		grep -E '^skipped: ' "$log" | sort | uniq -c
		if [ "$f$status" != 00 ]; then
			grep -E -e '^\[  FAILED  \]|^\[  ERROR   \]|error: Failure|ERROR: ' \
				-e '^run.sh: |SUMMARY: |^(driver|oracle) error: |^\.\./app/' \
				-e '^firesoak failed: ' "$log" | head -n 60
			[ "$f" -ne 0 ] || echo "the program ended with status $status"
		fi
	} | report "$name" "$p" "$((f == 0 && status != 0 ? 1 : f))" "$s"
}

# side_by_side LANE LANE: run two functions of checks at the same time. Lanes are for checks
# that leave much of two processors idle alone.
side_by_side() {
	local lane
	{ "$1"; true; } &
	lane=$!
	"$2"
	wait "$lane" || echo "FAILED  $1 ended early" | report "$1 ended early" 0 1 0
}

# build DIR COMPILER [meson options]: configure once, then compile.
build() {
	local dir=$1 compiler=$2
	shift 2
	[ -f "$dir/build.ninja" ] || CC=$compiler meson setup "$dir" "$@" || return 1
	ninja -C "$dir"
}

build_fuzzers() {
	[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzzers=true \
		-Db_sanitize=address,undefined -Db_lundef=false -Ddefault_library=static || return 1
	ninja -C build-fuzz app/test-iopf/fuzz-guest app/test-iopf/fuzz-relay
}

# fuzz TARGET SECONDS MAX_LEN
fuzz() {
	UBSAN_OPTIONS=halt_on_error=1 build-fuzz/app/test-iopf/"$1" -max_total_time="$2" \
		-max_len="$3" -timeout=60 -detect_leaks=0 -entropic=0 -artifact_prefix="$out/"
}

accel() {
	build/examples/accel/accel "$@" &&
		echo "accel $*: equal"
}

# All parts of a suite and no time asserted: each of these ratios is there, and a number.
bench_suite() {
	suite=$1
	shift
	build/app/iopf-bench/iopf-bench --suite "$suite" --quick --rounds 1 \
		--json "$out/suite.json" && python3 -c '
import json, sys
ratios = json.load(open(sys.argv[1]))["ratios"]
missing = [w for w in sys.argv[2:] if not isinstance(ratios.get(w), (int, float))]
sys.exit(f"not in ratios: {missing}" if missing else 0)' "$out/suite.json" "$@"
}

# The driver's suites, but those of sleeping, of the model's device strings, and of memory of
# lib/mmem: for other places of its registers.
page_suites() {
	build/app/test-iopf/test-iopf --list |
		grep -E '^(pmd_|pri_|nested_dma$|policies$|stage2_domain$|unknown_sids$)' |
		grep -vE '^(pmd_config|pmd_idle|pmd_page|pmd_takeover|pri_mmem)$'
}

# The suites that use the driver most. The registers of a page file have no room for ECMDQs.
ecmdq_suites() {
	build/app/test-iopf/test-iopf --list |
		grep -E '^(pmd|power|pri_|nested|stage2|quarantine)' | grep -vx pmd_page
}

asan() {
	UBSAN_OPTIONS=halt_on_error=1 build-asan/app/test-iopf/test-iopf "$@"
}

tsan() {
	TSAN_OPTIONS="exitcode=66 suppressions=$PWD/devtools/tsan.supp" \
		build-tsan/app/test-iopf/test-iopf "$@"
}

# One after the other: the other processor has another lane.
spin_models() {
	printf '%s\0' devtools/spin/*.pml | xargs -0 -n 1 devtools/check-spin.sh
}

big_file() {
	head -c 67108864 /dev/urandom >"$out/64m"
}

page_lane() {
	local suites
	suites=$(page_suites)
	# shellcheck disable=SC2086
	IOPF_TEST_BACKEND=page tests "tests of the driver on page files" \
		build/app/test-iopf/test-iopf $suites
	# shellcheck disable=SC2086
	IOPF_TEST_BACKEND=relay tests "tests of the driver through two levels" \
		build/app/test-iopf/test-iopf $suites
}

ecmdq_lane() {
	# shellcheck disable=SC2046
	IOPF_TEST_ECMDQ=1 tests "tests of the driver, with ECMDQs" \
		build/app/test-iopf/test-iopf $(ecmdq_suites)
}

# Random invalidation arrays: about three minutes, divided among three builds.
asan_lane() {
	tests "tests, ASan and UBSan" asan
	IOPF_TEST_SCALE=8 tests "invalidation arrays, ASan and UBSan" asan inval_arrays
	IOPF_TEST_SCALE=40 tests "invalidation arrays" build/app/test-iopf/test-iopf inval_arrays
	step "a hostile guest's commands, 15 s" fuzz fuzz-guest 15 1800
	step "a hostile guest of a virtual SMMU, 15 s" fuzz fuzz-relay 15 512
}

tsan_lane() {
	tests "tests, TSan" tsan
	IOPF_TEST_SCALE=8 tests "invalidation arrays, TSan" tsan inval_arrays
}

spin_lane() {
	step "spin models" spin_models
}

debian_lane() {
	# The first run unpacks Debian 13 into a cache; debian13.sh --help names it.
	tests "tests, Debian 13" devtools/debian13.sh
	step "guides and API reference" devtools/check-docs.sh
}

# Ten million stalls and ten million page requests on a harsh model: "tests" runs one million of
# each, the first step here eight, and the slower sanitizer builds the rest. The soak under fire:
# about three minutes, divided among the three builds.
soaks() {
	local soaks="soak prisoak prichaos powersoak"
	# shellcheck disable=SC2086
	{
		IOPF_TEST_SCALE=8 tests "soaks" build/app/test-iopf/test-iopf $soaks
		IOPF_TEST_SCALE=20 tests "soaks, ASan and UBSan" asan $soaks
		IOPF_TEST_SCALE=8 tests "soaks, TSan" tsan $soaks
	}
	IOPF_TEST_ECMDQ=1 IOPF_TEST_SCALE=2 tests "soak of suspends with ECMDQs, TSan" tsan \
		powersoak
	IOPF_TEST_SCALE=40 tests "soak of evictions" build/app/test-iopf/test-iopf mmem_soak
	IOPF_TEST_SCALE=12 tests "soak of evictions, ASan and UBSan" asan mmem_soak
	IOPF_TEST_SCALE=5 tests "soak of evictions, TSan" tsan mmem_soak
	IOPF_TEST_SCALE=72 tests "soak under fire" build/app/test-iopf/test-iopf firesoak
	IOPF_TEST_SCALE=56 tests "soak under fire, ASan and UBSan" asan firesoak
	IOPF_TEST_SCALE=12 tests "soak under fire, TSan" tsan firesoak
}

devtools/deps.sh check || exit 1
[ -z "$lab" ] || devtools/deps.sh lab || exit 1

step "layers" python3 devtools/check-layers.py
step "names in comments" python3 devtools/check-comments.py
step "headers compile alone in C11, C++11 and C++20" devtools/check-headers.sh
step "build, gcc" build build gcc
tests "tests" build/app/test-iopf/test-iopf
side_by_side page_lane ecmdq_lane
tests "barriers of the driver" build/app/test-iopf/test-order
tests "self-check of the benchmark" build/app/test-iopf/test-bench
tests "instructions per fault" devtools/insn-guard.py build
step "hello" build/examples/hello/hello
graph=examples/accel/data/debian12-dependencies.mtx.gz
for kernel in copy sha256 bfs spmv; do
	step "accel $kernel, Debian graph" accel $kernel $graph
	step "accel --pri $kernel, Debian graph" accel --pri $kernel $graph
done
step "accel spmv, devices and queues" accel --devices 2 --queues 2 --pri spmv $graph
step "accel spmv, four times its budget" accel --devices 2 --budget 1200K --repeat 4 spmv $graph
step "accel spmv, copies" accel --queues 2 --copies --budget 3M --repeat 2 spmv $graph
step "accel spmv, hints" accel --queues 2 --hints --budget 3M --repeat 2 spmv $graph
step "accel spmv, a file mapping" accel --mapping --repeat 2 spmv $graph
step "accel bfs, twice its budget" accel --budget 1M bfs $graph
for recover in stall retry; do
	step "dataplane, $recover" build/examples/dataplane/dataplane --recover $recover \
		--bad-every 100
done
# Fewer stalls than the 10,000 accesses at once, and enough.
for stalls in 64 16384; do
	step "gpu-hang, $stalls stalls" build/examples/gpu-hang/gpu-hang --stalls $stalls \
		--ms 20 --hang-ms 0
done
step "gpu-hang, tries again" build/examples/gpu-hang/gpu-hang --ms 20 --hang-ms 20 --breaker 0
step "gpu-hang, until the breaker trips" build/examples/gpu-hang/gpu-hang --ms 20
step "vmm-relay" build/examples/vmm-relay/vmm-relay
step "vmm-relay, latency" build/examples/vmm-relay/vmm-relay --latency 100
step "no files left behind" devtools/check-leftovers.sh build
step "wrong input" devtools/check-wrong-input.sh build
step "a fault in a trace" python3 devtools/check-trace.py
step "iopf-setup" python3 devtools/test-iopf-setup.py
step "iopf-bench-report" python3 devtools/test-iopf-bench-report.py build
step "iopf-trace-record" python3 devtools/test-iopf-trace-record.py
step "iopf-top" python3 devtools/test-iopf-top.py build
step "dlopen" python3 devtools/test-dlopen.py build
step "benchmark, shortest run" build/app/iopf-bench/iopf-bench --depths 1,256 --rounds 1 \
	--faults 4096 --json "$out/bench.json"
step "benchmark suite fault-path, shortest run" bench_suite fault-path victim_p99_over_alone \
	victim_throughput_over_share overload_over_peak duplicate_cost_over_fault \
	p50_4096_sids_over_1 p50_64_smmus_over_1
step "benchmark suite cmdq, shortest run" bench_suite cmdq cmdq_32_threads_over_1 \
	cmdq_2_threads_over_spinlock cmdq_32_threads_over_spinlock cmdq_32_threads_over_gather
step "benchmark suite scaling, shortest run" bench_suite scaling private_2_servicers_over_1 \
	faults_per_prod_write_at_saturation shared_cmdq_2_servicers_over_1 \
	shared_smmu_2_servicers_over_1_ecmdq \
	ns_per_fault_64_smmus_over_1 idle_pass_64_smmus_over_1
step "benchmark suite mmem" bench_suite mmem policy_gap_closed page_ins_over_best_plain \
	sequential_faults_per_page random_with_over_without_prefetch hot_set_faults_over_cold \
	hot_set_page_ins_over_cold slow_pager_neighbour_over_alone

if [ -z "$fast" ]; then
	step "a file of 64 MiB" big_file
	for kernel in copy sha256; do
		step "accel $kernel, 64 MiB" accel $kernel "$out/64m"
		step "accel --pri $kernel, 64 MiB" accel --pri $kernel "$out/64m"
	done
	step "build, clang" build build-clang clang
	step "build, ASan and UBSan" build build-asan gcc -Db_sanitize=address,undefined \
		-Ddefault_library=static
	step "build, TSan" build build-tsan clang -Db_sanitize=thread -Db_lundef=false \
		-Ddefault_library=static
	step "build, fuzzers" build_fuzzers
	side_by_side asan_lane tsan_lane
	side_by_side spin_lane debian_lane
	soaks
fi

if [ -n "$lab" ]; then
	# The first run builds a kernel in a cache; run.sh --help names it. A guest keeps two
	# processors busy, and its tests wait for each other: one guest at a time.
	# The suites of managed memory use the software SMMU: once is enough.
	tests "arm64 and QEMU 7.2's SMMUv3" devtools/qemu-lab/run.sh --qemu 7.2 \
		--except 'mmem_*'
	tests "arm64 and QEMU 10.0's SMMUv3" devtools/qemu-lab/run.sh --qemu 10.0
	tests "Linux 6.12's driver on the model" devtools/linux-lab/run.sh
	step "Linux beside iopf, shortest run" devtools/linux-lab/versus.sh --rounds 1 \
		--count 256
fi

if [ -n "$long" ]; then
	tests "a hundred million stalls and page requests" env IOPF_TEST_SCALE=100 \
		build/app/test-iopf/test-iopf soak prisoak prichaos powersoak
	tests "a hundred million faults under fire" env IOPF_TEST_SCALE=1000 \
		build/app/test-iopf/test-iopf firesoak
	tests "an hour of evictions" env IOPF_TEST_SCALE=5000 \
		build/app/test-iopf/test-iopf mmem_soak
	tests "a million invalidation arrays" env IOPF_TEST_SCALE=152 \
		build/app/test-iopf/test-iopf inval_arrays
	step "a hostile guest's commands, an hour" fuzz fuzz-guest 3600 1800
	step "a hostile guest of a virtual SMMU, an hour" fuzz fuzz-relay 3600 512
	tests "Linux 6.12's driver, all rows" devtools/linux-lab/run.sh --all
	tests "the newest Linux's driver" devtools/linux-lab/run.sh --all \
		--kernel-suite trixie-backports
	tests "mutants of the driver" devtools/mutate.py
fi

sed 's/^/failed: /' "$out/failures"
read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }' \
	"$out/counts")
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
[ -n "$lab" ] || echo "left out: the lab (arm64, and QEMU's SMMUv3)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
