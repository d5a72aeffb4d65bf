/* Recurrent layers of many sizes. */
#include "helpers/blobs.h"
#include "suites.h"

static void check_layer(const layer_spec *spec, uint32_t batch, uint32_t steps, int with_lengths)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    size_t size;
    unsigned char *bytes = layer_blob(spec, &size);
    lrt_model m;
    walled blob;
    check_context = spec->what;
    if (model_from_bytes(&m, &blob, bytes, size))
        check_tables(&m, batch, all, with_lengths);
    walled_free(&blob);
    free(bytes);
}

/* Few rows and many units: here lanes share the panels of a layer and meet at every step. */
static void wide_layers(void)
{
    static const layer_spec specs[] = {
        {"wide lstm", LRT_OP_LSTM, 3, 100, 0, 0, 0},
        {"wide lstm, masked", LRT_OP_LSTM, 3, 100, 0, 0, 1},
        {"wide lstm, projection", LRT_OP_LSTM, 3, 128, 70, 0, 1},
        {"wide lstm, both directions", LRT_OP_LSTM, 3, 109, 0, LRT_BIDIRECTIONAL, 1},
        {"wide gru", LRT_OP_GRU, 3, 128, 0, LRT_RESET_AFTER, 1},
        {"wide gru, reset before", LRT_OP_GRU, 3, 127, 0, LRT_ZERO_MASKED, 1},
        {"wide rnn, reverse", LRT_OP_RNN, 3, 190, 0, LRT_REVERSE, 1},
    };
#ifdef CHECK_SLOW
    skip_portable = 1;
#endif
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i += only_some ? 3 : 1) {
        check_layer(&specs[i], 3, 9, 0);
        check_layer(&specs[i], 3, 9, 1);
    }
    /* Few rows in sessions for many project more steps at once: the scratch must have room. */
    check_layer(&specs[3], 1, 60, 0);
    check_layer(&specs[3], 8, 60, 0);
    skip_portable = 0;
}

/* Every way in which units can fill panels. */
static void all_sizes(void)
{
    static const uint32_t ops[] = {LRT_OP_LSTM, LRT_OP_GRU, LRT_OP_RNN};
    for (uint32_t hidden = 1; hidden <= 34; hidden += only_some ? 3 : 1) {
        for (unsigned i = 0; i < 3; i++) {
            layer_spec s = {"a layer of 1 to 34 units", ops[i], 1 + hidden % 5, hidden, 0, 0, 0};
            check_layer(&s, 2, 3, 0);
        }
        if (hidden % 3 == 0) {
            layer_spec s = {"reset before, 3 to 33 units", LRT_OP_GRU, 2, hidden, 0, LRT_BIDIRECTIONAL, 0};
            check_layer(&s, 3, 2, 0);
        } else {
            layer_spec s = {"projections to 1 to 34 units", LRT_OP_LSTM, 2, 35 - hidden, hidden, LRT_REVERSE, 0};
            check_layer(&s, 3, 2, 0);
        }
    }
}

/* Initial states that are values, and final ones that go out: PyTorch has both in groups, one a direction. */
static void states_as_values(void)
{
    static const layer_spec specs[] = {
        {"lstm from states", LRT_OP_LSTM, 3, 9, 0, LRT_BIDIRECTIONAL, 0},
        {"lstm with projection from states", LRT_OP_LSTM, 3, 21, 5, 0, 0},
        {"gru from states", LRT_OP_GRU, 3, 12, 0, LRT_RESET_AFTER | LRT_BIDIRECTIONAL | LRT_ZERO_MASKED, 0},
        {"gru, reset before, from states", LRT_OP_GRU, 3, 18, 0, 0, 0},
        {"rnn from states", LRT_OP_RNN, 3, 7, 0, LRT_REVERSE, 0},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const layer_spec *s = &specs[i];
        const uint32_t n_dir = s->flags & LRT_BIDIRECTIONAL ? 2 : 1, h = n_dir * (s->proj ? s->proj : s->hidden);
        for (int masked = 0; masked < 2; masked++) {
            graph g;
            uint32_t x, h0, c0 = LRT_NONE, mask = LRT_NONE, y;
            graph_begin(&g, 1);
            graph_axis(&g);
            x = graph_input(&g, LRT_SEQ, s->inputs, 0);
            h0 = graph_input(&g, LRT_VEC, h, 0);
            if (s->op == LRT_OP_LSTM)
                c0 = graph_input(&g, LRT_VEC, n_dir * s->hidden, 0);
            if (masked)
                mask = graph_op(&g, LRT_OP_MASK_VALUES, x, LRT_MASK, 0, 0);
            y = graph_layer(&g, s, x, h0, c0, mask);
            for (; y < g.n_values; y++)
                graph_output(&g, y);
            check_graph(&g, s->what);
        }
    }
}

/* Layers one after the other, right from a port and to one: they stream, and lanes run them as a pipe. */
static void layers_as_ports(void)
{
    static const layer_spec specs[] = {
        {"", LRT_OP_LSTM, 3, 20, 0, 0, 0},
        {"", LRT_OP_GRU, 20, 18, 0, LRT_RESET_AFTER, 0},
        {"", LRT_OP_RNN, 18, 24, 0, 0, 0},
    };
    graph g;
    uint32_t x;
    graph_begin(&g, 1);
    graph_axis(&g);
    x = graph_input(&g, LRT_SEQ, 3, 0);
    for (unsigned i = 0; i < 3; i++) {
        x = graph_layer(&g, &specs[i], x, LRT_NONE, LRT_NONE, LRT_NONE);
        graph_output(&g, x + 1);
    }
    graph_output(&g, x);
    check_graph(&g, "three layers");
}

void test_recurrent(void)
{
    wide_layers();
    all_sizes();
    states_as_values();
    layers_as_ports();
}
