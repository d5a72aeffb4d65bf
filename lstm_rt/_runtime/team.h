/* A team of threads for one call, and aligned memory. How many threads: lanes.h. On Linux, _GNU_SOURCE
 * must be defined, as Python.h does.
 *
 * With lanes.h, and ../_openmp.py, which loads its runtime, the only place that knows OpenMP: a build without
 * it works. */
#ifndef LRT_TEAM_H
#define LRT_TEAM_H

#include <stdlib.h>
#include <time.h>

#include "lanes.h"

#if defined(_WIN32)
#include <malloc.h>
static void *lrt_aligned_alloc(size_t size) { return _aligned_malloc(size, LRT_ALIGN); }
static void lrt_aligned_free(void *p) { _aligned_free(p); }
#else
#include <sys/mman.h>

/* Weights that no cache holds are read once per step: with small pages, looking these up takes a seventh of the time
 * of a large LSTM. Where the system wants to be asked for large ones, this asks. */
static void *lrt_aligned_alloc(size_t size)
{
    const size_t large = (size_t)1 << 21;
    void *p = NULL;
    if (posix_memalign(&p, size < 2 * large ? LRT_ALIGN : large, size) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (size >= 2 * large)
        (void)madvise(p, size / large * large, MADV_HUGEPAGE);
#endif
    return p;
}
static void lrt_aligned_free(void *p) { free(p); }
#endif

/* ---- the processor's floating-point mode -----------------------------------------------------------
 *
 * Rounding is the caller's choice, and each thread has a mode of its own. */

#if defined(__x86_64__)
typedef unsigned lrt_fp_mode;
static inline void lrt_get_fp_mode(lrt_fp_mode *mode) { *mode = __builtin_ia32_stmxcsr(); }
static inline void lrt_set_fp_mode(const lrt_fp_mode *mode) { __builtin_ia32_ldmxcsr(*mode); }
#elif defined(__aarch64__)
typedef uint64_t lrt_fp_mode;
static inline void lrt_get_fp_mode(lrt_fp_mode *mode) { __asm__ volatile("mrs %0, fpcr" : "=r"(*mode)); }
static inline void lrt_set_fp_mode(const lrt_fp_mode *mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(*mode) : "memory");
}
#else
#include <fenv.h>
typedef fenv_t lrt_fp_mode;
static inline void lrt_get_fp_mode(lrt_fp_mode *mode) { fegetenv(mode); }
static inline void lrt_set_fp_mode(const lrt_fp_mode *mode) { fesetenv(mode); }
#endif

/* ---- where lanes meet --------------------------------------------------------------------------------
 *
 * Lanes meet once per time step, so they spin. One that waits for long offers its processor to others,
 * for the case that another lane has lost its own, and then sleeps. */

#define LRT_SPINS 2000      /* turns before it offers its processor: a tenth of a millisecond at most */
#define LRT_OFFERS 20       /* and before it sleeps */
#define LRT_SLEEPER 0x10000 /* in `arrived`, beside their number: somebody sleeps */

typedef struct {
    int arrived, generation;
    lrt_fp_mode mode;    /* the caller's */
    lrt_place place;     /* where the caller runs */
    int result;          /* of the call */
} lrt_team;

typedef struct {
    lrt_team *team;
    int lanes;
} lrt_member;

static inline void lrt_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void lrt_offer_cpu(void)
{
#if !defined(_WIN32)
    sched_yield();
#endif
}

#if !defined(FUTEX_WAIT_PRIVATE) /* of <linux/futex.h>, which not every system's compiler comes with */
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#endif

/* Sleeps unless the word has changed; may wake for no reason. */
static void lrt_sleep_on(int *word, int value)
{
#if defined(SYS_futex)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#elif !defined(_WIN32)
    const struct timespec moment = {0, 50000};
    (void)word;
    (void)value;
    nanosleep(&moment, NULL);
#else
    (void)word;
    (void)value;
#endif
}

static void lrt_wake_all(int *word)
{
#if defined(SYS_futex)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
    (void)word;
#endif
}

/* The mark is made while the last lane is still to come, so it will see it when it does. */
static void lrt_sleep_in(lrt_team *team, int lanes, int generation)
{
    int arrived = __atomic_load_n(&team->arrived, __ATOMIC_RELAXED);
    do {
        int here = arrived & (LRT_SLEEPER - 1);
        if (here == 0 || here == lanes) { /* the last one has come, and is about to say so */
            lrt_offer_cpu();
            return;
        }
    } while (!(arrived & LRT_SLEEPER) &&
             !__atomic_compare_exchange_n(&team->arrived, &arrived, arrived | LRT_SLEEPER, 1, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    lrt_sleep_on(&team->generation, generation);
}

static void lrt_team_wait(void *context)
{
    const lrt_member *m = (const lrt_member *)context;
    lrt_team *team = m->team;
    int generation = __atomic_load_n(&team->generation, __ATOMIC_ACQUIRE);
    int arrived = __atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL);
    if ((arrived & (LRT_SLEEPER - 1)) == m->lanes) {
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->generation, generation + 1, __ATOMIC_RELEASE);
        if (arrived & LRT_SLEEPER)
            lrt_wake_all(&team->generation);
        return;
    }
    for (int turns = 0; __atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) == generation; turns++) {
        if (turns < LRT_SPINS)
            lrt_relax();
        else if (turns < LRT_SPINS + LRT_OFFERS)
            lrt_offer_cpu();
        else
            lrt_sleep_in(team, m->lanes, generation);
    }
}

/* ---- a call -------------------------------------------------------------------------------------------- */

static void lrt_team_init(lrt_team *team)
{
    team->arrived = team->generation = 0;
    team->result = LRT_OK;
    lrt_get_fp_mode(&team->mode);
    lrt_get_place(&team->place);
}

/* Called by each thread of an open OpenMP team, whose size may be less than was asked for; the caller is
 * lane 0. All are there before the work begins: a caller that waits lets a thread run that woke up behind it. */
static void lrt_team_run(lrt_session *session, lrt_team *team)
{
    lrt_fp_mode own;
    lrt_member me;
    int lane = 0, result;
    me.team = team;
    me.lanes = 1;
#ifdef _OPENMP
    me.lanes = omp_get_num_threads();
    lane = omp_get_thread_num();
#endif
    if (lane > 0)
        lrt_take_place(&team->place);
    lrt_team_wait(&me);
    lrt_get_fp_mode(&own);
    lrt_set_fp_mode(&team->mode);
    result = lrt_run(session, (uint32_t)lane, (uint32_t)me.lanes, lrt_team_wait, &me);
    lrt_set_fp_mode(&own);
    if (lane > 0)
        return;
    team->result = result;
    lrt_me.lanes = me.lanes;
}

/* ---- signals ------------------------------------------------------------------------------------------- */

#define LRT_LOOK_FOR_SIGNALS_NS 100000000

/* Looks for signals during a long call: on the caller's lane, as only that thread may. */
typedef struct {
    int (*signalled)(void); /* has a signal come that ends the call? Asked now and then */
    int64_t looked;         /* nanoseconds; 0: not yet */
    int stopped;
} lrt_watch;

/* An lrt_stop. */
static int lrt_watch_signals(void *context, uint32_t lane)
{
    lrt_watch *watch = (lrt_watch *)context;
    int64_t now;
    if (lane > 0 || watch->stopped)
        return __atomic_load_n(&watch->stopped, __ATOMIC_RELAXED);
    now = lrt_now();
    if (watch->looked == 0)
        watch->looked = now;
    if (now >= watch->looked && now - watch->looked < LRT_LOOK_FOR_SIGNALS_NS)
        return 0;
    watch->looked = now;
    if (watch->signalled())
        __atomic_store_n(&watch->stopped, 1, __ATOMIC_RELAXED);
    return watch->stopped;
}

#endif
