/* The kernels for x86-64 with AVX2 and FMA3. Compile with -mavx2 -mfma. */
#include "lrt_cpu.h"
#include "lrt_vec_avx2.h"

#include "lrt_kernels_impl.h"

extern const lrt_kernels lrt_kernels_avx2;
LRT_KERNEL_TABLE(lrt_kernels_avx2, "avx2", 1, lrt_cpu_has_avx2);
