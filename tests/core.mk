# What the builds of the core for its tests (c/) and the fuzzer (fuzz/) share.

STRICT := -std=gnu99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
NUMERIC := -ffp-contract=off -fno-math-errno -fno-trapping-math

MACHINE := $(shell uname -m)
ifneq ($(filter x86_64 amd64,$(MACHINE)),)
ISAS := avx2 avx512 nofma
MACROS := -DLRT_HAVE_X86_KERNELS=1
else ifneq ($(filter aarch64 arm64,$(MACHINE)),)
ISAS := neon
MACROS := -DLRT_HAVE_NEON_KERNELS=1
endif

CORE := lrt_model lrt_session lrt_run lrt_cpu lrt_dispatch
