#include "desk.h"

#include "attention.h"
#include "by_hand.h"
#include "chronicle_answer.h"
#include "jail_health.h"
#include "name_orders.h"
#include "orders.h"
#include "origin_orders.h"
#include "questions.h"

#include <inttypes.h>
#include <string.h>

static json_t *carry_out_on_origin(const desk_t *self, const char *line)
{
    const origin_orders_parts_t parts = {self->index, self->memo, self->admission, self->standing};
    return origin_orders_carry_out(&parts, line);
}

static json_t *tell_events(const desk_t *self, const char *line)
{
    const chronicle_parts_t parts = {self->chronicle, self->index, self->judge, self->run};
    return chronicle_answer(&parts, line);
}

json_t *desk_command(const desk_t *self, const char *line)
{
    const questions_parts_t parts = {self->service, self->index, self->graces,
                                     self->judge,   self->memo,  self->watchers};
    json_t *answer = tell_events(self, line);
    if (answer != NULL)
        return answer;
    standing_look_at_clock(self->standing);
    answer = questions_answer(&parts, line);
    if (answer != NULL && strcmp(line, "allowances") == 0)
        json_object_set_new(answer, "names", allowed_names_json(self->allowed_names));
    if (answer == NULL)
        answer = name_orders_carry_out(self->allowed_names, line);
    if (answer == NULL)
        answer = orders_carry_out(&parts, self->entries, line);
    if (answer == NULL)
        answer = carry_out_on_origin(self, line);
    if (answer == NULL)
        answer = by_hand_carry_out(&parts, self->entries, line);
    return answer;
}

/* ---- status ---- */

static json_t *shared_log(const desk_t *self, bool failing)
{
    const shared_log_counts_t *counts = sink_log_counts(self->sink);
    return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I}", "path",
                     service_settings(self->service)->shared.log, "writable", !failing, "fail2ban",
                     sink_fail2ban(self->sink), "renamed", (json_int_t)counts->renamed, "truncated",
                     (json_int_t)counts->truncated, "lines_again", (json_int_t)counts->lines_again);
}

/* Bans of each origin that wait for its rate. */
static json_t *waiting_of_origins(const desk_t *self, json_t *status)
{
    json_t *all = json_object();
    for (size_t i = 0; i < index_origin_count(self->index); i++) {
        const index_origin_t *origin = index_origin_at(self->index, (uint16_t)i);
        if (origin->waiting == 0)
            continue;
        const char *name = judge_name(self->judge, &origin->key);
        json_object_set_new(all, name, json_integer(origin->waiting));
        attention_add(
            status,
            "%s bans faster than guard / rate: %" PRIu32
            " of its bans wait. Look at them (banmesh bans --origin %s); banmesh admit %s "
            "lets them in at once",
            name, origin->waiting, name, name);
    }
    return all;
}

static void add_name(void *arg, const fault_t *fault)
{
    attention_add(arg, "allowed by name: %s", fault->text);
}

/* What this host's own jails hear of allowances. */
static void local_status(const desk_t *self, json_t *status)
{
    allowed_names_complain(self->allowed_names, add_name, status);
    if (allowed_file_fault(self->allowed_file) != NULL)
        attention_add(status, "%s", allowed_file_fault(self->allowed_file)->text);
    json_object_set_new(status, "local_allow",
                        json_pack("{s:I, s:I, s:I}", "in_file",
                                  (json_int_t)allowed_file_count(self->allowed_file), "lifted",
                                  (json_int_t)local_lifts_done(self->local_lifts), "waiting",
                                  (json_int_t)local_lifts_waiting(self->local_lifts)));
}

static void jail_status(const desk_t *self, bool failing, json_t *status)
{
    const jail_health_t health = {
        .settings = service_settings(self->service),
        .sink = self->sink,
        .jailer = self->jailer,
        .watchers = self->watchers,
        .uptime_ms = mono_since_ms(self->started_at),
    };
    jail_health_status(&health, status);
    if (failing)
        attention_first(status, "%s cannot be written: bans of peers wait",
                        health.settings->shared.log);
}

void desk_status(const desk_t *self, bool failing, json_t *status)
{
    local_status(self, status);
    judge_attention(self->judge, status);
    if (service_settings(self->service)->guard.dry_run != 0)
        attention_add(status,
                      "a dry run (guard / dry-run): bans of peers are decided, and nothing is "
                      "told to the shared jail");
    jail_status(self, failing, status);
    standing_status(self->standing, status);
    entries_status(self->entries, json_object_get(status, "outcomes"));
    json_object_set_new(status, "pace", json_integer(service_settings(self->service)->shared.pace));
    json_object_set_new(status, "over_rate", waiting_of_origins(self, status));
    json_object_set_new(status, "census", census_status(self->census));
    json_object_set_new(status, "fail2ban_jails", watchers_status(self->watchers));
    json_object_set_new(status, "shared_log", shared_log(self, failing));
}
