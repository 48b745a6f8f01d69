/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * IOPF_TEST_ECMDQ: the software SMMUs of all tests have ECMDQs, but those that cannot have them.
 * Linked with --wrap=smmuv3_model_create, which the calls of the driver go through too.
 */

#include <stdlib.h>

#include "smmuv3_model.h"
#include "test.h"

#define NONE_WITH	(SMMUV3_MODEL_NO_MSI | SMMUV3_MODEL_NO_COHACC)

static bool without;

struct smmuv3_model *__real_smmuv3_model_create(const struct smmuv3_model_conf *conf);
struct smmuv3_model *__wrap_smmuv3_model_create(const struct smmuv3_model_conf *conf);

bool
test_adds_ecmdqs(void)
{
	return !without && getenv("IOPF_TEST_ECMDQ") != NULL;
}

int
test_begin_without_ecmdqs(void **state)
{
	(void)state;
	without = true;
	return 0;
}

int
test_end_without_ecmdqs(void **state)
{
	(void)state;
	without = false;
	return 0;
}

struct smmuv3_model *
__wrap_smmuv3_model_create(const struct smmuv3_model_conf *conf)
{
	struct smmuv3_model_conf mine = { .name = NULL };

	if (!test_adds_ecmdqs())
		return __real_smmuv3_model_create(conf);
	if (conf != NULL)
		mine = *conf;
	if (!(mine.no_features & NONE_WITH))
		mine.features |= SMMUV3_MODEL_ECMDQ;
	return __real_smmuv3_model_create(&mine);
}
