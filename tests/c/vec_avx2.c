#include "lrt_vec_avx2.h"

#define VEC_SUITE vec_avx2
#include "vec_suite.h"
