/* The kernels for 32-bit ARM with Advanced SIMD, but without fused multiply-add: Cortex-A8 and A9. */
#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_NOFMA_TABLE
LRT_WIDE
LRT_ISA_NEON_NOFMA
#define LRT_NO_FMA

#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_neon.h"

#include "kernels/lrt_template.h"

extern const lrt_kernels lrt_kernels_neonnofma;
LRT_KERNEL_TABLE(lrt_kernels_neonnofma, "neonnofma", 0, lrt_cpu_has_neon_nofma);

LRT_ISA_NEON_NOFMA_END
#endif
