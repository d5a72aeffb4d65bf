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
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
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
    for (uint32_t hidden = 1; hidden <= 34; hidden++) {
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

void test_recurrent(void)
{
    wide_layers();
    all_sizes();
}
