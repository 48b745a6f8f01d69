/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_TEST_H
#define SMMUV3_MODEL_TEST_H

/**
 * @file
 * The part of the software SMMUv3 that is for tests of a driver: page frames, power,
 * misbehaving endpoints, injected errors, and reports beside the two logs of smmuv3_model.h.
 */

#include "smmuv3_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Page frames. An allocator, mostly a test's, tells the oracle when it gives frames to an
 * owner and when it frees them. The oracle then reports each DMA, table walk, fetch, queue
 * write and MSI that reaches a free frame, each DMA that reaches a frame of another owner
 * than that of the engine, and each DMA that reaches a given frame while SMMUEN is 0 and
 * transactions bypass the SMMU. The oracle does not check frames that were never given.
 *
 * Any thread; the model's thread takes none of the locks. Give frames before a table or
 * register points at them. Free them after a SYNC has completed their invalidation.
 */

/**
 * Give the frames of [@p addr, @p addr + @p len) to @p owner.
 *
 * @param addr device address, a multiple of 4 KiB, as is @p len.
 * @param owner a number for the address space; 0 for frames that all may use.
 * @return 0, -EINVAL (not whole frames), -EEXIST (one of them is given), -ENOMEM.
 */
int smmuv3_model_frame_give(struct smmuv3_model *m, uint64_t addr, size_t len, uint32_t owner);

/** Free the frames. @return 0, -EINVAL, -ENOENT (one of them is not given), -ENOMEM. */
int smmuv3_model_frame_free(struct smmuv3_model *m, uint64_t addr, size_t len);

/**
 * Set the owner of the address space that the engine's transactions use; 0 if it is not
 * known, as before the first call. Set it to 0 before the engine is detached.
 */
void smmuv3_model_dma_owner(struct smmuv3_model_dma *dma, uint32_t owner);

/**
 * Switch the power off. A later access to the register pages, also a read, faults
 * (SIGSEGV), but not through another mapping of conf.regs. The SMMU loses its registers and
 * caches. Stalled and new transactions abort without a record. It is a driver error if SMMUEN
 * is set, a command is not consumed or a page request group is outstanding.
 * @return 0, -EALREADY, or the negated error of mprotect().
 */
int smmuv3_model_power_off(struct smmuv3_model *m);

/**
 * Switch the power on. Registers have their reset values. A register whose reset value is
 * UNKNOWN has a random value, by seed.
 * @return 0, -EALREADY, or the negated error of mprotect().
 */
int smmuv3_model_power_on(struct smmuv3_model *m);

/** Errors of an endpoint, for smmuv3_model_dma_quirks(). */
#define SMMUV3_MODEL_QUIRK_LOSE_LAST	(UINT32_C(1) << 0)
		/**< the page request with Last is lost */
#define SMMUV3_MODEL_QUIRK_DUP_LAST	(UINT32_C(1) << 1)
		/**< the page request with Last is sent twice */
#define SMMUV3_MODEL_QUIRK_CREDITS	(UINT32_C(1) << 2)
		/**< the endpoint sends more page requests than it has credits */
#define SMMUV3_MODEL_QUIRK_DEAD_ATC	(UINT32_C(1) << 3)
		/**< the endpoint answers no ATC_INV: the next SYNC ends with CERROR_ATC_INV_SYNC
		  * after conf.atc_timeout_ms */

/**
 * Select the errors that the endpoint makes, until the next call.
 * @param quirks SMMUV3_MODEL_QUIRK_*, 0 for none.
 * @param one_in LOSE_LAST and DUP_LAST occur for one request in @p one_in, at random; 0 and 1
 *	for each.
 */
void smmuv3_model_dma_quirks(struct smmuv3_model_dma *dma, uint32_t quirks, uint32_t one_in);

/**
 * Let the endpoint answer each ATC_INV @p ms milliseconds after the SMMU sent it. With 0 it
 * answers at once, also those that it has received. CMD_SYNC waits for the answer.
 */
void smmuv3_model_dma_atc_delay(struct smmuv3_model_dma *dma, uint32_t ms);

/** Injected errors. A value n is used up by n errors; the others last until the value is 0. */
enum smmuv3_model_knob {
	SMMUV3_MODEL_KNOB_CMD_ABORT,	/**< the next n command fetches abort (CERROR_ABT) */
	SMMUV3_MODEL_KNOB_EVTQ_ABORT,	/**< the next n event writes abort (EVENTQ_ABT_ERR) */
	SMMUV3_MODEL_KNOB_MSI_ABORT,	/**< the next n MSI writes abort */
	SMMUV3_MODEL_KNOB_CMDQ_STUCK,	/**< the SMMU consumes no command while set */
	SMMUV3_MODEL_KNOB_NO_ACK,	/**< CR0ACK and IRQ_CTRLACK do not change while set */
	SMMUV3_MODEL_KNOB_SFM,		/**< enter Service Failure Mode */
	SMMUV3_MODEL_KNOB_GBPA_STUCK,	/**< GBPA.UPDATE does not clear while set */
	SMMUV3_MODEL_KNOB_PRIQ_ABORT,	/**< the next n PRIQ writes abort (PRIQ_ABT_ERR) */
	SMMUV3_MODEL_KNOB_PRIQ_LOSE,	/**< the next n PRIQ writes abort late: PROD passes an entry
					  * that was not written; no answer is sent */
	SMMUV3_MODEL_KNOB_EVTQ_LOSE,	/**< the next n event writes abort late: the entry keeps its
					  * old record; EVENTQ_ABT_ERR follows two steps later */
	SMMUV3_MODEL_KNOB_CMD_ILL,	/**< the next n commands are refused (CERROR_ILL), CMD_SYNCs
					  * too */
};
#define SMMUV3_MODEL_NB_KNOBS 11
void smmuv3_model_knob(struct smmuv3_model *m, enum smmuv3_model_knob knob, uint32_t value);
/** Clear the log of driver errors, after a test has made one on purpose. */
void smmuv3_model_driver_errors_clear(struct smmuv3_model *m);

/** Clear the log of oracle errors, after a test has caused one on purpose. */
void smmuv3_model_oracle_errors_clear(struct smmuv3_model *m);

/**
 * With SMMUV3_MODEL_HARSH_REPORT the model reports behaviour that is allowed, or may be
 * allowed, but often comes from an error. A report does not count as a driver error.
 *   - a TLBI by address whose TG or TTL does not match a cached leaf in its range;
 *   - a TLB entry of both stages that is used after the TLBI_S2_IPA and SYNC of its IPA (correct
 *     if a TLBI_NH_ALL or NH_VAA follows);
 *   - a cached L1STD, STE, L1CD or CD that differs from memory when a SYNC completes (once
 *     for each entry; correct if another thread sends the CFGI later);
 *   - an ATC entry that is used after the TLBI and SYNC of its page, if no ATC_INV follows
 *     before ATS is disabled or the endpoint is destroyed.
 * The list counts all reports and keeps the texts of the first 64.
 */
unsigned int smmuv3_model_silent_reports(const struct smmuv3_model *m);

/** Text @p i of the list, or NULL. Valid as long as the model. */
const char *smmuv3_model_silent_report(const struct smmuv3_model *m, unsigned int i);

/*
 * The same for the registers and queues that a guest sees (smmuv3_front.h). Any thread, but for
 * the clearing of the log.
 */
struct smmuv3_front;
void smmuv3_front_knob(struct smmuv3_front *f, enum smmuv3_model_knob knob, uint32_t value);
void smmuv3_front_errors_clear(struct smmuv3_front *f);
/** Counters of registers and queues; those of devices and translation are 0. */
uint64_t smmuv3_front_stat(const struct smmuv3_front *f, enum smmuv3_model_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* SMMUV3_MODEL_TEST_H */
