/* The core with its loader on a device: what is wrong is refused by its code, and what is right gives its numbers.
 * cases.h, which test_core.py writes, has the blobs, and CLOSE: how far a number may be off (0: not a bit). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lstm_rt.h"

typedef struct {
    const char *name;
    const unsigned char *blob;
    size_t size;
    int code;           /* what opening it gives */
    uint32_t steps;     /* of one that opens: a run, */
    const float *x, *y; /* its input and output */
    uint32_t outputs;   /* floats of the output */
} blob_case;

#include "cases.h"

static unsigned char memory[MEMORY] __attribute__((aligned(LRT_ALIGN)));
static int failures;

static void expect(const char *name, const char *what, int got, int wanted)
{
    if (got != wanted) {
        printf("%s: %s: %d, expected %d\n", name, what, got, wanted);
        failures++;
    }
}

static void run(const blob_case *c, const lrt_model *model)
{
    static float y[MOST_OUTPUTS];
    const void *inputs[1];
    float *outputs[1];
    lrt_limits limits;
    lrt_call_args call;
    lrt_session *session = NULL;
    const uint32_t axis = lrt_model_input(model, 0).axis;
    size_t need;
    uint32_t i;

    memset(&limits, 0, sizeof limits);
    memset(&call, 0, sizeof call);
    limits.batch = limits.lanes = 1;
    limits.steps[axis] = c->steps;
    need = lrt_session_size(model, &limits);
    if (need == 0 || need > sizeof memory - LRT_ALIGN) {
        expect(c->name, "memory that is needed", (int)need, (int)sizeof memory);
        return;
    }
    expect(c->name, "memory a byte too small", lrt_session_init(&session, model, lrt_kernels_best(), &limits, memory, need - 1),
           LRT_E_MEMORY);
    expect(c->name, "memory misaligned",
           lrt_session_init(&session, model, lrt_kernels_best(), &limits, memory + 4, sizeof memory - 4), LRT_E_MEMORY);
    expect(c->name, "no memory", lrt_session_init(&session, model, lrt_kernels_best(), &limits, NULL, need), LRT_E_ARGUMENT);
    expect(c->name, "no kernels", lrt_session_init(&session, model, NULL, &limits, memory, need), LRT_E_ARGUMENT);
    expect(c->name, "session", lrt_session_init(&session, model, lrt_kernels_best(), &limits, memory, need), LRT_OK);
    if (!session)
        return;
    inputs[0] = c->x;
    outputs[0] = y;
    call.batch = 2;
    call.steps[axis] = c->steps;
    call.inputs = inputs;
    call.outputs = outputs;
    expect(c->name, "too many rows", lrt_call(session, &call), LRT_E_BATCH);
    call.batch = 1;
    expect(c->name, "call", lrt_call(session, &call), LRT_OK);
    for (i = 0; i < c->outputs; i++)
        if (!(fabsf(y[i] - c->y[i]) <= CLOSE)) {
            printf("%s: %u: %.9g, expected %.9g\n", c->name, (unsigned)i, (double)y[i], (double)c->y[i]);
            failures++;
        }
    limits.batch = 0xffffffffu;
    if (sizeof(size_t) == sizeof(uint32_t))
        expect(c->name, "more than can be addressed", lrt_session_size(model, &limits) != 0, 0);
}

int main(void)
{
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        const blob_case *c = &cases[i];
        lrt_model model;
        const int code = lrt_model_open(&model, c->blob, c->size);
        expect(c->name, "opening it", code == LRT_OK && c->code == LRT_E_CHECKSUM ? lrt_model_check(&model) : code, c->code);
        if (code == LRT_OK && c->code == LRT_OK) {
            expect(c->name, "checksum", lrt_model_check(&model), LRT_OK);
            memcpy(memory + 4, c->blob, c->size);
            expect(c->name, "misaligned", lrt_model_open(&model, memory + 4, c->size), LRT_E_ALIGNMENT);
            memcpy(memory + 1, c->blob, c->size);
            expect(c->name, "odd address", lrt_model_open(&model, memory + 1, c->size), LRT_E_ALIGNMENT);
            expect(c->name, "cut off", lrt_model_open(&model, c->blob, c->size - 1), LRT_E_SIZE);
            expect(c->name, "no blob", lrt_model_open(&model, NULL, c->size), LRT_E_ARGUMENT);
            expect(c->name, "again", lrt_model_open(&model, c->blob, c->size), LRT_OK);
            run(c, &model);
        }
    }
    printf("%u blobs, %d failures\n", i, failures);
    return failures != 0;
}
