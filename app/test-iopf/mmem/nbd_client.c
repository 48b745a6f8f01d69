/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_byteorder.h>

#include "nbd_client.h"

#define INDEX		0
#define BLOCK_SIZE	4096

struct message {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	uint8_t attrs[256];
};

/* The old handshake; its numbers are big-endian. */
struct handshake {
	uint8_t magic[16];
	uint64_t size;
	uint32_t flags;
	uint8_t zero[124];
} __attribute__((packed));

static void *
add_attr(struct message *m, uint16_t type, const void *data, size_t len)
{
	struct nlattr *attr = (void *)((uint8_t *)m + m->head.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	if (len != 0)
		memcpy((uint8_t *)attr + NLA_HDRLEN, data, len);
	m->head.nlmsg_len += NLA_ALIGN(attr->nla_len);
	return attr;
}

static void
init_message(struct message *m, uint16_t family, uint8_t command)
{
	memset(m, 0, sizeof(*m));
	m->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->head.nlmsg_type = family;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	m->genl.cmd = command;
	m->genl.version = 1;
}

/* Send it and receive one answer. Returns its length, or -errno, also of the kernel. */
static int
exchange(int fd, const struct message *m, void *answer, size_t size)
{
	const struct nlmsghdr *head = answer;
	ssize_t n;

	if (send(fd, m, m->head.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, answer, size, 0);
	if (n < 0)
		return -errno;
	if (head->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
	return n;
}

/* The number of the family "nbd", or -errno. */
static int
find_family(int fd)
{
	uint8_t answer[4096] __attribute__((aligned(8)));
	const struct nlattr *attr;
	struct message m;
	uint16_t id;
	int n, at;

	init_message(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	m.head.nlmsg_flags = NLM_F_REQUEST;
	add_attr(&m, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof(NBD_GENL_FAMILY_NAME));
	n = exchange(fd, &m, answer, sizeof(answer));
	for (at = NLMSG_LENGTH(GENL_HDRLEN); at < n; at += NLA_ALIGN(attr->nla_len)) {
		attr = (const void *)(answer + at);
		memcpy(&id, (const uint8_t *)attr + NLA_HDRLEN, sizeof(id));
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return id;
	}
	return n < 0 ? n : -ENOENT;
}

/* Returns the socket after the handshake, or -errno. */
static int
open_server(const char *path, struct handshake *hello)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
			recv(fd, hello, sizeof(*hello), MSG_WAITALL) == sizeof(*hello) &&
			memcmp(hello->magic, "NBDMAGIC", 8) == 0)
		return fd;
	close(fd);
	return -ECONNREFUSED;
}

static void
add_socket(struct message *m, int fd)
{
	struct nlattr *list, *item;
	uint32_t value = fd;

	list = add_attr(m, NBD_ATTR_SOCKETS | NLA_F_NESTED, NULL, 0);
	item = add_attr(m, NBD_SOCK_ITEM | NLA_F_NESTED, NULL, 0);
	add_attr(m, NBD_SOCK_FD, &value, sizeof(value));
	item->nla_len = (uint8_t *)m + m->head.nlmsg_len - (uint8_t *)item;
	list->nla_len = (uint8_t *)m + m->head.nlmsg_len - (uint8_t *)list;
}

/* @p path NULL: without a connection. */
static int
run_command(uint8_t command, const char *path, unsigned int wait_s)
{
	uint8_t answer[4096] __attribute__((aligned(8)));
	uint64_t size, block = BLOCK_SIZE, wait = wait_s, flags;
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	struct handshake hello;
	uint32_t index = INDEX;
	struct message m;
	int fd, rc, server = -1;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return -errno;
	rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : find_family(fd);
	if (rc > 0) {
		init_message(&m, rc, command);
		add_attr(&m, NBD_ATTR_INDEX, &index, sizeof(index));
		rc = 0;
	}
	if (rc == 0 && path != NULL) {
		server = rc = open_server(path, &hello);
		size = rte_be_to_cpu_64(hello.size);
		/* nbdkit refuses flushes and zeroes after an old handshake, which offers them. */
		flags = NBD_FLAG_HAS_FLAGS;
		add_attr(&m, NBD_ATTR_SIZE_BYTES, &size, sizeof(size));
		add_attr(&m, NBD_ATTR_BLOCK_SIZE_BYTES, &block, sizeof(block));
		add_attr(&m, NBD_ATTR_SERVER_FLAGS, &flags, sizeof(flags));
		add_attr(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, &wait, sizeof(wait));
		add_socket(&m, server);
	}
	if (rc >= 0)
		rc = exchange(fd, &m, answer, sizeof(answer));
	/* The kernel has its own reference. */
	if (server >= 0)
		close(server);
	close(fd);
	return rc < 0 ? rc : 0;
}

int
nbd_connect(const char *path, unsigned int wait_s)
{
	return run_command(NBD_CMD_CONNECT, path, wait_s);
}

int
nbd_reconnect(const char *path)
{
	return run_command(NBD_CMD_RECONFIGURE, path, 1);
}

int
nbd_disconnect(void)
{
	return run_command(NBD_CMD_DISCONNECT, NULL, 0);
}
