/* lrt_call and everything around it but lrt_model_open's caller allocates nothing: the linker sends
 * every call of malloc and its kin in this program through counters (-Wl,--wrap). It sees the calls
 * of this program's objects, the core's among them, not those inside shared libraries; `make symbols`
 * shows that the core calls no function of these that could allocate. */
#include <stddef.h>
#include <sys/mman.h>

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

static void calls_allocate_nothing(const char *path)
{
    static const uint32_t steps[LRT_MAX_AXES] = {40, 4};
    lrt_model m, again;
    walled blob;
    test_case c;
    check_context = path;
    if (!model_from_file(&m, &blob, path))
        return;
    case_init(&c, &m, 3, steps, 0, 8);
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        test_session t;
        call_pointers p;
        unsigned long before;
        if (!lrt_kernels_usable(lrt_kernels_at(i)))
            continue;
        session_new(&t, &m, lrt_kernels_at(i), 3, steps, 1);
        case_call(&c, &p, 1);
        before = calls;
        CHECK(lrt_model_open(&again, blob.data, blob.size) == LRT_OK && lrt_model_check(&again) == LRT_OK);
        for (int n = 0; n < 100; n++)
            CHECK(lrt_call(t.s, &p.args) == LRT_OK);
        lrt_session_reset(t.s);
        CHECK(calls == before);
        session_free(&t);
    }
    case_free(&c);
    walled_free(&blob);
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
        calls_allocate_nothing(path);
    }
    printf("no_alloc_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}
