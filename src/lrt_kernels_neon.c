/* The kernels for AArch64, where Advanced SIMD is always there. */
#include "lrt_cpu.h"
#include "lrt_vec_neon.h"

#include "lrt_kernels_impl.h"

extern const lrt_kernels lrt_kernels_neon;
LRT_KERNEL_TABLE(lrt_kernels_neon, "neon", 1, lrt_cpu_any);
