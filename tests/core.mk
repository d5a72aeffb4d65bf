# What the builds of the core for its tests (c/) and the fuzzer (fuzz/) share.

STRICT := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
CORE_FLAGS := $(shell cat $(SRC)/cflags.txt) -I$(SRC)
CORE := $(notdir $(basename $(wildcard $(SRC)/*.c $(SRC)/ops/*.c $(SRC)/kernels/*.c $(SRC)/integers/*.c)))
HEADERS := $(wildcard $(SRC)/*.h $(SRC)/ops/*.h $(SRC)/kernels/*.h $(SRC)/integers/*.h) $(SRC)/cflags.txt

vpath lrt_%.c $(SRC) $(SRC)/ops $(SRC)/kernels $(SRC)/integers
