# The core as a library for C and C++: `make lib` and `make install PREFIX=/usr/local` at the root.
#
#   CC, AR, CFLAGS    as usual: CFLAGS come after the core's own (src/cflags.txt)
#   BUILD             what is built goes there; build/lib
#   PREFIX, LIBDIR, INCLUDEDIR, DESTDIR    where it is installed; only what is there is replaced

CC ?= cc
AR ?= ar
INSTALL ?= install
BUILD ?= build/lib
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
HERE := packaging/c

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' lstm_rt/_version.py)
ABI := 0
SONAME := liblstm_rt.so.$(ABI)
SO := liblstm_rt.so.$(VERSION)
SOURCES := $(wildcard src/*.c src/ops/*.c src/kernels/*.c src/integers/*.c)
HEADERS := $(wildcard src/*.h src/ops/*.h src/kernels/*.h src/integers/*.h) src/cflags.txt
OBJECTS := $(patsubst src/%.c,$(BUILD)/%.o,$(SOURCES))
# What the library gives is what its header declares; all else stays in it. Sections: a program takes what it uses.
FLAGS := $(shell cat src/cflags.txt) -Isrc -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections

lib: $(BUILD)/liblstm_rt.a $(BUILD)/$(SO) $(BUILD)/lstm_rt.pc $(BUILD)/lstm_rt-config.cmake $(BUILD)/lstm_rt-config-version.cmake

$(BUILD)/%.o: src/%.c $(HEADERS) $(HERE)/lib.mk
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(CFLAGS) -c $< -o $@
$(BUILD)/liblstm_rt.a: $(OBJECTS)
	rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/$(SO): $(OBJECTS)
	$(CC) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs $(CFLAGS) $(LDFLAGS) $^ -lm -o $@
	ln -sf $(SO) $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/liblstm_rt.so
# Where it goes is written into these, so they follow the command line.
$(BUILD)/lstm_rt.pc $(BUILD)/lstm_rt-config.cmake $(BUILD)/lstm_rt-config-version.cmake: $(BUILD)/%: $(HERE)/%.in FORCE
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
	    -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g' $< >$@

install: lib
	$(INSTALL) -d $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/lstm_rt
	$(INSTALL) -m 644 src/lstm_rt.h $(DESTDIR)$(INCLUDEDIR)/
	$(INSTALL) -m 644 $(BUILD)/liblstm_rt.a $(DESTDIR)$(LIBDIR)/
	$(INSTALL) -m 755 $(BUILD)/$(SO) $(DESTDIR)$(LIBDIR)/
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/liblstm_rt.so
	$(INSTALL) -m 644 $(BUILD)/lstm_rt.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	$(INSTALL) -m 644 $(BUILD)/lstm_rt-config.cmake $(BUILD)/lstm_rt-config-version.cmake $(DESTDIR)$(LIBDIR)/cmake/lstm_rt/

uninstall:
	rm -f $(DESTDIR)$(INCLUDEDIR)/lstm_rt.h $(DESTDIR)$(LIBDIR)/pkgconfig/lstm_rt.pc
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,liblstm_rt.a $(SO) $(SONAME) liblstm_rt.so)
	rm -rf $(DESTDIR)$(LIBDIR)/cmake/lstm_rt

.PHONY: lib install uninstall FORCE
