/* What vec_main.c asks of each vec_<isa>.c, and the operations in plain scalar C to compare with. */
#ifndef VEC_TEST_H
#define VEC_TEST_H

#include <stdint.h>

/* Tests every operation of one vocabulary. */
typedef void vec_suite(const char *name);
vec_suite vec_portable, vec_nofma, vec_sse, vec_avx2, vec_avx2vnni, vec_avx512, vec_avx512vnni, vec_neon, vec_neonnofma,
    vec_neondot;

typedef struct {
    float add, sub, mul, div, max, min, fma, fnma, fma_twice, fnma_twice, sqrt, abs, select;
} vec_expected;

/* Compiled apart from the vocabularies, without their flags. */
vec_expected vec_reference(float a, float b, float c);
float vec_pow2(int n);
int vec_floor_log2(float a);

/* Special and random floats; n is a multiple of 16. */
#define VEC_NUMBERS 1024
const float *vec_numbers(void);

uint32_t vec_bits(float a);
/* The same bits, or both NaN: which NaN arithmetic gives is not part of the contract. */
int vec_same(float got, float want);
/* The same bits; where denormals are flushed, one may be the 0 that it counts as, NaNs aside. */
int vec_equal(float got, float want);

/* The last n floats before memory that may not be touched, and the first n after such. */
float *vec_before_wall(unsigned n);
float *vec_after_wall(void);

#endif
