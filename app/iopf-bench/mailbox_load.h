/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MAILBOX_LOAD_H
#define MAILBOX_LOAD_H

/*
 * The engine "mailbox": a passive run whose device another program drives on request, in another
 * process or on another machine. The requests go through the mailbox of the Linux lab
 * (devtools/linux-lab/guest/mailbox.h) at the begin of a file that both map: in the lab's guest
 * /dev/smmulab, whose other side is the host program.
 *
 * The load thread asks for bursts: DMA writes of 64 bytes, each to the next page of the region. The
 * other side has all of a burst under way together, as far as its engine has room, and answers when
 * all have ended. When the region is used up the thread unmaps it, and begins again. Each write
 * must succeed, and stall once.
 *
 * Call order, on the main thread: mailbox_open(), passive_open(), mailbox_start(),
 * passive_measure(), mailbox_stop() after a start that succeeded, mailbox_close().
 */

#include "passive.h"

struct mailbox;

/* Returns NULL after reporting the error. conf must outlive it. */
struct mailbox *mailbox_open(const struct bench_conf *conf);
/* Start the load thread. After an error of it passive_measure() ends. Returns 0 or -errno. */
int mailbox_start(struct mailbox *mailbox, struct passive *p);
/* Returns 0, or -errno: the load thread has reported an error. */
int mailbox_stop(struct mailbox *mailbox);
void mailbox_close(struct mailbox *mailbox);

#endif /* MAILBOX_LOAD_H */
