# The manual pages and the HTML reference, made from the headers and from what the programs say on --help, and their
# installation. They need Python 3.6 or later (Debian: python3); where it is missing all else is built and installed.
# What a reader would get wrong: names of pages are read from the headers by sed (names.sed), so that `make uninstall` needs no
# Python; tests/abi/test_reference.sh holds them against those that were made.
PYTHON ?= python3
has_python := $(shell $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null && echo 1)
make_reference = $(PYTHON) -B docs/reference/make_reference.py
reference_src := $(wildcard docs/reference/*.py)
headers := $(wildcard include/moco/*.h)
cpp_headers := $(wildcard include/moco/*.hpp include/moco/cpp/*.hpp)
header_names := $(filter-out moco,$(basename $(notdir $(headers))))
moco_program := $(filter $(BUILD)/examples/moco,$(examples))

.PHONY: reference man html
reference: $(if $(has_python),man html)
ifeq ($(has_python),1)
man: $(BUILD)/man/man3.made $(if $(moco_program),$(BUILD)/man/man1.made) ## manual pages: section 3 from the headers, section 1 from --help (python3)
html: $(BUILD)/html.made ## the reference as pages for a browser, in BUILD/html (python3)
else
man html:
	@echo '$(PYTHON), which makes the manual pages and the HTML reference, is not here (Debian: python3)'; exit 1
endif

$(BUILD)/man/man3.made: $(headers) $(cpp_headers) $(reference_src)
	$(make_reference) man3 include/moco $(BUILD)/man/man3
	@touch $@
$(BUILD)/man/man1.made: $(moco_program) $(reference_src)
	$(make_reference) man1 $(moco_program) $(BUILD)/man/man1
	@touch $@
$(BUILD)/html.made: $(moco_program) $(headers) $(cpp_headers) $(reference_src)
	$(make_reference) html include/moco $(BUILD)/html $(moco_program)
	@touch $@

# What has a page of section 3, or a link to one.
man3_pages = $(addsuffix .3,libmoco moco $(header_names:%=libmoco-%) $(shell sed -n -f docs/reference/names.sed $(headers)))
man1_pages = $(if $(moco_program),moco.1 $(shell sed -n 's/^    {"\([a-z]*\)", "[a-z_]*".*/moco-\1.1/p' examples/moco.c))
html_pages = $(addsuffix .html,index $(header_names) programs)
# What is installed as it is, README's links among it.
doc_files := $(wildcard README.md CHANGES.md LICENSE docs/*.md docs/*.png docs/*.svg examples/first.c examples/overnight.c examples/sqlite.cc)

install_man = $(DESTDIR)$(MANDIR)
install_doc = $(DESTDIR)$(DOCDIR)
.PHONY: install-docs uninstall-docs
install-docs: reference
	for f in $(doc_files); do install -D -m 644 $$f $(install_doc)/$$f || exit 1; done
	install -m 644 src/comm/mpi/moco_mpi.c $(install_doc)/examples
ifeq ($(has_python),1)
	install -d $(install_man)/man3 $(install_doc)/reference $(if $(moco_program),$(install_man)/man1)
	install -m 644 $(BUILD)/man/man3/*.3 $(install_man)/man3
	set -- $(BUILD)/man/man1/*.1; [ ! -e "$$1" ] || install -m 644 "$$@" $(install_man)/man1
	install -m 644 $(BUILD)/html/*.html $(install_doc)/reference
else
	@echo 'no manual pages and no HTML reference were installed: they are made by $(PYTHON), which is not here (Debian: python3).'
endif

uninstall-docs:
	rm -f $(addprefix $(install_man)/man3/,$(man3_pages)) $(addprefix $(install_man)/man1/,$(man1_pages)) \
	    $(addprefix $(install_doc)/,examples/moco_mpi.c $(doc_files) $(html_pages:%=reference/%))
	-rmdir --ignore-fail-on-non-empty $(wildcard $(install_man)/man1 $(install_man)/man3 \
	    $(install_doc)/docs $(install_doc)/examples $(install_doc)/reference) 2>/dev/null
	-rmdir --ignore-fail-on-non-empty $(wildcard $(install_doc)) 2>/dev/null
