/* SPDX-License-Identifier: MIT
 *
 * human: see human.h. */
#include "human.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "utf8.h"

#define TEXT_SIZE 48

static char *next_text(void)
{
    static char text[8][TEXT_SIZE];
    static unsigned next;
    return text[next++ % 8];
}

const char *human_bytes(int64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    char *text = next_text();
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(text, TEXT_SIZE, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

const char *human_seconds(double seconds)
{
    char *text = next_text();
    double whole = seconds < 1e15 ? seconds : 1e15;
    long long s = (long long)(whole + 0.5);
    if (seconds > 0 && seconds < 0.0995)
        snprintf(text, TEXT_SIZE, seconds < 0.00095 ? "%.1f ms" : "%.0f ms", 1e3 * seconds);
    else if (s < 60)
        snprintf(text, TEXT_SIZE, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    else if (s < 3600)
        snprintf(text, TEXT_SIZE, "%lld min %02lld s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, TEXT_SIZE, "%lld h %02lld min", s / 3600, s % 3600 / 60);
    else
        snprintf(text, TEXT_SIZE, "%lld d %lld h", s / 86400, s % 86400 / 3600);
    return text;
}

const char *human_count(int64_t count)
{
    char digits[24], *text = next_text();
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count), at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

void human_line(const char *text, char *out, size_t size)
{
    utf8_printable(out, size, text);
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
