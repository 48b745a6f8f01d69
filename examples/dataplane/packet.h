/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <stdint.h>

/* What the device makes, and both sides check. Bytes that follow depend on seq alone. */
struct packet {
	uint64_t sum;		/* of all that follows, header too */
	uint64_t seq;
	uint64_t stamp;		/* rte_rdtsc() when it reached the device */
	uint64_t turned;	/* 1: the CPU had it, and sends it back */
};

#define PACKET_MIN 64
#define PACKET_MAX 9216

void packet_make(struct packet *packet, uint32_t len, uint64_t seq);
void packet_mark_turned(struct packet *packet, uint32_t len);

/* The sum is right, and it was turned as often as it should be. */
bool packet_is_valid(const struct packet *packet, uint32_t len, uint64_t turned);

#endif /* PACKET_H */
