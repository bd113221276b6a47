/* schema - the tables of the two state databases. docs/architecture.md explains them to those who
 * open the files with sqlite3. A change of shape raises the version and brings its migration. */
#ifndef BANMESH_FEED_SCHEMA_H
#define BANMESH_FEED_SCHEMA_H

#define SCHEMA_VERSION 3

/* batch.id is feed.number << 40 | seq: one B-tree, ascending within a feed, the feed's rows
 * together. sum: see sum.h; whoever writes a row writes its sum, or the row counts as damaged.
 * `batches` shows batch in columns. */
#define SCHEMA_FEEDS                                                                               \
    "CREATE TABLE feed (number INTEGER PRIMARY KEY AUTOINCREMENT, origin BLOB NOT NULL, "          \
    " epoch INTEGER NOT NULL, channel INTEGER NOT NULL, floor INTEGER NOT NULL DEFAULT 1, "        \
    " head_seq INTEGER NOT NULL DEFAULT 0, epoch_floor INTEGER NOT NULL DEFAULT 0, head BLOB, "    \
    " sum INTEGER, "                                                                               \
    " UNIQUE (origin, epoch, channel));"                                                           \
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, envelope BLOB NOT NULL, sum INTEGER);"            \
    "CREATE VIEW batches AS SELECT hex (origin) AS origin, epoch, channel, "                       \
    " batch.id & 1099511627775 AS seq, length (envelope) AS bytes, envelope "                      \
    " FROM batch JOIN feed ON feed.number = batch.id >> 40"

/* attempt: what the intake has taken in already, by (jail, address, time). Its first event's
 * position is its identity; at_*, if set, is where a prolongation or a copy carries it now. */
#define SCHEMA_OWN                                                                                 \
    SCHEMA_FEEDS                                                                                   \
    ";CREATE TABLE attempt (key BLOB PRIMARY KEY, epoch INTEGER NOT NULL, "                        \
    " channel INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, "                      \
    " duration_s INTEGER NOT NULL, at_epoch INTEGER, at_seq INTEGER, at_idx INTEGER)"              \
    " WITHOUT ROWID"

/* What an origin signed twice. */
#define SCHEMA_FORK                                                                                \
    "CREATE TABLE fork (origin BLOB NOT NULL, epoch INTEGER NOT NULL, channel INTEGER NOT NULL, "  \
    " seq INTEGER NOT NULL, here BLOB NOT NULL, there BLOB NOT NULL, found_ms INTEGER NOT NULL, "  \
    " reset INTEGER NOT NULL, PRIMARY KEY (origin, epoch, channel)) WITHOUT ROWID"

/* held: what the consumer applied, and until when fail2ban holds it. pending: accepted, but due
 * later; beside it, pending.c makes `backlog`. All are written with the cursor. */
#define SCHEMA_PEERS                                                                               \
    SCHEMA_FEEDS                                                                                   \
    ";CREATE TABLE cursor (consumer TEXT NOT NULL, feed INTEGER NOT NULL, seq INTEGER NOT NULL, "  \
    " sum INTEGER, PRIMARY KEY (consumer, feed)) WITHOUT ROWID;"                                   \
    "CREATE TABLE held (id INTEGER PRIMARY KEY, nid INTEGER NOT NULL, address BLOB NOT NULL, "     \
    " prefix INTEGER NOT NULL, until_ms INTEGER NOT NULL);"                                        \
    "CREATE TABLE pending (nid INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, "                     \
    " origin BLOB NOT NULL, address BLOB NOT NULL, prefix INTEGER NOT NULL, "                      \
    " jail TEXT NOT NULL, time_ms INTEGER NOT NULL, duration_s INTEGER NOT NULL);"                 \
    "CREATE INDEX pending_due ON pending (due_ms);" SCHEMA_FORK

#endif
