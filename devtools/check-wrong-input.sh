#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# check-wrong-input.sh BUILD_DIR: give wrong input to each program, and to the libraries
# through a small program. Each run must have:
#
#	- an exit status other than 0, and no signal;
#	- exactly one line on stderr beside EAL's own lines, with the wrong value in it;
#	- no file left in the working directory, in TMPDIR, or in EAL's runtime directory.
#
# The programs run without EAL options: their defaults show only EAL's warnings. Lines that
# begin with "EAL: " or come from getopt inside EAL do not count. For EAL's own options
# ("eal" cases) the value may be in one of EAL's lines.
set -u

if [ $# -ne 1 ] || [ ! -f "$1/build.ninja" ]; then
	echo "usage: check-wrong-input.sh BUILD_DIR" >&2
	exit 2
fi
build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/..")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/cwd" "$dir/tmp" "$dir/run" "$dir/in" || exit 1
cd "$dir/cwd" || exit 1
export TMPDIR=$dir/tmp XDG_RUNTIME_DIR=$dir/run
# For the runs below without root.
chmod 755 "$dir" "$dir/in"
chmod 777 "$dir/run"
nb=0
failed=0

# Files and sockets that a process may have left in a runtime directory. Root's directory
# is shared: count new files with the process id in their names.
litter() {
	find "$dir/run" ! -type d
	[ "$(id -u)" -ne 0 ] || find /var/run/dpdk -newer "$dir/begin" -name "*-$1*" 2>/dev/null
}

# wrong VALUE PROGRAM ARGUMENTS...; with eal=1 the value may be in EAL's lines
eal=
wrong() {
	local value=$1 status own why='' pid
	shift
	nb=$((nb + 1))
	touch "$dir/begin"
	timeout 60 "$@" >"$dir/stdout" 2>"$dir/stderr" </dev/null &
	pid=$!
	wait $pid
	status=$?
	grep -vE '^EAL: |: (unrecognized|invalid|ambiguous) option|: option .* requires an argument' \
		"$dir/stderr" >"$dir/own"
	own=$(wc -l <"$dir/own")
	if [ $status -eq 0 ]; then
		why="exit status 0"
	elif [ $status -eq 124 ]; then
		why="did not end in 60 s"
	elif [ $status -ge 126 ]; then
		why="exit status $status: a signal?"
	elif [ "$own" -ne 1 ]; then
		why="$own lines on stderr instead of one"
	elif ! grep -qF -- "$value" "$dir/own" &&
			! { [ -n "$eal" ] && grep -qF -- "$value" "$dir/stderr"; }; then
		why="the line does not name $value"
	elif [ -n "$(find "$dir/cwd" "$dir/tmp" -mindepth 1)" ]; then
		why="left behind: $(find "$dir/cwd" "$dir/tmp" -mindepth 1 | tr '\n' ' ')"
	elif [ -n "$(litter $pid)" ]; then
		why="left behind: $(litter $pid | tr '\n' ' ')"
	fi
	[ -n "$why" ] || return
	failed=$((failed + 1))
	echo "FAILED: $(basename "$1") ${*:2}" | sed "s,$dir/,,g"
	echo "  $why"
	head -n 5 "$dir/own" | sed "s,$dir/,,g; s/^/  | /"
	rm -rf "$dir/cwd" "$dir/tmp"
	mkdir "$dir/cwd" "$dir/tmp"
	cd "$dir/cwd" || exit 1
}

need() {
	[ -x "$1" ] && return
	echo "$1 is missing: build it first, ninja -C $build" >&2
	exit 1
}

hello=$build/examples/hello/hello
accel=$build/examples/accel/accel
bench=$build/app/iopf-bench/iopf-bench
dataplane=$build/examples/dataplane/dataplane
gpu_hang=$build/examples/gpu-hang/gpu-hang
vmm_relay=$build/examples/vmm-relay/vmm-relay
test=$build/app/test-iopf/test-iopf
for program in "$hello" "$accel" "$bench" "$dataplane" "$gpu_hang" "$vmm_relay"; do
	need "$program"
done
in=$dir/in

# A full disk: what is printed is lost.
full=(sh -c 'exec "$@" >/dev/full' full)
wrong "cannot write" "${full[@]}" "$hello"
wrong "cannot write" "${full[@]}" "$dataplane" --packets 100
wrong "cannot write" "${full[@]}" "$gpu_hang"
wrong "cannot write" "${full[@]}" "$vmm_relay"
wrong "cannot write" "${full[@]}" "$bench" --modes null --depths 1 --rounds 1 --faults 256

# hello: all its options are EAL's.
eal=1
wrong "--bogus" "$hello" --bogus
wrong "--no-such" "$hello" --no-huge --no-such=1
eal=
wrong "usage: hello" "$hello" foo

# dataplane
wrong "--bogus" "$dataplane" --bogus 1
wrong "--ring" "$dataplane" --ring 100
wrong "--recover" "$dataplane" --recover pri
wrong "--edu" "$dataplane" --edu 0000:00
wrong "--iommu" "$dataplane" --recover retry --edu 0000:00:01.0
wrong "--recover retry" "$dataplane" --edu 0000:00:01.0 --iommu smmuv3,vfio=x
wrong "--size" "$dataplane" --recover retry --edu 0000:00:01.0 --iommu smmuv3,vfio=x --size 4096

# gpu-hang
wrong "--bogus" "$gpu_hang" --bogus 1
wrong "--bogus" "$gpu_hang" --bogus
wrong "--lanes" "$gpu_hang" --lanes 0
wrong "65537" "$gpu_hang" --lanes 65537
wrong "--stalls" "$gpu_hang" --stalls many
wrong "--contexts" "$gpu_hang" --contexts
wrong "-1" "$gpu_hang" --ms -1
wrong "--breaker 10000" "$gpu_hang" --breaker 10000

# vmm-relay
wrong "usage: vmm-relay" "$vmm_relay" foo
wrong "usage: vmm-relay" "$vmm_relay" --guest
wrong "usage: vmm-relay" "$vmm_relay" --latency 0
wrong "usage: vmm-relay" "$vmm_relay" --latency 10001
wrong "many" "$vmm_relay" --latency many

# accel: options
wrong "--bogus" "$accel" --bogus
wrong "nonsense" "$accel" nonsense "$in/x"
wrong "--help" "$accel" bfs
wrong "--help" "$accel" --pri
wrong "--prix" "$accel" --prix copy "$in/x"
wrong "nonsense" "$accel" --pri nonsense "$in/x"
wrong "--record" "$accel" --record
wrong "--budget 16X" "$accel" --budget 16X copy "$in/x"
wrong "--devices 5" "$accel" --devices 5 copy "$in/x"
wrong "--queues 0" "$accel" --queues 0 copy "$in/x"
wrong "spmv only" "$accel" --copies bfs "$in/x"
wrong "one of" "$accel" --copies --mapping spmv "$in/x"
wrong "--queues 2" "$accel" --hints spmv "$in/x"
wrong "options first" "$accel" copy "$in/x" --pri
wrong "--help" "$accel" bfs a b
wrong "--help" "$accel"
eal=1
wrong "--bogus" "$accel" --bogus -- copy "$in/x"
eal=

# accel: files
graph=$source/examples/accel/data/debian12-dependencies.mtx.gz
matrix() {
	printf '%s\n' "%%MatrixMarket matrix coordinate pattern general" "$@"
}
: >"$in/empty"
matrix "2 2 2" "1 1" "2 2" >"$in/good.mtx"
wrong "$in/no/trace" "$accel" --record "$in/no/trace" spmv "$in/good.mtx"
wrong "$in/no/json" "$accel" --json "$in/no/json" spmv "$in/good.mtx"
wrong "no room" "$accel" --copies --budget 1K spmv "$graph"
head -c 20000 "$graph" >"$in/truncated.mtx.gz"
{ head -c 5000 "$graph"; head -c 4096 /dev/zero; tail -c +9097 "$graph"; } >"$in/damaged.mtx.gz"
head -c 300000 /dev/urandom >"$in/random.bin"
printf '%s\n' "%%MatrixMarket matrix array real general" "2 2" 1 2 3 4 >"$in/array.mtx"
printf '%s\n' "%%MatrixMarket matrix coordinate real general" "1 1 1" "1 1 0.5" >"$in/real.mtx"
printf '%s\n' "%%MatrixMarket matrix coordinate pattern hermitian" "1 1 1" "1 1" >"$in/symmetry.mtx"
printf '%s\n' "%%MatrixMarket" >"$in/banner.mtx"
printf '%s\n' "hello" >"$in/text.mtx"
matrix >"$in/nosize.mtx"
matrix "two 2 2" "1 1" "2 2" >"$in/size.mtx"
matrix "0 0 0" >"$in/nothing.mtx"
matrix "99999999999 99999999999 1" "1 1" >"$in/huge.mtx"
matrix "99999999999999999999999 1 1" "1 1" >"$in/overflow.mtx"
matrix "2 2 5" "1 1" >"$in/toomany.mtx"
matrix "2 2 2" "1 1" >"$in/short.mtx"
matrix "2 2 1" "1 1" "2 2" >"$in/long.mtx"
matrix "2 2 2" "1 1" "3 1" >"$in/range.mtx"
matrix "2 2 2" "1 1" "0 1" >"$in/zero.mtx"
matrix "2 2 2" "1 1" "-1 1" >"$in/negative.mtx"
matrix "2 2 2" "1 1" "x y" >"$in/letters.mtx"
matrix "2 2 2" "1 1" "2" >"$in/column.mtx"
matrix "2 2 2" "1 1" "2 2 7" >"$in/extra.mtx"
{ matrix "2 2 2" "1 1"; head -c 4000 /dev/zero | tr '\0' 1; } >"$in/longline.mtx"
matrix "3 2 2" "1 1" "2 2" >"$in/oblong.mtx"
printf '%s\n' "%%MatrixMarket matrix coordinate integer general" "2 2 1" \
	"1 1 99999999999999999999" >"$in/value.mtx"
printf '%s\n' "%%MatrixMarket matrix coordinate pattern symmetric" "3 2 1" "1 1" >"$in/unsymmetric.mtx"
mkdir "$in/folder"
for file in truncated.mtx.gz damaged.mtx.gz random.bin array.mtx real.mtx symmetry.mtx banner.mtx \
		text.mtx nosize.mtx size.mtx nothing.mtx huge.mtx overflow.mtx toomany.mtx short.mtx \
		long.mtx range.mtx zero.mtx negative.mtx letters.mtx column.mtx extra.mtx \
		longline.mtx value.mtx unsymmetric.mtx empty missing folder; do
	wrong "$file" "$accel" spmv "$in/$file"
done
for file in oblong.mtx missing folder empty; do
	wrong "$file" "$accel" bfs "$in/$file"
done
for kernel in copy sha256; do
	for file in missing folder empty; do
		wrong "$file" "$accel" $kernel "$in/$file"
	done
	wrong "missing" "$accel" --pri $kernel "$in/missing"
	wrong "/dev/null" "$accel" $kernel /dev/null
done
cp "$in/good.mtx" "$in/unreadable.mtx"
chmod 0 "$in/unreadable.mtx"
mkdir "$in/unwritable"
chmod 555 "$in/unwritable"
# Root may access every file, so another user must try.
as=
[ ! -r "$in/unreadable.mtx" ] || as="setpriv --reuid=65534 --regid=65534 --clear-groups"
if $as test -x "$accel" 2>/dev/null && ! $as test -r "$in/unreadable.mtx"; then
	# shellcheck disable=SC2086
	for kernel in copy sha256 bfs spmv; do
		wrong "unreadable.mtx" $as "$accel" $kernel "$in/unreadable.mtx"
	done
	# shellcheck disable=SC2086
	wrong "$in/unwritable/x.json" $as "$bench" --json "$in/unwritable/x.json"
else
	echo "skipped: unreadable files and unwritable folders: no user without access to them"
fi

# iopf-bench
wrong "--bogus" "$bench" --bogus
wrong "nonsense" "$bench" nonsense
wrong "--json" "$bench" --json
for value in 0 201 -1 abc 1e3 "" 99999999999999999999 " 5" 5x; do
	wrong "'$value'" "$bench" --rounds "$value"
done
for value in 255 262145 0x1000; do
	wrong "'$value'" "$bench" --faults "$value"
done
for value in 0 513 x; do
	wrong "'$value'" "$bench" --depths "1,$value"
done
wrong "1" "$bench" --depths 1,1
wrong "--depths" "$bench" --depths ""
wrong "512" "$bench" --depths 512 --faults 256
wrong "'none'" "$bench" --modes polled,none
wrong "polled" "$bench" --modes polled,polled
wrong "--modes" "$bench" --modes ""
wrong "'none'" "$bench" --loop none
wrong "open" "$bench" --loop open,open
wrong "--loop" "$bench" --loop ""
wrong "'none'" "$bench" --arrival none
for value in 0 401 x 5% -5 ""; do
	wrong "'$value'" "$bench" --loads "50,$value"
done
wrong "50" "$bench" --loads 50,50
wrong "--loads" "$bench" --loop closed --loads 50
wrong "--depths" "$bench" --loop open --depths 1
wrong "uffd has no open loop" "$bench" --modes polled,uffd --loop open
wrong "--loop" "$bench" --suite cmdq --loop open
wrong "'65'" "$bench" --requesters 65
wrong "2 StreamIDs" "$bench" --modes null --sids 2
wrong "pri" "$bench" --requesters 2 --sids 2
wrong "'zigzag'" "$bench" --pattern zigzag
wrong "trace" "$bench" --pattern trace
wrong "$in/none.gz" "$bench" --pattern trace --trace "$in/none.gz"
echo "0 R" >"$in/no.trace"
wrong "no.trace: line 1" "$bench" --pattern trace --trace "$in/no.trace"
wrong "'all'" "$bench" --zero all
wrong "'10001'" "$bench" --mmio-ns 10001
wrong "'pri'" "$bench" --ats pri
wrong "'yes'" "$bench" --msi yes
wrong "'halt'" "$bench" --idle halt
printf '[case1]\nrounds=3\ndepht=1\n' >"$in/key.ini"
wrong "key.ini: [case1]: unknown key 'depht'" "$bench" --config "$in/key.ini"
printf '[GLOBAL]\nfaults=1\n[case1]\n' >"$in/value.ini"
wrong "value.ini: [GLOBAL]: faults: '1'" "$bench" --config "$in/value.ini"
printf '[case1]\nrounds\n' >"$in/line.ini"
wrong "line.ini: line 2" "$bench" --config "$in/line.ini"
wrong "$in/none.ini: cannot read" "$bench" --config "$in/none.ini"
wrong "--config" "$bench" --suite cmdq --config "$in/key.ini"
passive=("$bench" --engine none --device smmuv3,model=x --streams)
wrong "--device" "$bench" --engine none
wrong "--streams" "$bench" --engine none --device smmuv3,model=x
wrong "'auto'" "$bench" --engine auto
head -c 65535 /dev/zero >"$in/short.mailbox"
wrong "short.mailbox" "$bench" --engine mailbox="$in/short.mailbox" --device smmuv3,model=x --streams 8
wrong "$in/none" "$bench" --engine mailbox="$in/none" --device smmuv3,model=x --streams 8
wrong "streams" "$bench" --engine mailbox="$in/none" --device smmuv3,model=x --streams 8,9
wrong "burst" "${passive[@]}" 8 --burst 3
wrong "refault" "$bench" --engine mailbox=x --device smmuv3,model=x --streams 8 --refault 3
wrong "device" "$bench" --device smmuv3,model=x
wrong "rounds" "${passive[@]}" 8 --rounds 3
wrong "--quick" "${passive[@]}" 8 --quick
wrong "8" "${passive[@]}" 8,8
wrong "4294967295" "${passive[@]}" 4294967295
wrong "'4294967296'" "${passive[@]}" 4294967296
wrong "'0'" "${passive[@]}" 8 --pasid 0
wrong "'3'" "${passive[@]}" 8 --region 3
# A machine of more than 64 GiB has more than the largest region.
phys_mib=$(($(getconf _PHYS_PAGES) / 512 * 2))
[ $phys_mib -gt 65536 ] || wrong "memory" "${passive[@]}" 8 --region $phys_mib
wrong "path" "$bench" --engine mailbox= --device smmuv3,model=x --streams 8
wrong "'3601'" "${passive[@]}" 8 --seconds 3601
wrong "interval" "${passive[@]}" 8 --seconds 3600 --interval 100
wrong "'99'" "${passive[@]}" 8 --interval 99
wrong "'0'" "${passive[@]}" 8 --refault 0
wrong "nope" "$bench" --engine none --device nope,model=x --streams 8
wrong "nope.smmuv3" "$bench" --engine none --device smmuv3,vfio=nope.smmuv3 --streams 8
wrong "no fault arrived" "${passive[@]}" 8 --seconds 1
wrong "--engine" "$bench" --suite cmdq --engine none
wrong "'none'" "$bench" --suite none
wrong "'none'" "$bench" --suite fault-path --parts storm,none
wrong "--parts" "$bench" --suite fault-path --parts ""
wrong "--suite" "$bench" --parts storm
wrong "''" "$bench" --suite fault-path --parts ,storm
wrong "'storm'" "$bench" --suite fault-path --parts storm,storm
wrong "'storm' of suite cmdq" "$bench" --parts storm --suite cmdq
wrong "'storm' of suite scaling" "$bench" --parts storm --suite scaling
wrong "'storm' of suite mmem" "$bench" --parts storm --suite mmem
wrong "--depths" "$bench" --suite fault-path --depths 1
wrong "'9999'" "$bench" --cpu-model 9999
wrong "1000" "$bench" --cpu-servicer 1000
wrong "0" "$bench" --cpu-model 0 --cpu-servicer 0
wrong "$in/none/x.json" "$bench" --json "$in/none/x.json"
wrong "$in/folder" "$bench" --json "$in/folder"
wrong "/dev/null" "$bench" --json /dev/null
wrong "$in/none/x.csv" "$bench" --csv "$in/none/x.csv"
wrong "$in/none/x" "$bench" --hgrm "$in/none/x"
wrong "/dev/null" "$bench" --hgrm /dev/null
wrong "$in/none/x.html" "$bench" --html "$in/none/x.html"
wrong "$in/none/a.json" "$bench" --compare "$in/none/a.json"
wrong "$in/none/a.json" "$bench" --compare "$in/none/a.json" "$in/none/b.json"
wrong "/dev/null" "$bench" --compare /dev/null /dev/null
wrong "third" "$bench" --compare "$in/none/a.json" "$in/none/b.json" third
wrong "--hgrm" "$bench" --suite cmdq --hgrm "$in/new"
wrong "1 CPU" taskset -c 0 "$bench" --quick
eal=1
wrong "--bogus" "$bench" --bogus -- --quick
eal=

# test-iopf
if [ -x "$test" ]; then
	wrong "nonsense" "$test" nonsense
	wrong "--bogus" "$test" --bogus
	eal=1
	wrong "--bogus" "$test" --bogus --
	eal=
fi

# The libraries: device strings, StreamIDs, PASIDs, sizes.
cat >"$in/wrong.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf.h>
#include <iopf_iommu.h>
#include <mmem.h>

static enum iopf_verdict
refuse(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

/* wrong ACTION VALUE [DEVSTR]: exits with 1 if the value was refused with an errno, else 0. */
int
main(int argc, char **argv)
{
	char *eal[] = { argv[0], "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
		"--no-shconf", "--log-level=lib.eal:warning" };
	const char *devstr = argc > 3 ? argv[3] : "smmuv3,model=1,model_sid_bits=8,model_evtq=6,"
		"model_ssid_bits=4,model_stall_max=16";
	struct iopf_iommu_conf conf = { 0 };
	struct iopf_dev_conf dev_conf = { 0 };
	struct iopf_domain *domain;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	uint32_t sid = 1, value = strtoul(argv[2], NULL, 0);
	int refused;

	if (rte_eal_init(8, eal) < 0)
		return 99;
	if (strcmp(argv[1], "open") == 0) {
		smmu = iopf_iommu_open(argv[2]);
		refused = smmu == NULL && rte_errno != 0;
		iopf_iommu_close(smmu);
		rte_eal_cleanup();
		return refused;
	}
	smmu = iopf_iommu_open(devstr);
	if (smmu == NULL)
		return 99;
	if (strcmp(argv[1], "evtq") == 0 || strcmp(argv[1], "cmdq") == 0) {
		if (argv[1][0] == 'e')
			conf.event_queue_size = value;
		else
			conf.command_queue_size = value;
		refused = iopf_iommu_configure(smmu, &conf) < 0;
	} else if (strcmp(argv[1], "pool") == 0) {
		refused = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu,
				.size = strtoul(argv[2], NULL, 0) }) == NULL;
	} else if (strcmp(argv[1], "file") == 0) {
		struct mmem_pool *pool = mmem_pool_create(&(struct mmem_pool_conf){
				.iommu = smmu, .size = 64 << 20 });
		struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
				.pool = pool });

		refused = space != NULL && mmem_map_file(space, argv[2], 0, 4096, MMEM_READ) == NULL;
		mmem_space_destroy(space);
		mmem_pool_destroy(pool);
	} else {
		sid = strcmp(argv[1], "sid") == 0 ? value : 1;
		dev_conf.sids = &sid;
		dev_conf.nb_sids = 1;
		dev_conf.nb_pasids = strcmp(argv[1], "pasids") == 0 ? value :
			strcmp(argv[1], "pasid") == 0 ? 4 : 0;
		dev = iopf_dev_add(smmu, &dev_conf);
		refused = dev == NULL;
		if (dev != NULL) {
			domain = iopf_domain_create(&(struct iopf_domain_conf){
					.name = "none", .handler = refuse });
			refused = iopf_domain_attach(domain, dev, value) < 0;
			iopf_dev_remove(dev);
			iopf_domain_destroy(domain);
		}
	}
	iopf_iommu_close(smmu);
	rte_eal_cleanup();
	return refused;
}
END
libs=
for lib in lib/iopf lib/mmem lib/pgtable drivers/smmuv3_pmd drivers/smmuv3_model; do
	libs="$libs -L$build/$lib -Wl,-rpath,$build/$lib -Wl,-rpath-link,$build/$lib"
done
# shellcheck disable=SC2046,SC2086
if ! cc -std=gnu11 -D_GNU_SOURCE -O1 -o "$in/wrong" "$in/wrong.c" -I"$source/lib/iopf" \
		-I"$source/lib/mmem" -I"$source/lib/pgtable" $(pkg-config --cflags libdpdk) $libs \
		-Wl,--no-as-needed -liopf_smmuv3 -lsmmuv3_model -liopf_mmem -liopf_pgtable -liopf \
		$(pkg-config --libs libdpdk); then
	echo "the program for the libraries does not build"
	exit 1
fi
wrong "model=" "$in/wrong" open "smmuv3,model="
for string in "" nope nope,model=1 SMMUV3,model=1 smmuv3 smmuv3,model=a,bogus=1 \
		smmuv3,model smmuv3,model=a,model_sid_bits smmuv3,model=a,vfio=b,bogus; do
	wrong "$string" "$in/wrong" open "$string"
done
for value in 0 33 99 abc -1 1x 99999999999999999999 0x; do
	wrong "model_sid_bits=$value" "$in/wrong" open "smmuv3,model=a,model_sid_bits=$value"
done
wrong "model_evtq=20" "$in/wrong" open "smmuv3,model=a,model_evtq=20"
wrong "model_stall_max=65536" "$in/wrong" open "smmuv3,model=a,model_stall_max=65536"
wrong "close=never" "$in/wrong" open "smmuv3,model=a,close=never"
wrong "nope.smmuv3" "$in/wrong" open "smmuv3,vfio=nope.smmuv3"
wrong "256" "$in/wrong" sid 256
wrong "4294967295" "$in/wrong" sid 4294967295
wrong "17" "$in/wrong" pasids 17
wrong "PASID 4" "$in/wrong" pasid 4
wrong "100" "$in/wrong" evtq 100
wrong "128" "$in/wrong" evtq 128
wrong "3" "$in/wrong" cmdq 3
wrong "2097152" "$in/wrong" cmdq 2097152
wrong "pool" "$in/wrong" pool 4097
wrong "$in/missing" "$in/wrong" file "$in/missing"
wrong "$in/folder" "$in/wrong" file "$in/folder"

echo "$nb wrong inputs, $failed not refused correctly"
[ $failed -eq 0 ]
