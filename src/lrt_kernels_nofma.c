/* The kernels in plain C99 with separate multiplication and addition: for CPUs of an architecture
 * that may lack fused multiply-add, where the exact fmaf() of the portable table is a slow routine. */
#define LRT_NO_FMA
#include "lrt_cpu.h"
#include "lrt_vec_portable.h"

#include "lrt_kernels_impl.h"

extern const lrt_kernels lrt_kernels_nofma;
LRT_KERNEL_TABLE(lrt_kernels_nofma, "nofma", 0, lrt_cpu_any);
