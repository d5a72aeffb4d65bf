/* The kernels in plain C99, for every CPU. */
#include "lrt_cpu.h"
#include "lrt_vec_portable.h"

#include "lrt_kernels_impl.h"

#ifdef LRT_NO_FMA
#define FUSED 0
#else
#define FUSED 1
#endif

extern const lrt_kernels lrt_kernels_portable;
LRT_KERNEL_TABLE(lrt_kernels_portable, "portable", FUSED, lrt_cpu_any);
