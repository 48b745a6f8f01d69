/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>

#include "../../../lib/iopf/dev.h"
#include "named_dev.h"
#include "test.h"

struct iopf_dev *
named_dev_create(void *handle)
{
	struct iopf_dev *dev = calloc(1, sizeof(*dev));

	assert_non_null(dev);
	dev->priv = handle;
	return dev;
}
