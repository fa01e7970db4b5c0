# SPDX-License-Identifier: Apache-2.0
# A thin front: Meson does the work. `./run` and `./test` also install what is missing.
PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
SOURCES := $(shell find src include tests examples -name '*.c' -o -name '*.h' -o -name '*.cpp')

.PHONY: build test torture bench format install clean

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) product

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix $(PREFIX)

test:
	@./test

# For SECONDS (600), from SEED (the time); see docs/reliability.md.
torture: build
	@tests/torture/torture.sh $(or $(SECONDS),600) $(SEED)

bench: build
	@for work in append read stream state model open; do $(BUILD)/daybook bench $$work; done

format:
	@clang-format -i $(SOURCES)

install: build
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) product
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-asan build-tsan build-clang
