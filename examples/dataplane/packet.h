/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <stdint.h>

/* The device makes it, and both sides check it. The following bytes depend on seq only. */
struct packet {
	uint64_t sum;		/* of the following fields and bytes */
	uint64_t seq;
	uint64_t stamp;		/* arrival at the device: rte_rdtsc() */
	uint64_t turned;	/* 1: the CPU received it and sends it back */
};

#define PACKET_MIN 64
#define PACKET_MAX 9216

void packet_make(struct packet *packet, uint32_t len, uint64_t seq);
void packet_mark_turned(struct packet *packet, uint32_t len);

/* The sum is right, and turned has the expected value. */
bool packet_is_valid(const struct packet *packet, uint32_t len, uint64_t turned);

#endif /* PACKET_H */
