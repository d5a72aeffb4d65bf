/* On how many threads a call runs: as many as its work is worth, as there are processors for, and as the
 * system gives. */
#ifndef LRT_LANES_H
#define LRT_LANES_H

#include <limits.h>
#include <time.h>

#include "lstm_rt.h"

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#define LRT_OPENMP 1
#else
#define LRT_OPENMP 0
#endif

#if !defined(_WIN32)
#include <sched.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static int64_t lrt_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Is something that was done `then` older than that? Also if the clock was set back. */
static int lrt_older(int64_t then, int64_t now, int64_t than) { return now < then || now - then > than; }

/* What is known of a thread that makes calls. */
typedef struct {
    int64_t begun, ended, busy; /* of calls close to each other, ns; begun 0: the call under way does not count */
    int64_t looked;             /* when `cpus` was found */
    int64_t refused;            /* when the system last gave fewer threads than were asked for; 0: never */
    int cpus;                   /* processors that it may run on; 0: not known */
    int team;                   /* threads that the OpenMP runtime keeps for it, with itself; 0 or 1: none */
    int claimed;                /* lanes that the call under way has claimed */
    int lanes;                  /* lanes of the last call */
    int depth;                  /* calls under way: a signal handler may make another one inside a call */
#if defined(__linux__)
    cpu_set_t allowed; /* these are they */
    unsigned version;  /* of `allowed`; 0: none that its threads should follow */
#endif
} lrt_caller;

#if defined(_MSC_VER)
static __declspec(thread) lrt_caller lrt_me;
#else
static __thread lrt_caller lrt_me;
#endif

/* ---- processors ----------------------------------------------------------------------------------------
 *
 * Which ones a process may use can change at any time, and so can what its control group leaves it. A call
 * that is worth several threads looks again if the last look was a while ago. */

#define LRT_CPUS_NS 10000000    /* a system call */
#define LRT_QUOTA_NS 1000000000 /* several files, which Python reads (_cgroups.py) */

static int lrt_quota = INT_MAX; /* whole processors that the control groups leave the process */
static int lrt_quota_due = 1;   /* it should be read before the next call */
static int64_t lrt_quota_read;

static void lrt_set_quota(int cpus)
{
    __atomic_store_n(&lrt_quota, cpus, __ATOMIC_RELAXED);
    __atomic_store_n(&lrt_quota_read, lrt_now(), __ATOMIC_RELAXED);
    __atomic_store_n(&lrt_quota_due, 0, __ATOMIC_RELAXED);
}

static int lrt_count_cpus(lrt_caller *me)
{
#ifdef _OPENMP
#if defined(__linux__)
    static unsigned versions;
    cpu_set_t now;
    /* Where the user has told OpenMP to bind threads, the caller's processors are not all there are. */
    if (omp_get_proc_bind() == omp_proc_bind_false && sched_getaffinity(0, sizeof now, &now) == 0) {
        if (me->version == 0 || !CPU_EQUAL(&now, &me->allowed))
            me->version = __atomic_add_fetch(&versions, 1, __ATOMIC_RELAXED);
        me->allowed = now;
        return CPU_COUNT(&now);
    }
    me->version = 0;
#else
    (void)me;
#endif
    return omp_get_num_procs();
#else
    (void)me;
    return 1;
#endif
}

/* Processors for a call that begins now. */
static int lrt_cpus(lrt_caller *me, int64_t now)
{
    int quota = __atomic_load_n(&lrt_quota, __ATOMIC_RELAXED);
    if (me->cpus == 0 || lrt_older(me->looked, now, LRT_CPUS_NS)) {
        me->cpus = lrt_count_cpus(me);
        me->looked = now;
    }
    if (lrt_older(__atomic_load_n(&lrt_quota_read, __ATOMIC_RELAXED), now, LRT_QUOTA_NS))
        __atomic_store_n(&lrt_quota_due, 1, __ATOMIC_RELAXED);
    return me->cpus < quota ? me->cpus : quota;
}

/* Where the caller of a team is. */
typedef struct {
    int cpu; /* or -1 */
#if defined(__linux__)
    const cpu_set_t *allowed;
    unsigned version;
#endif
} lrt_place;

static void lrt_get_place(lrt_place *place)
{
    place->cpu = -1;
#if defined(__linux__)
    place->cpu = sched_getcpu();
    place->allowed = &lrt_me.allowed;
    place->version = lrt_me.version;
#endif
}

/* On another thread of the team: it may run where its caller may. And one that wakes up on its caller's
 * processor would share it for as long as the system's balancing takes, which is longer than most calls.
 * It leaves, and may then run anywhere again. */
static void lrt_take_place(const lrt_place *place)
{
#if defined(__linux__)
    static __thread unsigned version;
    cpu_set_t allowed, others;
    if (place->version != 0 && version != place->version &&
        sched_setaffinity(0, sizeof *place->allowed, place->allowed) == 0)
        version = place->version;
    if (place->cpu < 0 || sched_getcpu() != place->cpu || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR((size_t)place->cpu, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
#else
    (void)place;
#endif
}

/* ---- threads -------------------------------------------------------------------------------------------
 *
 * GNU's OpenMP runtime ends the process when it cannot start a thread. So threads are started on trial
 * before it is asked for more than it keeps, and it starts them before another call of the process does
 * the same. What another process takes in between is the race that is left. */

#define LRT_MOST_LANES 64
#define LRT_REFUSED_NS 1000000000 /* then it is tried again */

#ifdef _OPENMP
static void *lrt_wait_at_gate(void *gate)
{
    pthread_mutex_lock((pthread_mutex_t *)gate);
    pthread_mutex_unlock((pthread_mutex_t *)gate);
    return NULL;
}

/* How many more threads can there be at once? Up to `most`. */
static int lrt_try_threads(int most)
{
    pthread_t threads[LRT_MOST_LANES];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int n = 0;
    pthread_mutex_lock(&gate);
    while (n < most && n < LRT_MOST_LANES && pthread_create(&threads[n], NULL, lrt_wait_at_gate, &gate) == 0)
        n++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return n;
}

static int lrt_start_threads(int lanes)
{
    int there = 0;
#pragma omp parallel num_threads(lanes)
    __atomic_add_fetch(&there, 1, __ATOMIC_RELAXED);
    return there;
}
#endif

/* Threads for a team of `lanes`: so many, or as many as there can be. */
static int lrt_gather(lrt_caller *me, int lanes)
{
#ifdef _OPENMP
    static pthread_mutex_t growing = PTHREAD_MUTEX_INITIALIZER;
    const int have = me->team > 1 ? me->team : 1;
    int64_t now;
    if (lanes > have) {
        now = lrt_now();
        if (me->refused && !lrt_older(me->refused, now, LRT_REFUSED_NS))
            return have;
        pthread_mutex_lock(&growing);
        me->team = have + lrt_try_threads(lanes - have);
        if (me->team > have)
            me->team = lrt_start_threads(me->team);
        pthread_mutex_unlock(&growing);
        me->refused = me->team < lanes ? now : 0;
    } else if (lanes > 1) {
        me->team = lanes; /* a smaller team lets the others end */
    }
    return lanes < me->team ? lanes : me->team > 1 ? me->team : 1;
#else
    (void)me;
    (void)lanes;
    return 1;
#endif
}

/* ---- how many --------------------------------------------------------------------------------------------
 *
 * After a call its threads spin for some tenths of a millisecond (_openmp.py), then they sleep, and
 * waking them takes tens of microseconds. So that more threads never make it slower, a call that is
 * not long goes on one thread, unless threads are still awake or calls follow each other so closely,
 * and have done so for so long, that waking them once will have paid. Nor do the calls of a process that
 * could use several threads have more of them, together, than there are processors. */

#define LRT_AWAKE_NS 200000    /* this soon after a call, its threads still spin */
#define LRT_CREDIT_NS 1000000  /* work in calls close to each other, to pay for waking */

static int lrt_claimed;      /* lanes of all calls under way that could use several */
static int lrt_forced_lanes; /* for tests: not 0: so many, whatever the call */

/* Lanes for the call, of those that other calls leave. */
static int lrt_claim(const lrt_session *session, uint32_t most, int awake, int cpus)
{
    int claimed = __atomic_load_n(&lrt_claimed, __ATOMIC_RELAXED), left, lanes;
    do {
        left = cpus - claimed;
        if (left > (int)most)
            left = (int)most;
        lanes = left > 1 ? (int)lrt_worthwhile_lanes(session, (uint32_t)left, awake) : 1;
    } while (!__atomic_compare_exchange_n(&lrt_claimed, &claimed, claimed + lanes, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return lanes;
}

/* Threads for a call, prepared, that may have `most`. */
static int lrt_team_lanes(const lrt_session *session, uint32_t most)
{
    lrt_caller *me = &lrt_me;
    int awake, lanes;
    if (me->depth++ > 0)
        return 1;
    me->begun = 0;
    me->claimed = 0;
    if (lrt_forced_lanes > 0)
        return lrt_gather(me, (uint32_t)lrt_forced_lanes < most ? lrt_forced_lanes : (int)most);
    if (lrt_worthwhile_lanes(session, most, 1) == 1)
        return 1;
    me->begun = lrt_now();
    if (lrt_older(me->ended, me->begun, LRT_AWAKE_NS))
        me->busy = 0;
    awake = me->busy >= LRT_CREDIT_NS;
    me->claimed = lrt_claim(session, most, awake, lrt_cpus(me, me->begun));
    lanes = lrt_gather(me, me->claimed);
    if (lanes > 1 && lanes < me->claimed)
        lanes = (int)lrt_worthwhile_lanes(session, (uint32_t)lanes, awake);
    return lanes;
}

/* The call is over. Where it ran on several threads, they are awake now. */
static void lrt_team_done(int lanes)
{
    lrt_caller *me = &lrt_me;
    if (--me->depth > 0)
        return;
    if (me->claimed > 0)
        __atomic_sub_fetch(&lrt_claimed, me->claimed, __ATOMIC_RELAXED);
    if (me->begun == 0)
        return;
    me->ended = lrt_now();
    me->busy += lanes > 1 ? LRT_CREDIT_NS : me->ended - me->begun;
}

#endif
