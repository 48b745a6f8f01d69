#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
# shellcheck shell=dash
#
# nbd.sh COMMAND: the server of the guest's network block device: nbdkit, at a Unix socket. The suite
# mmem_nbd runs it (IOPF_LAB_NBD), and connects /dev/nbd0 to it.
#	begin [DELAY]	start it with a new image, to delay each request by DELAY milliseconds
#	start [DELAY]	start it again, with the same image
#	stop		stop it: the device is gone
#	fail, heal	each request fails, or works again
#	mkfs, umount	make a file system on the device and mount it on /mnt; unmount it
set -eu

socket=/tmp/nbd.socket image=/tmp/nbd.img fails=/tmp/nbd.fails

start() {
	rm -f "$socket"
	nbdkit --oldstyle --unix "$socket" --pidfile /tmp/nbd.pid --filter=error --filter=delay \
		file "$image" error=EIO error-rate=100% error-file="$fails" \
		rdelay="${1:-0}ms" wdelay="${1:-0}ms"
}

case "$1" in
begin)
	rm -f "$fails" "$image"
	truncate -s 192M "$image"
	start "${2:-0}"
	;;
start) start "${2:-0}" ;;
stop) kill -9 "$(cat /tmp/nbd.pid)" ;;
fail) : >"$fails" ;;
heal) rm -f "$fails" ;;
mkfs)
	# With a journal, ext4 would stop if it writes it while the device is gone.
	/usr/bin/mke2fs -q -F -t ext4 -O ^has_journal /dev/nbd0
	mkdir -p /mnt
	mount -t ext4 -o noatime /dev/nbd0 /mnt
	;;
umount) umount /mnt ;;
*)
	echo "nbd.sh: unknown command $1" >&2
	exit 2
	;;
esac
