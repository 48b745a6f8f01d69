/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef NBD_CLIENT_H
#define NBD_CLIENT_H

/*
 * The kernel's client of network block devices, /dev/nbd0, through generic netlink: unlike the
 * ioctls, it takes a new connection while the device is open. The server speaks the old handshake
 * ("nbdkit --oldstyle").
 */

/*
 * Connect to the server at a Unix socket. A request waits so many seconds for a new connection
 * while the server is gone, and then fails. Returns 0 or -errno.
 */
int nbd_connect(const char *path, unsigned int wait_s);
/* Give the device a connection in the place of one that is dead. */
int nbd_reconnect(const char *path);
int nbd_disconnect(void);

#endif /* NBD_CLIENT_H */
