/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf/listener.c: the ring of a listener, with merging. Each event is in the count of exactly
 * one record that the reader takes, or in the gap of a full ring; the reader never takes a record
 * that is half written.
 *
 * A ring of SIZE entries, a writer of EVENTS events of one kind, of which any may be merged, and a
 * reader that may take a record at any time: the window of merge_ms does not matter for this. The
 * steps W1 to W3 and R1 to R4 are those of the file. A record is two words, written one after the
 * other, so that a torn one is seen. The writer's stores become visible in order, and a store with
 * release not before the others: memory is sequentially consistent here, and the release and acquire
 * pairs of the file are what makes it so for these words.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a listener.pml
 *	spin -DSIZE=1 -DEVENTS=5 -a listener.pml
 * Each of these must be found wrong:
 *	spin -DNO_EXCHANGE -a ...	the reader loads the count and does not clear it
 *	spin -DNO_SWAP -a ...		the writer adds to the count with a load and a store
 *	spin -DHEAD_FIRST -a ...	the writer publishes the entry before it has written it
 *	spin -DTAIL_FIRST -a ...	the reader frees the entry before it has copied it
 *	spin -DNO_ROOM -a ...		the writer does not look at tail
 */

#ifndef SIZE
#define SIZE	2
#endif
#ifndef EVENTS
#define EVENTS	4
#endif

byte one[SIZE], two[SIZE];	/* the words of the record in each entry */
byte cnt[SIZE];
byte head, tail;
byte merged_or_read;		/* events that the reader has got */
byte lost;			/* events without a record */
bool written;			/* the writer has ended */

active proctype Writer()
{
	byte i, seq, last, n;
	bool have;

	do
	:: i < EVENTS ->
		i++;
		n = 0;
		if
		:: have ->
			/* The event may equal the last one. */
			if
			:: true ->
				n = cnt[last];
				if
				:: n != 0 ->
#ifdef NO_SWAP
					cnt[last] = n + 1
#else
					atomic {
						if
						:: cnt[last] == n -> cnt[last] = n + 1
						:: else -> n = 0
						fi
					}
#endif
				:: else
				fi
			:: true
			fi
		:: else
		fi;
		if
		:: n != 0
		:: else ->
			seq++;
			if
#ifdef NO_ROOM
			:: false	/* unreached */
#else
			:: head - tail >= SIZE -> lost++
#endif
			:: else ->
				last = head % SIZE;
				have = true;
#ifdef HEAD_FIRST
				head++;
#endif
				one[last] = seq;
				two[last] = seq;
				cnt[last] = 1;
#ifndef HEAD_FIRST
				head++
#endif
			fi
		fi
	:: else -> break
	od;
	written = true
}

active proctype Reader()
{
	byte a, b, c, before, at;

	do
	:: tail != head ->
		at = tail % SIZE;
#ifdef TAIL_FIRST
		tail++;
#endif
		a = one[at];
		b = two[at];
#ifdef NO_EXCHANGE
		c = cnt[at];
#else
		atomic { c = cnt[at]; cnt[at] = 0 };
#endif
		assert(a == b);
		assert(a > before);
		assert(c != 0);
		before = a;
		merged_or_read = merged_or_read + c;
#ifndef TAIL_FIRST
		tail++
#endif
	:: written && tail == head -> break
	od;
	/* None is lost between the writer and the reader, and none is counted twice. */
	assert(merged_or_read + lost == EVENTS)
}
