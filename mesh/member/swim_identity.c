/* swim_identity.c - what a member says of itself, proved by its own key (identity.h): our
 * statements are signed when they change, others' are verified when they say something new. Who has
 * an identity hears nothing of members that have none, and the other way round: a mesh has one or
 * the other.
 *
 * A statement covers record, incarnation and farewell, so nobody else can raise one of them. Others
 * may still suspect a member and tell its death, in the incarnation that it said itself. */
#include "mesh/member/swim_state.h"
#include "mesh/wire/identity.h"

void identity_now(struct swim *swim)
{
    const struct mesh_member *self = view_self(swim->view);
    bool is_left = self->state == MEMBER_LEFT;
    if (swim->identity == NULL || !view_is_announced(swim->view) ||
        (self->record->has_proof && swim->proved_version == self->record->version &&
         swim->proved_incarnation == self->incarnation && swim->proved_left == is_left))
        return;
    struct mesh_record record = *self->record;
    identity_prove(swim->identity, &record, self->incarnation, is_left);
    if (view_prove(swim->view, &record) < 0)
        return; /* without memory for that it is tried again */
    swim->proved_version = record.version;
    swim->proved_incarnation = self->incarnation;
    swim->proved_left = is_left;
}

/* Its own statement, and a good one: that was found before, or is found now. */
static bool is_its_word(const struct swim *swim, const struct wire_update *news,
                        const struct mesh_member *known)
{
    bool is_left = news->kind == UPDATE_LEFT;
    const struct mesh_record *said = &news->record, *had = known != NULL ? known->record : NULL;
    if (had != NULL && had->has_proof && said->has_proof &&
        news->incarnation == known->incarnation && is_left == (known->state == MEMBER_LEFT) &&
        record_says_the_same(had, said))
        return true;
    return identity_holds(swim->identity, said, news->incarnation, is_left, had);
}

/* Of the end of one that is not known here: could it end another one that is? */
static bool ends_another(const struct swim *swim, struct peer_id id)
{
    const struct mesh_member *of_name = view_find_name(swim->view, id.name);
    return of_name != NULL && member_is_living(of_name) &&
           of_name->record->id.generation < id.generation;
}

enum proof identity_of(const struct swim *swim, const struct wire_update *news)
{
    const struct mesh_member *known = view_find(swim->view, news->record.id);
    bool has_record = news->record.name[0] != '\0';
    if (news->kind == UPDATE_CLAIM)
        return PROOF_NEEDLESS;
    if (swim->identity == NULL)
        return news->record.has_proof ? PROOF_WRONG : PROOF_NEEDLESS;
    if (known != NULL && known == view_self(swim->view) && news->kind != UPDATE_ALIVE)
        return PROOF_NEEDLESS; /* we know better, and say so */
    if (news->kind == UPDATE_ALIVE || news->kind == UPDATE_LEFT)
        return is_its_word(swim, news, known) ? PROOF_GOOD : PROOF_WRONG;
    if (known != NULL && news->incarnation <= known->incarnation && !has_record)
        return PROOF_NEEDLESS;
    if (has_record)
        return is_its_word(swim, news, known) ? PROOF_NEEDLESS : PROOF_WRONG;
    return known != NULL || ends_another(swim, news->record.id) ? PROOF_WRONG : PROOF_NEEDLESS;
}
