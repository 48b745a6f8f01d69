/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ECMDQs whose registers and rings are written at random. */

#include <stdlib.h>

#include "ecmdq_rig.h"
#include "test.h"

/* What software writes at random costs the model nothing, and a correct queue works after it. */
static void
check_random_writes(uint32_t harsh, unsigned int seed)
{
	struct ecmdq q[4];
	struct rig r;

	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .ecmdq_log2 = 2, .harsh = harsh,
			.seed = seed });
	for (unsigned int i = 0; i < 4; i++)
		ecmdq_start(&q[i], &r, i);
	srandom(seed);
	for (unsigned int i = 0; i < 20000; i++) {
		struct ecmdq *a = &q[random() % 4];
		uint32_t v = (uint32_t)random() ^ (uint32_t)random() << 16;

		switch (random() % 8) {
		case 0:
			/* Any register of the page, at any offset */
			rig_write(&r, 0x20000 + (v & 0xfffc), (uint32_t)random() << 1);
			break;
		case 1:
			smmuv3_write64(r.regs, a->at, (uint64_t)v << 32 | (uint32_t)random());
			break;
		case 2:
			rig_write(&r, a->at + SMMUV3_ECMDQ_CONS, v);
			break;
		case 3:
			rig_write(&r, a->at + SMMUV3_ECMDQ_PROD, v);
			break;
		case 4:
			rig_write(&r, a->at + SMMUV3_ECMDQ_PROD,
					rig_read(&r, a->at + SMMUV3_ECMDQ_PROD) ^
					(v & 1 ? ECMDQ_EN : ECMDQ_ERRACK));
			break;
		case 5:
			/* A correct BASE, now and then */
			smmuv3_write64(r.regs, a->at, rig_get_addr(&r, a->ring) | a->log2);
			break;
		case 6:
			a->ring[v % 16].dw[0] = v % 3 == 0 ? v : v % 0x50;
			a->ring[v % 16].dw[1] = v % 5 == 0 ? v : 0;
			break;
		default:
			rig_write(&r, 0x4000 + (v & 0x1ffc), v);
			break;
		}
		smmuv3_model_step(r.m, v % 16);
	}
	for (unsigned int i = 0; i < 4; i++) {
		/* EN may be on its way: two attempts. */
		for (int n = 0; n < 2; n++) {
			rig_write(&r, q[i].at + SMMUV3_ECMDQ_PROD, 0);
			rig_run(&r);
		}
		ecmdq_start(&q[i], &r, i);
	}
	smmuv3_model_driver_errors_clear(r.m);
	smmuv3_model_oracle_errors_clear(r.m);
	for (unsigned int i = 0; i < 4; i++)
		ecmdq_send(&q[i], smmuv3_cmd_sync());
	rig_sync(&r);
	rig_close(&r);
}

static void
test_ecmdq_survives_random_writes(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 8; seed++)
		check_random_writes(seed % 2 == 0 ? SMMUV3_MODEL_HARSH_ALL : 0, seed);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_ecmdq_survives_random_writes),
};

TEST_SUITE(model_ecmdq_random, tests, NULL, NULL);
