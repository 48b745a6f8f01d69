#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright(c) 2026 The iopf authors
#
# Check that each public header, and each use of its macros, compiles alone with -pedantic,
# in C and C++, with both compilers: an expression that C allows may be an error in C++.
set -u
cd "$(dirname "$0")/.." || exit 1
flags="$(pkg-config --cflags libdpdk) -Ilib/iopf -Ilib/pgtable -Ilib/mmem -Idrivers/smmuv3_model"
bad=0

# Print a program that includes a header and uses its macros.
program() {
	printf '#include <%s>\nvoid use_macros(void);\n' "$(basename "$1")"
	grep -q '^#define IOPF_DRIVER(' "$1" &&
		printf 'static struct iopf_driver a_driver;\nIOPF_DRIVER(a_driver)\n'
	echo 'void use_macros(void) {'
	sed -n 's/^#define \([A-Z0-9_]*\)[ 	][ 	]*[^ 	].*/	(void)(\1);/p' "$1"
	# Macros take a code or a number, but for IOPF_DRIVER, and IOPF_VERDICT, which they use.
	sed -n '/^#define IOPF_\(DRIVER\|VERDICT\)(/d
		s/^#define \([A-Z0-9_]*\)(code).*/	(void)\1(IOPF_INVALID);/p
		t
		s/^#define \([A-Z0-9_]*\)(\(len\|n\|node\)).*/	(void)\1(1);/p
		t
		s/^#define \([A-Z0-9_]*(\).*/#error "check-headers.sh does not know how to use \1"/p' "$1"
	echo '}'
}

for header in lib/iopf/iopf.h lib/iopf/iopf_driver.h lib/iopf/iopf_guest.h lib/iopf/iopf_handler.h \
		lib/iopf/iopf_inval.h lib/iopf/iopf_iommu.h lib/iopf/iopf_listener.h lib/iopf/iopf_pci.h \
		lib/iopf/iopf_policy.h lib/iopf/iopf_poller.h lib/iopf/iopf_power.h \
		lib/iopf/iopf_stats.h lib/iopf/iopf_translation.h \
		lib/pgtable/pgtable.h lib/pgtable/pgtable_resize.h \
		lib/mmem/iopf_pgtable.h lib/mmem/mmem.h lib/mmem/mmem_dirty.h lib/mmem/mmem_move.h \
		drivers/smmuv3_model/smmuv3_front.h drivers/smmuv3_model/smmuv3_model.h \
		drivers/smmuv3_model/smmuv3_model_page.h \
		drivers/smmuv3_model/smmuv3_model_test.h; do
	for compiler in "gcc -x c -std=c11 -D_GNU_SOURCE" "clang -x c -std=c11 -D_GNU_SOURCE" \
			"g++ -x c++ -std=c++11" "g++ -x c++ -std=c++20" \
			"clang++ -x c++ -std=c++11" "clang++ -x c++ -std=c++20"; do
		# shellcheck disable=SC2086
		program "$header" |
			$compiler $flags -pedantic -Wall -Wextra -Werror -fsyntax-only - || {
			echo "$header does not compile alone with $compiler"
			bad=1
		}
	done
done

# Check that a test calls each exported function of a public header with NULL.
for map in lib/*/version.map drivers/smmuv3_model/version.map; do
	for function in $(sed -n 's/^	\([a-z0-9_]*\);$/\1/p' "$map"); do
		[ "$function" = iopf_driver_register ] ||
			grep -qw "$function" lib/iopf/iopf_support.h ||
			grep -qw "$function" app/test-iopf/test_null.c || {
			echo "$map: app/test-iopf/test_null.c does not call $function() with NULL"
			bad=1
		}
	done
done
exit $bad
