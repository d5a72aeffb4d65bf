/* Token ids and masks: rows of tables, which steps count, and ports in any order. */
#include "helpers/blobs.h"
#include "helpers/tables.h"
#include "suites.h"

#define IDS 21u
#define SIZE 6u

/* ids -> embedding (in panels or not). */
static void begin(graph *g, int panels)
{
    graph_begin(g, panels ? 2 : 1);
    graph_axis(g);
    graph_output(g, graph_op(g, LRT_OP_EMBEDDING, graph_input(g, LRT_IDS, 0, 0), LRT_SEQ, SIZE, 0));
    graph_tensor(g, panels ? LRT_PANELS : LRT_PLAIN, 1, IDS, SIZE);
}

static void tables(int panels)
{
    graph_case of;
    graph g;
    begin(&g, panels);
    check_context = "embedding";
    graph_case_init(&of, &g, 2, 40, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (uint32_t row = 0; row < 2 * 40; row++) {
        const uint32_t id = (uint32_t)((const int32_t *)(const void *)of.c.in[0].data)[row];
        const float *y = (const float *)(const void *)of.c.out[0].data + (size_t)row * SIZE;
        for (uint32_t i = 0; i < SIZE; i++)
            CHECK(y[i] == g.data[0][panels ? weight_place(IDS, SIZE, id, i) : id * SIZE + i]);
    }
    graph_case_free(&of);
    check_graph(&g, panels ? "embedding in panels" : "embedding");
}

/* Three ids at a step, of which the first two go through one table and the last through another; and those of a single
 * step, which give a vector. */
static void several_ids(int timed)
{
    const uint32_t axis = timed ? 0 : LRT_MAX_AXES, kind = timed ? LRT_SEQ : LRT_VEC;
    graph_case of;
    graph g;
    graph_begin(&g, 4);
    graph_axis(&g);
    graph_input(&g, LRT_IDS, 3, axis);
    graph_input(&g, LRT_SEQ, 1, 0);
    graph_output(&g, graph_op(&g, LRT_OP_EMBEDDING, 0, (lrt_kind)kind, 2 * SIZE, axis));
    graph_tensor(&g, LRT_PLAIN, 1, IDS, SIZE);
    graph_attr(&g, 1, 2);
    graph_output(&g, graph_op(&g, LRT_OP_EMBEDDING, 0, (lrt_kind)kind, SIZE, axis));
    graph_tensor(&g, LRT_PANELS, 1, IDS, SIZE);
    graph_attr(&g, 0, 2);
    graph_output(&g, graph_op(&g, LRT_OP_ACTIVATION, 1, LRT_SEQ, 1, 0));
    check_context = timed ? "several ids at a step" : "several ids of one step";
    graph_case_init(&of, &g, 2, 40, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (uint32_t row = 0; row < (timed ? 2 * 40u : 2u); row++) {
        const int32_t *ids = (const int32_t *)(const void *)of.c.in[0].data + (size_t)row * 3;
        const float *two = (const float *)(const void *)of.c.out[0].data + (size_t)row * 2 * SIZE;
        const float *one = (const float *)(const void *)of.c.out[1].data + (size_t)row * SIZE;
        for (uint32_t i = 0; i < SIZE; i++) {
            CHECK(two[i] == g.data[0][(uint32_t)ids[0] * SIZE + i]);
            CHECK(two[SIZE + i] == g.data[0][(uint32_t)ids[1] * SIZE + i]);
            CHECK(one[i] == g.data[1][weight_place(IDS, SIZE, (uint32_t)ids[2], i)]);
        }
    }
    graph_case_free(&of);
    check_graph(&g, check_context);
}

/* What steps of zeros become: nothing else is changed. */
static void mask_of_values(void)
{
    graph g;
    uint32_t x, in[2];
    graph_begin(&g, 1);
    graph_axis(&g);
    x = graph_input(&g, LRT_SEQ, SIZE, 0);
    in[1] = graph_op(&g, LRT_OP_MASK_VALUES, x, LRT_MASK, 0, 0);
    in[0] = graph_op(&g, LRT_OP_ACTIVATION, x, LRT_SEQ, SIZE, 0);
    graph_attr(&g, 0, LRT_ACT_SIGMOID); /* of 0 it is not 0 */
    graph_node(&g, LRT_OP_APPLY_MASK, 2, in);
    graph_output(&g, graph_result(&g, LRT_SEQ, SIZE, 0));
    graph_output(&g, in[0]);
    check_graph(&g, "mask of values");
}

static void mask_of_ids(void)
{
    const layer_spec layer = {"", LRT_OP_GRU, SIZE, 9, 0, LRT_RESET_AFTER | LRT_BIDIRECTIONAL, 0};
    graph g;
    uint32_t in[2], y;
    begin(&g, 0);
    in[0] = 1;
    in[1] = graph_op(&g, LRT_OP_MASK_IDS, 0, LRT_MASK, 0, 0);
    graph_attr(&g, 0, 3);
    graph_node(&g, LRT_OP_APPLY_MASK, 2, in);
    graph_output(&g, graph_result(&g, LRT_SEQ, SIZE, 0));
    y = graph_layer(&g, &layer, 1, LRT_NONE, LRT_NONE, in[1]);
    graph_output(&g, y);
    graph_output(&g, y + 1);
    check_graph(&g, "mask of ids");
}

/* Steps that the mask leaves out are 0, all others as they were. */
static void masked_steps(void)
{
    graph_case of;
    graph g;
    uint32_t in[2] = {1}, skipped = 0;
    begin(&g, 0);
    in[1] = graph_op(&g, LRT_OP_MASK_IDS, 0, LRT_MASK, 0, 0);
    graph_attr(&g, 0, 3);
    graph_node(&g, LRT_OP_APPLY_MASK, 2, in);
    graph_output(&g, graph_result(&g, LRT_SEQ, SIZE, 0));
    check_context = "masked steps";
    graph_case_init(&of, &g, 1, 60, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (uint32_t s = 0; s < 60; s++) {
        static const float zeros[SIZE];
        const int skip = ((const int32_t *)(const void *)of.c.in[0].data)[s] == 3;
        const float *all = (const float *)(const void *)of.c.out[0].data + (size_t)s * SIZE;
        const float *kept = (const float *)(const void *)of.c.out[1].data + (size_t)s * SIZE;
        CHECK(memcmp(kept, skip ? zeros : all, sizeof zeros) == 0);
        skipped += (uint32_t)skip;
    }
    CHECK(skipped > 0 && skipped < 60);
    graph_case_free(&of);
    graph_free(&g);
}

void test_masks(void)
{
    tables(0);
    tables(1);
    several_ids(0);
    several_ids(1);
    mask_of_values();
    mask_of_ids();
    masked_steps();
}
