/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf: the handle of a domain on an IOMMU, between threads that invalidate and the first
 * attach and last detach (hazard.c, domain.c), and between these and page tables.
 *
 * Memory has store buffers: a plain store stays in its thread's buffer until a step of the buffer,
 * or a full barrier, moves it to memory; a sequentially consistent store or exchange moves the
 * buffer and itself to memory.
 *
 *	Reader	unmaps a page: clears the entry, full barrier, then iopf_invalidate():
 *		announces the handle, checks it again, invalidates, drops it
 *	Control	attach: publishes a handle, full barrier, the domain is live; detach: the
 *		domain is not live; retracts the handle, waits for the lines, frees it.
 *		ROUNDS times; the next handle reuses its memory
 *	Walker	the IOMMU: while the domain is live it may walk the table and cache the
 *		entry; an invalidation removes the cached entry
 *
 * Assertions:
 *	- no thread uses a handle after it was freed;
 *	- after iopf_invalidate() the cleared entry is not cached and does not return.
 * The ltl property: the detach ends although readers keep coming.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a hazard.pml
 *	spin -DLIVE -a hazard.pml	a detach is not starved
 * Each of these must be found wrong, else the model has no value:
 *	spin -DNO_SECOND_LOOK -a ...	a reader does not check again that the handle is published
 *	spin -DWEAK_SHOW -a ...		it announces the handle by a plain store
 *	spin -DWEAK_RETIRE -a ...	the handle is retracted by a plain store
 *	spin -DNO_WAIT -a ...		Control does not read the lines
 *	spin -DNO_TABLE_BARRIER -a ...	no barrier between the entry and the handle's read
 *	spin -DNO_ATTACH_BARRIER -a ...	no barrier between the handle and the live domain
 */

#define READERS	2
#define ROUNDS	2

byte published;		/* 0: no handle; the objects 1 and 2 are used alternately */
byte line[READERS];
bool freed[3];
bool entry[READERS] = true;	/* of the reader's page, in memory */
bool live;		/* the IOMMU walks the domain's table */
bool cached[READERS];
bool promised[READERS];	/* the reader's iopf_invalidate() has returned */
bool over;		/* Control has ended */

/* Store buffers: the values on the way to memory. 255: none. */
byte line_way[READERS] = 255;
byte entry_way[READERS] = 255;
byte published_way = 255;

#define DRAIN_LINE(r) \
	if :: line_way[r] != 255 -> line[r] = line_way[r]; line_way[r] = 255 :: else fi
#define DRAIN_ENTRY(r) \
	if :: entry_way[r] != 255 -> entry[r] = entry_way[r]; entry_way[r] = 255 :: else fi
#define DRAIN_PUBLISHED() \
	if :: published_way != 255 -> published = published_way; published_way = 255 :: else fi

/* A full barrier of a reader. */
#define READER_BARRIER(r)	d_step { DRAIN_ENTRY(r); DRAIN_LINE(r) }

/* The steps of the buffers. */
proctype Buffers()
{
	byte b;

	do
	:: atomic { line_way[0] != 255 -> b = line_way[0]; line[0] = b; line_way[0] = 255; b = 0 }
	:: atomic { line_way[1] != 255 -> b = line_way[1]; line[1] = b; line_way[1] = 255; b = 0 }
	:: atomic { entry_way[0] != 255 -> entry[0] = entry_way[0]; entry_way[0] = 255 }
	:: atomic { entry_way[1] != 255 -> entry[1] = entry_way[1]; entry_way[1] = 255 }
	:: atomic { published_way != 255 -> published = published_way; published_way = 255 }
	:: over && line_way[0] == 255 && line_way[1] == 255 && entry_way[0] == 255 &&
			entry_way[1] == 255 && published_way == 255 -> break
	od
}

proctype Reader(byte r)
{
	byte p;

#ifdef LIVE
	do
	:: true ->
#endif
	entry_way[r] = 0;
#ifndef NO_TABLE_BARRIER
	READER_BARRIER(r);
#endif
again:
	/* A thread reads its own stores first; it has not stored to these words. */
	p = published;
	if
	:: p == 0 -> goto out
	:: else -> skip
	fi;
#ifdef WEAK_SHOW
	line_way[r] = p;
#else
	d_step { DRAIN_ENTRY(r); DRAIN_LINE(r); line[r] = p };
#endif
#ifndef NO_SECOND_LOOK
	if
	:: published != p ->
		line_way[r] = 0;
		goto again
	:: else -> skip
	fi;
#endif
	assert(!freed[p]);
	/* The driver's barrier in front of its command; then the SYNC. */
	READER_BARRIER(r);
	assert(!freed[p]);
	cached[r] = false;
	assert(!freed[p]);
	line_way[r] = 0;
out:	skip;
	/* The promise of iopf_invalidate(). */
#ifdef LIVE
	skip
	:: over -> break
	od
#else
	d_step { assert(!cached[r]); promised[r] = true }
#endif
}

proctype Control()
{
	byte i, n, r;

	do
	:: n < ROUNDS ->
		i = 1 + n % 2;
		/*
		 * After the object's own stores; a release, or seq_cst and buffered on some
		 * machines.
		 */
		freed[i] = false;
		published_way = i;
#ifndef NO_ATTACH_BARRIER
		d_step { DRAIN_PUBLISHED() };
#endif
		live = true;
		/* The driver's detach: an invalidation of all, then a SYNC. */
		live = false;
		d_step { cached[0] = false; cached[1] = false };
#ifdef WEAK_RETIRE
		published_way = 0;
#else
		d_step { DRAIN_PUBLISHED(); published = 0 };
#endif
#ifndef NO_WAIT
		r = 0;
		do
		:: r < READERS -> line[r] != i; r++
		:: else -> break
		od;
#endif
		freed[i] = true;
		n++
	:: else -> break
	od;
	over = true
}

/* The IOMMU's walk: reads the entry, then caches it if it was valid. */
proctype Walker()
{
	do
	:: atomic { live && entry[0] && !cached[0] ->
			assert(!promised[0]); cached[0] = true }
	:: atomic { live && entry[1] && !cached[1] ->
			assert(!promised[1]); cached[1] = true }
	:: over -> break
	od
}

init
{
	atomic {
		run Buffers();
		run Reader(0);
		run Reader(1);
		run Control();
		run Walker()
	}
}

#ifdef LIVE
ltl detach_ends { <> over }
#endif
