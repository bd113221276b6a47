/* enrich: countries out of the layouts that are about, and files that are missing, replaced or not
 * what they should be. */
#include "enrich.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Make FILE from a list of "network CC" lines. */
static void make_db(const char *file, const char *options, const char *list)
{
    char command[1024];
    support_write_text("list", list);
    snprintf(command, sizeof command, "%s %s %s list", support_source("make_mmdb.pl"), options,
             file);
    assert_int_equal(system(command), 0);
}

static enrich_t *open_db(const char *file)
{
    fault_t fault = {""};
    enrich_t *self = enrich_new(file, &fault);
    if (self == NULL)
        fail_msg("%s", fault.text);
    return self;
}

static void assert_country(enrich_t *self, const char *ip, const char *expected)
{
    char country[ENRICH_COUNTRY_BYTES];
    addr_t addr = support_addr(ip);
    enrich_country(self, &addr, country);
    assert_string_equal(country, expected);
}

TEST(a_country_is_found_for_both_families_and_for_networks)
{
    make_db("db", "", "45.154.0.0/16 NL\n2a02:4780::/32 LT\n");
    enrich_t *self = open_db("db");
    assert_country(self, "45.154.244.193", "NL");
    assert_country(self, "2a02:4780:10::7", "LT");
    assert_country(self, "2a02:4780:10::/64", "LT");
    assert_country(self, "45.155.0.1", "XX");
    assert_country(self, "2a03::1", "XX");
    enrich_destroy(&self);
}

TEST(the_registered_country_counts_where_there_is_no_other)
{
    make_db("db", "--registered", "45.154.0.0/16 NL\n");
    enrich_t *self = open_db("db");
    assert_country(self, "45.154.244.193", "NL");
    enrich_destroy(&self);
}

TEST(the_flat_layout_is_understood_and_letters_become_capitals)
{
    make_db("db", "--flat", "45.154.0.0/16 nl\n");
    enrich_t *self = open_db("db");
    assert_country(self, "45.154.244.193", "NL");
    enrich_destroy(&self);
}

/* It becomes part of a key's name. */
TEST(a_code_that_is_not_two_letters_is_unknown)
{
    make_db("db", "", "45.1.0.0/16 N:\n45.2.0.0/16 NLD\n45.3.0.0/16 4X\n45.4.0.0/16 N\n");
    enrich_t *self = open_db("db");
    assert_country(self, "45.1.1.1", "XX");
    assert_country(self, "45.2.1.1", "XX");
    assert_country(self, "45.3.1.1", "XX");
    assert_country(self, "45.4.1.1", "XX");
    enrich_destroy(&self);
}

static void assert_gap(const char *options, const char *list, const char *expected)
{
    make_db("db", options, list);
    enrich_t *self = open_db("db");
    const char *gap = enrich_gap(self);
    assert_string_equal(gap != NULL ? gap : "none", expected);
    enrich_destroy(&self);
    assert_int_equal(unlink("db"), 0);
}

/* All countries were XX for ever, in silence. */
TEST(what_a_file_lacks_as_a_whole_is_said)
{
    static const char both[] = "45.154.0.0/16 NL\n2a02:4780::/32 LT\n";
    assert_gap("", both, "none");
    assert_gap("--flat", both, "none");
    assert_gap("--registered", both, "none");
    assert_gap("--asn", both, "db (GeoLite2-ASN) holds no countries: all will be XX");
    assert_gap("", "45.154.0.0/16 NL\n",
               "db (GeoLite2-Country) holds no countries of IPv6 addresses: all these will be XX");
    assert_gap("--v4", "45.154.0.0/16 NL\n",
               "db (GeoLite2-Country) holds no countries of IPv6 addresses: all these will be XX");
    assert_gap("", "2a02:4780::/32 LT\n",
               "db (GeoLite2-Country) holds no countries of IPv4 addresses: all these will be XX");
    assert_gap("", "", "db (GeoLite2-Country) holds no countries: all will be XX");
    /* Not what stands in the IPv6 tree for IPv4, nor what lies outside of ordinary addresses. */
    assert_gap("", "45.154.0.0/16 NL\nfd00::/8 LT\n",
               "db (GeoLite2-Country) holds no countries of IPv6 addresses: all these will be XX");
}

TEST(no_file_is_no_error_until_it_comes)
{
    fault_t fault;
    enrich_t *self = open_db("db");
    assert_false(enrich_is_open(self));
    assert_country(self, "45.154.244.193", "XX");
    assert_int_equal(enrich_refresh(self, "db", &fault), 0);
    make_db("db", "", "45.154.0.0/16 NL\n");
    assert_int_equal(enrich_refresh(self, "db", &fault), 1);
    assert_country(self, "45.154.244.193", "NL");
    enrich_destroy(&self);
    self = open_db("");
    assert_country(self, "45.154.244.193", "XX");
    enrich_destroy(&self);
}

TEST(what_is_no_database_is_refused_by_name)
{
    fault_t fault;
    support_write_text("text", "no database\n");
    support_write_text("empty", "");
    support_make_directory("directory");
    assert_null(enrich_new("text", &fault));
    assert_non_null(strstr(fault.text, "text: not a MaxMind DB file"));
    assert_null(enrich_new("empty", &fault));
    assert_non_null(strstr(fault.text, "empty: "));
    assert_null(enrich_new("directory", &fault));
    assert_string_equal(fault.text, "directory: expected a file");
}

TEST(a_replaced_file_is_read_and_a_broken_one_changes_nothing)
{
    fault_t fault;
    make_db("db", "", "45.154.0.0/16 NL\n");
    enrich_t *self = open_db("db");
    assert_int_equal(enrich_refresh(self, "db", &fault), 0);
    make_db("db", "", "45.154.0.0/16 DE\n");
    assert_int_equal(enrich_refresh(self, "db", &fault), 1);
    assert_country(self, "45.154.244.193", "DE");
    support_write_text("db", "rubbish\n");
    assert_int_equal(enrich_refresh(self, "db", &fault), -1);
    assert_country(self, "45.154.244.193", "DE");
    unlink("db");
    assert_int_equal(enrich_refresh(self, "db", &fault), 0);
    assert_country(self, "45.154.244.193", "DE");
    assert_int_equal(enrich_refresh(self, "elsewhere", &fault), 0);
    assert_country(self, "45.154.244.193", "XX");
    enrich_destroy(&self);
}

/* A file that is mapped and then cut short kills whoever reads it. */
TEST(a_file_that_is_cut_short_in_place_does_no_harm)
{
    make_db("db", "", "45.154.0.0/16 NL\n");
    enrich_t *self = open_db("db");
    assert_int_equal(truncate("db", 0), 0);
    assert_country(self, "45.154.244.193", "NL");
    enrich_destroy(&self);
}

/* Whatever a damaged file holds, a look-up ends and says two capitals. */
TEST(damaged_databases_are_survived)
{
    size_t size;
    fault_t fault;
    uint64_t seed = support_seed();
    make_db("db", "", "45.154.0.0/16 NL\n80.0.0.0/8 DE\n2a02:4780::/32 LT\n");
    char *good = support_read("db", &size);
    for (int i = 0; i < 300; i++) {
        char country[ENRICH_COUNTRY_BYTES];
        char *bad = malloc(size);
        memcpy(bad, good, size);
        for (int j = 0; j < 8; j++)
            bad[support_random(&seed) % size] = (char)support_random(&seed);
        support_write("bad", bad, size);
        enrich_t *self = enrich_new("bad", &fault);
        addr_t addr = support_addr("45.154.244.193");
        if (self != NULL) {
            enrich_country(self, &addr, country);
            assert_int_equal(strspn(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 2);
        }
        enrich_destroy(&self);
        free(bad);
    }
    free(good);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_country_is_found_for_both_families_and_for_networks),
        in_directory(the_registered_country_counts_where_there_is_no_other),
        in_directory(the_flat_layout_is_understood_and_letters_become_capitals),
        in_directory(a_code_that_is_not_two_letters_is_unknown),
        in_directory(no_file_is_no_error_until_it_comes),
        in_directory(what_a_file_lacks_as_a_whole_is_said),
        in_directory(what_is_no_database_is_refused_by_name),
        in_directory(a_replaced_file_is_read_and_a_broken_one_changes_nothing),
        in_directory(a_file_that_is_cut_short_in_place_does_no_harm),
        in_directory(damaged_databases_are_survived),
    };
    return cmocka_run_group_tests_name("enrich", tests, NULL, NULL);
}
