/* commands: requests byte for byte, whatever is in their arguments. */
#include "commands.h"
#include "support.h"

#include <string.h>

static void assert_bytes(const commands_t *self, const char *expected)
{
    assert_int_equal(self->used, strlen(expected));
    assert_memory_equal(self->bytes, expected, self->used);
}

TEST(a_request_is_resp)
{
    commands_t self = {0};
    commands_begin(&self, "SADD", 3);
    commands_key(&self, "f2b:", INT64_MAX);
    commands_number(&self, 0);
    commands_begin(&self, "SET", 3);
    commands_text(&self, "");
    commands_number(&self, INT64_MIN);
    assert_int_equal(self.count, 2);
    assert_bytes(&self, "*3\r\n$4\r\nSADD\r\n$23\r\nf2b:9223372036854775807\r\n$1\r\n0\r\n"
                        "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$20\r\n-9223372036854775808\r\n");
    commands_clear(&self);
    assert_int_equal(self.used + self.count, 0);
    commands_free(&self);
}

TEST(an_argument_never_becomes_a_command)
{
    commands_t self = {0};
    commands_begin(&self, "GET", 2);
    commands_bytes(&self, "a\r\n*1\r\n$8\r\nFLUSHALL\r\n", 21);
    assert_bytes(&self, "*2\r\n$3\r\nGET\r\n$21\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n\r\n");
    commands_free(&self);
}

TEST(a_command_is_named_by_its_first_argument_and_a_password_is_not)
{
    char name[COMMANDS_NAME_MAX];
    commands_t self = {0};
    commands_begin(&self, "AUTH", 2);
    commands_text(&self, "secret");
    commands_begin(&self, "MULTI", 1);
    commands_begin(&self, "SADD", 3);
    commands_text(&self, "f2b:sshd");
    commands_number(&self, 17);
    commands_begin(&self, "EXEC", 1);
    assert_string_equal(commands_name(&self, 0, name), "AUTH");
    assert_string_equal(commands_name(&self, 1, name), "MULTI");
    assert_string_equal(commands_name(&self, 2, name), "SADD f2b:sshd");
    assert_string_equal(commands_name(&self, 3, name), "EXEC");
    commands_free(&self);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(a_request_is_resp),
        plain(an_argument_never_becomes_a_command),
        plain(a_command_is_named_by_its_first_argument_and_a_password_is_not),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
