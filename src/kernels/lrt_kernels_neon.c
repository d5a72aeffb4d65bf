/* The kernels for Advanced SIMD with fused multiply-add, which every AArch64 CPU has and some of 32 bits, and those that
 * multiply integers by its dot products. */
#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_TABLES
LRT_WIDE
LRT_ISA_NEON

#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_neon.h"

#include "kernels/lrt_template.h"

extern const lrt_kernels lrt_kernels_neon;
LRT_KERNEL_TABLE(lrt_kernels_neon, "neon", 1, lrt_cpu_has_neon);

#ifdef LRT_DOTPROD_TABLES
extern const lrt_kernels lrt_kernels_neondot;
extern const lrt_integers lrt_integers_neondot;
const lrt_kernels lrt_kernels_neondot = LRT_KERNELS("neondot", 1, lrt_cpu_has_dotprod, &lrt_integers_neondot);
#endif

LRT_ISA_NEON_END
#endif
