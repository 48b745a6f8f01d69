/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include <rte_cycles.h>

#include "machine.h"

int
machine_open(struct machine *m, struct outcome *out, size_t size)
{
	const struct setup *setup = &out->setup;
	struct accel_device *devices[ACCEL_MAX_DEVICES] = { 0 };
	unsigned int i, j;

	memset(m, 0, sizeof(*m));
	m->out = out;
	out->data = size;
	m->accel = accel_create(&(struct accel_conf){ .size = size, .pri = setup->pri,
			.no_httu = setup->no_httu,
			.budget = setup->copies ? 0 : setup->budget });
	for (i = 0; i < setup->nb_devices; i++)
		devices[i] = accel_open(m->accel);
	for (j = 0; j < setup->nb_queues; j++) {
		for (i = 0; i < setup->nb_devices; i++) {
			m->queues[m->nb_queues] = accel_queue_create(devices[i]);
			if (m->queues[m->nb_queues++] == NULL)
				return -1;
		}
	}
	return 0;
}

int
machine_prefetch(struct machine *m, void *ptr, size_t size)
{
	return m->out->setup.prefetch ? accel_prefetch(m->queues[0], ptr, size) : 0;
}

int
machine_start(struct machine *m)
{
	int ret = accel_wait(m->queues[0]);

	m->begin = rte_rdtsc();
	return ret;
}

int
machine_finish(struct machine *m)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < m->nb_queues; i++) {
		if (accel_wait(m->queues[i]) < 0)
			ret = -1;
	}
	m->out->seconds = (double)(rte_rdtsc() - m->begin) / rte_get_tsc_hz();
	if (ret == 0)
		accel_get_figures(m->accel, &m->out->figures);
	return ret;
}

void
machine_close(struct machine *m)
{
	accel_destroy(m->accel);
}
