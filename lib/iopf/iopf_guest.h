/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_GUEST_H
#define IOPF_GUEST_H

/**
 * @file
 * Invalidation commands of a guest, in the format of its IOMMU, as the guest wrote them.
 *
 * The guest has a virtual IOMMU. Its devices have nested domains (IOPF_FORMAT_ARM64_GUEST), all
 * behind one stage-2 domain, their parent: the guest's tables reach only what the parent maps. When
 * the guest changes a table or a context descriptor, it tells its virtual IOMMU by commands. The
 * VMM that shows the guest this IOMMU passes them on:
 *
 *	1 copy commands out of the guest's queue, up to its next CMD_SYNC
 *	2 in the copy replace each StreamID, which is virtual, by that of the real device
 *	3 carry out what does not invalidate structures of the guest's own: CFGI_STE, RESUME ...
 *	4 iopf_invalidate_guest() with the others
 *	5 complete the guest's CMD_SYNC
 *
 * The commands are untrusted. All of them are checked before the first is issued: the opcode, each
 * bit, each value, and that a StreamID is of a device that has the parent or a domain nested in it.
 * The VMID is the parent's, whatever the command says. So a command reaches no cached entry of
 * another guest, and no device of one, and a wrong command stops no queue of the IOMMU. The list of
 * accepted commands is in doc/guides/iopf.rst, Nested domains.
 *
 * A refused command (IOPF_INV_REFUSED, result.failed) is one that the architecture calls illegal,
 * or one that the guest's IOMMU should not have let through. Then none was issued: issue the
 * commands before it as an array of their own, and show the guest an illegal command
 * (CERROR_ILL) at its place.
 *
 * @code
 *	struct iopf_guest_cmd cmds[64];
 *	struct iopf_inv_result r;
 *
 *	n = copy_and_translate(vm, cmds);
 *	if (iopf_invalidate_guest(iommu, vm->domain, cmds, n, &r) < 0 &&
 *			r.error == IOPF_INV_REFUSED) {
 *		iopf_invalidate_guest(iommu, vm->domain, cmds, r.failed, NULL);
 *		raise_illegal_command(vm, r.failed);
 *	}
 * @endcode
 *
 * Threads: any but a fast handler, concurrently, also while devices are attached, detached and
 * replaced, and while the IOMMU starts, stops, suspends or resumes. A detach waits for the commands
 * of its device that were issued before; for a device that was detached after the check nothing is
 * issued, and its commands count as done: the detach has invalidated all of it.
 */

#include <stdint.h>

#include "iopf_inval.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_domain;
struct iopf_iommu;

/** A command: 16 bytes, in the byte order of the processor. */
struct iopf_guest_cmd {
	uint64_t dw[2];
};

/**
 * Check a guest's commands, then carry them out in their order, and wait.
 * @param iommu the one that the StreamIDs are of.
 * @param parent the guest's stage-2 domain.
 * @param cmds must not change during the call: a copy, not the guest's memory.
 * @param[out] result as of iopf_invalidate(), by index of commands; may be NULL. After
 *   IOPF_INV_ATC, the device with this StreamID is cut off from memory, and the same array
 *   succeeds.
 * @return 0, also while the IOMMU is suspended or stopped; -EINVAL (a command is refused, with a
 *   line in the log; or parent is no stage-2 domain), -ENOTCONN (the parent has no device of this
 *   IOMMU, which has cached nothing of the guest), -ENOTSUP (the driver has no such commands),
 *   -EDEADLK (in a fast handler): IOPF_INV_REFUSED; -ETIMEDOUT, -EIO.
 */
int iopf_invalidate_guest(struct iopf_iommu *iommu, struct iopf_domain *parent,
		const struct iopf_guest_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_GUEST_H */
