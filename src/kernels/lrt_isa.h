/* Which kernel tables this architecture has, and how a kernel file says what it is compiled for, so that one compiler
 * line builds the core. LRT_ISA("avx2,fma") stands before all else that is included.
 *
 * -DLRT_PORTABLE_ONLY: no table but the portable one. -DLRT_INSTRUMENTED: a build with sanitizers, for which
 * vectors as structs take minutes to optimise. */
#ifndef LRT_ISA_H
#define LRT_ISA_H

#if !defined(LRT_PORTABLE_ONLY) && defined(__x86_64__)
#define LRT_X86_TABLES
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define LRT_AMX_TABLES /* older compilers know no tiles */
#endif
#elif !defined(LRT_PORTABLE_ONLY) && defined(__aarch64__)
#define LRT_NEON_TABLES
#endif

typedef int lrt_isa_is_chosen; /* C has no empty files: those of other architectures hold this */

#define LRT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define LRT_ISA(features) LRT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define LRT_ISA_END LRT_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define LRT_ISA(features) LRT_PRAGMA(GCC target(features))
#define LRT_ISA_END
#else
#define LRT_ISA(features)
#define LRT_ISA_END
#endif

/* LRT_WIDE: kernels of wide vectors, which more optimisation serves. LRT_STRUCTS: those of vectors as structs. */
#if defined(LRT_INSTRUMENTED) && defined(__clang__)
#define LRT_WIDE
#define LRT_STRUCTS LRT_PRAGMA(clang optimize off)
#elif defined(LRT_INSTRUMENTED) && defined(__GNUC__)
#define LRT_WIDE
#define LRT_STRUCTS LRT_PRAGMA(GCC optimize("O0"))
#elif defined(__GNUC__) && !defined(__clang__)
#define LRT_WIDE LRT_PRAGMA(GCC optimize("O3"))
#define LRT_STRUCTS
#else
#define LRT_WIDE
#define LRT_STRUCTS
#endif

#endif
