/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VMM_HOSTILE_H
#define VMM_HOSTILE_H

/*
 * A hostile guest of the rig in vmm_relay_rig.h: vm[0]. Its operations are bytes, from a fuzzer or
 * from random numbers. vm[1] is another guest, which does all that a guest should. Frames have
 * owners, so that the oracle of the host's SMMU reports a DMA that reaches memory of another guest
 * or of the host.
 *
 *	vm_open()		a host, two guests
 *	hostile_open()
 *	hostile_run()		as often as one likes; each time from a guest's power-on
 *	hostile_check()		fails unless the garbage cost vm[0] alone
 *	hostile_close()
 *	vm_teardown()
 */

#include <stddef.h>
#include <stdint.h>

/* An operation. The meaning of a, b and c depends on what: see vmm_hostile.c. */
struct hostile_op {
	uint8_t what, a, b, c;
};

enum hostile_what {
	HOSTILE_LITERAL,	/* shift a, b, c into the accumulator */
	HOSTILE_REG,		/* a register by index a := value b ^ c */
	HOSTILE_POKE,		/* any offset of the register pages := accumulator, 1 to 8 bytes */
	HOSTILE_TABLE,		/* word b of structure a := value c */
	HOSTILE_FLIP,		/* one bit of structure a */
	HOSTILE_CMD,		/* a command by index a, which is legal unless a says otherwise */
	HOSTILE_CMD_RAW,	/* the command { accumulator ^ a, value b ^ c } */
	HOSTILE_JUMP,		/* CMDQ_PROD += a */
	HOSTILE_DMA,		/* an access of a device, or many, by a: page or value b */
	HOSTILE_RUN,		/* a part of the world, by a, or all of it until it rests */
	HOSTILE_ACK,		/* acknowledge GERROR; a: replace the command in error */
	HOSTILE_CONSUME,	/* EVENTQ_CONS := EVENTQ_PROD */
	HOSTILE_BOOT,		/* bring the virtual SMMU up */
	HOSTILE_MAP,		/* VA page a at data page b, with bits c of the descriptor wrong */
	HOSTILE_RESET,		/* by the VMM; a: the guest dies, and another one starts */
	HOSTILE_OTHER,		/* if a is 0 the other guest works; not with page requests */
	HOSTILE_NB,
};

/* Commands by index: a of HOSTILE_CMD. */
extern const uint8_t hostile_cmds[16];
#define HOSTILE_CMD_SID_OF_C	0x10	/* the StreamID is c, not that of the guest's device */
#define HOSTILE_CMD_NOISE_0	0x20	/* exclusive or of the accumulator */
#define HOSTILE_CMD_NOISE_1	0x40

void hostile_open(void);
void hostile_close(void);

/* @p size bytes are size / 4 operations; what counts modulo HOSTILE_NB. */
void hostile_run(const uint8_t *ops, size_t size);

/*
 * The VMM resets vm[0]. Then no access of its devices is outstanding, nothing of vm[1] and of the
 * host's tables has changed, vm[1] works, and no error has been seen on the host's SMMU. Ends with
 * a new vm[0].
 */
void hostile_check(void);

#endif /* VMM_HOSTILE_H */
