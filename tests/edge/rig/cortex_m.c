/* Start-up code of Cortex-M: the vectors, the coprocessors on, traps for what smaller ones cannot do. */
#include "semihost.h"

extern uint32_t rig_stack_top[];
__attribute__((noreturn)) void rig_start(void);

#define CCR (*(volatile uint32_t *)0xe000ed14u)
#define CPACR (*(volatile uint32_t *)0xe000ed88u)
#define CCR_UNALIGNED_TRAP (1u << 3)
#define CCR_DIVIDE_TRAP (1u << 4)

uintptr_t semihost(uintptr_t operation, const void *block)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* All exceptions. What was executed is on the stack, at 24 bytes; with a stack that is no memory, nobody knows. */
static __attribute__((noreturn, used)) void handle(const uint32_t *frame)
{
    static const char *const names[] = {"reset", "", "NMI", "hard fault", "memory management", "bus fault", "usage fault"};
    uint32_t exception;

    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    rig_fault(exception < sizeof names / sizeof *names ? names[exception] : "an exception", frame[6]);
}

static __attribute__((naked)) void fault(void)
{
    __asm__ volatile("mov r0, sp\n b handle");
}

#define FOUR fault, fault, fault, fault
__attribute__((section(".vectors"), used, aligned(128))) static void (*const vectors[])(void) = {
    (void (*)(void))(uintptr_t)rig_stack_top, rig_start, fault, fault, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR};

void rig_start(void)
{
#if __ARM_FP
    CPACR |= 0xfu << 20;
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
#if __ARM_ARCH_ISA_THUMB > 1
    CCR |= CCR_DIVIDE_TRAP;
#endif
    rig_main();
}
