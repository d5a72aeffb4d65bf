/* The kernels with separate multiplication and addition, for CPUs of an architecture that may lack fused multiply-add,
 * where the exact fmaf() of the portable table is a slow routine: SSE2 on x86-64, plain C99 on 32-bit ARM. */
#include "kernels/lrt_isa.h"

#ifdef LRT_NOFMA_TABLE
#ifdef LRT_X86_TABLES
LRT_WIDE
#include "kernels/lrt_vec_sse.h"
#else
LRT_STRUCTS
#define LRT_NO_FMA
#include "kernels/lrt_vec_portable.h"
#endif

#include "kernels/lrt_cpu.h"

#include "kernels/lrt_template.h"

extern const lrt_kernels lrt_kernels_nofma;
LRT_KERNEL_TABLE(lrt_kernels_nofma, "nofma", 0, lrt_cpu_any);
#endif
