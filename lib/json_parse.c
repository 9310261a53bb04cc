/* SPDX-License-Identifier: MIT
 *
 * json_parse: the pull parser of json.h. Between two tokens the state is: what may come next, and, in one bit per
 * level, whether each open container is an array. */
#include <string.h>

#include "json.h"
#include "num.h"
#include "utf8.h"

enum expect {
    VALUE,          /* at the top or after a key */
    FIRST_KEY,      /* after {: a key or } */
    FIRST_ELEMENT,  /* after [: a value or ] */
    COMMA_OR_CLOSE, /* after a value in a container */
    END,            /* after the value at the top */
    NOTHING         /* after JSON_END or an error */
};

void json_start(struct json *j, const void *bytes, size_t size, size_t origin)
{
    *j = (struct json){.bytes = bytes, .size = size, .origin = origin, .expect = VALUE};
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {"an object",  "the end of an object",
                                        "an array",   "the end of an array",
                                        "a key",      "a string",
                                        "an integer", "a number that is no integer",
                                        "true",       "false",
                                        "null",       "the end of the text"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "something unknown";
}

static moco_status bad(struct json *j, size_t at, const char *reason, struct err *err)
{
    j->expect = NOTHING;
    return err_set(err, MOCO_EFORMAT, "JSON at byte %zu: %s", j->origin + at, reason);
}

static int here(const struct json *j) /* the next byte; -1 at the end */
{
    return j->next < j->size ? (unsigned char)j->bytes[j->next] : -1;
}

static void skip_blanks(struct json *j)
{
    while (j->next < j->size && (j->bytes[j->next] == ' ' || j->bytes[j->next] == '\t' || j->bytes[j->next] == '\n' ||
                                 j->bytes[j->next] == '\r'))
        j->next++;
}

/* ---- strings ---- */

/* Four hex digits; -1 if they are not. */
static long hex4(const char *text, size_t size)
{
    long value = 0;
    if (size < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character of the escape that `text` (after the backslash) starts with, and its bytes; -1: no such escape. */
static long escape(const char *text, size_t size, size_t *bytes)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (size == 0)
        return -1;
    *bytes = 1;
    if (text[0] != 'u') {
        const char *found = text[0] != 0 ? strchr(from, text[0]) : NULL;
        return found != NULL ? to[found - from] : -1;
    }
    long high = hex4(text + 1, size - 1);
    *bytes = 5;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || size < 11 || text[5] != '\\' || text[6] != 'u')
        return -1;
    long low = hex4(text + 7, size - 7);
    *bytes = 11;
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) : -1;
}

/* From the opening quote on. */
static moco_status string(struct json *j, struct json_token *t, struct err *err)
{
    size_t at = j->next + 1, begin = at;
    t->escaped = 0;
    for (;;) {
        if (at == j->size)
            return bad(j, t->at - j->origin, "the string does not end", err);
        unsigned char c = (unsigned char)j->bytes[at];
        size_t length = 1;
        if (c == '"')
            break;
        if (c < 0x20)
            return bad(j, at, "a control character in a string", err);
        if (c == '\\') {
            if (escape(j->bytes + at + 1, j->size - at - 1, &length) < 0)
                return bad(j, at, "not an escape that JSON knows, or half of a surrogate pair", err);
            t->escaped = 1;
            length++;
        } else if (c >= 0x80) {
            length = utf8_length(j->bytes + at, j->size - at);
            if (length == 0)
                return bad(j, at, "not UTF-8", err);
        }
        at += length;
    }
    t->text = j->bytes + begin;
    t->length = at - begin;
    j->next = at + 1;
    return MOCO_OK;
}

size_t json_decode(const struct json_token *token, char *out)
{
    if (!token->escaped) {
        memmove(out, token->text, token->length);
        return token->length;
    }
    size_t used = 0;
    for (size_t at = 0; at < token->length;) {
        if (token->text[at] != '\\') {
            out[used++] = token->text[at++];
            continue;
        }
        size_t length = 0;
        long c = escape(token->text + at + 1, token->length - at - 1, &length);
        at += 1 + length;
        if (c < 0x80) {
            out[used++] = (char)c;
        } else if (c < 0x800) {
            out[used++] = (char)(0xc0 | c >> 6);
            out[used++] = (char)(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            out[used++] = (char)(0xe0 | c >> 12);
            out[used++] = (char)(0x80 | (c >> 6 & 0x3f));
            out[used++] = (char)(0x80 | (c & 0x3f));
        } else {
            out[used++] = (char)(0xf0 | c >> 18);
            out[used++] = (char)(0x80 | (c >> 12 & 0x3f));
            out[used++] = (char)(0x80 | (c >> 6 & 0x3f));
            out[used++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return used;
}

int json_equals(const struct json_token *token, const char *text)
{
    size_t length = strlen(text);
    char decoded[256];
    if (!token->escaped)
        return token->length == length && memcmp(token->text, text, length) == 0;
    if (token->length > sizeof decoded) /* an escape makes six bytes of one at most */
        return 0;
    return json_decode(token, decoded) == length && memcmp(decoded, text, length) == 0;
}

/* ---- numbers and words ---- */

static moco_status number(struct json *j, struct json_token *t, struct err *err)
{
    size_t end = j->next;
    while (end < j->size && j->bytes[end] != 0 && strchr("+-.0123456789eE", j->bytes[end]) != NULL)
        end++;
    t->text = j->bytes + j->next;
    t->length = end - j->next;
    if (num_parse_int(t->text, t->length, &t->integer) && !(t->integer == 0 && t->length > 1)) {
        t->kind = JSON_INT;
        t->real = (double)t->integer;
    } else if (num_parse_double(t->text, t->length, &t->real)) {
        t->kind = JSON_REAL;
    } else {
        return bad(j, j->next, "not a number that JSON knows, or out of range", err);
    }
    j->next = end;
    return MOCO_OK;
}

static moco_status word(struct json *j, struct json_token *t, struct err *err)
{
    static const struct {
        const char *text;
        enum json_kind kind;
    } words[] = {{"true", JSON_TRUE}, {"false", JSON_FALSE}, {"null", JSON_NULL}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i].text);
        if (j->size - j->next >= length && memcmp(j->bytes + j->next, words[i].text, length) == 0) {
            t->kind = words[i].kind;
            t->text = j->bytes + j->next;
            t->length = length;
            j->next += length;
            return MOCO_OK;
        }
    }
    return bad(j, j->next, "a value was expected", err);
}

/* ---- structure ---- */

static void value_done(struct json *j)
{
    j->expect = j->depth > 0 ? COMMA_OR_CLOSE : END;
}

static moco_status open_container(struct json *j, struct json_token *t, int array, struct err *err)
{
    if (j->depth == JSON_DEPTH_MAX)
        return bad(j, j->next, "nested too deeply", err);
    uint64_t bit = UINT64_C(1) << j->depth++;
    j->arrays = array ? j->arrays | bit : j->arrays & ~bit;
    t->kind = array ? JSON_ARRAY : JSON_OBJECT;
    j->next++;
    j->expect = array ? FIRST_ELEMENT : FIRST_KEY;
    return MOCO_OK;
}

static void close_container(struct json *j, struct json_token *t, int array)
{
    t->kind = array ? JSON_ARRAY_END : JSON_OBJECT_END;
    j->next++;
    j->depth--;
    value_done(j);
}

static moco_status key(struct json *j, struct json_token *t, struct err *err)
{
    if (here(j) != '"')
        return bad(j, j->next, "a key in quotes was expected", err);
    t->kind = JSON_KEY;
    TRY(string(j, t, err));
    skip_blanks(j);
    if (here(j) != ':')
        return bad(j, j->next, "a colon was expected after the key", err);
    j->next++;
    j->expect = VALUE;
    return MOCO_OK;
}

static moco_status value(struct json *j, struct json_token *t, struct err *err)
{
    int c = here(j);
    if (c == '{' || c == '[')
        return open_container(j, t, c == '[', err);
    if (c == '"') {
        t->kind = JSON_STRING;
        TRY(string(j, t, err));
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        TRY(number(j, t, err));
    } else {
        TRY(word(j, t, err));
    }
    value_done(j);
    return MOCO_OK;
}

moco_status json_next(struct json *j, struct json_token *token, struct err *err)
{
    skip_blanks(j);
    int c = here(j), array = j->depth > 0 && (j->arrays >> (j->depth - 1) & 1) != 0;
    *token = (struct json_token){.at = j->origin + j->next, .text = j->bytes + j->next, .length = 1};
    switch (j->expect) {
    case VALUE:
        return value(j, token, err);
    case FIRST_KEY:
    case FIRST_ELEMENT:
        if (c != (array ? ']' : '}'))
            return array ? value(j, token, err) : key(j, token, err);
        close_container(j, token, array);
        return MOCO_OK;
    case COMMA_OR_CLOSE:
        if (c == (array ? ']' : '}')) {
            close_container(j, token, array);
            return MOCO_OK;
        }
        if (c != ',')
            return bad(j, j->next, array ? "a comma or ] was expected" : "a comma or } was expected", err);
        j->next++;
        skip_blanks(j);
        token->at = j->origin + j->next;
        token->text = j->bytes + j->next;
        return array ? value(j, token, err) : key(j, token, err);
    case END:
        if (c != -1)
            return bad(j, j->next, "something follows the value", err);
        token->kind = JSON_END;
        token->length = 0;
        j->expect = NOTHING;
        return MOCO_OK;
    default:
        return err_set(err, MOCO_ESTATE, "JSON: a token was asked for after the end or an error");
    }
}

moco_status json_expect(struct json *j, enum json_kind kind, const char *what, struct json_token *token,
                        struct err *err)
{
    TRY(json_next(j, token, err));
    if (token->kind != kind)
        return err_set(err, MOCO_EFORMAT, "JSON at byte %zu: %s must be %s but is %s", token->at, what,
                       json_kind_name(kind), json_kind_name(token->kind));
    return MOCO_OK;
}

moco_status json_skip(struct json *j, const struct json_token *token, struct err *err)
{
    struct json_token t;
    if (token->kind != JSON_OBJECT && token->kind != JSON_ARRAY)
        return MOCO_OK;
    int outside = j->depth - 1;
    do {
        TRY(json_next(j, &t, err));
    } while (j->depth > outside);
    return MOCO_OK;
}
