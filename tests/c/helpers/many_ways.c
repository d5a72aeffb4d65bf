/* One model, many ways to run it: what must be the same bits, whatever tables, limits, batches, lanes, chunks. */
#include "helpers/many_ways.h"

#include "helpers/blobs.h"
#include "helpers/tables.h"
#include "suites.h"

#define BATCH 7u

const uint32_t SOME_STEPS[LRT_MAX_AXES] = {50, 3, 9, 1, 2, 4, 5, 6};

int takes_lengths(const lrt_model *m)
{
    for (uint32_t i = 0; i < m->n_inputs; i++)
        if (lrt_model_input(m, i).kind == LRT_LENGTHS)
            return 1;
    return 0;
}

/* All of the above with one table; `want` holds the outputs of it or of another fused one. */
static void check_table(const test_case *want, const lrt_kernels *k, int streams)
{
    limits_do_not_matter(want, k);
    rows_are_alone(want, k);
    traces_tell_all(want, k);
    slots_carry_state(want, k);
    if (streams) {
        chunks_join(want, k, 1);
        chunks_join(want, k, 7);
        chunks_join(want, k, 31);
        rows_are_streams(want, k);
        rows_wait(want, k, 0);
        rows_wait(want, k, 1);
    }
}

uint64_t results[N_RESULTS] = {14695981039346656037u, 14695981039346656037u, 14695981039346656037u, 14695981039346656037u};
static void add_results(const test_case *c, int which)
{
    uint64_t *to = &results[which];
    for (uint32_t i = 0; i < c->m->n_outputs; i++) {
        for (size_t j = 0; j + 4 <= c->out[i].size; j += 4) {
            uint32_t bits;
            memcpy(&bits, c->out[i].data + j, 4);
            bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
            for (unsigned k = 0; k < 32; k += 8)
                *to = (*to ^ (bits >> k & 0xffu)) * 1099511628211u;
        }
    }
}

int skip_portable, only_some;

static int has_integers(const lrt_model *m)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const uint32_t dtype = lrt_read_tensor(m, i).dtype;
        if (dtype == LRT_I8 || dtype == LRT_I16)
            return 1;
    }
    return 0;
}

/* What a table is held against: fused ones against one that is tested, the last, which may be itself; others against
 * themselves. */
static const lrt_kernels *reference_of(const lrt_kernels *k)
{
    for (unsigned i = 0; lrt_kernels_fused(k) && lrt_kernels_at(i); i++)
        if (lrt_kernels_fused(lrt_kernels_at(i)) && is_tested(lrt_kernels_at(i)))
            k = lrt_kernels_at(i);
    return k;
}

/* Table i, unless it cannot run, or is left out. Tables that differ in their integers alone are one where there are none. */
static const lrt_kernels *tested(const lrt_model *m, unsigned i)
{
    const lrt_kernels *k = lrt_kernels_at(i);
    if (!is_tested(k) || (skip_portable && k->width == 4 && lrt_kernels_best() != k))
        return NULL;
    for (unsigned j = 0; j < i && !has_integers(m); j++)
        if (lrt_kernels_usable(lrt_kernels_at(j)) && lrt_kernels_at(j)->linear == k->linear)
            return NULL;
    return k;
}

static void check_inputs(const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths, uint32_t seed)
{
    int streams = lrt_model_streams(m) && !with_lengths && !takes_lengths(m), added[2] = {0, 0};
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = tested(m, i);
        test_session t;
        test_case want;
        if (!k)
            continue;
        case_init(&want, m, batch, steps, with_lengths, seed);
        session_new(&t, m, reference_of(k), batch, steps, 1);
        session_run(&t, &want);
        if (!added[lrt_kernels_fused(k)]++)
            add_results(&want, (lrt_kernels_fused(k) ? FUSED : UNFUSED) + (seed & CASE_FADES ? FADES : 0));
        check_table(&want, k, streams);
        session_free(&t);
        case_free(&want);
    }
}

void check_tables(const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths)
{
    check_inputs(m, batch, steps, with_lengths, 99);
}

void check_model(const lrt_model *m)
{
    static const uint32_t one[LRT_MAX_AXES] = {1, 1, 1, 1, 1, 1, 1, 1}, few[LRT_MAX_AXES] = {11, 3, 4, 1, 2, 4, 5, 6};
    check_tables(m, only_some ? 4 : BATCH, only_some ? few : SOME_STEPS, 0);
    if (!only_some) {
        check_tables(m, BATCH, SOME_STEPS, 1);
        check_tables(m, 1, SOME_STEPS, 0);
    }
    check_tables(m, 2, one, 1);
#ifndef CHECK_SLOW /* other numbers, the same memory */
    check_inputs(m, 2, only_some ? few : SOME_STEPS, 0, 99 | CASE_FADES);
#endif
    no_steps_no_rows(m);
}

/* ---- graphs ---------------------------------------------------------------------------------------------- */

void graph_case_init(graph_case *of, graph *g, uint32_t batch, uint32_t steps, int with_lengths)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    if (!model_from_bytes(&of->m, &of->blob, bytes, size))
        abort();
    free(bytes);
    case_init(&of->c, &of->m, batch, all, with_lengths, 12);
}

void graph_case_run(graph_case *of, const lrt_kernels *k)
{
    test_session t;
    session_new(&t, &of->m, k, of->c.batch, of->c.steps, 1);
    session_run(&t, &of->c);
    session_free(&t);
}

void graph_case_free(graph_case *of)
{
    case_free(&of->c);
    walled_free(&of->blob);
}

/* ---- graphs, in other orders of their ports' axes ------------------------------------------------------- */

enum { INPUTS = 1, OUTPUTS = 2, UNBATCHED = 4 }; /* which ports are in another order */

static void reorder(lrt_value *v, int unbatched)
{
    v->order = unbatched ? LRT_UNBATCHED : lrt_is_timed(v) ? LRT_TIME_FIRST : LRT_BATCH_FIRST;
    if (v->kind != LRT_VEC)
        return;
    v->groups = v->size % 3 == 0 ? 3 : v->size % 2 == 0 ? 2 : 1;
    v->order = unbatched ? LRT_UNBATCHED : LRT_GROUPS_FIRST;
}

/* The graph with ports in other orders, which came with version 3. */
static unsigned char *bytes_in_order(const graph *g, unsigned which, size_t *size)
{
    graph other = *g;
    other.version = g->version > 3 ? g->version : 3;
    for (uint32_t i = 0; i < g->n_inputs && which & (INPUTS | UNBATCHED); i++)
        reorder(&other.values[i], which == UNBATCHED);
    for (uint32_t i = 0; i < g->n_outputs && which & (OUTPUTS | UNBATCHED); i++)
        reorder(&other.values[g->outputs[i]], which == UNBATCHED);
    return graph_bytes(&other, size);
}

/* The numbers of the model in its own order, by every table and on several lanes. */
static void same_numbers(const lrt_model *m, const lrt_model *other, uint32_t batch, const uint32_t *steps,
                         int with_lengths)
{
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = tested(m, i);
        test_session t;
        test_case want, c;
        if (!k)
            continue;
        case_init(&want, m, batch, steps, with_lengths, 41);
        case_in_order(&c, other, &want);
        session_new(&t, m, k, batch, steps, 1);
        session_run(&t, &want);
        session_free(&t);
        session_new(&t, other, k, batch + 1, steps, 3);
        session_run(&t, &c);
        CHECK(same_in_order(&c, &want));
        for (uint32_t lanes = 2; lanes <= 3; lanes++) {
            for (uint32_t o = 0; o < other->n_outputs; o++)
                memset(c.out[o].data, 0x5a, c.out[o].size);
            session_run_lanes(&t, &c, lanes);
            CHECK(same_in_order(&c, &want));
        }
        session_free(&t);
        case_free(&want);
        case_free(&c);
    }
}

static void check_orders(const graph *g, const lrt_model *m)
{
    static const unsigned which[] = {INPUTS, OUTPUTS, INPUTS | OUTPUTS, UNBATCHED};
    for (unsigned i = 0; i < 4; i++) {
        size_t size;
        unsigned char *bytes = bytes_in_order(g, which[i], &size);
        lrt_model other;
        walled blob;
        if (model_from_bytes(&other, &blob, bytes, size)) {
            CHECK(lrt_model_is_causal(&other) == lrt_model_is_causal(m));
            CHECK(lrt_model_streams(&other) == lrt_model_streams(m));
            same_numbers(m, &other, which[i] == UNBATCHED ? 1 : BATCH, SOME_STEPS, 0);
            same_numbers(m, &other, which[i] == UNBATCHED ? 1 : 2, SOME_STEPS, 1);
            if (which[i] == (INPUTS | OUTPUTS))
                check_model(&other);
        }
        walled_free(&blob);
        free(bytes);
    }
}

void check_graph(graph *g, const char *what)
{
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    lrt_model m;
    walled blob;
    check_context = what;
#ifdef CHECK_SLOW
    skip_portable = 1;
#endif
    if (model_from_bytes(&m, &blob, bytes, size)) {
        check_model(&m);
        if (!only_some)
            check_orders(g, &m);
    }
    skip_portable = 0;
    walled_free(&blob);
    free(bytes);
    graph_free(g);
}
