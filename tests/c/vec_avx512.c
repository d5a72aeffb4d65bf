#include "lrt_vec_avx512.h"

#define VEC_SUITE vec_avx512
#include "vec_suite.h"
