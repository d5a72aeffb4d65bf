/* A build without some families of ops: without even linking their code, it opens what does not need them, and refuses
 * what does by name. Likewise without traces.
 *
 *   left_out_test folder-with-lrt-files */
#include "helpers/check.h"
#include "lstm_rt.h"

unsigned long check_count, check_failures;
const char *check_context;

static walled read_blob(const char *folder, const char *name)
{
    char path[1024];
    walled blob;
    FILE *f;
    long size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    rewind(f);
    blob = walled_new((size_t)size);
    CHECK(fread(blob.data, 1, blob.size, f) == blob.size);
    fclose(f);
    return blob;
}

static void expect_refused(const char *folder, const char *name, const char *op)
{
    walled blob = read_blob(folder, name);
    lrt_model m;
    CHECK(lrt_model_open(&m, blob.data, blob.size) == LRT_E_OP_LEFT_OUT);
    CHECK(strcmp(lrt_refused_op(blob.data, blob.size), op) == 0);
    walled_free(&blob);
}

static void see(void *context, const lrt_traced *piece)
{
    (void)piece;
    ++*(unsigned *)context;
}

/* Refused before anything else of the call is looked at. */
static void expect_no_trace(const lrt_model *m)
{
    const lrt_limits limits = {.batch = 1, .lanes = 1};
    walled memory = walled_new(lrt_session_size(m, &limits));
    unsigned seen = 0;
    const lrt_call_args call = {.batch = 1, .trace = see, .trace_context = &seen};
    lrt_session *s;
    CHECK(lrt_session_init(&s, m, lrt_kernels_best(), &limits, memory.data, memory.size) == LRT_OK);
    CHECK(lrt_call(s, &call) == LRT_E_TRACE && seen == 0);
    walled_free(&memory);
}

int main(int argc, char **argv)
{
    walled blob;
    lrt_model m;
    if (argc != 2) {
        fprintf(stderr, "usage: left_out_test folder-with-lrt-files\n");
        return 2;
    }
    check_context = "a model that needs none of them";
    blob = read_blob(argv[1], "tagger.lrt");
    CHECK(lrt_model_open(&m, blob.data, blob.size) == LRT_OK);
    CHECK(lrt_refused_op(blob.data, blob.size) == NULL);
    expect_no_trace(&m);
    walled_free(&blob);
    check_context = "a model that needs one";
    expect_refused(argv[1], "with_selftest.lrt", "select");
    expect_refused(argv[1], "along_time.lrt", "cumsum");
    expect_refused(argv[1], "attention.lrt", "attention");
    printf("left_out_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}
