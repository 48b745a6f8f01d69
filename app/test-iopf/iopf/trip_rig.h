/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TRIP_RIG_H
#define TRIP_RIG_H

/*
 * A domain with a stall breaker, on an IOMMU made of arrays: domain 0 of control_rig.h. trip_open()
 * puts as many stalls as the breaker allows, and then three more.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control_rig.h"
#include "iopf_policy.h"

#define LIMIT	4		/* of both breakers */
#define ADDR	UINT64_C(0x1000)

/* Calls of the callback of the breaker. */
struct trip_calls {
	_Atomic unsigned int times;
	_Atomic int ret;		/* of a control call in the callback */
	_Atomic bool hold;		/* it does not return while set */
	bool rearm;			/* it re-arms the domain */
	struct iopf_episode episode;	/* of the last call */
};

extern struct trip_calls tripped;
extern const struct iopf_storm_conf trip_by_number, trip_by_rate;

int trip_setup(void **state);
int trip_teardown(void **state);
void trip_open(const struct iopf_storm_conf *storm);
void trip_poll_all(void);
/* A record of this StreamID, PASID, STAG and flags. */
void trip_put(uint32_t sid, uint32_t pasid, uint16_t token, uint8_t flags);
/* n stalls of device 0, with the STAGs @p from and up. */
void trip_put_stalls(unsigned int from, unsigned int n);
/* Poll until the word has the value. */
void trip_await(_Atomic bool *word, bool value);
/* Poll until the trip has ended: accesses stall again, and the next stall is served. */
void trip_await_end(void);
/* Poll until the callback has been called so often. */
void trip_await_calls(unsigned int times);
int trip_read_episode(struct iopf_episode *episode);
bool trip_is_tripped(void);
int trip_rearm(struct iopf_episode *episode);
/* A stall is served by the handler of this device. */
void trip_expect_served(unsigned int dev);
/* The first fault of the episode is the first stall of trip_open(). */
void trip_expect_first(const struct iopf_episode *episode);

#define TRIP_TEST(fn) cmocka_unit_test_setup_teardown(fn, trip_setup, trip_teardown)

#endif /* TRIP_RIG_H */
