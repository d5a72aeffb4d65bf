/* What Cython needs beside the core: aligned memory, and a team of threads for one call. On Linux,
 * _GNU_SOURCE must be defined, as Python.h does.
 *
 * With _openmp.py, which loads its runtime, the only place that knows OpenMP: a build without it works. */
#ifndef LRT_TEAM_H
#define LRT_TEAM_H


#include <stdlib.h>
#include <time.h>

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
    int cpu; /* where the caller runs, or -1 */
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

/* -- how many threads ----------------------------------------------------------------------------------
 *
 * After a call its threads spin for some tenths of a millisecond (_openmp.py), then they sleep, and
 * waking them takes tens of microseconds. So that more threads never make it slower, a call that is
 * not long goes on one thread, unless threads are still awake or calls follow each other so closely,
 * and have done so for so long, that waking them once will have paid. */

#define LRT_AWAKE_NS 200000    /* this soon after a call, its threads still spin */
#define LRT_CREDIT_NS 1000000  /* work in calls close to each other, to pay for waking */

typedef struct {
    int64_t begun, ended, busy; /* nanoseconds; begun 0: the call under way does not count */
} lrt_burst;

#if defined(_MSC_VER)
static __declspec(thread) lrt_burst lrt_recent;
#else
static __thread lrt_burst lrt_recent; /* threads sleep and wake per calling thread */
#endif

static int64_t lrt_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int lrt_forced_lanes; /* for tests: not 0: so many, whatever the call */

/* Threads for a call, prepared, that may have `most`. */
static int lrt_team_lanes(const lrt_session *session, uint32_t most)
{
    lrt_burst *b = &lrt_recent;
    uint32_t lanes = lrt_worthwhile_lanes(session, most, 1);
    b->begun = 0;
    if (lrt_forced_lanes > 0)
        return (uint32_t)lrt_forced_lanes < most ? lrt_forced_lanes : (int)most;
    if (lanes == 1)
        return 1;
    b->begun = lrt_now();
    if (b->begun < b->ended || b->begun - b->ended > LRT_AWAKE_NS)
        b->busy = 0;
    return (int)(b->busy >= LRT_CREDIT_NS ? lanes : lrt_worthwhile_lanes(session, most, 0));
}

/* The call is over. Where it ran on several threads, they are awake now. */
static void lrt_team_done(int lanes)
{
    lrt_burst *b = &lrt_recent;
    if (b->begun == 0)
        return;
    b->ended = lrt_now();
    b->busy += lanes > 1 ? LRT_CREDIT_NS : b->ended - b->begun;
}

static void lrt_team_init(lrt_team *team)
{
    team->arrived = team->generation = 0;
#if defined(__linux__)
    team->cpu = sched_getcpu();
#else
    team->cpu = -1;
#endif
}

/* A thread that wakes up on its caller's processor would share it for as long as the system's balancing
 * takes, which is longer than most calls. It leaves, and may then run anywhere again. */
static void lrt_leave_cpu(int cpu)
{
#if defined(__linux__)
    cpu_set_t allowed, others;
    if (cpu < 0 || sched_getcpu() != cpu || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
#else
    (void)cpu;
#endif
}

/* Called by each thread of an open OpenMP team, whose size may be less than was asked for. All are there
 * before the work begins: a caller that waits lets a thread run that woke up behind it. */
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
    if (lane > 0)
        lrt_leave_cpu(team->cpu);
    lrt_team_wait(&me);
    lrt_run(session, (uint32_t)lane, (uint32_t)me.lanes, lrt_team_wait, &me);
}

#endif
