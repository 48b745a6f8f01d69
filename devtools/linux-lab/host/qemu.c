/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Controls QEMU. Its qtest socket works while a processor runs and sets the GIC's input lines,
 * which carry the model's wired interrupts to the guest. QMP gives the GIC's name, starts the
 * guest, and closes when QEMU ends.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host.h"

#define CONNECT_SECONDS	60

/* The SPIs of the device tree in row.sh. */
static const unsigned int spi[SMMUV3_MODEL_NB_IRQS] = {
	[SMMUV3_MODEL_IRQ_EVTQ] = 0x4a,
	[SMMUV3_MODEL_IRQ_PRIQ] = 0x4b,
	[SMMUV3_MODEL_IRQ_CMD_SYNC] = 0x4c,
	[SMMUV3_MODEL_IRQ_GERROR] = 0x4d,
};
static unsigned long nb_irqs[SMMUV3_MODEL_NB_IRQS];
static char gic[128];
static int qtest = -1;
static pthread_t irq_thread;

static int
connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), ret = -1;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		fprintf(stderr, "host: the path of a socket is too long: %s\n", path);
		return -1;
	}
	strcpy(addr.sun_path, path);
	/* QEMU's socket file exists before QEMU listens on it. */
	while (fd >= 0 && (ret = connect(fd, (struct sockaddr *)&addr, sizeof(addr))) < 0 &&
			errno == ECONNREFUSED && lab_now() < CONNECT_SECONDS)
		usleep(10000);
	if (fd < 0 || ret < 0) {
		fprintf(stderr, "host: cannot connect to %s: %s\n", path, strerror(errno));
		return -1;
	}
	return fd;
}

/* Read lines until one contains want. */
static bool
read_until(int fd, char *buf, size_t size, const char *want)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		buf[len] = '\0';
		if (buf[len - 1] == '\n' && strstr(buf, want) != NULL)
			return true;
	}
	return false;
}

static bool
send_text(int fd, const char *text)
{
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* The GIC has no name: it is the device[N] of type arm-gicv3. */
static bool
find_gic(char *list)
{
	char *type = strstr(list, "child<arm-gicv3>"), *name, *end;

	if (type == NULL)
		return false;
	for (name = type; name > list && *name != '{'; name--)
		;
	name = strstr(name, "device[");
	end = name != NULL ? strchr(name, '"') : NULL;
	if (end == NULL)
		return false;
	snprintf(gic, sizeof(gic), "/machine/unattached/%.*s", (int)(end - name), name);
	return true;
}

bool
lab_qemu_connect(struct lab_host *h, const char *qtest_path, const char *qmp_path)
{
	static char buf[1 << 16];

	h->qmp = connect_to(qmp_path);
	qtest = connect_to(qtest_path);
	if (h->qmp < 0 || qtest < 0)
		return false;
	if (!read_until(h->qmp, buf, sizeof(buf), "QMP") ||
			!send_text(h->qmp, "{\"execute\":\"qmp_capabilities\"}\n") ||
			!read_until(h->qmp, buf, sizeof(buf), "return") ||
			!send_text(h->qmp, "{\"execute\":\"qom-list\","
				"\"arguments\":{\"path\":\"/machine/unattached\"}}\n") ||
			!read_until(h->qmp, buf, sizeof(buf), "return") || !find_gic(buf)) {
		fprintf(stderr, "host: QEMU reports no GIC\n");
		return false;
	}
	return true;
}

bool
lab_qemu_run(struct lab_host *h)
{
	return send_text(h->qmp, "{\"execute\":\"cont\"}\n");
}

/* Events of QMP are ignored; its end means that QEMU has ended. */
bool
lab_qemu_ended(struct lab_host *h)
{
	char junk[512];

	return recv(h->qmp, junk, sizeof(junk), MSG_DONTWAIT) == 0;
}

void
lab_qemu_quit(struct lab_host *h)
{
	if (!send_text(h->qmp, "{\"execute\":\"quit\"}\n"))
		lab_say("QEMU has ended already\n");
}

static bool
set_line(unsigned int irq, unsigned int level)
{
	char text[256];

	snprintf(text, sizeof(text), "set_irq_in %s unnamed-gpio-in %u %u\n", gic, spi[irq], level);
	return send_text(qtest, text) && read(qtest, text, sizeof(text)) > 0;
}

static void *
irq_main(void *arg)
{
	struct lab_host *h = arg;
	struct pollfd fds[SMMUV3_MODEL_NB_IRQS];
	uint64_t edges;
	unsigned int i;

	for (i = 0; i < SMMUV3_MODEL_NB_IRQS; i++) {
		fds[i] = (struct pollfd){ .fd = eventfd(0, EFD_NONBLOCK), .events = POLLIN };
		lab_smmu_set_irq(h, i, fds[i].fd);
	}
	while (!atomic_load(&h->stop)) {
		poll(fds, SMMUV3_MODEL_NB_IRQS, 100);
		for (i = 0; i < SMMUV3_MODEL_NB_IRQS; i++) {
			if (!(fds[i].revents & POLLIN) ||
					read(fds[i].fd, &edges, sizeof(edges)) != sizeof(edges))
				continue;
			nb_irqs[i] += edges;
			if (!set_line(i, 1) || !set_line(i, 0))
				atomic_store(&h->stop, true);
		}
	}
	for (i = 0; i < SMMUV3_MODEL_NB_IRQS; i++) {
		lab_smmu_set_irq(h, i, -1);
		close(fds[i].fd);
	}
	return NULL;
}

void
lab_irqs_start(struct lab_host *h)
{
	pthread_create(&irq_thread, NULL, irq_main, h);
}

void
lab_irqs_stop(struct lab_host *h)
{
	atomic_store(&h->stop, true);
	pthread_join(irq_thread, NULL);
}

void
lab_irqs_print(void)
{
	printf("  wired interrupts: event queue %lu, PRIQ %lu, CMD_SYNC %lu, GERROR %lu\n",
		nb_irqs[SMMUV3_MODEL_IRQ_EVTQ], nb_irqs[SMMUV3_MODEL_IRQ_PRIQ],
		nb_irqs[SMMUV3_MODEL_IRQ_CMD_SYNC], nb_irqs[SMMUV3_MODEL_IRQ_GERROR]);
}
