/* What a step of an exported model called net takes: its stack, its memory and the state in it, in bytes; it is counted. */
#include <stdio.h>
#include <rig.h>
#include "net.h"
static uint32_t arena[(NET_ARENA_BYTES + 3) / 4];
static float x[NET_X_SIZE], y[NET_Y_SIZE];
static void step(void *context)
{
    (void)context;
    net_step(arena, x, y);
}
int main(void)
{
    int i;
    for (i = 0; i < NET_X_SIZE; i++)
        x[i] = 0.1f * (float)(i % 7) - 0.2f;
    if (net_init(arena, sizeof arena) != 0 || net_step(arena, x, y) != 0)
        return 1;
    printf("%u %u %u\n", (unsigned)rig_stack_of(step, 0), (unsigned)NET_ARENA_BYTES, (unsigned)NET_STATE_BYTES);
    rig_count_start();
    net_step(arena, x, y);
    rig_count_stop();
    return 0;
}
