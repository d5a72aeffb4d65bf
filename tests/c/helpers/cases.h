/* One model with inputs and room for outputs: what most tests of the core need. */
#ifndef CASES_H
#define CASES_H

#include "helpers/check.h"
#include "ops/lrt_recurrent.h"
#include "lstm_rt.h"

typedef struct {
    const lrt_model *m;
    uint32_t batch, steps[LRT_MAX_AXES];
    walled in[LRT_MAX_IO], out[LRT_MAX_IO], lengths[LRT_MAX_AXES]; /* no lengths: base is NULL */
} test_case;

/* A model from a file, or NULL; the blob comes aligned. */
int model_from_file(lrt_model *m, walled *blob, const char *path);
int model_from_bytes(lrt_model *m, walled *blob, const void *bytes, size_t size);

/* Random inputs (ids that fit, some steps all zero for masks) for `batch` rows and steps[axis] steps. Of a seed with
 * CASE_FADES they fade out, through the numbers whose squares are denormal to denormals and zeros. */
#define CASE_FADES 0x80000000u
void case_init(test_case *c, const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths,
               uint32_t seed);
void case_free(test_case *c);
/* Steps t0 to t0 + count of rows n0 to n0 + rows of c, as a case of its own. Lengths are copied
 * only when t0 is 0 and all steps are taken. */
void case_part(test_case *part, const test_case *c, uint32_t n0, uint32_t rows, uint32_t t0, uint32_t count);
/* The inputs of `of` for another model, whose ports have the same kinds and sizes in other orders; are its outputs the
 * same then? */
void case_in_order(test_case *c, const lrt_model *m, const test_case *of);
int same_in_order(const test_case *c, const test_case *of);

/* A port's array from a row on, and from where the steps of its axis are that follow from step `step` of the inputs. */
typedef struct {
    const test_case *c;
    lrt_io io;
    unsigned char *data;
    uint32_t row, step;
} port_at;
port_at port_of(const test_case *c, int output, uint32_t i, uint32_t row, uint32_t step);
/* All steps of so many rows of a, whatever the orders: copied from b, or only compared. Returns whether they are the
 * same. */
int port_same(port_at a, port_at b, uint32_t rows, int copy);

/* Is output i of `part` the same bytes as that part of c's? */
int part_equal(const test_case *part, const test_case *c, uint32_t i, uint32_t n0, uint32_t t0);
int outputs_equal(const test_case *a, const test_case *b);

/* Arguments of a call; pointers into `pointers`, which must live as long. */
typedef struct {
    lrt_call_args args;
    const void *in[LRT_MAX_IO];
    float *out[LRT_MAX_IO];
    const int32_t *lengths[LRT_MAX_AXES];
} call_pointers;
const lrt_call_args *case_call(const test_case *c, call_pointers *p, int keep_state);

/* A session in walled memory of exactly its size. */
typedef struct {
    lrt_session *s;
    walled memory;
} test_session;
void session_new(test_session *t, const lrt_model *m, const lrt_kernels *k, uint32_t batch, const uint32_t *steps,
                 uint32_t lanes);
void session_free(test_session *t);
/* lrt_call from zero state, checked to succeed. */
void session_run(test_session *t, const test_case *c);
/* A call with several threads and a barrier of pthreads; what all of them return. */
int session_call_lanes(test_session *t, const lrt_call_args *call, uint32_t lanes);
/* session_run on several threads. */
void session_run_lanes(test_session *t, const test_case *c, uint32_t lanes);

#endif
