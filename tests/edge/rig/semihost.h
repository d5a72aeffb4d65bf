/* Semihosting: what an emulated device asks of the emulator. */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

/* One call, by the instruction of the architecture: in cortex_m.c and riscv.c. */
uintptr_t semihost(uintptr_t operation, const void *block);

/* The program ends. */
__attribute__((noreturn)) void semihost_exit(int code);

/* Text for the rig's own channel, the emulator's stderr, and a number. */
void semihost_say(const char *text);
void semihost_number(uintptr_t n);

/* From the start-up code: runs main and ends, with how much of the stack it took. */
__attribute__((noreturn)) void rig_main(void);

/* From a handler of faults. */
__attribute__((noreturn)) void rig_fault(const char *what, uintptr_t where);

#endif
