#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Plants bugs in copies of the parsers, one at a time, and runs the fuzz target of each from the committed corpus until it
# finds the bug. Prints how many inputs that took; fails if one is not found within RUNS (a million). Needs clang.
# usage: make fuzz-planted, or planted_bugs.sh [TARGET...] with fault_flags and LIBS as make has them
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${RUNS:=1000000}" "${LIBS:?run: make fuzz-planted}" "${fault_flags:?run: make fuzz-planted}" "${fuzz_support:?run: make fuzz-planted}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
webp=$([ "${WEBP:-0}" = 1 ] && echo -DMOCO_HAVE_WEBP=1)
tree=$work/tree failed=0 planted=0
mkdir -p "$tree" "$work/finds" "$work/new"
cp -r Makefile lib src include tests examples docs "$tree/"

library() {
    make -s -C "$tree" BUILD=b CC=clang CXX=clang++ ONEDNN=0 SAN=address,undefined CFLAGS="-O1 -g -w -fsanitize=fuzzer-no-link" \
        b/libmoco_internal.a >"$work/made" 2>&1
}

plant() { # TARGET, FILE, sed command, what it is
    local target=$1 file=$2 change=$3 what=$4
    [ -z "${wanted:-}" ] || case " $wanted " in *" $target "*) ;; *) return ;; esac
    planted=$((planted + 1))
    sed -i "$change" "$tree/$file"
    if cmp -s "$file" "$tree/$file"; then
        echo "$target: $what: the change does not apply"
        failed=$((failed + 1))
        return
    fi
    # shellcheck disable=SC2086 # lists of words
    if library && (cd "$tree" && clang -std=c11 -O1 -g -w -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
        -Iinclude -Ilib -Isrc -Itests -D_POSIX_C_SOURCE=200809L $webp -o "$work/target" \
        "tests/fuzz/fuzz_$target.c" $fuzz_support $fault_flags b/libmoco_internal.a $LIBS) 2>>"$work/made"; then
        rm -rf "${work:?}/new"/* "${work:?}/finds"/*
        if "$work/target" -seed=1 -runs="$RUNS" -artifact_prefix="$work/finds/" -print_final_stats=1 "$work/new" \
            "tests/fuzz/corpus/$target" >"$work/log" 2>&1; then
            echo "$target: $what: NOT FOUND in $RUNS inputs"
            failed=$((failed + 1))
        else
            echo "$target: $what: found after $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") inputs"
        fi
    else
        echo "$target: $what: does not compile: $(head -c 300 "$work/made")"
        failed=$((failed + 1))
    fi
    cp "$file" "$tree/$file" && touch "$tree/$file"
}

library || { cat "$work/made"; exit 1; }
wanted="$*"
# the whole of `condition` in `if (condition` becomes false
plant tar lib/codec/tar.c 's/if (length >= sizeof m->name)/if (0)/' "names of any length are copied"
plant tar lib/codec/tar.c 's/if (size > left)/if (0)/' "members may be longer than the archive"
plant tar lib/codec/tar.c 's/ || length > all - record//' "pax records may be longer than their header"
plant tar lib/codec/tar.c 's/if (\*size < 0)/if (0)/' "sizes may be negative"
plant tar src/data/dataset/dataset_tar.c 's/if (m->size < (int64_t)sizeof text)/if (1)/' "labels of any length are read"
plant index src/data/dataset/dataset_index.c 's/ || e->shard >= set->shards//' "entries name shards that are not there"
plant index src/data/dataset/dataset_index.c 's/if (end == NULL)/if (0)/' "names of shards need not end"
plant index src/data/dataset/dataset_index.c 's/if (file->size != entries_at(head).*/if (0)/' "entries may lie behind the file"
plant jpeg src/data/decode/decode_jpeg.c 's/MARGIN = 16/MARGIN = 0/' "no margin around a part"
plant jpeg src/data/decode/decode_jpeg.c 's/ && (size_t)count > j->reader.bytes_in_buffer/ \&\& 0/' "skips beyond the window"
plant jpeg src/data/decode/decode_jpeg.c 's/(size_t)box.w \* 4/(size_t)box.w * 3/' "a CMYK row is too short"
plant jpeg src/data/decode/decode_blocks.c 's/return band < b->inside \&\& line/return 0 \&\& line/; s/lead = written - used;/lead = 0;/' \
    "a picture overtakes its blocks"
plant jpeg src/data/decode/decode_blocks.c 's/(b->bands - b->inside) \* b->band_bytes/(b->bands - b->inside - 1) * b->band_bytes/' \
    "a row of blocks too little memory"
plant jpeg src/data/decode/source.c 's/source->status = err_set(&source->error, MOCO_EIO/source->status = err_set(\&source->error, MOCO_EFORMAT/' \
    "a failed read is the picture's fault"
plant png src/data/decode/decode_png.c 's/size < (int64_t)p->left ? (size_t)size : p->left/(size_t)size/' "reads beyond the window"
plant png src/data/decode/decode_png.c 's/    png_set_strip_alpha(p->codec);//; s/!= p->image->stride/== 0/' "rows with alpha in room for none"
plant png src/data/decode/decode_room.c 's/have < bytes || /have == 0 || /; s/size_t bytes = (size_t)box.w \*/size_t bytes = (size_t)(box.w - 1) */' \
    "a column too little memory"
plant webp src/data/decode/decode_webp.c 's/MARGIN = 2/MARGIN = 0/' "no margin around a part"
plant webp src/data/decode/decode_webp.c 's/if ((int64_t)w->length > there)/if (0)/; s/if (w->left >= w->length)/if (1)/' \
    "a picture may be longer than the file"
plant webp src/data/decode/decode_webp.c 's/size_t known = w->length < HEAD ? w->length : HEAD;/size_t known = HEAD;/' \
    "a short picture is read beyond its end"
plant webp src/data/decode/decode_webp.c 's/    if (size - part > w->source->end - w->source->at)/    if (0)/; s/w->left -= (size_t)part/w->left -= (size_t)size/' \
    "skips beyond the window"
plant webp src/data/decode/decode_webp.c 's/mem_alloc(w->decoder->ctx, w->length,/mem_alloc(w->decoder->ctx, w->length \/ 2,/' \
    "half the memory for a file"
plant webp src/data/decode/decode_webp.c 's/    mem_free(decoder->ctx, w.held);/    if (status == MOCO_OK) mem_free(decoder->ctx, w.held);/' \
    "a damaged file is kept in memory"
plant list src/data/dataset/dataset_label.c 's/if (label > DATASET_LABEL_MAX)/if (0)/' "labels of any length"
plant list src/data/dataset/dataset_list.c 's/if (strlen(list->folder) + strlen(text) >= PATH_BYTES)/if (0)/' "paths of any length"
plant list src/data/dataset/dataset_list.c 's/char \*stop = memchr(at, .\\n., (size_t)(end - at));/char *stop = memchr(at, 10, (size_t)(end - at) + 2);/' \
    "looks for the end of a line behind the file"
plant cifar src/data/dataset/dataset_cifar.c 's/if (value > 9)/if (value > 10)/' "label 10"
plant cifar src/data/dataset/dataset_cifar.c 's/file->file.size % RECORD != 0/0/' "files that end in a part of a record"
plant cifar src/data/dataset/dataset_cifar.c 's/which = c->files - 1/which = 0/' "every picture is the first file's"
plant safetensors src/format/safetensors_parse.c 's/if (end != file_size)/if (0)/' "tensors need not fill the file"
plant safetensors src/format/safetensors_parse.c 's/if (\*count == most)/if (0)/' "shapes of any length"
plant model src/algo/encoder_file.c 's/    TRY(check_tensors(file, prefix, encoder, err));//' "a network is made before its tensors are looked for"
plant model src/algo/state_file.c 's/    if (bad >= 0) {/    if (0) {/' "numbers that are not finite are read"
plant model src/algo/state_file.c 's/(shape->variance \&\& value < 0)/0/' "a variance below 0 is read"
plant trainer src/algo/trainer_fresh.c 's/!(value >= 0 \&\& value < (double)length)/0/' "a queue_ptr behind the queue"
plant probe src/eval/probe_file.c 's/    TRY(state_check(file, "", 1, &shapes, err));.*//' "a probe is made before its tensors are looked for"
plant json lib/codec/json_parse.c 's/j->next < j->size/j->next <= j->size/' "one byte behind the text"
plant zip lib/codec/zip.c 's/if (gap < 0)/if (0)/; s/if (i + 1 < zip->count \&\& next == m->header)/if (0)/; s/return gap == 0 ? MOCO_OK/return gap <= 0 ? MOCO_OK/' \
    "members may lie on each other"
plant zip lib/codec/zip.c 's/if (length > size - 4)/if (0)/' "extra fields may be longer than they are"
plant zip lib/codec/zip.c 's/(int64_t)(name + extra + comment) > left - CENTRAL/0/' "entries may be longer than the directory"
plant pickle lib/codec/pickle_read.c 's/if (at == vm->p->total)/if (0)/' "a MARK is looked for beyond the stack"
plant pickle lib/codec/pickle_read.c 's/if (number >= vm->memo || /if (/' "memo numbers of any size"
plant pickle lib/codec/pickle_ops.c 's/length > (uint64_t)(s->limit - s->at)/0/; s/if (length == 0 || 0)/if (length == 0)/' "texts may reach beyond the pickle"
plant weights src/format/torch/torch_tensor.c 's/if (tensor->count > 0 \&\& last >= s->numel)/if (0)/' "tensors may reach beyond their storage"
plant weights src/format/torch/torch_read.c 's/if (torch_storage_bytes(s) > t->file.size - s->offset)/if (0)/; s/return at == t->file.size ?/return 1 ?/' \
    "storages may be longer than the file"
plant weights src/format/torch/torch_text.c 's/if (found.size >= size)/if (0)/' "texts of any length are copied"
plant legacy src/format/torch/torch_tensor.c 's/if (tensor->count > 0 \&\& last >= s->numel)/if (0)/' "tensors may reach beyond their storage"
plant legacy src/format/weights_read.c 's/index\[d\] < g.shape\[d\]/index[d] <= g.shape[d]/' "one element too many of each row"
plant legacy src/format/torch/torch_read.c 's/if (torch_storage_bytes(s) > t->file.size - s->offset)/if (0)/; s/return at == t->file.size ?/return 1 ?/' \
    "storages may be longer than the file"
plant import src/algo/import/import_source.c 's/    return status != MOCO_OK ? bad(n, \&why, err) : MOCO_OK;/    return MOCO_OK;/' \
    "numbers that are not finite are imported"
plant import src/algo/import/import_source.c 's/        if (value < 0) {/        if (0) {/' "a variance below 0 is imported"
plant import src/algo/import/import_source.c 's/    if (m.count == 0)$/    if (1)/' "tensors of any shape are taken"
plant import src/algo/import/import_trainer.c 's/if (!(value >= 0 \&\& value < (double)length) || /if (/' "a queue_ptr behind the queue"
echo "$planted planted, $((planted - failed)) found"
[ "$failed" -eq 0 ]
