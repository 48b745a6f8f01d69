/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Breadth-first search of a graph in a mapped file, from each vertex that no search before has
 * met: the program of bfs.trace.gz. The file has 32-bit words: the number of vertices, the beginning of each row and
 * the end of the last one, the neighbours; README.md makes it.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int
main(int argc, char **argv)
{
	const uint32_t *graph, *rows, *neighbours;
	uint32_t *frontier, *depths, n, root, v, i, next = 0, met = 0, searches = 0;
	struct stat st;
	int fd;

	fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	if (fd < 0 || fstat(fd, &st) < 0) {
		fprintf(stderr, "usage: bfs GRAPH\n");
		return 1;
	}
	graph = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (graph == MAP_FAILED) {
		perror("bfs: mmap");
		return 1;
	}
	n = graph[0];
	rows = graph + 1;
	neighbours = rows + n + 1;
	frontier = calloc(n, sizeof(*frontier));
	depths = calloc(n, sizeof(*depths));
	if (frontier == NULL || depths == NULL) {
		perror("bfs: calloc");
		return 1;
	}
	for (root = 0; root < n; root++) {
		if (depths[root] != 0)
			continue;
		searches++;
		depths[root] = 1;
		frontier[met++] = root;
		while (next < met) {
			v = frontier[next++];
			for (i = rows[v]; i < rows[v + 1]; i++) {
				if (depths[neighbours[i]] != 0)
					continue;
				depths[neighbours[i]] = depths[v] + 1;
				frontier[met++] = neighbours[i];
			}
		}
	}
	printf("%u vertices, %u searches\n", met, searches);
	return 0;
}
