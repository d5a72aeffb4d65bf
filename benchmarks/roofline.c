/* What this machine can do at most: float32 multiply-adds, and reading as a function of the working set.
 *
 *   roofline THREADS REPEATS MICROSECONDS SMALLEST LARGEST STEP [ISA...]
 *
 * prints, for each instruction set (without names: all that this CPU has, best first), one value per repetition:
 *
 *   peak ISA GFLOP/s...
 *   read ISA BYTES GB/s...
 *
 * The working set grows from SMALLEST to LARGEST bytes by factors of STEP. With several threads each reads
 * its own share of it, all at the same time; rates are those of all threads together. roofline.py builds and runs this.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define WARM_UP_SECONDS 0.01
enum { MAX_THREADS = 64, HUGE_PAGE = 2 << 20 };

struct isa {
    const char *name;
    double flop_per_time; /* of multiply_add */
    double (*multiply_add)(size_t times);
    void (*read_all)(const void *memory, size_t bytes, size_t times);
};

/* Read at run time, so that nothing is computed by the compiler. Sums converge to 1: no denormals, no infinities. */
static volatile float factor_and_term[2] = {0.5F, 0.5F};
static volatile double sink[MAX_THREADS]; /* results go here, so that nobody can leave the work out */

/* Sums live in registers only if their loops are unrolled. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* The constraint that has the compiler load a vector into a register, for an instruction that is not there. */
#if defined(__x86_64__) || defined(__i386__)
#define VECTOR_REGISTER "x"
#elif defined(__aarch64__)
#define VECTOR_REGISTER "w"
#else
#error "no constraint known for vector registers of this architecture: add it here"
#endif

#define TEXT_(x) #x
#define NAME_TEXT(x) TEXT_(x)

#if defined(__x86_64__) || defined(__i386__)
#define ISA avx512
#define VECTOR 64
#define SUMS 12
#define TARGET __attribute__((target("avx512f,fma")))
#include "roofline_isa.h"
#define ISA avx2
#define VECTOR 32
#define SUMS 12
#define TARGET __attribute__((target("avx2,fma")))
#include "roofline_isa.h"
#endif
#ifdef __aarch64__
#define ISA neon
#define VECTOR 16
#define SUMS 24
#define TARGET
#include "roofline_isa.h"
#endif
#define ISA portable
#define VECTOR 16
#define SUMS 12
#define TARGET
#include "roofline_isa.h"

/* Those that this CPU has, best first; returns how many. */
static int available(const struct isa *found[4])
{
    int count = 0;
#if defined(__x86_64__) || defined(__i386__)
    if (__builtin_cpu_supports("avx512f"))
        found[count++] = &isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[count++] = &isa_avx2;
#endif
#ifdef __aarch64__
    found[count++] = &isa_neon;
#endif
    found[count++] = &isa_portable;
    return count;
}

/* -- threads ---------------------------------------------------------------------------------- */

/* One measurement: every thread does the same on its own share of the memory. bytes = 0: multiply-adds. */
struct job {
    const struct isa *isa;
    const unsigned char *memory;
    size_t bytes; /* of one thread's share */
    size_t times;
};

static struct {
    int threads;
    struct job job;
    atomic_int arrived;
    atomic_uint round;
    atomic_int stop;
    double start[MAX_THREADS], end[MAX_THREADS]; /* of each thread's share of the job */
} team;

/* Until all threads are here. Spins: what follows begins at the same time everywhere. */
static void meet(void)
{
    const unsigned round = atomic_load(&team.round);
    if (atomic_fetch_add(&team.arrived, 1) + 1 == team.threads) {
        atomic_store(&team.arrived, 0);
        atomic_fetch_add(&team.round, 1);
        return;
    }
    while (atomic_load(&team.round) == round)
        if (team.threads > 1)
            sched_yield();
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void work(int thread)
{
    const struct job *job = &team.job;
    team.start[thread] = seconds();
    if (job->bytes)
        job->isa->read_all(job->memory + job->bytes * (size_t)thread, job->bytes, job->times);
    else
        sink[thread] = job->isa->multiply_add(job->times);
    team.end[thread] = seconds();
}

/* Each thread on a CPU of its own among those of this process, where the system can. */
static void pin(int thread)
{
#ifdef __linux__
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all))
        return;
    int before = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && before++ == thread) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one);
            return;
        }
#else
    (void)thread;
#endif
}

static void *helper(void *number)
{
    const int thread = (int)(intptr_t)number;
    pin(thread);
    for (;;) {
        meet();
        if (atomic_load(&team.stop))
            return NULL;
        work(thread);
        meet();
    }
}

/* Seconds that the job takes, from the first thread's start to the last one's end. */
static double run(struct job job)
{
    team.job = job;
    meet();
    work(0);
    meet();
    double start = team.start[0], end = team.end[0];
    for (int i = 1; i < team.threads; i++) {
        start = team.start[i] < start ? team.start[i] : start;
        end = team.end[i] > end ? team.end[i] : end;
    }
    return end - start;
}

/* -- measurements ----------------------------------------------------------------------------- */

/* How many times fill `target` seconds. Asks thrice: an interruption makes few of them look like many. */
static size_t times_for(struct job job, double target)
{
    for (job.times = 1; run(job) < target || run(job) < target || run(job) < target;)
        job.times *= 2;
    return job.times;
}

/* Prints `per_time / 1e9` per second for each repetition of at least `target` seconds. */
static void measure(struct job job, double per_time, int repeats, double target)
{
    job.times = times_for(job, target);
    for (int i = 0; i < repeats; i++)
        printf(" %.4g", per_time * (double)job.times / run(job) / 1e9);
    printf("\n");
    fflush(stdout);
}

static void measure_isa(const struct isa *isa, const unsigned char *memory, const double *numbers)
{
    const int repeats = (int)numbers[1];
    const double target = numbers[2] * 1e-6, smallest = numbers[3], largest = numbers[4], step = numbers[5];
    const struct job peak = {isa, memory, 0, 0};
    (void)times_for(peak, WARM_UP_SECONDS); /* the clock takes its time to recover from waiting for memory */
    printf("peak %s", isa->name);
    measure(peak, isa->flop_per_time * team.threads, repeats, target);
    for (double size = smallest; size <= largest * 1.001; size *= step) {
        struct job job = peak;
        job.bytes = (size_t)(size / team.threads / 512) * 512; /* a multiple of 8 vectors of any kind */
        const size_t all = job.bytes * (size_t)team.threads;
        printf("read %s %zu", isa->name, all);
        measure(job, (double)all, repeats, target);
    }
}

/* Memory in huge pages if the system gives them: address translation is not to be the bound. */
static unsigned char *allocate(size_t bytes)
{
    const size_t rounded = (bytes / HUGE_PAGE + 1) * HUGE_PAGE;
    unsigned char *memory = aligned_alloc(HUGE_PAGE, rounded);
    if (!memory)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    memset(memory, 1, rounded);
    return memory;
}

static int wanted(const struct isa *isa, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], isa->name))
            return 1;
    return count == 0;
}

static int fail(const char *what)
{
    fprintf(stderr, "roofline: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    double numbers[6]; /* the arguments, in their order */
    if (argc < 7)
        return fail("expected THREADS REPEATS MICROSECONDS SMALLEST LARGEST STEP [ISA...]");
    for (int i = 0; i < 6; i++)
        numbers[i] = strtod(argv[i + 1], NULL);
    if (!(numbers[0] >= 1 && numbers[0] <= MAX_THREADS))
        return fail("expected 1 to 64 threads");
    if (!(numbers[1] >= 1 && numbers[2] > 0 && numbers[3] >= 512 * numbers[0] && numbers[4] >= numbers[3] &&
          numbers[5] > 1))
        return fail("expected repeats and microseconds above 0, 512 bytes per thread or more, a step above 1");
    team.threads = (int)numbers[0];
    unsigned char *memory = allocate((size_t)numbers[4]);
    if (!memory)
        return fail("no memory for the largest working set");
    pthread_t helpers[MAX_THREADS];
    for (int i = 1; i < team.threads; i++)
        if (pthread_create(&helpers[i], NULL, helper, (void *)(intptr_t)i))
            return fail("cannot start a thread");
    pin(0); /* last: threads start on the CPUs of the one that makes them */
    const struct isa *isas[4];
    const int count = available(isas);
    for (int i = 0; i < count; i++)
        if (wanted(isas[i], argv + 7, argc - 7))
            measure_isa(isas[i], memory, numbers);
    atomic_store(&team.stop, 1);
    meet();
    for (int i = 1; i < team.threads; i++)
        pthread_join(helpers[i], NULL);
    free(memory);
    return 0;
}
