/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RELAY_WRAP_H
#define RELAY_WRAP_H

/* Functions of the model that the program is linked with --wrap for: see relay_rig.h. */

#define WRAPPED(result, name, ...)						\
	result __real_ ## name(__VA_ARGS__);					\
	result __wrap_ ## name(__VA_ARGS__)

#endif /* RELAY_WRAP_H */
