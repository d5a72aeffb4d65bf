#include "lrt_vec_neon.h"

#define VEC_SUITE vec_neon
#include "vec_suite.h"
