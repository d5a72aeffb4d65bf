/* What a program that is run on an emulated device may ask of the rig beside the C library. None of it is needed. */
#ifndef RIG_H
#define RIG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes of stack that `call(context)` takes. A fault if it takes 3000 or more. */
size_t rig_stack_of(void (*call)(void *context), void *context);

/* `run.py --count` counts what is executed between these two, instead of the whole program. */
void rig_count_start(void);
void rig_count_stop(void);

#ifdef __cplusplus
}
#endif

#endif
