/* Who of several lanes does what. */
#include "helpers/blobs.h"
#include "lrt_share.h"
#include "suites.h"

/* Shares lie side by side, are all there is, and differ by one at most. */
static void shares(void)
{
    static const uint32_t counts[] = {0, 1, 2, 3, 7, 16, 1000, 0x7fffffffu, UINT32_MAX};
    check_context = "shares";
    for (unsigned i = 0; i < 9; i++) {
        for (uint32_t lanes = 1; lanes <= 64; lanes++) {
            uint32_t end = 0;
            for (uint32_t lane = 0; lane < lanes; lane++) {
                uint32_t from, to;
                lrt_share(counts[i], lane, lanes, &from, &to);
                CHECK(from == end && to >= from && to - from <= (uint64_t)counts[i] / lanes + 1);
                end = to;
            }
            CHECK(end == counts[i]);
        }
    }
}

static void even_parts(void)
{
    check_context = "even parts";
    for (uint32_t n = 0; n < 200; n++) {
        for (uint32_t most = 1; most < 40; most++) {
            const uint32_t size = lrt_even_parts(n, most), parts = n / most + (n % most != 0);
            CHECK(size >= 1 && size <= most);
            CHECK(n == 0 || (n + size - 1) / size == parts); /* no more parts than it takes */
        }
    }
}

static void modes(void)
{
    const uint64_t much = 1u << 20;
    check_context = "modes";
    CHECK(lrt_choose_mode(1, 100, 2, much, 100) == LRT_ALONE);
    CHECK(lrt_choose_mode(2, 8, 1, 1, 1) == LRT_BY_ROWS);
    CHECK(lrt_choose_mode(2, 7, 2, much, 100) == LRT_BY_DIRECTIONS);
    CHECK(lrt_choose_mode(3, 7, 2, much, 100) == LRT_BY_PANELS);
    CHECK(lrt_choose_mode(2, 1, 1, much, 4) == LRT_BY_PANELS);
    CHECK(lrt_choose_mode(2, 1, 1, much, 3) == LRT_ALONE);
    CHECK(lrt_choose_mode(2, 1, 1, 1000, 4) == LRT_ALONE);
    CHECK(lrt_choose_mode(2, 4, 1, 1000, 4) == LRT_BY_ROWS);
}

static void open_layers(const uint32_t *hidden, uint32_t n, lrt_model *m, walled *blob)
{
    unsigned char *bytes;
    size_t size;
    uint32_t x;
    graph g;
    graph_begin(&g, 1);
    graph_axis(&g);
    x = graph_input(&g, LRT_SEQ, 4, 0);
    for (uint32_t i = 0; i < n; i++) {
        const layer_spec s = {"", LRT_OP_RNN, g.values[x].size, hidden[i], 0, 0, 0};
        x = graph_layer(&g, &s, x, LRT_NONE, LRT_NONE, LRT_NONE);
    }
    graph_output(&g, x);
    bytes = graph_bytes(&g, &size);
    model_from_bytes(m, blob, bytes, size);
    free(bytes);
    graph_free(&g);
}

static void prepare(test_session *t, const lrt_model *m, uint32_t batch, uint32_t steps, uint32_t lanes, test_case *c)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    call_pointers p;
    case_init(c, m, batch, all, 0, 1);
    session_new(t, m, lrt_kernels_best(), batch, all, lanes);
    CHECK(lrt_prepare(t->s, case_call(c, &p, 0)) == LRT_OK);
}

/* Stages are runs of nodes, all of them, and of about equal work where nodes are. */
static void stages(void)
{
    static const uint32_t equal[] = {16, 16, 16, 16, 16, 16}, uneven[] = {4, 4, 64, 4, 4, 4};
    check_context = "stages";
    for (int even = 0; even < 2; even++) {
        lrt_model m;
        walled blob;
        test_session t;
        test_case c;
        open_layers(even ? equal : uneven, 6, &m, &blob);
        prepare(&t, &m, 1, 100, 4, &c);
        for (uint32_t n = 1; n <= 4; n++) {
            uint32_t end = 0;
            uint64_t sum = 0, total = 0;
            for (uint32_t stage = 0; stage < n; stage++) {
                uint32_t from, to;
                uint64_t work = lrt_stage_nodes(t.s, stage, n, &from, &to, &total);
                CHECK(from == end && to >= from);
                CHECK(!even || work * n <= total * 3 / 2);
                sum += work;
                end = to;
            }
            CHECK(end == 6 && sum == total);
        }
        CHECK((lrt_pipe_pass(t.s, 2) != 0) == even); /* no stage may have most of the work */
        CHECK(lrt_pipe_pass(t.s, 1) == 0 && lrt_pipe_pass(t.s, 2) <= t.s->chunk);
        session_free(&t);
        case_free(&c);
        walled_free(&blob);
    }
}

/* Work is counted for every row and step; and small calls are for one lane, large ones for as many as there may be. */
static void work(void)
{
    static const uint32_t hidden[] = {16, 64};
    const uint64_t step = 16 * (4 + 16) + 64 * (16 + 64);
    lrt_model m;
    walled blob;
    test_session t;
    test_case c;
    check_context = "work";
    open_layers(hidden, 2, &m, &blob);
    for (uint32_t batch = 0; batch <= 40; batch += 20) {
        for (uint32_t steps = 0; steps <= 900; steps += 300) {
            const uint64_t recurrent = (uint64_t)batch * steps * (16 * 16 + 64 * 64);
            prepare(&t, &m, batch ? batch : 1, steps, 4, &c);
            if (batch == 0) {
                call_pointers p;
                case_call(&c, &p, 0);
                p.args.batch = 0;
                CHECK(lrt_prepare(t.s, &p.args) == LRT_OK);
            }
            CHECK(lrt_prepared_work(t.s) == step * batch * steps);
            CHECK(lrt_worthwhile_lanes(t.s, 1, 1) == 1);
            CHECK(lrt_worthwhile_lanes(t.s, 4, 1) == (recurrent < 196608 ? 1 : 4));
            CHECK(lrt_worthwhile_lanes(t.s, 64, 1) <= 4); /* the session's */
            CHECK(lrt_worthwhile_lanes(t.s, 2, 0) == (recurrent < 1u << 24 ? 1 : 2));
            session_free(&t);
            case_free(&c);
        }
    }
    walled_free(&blob);
}

/* A convolution is work for several lanes by itself, where it has a line of places for each. */
static void work_in_pieces(void)
{
    const uint64_t each = 32 * 3 * 16; /* multiply-adds of a step */
    lrt_model m;
    walled blob;
    test_session t;
    test_case c;
    unsigned char *bytes;
    size_t size;
    graph g;
    uint32_t y;
    check_context = "work in pieces";
    graph_begin(&g, 4);
    graph_axis(&g);
    y = graph_op(&g, LRT_OP_CONV, graph_input(&g, LRT_SEQ, 16, 0), LRT_SEQ, 32, 0);
    for (uint32_t a = 0; a < 8; a++)
        graph_attr(&g, a, a == 2 ? 3 : a == 3 || a == 5 || a == 7 ? 1 | 1 << 16 : 1);
    graph_attr(&g, 8, 2);
    graph_attr(&g, 12, 1);
    graph_tensor(&g, LRT_PANELS, 1, 32, 3 * 16);
    graph_tensor(&g, LRT_PANELS, 0, 32, 1);
    graph_output(&g, y);
    bytes = graph_bytes(&g, &size);
    model_from_bytes(&m, &blob, bytes, size);
    free(bytes);
    graph_free(&g);
    for (uint32_t steps = 1; steps <= 4096; steps *= 8) {
        prepare(&t, &m, 1, steps, 4, &c);
        CHECK(lrt_prepared_work(t.s) == each * steps);
        CHECK(lrt_worthwhile_lanes(t.s, 1, 1) == 1);
        CHECK(lrt_worthwhile_lanes(t.s, 2, 1) == (each * steps < 196608 ? 1 : 2));
        CHECK(lrt_worthwhile_lanes(t.s, 2, 0) == (each * steps < 1u << 24 ? 1 : 2));
        session_free(&t);
        case_free(&c);
    }
    walled_free(&blob);
}

void test_shares(void)
{
    shares();
    even_parts();
    modes();
    stages();
    work();
    work_in_pieces();
}
