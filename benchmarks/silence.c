/* Nanoseconds of blocks of a model with one sequence in and one value out, in C alone, on one thread: medians of
 *
 *   loud                a block uniform in [-1, 1]
 *   quiet E             the same numbers times 2^-E
 *   tail I              block I of silence after a loud one, whose state it has (of models that stream)
 *
 * which take turns. A block that is soon done is as many of them as take some 30 microseconds. Usage: silence KERNELS STEPS
 * MODEL.lrt ROUNDS EXPONENT... */
#include <math.h>

#include "c_model.h"

enum { MAX_ROUNDS = 1001, MAX_QUIET = 64, TAIL = 48 };

static double times[1 + MAX_QUIET + TAIL][MAX_ROUNDS];

/* So many blocks, one after the other. */
static double timed_blocks(c_model *m, const float *x, int keep_state, int blocks)
{
    double start = nanoseconds();
    for (int i = 0; i < blocks; i++)
        call_model(m, x, keep_state);
    return (nanoseconds() - start) / blocks;
}

static double median(double *of, int rounds)
{
    qsort(of, (size_t)rounds, sizeof *of, compare);
    return of[rounds / 2];
}

int main(int argc, char **argv)
{
    const int rounds = argc > 4 ? atoi(argv[4]) : 0, quiet = argc - 5;
    float *x[1 + MAX_QUIET], *silence;
    int tail, blocks = 1;
    c_model m;
    if (rounds < 1 || rounds > MAX_ROUNDS || quiet < 0 || quiet > MAX_QUIET)
        return 1;
    open_model(&m, argv[1], argv[3], (uint32_t)strtoul(argv[2], NULL, 10));
    tail = lrt_model_streams(&m.model) ? TAIL : 0;
    for (int i = 0; i <= quiet; i++) {
        srand(1);
        x[i] = uniform(m.floats, i ? (float)ldexp(1.0, -atoi(argv[4 + i])) : 1.0f);
    }
    silence = uniform(m.floats, 0.0f);
    timed_blocks(&m, x[0], 0, 100);
    while (blocks < 1024 && timed_blocks(&m, x[0], 0, blocks) * blocks < 3e4)
        blocks *= 2;
    for (int r = -1; r < rounds; r++) { /* the first round warms up */
        for (int i = 0; i <= quiet; i++)
            times[i][r < 0 ? 0 : r] = timed_blocks(&m, x[i], 0, blocks);
        call_model(&m, x[0], 0);
        for (int i = 0; i < tail; i++)
            times[1 + quiet + i][r < 0 ? 0 : r] = timed_blocks(&m, silence, 1, blocks);
    }
    printf("loud %.1f\n", median(times[0], rounds));
    for (int i = 1; i <= quiet; i++)
        printf("quiet %s %.1f\n", argv[4 + i], median(times[i], rounds));
    for (int i = 0; i < tail; i++)
        printf("tail %d %.1f\n", i, median(times[1 + quiet + i], rounds));
    return 0;
}
