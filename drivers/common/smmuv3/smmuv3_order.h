/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ORDER_H
#define SMMUV3_ORDER_H

/**
 * @file
 * Registers, and the order between a register and the memory it speaks of.
 *
 * Four accesses carry the whole queue protocol [3.5.2, 3.5.3]. Each side uses
 * the one that names what it needs; the other side's pairs with it.
 *
 *	smmuv3_load_prod()	consumer: entries are read after PROD
 *	smmuv3_store_cons()	consumer: CONS is written after the entries were read
 *	smmuv3_store_prod()	producer: entries are visible before PROD
 *	smmuv3_load_status()	either: a status word (CONS, GERROR, an ACK, an MSI
 *				word) is read before what it covers
 *
 * load_prod acquires what store_prod released; a producer's load_status of CONS
 * acquires what store_cons released (the slot may be written again).
 *
 * The same code runs against a mapped device and against a software SMMU in
 * another thread. For the thread, C11 acquire and release are the argument. A
 * device is an observer in the outer shareable domain, and its registers are
 * Device memory: there arm64 needs DMB OSHLD after a load (it orders loads and
 * later stores too, which is what the CONS write needs and a store barrier does
 * not give) and DMB OSHST before a PROD store. x86 orders all of these by
 * itself, so only the compiler is held back.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint32_t smmuv3_reg32_t;
typedef _Atomic uint64_t smmuv3_reg64_t;

#if defined(__aarch64__)
#define smmuv3_io_rmb()	__asm__ volatile("dmb oshld" ::: "memory")
#define smmuv3_io_wmb()	__asm__ volatile("dmb oshst" ::: "memory")
#define smmuv3_io_mb()	__asm__ volatile("dmb osh" ::: "memory")
#elif defined(__x86_64__)
#define smmuv3_io_rmb()	__asm__ volatile("" ::: "memory")
#define smmuv3_io_wmb()	__asm__ volatile("" ::: "memory")
#define smmuv3_io_mb()	__asm__ volatile("lock; addl $0, -64(%%rsp)" ::: "memory", "cc")
#else
#define smmuv3_io_rmb()	atomic_thread_fence(memory_order_seq_cst)
#define smmuv3_io_wmb()	atomic_thread_fence(memory_order_seq_cst)
#define smmuv3_io_mb()	atomic_thread_fence(memory_order_seq_cst)
#endif

/*
 * A test build is told of barriers and of structure words too, for x86 never shows that one
 * is missing.
 */
#ifdef SMMUV3_ORDER_LOG
#define SMMUV3_ACCESS_LOG
enum smmuv3_order_event {
	SMMUV3_ORDER_MB,
	SMMUV3_ORDER_WMB,
	SMMUV3_ORDER_RMB,
	SMMUV3_ORDER_DW,
};
void smmuv3_order_log(enum smmuv3_order_event event, const uint64_t *dw);
#undef smmuv3_io_mb
#undef smmuv3_io_wmb
#undef smmuv3_io_rmb
#define smmuv3_io_mb()	\
	(atomic_thread_fence(memory_order_seq_cst), smmuv3_order_log(SMMUV3_ORDER_MB, NULL))
#define smmuv3_io_wmb()	\
	(atomic_thread_fence(memory_order_seq_cst), smmuv3_order_log(SMMUV3_ORDER_WMB, NULL))
#define smmuv3_io_rmb()	\
	(atomic_thread_fence(memory_order_seq_cst), smmuv3_order_log(SMMUV3_ORDER_RMB, NULL))
#else
#define SMMUV3_ORDER_DW	0
#define smmuv3_order_log(event, dw)	((void)(dw))
#endif

/* A hint: the line is about to be written. */
static inline void
smmuv3_prefetch_write(const void *p)
{
#if defined(__x86_64__)
	/* __builtin_prefetch() does not write unless told of the processor. */
	__asm__ volatile("prefetchw %0" : : "m" (*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * A test build is told of each register access of the driver: a page of passive
 * memory cannot see the size of an access or a value that stood only briefly.
 */
#ifdef SMMUV3_ACCESS_LOG
void smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write,
		uint64_t value);
#else
static inline void
smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write, uint64_t value)
{
	(void)regs;
	(void)offset;
	(void)size;
	(void)write;
	(void)value;
}
#endif

static inline smmuv3_reg32_t *
smmuv3_reg32(void *regs, uint32_t offset)
{
	return (smmuv3_reg32_t *)(void *)((uint8_t *)regs + offset);
}

static inline smmuv3_reg64_t *
smmuv3_reg64(void *regs, uint32_t offset)
{
	return (smmuv3_reg64_t *)(void *)((uint8_t *)regs + offset);
}

/* Plain accesses, for what needs no order: configuration while the SMMU is off. */
static inline uint32_t
smmuv3_read32(void *regs, uint32_t offset)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(regs, offset), memory_order_relaxed);

	smmuv3_access_log(regs, offset, 4, 0, v);
	return v;
}

static inline void
smmuv3_write32(void *regs, uint32_t offset, uint32_t v)
{
	smmuv3_access_log(regs, offset, 4, 1, v);
	atomic_store_explicit(smmuv3_reg32(regs, offset), v, memory_order_relaxed);
}

static inline void
smmuv3_write64(void *regs, uint32_t offset, uint64_t v)
{
	smmuv3_access_log(regs, offset, 8, 1, v);
	atomic_store_explicit(smmuv3_reg64(regs, offset), v, memory_order_relaxed);
}

/* Entries up to the value returned may be read. */
static inline uint32_t
smmuv3_load_prod(void *regs, uint32_t offset)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(regs, offset), memory_order_acquire);

	smmuv3_io_rmb();
	smmuv3_access_log(regs, offset, 4, 0, v);
	return v;
}

/* The producer may overwrite what was read before this. */
static inline void
smmuv3_store_cons(void *regs, uint32_t offset, uint32_t v)
{
	smmuv3_access_log(regs, offset, 4, 1, v);
	smmuv3_io_rmb();
	atomic_store_explicit(smmuv3_reg32(regs, offset), v, memory_order_release);
}

/* All that was written before is visible to whoever sees this value. */
static inline void
smmuv3_store_prod(void *regs, uint32_t offset, uint32_t v)
{
	smmuv3_access_log(regs, offset, 4, 1, v);
	smmuv3_io_wmb();
	atomic_store_explicit(smmuv3_reg32(regs, offset), v, memory_order_release);
}

/* What the status speaks of is read after it. */
static inline uint32_t
smmuv3_load_status(void *regs, uint32_t offset)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(regs, offset), memory_order_acquire);

	smmuv3_io_rmb();
	smmuv3_access_log(regs, offset, 4, 0, v);
	return v;
}

/* The same for a word in memory that the other side writes: an MSI word. */
static inline uint32_t
smmuv3_load_word(const smmuv3_reg32_t *word)
{
	uint32_t v = atomic_load_explicit(word, memory_order_acquire);

	smmuv3_io_rmb();
	return v;
}

/*
 * Words of a structure that the SMMU may fetch at any time: an STE, a CD, a
 * table pointer. One aligned 64-bit store each; order between them is made with
 * smmuv3_io_wmb() or a CFGI and SYNC.
 */
static inline uint64_t
smmuv3_get_dw(const uint64_t *dw)
{
	return atomic_load_explicit((const smmuv3_reg64_t *)(const void *)dw,
			memory_order_relaxed);
}

static inline void
smmuv3_set_dw(uint64_t *dw, uint64_t v)
{
	smmuv3_order_log(SMMUV3_ORDER_DW, dw);
	atomic_store_explicit((smmuv3_reg64_t *)(void *)dw, v, memory_order_relaxed);
}

#endif /* SMMUV3_ORDER_H */
