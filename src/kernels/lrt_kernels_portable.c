/* The kernels in plain C99, for every CPU. */
#include "kernels/lrt_isa.h"

LRT_STRUCTS
#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_portable.h"

#include "kernels/lrt_template.h"

#ifdef LRT_NO_FMA
#define FUSED 0
#else
#define FUSED 1
#endif

extern const lrt_kernels lrt_kernels_portable;
LRT_KERNEL_TABLE(lrt_kernels_portable, "portable", FUSED, lrt_cpu_any);
