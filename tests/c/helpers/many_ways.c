/* One model, many ways to run it: what must be the same bits, whatever tables, limits, batches, lanes, chunks. */
#include "helpers/many_ways.h"

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

uint64_t results = 14695981039346656037u;
static void add_results(const test_case *c)
{
    for (uint32_t i = 0; i < c->m->n_outputs; i++) {
        for (size_t j = 0; j + 4 <= c->out[i].size; j += 4) {
            uint32_t bits;
            memcpy(&bits, c->out[i].data + j, 4);
            bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
            for (unsigned k = 0; k < 32; k += 8)
                results = (results ^ (bits >> k & 0xffu)) * 1099511628211u;
        }
    }
}

int skip_portable;

void check_tables(const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths)
{
    int streams = lrt_model_streams(m) && !with_lengths && !takes_lengths(m), added = 0;
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = lrt_kernels_at(i);
        test_session t;
        test_case want;
        if (!lrt_kernels_usable(k) || (skip_portable && k->width == 4 && lrt_kernels_best() != k))
            continue;
        case_init(&want, m, batch, steps, with_lengths, 99);
        session_new(&t, m, lrt_kernels_fused(k) ? lrt_kernels_by_name("portable") : k, batch, steps, 1);
        session_run(&t, &want);
        if (lrt_kernels_fused(k) && !added++)
            add_results(&want);
        check_table(&want, k, streams);
        session_free(&t);
        case_free(&want);
    }
}

void check_model(const lrt_model *m)
{
    static const uint32_t one[LRT_MAX_AXES] = {1, 1, 1, 1, 1, 1, 1, 1};
    check_tables(m, BATCH, SOME_STEPS, 0);
    check_tables(m, BATCH, SOME_STEPS, 1);
    check_tables(m, 1, SOME_STEPS, 0);
    check_tables(m, 2, one, 1);
    no_steps_no_rows(m);
}
