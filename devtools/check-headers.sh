#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# Public headers compile alone and pedantically, in C and in C++ and with both compilers. In
# C++ their macros are used, too: constant expressions that C allows may be errors there.
set -u
cd "$(dirname "$0")/.." || exit 1
flags="$(pkg-config --cflags libdpdk) -Ilib/iopf -Ilib/pgtable -Ilib/mmem -Idrivers/smmuv3_model"
bad=0
for header in lib/iopf/iopf.h lib/iopf/iopf_driver.h lib/pgtable/pgtable.h lib/mmem/mmem.h \
		drivers/smmuv3_model/smmuv3_model.h; do
	name=$(basename "$header")
	for compiler in "gcc -x c -std=gnu11" "clang -x c -std=gnu11" "g++ -x c++ -std=c++17"; do
		# shellcheck disable=SC2086
		printf '#include <%s>\n' "$name" |
			$compiler $flags -Wall -Wextra -Werror -fsyntax-only - || {
			echo "$header does not compile alone with $compiler"
			bad=1
		}
	done
done
exit $bad
