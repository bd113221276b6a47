#include "state.h"

#include "aside.h"
#include "ballast.h"
#include "check.h"
#include "clock.h"
#include "cursor_rows.h"
#include "rows.h"
#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTES_MAX   8
#define FILL_MS     60000
#define TRIES_MAX   3                  /* for room, and for a damaged file */
#define CHECK_BYTES (64 * 1024 * 1024) /* an own.db up to this size is looked at if not closed */
#define WRECK       ".wreck"
#define SAME        "SELECT 1" /* a step that changes nothing */

#define SHRINK_PAGES   256 /* in one commit: 1 MiB */
#define SHRINK_STEPS   8   /* a second, with the disk full */
#define FREE_PAGES_MIN 4096

struct state {
    char *directory;
    int lock_fd;
    db_t *own;
    db_t *peers;
    ballast_t *ballast;
    bool full;
    bool said_full;
    mono_t filled_at;
    fault_t notes[NOTES_MAX];
    size_t note_count;
    char wreck[PATH_MAX];
};

typedef struct {
    char path[PATH_MAX];
    db_schema_t schema;
    bool durable; /* own.db: nobody else need have what is in it */
} file_t;

static void note(state_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(state_t *self, const char *format, ...)
{
    va_list args;
    if (self->note_count == NOTES_MAX)
        return;
    va_start(args, format);
    vsnprintf(self->notes[self->note_count++].text, FAULT_TEXT_MAX, format, args);
    va_end(args);
}

/* Two daemons on one state directory would each number batches: a fork. */
static int lock_directory(state_t *self, fault_t *fault)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", self->directory);
    self->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->lock_fd == -1)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    if (flock(self->lock_fd, LOCK_EX | LOCK_NB) == -1)
        return fault_set(fault,
                         "%s: another process uses this state directory; is it running already?",
                         self->directory);
    return 0;
}

/* ---- one database ---- */

static int64_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

/* What SQLite would not tell of: it removes the log of an empty database, and passes over all that
 * stands behind a broken frame; nor can it know of a file that was put back alone. */
static int look_before(state_t *self, const file_t *file, fault_t *fault)
{
    int64_t size = size_of(file->path);
    uint64_t missing = size > 0 ? witness_missing(file->path) : 0;
    errno = EBADMSG;
    if (missing > 0)
        return fault_set(fault,
                         "%s: %" PRIu64 " batches or more that were on disk are not in it: a part "
                         "of its write-ahead log is damaged, or it is an older copy",
                         file->path, missing);
    if (size <= 0 && db_log_bytes(file->path) > 0)
        return fault_set(fault, "%s: is %s, but its write-ahead log is there", file->path,
                         size == 0 ? "empty" : "missing");
    if (size == 0 || (size == -1 && witness_is_there(file->path)))
        note(self, "%s was %s and is made anew: what was in it comes back from peers", file->path,
             size == 0 ? "empty" : "missing");
    if (size <= 0)
        witness_forget(file->path);
    return 0;
}

static int look_at_whole(state_t *self, const file_t *file, db_t *db, fault_t *fault)
{
    int rc = check_whole(db, !file->durable, fault);
    if (rc == 1)
        note(self, "%s: dropped, with what stands behind it; peers have them", fault->text);
    if (rc != -1)
        db_unmark(file->path);
    return rc == -1 ? -1 : 0;
}

static db_t *open_once(state_t *self, const file_t *file, fault_t *fault)
{
    if (look_before(self, file, fault) == -1)
        return NULL;
    bool was_closed = db_log_bytes(file->path) == 0;
    bool is_small = size_of(file->path) <= CHECK_BYTES;
    bool is_doubted = db_is_marked(file->path) || (file->durable && !was_closed && is_small);
    db_t *db = db_open(file->path, &file->schema, file->durable, fault);
    if (db != NULL && is_doubted && look_at_whole(self, file, db, fault) == -1) {
        int saved = errno;
        db_destroy(&db);
        errno = saved;
    }
    return db;
}

/* own.db becomes the wreck. If there is one already, taking it over was interrupted, and what is
 * damaged now was begun from it: nothing is in it that is not in the wreck. Unless it was the
 * renaming that was interrupted, between the file and its log. */
static bool becomes_wreck(const state_t *self, const file_t *file)
{
    bool is_log_alone = size_of(file->path) < 0 && db_log_bytes(self->wreck) == 0;
    return file->durable && (size_of(self->wreck) < 0 || is_log_alone);
}

static int set_aside(state_t *self, const file_t *file, const fault_t *why, fault_t *fault)
{
    char name[PATH_MAX];
    if (becomes_wreck(self, file) ? aside_move(file->path, self->wreck, fault) == -1
                                  : aside_keep(file->path, file->path, name, fault) == -1)
        return -1;
    db_unmark(file->path);
    witness_forget(file->path);
    if (file->durable)
        note(self, "damaged: %s; begun anew with what can still be read of it", why->text);
    else
        note(self,
             "damaged: %s; set aside as %s; begun anew, peers have what was in it, and lines "
             "of bans that still run are written once more",
             why->text, name);
    return 0;
}

static db_t *open_db(state_t *self, const file_t *file, fault_t *fault)
{
    fault_t why;
    int error = 0;
    for (int i = 0; i < TRIES_MAX; i++) {
        db_t *db = open_once(self, file, &why);
        if (db != NULL)
            return db;
        error = errno;
        if (error == EBADMSG && set_aside(self, file, &why, fault) == -1) {
            errno = EBADMSG;
            return NULL;
        }
        self->full = self->full || error == ENOSPC;
        if (error != EBADMSG && !(error == ENOSPC && ballast_drop_rest(self->ballast)))
            break;
    }
    fault_set(fault, "%s", why.text);
    if (size_of(file->path) == 0 && db_log_bytes(file->path) == 0)
        unlink(file->path); /* it was to be made now: no trace of one that was lost */
    errno = error;
    return NULL;
}

/* ---- both ---- */

/* One SQL text of ours and of what rooms above have; for free (). */
static char *join_tables(const char *first, const char *second, const char *const *more)
{
    char *all = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&all, &size);
    if (out == NULL)
        fatal("open_memstream");
    fprintf(out, "%s;%s", first, second);
    for (size_t i = 0; i < STATE_TABLES_MAX && more[i] != NULL; i++)
        fprintf(out, ";%s", more[i]);
    fclose(out);
    return all;
}

static int open_both(state_t *self, const state_tables_t *more, fault_t *fault)
{
    char *own_tables = join_tables(rows_tables, "", more->own);
    char *peers_tables = join_tables(rows_tables, cursor_rows_table, more->peers);
    const char *const own_steps[STATE_VERSION] = {
        [4] = more->own_5 != NULL ? more->own_5 : SAME,
        [5] = more->own_6 != NULL ? more->own_6 : SAME,
        [6] = more->own_7 != NULL ? more->own_7 : SAME,
    };
    const char *const peers_steps[STATE_VERSION] = {
        [4] = SAME,
        [5] = more->peers_6 != NULL ? more->peers_6 : SAME,
        [6] = more->peers_7 != NULL ? more->peers_7 : SAME,
    };
    file_t own = {.schema = {STATE_VERSION, own_tables, own_steps}, .durable = true};
    file_t peers = {.schema = {STATE_VERSION, peers_tables, peers_steps}};
    snprintf(own.path, sizeof own.path, "%s/own.db", self->directory);
    snprintf(peers.path, sizeof peers.path, "%s/peers.db", self->directory);
    snprintf(self->wreck, sizeof self->wreck, "%s/own.db" WRECK, self->directory);
    self->own = open_db(self, &own, fault);
    if (self->own != NULL)
        self->peers = open_db(self, &peers, fault);
    int saved = errno;
    free(own_tables);
    free(peers_tables);
    errno = saved;
    return self->peers != NULL ? 0 : -1;
}

static void be_sparing(state_t *self, bool sparing)
{
    db_be_sparing(self->own, sparing);
    db_be_sparing(self->peers, sparing);
}

static void fill(state_t *self)
{
    be_sparing(self, !ballast_fill(self->ballast));
    self->filled_at = mono_now();
}

static void freeze(state_t *self, bool frozen)
{
    db_freeze(self->own, frozen);
    db_freeze(self->peers, frozen);
}

state_t *state_open(const char *directory, const state_tables_t *more, fault_t *fault)
{
    state_t *self = xcalloc(1, sizeof *self);
    self->directory = xstrdup(directory);
    self->ballast = ballast_new(directory);
    if (lock_directory(self, fault) == -1 || open_both(self, more, fault) == -1) {
        int saved = errno;
        state_close(&self);
        errno = saved;
        return NULL;
    }
    if (self->full)
        freeze(self, true);
    else
        fill(self);
    return self;
}

void state_close(state_t **self_p)
{
    state_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    db_destroy(&self->own);
    db_destroy(&self->peers);
    ballast_destroy(&self->ballast);
    if (self->lock_fd != -1)
        close(self->lock_fd);
    free(self->directory);
    free(self);
}

db_t *state_own_db(state_t *self)
{
    return self->own;
}

db_t *state_peers_db(state_t *self)
{
    return self->peers;
}

const char *state_note(const state_t *self, size_t index)
{
    return index < self->note_count ? self->notes[index].text : NULL;
}

const char *state_wreck(const state_t *self)
{
    return size_of(self->wreck) >= 0 || db_log_bytes(self->wreck) > 0 ? self->wreck : NULL;
}

int state_salvaged(state_t *self, char name[static PATH_MAX], fault_t *fault)
{
    return aside_keep(self->wreck, db_path(self->own), name, fault);
}

const char *state_failure(const state_t *self)
{
    if (db_failure(self->own) != NULL)
        return db_failure(self->own);
    return db_failure(self->peers) != NULL ? db_failure(self->peers) : "the state directory";
}

/* ---- room ---- */

bool state_is_full(const state_t *self)
{
    return self->full;
}

static bool has_failed(int rc)
{
    return rc == -1 && (errno == EIO || errno == EBADMSG);
}

/* Give back what a database has no use for: what stands in its write-ahead log is in the file
 * afterwards, and pages of deleted rows are cut off. False if the disk failed, which is something
 * else than being full. */
static bool give_back(db_t *db)
{
    int64_t all;
    if (has_failed(db_checkpoint(db)))
        return false;
    for (int i = 0; i < SHRINK_STEPS && db_free_pages(db, &all) > 0; i++)
        if (has_failed(db_shrink(db, SHRINK_PAGES)) || has_failed(db_checkpoint(db)))
            return false;
    return true;
}

/* With room to spare free pages wait for new rows, unless there are too many of them. */
static bool shrink_slowly(db_t *db)
{
    int64_t all;
    int64_t free_pages = db_free_pages(db, &all);
    return free_pages < FREE_PAGES_MIN || free_pages < all / 4 ||
           !has_failed(db_shrink(db, SHRINK_PAGES));
}

static bool ran_out(state_t *self)
{
    bool own = db_take_full(self->own);
    bool peers = db_take_full(self->peers);
    return own || peers;
}

static state_change_t become_full(state_t *self)
{
    self->full = self->said_full = true;
    freeze(self, true);
    be_sparing(self, true);
    ballast_drop(self->ballast);
    return give_back(self->own) && give_back(self->peers) ? STATE_BECAME_FULL : STATE_FAILED;
}

state_change_t state_tend(state_t *self)
{
    if (!self->full && !ran_out(self)) {
        if (mono_since_ms(self->filled_at) >= FILL_MS)
            fill(self);
        return shrink_slowly(self->own) && shrink_slowly(self->peers) ? STATE_AS_BEFORE
                                                                      : STATE_FAILED;
    }
    if (!self->said_full)
        return become_full(self);
    if (!give_back(self->own) || !give_back(self->peers))
        return STATE_FAILED;
    if (!ballast_regain(self->ballast))
        return STATE_AS_BEFORE;
    ran_out(self);
    freeze(self, false);
    self->filled_at = mono_now();
    self->full = self->said_full = false;
    return STATE_HAS_ROOM;
}
