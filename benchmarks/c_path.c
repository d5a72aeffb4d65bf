/* Nanoseconds per step of a model with one sequence in and one out, in C alone: the median of calls of
 * `steps` steps on one thread. Usage: c_path KERNELS STEPS MODEL.lrt */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lstm_rt.h"

enum { CALLS = 2001, WARM_UP = 200 };

static double nanoseconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *aligned(size_t size)
{
    void *p = aligned_alloc(LRT_ALIGN, (size + LRT_ALIGN - 1) / LRT_ALIGN * LRT_ALIGN);
    if (!p)
        exit(1);
    return p;
}

static void *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    long end = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    void *blob = end > 0 ? aligned((size_t)end) : NULL;
    if (!blob)
        exit(1);
    *size = (size_t)end;
    rewind(f);
    if (fread(blob, 1, *size, f) != *size)
        exit(1);
    fclose(f);
    return blob;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double times[CALLS];
    const lrt_kernels *kernels = argc == 4 ? lrt_kernels_by_name(argv[1]) : NULL;
    const uint32_t steps = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    lrt_limits limits = {.batch = 1, .lanes = 1};
    lrt_call_args call = {.batch = 1};
    lrt_model model;
    lrt_session *session;
    const void *inputs[1];
    float *outputs[1];
    void *blob;
    size_t size, need;

    if (!kernels || !steps)
        return 1;
    blob = read_file(argv[3], &size);
    if (lrt_model_open(&model, blob, size) != LRT_OK)
        return 1;
    limits.steps[0] = call.steps[0] = steps;
    need = lrt_session_size(&model, &limits);
    if (lrt_session_init(&session, &model, kernels, &limits, aligned(need), need) != LRT_OK)
        return 1;
    float *x = aligned(steps * lrt_model_input(&model, 0).size * sizeof *x);
    for (size_t i = 0; i < steps * lrt_model_input(&model, 0).size; i++)
        x[i] = (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
    inputs[0] = x;
    outputs[0] = aligned(steps * lrt_model_output(&model, 0).size * sizeof *x);
    call.inputs = inputs;
    call.outputs = outputs;
    for (int i = -WARM_UP; i < CALLS; i++) {
        double start = nanoseconds();
        if (lrt_call(session, &call) != LRT_OK)
            return 1;
        times[i < 0 ? 0 : i] = nanoseconds() - start;
    }
    qsort(times, CALLS, sizeof *times, compare);
    printf("%.2f %.2f %.2f\n", times[CALLS / 2] / steps, times[CALLS / 10] / steps, times[CALLS * 9 / 10] / steps);
    return 0;
}
