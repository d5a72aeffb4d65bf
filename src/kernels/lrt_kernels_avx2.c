/* The kernels for x86-64 with AVX2 and FMA3, and those that multiply integers by VNNI. */
#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_WIDE
LRT_ISA("avx2,fma")

#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_avx2.h"

#include "kernels/lrt_template.h"

extern const lrt_kernels lrt_kernels_avx2;
LRT_KERNEL_TABLE(lrt_kernels_avx2, "avx2", 1, lrt_cpu_has_avx2);

#ifdef LRT_AVXVNNI_TABLES
extern const lrt_kernels lrt_kernels_avx2vnni;
extern const lrt_integers lrt_integers_avx2vnni;
const lrt_kernels lrt_kernels_avx2vnni = LRT_KERNELS("avx2vnni", 1, lrt_cpu_has_avxvnni, &lrt_integers_avx2vnni);
#endif

LRT_ISA_END
#endif
