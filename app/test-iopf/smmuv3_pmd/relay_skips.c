/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* IOPF_TEST_BACKEND=relay: the tests of what a virtual SMMU does not have, by name. */

#include <string.h>

#include <rte_common.h>

#include "backend_rig.h"
#include "relay_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

/* A feature that a test asks for. */
const char *
relay_rig_find_missing(const struct smmuv3_model_conf *conf)
{
	if (conf->features & SMMUV3_MODEL_S2)
		return "the virtual SMMU has no stage 2";
	if (conf->features & (SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY))
		return "the virtual SMMU has no HTTU";
	if (conf->features & SMMUV3_MODEL_ECMDQ)
		return "the virtual SMMU has no ECMDQs";
	if (conf->features & SMMUV3_MODEL_PRI && conf->stall_model == SMMUV3_STALL_MODEL_FORCED)
		return "the host's devices cannot have PRI where stalls are forced";
	return NULL;
}

#define ENDPOINTS	"with PRI all devices of the host are endpoints, and none stalls"
#define HOST_CUTS_OFF	"the host cuts a dead ATC off before the guest's driver does"
#define WHOLE_GROUPS	"a group of page requests reaches the guest whole"
#define STRANGERS	"the host tells no guest of StreamIDs that have no device"
#define NO_PRG_PASID	"the host's devices are added without prg_pasid"
#define LOST_RECORD	"the relay answers a group whose record is lost"
#define POWER		"the virtual SMMU has no power switch"

static const struct {
	const char *suite;
	const char *test;	/* NULL: all */
	const char *why;
} skips[] = {
	{ "pmd_answers_held", NULL, "a guest that clears SMMUEN has no page requests outstanding" },
	{ "pmd_atc_dead", "test_an_atc_that_does_not_answer_is_cut_off", HOST_CUTS_OFF },
	{ "pmd_atc_dead", "test_each_dead_atc_among_several_costs_one_timeout", HOST_CUTS_OFF },
	{ "pmd_ats_answers", "test_answers_carry_a_pasid_where_it_is_required", NO_PRG_PASID },
	{ "pmd_attach", "test_an_access_without_an_attachment_leaves_a_record", STRANGERS },
	{ "pmd_attach_repeat", "test_a_removal_that_fails_anywhere_can_be_repeated",
		"the host invalidates an ATC that the guest has switched off, and cuts it off" },
	{ "pmd_cmdq", "test_commands_without_room_are_sent_later_and_in_order",
		"the virtual SMMU has 64 stalls, so the driver's backlog is small" },
	{ "pmd_domain", "test_one_device_may_have_many_streams",
		"the devices of the guest have other StreamIDs" },
	{ "pmd_inval", "test_answers_given_before_an_invalidation_go_in_front_of_it",
		"a step of the virtual SMMU consumes more than one command" },
	{ "pmd_inval_errors", NULL, "it traces the commands of the host's SMMU" },
	{ "pmd_requests", "test_a_group_is_requested_and_answered", NO_PRG_PASID },
	{ "pmd_requests", "test_a_stop_marker_needs_no_answer_and_an_empty_request_does",
		"the relay passes no stop markers" },
	{ "pmd_requests", "test_the_priq_is_enabled_when_the_smmu_has_one",
		"the virtual SMMU has ATS and PRI, or neither" },
	{ "pmd_requests_lost", "test_a_request_lost_in_the_middle_of_a_burst", LOST_RECORD },
	{ "pmd_requests_lost", "test_every_group_is_answered_once_under_overflow", WHOLE_GROUPS },
	{ "pmd_slow", NULL, ENDPOINTS },
	{ "pmd_state", "test_no_wait_reads_a_register_after_a_stop", POWER },
	{ "pmd_state", "test_a_dump_reads_no_register_after_a_stop", POWER },
	{ "pmd_state", "test_a_dump_reads_no_register_during_another_control_call", POWER },
	{ "pmd_suspend", "test_a_suspend_tells_of_events_that_an_overflow_lost", STRANGERS },
	{ "pmd_suspend", "test_dma_passes_while_suspended_only_with_the_unsafe_flag",
		"while the virtual SMMU is off the guest's devices abort" },
	{ "policies", NULL, ENDPOINTS },
	{ "pri_control", "a_priq_write_abort_disables_pri_of_its_device_until_a_restart",
		WHOLE_GROUPS },
	{ "pri_control", "a_lost_request_keeps_pri_from_restarting_until_a_reset",
		LOST_RECORD },
	{ "pri_control", "groups_stay_pending_if_recovery_terminates_stalls", ENDPOINTS },
	{ "pri_groups", "groups_of_several_devices_may_interleave_in_any_order", WHOLE_GROUPS },
	{ "pri_groups", "two_pasids_can_share_an_index_if_answers_carry_the_pasid", NO_PRG_PASID },
	{ "pri_join", "faults_join_across_stalls_and_page_requests", ENDPOINTS },
	{ "pri_last", NULL, WHOLE_GROUPS },
	{ "pri_overflow", NULL, WHOLE_GROUPS },
	{ "unknown_sids", NULL, STRANGERS },
};

static const char *
find_obstacle(const char *suite, const char *test)
{
	for (unsigned int i = 0; backend_rig_is_relay() && i < RTE_DIM(skips); i++)
		if (strcmp(skips[i].suite, suite) == 0 &&
				(skips[i].test == NULL || strcmp(skips[i].test, test) == 0))
			return skips[i].why;
	return NULL;
}

__attribute__((constructor)) static void
relay_skips_register(void)
{
	test_find_obstacle = find_obstacle;
}
