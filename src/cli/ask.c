#include "ask.h"

#include "admin.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPAN_MAX_S (100LL * 365 * 24 * 3600)

typedef struct {
    const char *name;
    int64_t seconds;
} unit_t;

/* The largest first. */
static const unit_t units[] = {
    {"y", 365 * 24 * 3600}, {"d", 24 * 3600}, {"h", 3600}, {"min", 60}, {"s", 1},
};

#define UNIT_COUNT (sizeof units / sizeof units[0])

json_t *ask_socket(const char *path, const char *question, fault_t *fault)
{
    json_t *answer = admin_ask(path, question, fault);
    const char *error = json_string_value(json_object_get(answer, "error"));
    const char *value = json_string_value(json_object_get(answer, "value"));
    if (error == NULL)
        return answer;
    if (value != NULL)
        fault_set(fault, "\"%s\": %s", value, error);
    else
        fault_set(fault, "%s", error);
    json_decref(answer);
    return NULL;
}

json_t *ask_node(const command_options_t *options, const char *question)
{
    fault_t fault;
    settings_t *settings = settings_load(options->config, &fault);
    json_t *answer = settings != NULL ? ask_socket(settings->admin.socket, question, &fault) : NULL;
    settings_destroy(&settings);
    if (answer == NULL)
        log_errorx("%s", fault.text);
    return answer;
}

json_t *ask_with(const command_options_t *options, const char *word, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    char *question = NULL;
    json_decref(object);
    if (text == NULL || asprintf(&question, "%s %s", word, text) == -1)
        fatalx("an argument is not UTF-8");
    json_t *answer = ask_node(options, question);
    free(text);
    free(question);
    return answer;
}

void ask_dump(const json_t *answer)
{
    json_dumpf(answer, stdout, JSON_INDENT(2));
    putchar('\n');
}

const char *ask_text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL ? value : "?";
}

json_int_t ask_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

const char *ask_count(json_int_t count, const char *one, const char *many,
                      char out[static ASK_COUNT_MAX])
{
    char number[PROGRESS_COUNT_MAX];
    snprintf(out, ASK_COUNT_MAX, "%s %s", progress_count((uint64_t)(count > 0 ? count : 0), number),
             count == 1 ? one : many);
    return out;
}

const char *ask_span(int64_t seconds, char out[static ASK_TIME_MAX])
{
    size_t i = 0;
    if (seconds < 0) {
        snprintf(out, ASK_TIME_MAX, "ever");
        return out;
    }
    while (i + 1 < UNIT_COUNT && seconds < units[i].seconds)
        i++;
    int64_t rest = seconds % units[i].seconds;
    int used =
        snprintf(out, ASK_TIME_MAX, "%" PRId64 " %s", seconds / units[i].seconds, units[i].name);
    if (i + 1 < UNIT_COUNT && rest >= units[i + 1].seconds)
        snprintf(out + used, ASK_TIME_MAX - (size_t)used, " %" PRId64 " %s",
                 rest / units[i + 1].seconds, units[i + 1].name);
    return out;
}

const char *ask_ago(int64_t seconds, char out[static ASK_TIME_MAX])
{
    char span[ASK_TIME_MAX];
    if (seconds < 0)
        snprintf(out, ASK_TIME_MAX, "never");
    else if (seconds < 2)
        snprintf(out, ASK_TIME_MAX, "just now");
    else
        snprintf(out, ASK_TIME_MAX, "%.*s ago", ASK_TIME_MAX - 5, ask_span(seconds, span));
    return out;
}

const char *ask_clock(int64_t seconds, char out[static ASK_TIME_MAX])
{
    struct tm tm;
    struct tm today;
    time_t when = (time_t)seconds;
    time_t now = time(NULL);
    if (localtime_r(&when, &tm) == NULL || localtime_r(&now, &today) == NULL ||
        tm.tm_year != today.tm_year || tm.tm_yday != today.tm_yday)
        return ask_time(seconds, out);
    strftime(out, ASK_TIME_MAX, "%H:%M:%S", &tm);
    return out;
}

const char *ask_time(int64_t seconds, char out[static ASK_TIME_MAX])
{
    struct tm tm;
    time_t when = (time_t)seconds;
    if (localtime_r(&when, &tm) == NULL ||
        strftime(out, ASK_TIME_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, ASK_TIME_MAX, "%" PRId64, seconds);
    return out;
}

bool ask_parse_span(const char *text, int64_t *seconds)
{
    static const unit_t others[] = {{"", 1}, {"m", 60}, {"w", 7 * 24 * 3600}};
    char *end;
    long long number = strtoll(text, &end, 10);
    int64_t unit_s = 0;
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (strcmp(end, units[i].name) == 0)
            unit_s = units[i].seconds;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(end, others[i].name) == 0)
            unit_s = others[i].seconds;
    if (end == text || unit_s == 0 || number < 1 || number > SPAN_MAX_S / unit_s)
        return false;
    *seconds = number * unit_s;
    return true;
}
