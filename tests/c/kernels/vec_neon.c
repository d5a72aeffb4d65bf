#include "kernels/lrt_isa.h"

#ifdef LRT_NEON_TABLES
#include "kernels/lrt_vec_neon.h"

#define VEC_SUITE vec_neon
#include "kernels/vec_suite.h"
#endif
