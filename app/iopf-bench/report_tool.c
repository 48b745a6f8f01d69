/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Runs usertools/iopf-bench-report, which is beside the program: built as well as installed. */

#include <errno.h>
#include <libgen.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report_json.h"

#define TOOL	"iopf-bench-report"

extern char **environ;

/* The path of the tool; the caller frees it. NULL without memory. */
static char *
tool_get_path(void)
{
	char self[4096], *path;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len < 0 ? 0 : len] = '\0';
	return asprintf(&path, "%s/%s", dirname(self), TOOL) < 0 ? NULL : path;
}

/* Is there such a program in $PATH? */
static bool
path_has(const char *program)
{
	const char *list = getenv("PATH"), *end;
	char file[4096];

	for (; list != NULL; list = *end == ':' ? end + 1 : NULL) {
		end = list + strcspn(list, ":");
		snprintf(file, sizeof(file), "%.*s/%s", (int)(end - list), list, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static bool
tool_check(const char *option, const char *path)
{
	if (access(path, R_OK) < 0) {
		bench_error("%s: cannot read %s: %s; it belongs beside iopf-bench", option, path,
				strerror(errno));
		return false;
	}
	if (!path_has("python3")) {
		bench_error("%s: python3 is missing; install it (Debian: apt install python3)",
				option);
		return false;
	}
	return true;
}

void
report_compare(const char *a, const char *b)
{
	char *path = tool_get_path();

	if (path != NULL && tool_check("--compare", path)) {
		execlp("python3", "python3", path, "--compare", "--", a, b, NULL);
		bench_error("--compare: cannot run python3: %s", strerror(errno));
	}
	free(path);
}

bool
report_check_html(void)
{
	char *path = tool_get_path();
	bool ok = path != NULL && tool_check("--html", path);

	free(path);
	if (ok && !path_has("gnuplot")) {
		bench_error("--html: gnuplot is missing; install it (Debian: apt install "
				"gnuplot-nox)");
		return false;
	}
	return ok;
}

/* Run the tool with @p input as its standard input. Returns 0 or -errno. */
static int
tool_run(char **args, int input)
{
	posix_spawn_file_actions_t actions;
	int ret, status;
	pid_t pid;

	ret = posix_spawn_file_actions_init(&actions);
	if (ret != 0)
		return -ret;
	ret = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (ret == 0)
		ret = posix_spawnp(&pid, args[0], &actions, NULL, args, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (ret != 0)
		return -ret;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int
report_write_html(const char *path, const char *json)
{
	char *tool = tool_get_path();
	char *args[] = { "python3", tool, "-o", (char *)(uintptr_t)path, "-", NULL };
	FILE *f = tmpfile();
	int ret = 0;

	if (tool == NULL)
		ret = -ENOMEM;
	else if (f == NULL || fputs(json, f) == EOF || fflush(f) != 0 || fseek(f, 0, SEEK_SET) < 0)
		ret = -errno;
	else
		ret = tool_run(args, fileno(f));
	if (ret < 0)
		bench_error("cannot write %s with %s: %s", path, TOOL, strerror(-ret));
	if (f != NULL)
		fclose(f);
	free(tool);
	return ret;
}
