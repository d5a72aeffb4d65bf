/* The kernels for AArch64, where Advanced SIMD is always there. */
#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_TABLES
LRT_WIDE

#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_neon.h"

#include "kernels/lrt_template.h"

extern const lrt_kernels lrt_kernels_neon;
LRT_KERNEL_TABLE(lrt_kernels_neon, "neon", 1, lrt_cpu_any);
#endif
