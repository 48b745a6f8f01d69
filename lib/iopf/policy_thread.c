/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "iopf_log.h"
#include "iopf_support.h"
#include "policy_thread.h"

#define TICK_US 1000

/* Held while the thread is made or ended. No lock but clients_lock is taken under it. */
static pthread_mutex_t life_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int nb_clients;			/* under life_lock */
static pthread_t thread;
static _Atomic bool stop;

static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t served = PTHREAD_COND_INITIALIZER;	/* a client is not busy any more */
static LIST_HEAD(, iopf_policy_client) clients = LIST_HEAD_INITIALIZER(clients);
/* A client is wanted: an idle tick reads this word only. */
static _Atomic bool any_wanted;

void
iopf_policy_want(struct iopf_policy_client *client)
{
	/* Release: with the exchanges in clients_serve() and policy_thread_run(). */
	atomic_store_explicit(&client->wanted, true, memory_order_release);
	atomic_store_explicit(&any_wanted, true, memory_order_release);
}

/* Returns true if a client needs the next tick. */
static bool
clients_serve(void)
{
	struct iopf_policy_client *client;
	bool active = false;

	pthread_mutex_lock(&clients_lock);
	LIST_FOREACH(client, &clients, next) {
		bool again;

		/* Acquire: with the release in iopf_policy_want(). */
		if (!atomic_exchange_explicit(&client->wanted, false, memory_order_acquire) &&
				!client->active)
			continue;
		/* A busy client stays in the list: its link is valid when the lock is back. */
		client->busy = true;
		pthread_mutex_unlock(&clients_lock);
		again = client->serve(client, rte_rdtsc());
		pthread_mutex_lock(&clients_lock);
		client->busy = false;
		client->active = again;
		active |= again;
		pthread_cond_broadcast(&served);
	}
	pthread_mutex_unlock(&clients_lock);
	return active;
}

static void *
policy_thread_run(void *arg)
{
	bool active = false;

	(void)arg;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		/* Acquire: with the release in iopf_policy_want(). */
		if (atomic_exchange_explicit(&any_wanted, false, memory_order_acquire) || active)
			active = clients_serve();
		usleep(TICK_US);
	}
	return NULL;
}

int
iopf_policy_join(struct iopf_policy_client *client)
{
	int ret = 0;

	pthread_mutex_lock(&life_lock);
	/* One thread at a time joins a client, or leaves with it: no lock for this read. */
	if (client->joined)
		goto unlock;
	if (nb_clients == 0) {
		atomic_store_explicit(&stop, false, memory_order_relaxed);
		ret = iopf_thread_create(&thread, "iopf-policy", policy_thread_run, NULL);
		if (ret < 0) {
			IOPF_LOG(ERR, "the policy thread cannot be made: error %d; raise the "
					"limit of threads, or use no policy", -ret);
			goto unlock;
		}
	}
	nb_clients++;
	pthread_mutex_lock(&clients_lock);
	client->joined = true;
	LIST_INSERT_HEAD(&clients, client, next);
	pthread_mutex_unlock(&clients_lock);
unlock:
	pthread_mutex_unlock(&life_lock);
	return ret;
}

bool
iopf_policy_is_busy(const struct iopf_policy_client *client)
{
	bool busy;

	pthread_mutex_lock(&clients_lock);
	busy = client->busy;
	pthread_mutex_unlock(&clients_lock);
	return busy;
}

void
iopf_policy_leave(struct iopf_policy_client *client)
{
	pthread_mutex_lock(&clients_lock);
	if (!client->joined) {
		pthread_mutex_unlock(&clients_lock);
		return;
	}
	/* Without life_lock: serve delays no other device's join. */
	while (client->busy)
		pthread_cond_wait(&served, &clients_lock);
	LIST_REMOVE(client, next);
	client->joined = false;
	pthread_mutex_unlock(&clients_lock);

	pthread_mutex_lock(&life_lock);
	if (--nb_clients == 0) {
		atomic_store_explicit(&stop, true, memory_order_relaxed);
		pthread_join(thread, NULL);
	}
	pthread_mutex_unlock(&life_lock);
}
