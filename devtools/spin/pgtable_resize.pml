/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/pgtable: a block is split into a table of two pages, and the table is joined to a block,
 * while an SMMU with HTTU makes leaves dirty and writes.
 *
 * P is the entry of the block's level, E the entries of the table below it. Each statement between
 * two program points is one atomic access, as each is in the code.
 *
 *	Resize	pgt_split_begin(), TLBI and SYNC, pgt_resize_end(); then the same with
 *		pgt_join_begin()
 *	Smmu	walks P and E, may keep the pointer to the table in a walk cache; makes a clean
 *		leaf dirty by a swap that compares it with what the walk read; keeps a dirty one
 *		in the TLB and writes through it until the TLBI
 *
 * Assertions:
 *	- a page that was written is dirty in what is installed at the end;
 *	- the TLB and the walk cache hold nothing of the old size when the new one is installed
 *	  (break-before-make).
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a pgtable_resize.pml
 * Each of these must be found wrong, else the model has no value:
 *	spin -DBLIND_UPDATE -a ...	the SMMU's update is a store
 *	spin -DBLIND_CLOSE -a ...	the block is closed by a store after a load
 *	spin -DCOPY_FIRST -a ...	the leaves are copied, then closed
 *	spin -DCHECKED_BLOCK -a ...	a join installs what its check found, before the close
 *	spin -DNO_SYNC -a ...		the new size is installed without TLBI and SYNC
 */

#define CLOSED		0
#define CLEAN		1
#define DIRTY		2
#define POINTER(t)	(10 + (t))
#define IS_POINTER(v)	((v) >= 10)
#define PAGES		2

byte P = CLEAN;
byte E[PAGES];
bool written[PAGES];

/* The device. */
bool walking;
byte cached_table;		/* POINTER(t), or 0 */
byte tlb[PAGES];		/* 0: none, 1: a page, 2: a block; both writable */
bool over;

#ifdef NO_SYNC
#define SYNC()	skip
#else
#define SYNC() \
	atomic { !walking -> tlb[0] = 0; tlb[1] = 0; cached_table = 0 }
#endif

/* Install a value: nothing of the old size is left, and no write is forgotten. */
#define INSTALL(v, size)							\
	d_step {								\
		assert(tlb[0] != size && tlb[1] != size);			\
		assert(size == 2 || cached_table == 0);				\
		assert(P == CLOSED);						\
		P = v								\
	}

proctype Resize()
{
	byte old, a, b;

	/* Split: swap until no update of the SMMU comes between. */
again:
	old = P;
#ifdef BLIND_CLOSE
	P = CLOSED;
#else
	d_step {
		if
		:: P == old -> P = CLOSED; a = 1
		:: else -> a = 0
		fi
	};
	if
	:: a == 0 -> goto again
	:: else -> skip
	fi;
#endif
	E[0] = old;
	E[1] = old;
	SYNC();
	d_step { assert(!written[0] || E[0] == DIRTY); assert(!written[1] || E[1] == DIRTY) };
	INSTALL(POINTER(0), 2);

	/* Join: unlink, then exchange each entry. */
#ifdef CHECKED_BLOCK
	a = E[0];
	b = E[1];
#endif
	d_step { assert(P == POINTER(0)); P = CLOSED };
#ifdef COPY_FIRST
	a = E[0];
	E[0] = CLOSED;
	b = E[1];
	E[1] = CLOSED;
#else
#ifdef CHECKED_BLOCK
	E[0] = CLOSED;
	E[1] = CLOSED;
#else
	d_step { a = E[0]; E[0] = CLOSED };
	d_step { b = E[1]; E[1] = CLOSED };
#endif
#endif
	old = (a == DIRTY || b == DIRTY -> DIRTY : CLEAN);
	SYNC();
	d_step { assert((!written[0] && !written[1]) || old == DIRTY) };
	INSTALL(old, 1);
	over = true
}

/* The SMMU's update of an entry that its walk read as e. */
#ifdef BLIND_UPDATE
#define SAME(entry, e)	true
#else
#define SAME(entry, e)	((entry) == (e))
#endif

proctype Smmu()
{
	byte page, p, e;
	bool passes;

	do
	:: over -> break
	:: atomic { walking = true; if :: page = 0 :: page = 1 fi };
		passes = false;
		if
		:: tlb[page] != 0 -> passes = true
		:: else ->
			if
			:: cached_table != 0 -> p = cached_table
			:: p = P
			fi;
			if
			:: IS_POINTER(p) ->
				cached_table = p;
				e = E[page];
				if
				:: e == DIRTY -> tlb[page] = 1; passes = true
				:: e == CLEAN ->
					d_step {
						passes = SAME(E[page], e);
						if
						:: passes -> E[page] = DIRTY; tlb[page] = 1
						:: else -> skip
						fi
					}
				:: else -> skip
				fi
			:: p == DIRTY -> tlb[page] = 2; passes = true
			:: p == CLEAN ->
				d_step {
					passes = SAME(P, p);
					if
					:: passes -> P = DIRTY; tlb[page] = 2
					:: else -> skip
					fi
				}
			:: else -> skip
			fi
		fi;
		d_step {
			if
			:: passes -> written[page] = true
			:: else -> skip
			fi;
			p = 0; e = 0; passes = false; walking = false; page = 0
		}
	od
}

init
{
	atomic {
		run Resize();
		run Smmu()
	}
}
