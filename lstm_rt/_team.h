/* What Cython needs beside the core: aligned memory, and a team of threads for one call.
 * The only place that knows OpenMP, so that a build without it still works. */
#ifndef LRT_TEAM_H
#define LRT_TEAM_H

#include <stdlib.h>

#include "lstm_rt.h"

#ifdef _OPENMP
#include <omp.h>
#define LRT_OPENMP 1
#else
#define LRT_OPENMP 0
#endif

#if defined(_WIN32)
#include <malloc.h>
static void *lrt_aligned_alloc(size_t size) { return _aligned_malloc(size, LRT_ALIGN); }
static void lrt_aligned_free(void *p) { _aligned_free(p); }
#else
#include <sched.h>
static void *lrt_aligned_alloc(size_t size)
{
    void *p = NULL;
    return posix_memalign(&p, LRT_ALIGN, size) == 0 ? p : NULL;
}
static void lrt_aligned_free(void *p) { free(p); }
#endif

/* A barrier for the lanes of one call. They meet once per time step, so it spins; after a while it
 * offers the processor to others, for the case that a lane has lost its own. */
typedef struct {
    int arrived, generation;
} lrt_team;

typedef struct {
    lrt_team *team;
    int lanes;
} lrt_member;

#define LRT_SPINS 2000

static inline void lrt_relax(int spins)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
#if !defined(_WIN32)
    if (spins > LRT_SPINS)
        sched_yield();
#endif
}

static void lrt_team_wait(void *context)
{
    const lrt_member *m = (const lrt_member *)context;
    int generation = __atomic_load_n(&m->team->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&m->team->arrived, 1, __ATOMIC_ACQ_REL) == m->lanes) {
        __atomic_store_n(&m->team->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&m->team->generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&m->team->generation, __ATOMIC_ACQUIRE) == generation; spins++)
        lrt_relax(spins);
}

/* Called by each thread of an open OpenMP team, whose size may be less than was asked for. */
static void lrt_team_run(lrt_session *session, lrt_team *team)
{
    lrt_member me;
    int lane = 0;
    me.team = team;
    me.lanes = 1;
#ifdef _OPENMP
    me.lanes = omp_get_num_threads();
    lane = omp_get_thread_num();
#endif
    lrt_run(session, (uint32_t)lane, (uint32_t)me.lanes, lrt_team_wait, &me);
}

#endif
