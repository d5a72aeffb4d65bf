/* lrt_call and everything around it but lrt_model_open's caller allocates nothing: the linker sends
 * every call of malloc and its kin in this program through counters (-Wl,--wrap). It sees the calls
 * of this program's objects, the core's among them, not those inside shared libraries; `make symbols`
 * shows that the core calls no function of these that could allocate. */
#include <stddef.h>
#include <sys/mman.h>

#include "helpers/blobs.h"
#include "helpers/cases.h"

static volatile unsigned long calls; /* volatile: compilers know that malloc changes no variable of ours */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);

#define COUNTED(result, name, params, args)                 \
    result __wrap_##name params                             \
    {                                                       \
        calls++;                                            \
        return __real_##name args;                          \
    }
COUNTED(void *, malloc, (size_t n), (n))
COUNTED(void *, calloc, (size_t n, size_t size), (n, size))
COUNTED(void *, realloc, (void *p, size_t n), (p, n))
COUNTED(int, posix_memalign, (void **p, size_t align, size_t n), (p, align, n))
COUNTED(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t offset), (at, n, prot, flags, fd, offset))
void __wrap_free(void *p)
{
    calls++;
    __real_free(p);
}

/* A volatile pointer keeps the compiler from leaving out what it can see to be of no use. */
static void counters_count(void)
{
    void *volatile p;
    unsigned long before = calls;
    check_context = "the counters";
    p = malloc(10);
    CHECK(calls == before + 1);
    p = realloc(p, 20);
    CHECK(calls == before + 2);
    free(p);
    CHECK(calls == before + 3);
    p = calloc(3, 4);
    CHECK(calls == before + 4);
    free(p);
    p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(calls == before + 6 && p != MAP_FAILED);
    munmap(p, 4096);
    CHECK(posix_memalign((void **)&p, 64, 64) == 0 && calls == before + 7);
    free(p);
}

static void calls_allocate_nothing(const lrt_model *m, const walled *blob)
{
    static const uint32_t steps[LRT_MAX_AXES] = {40, 4};
    lrt_model again;
    test_case c;
    case_init(&c, m, 3, steps, 0, 8);
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        test_session t;
        call_pointers p;
        unsigned long before;
        if (!lrt_kernels_usable(lrt_kernels_at(i)))
            continue;
        session_new(&t, m, lrt_kernels_at(i), 3, steps, 1);
        case_call(&c, &p, 1);
        before = calls;
        CHECK(lrt_model_open(&again, blob->data, blob->size) == LRT_OK);
        (void)lrt_model_check(&again);
        for (uint32_t n = 0; n < 100; n++) {
            p.args.batch = n < 50 ? 3 : 1 + n % 3; /* of the shape of the one before, and of another */
            CHECK(lrt_call(t.s, &p.args) == LRT_OK);
        }
        lrt_session_reset(t.s);
        CHECK(calls == before);
        session_free(&t);
    }
    case_free(&c);
}

static void of_a_file(const char *path)
{
    lrt_model m;
    walled blob;
    check_context = path;
    if (!model_from_file(&m, &blob, path))
        return;
    calls_allocate_nothing(&m, &blob);
    walled_free(&blob);
}

/* Time first, in groups, and with axes derived from axes. */
static void of_a_graph(void)
{
    const layer_spec layer = {"", LRT_OP_LSTM, 6, 9, 0, 0, 0};
    size_t size;
    unsigned char *bytes;
    lrt_model m;
    walled blob;
    graph g;
    uint32_t x, y;
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, 1, 1, 2, LRT_NO_CAP);
    graph_derived(&g, 1, 3, 0, 1, LRT_NO_CAP);
    x = graph_input(&g, LRT_SEQ, 6, 0);
    x = graph_op(&g, LRT_OP_TAKE, x, LRT_SEQ, 6, 1);
    graph_attr(&g, 1, 2);
    x = graph_op(&g, LRT_OP_REPEAT, x, LRT_SEQ, 6, 2);
    graph_attr(&g, 0, 3);
    y = graph_layer(&g, &layer, x, LRT_NONE, LRT_NONE, LRT_NONE);
    graph_output(&g, y);
    graph_output(&g, y + 1);
    g.values[0].order = g.values[y].order = LRT_TIME_FIRST;
    g.values[y + 1].order = LRT_GROUPS_FIRST;
    g.values[y + 1].groups = 3;
    bytes = graph_bytes(&g, &size);
    check_context = "orders and axes";
    if (model_from_bytes(&m, &blob, bytes, size)) {
        calls_allocate_nothing(&m, &blob);
    }
    walled_free(&blob);
    free(bytes);
    graph_free(&g);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"lstm_projection_both", "gru_reset_before", "rnn_panels",   "features",
                                        "encoder_decoder",      "tagger",           "activations_1"};
    char path[512];
    if (argc != 2) {
        fprintf(stderr, "usage: no_alloc_test folder-with-lrt-files\n");
        return 2;
    }
    counters_count();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s.lrt", argv[1], names[i]);
        of_a_file(path);
    }
    of_a_graph();
    printf("no_alloc_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}
