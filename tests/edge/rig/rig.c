/* The part of the rig that is the same on all devices. */
#include "rig.h"

#include <stdint.h>
#include <stdlib.h>

#if defined __i386__
#define READ_STACK_POINTER "movl %%esp, %0"
#elif defined __riscv
#define READ_STACK_POINTER "mv %0, sp"
#else
#define READ_STACK_POINTER "mov %0, sp"
#endif

#define PAINT 0xa5u
#define DEEPEST 3000u

/* Nothing but `call` uses the stack below this function's own part: the loops are in it, and volatile keeps them loops. */
__attribute__((noinline)) size_t rig_stack_of(void (*call)(void *context), void *context)
{
    uintptr_t top, bottom;
    volatile unsigned char *p;

    __asm__ volatile(READ_STACK_POINTER : "=r"(top));
    bottom = top - DEEPEST;
    for (p = (volatile unsigned char *)bottom; p < (volatile unsigned char *)top; p++)
        *p = PAINT;
    call(context);
    for (p = (volatile unsigned char *)bottom; p < (volatile unsigned char *)top && *p == PAINT; p++)
        ;
    if ((uintptr_t)p == bottom)
        abort();
    return (size_t)(top - (uintptr_t)p);
}

__attribute__((noinline)) void rig_count_start(void)
{
    __asm__ volatile("");
}

__attribute__((noinline)) void rig_count_stop(void)
{
    __asm__ volatile("");
}
