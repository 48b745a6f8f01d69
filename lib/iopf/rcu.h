/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_RCU_H
#define IOPF_RCU_H

/*
 * liburcu's memb flavour; only rcu.c includes it. A thread is registered at its first read section
 * and unregistered when it ends. memb and not qsbr: a thread that stops polling must not block a
 * detach.
 */

void iopf_rcu_read_lock(void);
void iopf_rcu_read_unlock(void);

/* Wait for the end of every read section that has begun. Not from inside one. */
void iopf_rcu_synchronize(void);

#endif /* IOPF_RCU_H */
