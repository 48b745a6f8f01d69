/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "packet.h"

/*
 * Multiplication carries each bit up and the shift brings it down, so that the order of words
 * matters too.
 */
static uint64_t
mix_word(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return sum ^ sum >> 32;
}

static uint64_t
compute_sum(const struct packet *packet, uint32_t len)
{
	const char *bytes = (const char *)packet;
	uint64_t sum = len, word;
	uint32_t i, n;

	for (i = sizeof(packet->sum); i < len; i += n) {
		n = RTE_MIN(len - i, sizeof(word));
		word = 0;
		memcpy(&word, bytes + i, n);
		sum = mix_word(sum, word);
	}
	return sum;
}

void
packet_make(struct packet *packet, uint32_t len, uint64_t seq)
{
	char *bytes = (char *)packet;
	uint64_t word = seq;
	uint32_t i, n;

	for (i = sizeof(*packet); i < len; i += n) {
		n = RTE_MIN(len - i, sizeof(word));
		word = mix_word(word, i);
		memcpy(bytes + i, &word, n);
	}
	packet->seq = seq;
	packet->stamp = rte_rdtsc();
	packet->turned = 0;
	packet->sum = compute_sum(packet, len);
}

void
packet_mark_turned(struct packet *packet, uint32_t len)
{
	packet->turned++;
	packet->sum = compute_sum(packet, len);
}

bool
packet_is_valid(const struct packet *packet, uint32_t len, uint64_t turned)
{
	return packet->turned == turned && packet->sum == compute_sum(packet, len);
}
