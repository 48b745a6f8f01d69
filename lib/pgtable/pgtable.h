/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGTABLE_H
#define PGTABLE_H

/**
 * @file
 * VMSAv8-64 translation tables of stage 1 and stage 2 that change while a device walks them.
 *
 * Model. One struct pgt is one table of stage 1 (lower half, TTB0) or of stage 2 (S2TTB): granule
 * 4K, 16K or 64K, an input range of 25 to 48 bits. A last-level entry is in one of four states:
 *
 *	invalid ----resolve / map------------------> valid
 *	invalid --resolve_begin--> resolving --commit--> valid
 *	invalid <---------cancel--- resolving
 *	any     ----unmap------> invalid
 *	any     ----unmap, PGT_CLOSE--> closed ----open----> invalid
 *
 * Each arrow is one compare-and-swap on the entry. Bit 0 is set in the valid state only, so a
 * device gets a translation fault in the other three. Only pgt_open() leaves *closed*, so unmap
 * wins against every resolver: commit swaps the marker that begin wrote, and fails if the marker is
 * gone.
 *
 * Call order. pgt_create(); pgt_prealloc() or pgt_map() from a control call; pgt_resolve() in the
 * fault path. To unmap pages:
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
 * Break-before-make. Between unmap and the end of the invalidation no entry of the range may become
 * valid again. PGT_CLOSE ensures this under concurrent faults; without PGT_CLOSE the caller ensures
 * it (no faults and no concurrent map in the range). This is why no call here splits a block or
 * replaces a table by a block: pgtable_resize.h does so in two steps.
 *
 * Access and dirty flags. A valid leaf is *accessed* or not (descriptor bit AF), and its page is
 * *dirty* or *clean*:
 *
 *	dirty		a device can write: the leaf has PGT_WRITE, and AP[2] = 0 (S2AP[1] = 1)
 *	clean		it cannot: a leaf without PGT_WRITE; or one with it that is
 *			*writable-clean*: AP[2] = 1 (S2AP[1] = 0) and DBM = 1
 *
 * A leaf starts accessed and, with PGT_WRITE, dirty; with PGT_OLD not accessed, with PGT_CLEAN
 * writable-clean. pgt_harvest() reads both and makes leaves not accessed and writable-clean again.
 * From there two agents go back:
 *
 *	the SMMU	(HTTU) With CD.HA (S2HA) it sets AF; with CD.HD (S2HD) it makes a
 *			writable-clean leaf dirty, and then lets the write pass. Each is an atomic
 *			update of a descriptor that is still the same. No fault.
 *	a fault handler	Without HA an access to a leaf with AF = 0 is F_ACCESS: pgt_resolve() sets
 *			AF and returns -EALREADY; nothing is to be invalidated, since no TLB
 *			holds a descriptor with AF = 0. Without HD a write to a writable-clean
 *			leaf is F_PERMISSION, and pgt_resolve() returns -EACCES: pgt_protect()
 *			makes the leaf dirty, and a TLB may hold the old one [SMMUv3 3.13.1].
 *
 * The entries are the same for both, and SMMUs with and without HTTU may share a table.
 *
 * A dirty page is never lost. Each call that takes the dirty state from a leaf, also pgt_unmap()
 * and pgt_protect(), takes it by compare-and-swap or exchange, and reports the last value in
 * pgt_unmapped.used. After that swap an SMMU cannot make the removed leaf dirty: its update
 * compares the descriptor, before the write passes [SMMUv3 3.13.3]. But a TLB entry made while the
 * leaf was dirty writes without an update until its invalidation is complete. So a reported page
 * counts as dirty until then: read or copy it after the SYNC, and not before.
 *
 * Stage 2. With pgt_conf.stage2 the addresses named va are IPAs, and va_bits is their width. All
 * functions, states and rules are those of stage 1. The differences:
 *
 *   - There is no PGT_PRIV, and a call with it returns -EINVAL: the format does not distinguish
 *     privileged accesses, so a page for them alone would be open to all. A fault handler clears
 *     PGT_PRIV in the permissions of the access.
 *   - A leaf has S2AP read, or read and write; XN unless PGT_EXEC; MemAttr Normal write-back. It
 *     has no nG: TLB entries belong to a VMID, not to an ASID.
 *   - The root is up to 16 concatenated tables, where that saves a level:
 *
 *	granule	va_bits	start level	S2SL0	concatenated tables
 *	4K	25..34	2		0	2^(va_bits - 30), at least 1
 *		35..43	1		1	2^(va_bits - 39), at least 1
 *		44..48	0		2	1
 *	16K	25..29	3		0	2^(va_bits - 25)
 *		30..40	2		1	2^(va_bits - 36), at least 1
 *		41..48	1		2	2^(va_bits - 47), at least 1
 *	64K	25..33	3		0	2^(va_bits - 29), at least 1
 *		34..46	2		1	2^(va_bits - 42), at least 1
 *		47..48	1		2	1
 *
 *     This uses neither small translation tables (IDR3.STT) nor 52-bit addresses.
 *   - The driver takes from struct pgt_info: S2TTB = root; S2T0SZ = 64 - va_bits; S2SL0 = 2 -
 *     start_level with 4K, else 3 - start_level; S2TG = 0, 2, 1 for 4K, 16K, 64K; S2PS for pa_bits.
 *     It checks that va_bits is not larger than the SMMU's IAS, which this library does not know.
 *   - TLBI_S2_IPA invalidates entries of stage 2 only. In a nested domain (stage 1 over this table)
 *     a TLB holds combined entries too, which no IPA names, and so does an ATC (unless EATS = 2).
 *     The caller's invalidation covers them, before pgt_open() or anything else makes the range
 *     valid: TLBI_S2_IPA, SYNC, TLBI_NH_ALL of the VMID, SYNC, or TLBI_S12_VMALL, SYNC; then
 *     ATC_INV of all addresses, SYNC. The first SYNC is needed: a walk could otherwise make a
 *     combined entry out of the old stage-2 entry behind TLBI_NH_ALL.
 *
 * Threads. Any thread may call any function at any time, on any range, except pgt_create(),
 * pgt_destroy() and pgt_free_tables(). No function takes a lock, and writers of disjoint pages
 * never wait for each other. One rule for PGT_CLOSE: the thread that closed a range opens it, and
 * two threads must not close overlapping ranges at the same time.
 *
 * Freeing tables. A live table is never freed. pgt_unmap() with PGT_TABLES unlinks the tables that
 * the range covers entirely and lists them in pgt_unmapped; another thread may still walk them. An
 * application that uses PGT_TABLES therefore makes every call of this header (except the three
 * above) inside a read-side section (RCU), and calls pgt_free_tables() after the SYNC of the
 * invalidation *and* a grace period. An application that never uses PGT_TABLES needs neither.
 *
 * The device. Descriptors are little-endian 64-bit words, written with release order, which orders
 * them among CPUs. An SMMU's walker is an observer in the inner or outer shareable domain: the
 * barrier in front of the driver's CMDQ_PROD store makes a new descriptor visible before the RESUME
 * or TLBI that depends on it. Tables need coherent walks (IDR0.COHACC) or memory that the CPU maps
 * uncached: this library cleans no caches.
 *
 * Errors. Functions with int results return 0 or -errno; pgt_create() returns NULL and sets errno.
 * NULL in place of a pointer is -EINVAL, or 0 where the result is not an error code. pgt_resolve(),
 * pgt_resolve_block(), pgt_resolve_begin(), pgt_resolve_commit() and pgt_resolve_cancel() do not
 * check for NULL: they are the fault path.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Permissions of a leaf. PGT_WRITE and PGT_EXEC imply PGT_READ; at least one of the three is
 * needed.
 */
#define PGT_READ	(1u << 0)
#define PGT_WRITE	(1u << 1)
#define PGT_EXEC	(1u << 2)
#define PGT_PRIV	(1u << 3)	/* privileged accesses only; otherwise both; stage 1 only */
/* OR-ed to the permissions: the flags of a new leaf. Otherwise it is accessed and dirty. */
#define PGT_OLD		(1u << 4)	/* not accessed: for a prefetch; not for pgt_protect() */
#define PGT_CLEAN	(1u << 5)	/* writable-clean; without PGT_WRITE no effect */
/* For pgt_map(), OR-ed to the permissions: use no blocks. */
#define PGT_PAGES_ONLY	(1u << 8)

/* Flags of pgt_unmap(). */
#define PGT_CLOSE	(1u << 0)	/* leave entries closed, not invalid */
#define PGT_TABLES	(1u << 1)	/* unlink tables that the range covers entirely */

/* Flags of pgt_harvest(); at least one of the first two is needed. */
#define PGT_ACCESSED		(1u << 0)	/* report accessed leaves and clear AF */
#define PGT_DIRTY		(1u << 1)	/* report dirty leaves and make them clean */
#define PGT_KEEP		(1u << 2)	/* report only: change nothing */
#define PGT_INV_ACCESSED	(1u << 3)	/* invalidate leaves made not accessed too */

/** Memory for tables. Called on the thread that calls pgt_prealloc(), pgt_map() or pgt_unmap(). */
struct pgt_mem {
	void *ctx;
	/**
	 * `size` zeroed bytes aligned to `size` (CPU and device address), or NULL. The size is a
	 * granule; only the root of a stage-2 table may be larger: 2, 4, 8 or 16 granules.
	 */
	void *(*alloc)(void *ctx, size_t size);
	/** Free what alloc returned, all of it: the size is that of the call of alloc. */
	void (*free)(void *ctx, void *p, size_t size);
	/** Device address of memory that alloc returned. */
	uint64_t (*va_to_pa)(void *ctx, const void *p);
	/**
	 * The reverse, for the walk. May be NULL if all tables lie in one window where CPU pointer
	 * minus device address is constant (IOVA as VA, or one registered region): a step of the
	 * walk is then an addition. A table outside that window is refused with -EFAULT.
	 */
	void *(*pa_to_va)(void *ctx, uint64_t pa);
};

struct pgt_conf {
	unsigned int granule_log2;	/**< 12, 14 or 16; 0 = 12 */
	unsigned int va_bits;		/**< 25..48, T0SZ = 64 - va_bits; 0 = 48 */
	unsigned int pa_bits;		/**< 32..48, output size (CD.IPS, STE.S2PS); 0 = 48 */
	bool stage2;			/**< a stage-2 table (S2TTB): addresses are IPAs, va_bits is
					 * their width */
	struct pgt_mem mem;
};

struct pgt_info {
	uint64_t root;			/**< device address for TTB0 or S2TTB */
	unsigned int granule_log2;
	unsigned int va_bits;
	unsigned int pa_bits;
	bool stage2;
	unsigned int start_level;
	unsigned int root_tables;	/**< concatenated tables of the root; 1 in stage 1 */
	unsigned int nb_tables;		/**< tables allocated and not freed, those of the root
					 * included */
};

struct pgt;

/**
 * Create an empty table (its root).
 * @return NULL with errno EINVAL (bits or granule out of range, a pointer missing), ENOMEM, EFAULT
 *   (memory not aligned to its size, or beyond pa_bits).
 */
struct pgt *pgt_create(const struct pgt_conf *conf);

/**
 * Free all tables. No device may walk them any more (CD changed, invalidated, SYNC) and no thread
 * may use them. NULL is ignored. Tables on a pgt_tables list are not included: free those first.
 */
void pgt_destroy(struct pgt *pgt);

uint64_t pgt_root(const struct pgt *pgt);
unsigned int pgt_va_bits(const struct pgt *pgt);
unsigned int pgt_granule_log2(const struct pgt *pgt);
void pgt_info(const struct pgt *pgt, struct pgt_info *info);

/** A range to invalidate, ready for TLBI by VA: all its leaves have one level, or level is 0. */
struct pgt_inv {
	uint64_t va;		/**< aligned to the granule, and to the leaf size if level is set */
	uint64_t size;		/**< in bytes, aligned as va */
	uint8_t level;		/**< level of its leaves, 1..3, for TTL; 0 = any */
	uint8_t granule_log2;	/**< for TG */
	bool leaf_only;		/**< no table was unlinked: Leaf=1 is enough */
};

/**
 * A list of unlinked tables. It may be copied and passed to a function that frees them later.
 */
struct pgt_tables {
	void *head;
	unsigned int nb;
};

/**
 * The flags of leaves before a call removed or changed them. In a bitmap, bit n % 64 of word n / 64
 * stands for the granule at va + (n << granule_log2); a block sets the bits of all its granules.
 * Calls set bits, and add to the counters; they clear none.
 */
struct pgt_used {
	uint64_t va;			/**< of bit 0, aligned to the granule */
	uint64_t size;			/**< bytes that the bitmaps cover; leaves outside are
					 * counted only */
	uint64_t *accessed;		/**< a bitmap, or NULL */
	uint64_t *dirty;		/**< a bitmap, or NULL */
	uint64_t accessed_bytes;	/**< size of the accessed leaves */
	uint64_t dirty_bytes;
};

/**
 * The work that pgt_unmap(), pgt_protect() and pgt_harvest() leave to the caller. It accumulates
 * over calls on one pgt, so that several ranges share one SYNC.
 */
struct pgt_unmapped {
	struct pgt_inv *inv;		/**< the caller's array */
	unsigned int max_inv;		/**< its size, at least 1 */
	/**
	 * Used entries. When the array is full, the last entry grows to cover the next range: the
	 * invalidation then covers at least the changed addresses.
	 */
	unsigned int nb_inv;
	uint64_t bytes;			/**< size of the valid leaves in inv: those that were
					 * removed or changed */
	/**
	 * NULL, or the flags of leaves: of those that pgt_unmap() removed; of those that lost the
	 * dirty state to pgt_protect(), as dirty; and those that pgt_harvest() was to find.
	 */
	struct pgt_used *used;
	struct pgt_tables tables;	/**< for pgt_free_tables(), after SYNC and a grace period */
};

static inline void
pgt_unmapped_init(struct pgt_unmapped *out, struct pgt_inv *inv, unsigned int max_inv)
{
	out->inv = inv;
	out->max_inv = max_inv;
	out->nb_inv = 0;
	out->bytes = 0;
	out->used = NULL;
	out->tables.head = NULL;
	out->tables.nb = 0;
}

/**
 * Make all tables down to the last level under [va, va + size), so that resolving or mapping a page
 * there allocates nothing. Entries that hold a block stay unchanged. Callers may run concurrently:
 * a thread that loses a race frees its own table.
 * @return -EINVAL (not aligned to the granule, empty, out of range), -ENOMEM or -EFAULT (tables
 *   made so far stay), -ECANCELED (a part is closed above the last level: retry after pgt_open()).
 */
int pgt_prealloc(struct pgt *pgt, uint64_t va, uint64_t size);

/**
 * Map [va, va + size) to pa onwards, with blocks (2M and 1G; 32M; 512M) where both are aligned and
 * no table exists, unless PGT_PAGES_ONLY. Makes tables and checks the range before any entry
 * becomes valid: after -EINVAL, -ENOMEM, -EFAULT, -EEXIST (an entry is valid or resolving) and
 * -ECANCELED (closed) this call has mapped nothing, and a device saw no mapping of it.
 * @return also -EAGAIN: a concurrent writer changed the same range. This call has removed its
 *   mappings, but a device may have cached them: invalidate [va, va + size) before mapping anything
 *   else there.
 */
int pgt_map(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t size, uint32_t prot);

/**
 * The fault path: map the page of va. No allocation, no loop except the walk, one compare-and-swap.
 * va is any address in the page; pa is aligned to the granule.
 * @return
 *   0            mapped by this call
 *   -EALREADY    already valid (page or block) with these permissions: nothing to do. Unless
 *                PGT_OLD is given, the leaf is accessed now, also with -EACCES
 *   -EACCES      valid, but with fewer permissions; or writable-clean, and PGT_WRITE without
 *                PGT_CLEAN asked for: see pgt_protect()
 *   -EBUSY       another thread is resolving it
 *   -ECANCELED   being unmapped: closed, or its table was unlinked
 *   -ENOENT      a table is missing: pgt_prealloc(), off the fast path
 *   -EINVAL      va or pa out of range, pa not aligned, no permission given, PGT_PRIV in stage 2
 */
int pgt_resolve(struct pgt *pgt, uint64_t va, uint64_t pa, uint32_t prot);

/**
 * The same for a block: map [va, va + size) with one leaf, where its tables exist and it has no
 * table of smaller leaves.
 * @param size a block's; va and pa are aligned to it.
 * @return as pgt_resolve(); -ENOENT: also a table of smaller leaves; -EINVAL: also size or
 *   alignment.
 */
int pgt_resolve_block(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t size, uint32_t prot);

/** A resolution in progress. Plain data: it may be copied and kept. */
struct pgt_ticket {
	struct pgt *pgt;
	uint64_t va;
	uint64_t tag;
};

/**
 * The two-step form of pgt_resolve(), first step: mark the page of va as resolving. Other callers
 * get -EBUSY.
 * @param prot
 *   the permissions that the access needs; only used to tell -EALREADY from -EACCES.
 * @param tag
 *   not 0, bits 1:0 clear; no other ticket on this page may use this tag until this
 *   ticket is committed or cancelled (use an object's address, or a counter stepped
 *   by four).
 * @return as pgt_resolve(); the ticket is written only on 0.
 */
int pgt_resolve_begin(struct pgt *pgt, uint64_t va, uint32_t prot, uint64_t tag,
		struct pgt_ticket *ticket);

/**
 * The second step, from any thread: make the page valid if the marker is still there.
 * @return 0; -ECANCELED: unmapped since, this call mapped nothing; -EINVAL: pa or prot as for
 *   pgt_resolve(), the marker is still there.
 */
int pgt_resolve_commit(const struct pgt_ticket *ticket, uint64_t pa, uint32_t prot);

/**
 * Cancel: make the page invalid again.
 * @return 0, or -ECANCELED: unmapped since.
 */
int pgt_resolve_cancel(const struct pgt_ticket *ticket);

/**
 * Set the permissions of all valid leaves in the range, more or fewer; other entries stay
 * unchanged. Changed leaves are added to `out` and need an invalidation in both cases (a device may
 * have cached the old permissions). With PGT_WRITE they are dirty; with PGT_CLEAN those that
 * were dirty stay it, and the others are writable-clean. Without PGT_WRITE dirty ones become clean,
 * and are reported in out->used.
 * @return -EINVAL (as pgt_prealloc(), no permission given, PGT_OLD, PGT_PRIV in stage 2, or a block
 *   is covered in part; `out` holds the changes before it), -EAGAIN (an entry kept changing for a
 *   bounded number of attempts; `out` likewise).
 */
int pgt_protect(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t prot,
		struct pgt_unmapped *out);

/**
 * Test and clear the flags of all valid leaves in the range, while devices use them; other entries
 * stay unchanged. For an example, the pages that devices wrote to since the last call:
 *
 *	uint64_t map[PAGES / 64] = { 0 };
 *	struct pgt_used used = { .va = va, .size = size, .dirty = map };
 *
 *	pgt_unmapped_init(&out, inv, 8);
 *	out.used = &used;
 *	pgt_harvest(pgt, va, size, PGT_DIRTY, &out);
 *	invalidate(out.inv, out.nb_inv);	// TLBI, SYNC; ATC_INV, SYNC
 *	// copy the pages in the map: a write from here on is reported by the next call
 *
 * PGT_ACCESSED: each leaf with AF = 1 is reported, and AF cleared. A TLB, or an ATC, may hold the
 * leaf with AF = 1, and an access through it does not set AF again. Without an invalidation the
 * next call may therefore miss a page in use, most likely one in use all the time. Nothing but the
 * choice of an eviction depends on that, so no range is added to `out`: entries leave a TLB soon,
 * if it is small for the memory in use. With PGT_INV_ACCESSED the ranges are added, for a caller
 * that wants exact flags for the price of the invalidation. An SMMU may set AF for an access that
 * it speculates, or that was refused; AF may be visible only after a SYNC that follows the access.
 * A leaf is dirty only by a write, or by a translation that an ATC got to write with [SMMUv3
 * 3.13.2, 3.13.4, 3.13.7].
 *
 * PGT_DIRTY: each dirty leaf is reported and made writable-clean. It is added to `out`, and *must*
 * be invalidated: a TLB entry that allows writes would let them pass unseen.
 *
 * An update of the SMMU, or another call's, that comes between is seen and never undone: each leaf
 * is changed by one compare-and-swap, if it has anything to clear.
 * @param out
 *   out->used must not be NULL. With PGT_KEEP, and with PGT_ACCESSED alone, no range is
 *   added.
 * @return -EINVAL (as pgt_prealloc(), a flag that is unknown or missing, or a block is covered in
 *   part; `out` holds the changes before it), -EAGAIN (an entry kept changing for a bounded number
 *   of attempts; `out` likewise).
 */
int pgt_harvest(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t flags,
		struct pgt_unmapped *out);

/**
 * Make [va, va + size) invalid, or closed with PGT_CLOSE, and add to `out` the ranges to
 * invalidate. Closed entries stay closed. With PGT_CLOSE, an entry above the last level without a
 * table is closed as a whole, and an entry that is covered in part gets a table (the only
 * allocation, two paths at most).
 * @return -EINVAL (as pgt_prealloc(), or a block is covered in part: it cannot be split without an
 *   invalidation in between, so unmap it entirely) or -ENOMEM, -EFAULT: nothing was changed. Only
 *   if a concurrent pgt_map() or PGT_TABLES of the same range caused the error, `out` holds the
 *   changes before it: invalidate those.
 */
int pgt_unmap(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t flags,
		struct pgt_unmapped *out);

/**
 * Make closed entries in the range invalid; other entries stay unchanged. Call it after the
 * invalidation's SYNC, usually on the range that was closed.
 * @return -EINVAL; -ENOMEM, -EFAULT (only if an entry above the last level that was closed as a
 *   whole is opened in part).
 */
int pgt_open(struct pgt *pgt, uint64_t va, uint64_t size);

/**
 * Free the tables that pgt_unmap() unlinked: after the SYNC and a grace period. Empties the list.
 */
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
	uint64_t size;		/**< bytes it spans: a page, a block, or more if absent or closed */
	uint64_t pa;		/**< of va; 0 unless valid */
	uint64_t tag;		/**< the resolver's, 0 unless resolving */
	uint32_t prot;		/**< PGT_READ..PGT_PRIV; 0 unless valid */
	bool accessed;		/**< AF; false unless valid, as dirty */
	bool dirty;		/**< a device can write without changing the leaf */
	enum pgt_state state;
	unsigned int level;
};

/**
 * Look up the entry of any address, without changing it.
 * @return -EINVAL (out of range).
 */
int pgt_walk(const struct pgt *pgt, uint64_t va, struct pgt_leaf *leaf);

#ifdef __cplusplus
}
#endif

#endif /* PGTABLE_H */
