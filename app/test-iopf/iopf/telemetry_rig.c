/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>

#include "iopf.h"
#include "telemetry_rig.h"
#include "test.h"

char tel_answer[1 << 18];

static int sock = -1;
static cJSON *json;			/* the answer, parsed */

bool
tel_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/dpdk_telemetry.v2",
			rte_eal_get_runtime_dir());
	sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_true(sock >= 0);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		print_message("no telemetry at %s\n", addr.sun_path);
		close(sock);
		sock = -1;
		return false;
	}
	assert_true(recv(sock, tel_answer, sizeof(tel_answer), 0) > 0);
	return true;
}

bool
tel_is_on(void)
{
	return sock >= 0;
}

void
tel_close(void)
{
	cJSON_Delete(json);
	json = NULL;
	if (sock >= 0)
		close(sock);
	sock = -1;
}

const char *
tel_send_command(const char *what)
{
	ssize_t n;

	assert_int_equal(strlen(what), send(sock, what, strlen(what), 0));
	n = recv(sock, tel_answer, sizeof(tel_answer) - 1, 0);
	assert_true(n > 0);
	tel_answer[n] = '\0';
	/* DPDK cuts longer answers. */
	assert_true(n < 15 * 1024);
	for (ssize_t i = 0; i < n; i++)
		assert_true(tel_answer[i] >= 0x20 && tel_answer[i] < 0x7f);
	cJSON_Delete(json);
	json = cJSON_ParseWithOpts(tel_answer, NULL, true);
	if (json == NULL)
		print_error("%s: not JSON: %s\n", what, tel_answer);
	assert_non_null(json);
	return tel_answer;
}

const cJSON *
tel_value(void)
{
	assert_non_null(json->child);
	return json->child;
}

uint64_t
tel_get_number(const cJSON *dict, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(dict, key);

	assert_true(cJSON_IsNumber(item));
	return (uint64_t)item->valuedouble;
}

bool
tel_is_name(const char *encoded, const char *name)
{
	while (*encoded != '\0') {
		char c = *encoded++;
		unsigned int hex;

		if (c == '.' && strcmp(encoded, "..") == 0 && strlen(name) > 30)
			return true;
		if (c == '%') {
			assert_int_equal(sscanf(encoded, "%2X", &hex), 1);
			c = hex;
			encoded += 2;
		}
		if (c != *name++)
			return false;
	}
	return *name == '\0';
}

const char *
tel_send_to(const char *command, unsigned int id)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "%s,%u", command, id);
	return tel_send_command(cmd);
}

unsigned int
tel_find_iommu(const char *devstr)
{
	unsigned int ids[64], n = 0;
	const cJSON *item;

	tel_send_command("/iopf/list");
	cJSON_ArrayForEach(item, tel_value()) {
		assert_true(n < sizeof(ids) / sizeof(ids[0]));
		ids[n++] = (unsigned int)item->valuedouble;
	}
	while (n > 0) {
		tel_send_to("/iopf/info", ids[--n]);
		if (tel_is_name(cJSON_GetObjectItem(tel_value(), "name")->valuestring, devstr))
			return ids[n];
	}
	fail_msg("no IOMMU %s", devstr);
	return 0;
}

bool
tel_open(struct tel_servicer *t, const char *model, iopf_handler_t handler,
		const struct iopf_poller_conf *poller)
{
	const uint32_t sid = 5;
	char devstr[64];

	if (!tel_connect())
		return false;
	snprintf(devstr, sizeof(devstr), "smmuv3,model=%s", model);
	t->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = model });
	t->iommu = iopf_iommu_open(devstr);
	assert_non_null(t->iommu);
	t->dev = iopf_dev_add(t->iommu, &(struct iopf_dev_conf){ .name = "nic0", .sids = &sid,
			.nb_sids = 1 });
	assert_non_null(t->dev);
	t->domain = iopf_domain_create(&(struct iopf_domain_conf){ .name = "owner",
			.handler = handler });
	assert_int_equal(0, iopf_domain_attach(t->domain, t->dev, IOPF_NO_PASID));
	t->poller = iopf_poller_create(poller);
	assert_int_equal(0, iopf_poller_add(t->poller, t->iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t->iommu));
	t->dma = smmuv3_model_dma_create(t->model, &(struct smmuv3_model_dma_conf){ .sid = sid });
	t->iommu_id = tel_find_iommu(devstr);
	return true;
}

void
tel_end(struct tel_servicer *t)
{
	smmuv3_model_dma_destroy(t->dma);
	assert_int_equal(0, iopf_dev_remove(t->dev));
	assert_int_equal(0, iopf_iommu_stop(t->iommu));
	assert_int_equal(0, iopf_domain_destroy(t->domain));
	assert_int_equal(0, iopf_poller_destroy(t->poller));
	assert_int_equal(0, iopf_iommu_close(t->iommu));
	assert_int_equal(0, smmuv3_model_driver_errors(t->model));
	smmuv3_model_destroy(t->model);
	tel_close();
}
