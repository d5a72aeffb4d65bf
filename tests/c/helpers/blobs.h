/* Writes the blob of a model with one recurrent layer of any size: for what the files of the corpus
 * are too small to reach. */
#ifndef BLOBS_H
#define BLOBS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *what;
    uint32_t op, inputs, hidden, proj, flags; /* as in ops/lrt_recurrent.h */
    int masked;                               /* steps that are all zero are skipped */
} layer_spec;

/* Returns malloc'd bytes with random weights. */
unsigned char *layer_blob(const layer_spec *spec, size_t *size);

#endif
