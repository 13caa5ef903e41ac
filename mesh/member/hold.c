/* hold.c - see hold.h. */
#include "mesh/member/hold.h"

bool hold_on_death(struct hold *hold, uint32_t first_ms, uint64_t now_ms)
{
    bool is_second = hold->died_ms != 0 && now_ms - hold->died_ms <= HOLD_WINDOW_MS;
    uint64_t longest_ms = (uint64_t)first_ms * HOLD_DOUBLINGS;
    hold->died_ms = now_ms != 0 ? now_ms : 1;
    if (!is_second)
        return false;
    /* after a quiet time as long as the longest hold it begins anew */
    bool is_repeated =
        hold->length_ms != 0 && (hold_is_on(hold) || now_ms - hold->over_ms <= longest_ms);
    uint64_t length_ms = is_repeated ? 2 * (uint64_t)hold->length_ms : first_ms;
    if (length_ms > longest_ms)
        length_ms = longest_ms;
    hold->length_ms = (uint32_t)length_ms;
    hold->until_ms = now_ms + length_ms;
    return true;
}

void hold_on_weak(struct hold *hold, uint32_t length_ms, uint64_t now_ms)
{
    if (hold->until_ms < now_ms + length_ms)
        hold->until_ms = now_ms + length_ms;
}

void hold_now(struct hold *hold, uint64_t now_ms)
{
    if (hold->until_ms == 0 || now_ms < hold->until_ms)
        return;
    hold->over_ms = hold->until_ms;
    hold->until_ms = 0;
}
