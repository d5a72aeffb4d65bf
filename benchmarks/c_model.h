/* What the C programs of the benchmarks share: a model of one sequence in and one value out, in a session, and a clock. */
#ifndef C_MODEL_H
#define C_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lstm_rt.h"

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

/* Calls of `steps` steps of one row; inputs[0] is to be set. */
typedef struct {
    lrt_model model;
    lrt_session *session;
    lrt_call_args call;
    const void *inputs[1];
    float *outputs[1];
    size_t floats; /* of the input */
} c_model;

static void open_model(c_model *m, const char *kernels, const char *path, uint32_t steps)
{
    const lrt_kernels *table = lrt_kernels_by_name(kernels);
    lrt_limits limits = {.batch = 1, .lanes = 1};
    void *blob;
    size_t size, need;
    if (!table || !steps)
        exit(1);
    blob = read_file(path, &size);
    if (lrt_model_open(&m->model, blob, size) != LRT_OK)
        exit(1);
    m->call = (lrt_call_args){.batch = 1, .inputs = m->inputs, .outputs = m->outputs};
    limits.steps[0] = m->call.steps[0] = steps;
    need = lrt_session_size(&m->model, &limits);
    if (lrt_session_init(&m->session, &m->model, table, &limits, aligned(need), need) != LRT_OK)
        exit(1);
    m->floats = (size_t)steps * lrt_model_input(&m->model, 0).size;
    m->outputs[0] = aligned((size_t)steps * lrt_model_output(&m->model, 0).size * sizeof(float));
}

/* An input uniform in [-size, size]. */
static float *uniform(size_t floats, float size)
{
    float *x = aligned(floats * sizeof *x);
    for (size_t i = 0; i < floats; i++)
        x[i] = ((float)rand() / (float)RAND_MAX * 2.0f - 1.0f) * size;
    return x;
}

static void call_model(c_model *m, const float *x, int keep_state)
{
    m->inputs[0] = x;
    m->call.keep_state = keep_state;
    if (lrt_call(m->session, &m->call) != LRT_OK)
        exit(1);
}

#endif
