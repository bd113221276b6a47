#include "tables.h"

#include "attempts.h"
#include "forks.h"
#include "held.h"
#include "jails.h"
#include "memo.h"

const state_tables_t tables_of_node = {
    .own = {attempts_table, jails_table},
    .peers = {forks_table, held_tables, memo_tables},
    .own_5 = jails_table,
    .own_6 = attempts_6,
    .peers_6 = "DROP TABLE IF EXISTS pending; DROP TABLE IF EXISTS backlog",
    .peers_7 = memo_tables,
    .rekeyed = attempts_rekeyed,
};
