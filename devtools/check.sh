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

passed=0
failed=0
skipped=0
failures=()
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# step NAME COMMAND...: run one check; print its output only if it fails.
step() {
	local name=$1 begin=$SECONDS
	shift
	if "$@" >"$out/step" 2>&1; then
		passed=$((passed + 1))
		printf 'ok      %-44s %4ds\n' "$name" $((SECONDS - begin))
	else
		failed=$((failed + 1))
		failures+=("$name")
		printf 'FAILED  %s\n' "$name"
		tail -n 60 "$out/step"
	fi
}

# tests NAME COMMAND...: run test-iopf; its last line has the counts.
tests() {
	local name=$1 begin=$SECONDS counts status
	shift
	"$@" >"$out/tests" 2>&1
	status=$?
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$out/tests" | tail -n 1)
	if [ -z "$counts" ]; then
		failed=$((failed + 1))
		failures+=("$name: ended early with status $status")
		printf 'FAILED  %s: ended early with status %d\n' "$name" "$status"
		tail -n 60 "$out/tests"
		return
	fi
	read -r p _ f _ s _ <<<"${counts//,/}"
	passed=$((passed + p))
	failed=$((failed + f))
	skipped=$((skipped + s))
	printf '%-7s %-44s %4ds  %s\n' "$([ "$f$status" = 00 ] && echo ok || echo FAILED)" "$name" \
		$((SECONDS - begin)) "$counts"
	grep -E '^skipped: ' "$out/tests" | sort | uniq -c
	if [ "$f" -ne 0 ] || [ "$status" -ne 0 ]; then
		grep -E -e '^\[  FAILED  \]|^\[  ERROR   \]|error: Failure|ERROR: |^run.sh: |SUMMARY: ' \
			-e '^(driver|oracle) error: |^\.\./app/|^firesoak failed: ' "$out/tests" | head -n 60
		[ "$f" -ne 0 ] || echo "the program ended with status $status"
		failures+=("$name")
		[ "$f" -ne 0 ] || failed=$((failed + 1))
	fi
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

# ecmdq_tests BUILD: the suites that use the driver most, on software SMMUs with ECMDQs.
ecmdq_tests() {
	local test=$1/app/test-iopf/test-iopf suites
	# The registers of a page file have no room for those of ECMDQs.
	suites=$("$test" --list | grep -E '^(pmd|power|pri_|nested|stage2|quarantine)' |
		grep -vx pmd_page)
	# shellcheck disable=SC2086
	IOPF_TEST_ECMDQ=1 "$test" $suites
}

# A model uses one processor.
spin_models() {
	printf '%s\0' devtools/spin/*.pml | xargs -0 -n 1 -P "$(nproc)" devtools/check-spin.sh
}

big_file() {
	head -c 67108864 /dev/urandom >"$out/64m"
}

devtools/deps.sh check || exit 1
[ -z "$lab" ] || devtools/deps.sh lab || exit 1

step "layers" python3 devtools/check-layers.py
step "names in comments" python3 devtools/check-comments.py
step "headers compile alone in C11, C++11 and C++20" devtools/check-headers.sh
step "build, gcc" build build gcc
tests "tests" build/app/test-iopf/test-iopf
# Not those of sleeping, of the model's device strings, and of memory of lib/mmem.
page_suites=$(build/app/test-iopf/test-iopf --list |
	grep -E '^(pmd_|pri_|nested_dma$|policies$|stage2_domain$|unknown_sids$)' |
	grep -vE '^(pmd_config|pmd_idle|pmd_page|pmd_takeover|pri_mmem)$')
# shellcheck disable=SC2086
tests "tests of the driver on page files" env IOPF_TEST_BACKEND=page \
	build/app/test-iopf/test-iopf $page_suites
# shellcheck disable=SC2086
tests "tests of the driver through two levels" env IOPF_TEST_BACKEND=relay \
	build/app/test-iopf/test-iopf $page_suites
tests "tests of the driver, with ECMDQs" ecmdq_tests build
tests "barriers of the driver" build/app/test-iopf/test-order
tests "self-check of the benchmark" build/app/test-iopf/test-bench
tests "instructions per fault" devtools/insn-guard.py build
step "hello" build/examples/hello/hello
graph=examples/accel/data/debian12-dependencies.mtx.gz
for kernel in copy sha256 bfs spmv; do
	step "accel $kernel, Debian graph" accel $kernel $graph
	step "accel --pri $kernel, Debian graph" accel --pri $kernel $graph
done
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
step "benchmark, shortest run" build/app/iopf-bench/iopf-bench --depths 1,256 --rounds 1 \
	--faults 4096 --json "$out/bench.json"
step "benchmark suite fault-path, shortest run" bench_suite fault-path victim_p99_over_alone \
	victim_throughput_over_share overload_over_peak duplicate_cost_over_fault \
	p50_4096_sids_over_1 p50_64_smmus_over_1
step "benchmark suite cmdq, shortest run" bench_suite cmdq cmdq_32_threads_over_1 \
	cmdq_2_threads_over_spinlock cmdq_32_threads_over_spinlock cmdq_32_threads_over_gather

if [ -z "$fast" ]; then
	step "a file of 64 MiB" big_file
	for kernel in copy sha256; do
		step "accel $kernel, 64 MiB" accel $kernel "$out/64m"
		step "accel --pri $kernel, 64 MiB" accel --pri $kernel "$out/64m"
	done
	# Ten million stalls and ten million page requests on a harsh model: "tests" above runs
	# one million of each, this step eight, and the slower sanitizer builds the rest.
	tests "soaks" env IOPF_TEST_SCALE=8 build/app/test-iopf/test-iopf \
		soak prisoak prichaos powersoak
	# The soak under fire: about three minutes, divided among three builds.
	tests "soak under fire" env IOPF_TEST_SCALE=72 build/app/test-iopf/test-iopf firesoak
	# Random invalidation arrays: about three minutes, divided among three builds.
	tests "invalidation arrays" env IOPF_TEST_SCALE=4 build/app/test-iopf/test-iopf \
		inval_arrays
	step "spin models" spin_models
	step "build, clang" build build-clang clang
	step "build, ASan and UBSan" build build-asan gcc -Db_sanitize=address,undefined \
		-Ddefault_library=static
	tests "tests, ASan and UBSan" env UBSAN_OPTIONS=halt_on_error=1 \
		build-asan/app/test-iopf/test-iopf
	tests "soaks, ASan and UBSan" env UBSAN_OPTIONS=halt_on_error=1 IOPF_TEST_SCALE=20 \
		build-asan/app/test-iopf/test-iopf soak prisoak prichaos powersoak
	tests "soak under fire, ASan and UBSan" env UBSAN_OPTIONS=halt_on_error=1 \
		IOPF_TEST_SCALE=56 build-asan/app/test-iopf/test-iopf firesoak
	tests "invalidation arrays, ASan and UBSan" env UBSAN_OPTIONS=halt_on_error=1 \
		IOPF_TEST_SCALE=1 build-asan/app/test-iopf/test-iopf inval_arrays
	step "build, fuzzers" build_fuzzers
	step "a hostile guest's commands, 15 s" fuzz fuzz-guest 15 1800
	step "a hostile guest of a virtual SMMU, 15 s" fuzz fuzz-relay 15 512
	step "build, TSan" build build-tsan clang -Db_sanitize=thread -Db_lundef=false \
		-Ddefault_library=static
	tsan="exitcode=66 suppressions=$PWD/devtools/tsan.supp"
	tests "tests, TSan" env TSAN_OPTIONS="$tsan" build-tsan/app/test-iopf/test-iopf
	tests "soaks, TSan" env TSAN_OPTIONS="$tsan" IOPF_TEST_SCALE=8 \
		build-tsan/app/test-iopf/test-iopf soak prisoak prichaos powersoak
	tests "soak of suspends with ECMDQs, TSan" env TSAN_OPTIONS="$tsan" IOPF_TEST_ECMDQ=1 \
		IOPF_TEST_SCALE=2 build-tsan/app/test-iopf/test-iopf powersoak
	tests "soak under fire, TSan" env TSAN_OPTIONS="$tsan" IOPF_TEST_SCALE=12 \
		build-tsan/app/test-iopf/test-iopf firesoak
	tests "invalidation arrays, TSan" env TSAN_OPTIONS="$tsan" IOPF_TEST_SCALE=1 \
		build-tsan/app/test-iopf/test-iopf inval_arrays
	# The first run unpacks Debian 13 into a cache; debian13.sh --help names it.
	tests "tests, Debian 13" devtools/debian13.sh
	step "guides and API reference" devtools/check-docs.sh
fi

if [ -n "$lab" ]; then
	# The first run builds a kernel in a cache; run.sh --help names it.
	for qemu in 7.2 10.0; do
		tests "arm64 and QEMU $qemu's SMMUv3" devtools/qemu-lab/run.sh --qemu $qemu
	done
	tests "Linux 6.12's driver on the model" devtools/linux-lab/run.sh
fi

if [ -n "$long" ]; then
	tests "a hundred million stalls and page requests" env IOPF_TEST_SCALE=100 \
		build/app/test-iopf/test-iopf soak prisoak prichaos powersoak
	tests "a hundred million faults under fire" env IOPF_TEST_SCALE=1000 \
		build/app/test-iopf/test-iopf firesoak
	tests "a million invalidation arrays" env IOPF_TEST_SCALE=19 \
		build/app/test-iopf/test-iopf inval_arrays
	step "a hostile guest's commands, an hour" fuzz fuzz-guest 3600 1800
	step "a hostile guest of a virtual SMMU, an hour" fuzz fuzz-relay 3600 512
	tests "Linux 6.12's driver, all rows" devtools/linux-lab/run.sh --all
	tests "the newest Linux's driver" devtools/linux-lab/run.sh --all \
		--kernel-suite trixie-backports
	tests "mutants of the driver" devtools/mutate.py
fi

for failure in "${failures[@]}"; do
	echo "failed: $failure"
done
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
[ -n "$lab" ] || echo "left out: the lab (arm64, and QEMU's SMMUv3)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
