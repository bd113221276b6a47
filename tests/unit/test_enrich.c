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

static enrich_t *open_both(const char *country, const char *asn)
{
    fault_t fault = {""};
    const enrich_paths_t paths = {country, asn};
    enrich_t *self = enrich_new(&paths, &fault);
    if (self == NULL)
        fail_msg("%s", fault.text);
    return self;
}

static enrich_t *open_db(const char *file)
{
    return open_both(file, "");
}

static void keep(void *arg, const fault_t *words)
{
    char *all = arg;
    snprintf(all + strlen(all), 1000 - strlen(all), "%s\n", words->text);
}

static bool refresh(enrich_t *self, const char *file, char said[static 1000])
{
    const enrich_paths_t paths = {file, ""};
    said[0] = '\0';
    return enrich_refresh(self, &paths, keep, said);
}

static bool is_refused(const char *file, fault_t *fault)
{
    const enrich_paths_t paths = {file, ""};
    enrich_t *self = enrich_new(&paths, fault);
    bool refused = self == NULL;
    enrich_destroy(&self);
    return refused;
}

static const char *complaints(const enrich_t *self)
{
    static char all[1000];
    all[0] = '\0';
    enrich_complain(self, (int64_t)time(NULL), keep, all);
    return all;
}

/* "NL 64500 Example in 45.154.0.0/16" */
static void assert_facts(enrich_t *self, const char *ip, const char *expected)
{
    char text[300];
    char network[ADDR_TEXT_MAX] = "";
    enrich_facts_t facts;
    addr_t addr = support_addr(ip);
    enrich_look_up(self, &addr, &facts);
    if (facts.network.family != 0)
        addr_print(&facts.network, network);
    snprintf(text, sizeof text, "%s %u %s in %s", facts.country, facts.asn, facts.owner, network);
    assert_string_equal(text, expected);
}

static void assert_country(enrich_t *self, const char *ip, const char *expected)
{
    enrich_facts_t facts;
    addr_t addr = support_addr(ip);
    enrich_look_up(self, &addr, &facts);
    assert_string_equal(facts.country, expected);
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
    char words[300] = "";
    make_db("db", options, list);
    enrich_t *self = open_db("db");
    if (*expected != '\0')
        snprintf(words, sizeof words, "geoip / country: %s\n", expected);
    assert_string_equal(complaints(self), words);
    enrich_destroy(&self);
    assert_int_equal(unlink("db"), 0);
}

/* All countries were XX for ever, in silence. */
TEST(what_a_file_lacks_as_a_whole_is_said)
{
    static const char both[] = "45.154.0.0/16 NL\n2a02:4780::/32 LT\n";
    assert_gap("", both, "");
    assert_gap("--flat", both, "");
    assert_gap("--registered", both, "");
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
    char said[1000];
    enrich_t *self = open_db("db");
    assert_string_equal(complaints(self),
                        "geoip / country: db does not exist: all countries will be XX\n");
    assert_country(self, "45.154.244.193", "XX");
    assert_false(refresh(self, "db", said));
    make_db("db", "", "45.154.0.0/16 NL\n2a02:4780::/32 LT\n");
    assert_true(refresh(self, "db", said));
    assert_string_equal(said, "geoip / country: db: read\n");
    assert_country(self, "45.154.244.193", "NL");
    assert_string_equal(complaints(self), "");
    enrich_destroy(&self);
    self = open_db("");
    assert_string_equal(complaints(self),
                        "geoip / country: no file is set: all countries will be XX\n");
    assert_country(self, "45.154.244.193", "XX");
    enrich_destroy(&self);
}

TEST(what_is_no_database_is_refused_by_name)
{
    fault_t fault;
    support_write_text("text", "no database\n");
    support_write_text("empty", "");
    support_make_directory("directory");
    assert_true(is_refused("text", &fault));
    assert_non_null(strstr(fault.text, "text: not a MaxMind DB file"));
    assert_true(is_refused("empty", &fault));
    assert_non_null(strstr(fault.text, "empty: "));
    assert_true(is_refused("directory", &fault));
    assert_string_equal(fault.text, "directory: expected a file");
}

TEST(a_replaced_file_is_read_and_a_broken_one_changes_nothing)
{
    char said[1000];
    make_db("db", "", "45.154.0.0/16 NL\n");
    enrich_t *self = open_db("db");
    assert_false(refresh(self, "db", said));
    make_db("db", "", "45.154.0.0/16 DE\n");
    assert_true(refresh(self, "db", said));
    assert_country(self, "45.154.244.193", "DE");
    support_write_text("db", "rubbish\n");
    assert_false(refresh(self, "db", said));
    assert_non_null(strstr(said, "db: not a MaxMind DB file"));
    assert_non_null(strstr(said, "; the old one stays in use\n"));
    assert_false(refresh(self, "db", said));
    assert_string_equal(said, ""); /* once */
    assert_country(self, "45.154.244.193", "DE");
    unlink("db");
    assert_false(refresh(self, "db", said));
    assert_country(self, "45.154.244.193", "DE");
    assert_false(refresh(self, "elsewhere", said));
    assert_country(self, "45.154.244.193", "XX");
    enrich_destroy(&self);
}

#define ASN_LIST "45.154.0.0/16 - 64500 Example Networks\n45.154.8.0/24 - 64501 Other\n"

TEST(whose_network_it_is_in_comes_from_a_file_of_its_own)
{
    make_db("country", "", "45.154.0.0/20 NL\n80.0.0.0/8 DE\n2a02:4780::/32 LT\n");
    make_db("asn", "--asn", ASN_LIST "2a02:4780:10::/44 - 64502 Six\n");
    enrich_t *self = open_both("country", "asn");
    assert_string_equal(complaints(self), "");
    /* The smaller one of the two networks: all of it is said of it. */
    assert_facts(self, "45.154.3.1", "NL 64500 Example Networks in 45.154.0.0/21");
    assert_facts(self, "45.154.8.1", "NL 64501 Other in 45.154.8.0/24");
    assert_facts(self, "45.154.244.193", "XX 64500 Example Networks in 45.154.128.0/17");
    assert_facts(self, "80.1.2.3", "DE 0  in 80.0.0.0/8");
    assert_facts(self, "2a02:4780:10::7", "LT 64502 Six in 2a02:4780:10::/44");
    assert_facts(self, "46.1.1.1", "XX 0  in ");
    enrich_destroy(&self);
}

TEST(one_file_may_hold_both)
{
    make_db("db", "--ipinfo", "45.154.0.0/16 NL 64500 Example Networks\n2a02:4780::/32 LT\n");
    enrich_t *self = open_db("db");
    assert_facts(self, "45.154.3.1", "NL 64500 Example Networks in 45.154.0.0/16");
    assert_facts(self, "2a02:4780::1", "LT 0  in 2a02:4780::/32");
    enrich_destroy(&self);
    self = open_both("", "db");
    assert_facts(self, "45.154.3.1", "XX 64500 Example Networks in 45.154.0.0/16");
    enrich_destroy(&self);
    make_db("v4", "--v4", "45.154.0.0/16 NL\n");
    self = open_db("v4");
    assert_facts(self, "45.154.3.1", "NL 0  in 45.154.0.0/16");
    assert_facts(self, "2a02:4780::1", "XX 0  in ");
    enrich_destroy(&self);
}

TEST(a_file_of_countries_where_owners_are_expected_is_said)
{
    make_db("db", "", "45.154.0.0/16 NL\n2a02:4780::/32 LT\n");
    enrich_t *self = open_both("db", "db");
    assert_string_equal(complaints(self), "geoip / asn: db (GeoLite2-Country) holds no AS numbers: "
                                          "all will be unknown\n");
    enrich_destroy(&self);
}

/* A name is cut between two characters. */
TEST(a_long_name_is_cut_short)
{
    char list[400];
    char *out = list + sprintf(list, "45.154.0.0/16 - 64500 x");
    for (int i = 0; i < 80; i++)
        out += sprintf(out, "\xc3\xa4");
    sprintf(out, "\n");
    make_db("asn", "--asn", list);
    enrich_facts_t facts;
    addr_t addr = support_addr("45.154.1.1");
    enrich_t *self = open_both("", "asn");
    enrich_look_up(self, &addr, &facts);
    assert_int_equal(strlen(facts.owner) % 2, 1);
    assert_true(strlen(facts.owner) >= ENRICH_OWNER_BYTES - 2);
    enrich_destroy(&self);
}

TEST(an_old_file_is_said)
{
    char options[64];
    snprintf(options, sizeof options, "--built %lld", (long long)time(NULL) - 61 * 24 * 3600 - 60);
    make_db("db", options, "45.154.0.0/16 NL\n2a02:4780::/32 LT\n");
    enrich_t *self = open_db("db");
    assert_string_equal(complaints(self),
                        "geoip / country: db was built 61 days ago: get a newer one\n");
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
    make_db("db", "--ipinfo", "45.154.0.0/16 NL 64500 A\n80.0.0.0/8 DE\n2a02:4780::/32 LT 1 B\n");
    char *good = support_read("db", &size);
    for (int i = 0; i < 300; i++) {
        enrich_facts_t facts;
        const enrich_paths_t paths = {"bad", "bad"};
        char *bad = malloc(size);
        memcpy(bad, good, size);
        for (int j = 0; j < 8; j++)
            bad[support_random(&seed) % size] = (char)support_random(&seed);
        support_write("bad", bad, size);
        enrich_t *self = enrich_new(&paths, &fault);
        addr_t addr = support_addr("45.154.244.193");
        if (self != NULL) {
            enrich_look_up(self, &addr, &facts);
            assert_int_equal(strspn(facts.country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 2);
            assert_true(strlen(facts.owner) < sizeof facts.owner);
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
        in_directory(whose_network_it_is_in_comes_from_a_file_of_its_own),
        in_directory(one_file_may_hold_both),
        in_directory(a_file_of_countries_where_owners_are_expected_is_said),
        in_directory(a_long_name_is_cut_short),
        in_directory(an_old_file_is_said),
        in_directory(a_file_that_is_cut_short_in_place_does_no_harm),
        in_directory(damaged_databases_are_survived),
    };
    return cmocka_run_group_tests_name("enrich", tests, NULL, NULL);
}
