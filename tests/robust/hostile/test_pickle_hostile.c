/* SPDX-License-Identifier: MIT
 *
 * test_pickle_hostile: pickles made to mislead a reader, each in a zip archive that is right. Opcodes that no
 * checkpoint holds, stacks and memos that do not fit, lengths that lie, names of code that must not be run, and graphs
 * that spell out more nodes than there are bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files/hostile_weights.h"

struct row {
    const char *what, *pickle;
    size_t size;
    const char *reason;
};
#define ROW(what, pickle, reason)                                                                                      \
    {                                                                                                                  \
        what, pickle, sizeof(pickle) - 1, reason                                                                       \
    }

static void check(const char *what, const void *pickle, size_t size, const char *reason)
{
    struct blob file = {0};
    struct zip_places places;
    torch_zip_bytes(&file, pickle, size, &places);
    hostile_check(what, file.at, file.size, reason);
    blob_free(&file);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(rows[i].what, rows[i].pickle, rows[i].size, rows[i].reason);
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* Every byte that is no opcode of checkpoints, where an opcode must be. */
static void opcodes(void **state)
{
    (void)state;
    static const char known[] = "(.CBGJKlMNQRTUX]abcdehjqrst)u}\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8f\x90\x91\x92"
                                "\x93\x94\x95";
    int refused = 0;
    for (int op = 0; op < 256; op++) {
        char pickle[8] = {(char)0x80, 2, (char)op, '.'}, reason[64];
        if (memchr(known, op, sizeof known - 1) != NULL)
            continue;
        snprintf(reason, sizeof reason, "opcode 0x%02x is none that checkpoints hold", (unsigned)op);
        check("an opcode", pickle, 4, reason);
        refused++;
    }
    assert_int_equal(refused, 256 - (int)(sizeof known - 1));
}

/* What each opcode needs on the stack, missing. */
static void stacks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("STOP", P(""), "STOP finds the stack empty"),
        ROW("two values left", P("NN"), "STOP leaves more than one value"),
        ROW("a MARK left", P("(N"), "STOP leaves more than one value"),
        ROW("a MARK as value", P("("), "STOP finds a MARK where a value must be"),
        ROW("no STOP", "\x80\2N", "goes on where its bytes end"),
        ROW("nothing", "", "goes on where its bytes end"),
        ROW("bytes after STOP", P("}") "N", "something follows the pickle"),
        ROW("TUPLE1", P("\x85"), "TUPLE1 finds the stack empty"),
        ROW("TUPLE2", P("N\x86"), "TUPLE2 finds the stack empty"),
        ROW("TUPLE3", P("NN\x87"), "TUPLE3 finds the stack empty"),
        ROW("TUPLE3 of a MARK", P("N(NN\x87"), "TUPLE3 finds a MARK"),
        ROW("TUPLE", P("Nt"), "TUPLE finds no MARK"),
        ROW("LIST", P("Nl"), "LIST finds no MARK"),
        ROW("DICT", P("Nd"), "DICT finds no MARK"),
        ROW("DICT of one", P("(Nd"), "DICT has a key without a value"),
        ROW("FROZENSET", P("N\x91"), "FROZENSET finds no MARK"),
        ROW("APPEND", P("Na"), "APPEND finds the stack empty"),
        ROW("APPEND to None", P("NNa"), "APPEND is done to None"),
        ROW("APPEND to a dict", P("}Na"), "APPEND is done to a dict"),
        ROW("APPENDS", P("]Ne"), "APPENDS finds no MARK"),
        ROW("APPENDS to nothing", P("(Ne"), "APPENDS finds the stack empty"),
        ROW("APPENDS to a tuple", P(")(Ne"), "APPENDS is done to a tuple"),
        ROW("ADDITEMS to a list", P("](N\x90"), "ADDITEMS is done to a list"),
        ROW("SETITEM", P("NNs"), "SETITEM finds the stack empty"),
        ROW("SETITEM on a list", P("]NNs"), "SETITEM is done to a list"),
        ROW("SETITEM on a text", P("X\0\0\0\0NNs"), "SETITEM is done to a text"),
        ROW("SETITEMS", P("}NNu"), "SETITEMS finds no MARK"),
        ROW("SETITEMS of three", P("}(NNNu"), "SETITEMS has a key without a value"),
        ROW("a list as key", P("}]Ns"), "SETITEM has a key that cannot be one: a list"),
        ROW("a dict as key", P("}(}Nu"), "SETITEMS has a key that cannot be one: a dict"),
        ROW("a set as key", P("}\x8fNs"), "SETITEM has a key that cannot be one: a set"),
        ROW("REDUCE", P(")R"), "REDUCE finds the stack empty"),
        ROW("REDUCE of a text", P("X\1\0\0\0x)R"), "REDUCE calls a text"),
        ROW("REDUCE of a tuple", P("))R"), "REDUCE calls a tuple"),
        ROW("REDUCE with a list", P("ca\nb\n]R"), "REDUCE has arguments that are a list"),
        ROW("REDUCE with None", P("ca\nb\nNR"), "REDUCE has arguments that are None"),
        ROW("NEWOBJ of None", P("N)\x81"), "NEWOBJ calls None"),
        ROW("NEWOBJ_EX with a list", P("ca\nb\n)]\x92"), "NEWOBJ_EX has keyword arguments that are a list"),
        ROW("BUILD", P("Nb"), "BUILD finds the stack empty"),
        ROW("BUILD on a dict", P("}}b"), "BUILD gives attributes to a dict"),
        ROW("BUILD on a tuple", P(")}b"), "BUILD gives attributes to a tuple"),
        ROW("BUILD on a text", P("X\0\0\0\0}b"), "BUILD gives attributes to a text"),
        ROW("BINPERSID", P("Q"), "BINPERSID finds the stack empty"),
        ROW("BINPUT", P("q\0"), "BINPUT finds the stack empty"),
        ROW("LONG_BINPUT", P("r\0\0\0\0"), "LONG_BINPUT finds the stack empty"),
        ROW("MEMOIZE", P("\x94"), "MEMOIZE finds the stack empty"),
        ROW("MEMOIZE of a MARK", P("(\x94"), "MEMOIZE finds a MARK"),
        ROW("BINGET before BINPUT", P("h\0"), "BINGET asks for a memo number"),
        ROW("BINGET of another", P("Nq\0h\1"), "BINGET asks for a memo number"),
        ROW("LONG_BINGET of 2^32-1", P("Nq\0j\xff\xff\xff\xff"), "LONG_BINGET asks for a memo number"),
        ROW("LONG_BINPUT of 2^32-1", P("Nr\xff\xff\xff\xff"), "stores value number 4294967295 in its memo"),
        ROW("LONG_BINPUT of 2^31", P("Nr\0\0\0\x80"), "stores value number 2147483648 in its memo"),
        ROW("STACK_GLOBAL", P("X\1\0\0\0a\x93"), "STACK_GLOBAL finds the stack empty"),
        ROW("STACK_GLOBAL of None", P("X\1\0\0\0aN\x93"), "STACK_GLOBAL is made from None"),
        ROW("protocol 1", "\x80\1N.", "PROTO says a protocol"),
        ROW("protocol 6", "\x80\6N.", "PROTO says a protocol"),
        ROW("OrderedDict of a number", P("ccollections\nOrderedDict\nK\1\x85R"),
            "makes an OrderedDict from an integer"),
        ROW("OrderedDict of triples",
            P("ccollections\nOrderedDict\n](NNN\x87"
              "e\x85R"),
            "OrderedDict whose pair is a tuple"),
        ROW("OrderedDict with a list as key",
            P("ccollections\nOrderedDict\n](]N\x86"
              "e\x85R"),
            "key that cannot be one"),
    };
    CHECK_ROWS(rows);
}

static void lengths(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("BINUNICODE of 2^32-1", P("X\xff\xff\xff\xff"), "BINUNICODE reaches beyond the end"),
        ROW("BINUNICODE one too long", P("X\2\0\0\0"), "BINUNICODE reaches beyond the end"),
        ROW("SHORT_BINUNICODE", P("\x8c\xff"), "SHORT_BINUNICODE reaches beyond the end"),
        ROW("BINBYTES of 2^31", P("B\0\0\0\x80"), "BINBYTES reaches beyond the end"),
        ROW("SHORT_BINBYTES", P("C\x10"), "SHORT_BINBYTES reaches beyond the end"),
        ROW("BINSTRING of -1", P("T\xff\xff\xff\xff"), "BINSTRING has a negative length"),
        ROW("SHORT_BINSTRING", P("U\x10"), "SHORT_BINSTRING reaches beyond the end"),
        ROW("LONG4 of -1", P("\x8b\xff\xff\xff\xff"), "LONG4 has a negative length"),
        ROW("LONG4 of 2^31-1", P("\x8b\xff\xff\xff\x7f"), "LONG4 reaches beyond the end"),
        ROW("LONG1", P("\x8a\x10"), "LONG1 reaches beyond the end"),
        ROW("FRAME", P("\x95\xff\xff\xff\xff\xff\xff\xff\xff"), "FRAME is longer than the pickle"),
        ROW("FRAME one too long", P("\x95\2\0\0\0\0\0\0\0"), "FRAME is longer than the pickle"),
        ROW("BININT cut", "\x80\2J\0\0", "BININT reaches beyond the end"),
        ROW("BINFLOAT cut", "\x80\2G\0\0", "BINFLOAT reaches beyond the end"),
        ROW("PROTO cut", "\x80", "PROTO reaches beyond the end"),
        ROW("GLOBAL of one line", P("cos\nsystem"), "GLOBAL reaches beyond the end"),
        ROW("GLOBAL of no line", P("cos"), "GLOBAL reaches beyond the end"),
        ROW("GLOBAL without a module", P("c\nsystem\n"), "GLOBAL has a name that is empty"),
        ROW("GLOBAL without a name", P("cos\n\n"), "GLOBAL has a name that is empty"),
        ROW("GLOBAL with \\r", P("cos\r\nsystem\r\n"), "holds a blank or control character"),
        ROW("GLOBAL with a blank", P("cos system\nx\n"), "holds a blank or control character"),
        ROW("STACK_GLOBAL with a newline", P("X\2\0\0\0a\nX\1\0\0\0b\x93"), "holds a blank or control character"),
        ROW("STACK_GLOBAL without a name", P("X\1\0\0\0aX\0\0\0\0\x93"), "has a name that is empty"),
    };
    CHECK_ROWS(rows);
    size_t size = 10 << 20; /* a name of 10 MB */
    char *pickle = malloc(size);
    memset(pickle, 'n', size);
    memcpy(pickle, "\x80\2c", 3);
    memcpy(pickle + size - 4, "\nb\n.", 4);
    check("GLOBAL of 10 MB", pickle, size, "GLOBAL has a name that is longer than 1024 bytes");
    free(pickle);
}

/* Code of others: kept as a name, an error only where a tensor was to be. */
static void code(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("os.system beside", P_DICT("X\1\0\0\0xcos\nsystem\nX\4\0\0\0true\x85R"), NULL),
        ROW("builtins.eval beside",
            P_DICT("X\1\0\0\0xcbuiltins\neval\nX\1\0\0\0"
                   "1\x85R"),
            NULL),
        ROW("a call of a call", P_DICT("X\1\0\0\0xca\nb\n)R)R)R"), NULL),
        ROW("everything done to one", P_DICT("X\1\0\0\0xca\nb\n)RNaNNs(NNe(NNu(N\x90}b"), NULL),
        ROW("a name that things are done to", P_DICT("X\1\0\0\0xca\nb\nNaNNs}b"), NULL),
        ROW("NEWOBJ and NEWOBJ_EX", P_DICT("X\1\0\0\0xca\nb\n)\x81X\1\0\0\0yca\nb\n)}\x92"), NULL),
        ROW("os.system as the root", P("cos\nsystem\nX\4\0\0\0true\x85R"), "a pickled object of a program (os.system)"),
        ROW("a module as the root", P("ctorchvision.models.resnet\nResNet\n)\x81}b"),
            "a pickled object of a program (torchvision.models.resnet.ResNet), not a state dict"),
        ROW("a name as the root", P("cos\nsystem\n"), "a pickled object of a program (os.system)"),
        ROW("a text as the root", P("X\1\0\0\0x"), "the pickle here is a text: there are no tensors"),
        ROW("None as the root", P("N"), "the pickle here is None"),
        ROW("a storage as the root", P(P_STORAGE), "the pickle here is a persistent value"),
        ROW("an empty dict", P("}"), NULL),
        ROW("an empty OrderedDict", P(P_ODICT), NULL),
        ROW("OrderedDict with attributes", P(P_ODICT "}X\1\0\0\0_Nsb"), NULL),
        ROW("OrderedDict of Python 2", P("ccollections\nOrderedDict\n](]X\1\0\0\0wa" P_GOOD "ae\x85R"), NULL),
        ROW("the legacy parameter", P_DICT("X\1\0\0\0pctorch._utils\n_rebuild_parameter\n(" P_GOOD "\x88" P_ODICT "tR"),
            NULL),
        ROW("four floats as one tensor",
            P_DICT("X\1\0\0\0xctorch._utils\n_rebuild_tensor\n(" P_STORAGE "K\0K\4\x85K\1\x85tR"), NULL),
    };
    CHECK_ROWS(rows);
}

static void numbers(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("an integer of 2^16000",
            P_DICT("X\1\0\0\0x\x8b\0\1\0\0"
                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
            NULL),
        ROW("integers of no and of eight bytes", P_DICT("X\1\0\0\0x\x8a\0X\1\0\0\0y\x8a\10\0\0\0\0\0\0\0\x80"), NULL),
        ROW("not a number", P_DICT("X\1\0\0\0xG\x7f\xf8\0\0\0\0\0\0"), NULL),
    };
    CHECK_ROWS(rows);
}

static void add_text(struct blob *b, const char *text)
{
    blob_add(b, text, strlen(text));
}

/* As Python appends many: a thousand at a time. */
static void add_many(struct blob *b, const char *value, int count)
{
    for (int i = 0; i < count; i++) {
        if (i > 0 && i % 1000 == 0)
            add_text(b, "e(");
        blob_add(b, value, 2);
    }
    add_text(b, "e.");
}

/* Graphs that are small in the file and large when followed. */
static void graphs(void **state)
{
    (void)state;
    struct blob b = {0};
    static const struct row rows[] = {
        ROW("a dict in itself", P("}q\0X\1\0\0\0wh\0s"), NULL),
        ROW("a list in itself", P("]q\0h\0a"), NULL),
        ROW("an object in itself", P_DICT("X\1\0\0\0xca\nb\n)Rq\0h\0ah\0b"), NULL),
    };
    CHECK_ROWS(rows);
    blob_add(&b, "\x80\2]q\0", 5); /* 2^40 nodes: each list holds the one before twice */
    for (int i = 1; i <= 40; i++) {
        char step[8] = {']', 'q', (char)i, 'h', (char)(i - 1), 'a', 'h', (char)(i - 1)};
        blob_add(&b, step, 8);
        blob_add(&b, "a", 1);
    }
    for (int i = 1; i <= 40; i++)
        blob_add(&b, "\x86", 1);
    add_text(&b, ".");
    check("2^40 nodes", b.at, b.size, NULL);
    b.size = 0;
    blob_add(&b, "\x80\2N", 3);
    for (int i = 0; i < 5000; i++)
        blob_add(&b, "\x85", 1);
    add_text(&b, ".");
    check("tuples 5000 deep", b.at, b.size, NULL);
    b.size = 0;
    blob_add(&b, "\x80\2", 2);
    for (int i = 0; i < 5000; i++)
        blob_add(&b, "]", 1);
    for (int i = 1; i < 5000; i++)
        blob_add(&b, "a", 1);
    add_text(&b, ".");
    check("lists 5000 deep", b.at, b.size, NULL);
    b.size = 0;
    blob_add(&b, "\x80\2", 2);
    for (int i = 0; i < 1 << 20; i++)
        blob_add(&b, "N", 1);
    add_text(&b, ".");
    check("a million values on the stack", b.at, b.size, "NONE asks for more memory");
    b.size = 2;
    for (int i = 0; i < 1 << 20; i++)
        blob_add(&b, "}", 1);
    add_text(&b, ".");
    check("a million dicts", b.at, b.size, "EMPTY_DICT asks for more memory");
    b.size = 2;
    blob_add(&b, "N", 1);
    for (int i = 0; i < 1 << 20; i++)
        blob_add(&b, "\x94", 1);
    add_text(&b, ".");
    check("a million memos", b.at, b.size, "memo asks for more memory");
    b.size = 2;
    blob_add(&b, "](", 2);
    add_many(&b, "K\1", 200000);
    check("a list of many small integers", b.at, b.size, NULL);
    blob_free(&b);
}

/* One tensor in many places: names cost memory too. */
static void names(void **state)
{
    (void)state;
    struct blob b = {0};
    static const char good[] = P_GOOD;
    blob_add(&b, "\x80\2]", 3);
    blob_add(&b, good, sizeof good - 1);
    blob_add(&b, "q\0a(", 4);
    add_many(&b, "h\0", 100000);
    check("a tensor 100000 times", b.at, b.size, "lists more tensors, or longer names");
    b.size = 2;
    blob_add(&b, "}X\xe8\3\0\0", 6); /* 1000 bytes of name before each of 1000 tensors */
    for (int i = 0; i < 1000; i++)
        add_text(&b, "n");
    add_text(&b, "]");
    blob_add(&b, good, sizeof good - 1);
    blob_add(&b, "q\0a(", 4);
    for (int i = 0; i < 1000; i++)
        blob_add(&b, "h\0", 2);
    add_text(&b, "es.");
    check("long names", b.at, b.size, "lists more tensors, or longer names");
    b.size = 2;
    blob_add(&b, "}X\1\4\0\0", 6);
    for (int i = 0; i < 1025; i++)
        add_text(&b, "n");
    blob_add(&b, good, sizeof good - 1);
    add_text(&b, "s.");
    check("a name of 1025 bytes", b.at, b.size, "has a name that is longer than 1024 bytes");
    static const struct row rows[] = {
        ROW("a name twice", P("}(X\1\0\0\0w" P_GOOD "X\1\0\0\0w" P_GOOD "u"), "two tensors of the name w"),
        ROW("a name by two ways", P("}(X\3\0\0\0w.x" P_GOOD "X\1\0\0\0w}X\1\0\0\0x" P_GOOD "su"),
            "two tensors of the name w.x"),
        ROW("1 and \"1\"",
            P("}(K\1" P_GOOD "X\1\0\0\0"
              "1" P_GOOD "u"),
            "two tensors of the name 1"),
        ROW("a name that is not UTF-8", P("}X\1\0\0\0\xff" P_GOOD "s"), "is not UTF-8"),
        ROW("a name with NUL", P("}X\3\0\0\0a\0b" P_GOOD "s"), "is not UTF-8 or holds a NUL"),
        ROW("a key that is a tuple", P("}(N\x85" P_GOOD "X\1\0\0\0w" P_GOOD "u"), NULL),
        ROW("a negative key", P("}J\xff\xff\xff\xff" P_GOOD "s"), NULL),
        ROW("an empty key", P("}X\0\0\0\0" P_GOOD "s"), NULL),
    };
    CHECK_ROWS(rows);
    blob_free(&b);
}

static void enough(void **state)
{
    (void)state;
    printf("%d files\n", hostile_files);
    assert_true(hostile_files >= 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opcodes), cmocka_unit_test(stacks), cmocka_unit_test(lengths), cmocka_unit_test(code),
        cmocka_unit_test(numbers), cmocka_unit_test(graphs), cmocka_unit_test(names),   cmocka_unit_test(enough),
    };
    return cmocka_run_group_tests(tests, hostile_set_up, hostile_tear_down);
}
