/* Tests of base64.h: RFC 4648's own texts (section 10), and that a text has one spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/base64.h"

static const char plain[] = "foobar";

static void reads(const char *text, enum base64_kind kind, size_t wanted)
{
    uint8_t into[8];
    size_t length = 99;
    assert_true(base64_decode(into, wanted, &length, slice_text(text), kind));
    assert_int_equal(length, wanted);
    assert_memory_equal(into, plain, wanted);
    if (wanted > 0) /* a byte of room too few */
        assert_false(base64_decode(into, wanted - 1, &length, slice_text(text), kind));
}

static void test_the_texts_of_the_rfc(void **state)
{
    (void)state;
    static const char *const padded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                         "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const url[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    for (size_t n = 0; n < 7; n++) {
        reads(padded[n], BASE64_PADDED, n);
        reads(url[n], BASE64_URL, n);
    }
}

static void test_each_alphabet_has_two_digits_of_its_own(void **state)
{
    (void)state;
    uint8_t into[3];
    size_t length;
    assert_true(base64_decode(into, 3, &length, slice_text("+/+/"), BASE64_PADDED));
    assert_memory_equal(into, "\xfb\xff\xbf", 3);
    assert_true(base64_decode(into, 3, &length, slice_text("-_-_"), BASE64_URL));
    assert_memory_equal(into, "\xfb\xff\xbf", 3);
    assert_false(base64_decode(into, 3, &length, slice_text("-_-_"), BASE64_PADDED));
    assert_false(base64_decode(into, 3, &length, slice_text("+/+/"), BASE64_URL));
}

static void test_other_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const padded[] = {
        "Zg", "Zg=", "Zh==", "Zm9=", "=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9\x80"};
    static const char *const url[] = {"Z", "Zg==", "Zh", "Zm9", "Zm9vY", "Zm 9"};
    uint8_t into[16];
    size_t length;
    for (size_t n = 0; n < sizeof padded / sizeof *padded; n++)
        assert_false(base64_decode(into, 16, &length, slice_text(padded[n]), BASE64_PADDED));
    for (size_t n = 0; n < sizeof url / sizeof *url; n++)
        assert_false(base64_decode(into, 16, &length, slice_text(url[n]), BASE64_URL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_texts_of_the_rfc),
        cmocka_unit_test(test_each_alphabet_has_two_digits_of_its_own),
        cmocka_unit_test(test_other_spellings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
