/* trust: a directory of certificates becomes a set; what cannot be used is left out, in words. */
#include "support.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY 40

static const char *load_fault(void)
{
    static fault_t fault;
    trust_t *trust = trust_load("trust", &fault);
    if (trust == NULL)
        return fault.text;
    trust_destroy(&trust);
    return "no fault";
}

static trust_t *load(void)
{
    fault_t fault;
    trust_t *trust = trust_load("trust", &fault);
    if (trust == NULL)
        fail_msg("%s", fault.text);
    return trust;
}

/* The only thing that is left out; all but `members` are. */
static const char *left_out(size_t members)
{
    static char text[FAULT_TEXT_MAX];
    trust_t *trust = load();
    assert_int_equal(trust_size(trust), members);
    const char *why = trust_left_out(trust, 0);
    snprintf(text, sizeof text, "%s", why != NULL ? why : "nothing");
    assert_null(why != NULL ? trust_left_out(trust, 1) : NULL);
    trust_destroy(&trust);
    return text;
}

static void save(const cert_t *cert, const char *name)
{
    fault_t fault;
    if (cert_save_public(cert, "trust", name, &fault) == -1)
        fail_msg("%s", fault.text);
}

/* A directory "trust" with one good certificate, "mx1". The caller owns it. */
static cert_t *make_directory(void)
{
    cert_t *cert = support_cert("mx1");
    support_make_directory("trust");
    save(cert, "mx1");
    return cert;
}

static void make_and_forget_directory(void)
{
    cert_t *cert = make_directory();
    cert_destroy(&cert);
}

TEST(the_name_of_the_file_is_the_name_of_the_node)
{
    cert_t *cert = support_cert("calls-itself-so");
    support_make_directory("trust");
    save(cert, "mail.example.org");
    trust_t *trust = load();
    assert_int_equal(trust_size(trust), 1);
    assert_string_equal(trust_at(trust, 0)->name, "mail.example.org");
    assert_null(trust_by_name(trust, "calls-itself-so"));
    trust_destroy(&trust);
    assert_null(trust);
    cert_destroy(&cert);
}

TEST(members_are_found_by_name_and_by_either_key)
{
    cert_t *certs[MANY];
    for (size_t i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "node%02zu", MANY - i);
        certs[i] = support_cert(name);
    }
    trust_t *trust = support_trust("trust", certs, MANY);
    assert_int_equal(trust_size(trust), MANY);
    for (size_t i = 0; i < MANY; i++) {
        const trusted_t *member = trust_by_name(trust, certs[i]->name);
        assert_non_null(member);
        assert_memory_equal(member->curve_public.bytes, certs[i]->curve_public.bytes, PUBKEY_BYTES);
        assert_ptr_equal(trust_by_curve(trust, &certs[i]->curve_public), member);
        assert_ptr_equal(trust_by_sign(trust, &certs[i]->sign_public), member);
        assert_null(trust_by_sign(trust, &certs[i]->curve_public));
        assert_null(trust_by_curve(trust, &certs[i]->sign_public));
        if (i > 0)
            assert_true(strcmp(trust_at(trust, i - 1)->name, trust_at(trust, i)->name) < 0);
        cert_destroy(&certs[i]);
    }
    assert_null(trust_at(trust, MANY));
    trust_destroy(&trust);
}

TEST(an_empty_directory_trusts_nobody)
{
    static const pubkey_t key;
    support_make_directory("trust");
    trust_t *trust = load();
    assert_int_equal(trust_size(trust), 0);
    assert_null(trust_at(trust, 0));
    assert_null(trust_by_name(trust, ""));
    assert_null(trust_by_curve(trust, &key));
    assert_null(trust_by_sign(trust, &key));
    trust_destroy(&trust);
}

TEST(a_missing_directory_is_an_error_not_an_empty_set)
{
    assert_string_equal(load_fault(), "trust: No such file or directory");
    support_write_text("trust", "");
    assert_string_equal(load_fault(), "trust: Not a directory");
}

/* Both of a pair that shares a key are left out, and a third node counts. */
static void check_twins(const cert_t *twin)
{
    cert_t *third = support_cert("mx3");
    save(third, "mx3");
    save(twin, "mx2");
    trust_t *trust = load();
    assert_int_equal(trust_size(trust), 1);
    assert_non_null(trust_by_name(trust, "mx3"));
    assert_null(trust_by_sign(trust, &twin->sign_public));
    assert_null(trust_by_curve(trust, &twin->curve_public));
    assert_string_equal(trust_left_out(trust, 0),
                        "trust/mx1.cert: holds the same key as mx2.cert; remove one");
    assert_string_equal(trust_left_out(trust, 1),
                        "trust/mx2.cert: holds the same key as mx1.cert; remove one");
    assert_null(trust_left_out(trust, 2));
    trust_destroy(&trust);
    assert_int_equal(unlink("trust/mx2.cert"), 0);
    assert_string_equal(left_out(2), "nothing");
    cert_destroy(&third);
}

TEST(one_key_under_two_names_counts_under_neither)
{
    cert_t *cert = make_directory();
    check_twins(cert);
    cert_destroy(&cert);
}

TEST(two_nodes_that_share_their_signing_key_are_left_out)
{
    cert_t *cert = make_directory();
    cert_t *half = support_cert("mx2");
    half->sign_public = cert->sign_public;
    check_twins(half);
    cert_destroy(&half);
    cert_destroy(&cert);
}

TEST(two_nodes_that_share_their_connection_key_are_left_out)
{
    cert_t *cert = make_directory();
    cert_t *half = support_cert("mx2");
    half->curve_public = cert->curve_public;
    check_twins(half);
    cert_destroy(&half);
    cert_destroy(&cert);
}

TEST(one_bad_certificate_is_left_out_alone)
{
    make_and_forget_directory();
    assert_string_equal(left_out(1), "nothing");
    support_write_text("trust/mx2.cert", "curve\n    public-key = \"short\"\n");
    assert_string_equal(left_out(1), "trust/mx2.cert:2: curve/public-key is not a key, expected "
                                     "40 characters of Z85");
    support_write_text("trust/mx2.cert", "metadata\n    name = \"mx2\"\ncurve\n    publ");
    assert_non_null(strstr(left_out(1), "trust/mx2.cert"));
    assert_int_equal(unlink("trust/mx2.cert"), 0);
    assert_string_equal(left_out(1), "nothing");
}

TEST(a_certificate_that_cannot_be_read_is_left_out_alone)
{
    make_and_forget_directory();
    assert_int_equal(symlink("nowhere", "trust/mx2.cert"), 0);
    assert_string_equal(left_out(1), "trust/mx2.cert: No such file or directory");
    assert_int_equal(unlink("trust/mx2.cert"), 0);
    support_make_directory("trust/mx2.cert");
    assert_string_equal(left_out(1), "trust/mx2.cert: not a regular file");
    assert_int_equal(rmdir("trust/mx2.cert"), 0);
    support_write_text("trust/mx2.cert", "");
    assert_int_equal(chmod("trust/mx2.cert", 0), 0);
    assert_non_null(strstr(left_out(1), "trust/mx2.cert: "));
}

TEST(a_secret_in_the_trust_directory_is_refused)
{
    cert_t *cert = make_directory();
    assert_int_equal(cert_save_pair(cert, ".", NULL), 0);
    assert_int_equal(rename("mx1.cert_secret", "trust/mx1.cert"), 0);
    assert_non_null(strstr(left_out(0), "holds a secret key"));
    cert_destroy(&cert);
}

/* What the directory shows is another thing after each change, also one that inotify misses. */
TEST(every_change_of_the_directory_shows)
{
    cert_t *cert = make_directory();
    uint64_t seen = trust_look("trust");
    trust_t *trust = load();
    assert_int_equal(trust_seen(trust), seen);
    trust_destroy(&trust);
    support_write_text("trust/README", "no certificate");
    assert_int_equal(trust_look("trust"), seen);
    support_make_directory("kept");
    save(cert, "mx2");
    assert_int_not_equal(trust_look("trust"), seen);
    assert_int_equal(rename("trust/mx2.cert", "kept/mx2.cert"), 0);
    assert_int_equal(trust_look("trust"), seen);
    assert_int_equal(link("kept/mx2.cert", "trust/mx2.cert"), 0);
    assert_int_not_equal(trust_look("trust"), seen);
    assert_int_equal(unlink("trust/mx2.cert"), 0);
    assert_int_equal(symlink("../kept/mx2.cert", "trust/mx2.cert"), 0);
    uint64_t linked = trust_look("trust");
    assert_int_not_equal(linked, seen);
    support_write_text("kept/mx2.cert", "another");
    assert_int_not_equal(trust_look("trust"), linked);
    assert_int_equal(rename("trust", "old"), 0);
    assert_int_equal(trust_look("trust"), 0);
    support_make_directory("trust");
    save(cert, "mx1");
    assert_int_not_equal(trust_look("trust"), seen);
    cert_destroy(&cert);
}

TEST(hidden_files_and_other_suffixes_are_passed_over)
{
    make_and_forget_directory();
    support_write_text("trust/.mx2.cert.123", "half written");
    support_write_text("trust/.cert", "x");
    support_write_text("trust/.mx2.cert", "x");
    support_write_text("trust/README", "x");
    support_write_text("trust/mx2.cert~", "x");
    support_write_text("trust/mx2.cert_secret", "x");
    support_write_text("trust/mx2.CERT", "x");
    support_make_directory("trust/old");
    assert_string_equal(left_out(1), "nothing");
}

TEST(names_that_are_none_are_left_out)
{
    char long_name[EVENT_NAME_MAX + 2];
    memset(long_name, 'n', EVENT_NAME_MAX + 1);
    long_name[EVENT_NAME_MAX + 1] = '\0';
    const char *const bad[] = {"a b", "a:b", "a\nb", "b\xc3\xa4r", long_name};
    cert_t *cert = make_directory();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "trust/%s.cert", bad[i]);
        support_write_text(path, "");
        assert_non_null(strstr(left_out(1), "name of a certificate: expected 1 to 64 of"));
        assert_int_equal(unlink(path), 0);
    }
    cert_destroy(&cert);
}

TEST(a_name_of_64_characters_is_one)
{
    char name[EVENT_NAME_MAX + 1];
    cert_t *cert = support_cert("mx1");
    memset(name, 'n', EVENT_NAME_MAX);
    name[EVENT_NAME_MAX] = '\0';
    support_make_directory("trust");
    save(cert, name);
    trust_t *trust = load();
    assert_non_null(trust_by_name(trust, name));
    trust_destroy(&trust);
    cert_destroy(&cert);
}

TEST(a_set_does_not_change_with_its_directory)
{
    cert_t *cert = make_directory();
    trust_t *trust = load();
    assert_int_equal(unlink("trust/mx1.cert"), 0);
    assert_non_null(trust_by_sign(trust, &cert->sign_public));
    trust_destroy(&trust);
    cert_destroy(&cert);
}

static int start_sodium(void **state)
{
    (void)state;
    return sodium_init() == -1 ? -1 : 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(the_name_of_the_file_is_the_name_of_the_node),
        in_directory(members_are_found_by_name_and_by_either_key),
        in_directory(an_empty_directory_trusts_nobody),
        in_directory(a_missing_directory_is_an_error_not_an_empty_set),
        in_directory(one_key_under_two_names_counts_under_neither),
        in_directory(two_nodes_that_share_their_signing_key_are_left_out),
        in_directory(two_nodes_that_share_their_connection_key_are_left_out),
        in_directory(one_bad_certificate_is_left_out_alone),
        in_directory(a_certificate_that_cannot_be_read_is_left_out_alone),
        in_directory(a_secret_in_the_trust_directory_is_refused),
        in_directory(hidden_files_and_other_suffixes_are_passed_over),
        in_directory(names_that_are_none_are_left_out),
        in_directory(a_name_of_64_characters_is_one),
        in_directory(a_set_does_not_change_with_its_directory),
        in_directory(every_change_of_the_directory_shows),
    };
    return cmocka_run_group_tests_name("trust", tests, start_sodium, NULL);
}
