/* monitor.c - see monitor.h. The circle is the view's order by home tag, which is such a hash; the
 * dead among it are passed over. */
#include "mesh/member/monitor.h"

const struct mesh_member *monitor_watched(struct view *view)
{
    const struct mesh_member *self = view_self(view);
    if (view_others(view) == 0 || !view_lists_tags(view))
        return NULL;
    size_t count = view_count(view), at = view_tag_place(view, view_home_tag(self->record->id));
    const struct mesh_member *suspect = NULL;
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = view_by_tag(view, (at + n) % count);
        if (member != self && member->state == MEMBER_ALIVE)
            return member;
        if (suspect == NULL && member->state == MEMBER_SUSPECT)
            suspect = member;
    }
    return suspect;
}

size_t monitor_before(struct view *view, struct peer_id id, const struct mesh_member **members,
                      size_t max)
{
    size_t count = view_count(view), found = 0;
    if (!view_lists_tags(view))
        return 0;
    size_t at = view_tag_place(view, view_home_tag(id));
    for (size_t n = 1; n <= count && found < max; n++) {
        const struct mesh_member *member = view_by_tag(view, (at + count - n) % count);
        if (member != view_self(view) && member->state == MEMBER_ALIVE &&
            !peer_id_equal(member->record->id, id))
            members[found++] = member;
    }
    return found;
}
