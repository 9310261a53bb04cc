# libmoco: one non-recursive Makefile. `make list` explains the targets.
# Knobs: CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS  PREFIX DESTDIR  BUILD (build)  SAN (address,undefined | thread)
#        LIBDIR (PREFIX/lib) INCLUDEDIR (PREFIX/include) BINDIR (PREFIX/bin) MANDIR (PREFIX/share/man)
#        DOCDIR (PREFIX/share/doc/libmoco) PYTHON (python3; manual pages and HTML reference, where it is there)
#        CUDA (0 | folder of the CUDA toolkit, such as /usr/local/cuda: builds libmoco_cuda.so)
#        ONEDNN (1 | 0)  WEBP (1 | 0; as pkg-config finds libwebp)  SQLITE (1 | 0; as sqlite3 and CXX are found)  WERROR (0 | 1)  HARDEN (1 | 0)
#        MPICC (mpicc, where there is one; 0: no libmoco_mpi.so)
#        CUDNN (folder of cuDNN 9's libraries, for cuda-check; the toolkit's own is looked at, too)

VERSION := $(shell sed -n 's/^.define MOCO_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' include/moco/base.h | paste -sd.)
SOVERSION := 0
BUILD ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/libmoco
ONEDNN ?= 1
WERROR ?= 0
HARDEN ?= 1
SAN ?=
# What the tests run on and how much of them: full; san and ref leave out the scripts that need the ordinary build, and
# keep those that read any build (malformed files are worth most under the sanitizers).
MOCO_TEST_DEVICE ?= cpu
MOCO_TEST_TIER ?= full
export MOCO_TEST_DEVICE MOCO_TEST_TIER
AR ?= ar
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# ---- what this machine has -------------------------------------------------------------------------------------------
PACKAGES := libjpeg libpng zlib libxxhash
# xxhash is compiled in from its header
LINKED := libjpeg libpng zlib
ifeq ($(origin WEBP),undefined)
WEBP := $(shell $(PKG_CONFIG) --exists libwebp 2>/dev/null && echo 1 || echo 0)
endif
ifeq ($(WEBP),1)
PACKAGES += libwebp
LINKED += libwebp
endif
# The example in C++ needs SQLite; the library does not.
ifeq ($(origin SQLITE),undefined)
SQLITE := $(shell $(PKG_CONFIG) --exists sqlite3 2>/dev/null && command -v $(lastword $(CXX)) >/dev/null && echo 1 || echo 0)
endif
sqlite_said := example sqlite (C++): $(if $(filter 1,$(SQLITE)),on,off (Debian: libsqlite3-dev and g++))
# The module libmoco_cuda.so needs nvcc, and nothing else of the toolkit; nothing but the module does. It is
# built only if a toolkit is given: what make builds, and how long it takes, does not depend on what a machine has.
CUDA ?= 0
NVCC := $(if $(filter-out 0,$(CUDA)),$(wildcard $(CUDA)/bin/nvcc))
cuda_off := $(if $(filter-out 0,$(CUDA)),no nvcc in $(CUDA)/bin,give CUDA=/usr/local/cuda)
cuda_said := cuda: $(if $(NVCC),on ($(NVCC)),off ($(cuda_off)))
# The module libmoco_mpi.so is one file over public headers, and the one thing that needs an MPI: the system's, whose
# mpicc compiles it, or any other's (MPICC=mpicc.mpich). Off is no failure.
MPICC ?= mpicc
MPI := $(if $(filter-out 0,$(MPICC)),$(shell command -v $(firstword $(MPICC)) 2>/dev/null))
mpi_said := mpi: $(if $(MPI),on ($(MPI)),off ($(if $(filter 0,$(MPICC)),MPICC=0,there is no $(firstword $(MPICC)): libopenmpi-dev or libmpich-dev has one)))
missing := $(foreach p,$(PACKAGES),$(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null || echo $(p)))
# A number sign for $(shell), where make 4.3 and later would keep the backslash of \#.
hash := \#
has_dnnl := $(shell echo '$(hash)include <oneapi/dnnl/dnnl.h>' | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && echo 1)
needs_build := $(filter-out list clean format format-check uninstall uninstall-docs,$(or $(MAKECMDGOALS),all))
ifneq ($(needs_build),)
ifneq ($(strip $(missing)),)
$(error missing packages:$(missing). On Debian: apt-get install libjpeg62-turbo-dev libpng-dev $(if $(filter 1,$(WEBP)),libwebp-dev )zlib1g-dev libxxhash-dev pkg-config, or run ./bootstrap build)
endif
ifeq ($(ONEDNN)$(has_dnnl),1)
$(error oneDNN is missing. On Debian: apt-get install libdnnl-dev, or run ./bootstrap build; elsewhere than the compiler looks: make CPPFLAGS=-I... LDFLAGS=-L.... `make ONEDNN=0` builds without the cpu device: only the slow reference remains)
endif
endif

# ---- flags -----------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla -Wundef
WARNXX := -Wall -Wextra -Wshadow
ifeq ($(WERROR),1)
WARN += -Werror
WARNXX += -Werror
endif
# The caller's CFLAGS, CXXFLAGS, CPPFLAGS and LDFLAGS add to ours and come after them. What we need is in variables
# of other names, since a variable that is given on the command line takes no `+=`.
harden_c :=
harden_link :=
ifeq ($(HARDEN),1)
harden_c := -fstack-protector-strong
harden_link := -Wl,-z,relro,-z,now,-z,noexecstack
# The level that this compiler and C library know, where the flags optimise and say nothing of it themselves. The
# sanitizers look at the same calls, and more closely.
fortify_level := $(shell printf '%s\n' '$(hash)include <features.h>' '$(hash)if __USE_FORTIFY_LEVEL == 3' 3 '$(hash)endif' | \
                     $(CC) -E -P -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -x c - 2>/dev/null | grep -x 3 || echo 2)
fortify = $(if $(SAN)$(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(1)),,$(if \
              $(filter-out -O0,$(lastword $(filter -O%,$(1)))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(fortify_level)))
endif
CPPFLAGS_ALL := -Iinclude -Ilib -Isrc -D_POSIX_C_SOURCE=200809L $(CPPFLAGS)
CFLAGS_ALL := -std=c11 -fPIC -fvisibility=hidden -fno-math-errno $(WARN) $(harden_c) \
              $(call fortify,$(CFLAGS)) $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 -fPIC -fvisibility=hidden $(WARNXX) $(harden_c) $(call fortify,$(CXXFLAGS)) $(CXXFLAGS)
LIBS := $(shell $(PKG_CONFIG) --libs $(LINKED) 2>/dev/null) -lm -lpthread
ifeq ($(ONEDNN),1)
CPPFLAGS_ALL += -DMOCO_HAVE_ONEDNN=1
LIBS += -ldnnl -fopenmp -lstdc++
endif
ifeq ($(WEBP),1)
CPPFLAGS_ALL += -DMOCO_HAVE_WEBP=1
endif
ifneq ($(SAN),)
CFLAGS_ALL += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CXXFLAGS_ALL += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif
link_flags := $(harden_link) $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
link = $(CC) -pie $(link_flags) $(wrapped)

# Other flags are another build. They are in a file that every object depends on and that is written when they change.
# `make install` alone puts in place what was built, whatever flags it is given.
flags_now := $(strip $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CXX) $(CXXFLAGS_ALL) $(AR) $(link_flags) $(LIBS))
flags_file := $(BUILD)/obj/flags
ifneq ($(MAKECMDGOALS),install)
ifneq ($(flags_now),$(strip $(file <$(flags_file))))
.PHONY: $(flags_file)
endif
endif
$(flags_file):
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(flags_now))' >$@

# Where modules are looked for beside libmoco.so's own folder is compiled in, into one object.
libdir_file := $(BUILD)/obj/libdir
ifneq ($(MAKECMDGOALS),install)
ifneq ($(LIBDIR),$(strip $(file <$(libdir_file))))
.PHONY: $(libdir_file)
endif
endif
$(libdir_file):
	@mkdir -p $(@D)
	@printf '%s\n' '$(LIBDIR)' >$@
$(BUILD)/obj/lib/module_file.o: $(libdir_file)
$(BUILD)/obj/lib/module_file.o: CPPFLAGS_ALL += -DMOCO_LIBDIR='"$(LIBDIR)"'

# ---- sources ---------------------------------------------------------------------------------------------------------
src_c := $(wildcard lib/*.c lib/*/*.c src/graph/*.c src/net/*.c src/backend/*.c src/backend/program/*.c src/backend/ref/*.c \
           src/comm/*.c src/format/*.c src/format/torch/*.c src/data/*.c src/data/*/*.c src/algo/*.c src/algo/import/*.c \
           src/algo/export/*.c src/algo/resident/*.c src/algo/serve/*.c src/eval/*.c src/api/*.c src/api/*/*.c)
without := $(if $(filter 1,$(WEBP)),,src/data/decode/decode_webp.c)
src_c := $(filter-out $(without),$(src_c))
src_cc :=
ifeq ($(ONEDNN),1)
src_c += $(wildcard src/backend/cpu/*.c src/backend/cpu/ops/*.c src/backend/cpu/kernels/*.c)
src_cc += $(wildcard src/backend/cpu/*.cc)
endif
# *_simd.c is compiled once per instruction set, with SIMD_NAME(x) = x_<level>: no kernel is out of a test's reach.
src_simd := $(filter %_simd.c,$(src_c))
src_c := $(filter-out %_simd.c,$(src_c))
arch := $(shell $(CC) -dumpmachine | cut -d- -f1)
ifeq ($(arch),x86_64)
simd_levels := base avx2 avx512 avx512bf16
else
simd_levels := base
endif
simd_base :=
simd_avx2 := -mavx2 -mfma -mf16c -mbmi2
simd_avx512 := $(simd_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
simd_avx512bf16 := $(simd_avx512) -mavx512bf16

obj := $(src_c:%.c=$(BUILD)/obj/%.o) $(src_cc:%.cc=$(BUILD)/obj/%.o) \
       $(foreach l,$(simd_levels),$(src_simd:%.c=$(BUILD)/obj/%.$(l).o))

# The host's part of the CUDA backend: in the module, and in test programs, on a simulated driver. Not in libmoco.
cuda_obj := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %/cuda_module.c,$(wildcard src/backend/cuda/*.c src/backend/cuda/dnn/*.c src/backend/cuda/nccl/*.c src/backend/cuda/nearest/*.c src/backend/cuda/tune/*.c src/backend/cuda/view/*.c)))

examples := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c)) $(if $(filter 1,$(SQLITE)),$(BUILD)/examples/sqlite)
program_parts := $(wildcard examples/*/*.c) # what programs share, by what it is for
benches := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
bench_support := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/bench/support/*.c))
test_groups := unit ops golden train robust abi
# A group may be divided into folders: tests/unit/data.
tests_c := $(foreach g,$(test_groups),$(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/$(g)/test_*.c tests/$(g)/*/test_*.c)))
# Of the C++ header: linked as C++, and without cmocka, whose longjmp would pass over destructors.
tests_cc := $(foreach g,$(test_groups),$(patsubst tests/%.cc,$(BUILD)/tests/%,$(wildcard tests/$(g)/test_*.cc tests/$(g)/*/test_*.cc)))
tests := $(tests_c) $(tests_cc)
# tool_*.c: programs that a test script drives
test_tools := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/tool_*.c tests/*/*/tool_*.c))
test_scripts := $(foreach g,$(test_groups),$(wildcard tests/$(g)/test_*.sh tests/$(g)/*/test_*.sh))
# Scripts that plant faults in the source and compile it many times: PLANTED=0 leaves them out, for a second system on one machine.
planting := $(filter %_mutations.sh %_mutants.sh %/test_simt.sh,$(test_scripts))
test_scripts := $(filter-out $(if $(filter 0,$(PLANTED)),$(planting)),$(test_scripts))
any_build := tests/robust/hostile/test_fuzz_replay.sh
peer_scripts := $(wildcard tests/peers/peer_*.sh)
fuzz_targets := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Tests that make system calls on files fail, or log them: tests/support/files/file_faults.h replaces these.
file_calls := open openat fstat fstatat pread pwrite posix_fallocate fsync close renameat unlinkat
fault_flags := $(foreach c,$(file_calls),-Wl,--wrap=$(c))
fuzz_support := tests/support/failing_alloc.c tests/support/files/forged_file.c tests/fuzz/support/faulty_calls.c
fuzz_more_report := $(program_parts) # what a target needs beside the library
fuzz_replays := $(addprefix $(BUILD)/fuzz/replay_,$(fuzz_targets))
test_support := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c tests/support/*/*.c)) \
                $(patsubst %.cc,$(BUILD)/obj/%.o,$(wildcard tests/support/cudasim/*.cc)) $(cuda_obj)

# ---- targets ---------------------------------------------------------------------------------------------------------
.PHONY: gpu gpu-programs cuda-check cudasim-campaign fuzz fuzz-campaign fuzz-cover fuzz-planted campaign all lib examples benches bench tests check check-avx2 check-late check-cudasim check-clang check-san check-tsan check-peers install uninstall list clean format format-check demo

all: lib examples reference ## library, examples, manual pages and HTML reference (default)
	@echo '$(cuda_said)'
	@echo '$(sqlite_said)'
	@echo '$(mpi_said)'
lib: $(BUILD)/libmoco.a $(BUILD)/libmoco.so $(if $(NVCC),$(BUILD)/libmoco_cuda.so) $(if $(MPI),$(BUILD)/libmoco_mpi.so) ## static and shared library; the module for ranks, if there is an mpicc; that for GPUs, if CUDA=FOLDER is given
examples: $(examples) ## example programs and the training driver
benches: $(benches) ## benchmark programs, without running them: each prints JSON
tests: $(tests) $(test_tools) $(fuzz_replays) ## test programs, without running them

check: all benches $(tests) $(test_tools) $(fuzz_replays) ## run all tests that guard correctness (about 8 minutes at most)
	@BUILD=$(BUILD) tests/run.sh $(tests) $(if $(filter $(MOCO_TEST_TIER),san ref),$(any_build),$(test_scripts))
	@$(if $(filter cpufull,$(MOCO_TEST_DEVICE)$(MOCO_TEST_TIER)),$(run_late) $(addprefix $(BUILD)/tests/,$(late_quick)))
	@$(if $(filter cpufull,$(MOCO_TEST_DEVICE)$(MOCO_TEST_TIER)),$(run_cudasim) $(addprefix $(BUILD)/tests/,$(cudasim_quick)))

# The device of the tests that runs behind its caller (tests/support/late/late_device.h). It computes as ref does, slowly, so
# that check takes the suites which have most to say about what was done when, in about a minute of one core; golden
# steps on it are a script of their own, and campaign takes all.
late_quick := $(addprefix ops/test_,backend_program batch_loss infonce) \
              $(addprefix train/test_,transaction resume groups mechanisms faults no_alloc collapse) \
              $(addprefix robust/test_,threads one_call oom) $(addprefix robust/misuse/test_misuse_,training handles eval) \
              robust/files/test_checkpoint robust/hostile/test_forged_states
run_late = echo "MOCO_TEST_DEVICE=late:" && MOCO_TEST_DEVICE=late BUILD=$(BUILD) tests/run.sh

# The CUDA backend on a simulated driver (docs/cuda.md): cudasim:0 with a simulated cuDNN, cudasim:1 without. check takes
# the tests of ops/cudasim, which open the device themselves, and those suites that are quick.
run_cudasim = echo "MOCO_TEST_DEVICE=cudasim:0:" && MOCO_TEST_DEVICE=cudasim:0 BUILD=$(BUILD) tests/run.sh
cudasim_list := tests/ops/cudasim/suites.txt
cudasim_of = $(shell awk '$$2 == "$(1)" { print $$1 }' $(cudasim_list))
cudasim_quick := $(call cudasim_of,quick)
cudasim_own := $(foreach d,cpu late cudasim,$(BUILD)/tests/ops/$(d)/%) # these open their devices themselves
cudasim_named := $(addprefix $(BUILD)/tests/,$(cudasim_quick) $(call cudasim_of,full) $(call cudasim_of,out))
cudasim_unnamed = $(filter-out $(cudasim_own) $(cudasim_named),$(foreach g,ops golden train robust,$(filter $(BUILD)/tests/$(g)/%,$(tests))))

check-cudasim: $(tests) ## what computes on the simulated CUDA device (many minutes)
	@[ -z "$(cudasim_unnamed)" ] || { echo "not in $(cudasim_list): $(cudasim_unnamed)"; exit 1; }
	@$(run_cudasim) $(addprefix $(BUILD)/tests/,$(cudasim_quick) $(call cudasim_of,full))
	@$(subst cudasim:0,cudasim:1,$(run_cudasim)) $(addprefix $(BUILD)/tests/ops/test_,backend_program backend_contract backend_ops)

# All of them, in several orders, and under the sanitizers (those of ops under ThreadSanitizer); ends with counts.
CUDASIM_FOLDER ?= $(BUILD)/cudasim-campaign
cudasim_suites := $(cudasim_quick) $(call cudasim_of,full)
cudasim-campaign: $(addprefix $(BUILD)/tests/,$(cudasim_suites)) ## suites on cudasim in three orders, under AddressSanitizer and ThreadSanitizer, in CUDASIM_FOLDER: stopped and started again, it goes on (hours)
	$(MAKE) BUILD=$(BUILD)/san SAN=address,undefined CFLAGS="-O1 -g" CXXFLAGS="-O1 -g" $(addprefix $(BUILD)/san/tests/,$(cudasim_suites))
	$(MAKE) BUILD=$(BUILD)/tsan SAN=thread ONEDNN=0 CFLAGS="-O1 -g" CXXFLAGS="-O1 -g" $(addprefix $(BUILD)/tsan/tests/,$(filter ops/%,$(cudasim_suites)))
	@tests/campaign/cudasim_suites.sh $(CUDASIM_FOLDER) plain=$(BUILD) address=$(BUILD)/san thread=$(BUILD)/tsan

check-late: $(tests) ## what computes on the late device, which runs behind its caller and records steps (minutes)
	@$(run_late) $(foreach g,ops golden train robust,$(filter $(BUILD)/tests/$(g)/%,$(tests)))

cuda-check: $(if $(NVCC),$(BUILD)/libmoco_cuda.so $(BUILD)/tests/cuda/tool_plans) ## kernels compiled for every target: warnings, registers, spills; NVIDIA's types; cuDNN's engines (nvcc, cuDNN; no GPU)
ifeq ($(NVCC),)
	@echo 'SKIPPED: cuda-check: $(cuda_said)'
	@[ -z "$(MOCO_TEST_REQUIRE)" ]
else
	@BUILD=$(BUILD) NVCC=$(NVCC) CUDNN=$(CUDNN) tests/cuda/check.sh
endif

# Programs that tests/gpu/run takes to a machine with a GPU: they look for the module in a folder that the script makes.
gpu_programs := gpu/tool_gpu cuda/tool_plans $(addprefix ops/test_,backend_program backend_contract backend_ops plan_outputs \
                batch_loss infonce) ops/cudasim/test_nearest $(addprefix train/test_,transaction resume mechanisms) golden/test_golden
gpu-programs: $(addprefix $(BUILD)/tests/,$(gpu_programs)) $(BUILD)/examples/train_imagenet $(if $(NVCC),$(BUILD)/libmoco_cuda.so)
gpu: ## what tests/gpu/run takes to a machine with a GPU, in $(BUILD)/gpu (give CUDA=FOLDER)
	$(MAKE) BUILD=$(BUILD)/gpu LIBDIR=/tmp/libmoco-gpu gpu-programs
	tests/gpu/run --pack $(BUILD)/gpu

check-clang: ## everything compiled with clang; the suite without oneDNN (two OpenMP run times do not share a process)
	$(MAKE) BUILD=$(BUILD)/clang CC=clang CXX=clang++ all benches tests
	$(MAKE) BUILD=$(BUILD)/clang-ref CC=clang CXX=clang++ ONEDNN=0 check MOCO_TEST_DEVICE=ref MOCO_TEST_TIER=ref

# An older CPU in the eyes of oneDNN and of the kernels that follow it; on a CPU that is no wider it repeats a part of check.
# Without the tests that open devices of their own, which compute without vectors.
avx2_not := $(foreach d,late cudasim,$(BUILD)/tests/ops/$(d)/%) $(BUILD)/tests/train/test_ahead $(BUILD)/tests/train/test_ahead_failures
check-avx2: $(tests) ## the tests of ops, golden steps and training as a CPU without AVX-512 runs them
	@ONEDNN_MAX_CPU_ISA=AVX2 BUILD=$(BUILD) tests/run.sh $(filter-out $(avx2_not),$(foreach g,ops golden train,$(filter $(BUILD)/tests/$(g)/%,$(tests))))

check-peers: all benches $(tests) $(test_tools) ## against PyTorch, Pillow and a bare Debian 13 (needs their packages; minutes)
	@BUILD=$(BUILD) MOCO_TEST_DEADLINE=2400 tests/run.sh $(peer_scripts)

check-san: ## the suite under AddressSanitizer and UBSan, tiny networks
	$(MAKE) BUILD=$(BUILD)/san SAN=address,undefined CFLAGS="-O1 -g" CXXFLAGS="-O1 -g" check MOCO_TEST_TIER=san MOCO_TEST_DEADLINE=2400

# Without oneDNN: its OpenMP runtime is not instrumented. The loader and what uses it have threads of their own;
# those of robust/ bring their own.
tsan_tests := $(addprefix unit/data/test_,loader sources dataset views) unit/lib/test_shares unit/network/test_comm \
              $(addprefix train/ranks/test_,ranks ranks_loader) train/test_ahead $(addprefix robust/test_,encoder one_call side_by_side)
check-tsan: ## the tests that have threads under ThreadSanitizer
	$(MAKE) BUILD=$(BUILD)/tsan SAN=thread ONEDNN=0 CFLAGS="-O1 -g" $(addprefix $(BUILD)/tsan/tests/,$(tsan_tests))
	@BUILD=$(BUILD)/tsan MOCO_TEST_DEVICE=ref tests/run.sh $(addprefix $(BUILD)/tsan/tests/,$(tsan_tests))

# The library and the targets for libFuzzer, under clang's sanitizers: a build of their own. Without oneDNN: states are read into
# networks of the device ref.
define fuzz_build
	$(MAKE) BUILD=$(BUILD)/fuzz/lib CC=clang CXX=clang++ ONEDNN=0 SAN=address,undefined CFLAGS="-O1 -g -fsanitize=fuzzer-no-link" \
	    $(BUILD)/fuzz/lib/libmoco_internal.a
	git describe --always --dirty >$(BUILD)/fuzz/commit 2>/dev/null || echo unknown >$(BUILD)/fuzz/commit
	for t in $(FUZZ_TARGETS); do \
	    clang -std=c11 -O1 -g -fsanitize=fuzzer,address,undefined $(CPPFLAGS_ALL) -UMOCO_HAVE_ONEDNN -Itests -Iexamples \
	        $(fault_flags) -o $(BUILD)/fuzz/fuzz_$$t tests/fuzz/fuzz_$$t.c $(fuzz_support) \
	        $$([ $$t = report ] && echo $(fuzz_more_report)) $(BUILD)/fuzz/lib/libmoco_internal.a $(LIBS) || exit 1; \
	done
endef

FUZZ_SECONDS ?= 60
fuzz: FUZZ_TARGETS ?= $(fuzz_targets)
fuzz: ## each fuzz target with clang's libFuzzer and sanitizers, FUZZ_SECONDS (60) each; finds are added to BUILD/fuzz/corpus; FUZZ_TARGETS: only these
	$(fuzz_build)
	for t in $(FUZZ_TARGETS); do \
	    mkdir -p $(BUILD)/fuzz/corpus/$$t && \
	    $(BUILD)/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) $(BUILD)/fuzz/corpus/$$t tests/fuzz/corpus/$$t || exit 1; \
	done

FUZZ_FOLDER ?= $(BUILD)/fuzz/campaign
weights_targets := zip pickle legacy weights import webp
fuzz-campaign: FUZZ_TARGETS ?= $(weights_targets)
fuzz-campaign: ## 100 million inputs (FUZZ_INPUTS) for the parsers of weights and WebP, in FUZZ_FOLDER: stopped and started again, it goes on (clang, hours)
	$(fuzz_build)
	tests/campaign/fuzz_inputs.sh $(BUILD)/fuzz $(FUZZ_FOLDER) $(FUZZ_TARGETS)

# What reads files of weights and WebP. Each file's lines are reached by the corpora to COVER_PERCENT.
COVER_PERCENT := 95
covered := $(filter-out $(without) %_write.c %/torch_tree.c %/torch_tree_put.c %/weights_copy.c, \
             $(wildcard lib/codec/zip.c lib/codec/pickle*.c lib/codec/crc32.c src/format/sniff.c src/format/weights*.c \
               src/format/safetensors_parse.c src/format/torch/*.c src/algo/import/*.c src/data/decode/decode_webp.c))
cover_targets := $(filter-out report,$(fuzz_targets)) # which reads by the programs' own parsers
fuzz-cover: ## lines of the parsers that replaying the corpora reaches; fails if less than 95 % of a parser of weights (clang, llvm-cov)
	$(MAKE) BUILD=$(BUILD)/cover/lib CC=clang CXX=clang++ ONEDNN=0 CFLAGS="-O1 -g -fprofile-instr-generate -fcoverage-mapping" \
	    $(BUILD)/cover/lib/libmoco_internal.a
	for t in $(cover_targets); do \
	    clang -std=c11 -O1 -g -fprofile-instr-generate -fcoverage-mapping $(CPPFLAGS_ALL) -UMOCO_HAVE_ONEDNN -Itests \
	        -o $(BUILD)/cover/$$t $(fault_flags) tests/fuzz/fuzz_$$t.c tests/fuzz/support/replay_driver.c $(fuzz_support) \
	        $(BUILD)/cover/lib/libmoco_internal.a $(LIBS) || exit 1; \
	done
	tests/fuzz/cover.sh $(BUILD)/cover $(COVER_PERCENT) $(covered) -- $(cover_targets)

export fuzz_support fault_flags LIBS WEBP
fuzz-planted: ## bugs planted in a copy of the parsers: how many inputs until each is found (clang, minutes); FUZZ_TARGETS: only these
	tests/fuzz/planted_bugs.sh $(FUZZ_TARGETS)

campaign: all tests check-late ## what is exhaustive: the late device; a run killed and its system calls failing, hundreds of times; ranks that are lost, a thousand times, and started by Slurm; a million embeddings; README's commands on bare Debians; files of 4 GiB; cudasim-campaign and fuzz-campaign (hours; strace, debootstrap, PyTorch, clang)
	@BUILD=$(BUILD) tests/campaign/driver_faults.sh
	@BUILD=$(BUILD) tests/campaign/rank_faults.sh
	@BUILD=$(BUILD) tests/campaign/slurm.sh
	$(BUILD)/tests/robust/tool_soak 1000000 4
	@BUILD=$(BUILD) tests/campaign/readme_roots.sh
	@BUILD=$(BUILD) tests/campaign/large_files.py
	@$(MAKE) cudasim-campaign
	@$(MAKE) fuzz-campaign

BENCH ?=
bench: $(benches) ## run the benchmarks beside PyTorch (about 30 minutes): a table, BUILD/bench/results.json; BENCH="--help" lists what may be left out
	@BUILD=$(BUILD) python3 tests/bench/measure.py $(BENCH)

demo: $(BUILD)/examples/demo ## draw pictures, pre-train on them, print the kNN accuracy (about 3 minutes)
	$(BUILD)/examples/demo

# ---- installation ----------------------------------------------------------------------------------------------------
install_lib := $(DESTDIR)$(LIBDIR)
install_include := $(DESTDIR)$(INCLUDEDIR)/moco
install_bin := $(DESTDIR)$(BINDIR)
tools := $(filter $(BUILD)/examples/moco,$(examples))
libs_private := $(if $(filter 1,$(ONEDNN)),-ldnnl -lgomp -lstdc++)
space := $(subst ,, )
comma := ,
# Paths below the prefix are written with it, so that a package which is moved needs one line changed.
from_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
fill = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(call from_prefix,$(LIBDIR))|g' \
        -e 's|@INCLUDEDIR@|$(call from_prefix,$(INCLUDEDIR))|g' \
        -e "s|@INCLUDE_FROM_LIB@|$$(realpath -m --relative-to=$(LIBDIR) $(INCLUDEDIR))|g" -e 's|@VERSION@|$(VERSION)|g' -e 's|@SOVERSION@|$(SOVERSION)|g' \
        -e 's|@VERSION_MINOR@|$(basename $(VERSION))|g' -e 's|@LIBS_PRIVATE@|$(libs_private)|g' \
        -e 's|@REQUIRES_PRIVATE@|$(LINKED)|g' -e 's|@WEBP_CMAKE@|$(if $(filter 1,$(WEBP)),webp;)|g' \
        -e 's|@LIBS_PRIVATE_CMAKE@|$(subst $(space),;,$(patsubst -l%,%,$(libs_private)))|g'

include docs/reference/reference.mk

# Where the dynamic linker looks into LIBDIR, its cache has to be refreshed.
linker_looks = for d in $$(PATH="$$PATH:/usr/sbin:/sbin" ldconfig -NXv 2>/dev/null | sed -n 's|^\(/[^:]*\):.*|\1|p'); do \
        [ "$$d" -ef $(LIBDIR) ] && exit 0; done; exit 1
tell_linker = @if ! ($(linker_looks)); then $(1); \
        elif [ "$$(id -u)" -ne 0 ]; then $(2); else PATH="$$PATH:/usr/sbin:/sbin" ldconfig; fi

install: all install-docs ## into PREFIX (/usr/local), below DESTDIR if set
	install -d $(install_lib)/pkgconfig $(install_lib)/cmake/moco $(install_include) $(install_bin)
	install -d $(install_include)/cpp
	install -m 644 include/moco/*.h include/moco/*.hpp $(install_include)
	install -m 644 include/moco/cpp/*.hpp $(install_include)/cpp
	install -m 644 $(BUILD)/libmoco.a $(install_lib)
	install -m 755 $(BUILD)/libmoco.so.$(VERSION) $(install_lib)
	ln -sf libmoco.so.$(VERSION) $(install_lib)/libmoco.so.$(SOVERSION)
	ln -sf libmoco.so.$(SOVERSION) $(install_lib)/libmoco.so
	$(if $(NVCC),install -m 755 $(BUILD)/libmoco_cuda.so $(install_lib))
	$(if $(MPI),install -m 755 $(BUILD)/libmoco_mpi.so $(install_lib))
	$(fill) pkgconfig/moco.pc.in >$(install_lib)/pkgconfig/moco.pc
	$(fill) pkgconfig/moco-config.cmake.in >$(install_lib)/cmake/moco/moco-config.cmake
	$(fill) pkgconfig/moco-config-version.cmake.in >$(install_lib)/cmake/moco/moco-config-version.cmake
	$(if $(tools),install -m 755 $(tools) $(install_bin))
	$(if $(DESTDIR),,$(call tell_linker,echo 'The dynamic linker does not look into $(LIBDIR): set LD_LIBRARY_PATH=$(LIBDIR) for programs that \
        use libmoco$(comma) or name that folder in a file of /etc/ld.so.conf.d and run ldconfig as root.',echo 'Now run ldconfig as root: it makes libmoco.so.$(SOVERSION) in $(LIBDIR) known to programs.'))

uninstall: uninstall-docs ## remove what install put there
	rm -f $(install_lib)/libmoco.a $(install_lib)/libmoco.so $(install_lib)/libmoco.so.$(SOVERSION) \
	    $(install_lib)/libmoco.so.$(VERSION) $(install_lib)/libmoco_cuda.so $(install_lib)/libmoco_mpi.so $(install_lib)/pkgconfig/moco.pc
	rm -rf $(install_include) $(install_lib)/cmake/moco
	-rmdir --ignore-fail-on-non-empty $(wildcard $(install_lib)/cmake $(install_lib)/pkgconfig)
	$(if $(tools),rm -f $(addprefix $(install_bin)/,$(notdir $(tools))))
	$(if $(DESTDIR),,$(call tell_linker,:,:))

list: ## this list
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile docs/reference/reference.mk | expand -t 16
	@echo "cpu device (oneDNN): $(if $(has_dnnl),found,missing)$(if $(filter 0,$(ONEDNN)), but switched off)"
	@echo '$(cuda_said)'
	@echo '$(sqlite_said)'
	@echo '$(mpi_said)'
	@echo "WebP pictures (libwebp): $(if $(filter 1,$(WEBP)),on,off)"

clean: ## remove build products
	rm -rf $(BUILD)

# Version 14, Debian 12's: another one breaks lines elsewhere.
CLANG_FORMAT ?= clang-format-14
sources_kept = git ls-files '*.c' '*.h' '*.cc' '*.hpp'
format: ## clang-format everything
	$(sources_kept) | xargs $(CLANG_FORMAT) -i

format-check: ## say which files clang-format would change, and fail if there are any
	@$(sources_kept) | { failed=0; while read -r file; do \
	    $(CLANG_FORMAT) "$$file" | cmp -s - "$$file" || { echo "$$file is not as make format has it"; failed=1; }; \
	done; exit $$failed; }

# ---- rules -----------------------------------------------------------------------------------------------------------
$(BUILD)/obj/src/data/%.o: CFLAGS_ALL += -O3 -ffp-contract=off
$(BUILD)/obj/src/backend/cpu/kernels/parallel.o: CFLAGS_ALL += -fopenmp
# ref: vectorised, and the same bits wherever one expression is compiled twice.
$(BUILD)/obj/src/backend/ref/%.o: CFLAGS_ALL += -O3 -ffp-contract=off
# Evaluation: loops over rows, vectorised for any CPU.
$(BUILD)/obj/src/eval/%.o: CFLAGS_ALL += -O3
# Kernels: sums may be reordered by the vectors written out in the source, never by the compiler.
$(BUILD)/obj/src/backend/cpu/%.o: CFLAGS_ALL += -O3

$(BUILD)/obj/%.o: %.c Makefile $(flags_file)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.cc Makefile $(flags_file)
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS_ALL) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@

define simd_rule
$(BUILD)/obj/%.$(1).o: %.c Makefile $(flags_file)
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $$(simd_$(1)) -DSIMD_LEVEL=$(1) -MMD -MP -c $$< -o $$@
endef
$(foreach l,$(simd_levels),$(eval $(call simd_rule,$(l))))

# Tests of the inside link the plain objects; users get one relocatable object with everything but moco_* local.
$(BUILD)/libmoco_internal.a: $(obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/libmoco.a: $(obj)
	@rm -f $@
	$(LD) -r -o $(BUILD)/libmoco.o $^
	objcopy --wildcard --keep-global-symbol='moco_*' $(BUILD)/libmoco.o
	$(AR) rcs $@ $(BUILD)/libmoco.o

$(BUILD)/libmoco.so.$(VERSION): $(obj) src/api/moco.map
	$(CC) -shared -Wl,-soname,libmoco.so.$(SOVERSION) -Wl,--version-script=src/api/moco.map -Wl,--no-undefined \
	    $(link_flags) -o $@ $(obj) $(LIBS)

$(BUILD)/libmoco.so: $(BUILD)/libmoco.so.$(VERSION)
	ln -sf $(<F) $(BUILD)/libmoco.so.$(SOVERSION)
	ln -sf libmoco.so.$(SOVERSION) $@

# Kernels for Ampere, Hopper and Blackwell, and PTX for what is in between and what comes after. What ptxas says of each is
# kept for cuda-check. No fma but where the source says so: the same bits in every kernel, and on the simulated device.
cuda_targets := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a \
                -gencode arch=compute_100a,code=sm_100a -gencode arch=compute_80,code=compute_80
$(BUILD)/obj/cuda/kernels.fatbin: $(wildcard src/backend/cuda/kernels/*) lib/pixel.h Makefile
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -Isrc -Ilib -fmad=false -Werror=all-warnings -Xptxas -v -fatbin $(cuda_targets) -o $@ \
	    src/backend/cuda/kernels/all.cu >$(@D)/kernels.log 2>&1 || { cat $(@D)/kernels.log; exit 1; }

$(BUILD)/obj/src/backend/cuda/cuda_module.o: $(BUILD)/obj/cuda/kernels.fatbin
$(BUILD)/obj/src/backend/cuda/cuda_module.o: CPPFLAGS_ALL += -DMOCO_CUDA_IMAGE='"$(BUILD)/obj/cuda/kernels.fatbin"'
# What it uses of lib/ and of the shared compiler is in it once more; it exports its table alone.
$(BUILD)/libmoco_cuda.so: $(BUILD)/obj/src/backend/cuda/cuda_module.o $(cuda_obj) $(BUILD)/libmoco_internal.a
	$(CC) -shared -Wl,-soname,libmoco_cuda.so -Wl,--exclude-libs,ALL -Wl,-z,defs $(link_flags) -o $@ $^ -lm -lpthread

mpicc_file := $(BUILD)/obj/mpicc
ifneq ($(MAKECMDGOALS),install)
ifneq ($(MPI),$(strip $(file <$(mpicc_file))))
.PHONY: $(mpicc_file)
endif
endif
$(mpicc_file):
	@mkdir -p $(@D)
	@printf '%s\n' '$(MPI)' >$@
# Compiled as anybody would who has libmoco installed: from the public headers alone.
$(BUILD)/libmoco_mpi.so: src/comm/mpi/moco_mpi.c include/moco/mpi.h include/moco/comm.h $(flags_file) $(mpicc_file) | $(BUILD)/libmoco.so
	$(MPICC) -std=c11 -D_POSIX_C_SOURCE=200809L -fvisibility=hidden -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
	    -Iinclude $(CPPFLAGS) $(harden_c) $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN)) -shared -fPIC \
	    -Wl,-soname,libmoco_mpi.so $(link_flags) -o $@ $< -L$(BUILD) -lmoco -Wl,-rpath,'$$ORIGIN'

# An archive, so that a program carries no more of it than it uses.
$(BUILD)/libprograms.a: $(program_parts:%.c=$(BUILD)/obj/%.o)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/obj/examples/%.o: CPPFLAGS_ALL += -Iexamples
# Programs are users of the library like any other: they are linked to libmoco.so, and carry what they use of lib/.
$(BUILD)/liblib.a: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard lib/*.c lib/*/*.c))
	rm -f $@
	$(AR) rcs $@ $^

# In C++ over moco.hpp, and nothing of ours beside the library.
$(BUILD)/examples/sqlite: $(BUILD)/obj/examples/sqlite.o | $(BUILD)/libmoco.so
	@mkdir -p $(@D)
	$(CXX) -pie $(link_flags) -o $@ $(filter %.o,$^) -L$(BUILD) -lmoco -Wl,-rpath,'$$ORIGIN/..:$$ORIGIN/../lib' \
	    $(shell $(PKG_CONFIG) --libs sqlite3)

# The commands of `moco` are the programs themselves: the same objects, their main under another name.
commands := train_imagenet linear_probe embed serve compare report verify show_views inspect convert
$(BUILD)/obj/moco/%.o: $(BUILD)/obj/examples/%.o
	@mkdir -p $(@D)
	objcopy --redefine-sym main=$*_main $< $@
$(BUILD)/examples/moco: $(commands:%=$(BUILD)/obj/moco/%.o)

$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(BUILD)/libprograms.a $(BUILD)/liblib.a | $(BUILD)/libmoco.so
	@mkdir -p $(@D)
	$(link) -o $@ $(filter %.o,$^) $(filter %.a,$^) -L$(BUILD) -lmoco -Wl,-rpath,'$$ORIGIN/..:$$ORIGIN/../lib' -Wl,--as-needed $(filter-out -ldnnl -fopenmp -lstdc++,$(LIBS))

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(bench_support) $(BUILD)/libmoco_internal.a
	@mkdir -p $(@D)
	$(link) -o $@ $^ $(LIBS)

$(foreach t,file_faults checkpoint paths export_faults,$(BUILD)/tests/robust/files/test_$(t)): wrapped := $(fault_flags)
$(BUILD)/tests/robust/files/test_power_loss: \
    wrapped := $(foreach c,posix_fallocate pwrite fsync renameat,-Wl,--wrap=$(c))
$(BUILD)/tests/robust/files/test_folder_faults: wrapped := $(foreach c,opendir readdir fstatat,-Wl,--wrap=$(c))

# Parts of the programs that are judged, or measured, alone. They need the library, so it is named again behind them.
of_parts := $(addprefix $(BUILD)/,$(addprefix tests/unit/programs/,$(addprefix test_,run_files contention launch wait_policy wait_beside tsne) tool_plane) \
                                 bench/beside fuzz/replay_report)
$(of_parts): $(BUILD)/libprograms.a
$(of_parts): LIBS := $(BUILD)/libmoco_internal.a $(LIBS)

$(BUILD)/obj/tests/%.o: CPPFLAGS_ALL += -Itests -Iexamples
# No C++ library: tests are linked as C. Kernels: fused where they say so, as by nvcc.
$(BUILD)/obj/tests/support/cudasim/%.o: CXXFLAGS_ALL += -fno-exceptions -fno-rtti -fno-threadsafe-statics
$(BUILD)/obj/tests/support/cudasim/sim_kernels.o: CXXFLAGS_ALL += -O2 -ffp-contract=off -include tests/support/cudasim/simt.h
$(tests_cc): link = $(CXX) -pie $(link_flags)
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(test_support) $(BUILD)/libmoco_internal.a
	@mkdir -p $(@D)
	$(link) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS)

$(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/support/replay_driver.o \
    $(fuzz_support:%.c=$(BUILD)/obj/%.o) $(BUILD)/libmoco_internal.a
	@mkdir -p $(@D)
	$(link) $(fault_flags) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
