#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_NOFMA_TABLE
LRT_ISA_NEON_NOFMA
#define LRT_NO_FMA
#include "kernels/lrt_vec_neon.h"

#define VEC_SUITE vec_neonnofma
#define VEC_TWICE 1
#include "kernels/vec_suite.h"

LRT_ISA_NEON_NOFMA_END
#endif
