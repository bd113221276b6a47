/* cert: certificates that CZMQ can read, whole or refused, never overwritten. */
#include "cert.h"
#include "support.h"

#include <czmq.h>
#include <sodium.h>

/* A pair "mx1" in the working directory. The caller owns it. */
static cert_t *make_pair(void)
{
    fault_t fault;
    cert_t *cert =
        cert_new("mx1", "tcp://mx1.example.org:7341", "tcp://[2001:db8::1]:7342", &fault);
    if (cert == NULL || cert_save_pair(cert, ".", &fault) == -1)
        fail_msg("%s", fault.text);
    return cert;
}

static void make_and_forget_pair(void)
{
    cert_t *cert = make_pair();
    cert_destroy(&cert);
}

static const char *public_fault(const char *path)
{
    static fault_t fault;
    cert_t *cert = cert_load_public(path, &fault);
    if (cert == NULL)
        return fault.text;
    cert_destroy(&cert);
    return "no fault";
}

static const char *secret_fault(const char *path)
{
    static fault_t fault;
    cert_t *cert = cert_load_secret(path, &fault);
    if (cert == NULL)
        return fault.text;
    cert_destroy(&cert);
    return "no fault";
}

/* Replace the first occurrence of a text in a file by one of the same length. */
static void replace(const char *path, const char *old, const char *new)
{
    size_t size;
    char *text = support_read(path, &size);
    char *at = strstr(text, old);
    assert_non_null(at);
    assert_int_equal(strlen(old), strlen(new));
    memcpy(at, new, strlen(new));
    support_write(path, text, size);
    free(text);
}

/* Copy the line of a key from one file into another, in the section given. */
static void transplant(const char *path, const char *from, const char *section, const char *key)
{
    char *text = support_read(path, NULL);
    char *donor = support_read(from, NULL);
    char *to = strstr(strstr(text, section), key);
    char *of = strstr(strstr(donor, section), key);
    assert_non_null(to);
    assert_non_null(of);
    memcpy(to, of, strcspn(of, "\n"));
    support_write_text(path, text);
    free(text);
    free(donor);
}

TEST(both_halves_come_back_as_they_were_saved)
{
    fault_t fault;
    cert_t *cert = make_pair();
    cert_t *public_half = cert_load_public("mx1.cert", &fault);
    cert_t *secret = cert_load_secret("mx1.cert_secret", &fault);
    assert_non_null(public_half);
    assert_non_null(secret);
    assert_memory_equal(secret, cert, sizeof *cert);
    assert_string_equal(public_half->name, "mx1");
    assert_string_equal(public_half->endpoint, "tcp://mx1.example.org:7341");
    assert_string_equal(public_half->replay, "tcp://[2001:db8::1]:7342");
    assert_memory_equal(public_half->curve_public.bytes, cert->curve_public.bytes, PUBKEY_BYTES);
    assert_memory_equal(public_half->sign_public.bytes, cert->sign_public.bytes, PUBKEY_BYTES);
    assert_false(public_half->has_secret);
    cert_destroy(&public_half);
    cert_destroy(&secret);
    cert_destroy(&cert);
    assert_null(cert);
}

TEST(czmq_reads_our_files)
{
    cert_t *cert = make_pair();
    zcert_t *secret = zcert_load("mx1.cert_secret");
    zcert_t *public_half = zcert_load("mx1.cert");
    assert_non_null(secret);
    assert_non_null(public_half);
    assert_memory_equal(zcert_public_key(secret), cert->curve_public.bytes, PUBKEY_BYTES);
    assert_memory_equal(zcert_secret_key(secret), cert->curve_secret, CERT_SECRET_BYTES);
    assert_memory_equal(zcert_public_key(public_half), cert->curve_public.bytes, PUBKEY_BYTES);
    assert_string_equal(zcert_meta(public_half, "name"), "mx1");
    assert_string_equal(zcert_meta(public_half, "endpoint"), "tcp://mx1.example.org:7341");
    zcert_destroy(&secret);
    zcert_destroy(&public_half);
    cert_destroy(&cert);
}

TEST(the_secret_half_is_for_its_owner_alone)
{
    struct stat status;
    mode_t mask = umask(0);
    make_and_forget_pair();
    umask(mask);
    assert_int_equal(stat("mx1.cert_secret", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(stat("mx1.cert", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
}

TEST(the_public_half_holds_no_secret)
{
    char z85[CERT_Z85_BYTES];
    cert_t *cert = make_pair();
    char *text = support_read("mx1.cert", NULL);
    assert_null(strstr(text, "secret-key"));
    assert_null(strstr(text, "seed"));
    assert_null(strstr(text, zmq_z85_encode(z85, cert->curve_secret, CERT_SECRET_BYTES)));
    assert_null(strstr(text, zmq_z85_encode(z85, cert->sign_seed, CERT_SECRET_BYTES)));
    free(text);
    cert_destroy(&cert);
}

TEST(a_secret_that_others_may_read_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0610, 0660, 0644, 0666, 0601};
    make_and_forget_pair();
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod("mx1.cert_secret", modes[i]), 0);
        assert_non_null(strstr(secret_fault("mx1.cert_secret"), "lets others read a secret key"));
    }
    assert_int_equal(chmod("mx1.cert_secret", 0400), 0);
    assert_string_equal(secret_fault("mx1.cert_secret"), "no fault");
}

/* As user 1, who can read it by its mode alone if it is theirs. */
static int read_as_somebody(void *arg)
{
    fault_t fault;
    (void)arg;
    if (chmod(".", 0755) == -1 || setuid(1) == -1)
        return 2;
    cert_t *cert = cert_load_secret("mx1.cert_secret", &fault);
    return cert == NULL && strstr(fault.text, "mx1.cert_secret") != NULL ? 0 : 1;
}

TEST(a_secret_of_another_user_is_refused_but_root_may_check_the_services)
{
    if (geteuid() != 0)
        skip();
    make_and_forget_pair();
    assert_int_equal(chown("mx1.cert_secret", 65534, 65534), 0);
    assert_string_equal(secret_fault("mx1.cert_secret"), "no fault");
    assert_int_equal(support_exit_status(read_as_somebody, NULL), 0);
}

TEST(a_secret_file_is_no_public_certificate)
{
    make_and_forget_pair();
    assert_string_equal(public_fault("mx1.cert_secret"),
                        "mx1.cert_secret: holds a secret key; expected a public certificate "
                        "(NAME.cert)");
}

TEST(a_public_file_is_no_secret_certificate)
{
    make_and_forget_pair();
    assert_int_equal(chmod("mx1.cert", 0600), 0);
    assert_string_equal(secret_fault("mx1.cert"),
                        "mx1.cert: curve/secret-key is missing: not a banmesh certificate?");
}

/* zcert_load would zero the rest of the key in silence. */
TEST(a_character_outside_z85_is_refused_with_its_line)
{
    char z85[CERT_Z85_BYTES];
    char bad[CERT_Z85_BYTES];
    cert_t *cert = make_pair();
    cert_z85(&cert->curve_public, z85);
    memcpy(bad, z85, sizeof bad);
    bad[7] = '~';
    replace("mx1.cert", z85, bad);
    assert_string_equal(public_fault("mx1.cert"),
                        "mx1.cert:7: curve/public-key is not a key, expected 40 characters of Z85");
    cert_destroy(&cert);
}

TEST(z85_is_strict)
{
    pubkey_t key;
    assert_true(cert_from_z85("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", key.bytes));
    assert_false(cert_from_z85("", key.bytes));
    assert_false(cert_from_z85("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf", key.bytes));
    assert_false(cert_from_z85("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf77", key.bytes));
    assert_false(cert_from_z85("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\"", key.bytes));
    assert_false(cert_from_z85("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf ", key.bytes));
    /* Five characters that say more than 32 bits. */
    assert_false(cert_from_z85("#####>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", key.bytes));
}

TEST(z85_is_as_the_rfc_says)
{
    static const uint8_t expected[] = {0xbb, 0x88, 0x47, 0x1d, 0x65, 0xe2, 0x65, 0x9b,
                                       0x30, 0xc5, 0x5a, 0x53, 0x21, 0xce, 0xbb, 0x5a,
                                       0xab, 0x2b, 0x70, 0xa3, 0x98, 0x64, 0x5c, 0x26,
                                       0xdc, 0xa2, 0xb2, 0xfc, 0xb4, 0x3f, 0xc5, 0x18};
    pubkey_t key;
    char text[CERT_Z85_BYTES];
    assert_true(cert_from_z85("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", key.bytes));
    assert_memory_equal(key.bytes, expected, PUBKEY_BYTES);
    assert_string_equal(cert_z85(&key, text), "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
}

TEST(a_certificate_cut_anywhere_is_refused)
{
    size_t size;
    make_and_forget_pair();
    char *text = support_read("mx1.cert_secret", &size);
    for (size_t cut = 0; cut < size - 1; cut++) {
        support_write("cut", text, cut);
        assert_int_equal(chmod("cut", 0600), 0);
        assert_string_not_equal(secret_fault("cut"), "no fault");
    }
    free(text);
}

TEST(halves_that_do_not_belong_together_are_refused)
{
    static const struct {
        const char *section;
        const char *key;
        const char *expected;
    } cases[] = {
        {"curve\n", "public-key", "x.cert_secret: curve keys do not belong together"},
        {"curve\n", "secret-key", "x.cert_secret: curve keys do not belong together"},
        {"sign\n", "public-key", "x.cert_secret: sign keys do not belong together"},
        {"sign\n", "seed", "x.cert_secret: sign keys do not belong together"},
    };
    cert_t *other = support_cert("x");
    make_and_forget_pair();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(cert_save_pair(other, ".", NULL), 0);
        transplant("x.cert_secret", "mx1.cert_secret", cases[i].section, cases[i].key);
        assert_string_equal(secret_fault("x.cert_secret"), cases[i].expected);
        assert_int_equal(unlink("x.cert_secret") | unlink("x.cert"), 0);
    }
    cert_destroy(&other);
}

TEST(a_certificate_of_czmq_alone_is_refused)
{
    zcert_t *foreign = zcert_new();
    assert_int_equal(zcert_save_public(foreign, "foreign.cert"), 0);
    zcert_destroy(&foreign);
    assert_string_equal(public_fault("foreign.cert"),
                        "foreign.cert: sign/public-key is missing: not a banmesh certificate?");
}

TEST(other_files_are_refused)
{
    support_write_text("a", "-----BEGIN CERTIFICATE-----\n");
    assert_string_not_equal(public_fault("a"), "no fault");
    support_write_text("a", "");
    assert_string_equal(public_fault("a"),
                        "a: curve/public-key is missing: not a banmesh certificate?");
    assert_string_equal(public_fault("missing"), "missing: No such file or directory");
}

TEST(metadata_is_checked)
{
    make_and_forget_pair();
    replace("mx1.cert", "\"mx1\"", "\"m 1\"");
    assert_string_equal(public_fault("mx1.cert"),
                        "mx1.cert:3: name \"m 1\": expected 1 to 64 of A-Z a-z 0-9 _ . -");
    replace("mx1.cert", "\"m 1\"", "\"mx1\"");
    replace("mx1.cert", "tcp://mx1", "udp://mx1");
    assert_string_equal(public_fault("mx1.cert"),
                        "mx1.cert:4: metadata/endpoint: address \"udp://mx1.example.org:7341\": "
                        "expected \"tcp://HOST:PORT\"");
}

static void assert_unchanged(const char *path, const char *text)
{
    char *now = support_read(path, NULL);
    assert_string_equal(now, text);
    free(now);
}

TEST(nothing_is_ever_overwritten)
{
    fault_t fault;
    cert_t *cert = support_cert("mx1");
    support_write_text("mx1.cert", "mine");
    assert_int_equal(cert_save_pair(cert, ".", &fault), -1);
    assert_string_equal(fault.text, "./mx1.cert exists already and is not overwritten");
    assert_false(support_exists("mx1.cert_secret"));
    assert_int_equal(cert_save_public(cert, ".", "mx1", &fault), -1);
    assert_unchanged("mx1.cert", "mine");
    assert_int_equal(rename("mx1.cert", "mx1.cert_secret"), 0);
    assert_int_equal(cert_save_pair(cert, ".", &fault), -1);
    assert_string_equal(fault.text, "./mx1.cert_secret exists already and is not overwritten");
    assert_unchanged("mx1.cert_secret", "mine");
    assert_false(support_exists("mx1.cert"));
    cert_destroy(&cert);
}

static size_t count_files(void)
{
    zdir_t *directory = zdir_new(".", NULL);
    size_t count = zdir_count(directory);
    zdir_destroy(&directory);
    return count;
}

TEST(saving_leaves_no_temporary_file)
{
    cert_t *cert = make_pair();
    assert_int_equal(count_files(), 2);
    assert_int_equal(cert_save_pair(cert, ".", NULL), -1);
    assert_int_equal(count_files(), 2);
    assert_int_equal(cert_save_pair(cert, "missing", NULL), -1);
    cert_destroy(&cert);
}

TEST(endpoints_are_tcp_with_host_and_port)
{
    static const char *const good[] = {"tcp://192.0.2.7:1", "tcp://mx1.example.org:65535",
                                       "tcp://[2001:db8::1]:7341", "tcp://*:7341"};
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "tcp://:7341",
                                      "tcp://host",
                                      "tcp://host:",
                                      "tcp://host:0",
                                      "tcp://host:65536",
                                      "tcp://host:123456",
                                      "tcp://host:+1",
                                      "tcp://host:7341/x",
                                      "tcp://ho st:7341",
                                      "tcp://ho\"st:7341",
                                      "tcp://ho#st:7341",
                                      "udp://host:7341",
                                      "ipc:///tmp/x:1"};
    fault_t fault;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (cert_check_endpoint(good[i], &fault) == -1)
            fail_msg("%s", fault.text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (cert_check_endpoint(bad[i], &fault) == 0)
            fail_msg("\"%s\" was accepted", bad[i]);
}

TEST(names_that_cannot_be_files_are_refused)
{
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "../a", "a b", "a\n"};
    fault_t fault;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(cert_new(bad[i], "", "", &fault));
    assert_null(cert_new("mx1", "nowhere", "", &fault));
    assert_null(cert_new("mx1", "", "nowhere", &fault));
}

TEST(the_example_in_certs_is_a_certificate)
{
    char path[PATH_MAX];
    fault_t fault;
    snprintf(path, sizeof path, "%s/../certs/example.cert", BANMESH_TEST_DIR);
    cert_t *cert = cert_load_public(path, &fault);
    if (cert == NULL)
        fail_msg("%s", fault.text);
    assert_string_equal(cert->name, "example");
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
        plain(the_example_in_certs_is_a_certificate),
        in_directory(both_halves_come_back_as_they_were_saved),
        in_directory(czmq_reads_our_files),
        in_directory(the_secret_half_is_for_its_owner_alone),
        in_directory(the_public_half_holds_no_secret),
        in_directory(a_secret_that_others_may_read_is_refused),
        in_directory(a_secret_of_another_user_is_refused_but_root_may_check_the_services),
        in_directory(a_secret_file_is_no_public_certificate),
        in_directory(a_public_file_is_no_secret_certificate),
        in_directory(a_character_outside_z85_is_refused_with_its_line),
        in_directory(z85_is_strict),
        in_directory(z85_is_as_the_rfc_says),
        in_directory(a_certificate_cut_anywhere_is_refused),
        in_directory(halves_that_do_not_belong_together_are_refused),
        in_directory(a_certificate_of_czmq_alone_is_refused),
        in_directory(other_files_are_refused),
        in_directory(metadata_is_checked),
        in_directory(nothing_is_ever_overwritten),
        in_directory(saving_leaves_no_temporary_file),
        in_directory(endpoints_are_tcp_with_host_and_port),
        in_directory(names_that_cannot_be_files_are_refused),
    };
    return cmocka_run_group_tests_name("cert", tests, start_sodium, NULL);
}
