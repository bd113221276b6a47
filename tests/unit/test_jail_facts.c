/* jail_facts: which jails watch fail2ban's own log, by what they read. */
#include "jail_facts.h"
#include "support.h"

#define LOG "/var/log/fail2ban.log"

/* A jail that reads up to two things. */
static bool watches(const char *target, helper_source_t kind, const char *one, const char *other)
{
    jail_facts_t facts = {.name = "repeatoffender"};
    jail_facts_add(&facts, target, HELPER_NOTHING, "");
    jail_facts_add(&facts, target, kind, one);
    if (other != NULL)
        jail_facts_add(&facts, target, kind, other);
    jail_facts_add(&facts, target, HELPER_ACTION, LOG);
    return jail_facts_watches(&facts);
}

TEST(a_jail_that_reads_nothing_but_fail2bans_log_watches)
{
    assert_true(watches(LOG, HELPER_LOG, LOG, NULL));
    assert_true(watches(LOG, HELPER_LOG, LOG, LOG ".1"));
    assert_true(watches(LOG, HELPER_LOG, LOG, LOG ".1.gz"));
}

TEST(a_jail_that_reads_anything_else_does_not)
{
    assert_false(watches(LOG, HELPER_LOG, "/var/log/auth.log", NULL));
    assert_false(watches(LOG, HELPER_LOG, LOG, "/var/log/auth.log"));
    assert_false(watches(LOG, HELPER_LOG, "/var/log/auth.log", LOG));
    assert_false(watches(LOG, HELPER_LOG, LOG "2", NULL));
    assert_false(watches(LOG, HELPER_LOG, "/var/log/fail2ban", NULL));
    assert_false(watches(LOG, HELPER_NOTHING, "", NULL));
}

TEST(fail2ban_that_logs_elsewhere_has_no_log_to_watch)
{
    assert_false(watches("SYSLOG", HELPER_LOG, LOG, NULL));
    assert_false(watches("SYSLOG", HELPER_LOG, "SYSLOG", NULL));
    assert_false(watches("", HELPER_LOG, LOG, NULL));
}

TEST(a_journal_match_watches_if_all_of_it_is_fail2bans)
{
    static const struct {
        const char *match;
        bool watches;
    } cases[] = {
        {"_SYSTEMD_UNIT=fail2ban.service", true},
        {"_SYSTEMD_UNIT=fail2ban.service PRIORITY=5", true},
        {"PRIORITY=5 _COMM=fail2ban-server", true},
        {"SYSLOG_IDENTIFIER=fail2ban + SYSLOG_IDENTIFIER=fail2ban-server", true},
        {"_SYSTEMD_UNIT=ssh.service + _COMM=sshd", false},
        {"_SYSTEMD_UNIT=ssh.service + _SYSTEMD_UNIT=fail2ban.service", false},
        {"_SYSTEMD_UNIT=fail2ban.service + _SYSTEMD_UNIT=ssh.service", false},
        {"_SYSTEMD_UNIT=fail2ban.service.d", false},
        {"PRIORITY=5", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (watches("SYSTEMD-JOURNAL", HELPER_JOURNAL, cases[i].match, NULL) != cases[i].watches)
            fail_msg("\"%s\"", cases[i].match);
}

TEST(our_action_is_known_by_its_name)
{
    jail_facts_t facts = {0};
    jail_facts_add(&facts, LOG, HELPER_ACTION, "banmesh-nftables");
    jail_facts_add(&facts, LOG, HELPER_LOG, "banmesh");
    assert_false(facts.publishes);
    jail_facts_add(&facts, LOG, HELPER_ACTION, "banmesh");
    assert_true(facts.publishes);
}

TEST(some_are_known_without_a_helper)
{
    assert_true(jail_facts_is_known_watcher("recidive"));
    assert_true(jail_facts_is_known_watcher("banmesh-fail2ban"));
    assert_false(jail_facts_is_known_watcher("sshd"));
    assert_false(jail_facts_is_known_watcher(""));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(a_jail_that_reads_nothing_but_fail2bans_log_watches),
        plain(a_jail_that_reads_anything_else_does_not),
        plain(fail2ban_that_logs_elsewhere_has_no_log_to_watch),
        plain(a_journal_match_watches_if_all_of_it_is_fail2bans),
        plain(our_action_is_known_by_its_name),
        plain(some_are_known_without_a_helper),
    };
    return cmocka_run_group_tests_name("jail_facts", tests, NULL, NULL);
}
