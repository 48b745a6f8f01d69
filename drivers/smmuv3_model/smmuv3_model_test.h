/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_TEST_H
#define SMMUV3_MODEL_TEST_H

/**
 * @file
 * The part of the software SMMUv3 that is for tests of a driver: injected errors, functions
 * that misbehave, power, page frames, and reports beside the two logs of smmuv3_model.h.
 */

#include "smmuv3_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Page frames. An allocator (a test's, mostly) tells the oracle when it gives frames to
 * an owner and when they are free. From then on each access of a device, each table walk,
 * fetch and queue write that reaches a frame that is free is an oracle error, as is one
 * that reaches the frame of another owner than the engine works for, or any given frame
 * while SMMUEN is 0 and transactions bypass the SMMU. Frames never given are not judged.
 *
 * Any thread, without a lock that the model's thread takes. Give frames before a table or
 * register points at them; free them when a completed SYNC says that the SMMU is done.
 */

/**
 * The frames of [@p addr, @p addr + @p len) belong to @p owner.
 *
 * @param addr device address, a multiple of 4 KiB, as is @p len.
 * @param owner a name for the address space; 0 for one that all may use.
 * @return 0, -EINVAL (not whole frames), -EEXIST (one is given already), -ENOMEM.
 */
int smmuv3_model_frame_give(struct smmuv3_model *m, uint64_t addr, size_t len, uint32_t owner);

/** They are free. @return 0, -EINVAL, -ENOENT (one is not given), -ENOMEM. */
int smmuv3_model_frame_free(struct smmuv3_model *m, uint64_t addr, size_t len);

/**
 * The owner whose address space the engine's transactions belong to from now on; 0 when
 * it is not known, as before the first call. Set it to 0 before the engine is detached.
 */
void smmuv3_model_dma_owner(struct smmuv3_model_dma *dma, uint32_t owner);

/**
 * Switch the power off. From now on an access to the register pages faults (SIGSEGV), a
 * read too; registers and all that was cached are lost, stalled transactions and new ones
 * abort without a record. SMMUEN set, commands not consumed or page request groups
 * outstanding are driver errors.
 * @return 0, -EALREADY, or what mprotect() said, negative.
 */
int smmuv3_model_power_off(struct smmuv3_model *m);

/**
 * Switch it on again: registers are at reset. Those whose reset value is UNKNOWN hold
 * anything, by seed.
 * @return 0, -EALREADY, or what mprotect() said, negative.
 */
int smmuv3_model_power_on(struct smmuv3_model *m);

/** Misbehaviour of a function: smmuv3_model_dma_quirks(). */
#define SMMUV3_MODEL_QUIRK_LOSE_LAST	(UINT32_C(1) << 0)
		/**< the page request with Last never arrives */
#define SMMUV3_MODEL_QUIRK_DUP_LAST	(UINT32_C(1) << 1)
		/**< it is sent twice */
#define SMMUV3_MODEL_QUIRK_CREDITS	(UINT32_C(1) << 2)
		/**< it sends page requests without regard to its allocation */
#define SMMUV3_MODEL_QUIRK_DEAD_ATC	(UINT32_C(1) << 3)
		/**< it does not answer invalidations: CERROR_ATC_INV_SYNC at the next SYNC, after
		  * conf.atc_timeout_ms */

/**
 * Make the function misbehave, until called again.
 * @param quirks SMMUV3_MODEL_QUIRK_*, 0 for none.
 * @param one_in LOSE_LAST and DUP_LAST: one time in so many, at random; 0 and 1 for always.
 */
void smmuv3_model_dma_quirks(struct smmuv3_model_dma *dma, uint32_t quirks, uint32_t one_in);

/**
 * Let the function answer each ATC_INV @p ms milliseconds after it was sent; 0 for at once,
 * what it is asked for meanwhile included. CMD_SYNC waits for the answer.
 */
void smmuv3_model_dma_atc_delay(struct smmuv3_model_dma *dma, uint32_t ms);

/** Faults of the world, on until set to 0. */
enum smmuv3_model_knob {
	SMMUV3_MODEL_KNOB_CMD_ABORT,	/**< the next n command fetches abort (CERROR_ABT) */
	SMMUV3_MODEL_KNOB_EVTQ_ABORT,	/**< the next n event writes abort (EVENTQ_ABT_ERR) */
	SMMUV3_MODEL_KNOB_MSI_ABORT,	/**< the next n MSI writes abort */
	SMMUV3_MODEL_KNOB_CMDQ_STUCK,	/**< no command is consumed while set */
	SMMUV3_MODEL_KNOB_NO_ACK,	/**< CR0ACK and IRQ_CTRLACK do not move while set */
	SMMUV3_MODEL_KNOB_SFM,		/**< enter Service Failure Mode */
	SMMUV3_MODEL_KNOB_GBPA_STUCK,	/**< GBPA.UPDATE does not clear while set */
	SMMUV3_MODEL_KNOB_PRIQ_ABORT,	/**< the next n PRIQ writes abort (PRIQ_ABT_ERR) */
	SMMUV3_MODEL_KNOB_PRIQ_LOSE,	/**< the same seen too late: PROD passes an entry that was
					  * not written, and nobody answers for it */
	SMMUV3_MODEL_KNOB_EVTQ_LOSE,	/**< the same of the next n event writes: the entry keeps
					  * the record of the round before, and EVENTQ_ABT_ERR comes
					  * two steps later */
};
#define SMMUV3_MODEL_NB_KNOBS 10
void smmuv3_model_knob(struct smmuv3_model *m, enum smmuv3_model_knob knob, uint32_t value);

/** Forget the driver's errors, for a test that made one on purpose. */
void smmuv3_model_driver_errors_clear(struct smmuv3_model *m);

/** Forget the oracle's errors, for a test that caused one on purpose. */
void smmuv3_model_oracle_errors_clear(struct smmuv3_model *m);

/**
 * With SMMUV3_MODEL_HARSH_REPORT: what is allowed, or cannot be told from what is, and is
 * worth a look all the same. They are no errors of the driver and not counted as such.
 *   - a TLBI by address whose TG or TTL misses a cached leaf in its range;
 *   - a cached L1STD, STE, L1CD or CD that differs from memory when a SYNC completes (once
 *     for each entry; right if another thread is about to send the CFGI);
 *   - a translation in an ATC that was used after the TLBI and SYNC of its page, if no
 *     ATC_INV came until ATS was switched off or the function went.
 * The list keeps the first 64 texts and counts all.
 */
unsigned int smmuv3_model_silent_reports(const struct smmuv3_model *m);

/** Text @p i of the list, or NULL. Lives as long as the model. */
const char *smmuv3_model_silent_report(const struct smmuv3_model *m, unsigned int i);

#ifdef __cplusplus
}
#endif

#endif /* SMMUV3_MODEL_TEST_H */
