/* Audio in, audio out, block by block: a model that takes one number a step and gives one, on a stream of sound.
 *
 *   stream model.lrt <in.wav >out.wav
 *
 * WAV with one channel of 16 bits, of any length and rate. Between blocks the state stays in the session, so the blocks
 * are heard as one piece; after the first there is no allocation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lstm_rt.h"

#define BLOCK 64 /* samples */

static void fail(const char *where, const char *what)
{
    fprintf(stderr, "stream: %s: %s\n", where, what);
    exit(1);
}

/* Memory aligned to LRT_ALIGN; the program ends with it. */
static void *aligned(size_t size)
{
    char *p = malloc(size + LRT_ALIGN);
    if (!p)
        fail("memory", "there is not enough");
    return p + (LRT_ALIGN - (uintptr_t)p % LRT_ALIGN) % LRT_ALIGN;
}

static void open_model(lrt_model *model, const char *path)
{
    FILE *f = fopen(path, "rb");
    long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    void *blob;
    int error;

    if (size <= 0)
        fail(path, "cannot read it");
    blob = aligned((size_t)size);
    rewind(f);
    if (fread(blob, 1, (size_t)size, f) != (size_t)size)
        fail(path, "cannot read it");
    fclose(f);
    error = lrt_model_open(model, blob, (size_t)size);
    if (error == LRT_OK)
        error = lrt_model_check(model);
    if (error != LRT_OK)
        fail(path, lrt_error_text(error));
    if (model->n_inputs != 1 || model->n_outputs != 1 || lrt_model_input(model, 0).kind != LRT_SEQ ||
        lrt_model_input(model, 0).size != 1 || lrt_model_output(model, 0).kind != LRT_SEQ ||
        lrt_model_output(model, 0).size != 1 || !lrt_model_streams(model))
        fail(path, "not a model that streams one number in and one out");
}

static lrt_session *open_session(const lrt_model *model)
{
    lrt_limits limits = {0};
    lrt_session *session;
    size_t size;
    int error;

    limits.batch = 1;
    limits.lanes = 1;
    limits.steps[lrt_model_input(model, 0).axis] = BLOCK;
    size = lrt_session_size(model, &limits);
    error = lrt_session_init(&session, model, lrt_kernels_best(), &limits, aligned(size), size);
    if (error != LRT_OK)
        fail("session", lrt_error_text(error));
    return session;
}

static uint32_t number(const unsigned char *p, int bytes)
{
    uint32_t n = 0;
    while (bytes--)
        n = n << 8 | p[bytes];
    return n;
}

static void read_exactly(unsigned char *to, size_t n)
{
    if (fread(to, 1, n, stdin) != n)
        fail("input", "it ends too early");
}

/* Copies the header, chunk by chunk, up to the samples. Returns how many bytes of them there are. */
static uint32_t copy_header(void)
{
    unsigned char head[12], chunk[8], format[40];
    int known = 0;

    read_exactly(head, sizeof head);
    if (memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0)
        fail("input", "not a WAV file");
    fwrite(head, 1, sizeof head, stdout);
    for (;;) {
        uint32_t size;
        read_exactly(chunk, sizeof chunk);
        fwrite(chunk, 1, sizeof chunk, stdout);
        size = number(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0)
            break;
        if (memcmp(chunk, "fmt ", 4) == 0) {
            if (size < 16 || size > sizeof format)
                fail("input", "its format is not described as WAV files do");
            read_exactly(format, size);
            fwrite(format, 1, size, stdout);
            known = number(format, 2) == 1 && number(format + 2, 2) == 1 && number(format + 14, 2) == 16;
            continue;
        }
        for (size += size & 1; size > 0; size--) {
            unsigned char byte;
            read_exactly(&byte, 1);
            fwrite(&byte, 1, 1, stdout);
        }
    }
    if (!known)
        fail("input", "not one channel of 16 bits");
    return number(chunk + 4, 4);
}

static int16_t sample(float y)
{
    const float scaled = y * 32768.0f;
    if (!(scaled > -32768.0f)) /* a NaN, too */
        return -32768;
    if (scaled >= 32767.0f)
        return 32767;
    return (int16_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f);
}

int main(int argc, char **argv)
{
    static unsigned char bytes[2 * BLOCK];
    static float x[BLOCK], y[BLOCK];
    const void *inputs[1] = {x};
    float *outputs[1] = {y};
    lrt_call_args call = {0};
    lrt_model model;
    lrt_session *session;
    uint32_t left;
    size_t i, n;

    if (argc != 2) {
        fprintf(stderr, "usage: stream model.lrt <in.wav >out.wav\n");
        return 1;
    }
    open_model(&model, argv[1]);
    session = open_session(&model);
    left = copy_header() / 2;
    call.batch = 1;
    call.inputs = inputs;
    call.outputs = outputs;
    call.keep_state = 1;
    while (left > 0 && (n = fread(bytes, 2, left < BLOCK ? left : BLOCK, stdin)) > 0) {
        int error;
        for (i = 0; i < n; i++) {
            const int32_t u = (int32_t)number(bytes + 2 * i, 2);
            x[i] = (float)(u < 32768 ? u : u - 65536) / 32768.0f;
        }
        call.steps[lrt_model_input(&model, 0).axis] = (uint32_t)n;
        error = lrt_call(session, &call);
        if (error != LRT_OK)
            fail("call", lrt_error_text(error));
        for (i = 0; i < n; i++) {
            const uint32_t s = (uint32_t)sample(y[i]);
            bytes[2 * i] = (unsigned char)(s & 255);
            bytes[2 * i + 1] = (unsigned char)(s >> 8 & 255);
        }
        if (fwrite(bytes, 2, n, stdout) != n)
            fail("output", "cannot write it");
        left -= (uint32_t)n;
    }
    if (left > 0 && left < 0x7fffff00u) /* a stream of unknown length says a size that large */
        fail("input", "it ends too early");
    return fflush(stdout) == 0 ? 0 : 1;
}
