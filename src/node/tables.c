#include "tables.h"

#include "allowed_rows.h"
#include "attempts.h"
#include "forks.h"
#include "held.h"
#include "jails.h"
#include "memo.h"

const state_tables_t tables_of_node = {
    .own = {attempts_table, jails_table, allowed_rows_table},
    .peers = {forks_table, held_tables, memo_tables},
    .own_5 = jails_table,
    .own_6 = attempts_6,
    .peers_6 = "DROP TABLE IF EXISTS pending; DROP TABLE IF EXISTS backlog",
    .own_7 = allowed_rows_table,
    .peers_7 = MEMO_TABLES ";" HELD_GONE_TABLES,
    .rekeyed = attempts_rekeyed,
};
