/* Nanoseconds per step of a model with one sequence in and one out, in C alone: the median of calls of
 * `steps` steps on one thread. Usage: c_path KERNELS STEPS MODEL.lrt */
#include "c_model.h"

enum { CALLS = 2001, WARM_UP = 200 };

int main(int argc, char **argv)
{
    static double times[CALLS];
    const uint32_t steps = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    c_model m;
    float *x;
    if (argc != 4)
        return 1;
    open_model(&m, argv[1], argv[3], steps);
    x = uniform(m.floats, 1.0f);
    for (int i = -WARM_UP; i < CALLS; i++) {
        const double start = nanoseconds();
        call_model(&m, x, 0);
        times[i < 0 ? 0 : i] = nanoseconds() - start;
    }
    qsort(times, CALLS, sizeof *times, compare);
    printf("%.2f %.2f %.2f\n", times[CALLS / 2] / steps, times[CALLS / 10] / steps, times[CALLS * 9 / 10] / steps);
    return 0;
}
