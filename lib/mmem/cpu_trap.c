/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The CPU's view watched without userfaultfd: units that the view does not map are PROT_NONE, and a
 * handler of SIGSEGV takes the place of the kernel.
 *
 *	accessing thread	SIGSEGV: reads the turn of the address, sends a message, and waits
 *				until the turn changes; then it repeats the access
 *	service thread		reads the message, allows the access with mprotect(), and changes
 *				the turn
 *
 * The turn is read before the message is sent, so a change that comes at any time after it is seen.
 * Chunks share turns: a thread that continues too early finds no access, and sends its message
 * again.
 *
 * The handler is the process's. It passes other faults on to the handler that was there before. It
 * calls only write(2) and futex(2), and keeps errno. An access of the kernel, in a system call,
 * raises no signal: the system call returns EFAULT.
 *
 * Each change of protection may split a mapping of the kernel, and a process has a limited number
 * of them (vm.max_map_count). At the limit all units become PROT_NONE again, which joins them.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_cpu_view.h"

#define MAX_TRAPS	16
#define NB_TURNS	64
/* A thread repeats its access after this time in any case. */
#define WAIT_S		1

/* Read by the handler at any time, so it is never freed. len 0: it traps nothing. */
struct mmem_trap {
	_Atomic uintptr_t start;
	_Atomic size_t len;
	_Atomic int fd;			/* for messages */
	_Atomic uint32_t turns[NB_TURNS];
	bool is_taken;			/* under traps_lock */
};

static pthread_mutex_t traps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mmem_trap traps[MAX_TRAPS];
static unsigned int nb_traps;
/* The handler before ours. Written before ours is set. */
static struct sigaction before;

static _Atomic uint32_t *
get_turn(struct mmem_trap *trap, uint64_t off)
{
	return &trap->turns[(off >> MMEM_CHUNK_LOG2) % NB_TURNS];
}

static struct mmem_trap *
find_trap(uintptr_t addr, uint64_t *off)
{
	unsigned int i;
	size_t len;

	for (i = 0; i < MAX_TRAPS; i++) {
		/* Pairs with the release in trap_open(). */
		len = atomic_load_explicit(&traps[i].len, memory_order_acquire);
		*off = addr - atomic_load_explicit(&traps[i].start, memory_order_relaxed);
		if (*off < len)
			return &traps[i];
	}
	return NULL;
}

#if defined(__x86_64__)
/* Bit 1 of the error code of a page fault [Intel SDM 4.7]. */
static bool
is_write(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_ERR] & 2;
}
#elif defined(__aarch64__)
/* WnR of the syndrome of a data abort [Arm ARM, ESR_ELx]. */
static bool
is_write(const ucontext_t *context)
{
	const uint8_t *at = context->uc_mcontext.__reserved;
	const uint8_t *end = at + sizeof(context->uc_mcontext.__reserved);
	const struct _aarch64_ctx *head;

	while (at + sizeof(struct esr_context) <= end) {
		head = (const struct _aarch64_ctx *)at;
		if (head->magic == ESR_MAGIC)
			return ((const struct esr_context *)at)->esr & (1u << 6);
		if (head->magic == 0 || head->size < sizeof(*head))
			break;
		at += head->size;
	}
	return true;
}
#else
/* A read then counts as a write. */
static bool
is_write(const ucontext_t *context)
{
	(void)context;
	return true;
}
#endif

/* On the thread that accesses memory: have the access allowed, and wait for it. */
static void
ask_and_wait(struct mmem_trap *trap, uintptr_t addr, uint64_t off, bool write_access)
{
	struct uffd_msg msg = { .event = UFFD_EVENT_PAGEFAULT };
	const struct timespec until = { .tv_sec = WAIT_S };
	_Atomic uint32_t *turn = get_turn(trap, off);
	/* Pairs with the release in trap_wake(). */
	uint32_t now = atomic_load_explicit(turn, memory_order_acquire);

	msg.arg.pagefault.address = addr;
	msg.arg.pagefault.flags = write_access ? UFFD_PAGEFAULT_FLAG_WRITE : 0;
	/* Without a message, after a signal, the access is repeated at once. */
	if (write(atomic_load_explicit(&trap->fd, memory_order_relaxed), &msg, sizeof(msg)) !=
			(ssize_t)sizeof(msg))
		return;
	/* It returns early after a wake, a signal, or a change before it; all are right. */
	if (atomic_load_explicit(turn, memory_order_acquire) == now)
		syscall(SYS_futex, turn, FUTEX_WAIT_PRIVATE, now, &until, NULL, 0);
}

/* The access is not ours: let the handler before ours, or the kernel, end it. */
static void
pass_on(int sig, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(sig);
	else
		/* The access is repeated, and its signal ends the process. */
		sigaction(SIGSEGV, &before, NULL);
}

static void
handle_signal(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	struct mmem_trap *trap = NULL;
	int saved = errno;
	uint64_t off;

	if (info->si_code == SEGV_ACCERR)
		trap = find_trap(addr, &off);
	if (trap != NULL)
		ask_and_wait(trap, addr, off, is_write(context));
	else
		pass_on(sig, info, context);
	errno = saved;
}

/* Under traps_lock. */
static int
install_handler(void)
{
	struct sigaction action = {
		.sa_sigaction = handle_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART,
	};

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGSEGV, NULL, &before) < 0 || sigaction(SIGSEGV, &action, NULL) < 0)
		return -errno;
	return 0;
}

/* Unless another one was set after ours. Under traps_lock. */
static void
remove_handler(void)
{
	struct sigaction now;

	if (sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
			now.sa_sigaction == handle_signal)
		sigaction(SIGSEGV, &before, NULL);
}

static struct mmem_trap *
trap_take(int *rc)
{
	struct mmem_trap *trap = NULL;
	unsigned int i;

	pthread_mutex_lock(&traps_lock);
	for (i = 0; i < MAX_TRAPS && trap == NULL; i++)
		if (!traps[i].is_taken)
			trap = &traps[i];
	*rc = trap == NULL ? -ENOSPC : 0;
	if (*rc == 0 && nb_traps == 0)
		*rc = install_handler();
	if (*rc == 0) {
		trap->is_taken = true;
		nb_traps++;
	}
	pthread_mutex_unlock(&traps_lock);
	return *rc == 0 ? trap : NULL;
}

static void
trap_put(struct mmem_trap *trap)
{
	pthread_mutex_lock(&traps_lock);
	atomic_store_explicit(&trap->len, 0, memory_order_relaxed);
	trap->is_taken = false;
	if (--nb_traps == 0)
		remove_handler();
	pthread_mutex_unlock(&traps_lock);
}

static int
trap_open(struct mmem_pool *pool, bool *user_only)
{
	struct mmem_trap *trap = NULL;
	int fds[2], rc;

	/* A thread that sends a message waits while the pipe is full. */
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rc = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (rc == 0)
		trap = trap_take(&rc);
	if (trap == NULL) {
		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	atomic_store_explicit(&trap->fd, fds[1], memory_order_relaxed);
	atomic_store_explicit(&trap->start, (uintptr_t)pool->mem, memory_order_relaxed);
	/* Pairs with the acquire in find_trap(). */
	atomic_store_explicit(&trap->len, pool->size, memory_order_release);
	pool->trap = trap;
	pool->cpu_fd = fds[0];
	pool->cpu_protects = true;
	*user_only = true;
	return 0;
}

static void
trap_close(struct mmem_pool *pool)
{
	int fd = atomic_load_explicit(&pool->trap->fd, memory_order_relaxed);

	trap_put(pool->trap);
	pool->trap = NULL;
	close(fd);
	close(pool->cpu_fd);
}

static void
trap_wake(struct mmem_pool *pool, uint64_t off, size_t len)
{
	uint64_t end = off + RTE_MIN(len, NB_TURNS * MMEM_CHUNK_SIZE);
	_Atomic uint32_t *turn;

	for (off = RTE_ALIGN_FLOOR(off, MMEM_CHUNK_SIZE); off < end; off += MMEM_CHUNK_SIZE) {
		turn = get_turn(pool->trap, off);
		/* Pairs with the acquire in ask_and_wait(). */
		atomic_fetch_add_explicit(turn, 1, memory_order_release);
		syscall(SYS_futex, turn, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	}
}

static bool
chunk_traps(const struct mmem_pool *pool, size_t chunk)
{
	return atomic_load_explicit(&pool->chunks[chunk].state, memory_order_relaxed) & CHUNK_TRAPS;
}

static void
close_all(struct mmem_pool *pool)
{
	size_t i, n;

	for (i = 0; i < pool->nb_chunks; i += n + 1) {
		for (n = 0; i + n < pool->nb_chunks && chunk_traps(pool, i + n); n++)
			;
		if (n != 0)
			mprotect(pool->mem + (i << MMEM_CHUNK_LOG2), n << MMEM_CHUNK_LOG2,
					PROT_NONE);
	}
}

static int
set_protection(struct mmem_pool *pool, uint64_t off, size_t len, int prot)
{
	if (mprotect(pool->mem + off, len, prot) == 0)
		return 0;
	if (errno != ENOMEM)
		return -errno;
	close_all(pool);
	return mprotect(pool->mem + off, len, prot) == 0 ? 0 : -errno;
}

/* Writes of a range that is watched for writes alone are seen after the first trap_protect(). */
static int
trap_watch(struct mmem_pool *pool, uint64_t off, size_t len, unsigned int watch)
{
	size_t i, end = (off + len) >> MMEM_CHUNK_LOG2;

	(void)watch;
	for (i = off >> MMEM_CHUNK_LOG2; i < end; i++)
		atomic_fetch_or_explicit(&pool->chunks[i].state, CHUNK_TRAPS, memory_order_relaxed);
	return 0;
}

static void
trap_unwatch(struct mmem_pool *pool, uint64_t off, size_t len)
{
	size_t i, end = (off + len) >> MMEM_CHUNK_LOG2;

	pthread_mutex_lock(&pool->cpu_lock);
	for (i = off >> MMEM_CHUNK_LOG2; i < end; i++)
		atomic_fetch_and_explicit(&pool->chunks[i].state, ~CHUNK_TRAPS,
				memory_order_relaxed);
	/* Whole mappings become one, so it needs none more. */
	mprotect(pool->mem + off, len, PROT_READ | PROT_WRITE);
	pthread_mutex_unlock(&pool->cpu_lock);
	trap_wake(pool, off, len);
}

static int
trap_stage(struct mmem_pool *pool, uint8_t *start, unsigned int watch)
{
	(void)pool;
	return watch == 0 || mprotect(start, MMEM_CHUNK_SIZE, PROT_NONE) == 0 ? 0 : -errno;
}

static int
trap_map(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	int rc = set_protection(pool, off, len, protect ? PROT_READ : PROT_READ | PROT_WRITE);

	if (rc == 0)
		trap_wake(pool, off, len);
	return rc;
}

/* Nothing tells here which units are mapped, so none is: the next access maps it, protected. */
static int
trap_protect(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	return protect ? set_protection(pool, off, len, PROT_NONE) :
			trap_map(pool, off, len, false);
}

/* The range is one region's. */
static int
trap_unmap(struct mmem_pool *pool, uint64_t off, size_t len)
{
	return chunk_traps(pool, off >> MMEM_CHUNK_LOG2) ?
			set_protection(pool, off, len, PROT_NONE) : 0;
}

const struct mmem_view_ops mmem_view_traps = {
	.open = trap_open,
	.close = trap_close,
	.watch = trap_watch,
	.unwatch = trap_unwatch,
	.stage = trap_stage,
	.map = trap_map,
	.protect = trap_protect,
	.unmap = trap_unmap,
	.wake = trap_wake,
};
