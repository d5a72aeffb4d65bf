/* What the CPU under us can do. */
#ifndef LRT_CPU_H
#define LRT_CPU_H

int lrt_cpu_any(void); /* 1 */
int lrt_cpu_has_avx2(void);   /* AVX2 and FMA3, and the OS saves their registers */
int lrt_cpu_has_avxvnni(void); /* AVX-VNNI as well: the dot products of integers without AVX-512 */
int lrt_cpu_has_avx512(void); /* AVX-512F and BW as well, likewise */
int lrt_cpu_has_avx512vnni(void); /* its VNNI as well */
int lrt_cpu_has_amx(void); /* AVX-512 with VNNI, AMX for bytes, and the OS lets this process have tiles */
int lrt_cpu_has_dotprod(void); /* of ARM: dot products of bytes */
int lrt_cpu_has_neon(void); /* of ARM: Advanced SIMD with fused multiply-add */
int lrt_cpu_has_neon_nofma(void); /* of 32-bit ARM: Advanced SIMD */

#endif
