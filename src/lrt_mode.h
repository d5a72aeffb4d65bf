/* Private to the core: the processor's mode during a run, in which numbers that would be denormal are 0.
 *
 * Many CPUs compute with denormals a hundred times slower, and silence is full of them: a state that decays, an input
 * that fades out. A mode costs nothing where numbers are normal, and covers every operation. */
#ifndef LRT_MODE_H
#define LRT_MODE_H

#include <stdint.h>

/* x86-64: results (FTZ) and operands (DAZ). ARM: both (FZ), of 32-bit ARM for single numbers, as its vectors always flush.
 * Elsewhere nothing: denormals are kept. */
#if defined(__x86_64__) && defined(__GNUC__)
typedef unsigned lrt_mode;
#define LRT_FLUSHES 0x8040u
static inline lrt_mode lrt_get_mode(void) { return __builtin_ia32_stmxcsr(); }
static inline void lrt_set_mode(lrt_mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__) && defined(__GNUC__)
typedef uint64_t lrt_mode;
#define LRT_FLUSHES ((uint64_t)1 << 24)
static inline lrt_mode lrt_get_mode(void)
{
    lrt_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void lrt_set_mode(lrt_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP) && defined(__GNUC__)
typedef uint32_t lrt_mode;
#define LRT_FLUSHES ((uint32_t)1 << 24)
static inline lrt_mode lrt_get_mode(void)
{
    lrt_mode mode;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(mode));
    return mode;
}
static inline void lrt_set_mode(lrt_mode mode) { __asm__ volatile("vmsr fpscr, %0" : : "r"(mode) : "memory"); }
#else
typedef int lrt_mode;
#define LRT_FLUSHES 0
static inline lrt_mode lrt_get_mode(void) { return 0; }
static inline void lrt_set_mode(lrt_mode mode) { (void)mode; }
#endif

/* The run's mode, and back to the caller's. To set a mode takes some nanoseconds, which one who flushes anyway does not
 * pay: audio hosts do. */
static inline void lrt_flush_denormals(lrt_mode callers)
{
    if ((callers & LRT_FLUSHES) != LRT_FLUSHES)
        lrt_set_mode(callers | LRT_FLUSHES);
}
static inline void lrt_restore_mode(lrt_mode callers)
{
    if ((callers & LRT_FLUSHES) != LRT_FLUSHES)
        lrt_set_mode(callers);
}

#endif
