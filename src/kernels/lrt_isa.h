/* Which kernel tables this architecture has, and how a kernel file says what it is compiled for, so that one compiler
 * line builds the core. LRT_ISA("avx2,fma") stands before all else that is included.
 *
 * -DLRT_PORTABLE_ONLY: no table but the portable one. -DLRT_SMALL: that one with as little code as can be, one float at a
 * time. -DLRT_INSTRUMENTED: a build with sanitizers, for which vectors as structs take minutes to optimise. */
#ifndef LRT_ISA_H
#define LRT_ISA_H

#if defined(LRT_SMALL) && !defined(LRT_PORTABLE_ONLY)
#define LRT_PORTABLE_ONLY
#endif

#if !defined(LRT_PORTABLE_ONLY) && defined(__x86_64__)
#define LRT_X86_TABLES
#define LRT_NOFMA_TABLE
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define LRT_AMX_TABLES /* older compilers know no tiles */
#define LRT_AVXVNNI_TABLES /* ... nor VNNI without AVX-512 */
#endif
#elif !defined(LRT_PORTABLE_ONLY) && defined(__aarch64__)
#define LRT_NEON_TABLES
#if defined(__ARM_FEATURE_DOTPROD) || (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 8)
#define LRT_DOTPROD_TABLES /* older compilers have its intrinsics only where all code is for such CPUs */
#endif
#elif !defined(LRT_PORTABLE_ONLY) && defined(__arm__) && defined(__linux__)
#ifndef __ARM_FEATURE_FMA
#define LRT_NOFMA_TABLE
#endif
#if defined(__ARM_FP) && defined(__GNUC__) && !defined(__clang__) /* GCC alone has functions for other units than the file's */
#define LRT_NEON_TABLES
#define LRT_NEON_NOFMA_TABLE
#define LRT_DOTPROD_TABLES
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
#define LRT_NEON_TABLES
#endif
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

/* Where all code is for CPUs with dot products, perhaps for newer ones, nothing is to be said; nor of vectors on AArch64. */
#if defined(__ARM_FEATURE_DOTPROD)
#define LRT_ISA_DOTPROD
#define LRT_ISA_DOTPROD_END
#elif defined(__aarch64__)
#define LRT_ISA_DOTPROD LRT_ISA("arch=armv8.2-a+dotprod")
#define LRT_ISA_DOTPROD_END LRT_ISA_END
#else
#define LRT_ISA_DOTPROD LRT_ISA("arch=armv8.2-a+dotprod,fpu=neon-fp-armv8")
#define LRT_ISA_DOTPROD_END LRT_ISA_END
#endif
#if defined(__aarch64__) || defined(__clang__)
#define LRT_ISA_NEON
#define LRT_ISA_NEON_END
#else
#define LRT_ISA_NEON LRT_ISA("arch=armv7-a,fpu=neon-vfpv4")
#define LRT_ISA_NEON_END LRT_ISA_END
#define LRT_ISA_NEON_NOFMA LRT_ISA("arch=armv7-a,fpu=neon")
#define LRT_ISA_NEON_NOFMA_END LRT_ISA_END
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
