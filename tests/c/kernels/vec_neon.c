#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_TABLES
LRT_ISA_NEON
#include "kernels/lrt_vec_neon.h"

#define VEC_SUITE vec_neon
#include "kernels/vec_suite.h"

LRT_ISA_NEON_END
#endif
