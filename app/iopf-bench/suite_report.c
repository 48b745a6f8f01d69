/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <string.h>

#include "report_json.h"
#include "suite.h"

static bool
is_ratio(const struct suite *suite, const char *name)
{
	const struct suite_def *def = suite->conf->suite;
	unsigned int i;

	for (i = 0; i < def->nb_ratios; i++)
		if (strcmp(def->ratios[i].name, name) == 0)
			return true;
	return false;
}

static void
print_figures(const struct suite *suite, const char *part)
{
	const struct suite_figure *f = suite->figures;
	size_t len = strlen(part);
	struct spread s;
	unsigned int i;

	for (i = 0; i < suite->nb_figures; i++, f++) {
		if (is_ratio(suite, f->name) || strncmp(f->name, part, len) != 0 || f->name[len] != '.')
			continue;
		s = suite_get_spread(suite, f->name);
		printf("    %-44s %12.3f [%.3f to %.3f]\n", f->name, s.median, s.min, s.max);
	}
}

/* Does the part miss a target, or have none? */
static bool
wants_figures(const struct suite *suite, const char *part)
{
	const struct suite_ratio *r = suite->conf->suite->ratios;
	bool has_target = false;
	struct spread s;
	unsigned int i;

	for (i = 0; i < suite->conf->suite->nb_ratios; i++, r++) {
		if (strcmp(r->part, part) != 0)
			continue;
		has_target |= r->kind != NO_TARGET;
		s = suite_get_spread(suite, r->name);
		if (suite_is_missed(r, &s))
			return true;
	}
	return !has_target;
}

void
suite_print(const struct suite *suite)
{
	static const char *const kinds[] = { [AT_MOST] = "at most", [AT_LEAST] = "at least" };
	const struct suite_def *def = suite->conf->suite;
	const struct suite_ratio *r = def->ratios;
	struct spread s;
	unsigned int i;

	if (suite->rounds.interrupted)
		printf("\nINTERRUPTED: %u of %u rounds are complete.\n", suite->rounds.nb_rounds,
				suite->conf->rounds);
	printf("\n%u of %u rounds count%s\n\n", suite->rounds.nb_counted, suite->rounds.nb_rounds,
			suite->rounds.noisy ? ". NOISY: other processes used the CPUs; all rounds "
			"count" : "");
	printf("%-38s %8s  %-18s  %-14s\n", "ratio", "median", "range", "target");
	for (i = 0; i < def->nb_ratios; i++, r++) {
		s = suite_get_spread(suite, r->name);
		if (s.rounds == 0)
			continue;
		printf("%-38s %8.3f  [%.3f to %.3f]", r->name, s.median, s.min, s.max);
		if (r->kind != NO_TARGET)
			printf("  %s %g: %s", kinds[r->kind], r->target,
					suite_is_missed(r, &s) ? "MISSED" : "met");
		printf("\n");
	}
	for (i = 0; i < def->nb_parts; i++) {
		if ((suite->conf->parts != 0 && !(suite->conf->parts & (UINT32_C(1) << i))) ||
				!wants_figures(suite, def->parts[i].name))
			continue;
		printf("\n%s: %s\n", def->parts[i].name, def->parts[i].what);
		print_figures(suite, def->parts[i].name);
	}
}

static void
add_round(cJSON *rounds, const struct suite *suite, unsigned int r)
{
	cJSON *o = report_add_round(rounds, &suite->rounds.rounds[r]);
	cJSON *ratios = cJSON_AddObjectToObject(o, "ratios");
	cJSON *figures = cJSON_AddObjectToObject(o, "figures");
	const struct suite_figure *f = suite->figures;
	unsigned int i;

	for (i = 0; i < suite->nb_figures; i++, f++)
		if (f->measured[r])
			report_add_number(is_ratio(suite, f->name) ? ratios : figures, f->name,
					f->values[r]);
}

cJSON *
suite_make_json(const struct suite *suite)
{
	cJSON *root = cJSON_CreateObject(), *ratios, *detail, *figures, *rounds, *o;
	const struct suite_def *def = suite->conf->suite;
	const struct suite_ratio *r = def->ratios;
	struct spread s;
	unsigned int i;

	report_add_origin(root, &suite->rounds);
	cJSON_AddStringToObject(root, "suite", def->name);
	report_add_number(root, "rounds_counted", suite->rounds.nb_counted);
	ratios = cJSON_AddObjectToObject(root, "ratios");
	detail = cJSON_AddObjectToObject(root, "ratios_detail");
	for (i = 0; i < def->nb_ratios; i++, r++) {
		s = suite_get_spread(suite, r->name);
		if (s.rounds == 0)
			continue;
		report_add_number(ratios, r->name, s.median);
		o = cJSON_AddObjectToObject(detail, r->name);
		report_add_spread(o, "all", &s);
		if (r->kind == NO_TARGET)
			continue;
		report_add_number(o, r->kind == AT_MOST ? "at_most" : "at_least", r->target);
		cJSON_AddBoolToObject(o, "met", !suite_is_missed(r, &s));
	}
	figures = cJSON_AddObjectToObject(root, "figures");
	for (i = 0; i < suite->nb_figures; i++) {
		if (is_ratio(suite, suite->figures[i].name))
			continue;
		s = suite_get_spread(suite, suite->figures[i].name);
		report_add_spread(figures, suite->figures[i].name, &s);
	}
	rounds = cJSON_AddArrayToObject(root, "rounds");
	for (i = 0; i < suite->rounds.nb_rounds; i++)
		add_round(rounds, suite, i);
	return root;
}
