/* chronicle: numbers, and what is left when more came than there is room for. */
#include "chronicle.h"
#include "support.h"

static void note(chronicle_t *chronicle, int64_t nid, const char *text)
{
    const chronicle_entry_t entry = {.event = CHRONICLE_ARRIVED,
                                     .address = support_addr("45.154.244.1"),
                                     .origin = CHRONICLE_NO_ORIGIN,
                                     .nid = nid};
    chronicle_note(chronicle, &entry, text);
}

TEST(numbers_count_from_one)
{
    chronicle_t *chronicle = chronicle_new();
    assert_int_equal(chronicle_newest(chronicle), 0);
    assert_int_equal(chronicle_oldest(chronicle), 1);
    note(chronicle, 7, "sshd");
    note(chronicle, 8, NULL);
    assert_int_equal(chronicle_newest(chronicle), 2);
    assert_int_equal(chronicle_oldest(chronicle), 1);
    assert_int_equal(chronicle_at(chronicle, 1)->nid, 7);
    assert_string_equal(chronicle_at(chronicle, 1)->text, "sshd");
    assert_string_equal(chronicle_at(chronicle, 2)->text, "");
    assert_true(chronicle_at(chronicle, 2)->at.ms > 0);
    chronicle_destroy(&chronicle);
    assert_null(chronicle);
}

TEST(the_oldest_give_way)
{
    chronicle_t *chronicle = chronicle_new();
    for (int64_t i = 1; i <= 3 * CHRONICLE_SIZE + 5; i++)
        note(chronicle, i, "sshd");
    assert_int_equal(chronicle_newest(chronicle), 3 * CHRONICLE_SIZE + 5);
    assert_int_equal(chronicle_oldest(chronicle), 2 * CHRONICLE_SIZE + 6);
    for (uint64_t i = chronicle_oldest(chronicle); i <= chronicle_newest(chronicle); i++)
        assert_int_equal(chronicle_at(chronicle, i)->nid, i);
    chronicle_destroy(&chronicle);
}

TEST(without_one_nothing_is_noted)
{
    note(NULL, 7, "sshd");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(numbers_count_from_one),
        plain(the_oldest_give_way),
        plain(without_one_nothing_is_noted),
    };
    return cmocka_run_group_tests_name("chronicle", tests, NULL, NULL);
}
