/* fuzz_h1_response.c - responses: whole and in random pieces they must read the same. The first
 * byte of the input chooses the pieces and whether HEAD was asked. */
#include "tests/fuzz/fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct feeding feeding = {.direction = H1_RESPONSES};
    struct record whole = {0}, pieces = {0}, collected = {0};

    if (length < 1)
        return 0;
    feeding.asked = data[0] % 16 == 0 ? H1_METHOD_HEAD : H1_METHOD_POST;
    drive(&feeding, data + 1, length - 1, &whole);
    feeding.seed = data[0] + 1u;
    drive(&feeding, data + 1, length - 1, &pieces);
    compare(&whole, &pieces);
    feeding.collect = feeding.into_room = true;
    drive(&feeding, data + 1, length - 1, &collected);
    compare(&whole, &collected);
    free(whole.data);
    free(pieces.data);
    free(collected.data);
    return 0;
}
