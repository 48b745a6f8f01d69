/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ORDER_H
#define SMMUV3_ORDER_H

/**
 * @file
 * Registers, and the order between a register and the memory that it describes.
 *
 * Four accesses make up the queue protocol [3.5.2, 3.5.3]:
 *
 *	smmuv3_load_prod()	consumer: entries are read after PROD
 *	smmuv3_store_cons()	consumer: CONS is written after the entries were read
 *	smmuv3_store_prod()	producer: entries are visible before PROD
 *	smmuv3_load_status()	either: a status word (CONS, GERROR, an ACK, an MSI
 *				word) is read before the memory that it covers
 *
 * load_prod acquires what store_prod released. A producer's load_status of CONS
 * acquires what store_cons released: the entry may be written again.
 *
 * The same code runs against a mapped device and against a software SMMU in another
 * thread. For the thread, C11 acquire and release give the order. A device is an
 * observer in the outer shareable domain, and its registers are Device memory. For a
 * device arm64 needs DMB OSHLD after a load, which also orders later stores: the CONS
 * write needs this, and a store barrier does not give it. Before a PROD store arm64
 * needs DMB OSHST. x86 orders all of these accesses, so the macros only restrict the
 * compiler.
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
 * A test build also logs barriers and words of structures, because a missing barrier has no
 * effect on x86.
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

/* A hint: the caller will write the cache line soon. */
static inline void
smmuv3_prefetch_write(const void *p)
{
#if defined(__x86_64__)
	/* __builtin_prefetch() ignores the write hint unless -march names a processor with it. */
	__asm__ volatile("prefetchw %0" : : "m" (*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * A test build logs each register access of the driver. The passive register page of the model
 * does not show the size of an access or a value that was overwritten soon.
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

/* Accesses without order, for configuration while the SMMU is disabled. */
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

/* The caller may read the entries before the returned PROD. */
static inline uint32_t
smmuv3_load_prod(void *regs, uint32_t offset)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(regs, offset), memory_order_acquire);

	smmuv3_io_rmb();
	smmuv3_access_log(regs, offset, 4, 0, v);
	return v;
}

/* The producer may overwrite the entries that the caller has read. */
static inline void
smmuv3_store_cons(void *regs, uint32_t offset, uint32_t v)
{
	smmuv3_access_log(regs, offset, 4, 1, v);
	smmuv3_io_rmb();
	atomic_store_explicit(smmuv3_reg32(regs, offset), v, memory_order_release);
}

/* Earlier writes are visible to a consumer that reads this value. */
static inline void
smmuv3_store_prod(void *regs, uint32_t offset, uint32_t v)
{
	smmuv3_access_log(regs, offset, 4, 1, v);
	smmuv3_io_wmb();
	atomic_store_explicit(smmuv3_reg32(regs, offset), v, memory_order_release);
}

/* Later reads come after the read of the status. */
static inline uint32_t
smmuv3_load_status(void *regs, uint32_t offset)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(regs, offset), memory_order_acquire);

	smmuv3_io_rmb();
	smmuv3_access_log(regs, offset, 4, 0, v);
	return v;
}

/* The same for a word in memory that the SMMU writes: an MSI word. */
static inline uint32_t
smmuv3_load_word(const smmuv3_reg32_t *word)
{
	uint32_t v = atomic_load_explicit(word, memory_order_acquire);

	smmuv3_io_rmb();
	return v;
}

/*
 * Words of a structure that the SMMU may fetch at any time: an STE, a CD, a table pointer.
 * Each access is one aligned 64-bit access. smmuv3_io_wmb(), or a CFGI and SYNC, orders
 * stores of different words.
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
	/* Release: the software SMMU acquires it, before it reads what the word points at. */
	atomic_store_explicit((smmuv3_reg64_t *)(void *)dw, v, memory_order_release);
}

#endif /* SMMUV3_ORDER_H */
