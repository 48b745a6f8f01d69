/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The guest's requests: DMA by endpoints, and hardware errors. */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "smmuv3_model_test.h"

#define NB_ENGINES	64
#define WRONG(error)	(1000u + (error))
#define BURST_BYTES	64

/* One engine for each StreamID, PASID and kind that was requested. */
static struct {
	struct smmuv3_model_dma_conf conf;
	struct smmuv3_model_dma *dma;
} engines[NB_ENGINES];

static struct stream {
	pthread_t thread;
	atomic_bool on;
	struct lab_mailbox request;
	struct smmuv3_model *model;
	unsigned int nb_ok, nb_bad;
} streams[LAB_NB_STREAMS];

static bool
same_engine(const struct smmuv3_model_dma_conf *a, const struct smmuv3_model_dma_conf *b)
{
	return a->sid == b->sid && a->has_ssid == b->has_ssid && a->ssid == b->ssid &&
		a->kind == b->kind;
}

static struct smmuv3_model_dma_conf
conf_of(const struct lab_mailbox *mb)
{
	return (struct smmuv3_model_dma_conf){
		.sid = lab_smmu_get_sid(mb->sid),
		.has_ssid = mb->has_pasid,
		.ssid = mb->has_pasid ? mb->pasid : 0,
		.kind = mb->ats ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN,
	};
}

struct smmuv3_model_dma *
lab_find_engine(struct lab_host *h, const struct smmuv3_model_dma_conf *conf)
{
	unsigned int i;

	for (i = 0; i < NB_ENGINES && engines[i].dma != NULL; i++)
		if (same_engine(&engines[i].conf, conf))
			return engines[i].dma;
	if (i == NB_ENGINES)
		return NULL;
	engines[i].conf = *conf;
	engines[i].dma = smmuv3_model_dma_create(h->model, conf);
	return engines[i].dma;
}

static struct smmuv3_model_dma *
find_engine(struct lab_host *h, const struct lab_mailbox *mb)
{
	struct smmuv3_model_dma_conf conf = conf_of(mb);

	return lab_find_engine(h, &conf);
}

/* False: the time is over, and the DMA stays pending. */
static bool
wait_done(struct lab_host *h, struct smmuv3_model_dma *dma, struct smmuv3_model_done *done)
{
	while (smmuv3_model_dma_poll(dma, done, 1) == 0) {
		if (atomic_load(&h->stop) || lab_qemu_ended(h) || lab_now() > h->opt.limit) {
			atomic_store(&h->stop, true);
			return false;
		}
		usleep(20);
	}
	return true;
}

static void
run_dma(struct lab_host *h, struct lab_mailbox *mb)
{
	static uint8_t device[LAB_DATA_SIZE];
	uint8_t *data = (uint8_t *)mb + LAB_DATA;
	bool read = mb->op == LAB_READ;
	struct smmuv3_model_op op = {
		.type = read ? SMMUV3_MODEL_READ : SMMUV3_MODEL_WRITE,
		.privileged = mb->privileged,
		.instruction = mb->instruction,
		.addr = mb->addr,
		.buf = device,
		.len = mb->len,
	};
	struct smmuv3_model_dma *dma = find_engine(h, mb);
	struct smmuv3_model_done done;
	int ret;

	if (dma == NULL || mb->len > LAB_DATA_SIZE) {
		mb->status = WRONG(EINVAL);
		return;
	}
	if (read)
		memset(device, 0xee, sizeof(device));
	else
		memcpy(device, data, sizeof(device));
	ret = smmuv3_model_dma_submit(dma, &op);
	if (ret < 0) {
		mb->status = WRONG((unsigned int)-ret);
		return;
	}
	if (!wait_done(h, dma, &done))
		return;
	if (read)
		memcpy(data, device, sizeof(device));
	mb->status = done.status;
	mb->nb_stalls = done.nb_stalls;
	mb->nb_groups = done.nb_groups;
	if (h->opt.trace)
		lab_say("%s SID %u PASID %d addr 0x%llx len %llu: %s, %u stalls, %u groups\n",
			read ? "read" : "write", mb->sid, mb->has_pasid ? (int)mb->pasid : -1,
			mb->addr, mb->len, smmuv3_model_status_name(done.status), done.nb_stalls,
			done.nb_groups);
}

static void
run_burst(struct lab_host *h, struct lab_mailbox *mb)
{
	static uint8_t device[BURST_BYTES];
	struct smmuv3_model_dma *dma = find_engine(h, mb);
	struct smmuv3_model_op op = {
		.type = mb->write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ,
		.addr = mb->addr,
		.buf = device,
		.len = sizeof(device),
	};
	struct smmuv3_model_done done;
	unsigned int sent = 0, ended = 0;

	if (dma == NULL) {
		mb->status = WRONG(EINVAL);
		return;
	}
	while (ended < mb->count) {
		if (sent < mb->count && smmuv3_model_dma_submit(dma, &op) == 0) {
			op.addr += mb->stride;
			sent++;
			continue;
		}
		if (!wait_done(h, dma, &done))
			return;
		ended++;
		mb->nb_stalls += done.nb_stalls;
		mb->status += done.status != SMMUV3_MODEL_OK;
	}
}

static void *
stream_main(void *arg)
{
	struct stream *s = arg;
	struct smmuv3_model_dma_conf conf = conf_of(&s->request);
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(s->model, &conf);
	uint8_t device[BURST_BYTES];
	int ret;

	memset(device, 0x5a, sizeof(device));
	while (atomic_load(&s->on)) {
		if (s->request.write)
			ret = smmuv3_model_dma_write(dma, s->request.addr, device, sizeof(device));
		else
			ret = smmuv3_model_dma_read(dma, device, s->request.addr, sizeof(device));
		s->nb_ok += ret == 0;
		s->nb_bad += ret != 0;
		if (s->request.pause_us != 0)
			usleep(s->request.pause_us);
	}
	smmuv3_model_dma_destroy(dma);
	return NULL;
}

static void
start_stream(struct lab_host *h, struct lab_mailbox *mb)
{
	struct stream *s = &streams[mb->stream % LAB_NB_STREAMS];

	if (atomic_load(&s->on)) {
		mb->status = WRONG(EBUSY);
		return;
	}
	*s = (struct stream){ .on = true, .request = *mb, .model = h->model };
	if (pthread_create(&s->thread, NULL, stream_main, s) != 0)
		mb->status = WRONG(EAGAIN);
}

static void
stop_stream(struct lab_mailbox *mb)
{
	struct stream *s = &streams[mb->stream % LAB_NB_STREAMS];

	if (!atomic_load(&s->on)) {
		mb->status = WRONG(EINVAL);
		return;
	}
	atomic_store(&s->on, false);
	pthread_join(s->thread, NULL);
	mb->nb_ok = s->nb_ok;
	mb->nb_bad = s->nb_bad;
}

static void
call_ats(struct lab_host *h, struct lab_mailbox *mb)
{
	struct smmuv3_model_dma *dma;
	int ret = 0;

	mb->ats = 1;
	dma = find_engine(h, mb);
	if (dma == NULL) {
		mb->status = WRONG(EINVAL);
		return;
	}
	switch (mb->call) {
	case LAB_ATS_OFF:
		ret = smmuv3_model_dma_ats_disable(dma);
		break;
	case LAB_ATS_ON:
		ret = smmuv3_model_dma_ats_enable(dma, 0);
		break;
	case LAB_PRI_OFF:
		ret = smmuv3_model_dma_pri_disable(dma);
		break;
	case LAB_PRI_ON:
		ret = smmuv3_model_dma_pri_enable(dma, mb->arg);
		break;
	case LAB_ATC_DEAD:
		smmuv3_model_dma_quirks(dma, mb->arg ? SMMUV3_MODEL_QUIRK_DEAD_ATC : 0, 1);
		break;
	case LAB_RESET:
		smmuv3_model_dma_reset(dma);
		break;
	default:
		ret = -EINVAL;
	}
	if (ret < 0)
		mb->status = WRONG((unsigned int)-ret);
}

static void
serve(struct lab_host *h, struct lab_mailbox *mb)
{
	mb->status = 0;
	switch (mb->op) {
	case LAB_READ:
	case LAB_WRITE:
		run_dma(h, mb);
		break;
	case LAB_BURST:
		run_burst(h, mb);
		break;
	case LAB_STREAM_ON:
		start_stream(h, mb);
		break;
	case LAB_STREAM_OFF:
		stop_stream(mb);
		break;
	case LAB_ATS:
		call_ats(h, mb);
		break;
	case LAB_KNOB:
		smmuv3_model_knob(h->model, mb->call, mb->arg);
		break;
	case LAB_MARK:
		mb->text[sizeof(mb->text) - 1] = '\0';
		lab_say("---- %s\n", mb->text);
		break;
	case LAB_REPORT:
		mb->driver_errors = smmuv3_model_driver_errors(h->model);
		mb->oracle_errors = smmuv3_model_oracle_errors(h->model);
		mb->stalls_outstanding = smmuv3_model_stalls_outstanding(h->model);
		break;
	case LAB_BENCH:
		lab_bench_run(h, mb);
		break;
	case LAB_END:
		h->done = true;
		break;
	default:
		mb->status = WRONG(EINVAL);
	}
}

bool
lab_mailbox_serve(struct lab_host *h)
{
	struct lab_mailbox *mb = (struct lab_mailbox *)(h->ram + (LAB_MAILBOX - LAB_RAM));
	/* Acquires the guest's release: the request. */
	unsigned int seq = __atomic_load_n(&mb->seq, __ATOMIC_ACQUIRE);

	if (seq == mb->done)
		return false;
	serve(h, mb);
	if (!atomic_load(&h->stop))
		__atomic_store_n(&mb->done, seq, __ATOMIC_RELEASE);
	return true;
}
