/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGTABLE_H
#define PGTABLE_H

/**
 * @file
 * VMSAv8-64 stage-1 translation tables, changed while a device walks them.
 *
 * Model. One struct pgt is one lower-half (TTB0) table: granule 4K, 16K or 64K,
 * an input range of 25 to 48 bits. A last-level entry is in one of four states:
 *
 *	invalid ----resolve / map------------------> valid
 *	invalid --resolve_begin--> resolving --commit--> valid
 *	invalid <---------cancel--- resolving
 *	any     ----unmap------> invalid
 *	any     ----unmap, PGT_CLOSE--> closed ----open----> invalid
 *
 * Each arrow is one compare-and-swap on the entry. Bit 0 is clear in all states
 * but valid, so a device sees a translation fault in the other three. Nothing
 * but pgt_open() leaves *closed*, so unmap wins against every resolver: commit
 * swaps the very marker that begin wrote, and finds it gone.
 *
 * Call order. pgt_create(); pgt_prealloc() or pgt_map() from a control thread;
 * pgt_resolve() in the fault path; to take pages away:
 *
 *	struct pgt_inv inv[8];
 *	struct pgt_unmapped out;
 *
 *	pgt_unmapped_init(&out, inv, 8);
 *	pgt_unmap(pgt, va, size, PGT_CLOSE, &out);
 *	invalidate(out.inv, out.nb_inv);	// TLBI, SYNC; ATC_INV, SYNC
 *	// no access to the old pages can succeed from here on
 *	pgt_open(pgt, va, size);
 *
 * Break-before-make. Between unmap and the end of the invalidation no entry of
 * the range may become valid again. PGT_CLOSE makes that so under concurrent
 * faults; without it the caller guarantees it (no faults, nobody maps there).
 * A block is therefore never split, and a table never replaced by a block.
 *
 * Threads. Every function but pgt_create(), pgt_destroy() and pgt_free_tables()
 * may be called by any thread at any time, on any range; no lock is taken, and
 * writers of disjoint pages never wait for each other. One rule for PGT_CLOSE:
 * the thread that closed a range is the one that opens it; ranges closed at the
 * same time by two threads must not overlap.
 *
 * Freeing tables. A table is never freed while it is live. pgt_unmap() with
 * PGT_TABLES unlinks those that the range covers whole and lists them in
 * pgt_unmapped; another thread may still be walking them. So who uses
 * PGT_TABLES makes every call of this header (but the three above) inside a
 * read-side section (RCU), and calls pgt_free_tables() after the SYNC of the
 * invalidation *and* a grace period. Who never passes PGT_TABLES needs neither.
 *
 * The device. Descriptors are little-endian 64-bit words written with release
 * order. That orders them among CPUs. An SMMU's walker is an observer in the
 * inner or outer shareable domain: that a new descriptor is visible before the
 * RESUME or TLBI that speaks of it is the barrier in front of the driver's
 * CMDQ_PROD store. Tables need coherent walks (IDR0.COHACC) or memory that the
 * CPU maps uncached: nothing here cleans caches.
 *
 * Errors. ints return 0 or -errno; pgt_create() returns NULL and sets errno. NULL where a
 * pointer is expected is -EINVAL, or 0 of what is no error code; but pgt_resolve(), its
 * begin, commit and cancel do not look, for they are the fault path.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Permissions of a leaf. PGT_WRITE and PGT_EXEC imply PGT_READ; one of the three is needed. */
#define PGT_READ	(1u << 0)
#define PGT_WRITE	(1u << 1)
#define PGT_EXEC	(1u << 2)
#define PGT_PRIV	(1u << 3)	/* privileged accesses only; else both */
/* For pgt_map(), or-ed to the permissions: no blocks. */
#define PGT_PAGES_ONLY	(1u << 8)

/* Flags of pgt_unmap(). */
#define PGT_CLOSE	(1u << 0)	/* leave entries closed, not invalid */
#define PGT_TABLES	(1u << 1)	/* unlink the tables that the range covers whole */

/** Where tables live. Called from any thread that calls pgt_prealloc(), pgt_map(), pgt_unmap(). */
struct pgt_mem {
	void *ctx;
	/** `size` zeroed bytes aligned to `size` (a granule, CPU and device address), or NULL. */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	/** Device address of what alloc returned. */
	uint64_t (*va_to_pa)(void *ctx, const void *p);
	/**
	 * The reverse, for the walk. May be NULL when all tables lie in one window
	 * where CPU pointer minus device address is constant (IOVA as VA, or one
	 * registered region): then a step of the walk is an addition. A table
	 * outside of that window is refused with -EFAULT.
	 */
	void *(*pa_to_va)(void *ctx, uint64_t pa);
};

struct pgt_conf {
	unsigned int granule_log2;	/**< 12, 14 or 16; 0 = 12 */
	unsigned int va_bits;		/**< 25..48, T0SZ = 64 - va_bits; 0 = 48 */
	unsigned int pa_bits;		/**< 32..48, output size (CD.IPS); 0 = 48 */
	struct pgt_mem mem;
};

struct pgt_info {
	uint64_t root;			/**< device address for TTB0 */
	unsigned int granule_log2;
	unsigned int va_bits;
	unsigned int pa_bits;
	unsigned int start_level;
	unsigned int nb_tables;		/**< allocated and not yet freed, the root included */
};

struct pgt;

/**
 * Make an empty table (its root).
 * @return NULL and errno EINVAL (bits or granule out of range, a callback missing),
 *   ENOMEM, EFAULT (memory not aligned or beyond pa_bits).
 */
struct pgt *pgt_create(const struct pgt_conf *conf);

/**
 * Free everything. No device walks it any more (CD changed, invalidated, SYNC)
 * and no thread uses it. NULL is ignored. Tables on a pgt_tables list are not
 * part of it: free those first.
 */
void pgt_destroy(struct pgt *pgt);

uint64_t pgt_root(const struct pgt *pgt);
unsigned int pgt_va_bits(const struct pgt *pgt);
unsigned int pgt_granule_log2(const struct pgt *pgt);
void pgt_info(const struct pgt *pgt, struct pgt_info *info);

/**
 * One range to invalidate, ready for TLBI by VA: all its leaves are of one level,
 * or level is 0.
 */
struct pgt_inv {
	uint64_t va;		/**< aligned to the granule, and to the leaf size if level is set */
	uint64_t size;		/**< bytes, a multiple of the same */
	uint8_t level;		/**< of its leaves, 1..3, for TTL; 0 = any */
	uint8_t granule_log2;	/**< for TG */
	bool leaf_only;		/**< no table was unlinked: Leaf=1 is enough */
};

/** Tables that were unlinked. Copy it, hand it to a deferred callback, free it there. */
struct pgt_tables {
	void *head;
	unsigned int nb;
};

/**
 * What pgt_unmap() and pgt_protect() leave to do. It accumulates over calls on
 * one pgt, so that several ranges share one SYNC.
 */
struct pgt_unmapped {
	struct pgt_inv *inv;		/**< the caller's array */
	unsigned int max_inv;		/**< its size, at least 1 */
	/**
	 * Used. When the array is full, the last one grows to cover what comes:
	 * never too little is invalidated, possibly too much.
	 */
	unsigned int nb_inv;
	uint64_t bytes;			/**< size of the valid leaves that were taken or changed */
	struct pgt_tables tables;	/**< for pgt_free_tables(), after SYNC and a grace period */
};

static inline void
pgt_unmapped_init(struct pgt_unmapped *out, struct pgt_inv *inv, unsigned int max_inv)
{
	out->inv = inv;
	out->max_inv = max_inv;
	out->nb_inv = 0;
	out->bytes = 0;
	out->tables.head = NULL;
	out->tables.nb = 0;
}

/**
 * Make all tables down to the last level under [va, va + size), so that resolving
 * or mapping a page there allocates nothing. Slots that hold a block are left.
 * Concurrent callers share: who loses a race frees the table it made.
 * @return -EINVAL (not aligned to the granule, empty, out of range), -ENOMEM or
 *   -EFAULT (what was made stays), -ECANCELED (a part is closed at a level above
 *   the last: again after pgt_open()).
 */
int pgt_prealloc(struct pgt *pgt, uint64_t va, uint64_t size);

/**
 * Map [va, va + size) to pa onwards, with blocks (2M and 1G; 32M; 512M) where
 * both are aligned and no table stands in the way, unless PGT_PAGES_ONLY.
 * Tables are made, and the range is looked at, before any entry becomes valid:
 * -EINVAL, -ENOMEM, -EFAULT, -EEXIST (something is valid or resolving there) and
 * -ECANCELED (closed) leave no mapping of this call, and a device saw none.
 * @return also -EAGAIN: a concurrent writer of the same range came between. What
 *   this call had mapped was taken back, but a device may have cached it:
 *   invalidate [va, va + size) before anything else is mapped there.
 */
int pgt_map(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t size, uint32_t prot);

/**
 * The fault path: map the page of va. No allocation, no loop but the walk, one
 * compare-and-swap. va is any address in the page; pa is aligned to the granule.
 * @return
 *   0            mapped by this call
 *   -EALREADY    valid already (page or block) with these permissions: nothing to do
 *   -EACCES      valid, but the permissions lack: see pgt_protect()
 *   -EBUSY       another is resolving it
 *   -ECANCELED   being unmapped: closed, or its table was unlinked meanwhile
 *   -ENOENT      a table is missing: pgt_prealloc(), off the fast path
 *   -EINVAL      va or pa out of range, pa not aligned, no permission asked
 */
int pgt_resolve(struct pgt *pgt, uint64_t va, uint64_t pa, uint32_t prot);

/** A resolution under way. Plain data: copy it, keep it as long as it takes. */
struct pgt_ticket {
	struct pgt *pgt;
	uint64_t va;
	uint64_t tag;
};

/**
 * The slow form, first half: mark the page of va as resolving. Others get -EBUSY.
 * @param prot
 *   what the access needs; only used to tell -EALREADY from -EACCES.
 * @param tag
 *   not 0, bits 1:0 clear; no other ticket with this tag may be in use on this
 *   page until this one is committed or cancelled (an object's address, or a
 *   counter stepped by four).
 * @return as pgt_resolve(); the ticket is written on 0 only.
 */
int pgt_resolve_begin(struct pgt *pgt, uint64_t va, uint32_t prot, uint64_t tag,
		struct pgt_ticket *ticket);

/**
 * The second half, from any thread: valid if the marker still stands.
 * @return 0; -ECANCELED: unmapped meanwhile, the page is not mapped by this call;
 *   -EINVAL: pa or prot as for pgt_resolve(), the marker still stands.
 */
int pgt_resolve_commit(const struct pgt_ticket *ticket, uint64_t pa, uint32_t prot);

/** Give up: invalid again. @return 0, or -ECANCELED: unmapped meanwhile. */
int pgt_resolve_cancel(const struct pgt_ticket *ticket);

/**
 * Give all valid leaves in the range these permissions, more or fewer; others are
 * left. What changed is added to `out` and needs an invalidation either way (a
 * device may have cached the old permissions).
 * @return -EINVAL (as pgt_prealloc(), no permission asked, or a block is covered
 *   in part; `out` holds what was changed before it), -EAGAIN (an entry kept
 *   changing under a bounded number of tries; `out` likewise).
 */
int pgt_protect(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t prot,
		struct pgt_unmapped *out);

/**
 * Make [va, va + size) invalid, or closed with PGT_CLOSE, and add to `out` what
 * must be invalidated. Closed entries stay closed. With PGT_CLOSE, a slot above
 * the last level that holds no table is closed as a whole, and one that is
 * covered in part gets a table (the only allocation, two paths at most).
 * @return -EINVAL (as pgt_prealloc(), a block is covered in part: it cannot be
 *   split without an invalidation in between, unmap it whole) or -ENOMEM, -EFAULT:
 *   nothing was changed. Only if a concurrent pgt_map() or PGT_TABLES of the same
 *   range brought them about, `out` holds what was done before: invalidate that.
 */
int pgt_unmap(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t flags,
		struct pgt_unmapped *out);

/**
 * Closed entries in the range become invalid, others are left. After the
 * invalidation's SYNC. Usually the very range that was closed.
 * @return -EINVAL; -ENOMEM, -EFAULT (only if a slot above the last level that was
 *   closed as a whole is opened in part).
 */
int pgt_open(struct pgt *pgt, uint64_t va, uint64_t size);

/** Free what pgt_unmap() unlinked: after the SYNC and a grace period. Empties the list. */
void pgt_free_tables(struct pgt *pgt, struct pgt_tables *tables);

enum pgt_state {
	PGT_ABSENT,	/**< no table down to the last level */
	PGT_INVALID,
	PGT_RESOLVING,
	PGT_VALID,
	PGT_CLOSED,
};

/** "absent", "invalid", ...; "?" for another value. */
const char *pgt_state_name(enum pgt_state state);

/** One entry, read once: it may have changed since. */
struct pgt_leaf {
	uint64_t va;		/**< first address of the entry */
	uint64_t size;		/**< bytes it spans: a page, a block, or what is absent or closed */
	uint64_t pa;		/**< of va; 0 unless valid */
	uint64_t tag;		/**< the resolver's, 0 unless resolving */
	uint32_t prot;		/**< PGT_READ..PGT_PRIV; 0 unless valid */
	enum pgt_state state;
	unsigned int level;
};

/** Look up any address, for readers. @return -EINVAL (out of range). */
int pgt_walk(const struct pgt *pgt, uint64_t va, struct pgt_leaf *leaf);

#ifdef __cplusplus
}
#endif

#endif /* PGTABLE_H */
