/* Blobs: cut, moved, and with bytes changed. */
#include "suites.h"

/* Cut anywhere or moved by a byte, a blob does not open; the walls behind a cut show reads past it. */
void blob_errors(const walled *blob)
{
    lrt_model m;
    walled moved = walled_new(blob->size + 1);
    for (size_t n = 0; n < blob->size; n++) {
        walled cut = walled_new(n);
        memcpy(cut.data, blob->data, n);
        CHECK(lrt_model_open(&m, cut.data, n) == (n < 128 ? LRT_E_SHORT : LRT_E_SIZE));
        walled_free(&cut);
    }
    memcpy(moved.data + 1, blob->data, blob->size);
    CHECK(lrt_model_open(&m, moved.data + 1, blob->size) == LRT_E_ALIGNMENT);
    CHECK(lrt_model_open(&m, NULL, 128) == LRT_E_ARGUMENT);
    CHECK(lrt_model_open(NULL, blob->data, blob->size) == LRT_E_ARGUMENT);
    CHECK(lrt_model_check(NULL) == LRT_E_ARGUMENT);
    walled_free(&moved);
}

void checksum_errors(const lrt_model *m, const walled *blob)
{
    CHECK(lrt_model_check(m) == LRT_OK);
    for (size_t i = 0; i < blob->size; i += 37) {
        blob->data[i] ^= 4;
        CHECK(lrt_model_check(m) == LRT_E_CHECKSUM);
        blob->data[i] ^= 4;
    }
}
