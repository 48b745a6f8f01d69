#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# row.sh OUT HOST TESTS [HOST-OPTIONS [MACHINE-OPTIONS [KERNEL-ARGUMENTS]]]: one boot of
# the Linux lab. Reads Image and initramfs.gz in OUT, writes console, host and qemu there.
# Machine options: no_stall (in the device tree), no_coherent, pasid=BITS, pci, cpu=MODEL, smp=N,
# icount (each instruction takes one tick of the guest's counter).
set -u

out=$1 host=$2 tests=$3 machine=${5-} arguments=${6-}
read -ra host_options <<<"${4-}"
# Far above the half minute of a row; QEMU and the host end themselves.
limit=240

stall='dma-can-stall;' coherent='dma-coherent;' pasid=10 pci='' cpu=cortex-a57 smp=2 icount=()
for option in $machine; do
	case "$option" in
	no_stall) stall= ;;
	no_coherent) coherent= ;;
	pasid=*) pasid=${option#*=} ;;
	pci) pci=1 ;;
	cpu=*) cpu=${option#*=} ;;
	smp=*) smp=${option#*=} ;;
	# The counter has 62.5 MHz.
	icount) icount=(-icount "shift=4,sleep=off") ;;
	*)
		echo "row.sh: unknown machine option $option" >&2
		exit 2
		;;
	esac
done

# Socket paths must be short.
run=$(mktemp -d)
ram=/dev/shm/${run##*/}
trap 'rm -rf "$run" "$ram"' EXIT

# Adds to QEMU's devices: the SMMU in reserved RAM, the mailbox, two endpoints.
overlay() {
	cat <<-EOF
		/dts-v1/;
		/plugin/;
		/ {
			fragment@0 {
				target-path = "/";
				__overlay__ {
					reserved-memory {
						#address-cells = <2>;
						#size-cells = <2>;
						ranges;
						smmu@7f000000 { reg = <0 0x7f000000 0 0x20000>; no-map; };
						mailbox@7e000000 { reg = <0 0x7e000000 0 0x10000>; no-map; };
					};
					smmu: smmu@7f000000 {
						compatible = "arm,smmu-v3";
						reg = <0 0x7f000000 0 0x20000>;
						interrupts = <0 0x4a 1>, <0 0x4b 1>, <0 0x4c 1>, <0 0x4d 1>;
						interrupt-names = "eventq", "priq", "cmdq-sync", "gerror";
						#iommu-cells = <1>;
						$coherent
					};
					endpoint0 {
						compatible = "iopf,smmulab";
						index = <0>;
						iommus = <&smmu 5>;
						pasid-num-bits = <$pasid>;
						dma-coherent;
						$stall
					};
					endpoint1 {
						compatible = "iopf,smmulab";
						index = <1>;
						iommus = <&smmu 0x203>;
						pasid-num-bits = <$pasid>;
						dma-coherent;
					};
				};
			};
	EOF
	[ -z "$pci" ] || cat <<-EOF
			fragment@1 {
				target-path = "/pcie@10000000";
				__overlay__ {
					iommu-map = <0 &smmu 0 0x10000>;
					ats-supported;
				};
			};
	EOF
	echo "};"
}

# A device for the test driver: it has ATS and does no DMA of its own.
devices=()
[ -z "$pci" ] || devices=(-device "pcie-root-port,id=lab-port,chassis=1,slot=1,romfile="
	-device "virtio-rng-pci,bus=lab-port,ats=on,iommu_platform=on,disable-legacy=on,romfile=")
qemu=(qemu-system-aarch64 -cpu "$cpu" -smp "$smp" -m 1G -nic none -no-reboot -display none
	-object "memory-backend-file,id=ram,size=1G,mem-path=$ram,share=on" "${devices[@]}")
virt=virt,gic-version=3,memory-backend=ram
if ! { "${qemu[@]}" -machine "$virt,dumpdtb=$run/base.dtb" &&
		overlay | dtc -q -I dts -O dtb -o "$run/lab.dtbo" - &&
		fdtoverlay -i "$run/base.dtb" -o "$run/lab.dtb" "$run/lab.dtbo"; } >"$run/log" 2>&1; then
	cat "$run/log" >&2
	echo "row.sh: cannot make the device tree, see above" >&2
	exit 2
fi
rm -f "$ram"

# Start the processors only after the SMMU is mapped.
timeout -k 5 $((limit + 30)) "${qemu[@]}" -machine "$virt" -dtb "$run/lab.dtb" -S "${icount[@]}" \
	-kernel "$out/Image" -initrd "$out/initramfs.gz" \
	-append "console=ttyAMA0 panic=-1 printk.devkmsg=on tests=$tests $arguments" \
	-serial "file:$out/console" -monitor none \
	-qtest "unix:$run/qtest,server=on,wait=off" -qtest-log /dev/null \
	-qmp "unix:$run/qmp,server=on,wait=off" >"$out/qemu" 2>&1 &
qemu_pid=$!
until [ -S "$run/qtest" ] && [ -S "$run/qmp" ]; do
	if ! kill -0 $qemu_pid 2>/dev/null; then
		cat "$out/qemu" >&2
		echo "row.sh: QEMU did not start, see above" >&2
		exit 2
	fi
	sleep 0.05
done
timeout -k 5 $((limit + 20)) "$host" "$ram" "$run/qtest" "$run/qmp" "limit=$limit" \
	"${host_options[@]}" >"$out/host" 2>&1
status=$?
# The host program makes QEMU quit; if it failed, kill QEMU.
[ $status -eq 0 ] || kill $qemu_pid 2>/dev/null
wait $qemu_pid
echo "host program ended with $status" >>"$out/host"
