/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CMDQ_COUNT_H
#define CMDQ_COUNT_H

/*
 * Included before everything else in a second build of the three queues, the driver's sources
 * among them: it counts their atomic read-modify-writes and full barriers, and renames their
 * functions. The measured build is without it.
 */

#include <stdatomic.h>
#include <stdint.h>

#include <smmuv3_order.h>

extern _Thread_local uint64_t cmdq_nb_rmws, cmdq_nb_barriers;

#define COUNT_OPS(name, type)								\
	static inline type								\
	count_exchange_ ## name(_Atomic type *p, type v, memory_order o)		\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_exchange_explicit(p, v, o);				\
	}										\
	static inline _Bool								\
	count_cas_ ## name(_Atomic type *p, type *old, type v, memory_order o, memory_order f) \
	{										\
		cmdq_nb_rmws++;								\
		return atomic_compare_exchange_strong_explicit(p, old, v, o, f);	\
	}										\
	static inline type								\
	count_add_ ## name(_Atomic type *p, type v, memory_order o)			\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_fetch_add_explicit(p, v, o);				\
	}										\
	static inline type								\
	count_sub_ ## name(_Atomic type *p, type v, memory_order o)			\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_fetch_sub_explicit(p, v, o);				\
	}										\
	static inline type								\
	count_and_ ## name(_Atomic type *p, type v, memory_order o)			\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_fetch_and_explicit(p, v, o);				\
	}										\
	static inline type								\
	count_or_ ## name(_Atomic type *p, type v, memory_order o)			\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_fetch_or_explicit(p, v, o);				\
	}										\
	static inline type								\
	count_xor_ ## name(_Atomic type *p, type v, memory_order o)			\
	{										\
		cmdq_nb_rmws++;								\
		return atomic_fetch_xor_explicit(p, v, o);				\
	}

COUNT_OPS(u32, uint32_t)
COUNT_OPS(i32, int32_t)
COUNT_OPS(u64, uint64_t)

static inline void
count_io_mb(void)
{
	cmdq_nb_barriers++;
	smmuv3_io_mb();
}

#define COUNT_BY_TYPE(op, p) _Generic((p), _Atomic uint32_t *: op ## _u32,	\
	_Atomic int32_t *: op ## _i32, _Atomic uint64_t *: op ## _u64)

#undef atomic_exchange_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_and_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_xor_explicit
#undef smmuv3_io_mb
#define atomic_exchange_explicit(p, v, o) COUNT_BY_TYPE(count_exchange, p)(p, v, o)
#define atomic_compare_exchange_weak_explicit(p, old, v, o, f)	\
	COUNT_BY_TYPE(count_cas, p)(p, old, v, o, f)
#define atomic_compare_exchange_strong_explicit(p, old, v, o, f)	\
	COUNT_BY_TYPE(count_cas, p)(p, old, v, o, f)
#define atomic_fetch_add_explicit(p, v, o) COUNT_BY_TYPE(count_add, p)(p, v, o)
#define atomic_fetch_sub_explicit(p, v, o) COUNT_BY_TYPE(count_sub, p)(p, v, o)
#define atomic_fetch_and_explicit(p, v, o) COUNT_BY_TYPE(count_and, p)(p, v, o)
#define atomic_fetch_or_explicit(p, v, o) COUNT_BY_TYPE(count_or, p)(p, v, o)
#define atomic_fetch_xor_explicit(p, v, o) COUNT_BY_TYPE(count_xor, p)(p, v, o)
#define smmuv3_io_mb() count_io_mb()

#define cmdq_driver counted_cmdq_driver
#define cmdq_spinlock counted_cmdq_spinlock
#define cmdq_gather counted_cmdq_gather

#define smmuv3_cmdq_open counted_smmuv3_cmdq_open
#define smmuv3_cmdq_set_ring counted_smmuv3_cmdq_set_ring
#define smmuv3_cmdq_close counted_smmuv3_cmdq_close
#define smmuv3_cmdq_setup counted_smmuv3_cmdq_setup
#define smmuv3_cmdq_drop_resumes counted_smmuv3_cmdq_drop_resumes
#define smmuv3_cmdq_drain counted_smmuv3_cmdq_drain
#define smmuv3_cmdq_wait_own counted_smmuv3_cmdq_wait_own
#define smmuv3_cmdq_load_cons counted_smmuv3_cmdq_load_cons
#define smmuv3_cmdq_post counted_smmuv3_cmdq_post
#define smmuv3_cmdq_try_flush counted_smmuv3_cmdq_try_flush
#define smmuv3_cmdq_disown counted_smmuv3_cmdq_disown
#define smmuv3_cmdq_flush_backlog counted_smmuv3_cmdq_flush_backlog
#define smmuv3_cmdq_drop_held counted_smmuv3_cmdq_drop_held
#define smmuv3_cmdq_release_held counted_smmuv3_cmdq_release_held
#define smmuv3_cmdq_sync counted_smmuv3_cmdq_sync
#define smmuv3_cmdq_put_sync counted_smmuv3_cmdq_put_sync
#define smmuv3_cmdq_is_stuck counted_smmuv3_cmdq_is_stuck
#define smmuv3_cmdq_handle_error counted_smmuv3_cmdq_handle_error
#define smmuv3_cmdq_record_error counted_smmuv3_cmdq_record_error

#endif /* CMDQ_COUNT_H */
