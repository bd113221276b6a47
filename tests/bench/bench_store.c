/* bench_store - the recorded requests of an aggregator (RESP, as it sent them) into a store again,
 * as fast as the store takes them: a plain loop on a blocking hiredis connection.
 *
 *   blocks  its transactions alone, MULTI to EXEC, as they were
 *   all     everything it sent: what it looks up before each of them, too
 *
 * DEPTH transactions are on their way at a time, so the store never waits for this side. Prints the
 * time from the first byte to the last answer, in ns, and how many transactions and commands. */
#include "log.h"
#include "measure.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define DEPTH 4

/* Requests up to and with an EXEC. */
typedef struct {
    size_t start;
    size_t end;
    size_t commands;
} unit_t;

typedef struct {
    char *text;
    size_t size;
    unit_t *units;
    size_t count;
    size_t commands;
    size_t transactions;
} record_t;

static void read_file(record_t *record, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) == -1)
        fatal("%s", path);
    record->size = (size_t)ftell(file);
    record->text = xmalloc(record->size + 1);
    record->text[record->size] = '\0';
    rewind(file);
    if (fread(record->text, 1, record->size, file) != record->size)
        fatal("%s", path);
    fclose(file);
}

/* The number behind a '*' or '$', and where the line behind it begins. */
static size_t read_number(const record_t *record, size_t *at, char mark)
{
    char *end;
    if (*at >= record->size || record->text[*at] != mark)
        fatalx("record: no request at byte %zu", *at);
    unsigned long number = strtoul(record->text + *at + 1, &end, 10);
    *at = (size_t)(end - record->text) + 2;
    return number;
}

/* Pass over one command. True if it is the one of that name. */
static bool skip_command(const record_t *record, size_t *at, const char *name)
{
    size_t arguments = read_number(record, at, '*');
    bool is_it = false;
    for (size_t i = 0; i < arguments; i++) {
        size_t size = read_number(record, at, '$');
        if (i == 0)
            is_it = size == strlen(name) && strncasecmp(record->text + *at, name, size) == 0;
        *at += size + 2;
    }
    return is_it;
}

static void add_unit(record_t *record, unit_t unit)
{
    record->units = xrealloc(record->units, (record->count + 1) * sizeof *record->units);
    record->units[record->count++] = unit;
    record->commands += unit.commands;
}

/* Cut the record behind each EXEC; with blocks_only, leave out what stands before its MULTI. */
static void cut(record_t *record, bool blocks_only)
{
    unit_t unit = {0};
    for (size_t at = 0; at < record->size;) {
        size_t start = at;
        size_t peek = at;
        if (blocks_only && skip_command(record, &peek, "MULTI"))
            unit = (unit_t){.start = start};
        bool ends = skip_command(record, &at, "EXEC");
        unit.commands++;
        unit.end = at;
        if (!ends)
            continue;
        add_unit(record, unit);
        record->transactions++;
        unit = (unit_t){.start = at};
    }
    if (!blocks_only && unit.commands > 0)
        add_unit(record, unit);
}

static void send_unit(const record_t *record, const unit_t *unit, redisContext *store)
{
    for (size_t at = unit->start; at < unit->end;) {
        ssize_t sent = write(store->fd, record->text + at, unit->end - at);
        if (sent == -1)
            fatal("store");
        at += (size_t)sent;
    }
}

static void check_reply(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        fatalx("store: %s", reply->str);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        check_reply(reply->element[i]);
}

static void take_replies(const unit_t *unit, redisContext *store)
{
    for (size_t i = 0; i < unit->commands; i++) {
        void *reply = NULL;
        if (redisGetReply(store, &reply) != REDIS_OK)
            fatalx("store: %s", store->errstr);
        check_reply(reply);
        freeReplyObject(reply);
    }
}

static int64_t replay(const record_t *record, redisContext *store)
{
    size_t answered = 0;
    int64_t start = now_ns();
    for (size_t sent = 0; sent < record->count; sent++) {
        if (sent - answered == DEPTH)
            take_replies(&record->units[answered++], store);
        send_unit(record, &record->units[sent], store);
    }
    while (answered < record->count)
        take_replies(&record->units[answered++], store);
    return now_ns() - start;
}

int main(int argc, char **argv)
{
    log_open("bench_store");
    if (argc != 4 || (strcmp(argv[1], "blocks") != 0 && strcmp(argv[1], "all") != 0)) {
        fputs("usage: bench_store blocks|all SOCKET FILE\n", stderr);
        return 2;
    }
    record_t record = {0};
    read_file(&record, argv[3]);
    cut(&record, strcmp(argv[1], "blocks") == 0);
    redisContext *store = redisConnectUnix(argv[2]);
    if (store == NULL || store->err != 0)
        fatalx("%s: %s", argv[2], store != NULL ? store->errstr : "no context");
    value_print("ns", (double)replay(&record, store));
    value_print("transactions", (double)record.transactions);
    value_print("commands", (double)record.commands);
    redisFree(store);
    free(record.units);
    free(record.text);
    return 0;
}
