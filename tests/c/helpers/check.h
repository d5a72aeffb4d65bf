/* What the C tests share: checks that count, numbers from a seed, memory with walls. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define CHECK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECK_ASAN 1
#endif
#endif
#ifdef CHECK_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

extern unsigned long check_count, check_failures;
extern const char *check_context; /* what is being tested: a file, a kernel table */
extern int only_some; /* emulators are slow: fewer models, sizes and tables, in fewer ways */

/* Counts; prints where and on what it failed, and goes on. */
#define CHECK(ok) check_that((ok) != 0, #ok, __FILE__, __LINE__)
static inline int check_that(int ok, const char *text, const char *file, int line)
{
    check_count++;
    if (!ok && check_failures++ < 20)
        fprintf(stderr, "%s:%d: failed on %s: %s\n", file, line, check_context ? check_context : "-", text);
    return ok;
}

/* xorshift32: the same numbers everywhere. */
static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}
static inline float next_float(uint32_t *state) /* in [-1, 1) */
{
    return (float)(int32_t)(next_random(state) & 0xffffffu) / 8388608.0f - 1.0f;
}

/* ---- memory with walls: what a function may not touch stands on both sides of what it may ---------- */

#define WALL 64u
typedef struct {
    unsigned char *base, *data;
    size_t size, room; /* room: the size as the allocation rounds it */
} walled;

static inline void wall_paint(const walled *w)
{
    memset(w->base, 0xa5, WALL);
    memset(w->data + w->size, 0xa5, w->room - w->size + WALL);
    ASAN_POISON_MEMORY_REGION(w->base, WALL); /* so that reads are found too */
    ASAN_POISON_MEMORY_REGION(w->data + w->size, w->room - w->size + WALL);
}

/* `size` bytes, aligned to 64, all of them 0xcc: nothing may depend on what was there. */
static inline walled walled_new(size_t size)
{
    walled w;
    void *p = NULL;
    w.size = size;
    w.room = (size + 63) / 64 * 64;
    if (posix_memalign(&p, 64, w.room + 2 * WALL) != 0)
        abort();
    w.base = (unsigned char *)p;
    w.data = w.base + WALL;
    memset(w.data, 0xcc, w.room);
    wall_paint(&w);
    return w;
}

static inline int walls_stand(const walled *w)
{
    int whole = 1;
    ASAN_UNPOISON_MEMORY_REGION(w->base, w->room + 2 * WALL);
    for (size_t i = 0; i < WALL; i++)
        whole &= w->base[i] == 0xa5;
    for (size_t i = w->size; i < w->room + WALL; i++)
        whole &= w->data[i] == 0xa5;
    wall_paint(w);
    return whole;
}

static inline void walled_free(walled *w)
{
    if (w->base)
        CHECK(walls_stand(w));
    ASAN_UNPOISON_MEMORY_REGION(w->base, w->base ? w->room + 2 * WALL : 0);
    free(w->base);
    w->base = w->data = NULL;
}

#endif
