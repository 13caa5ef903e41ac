/* mutant.h - negative controls: one rule of the protocol broken on purpose, chosen by the option
 * `mutant` of the build, so that tests/mutants can show that the simulator notices. MUTANT(NAME)
 * stands at the very place of the rule; it is a constant 0 in every build but that mutant's. */
#ifndef MESH_MUTANT_H
#define MESH_MUTANT_H

#define MUTANT_NONE 0
#define MUTANT_NO_REFUTE 1        /* who is suspected says nothing: the living are declared dead */
#define MUTANT_RESURRECT 2        /* an "alive" of the incarnation that died raises the dead */
#define MUTANT_NO_REPLAY_WINDOW 3 /* a datagram is heard as often as it comes */
#define MUTANT_LABEL_IGNORED 4    /* peers of another mesh are heard, and join */
#define MUTANT_RING_ORDER 5       /* of points at one place, who was met first has it */
#define MUTANT_RING_STALE 6       /* who begins or ends to serve does not change the ring */
#define MUTANT_NO_NAMES 7         /* OPEN with a known name runs the request again */
#define MUTANT_NO_EPOCH_CHECK 8   /* an answer of an epoch that is over is passed on */
#define MUTANT_NO_VETO 9          /* who hears the owner lets it be taken over */
#define MUTANT_NO_FIRST_COPY 10   /* initialize is answered though nobody has a copy */
#define MUTANT_NO_FENCE 11        /* who woke up answers before its holders were asked */
#define MUTANT_GIVER_SERVES 12    /* who gave a session away goes on with it */
#define MUTANT_TAKER_HASTES 13    /* who is asked to take a session owns it at once */
#define MUTANT_KEY_UNASKED 14     /* a key seals though not everybody accepts it */
#define MUTANT_KEY_DROPPED 15     /* a key that others seal with is given up */

#define MUTANT_BELIEVE_HEARSAY 16 /* a farewell that others tell of is believed unasked */

#ifndef MESH_MUTANT
#define MESH_MUTANT MUTANT_NONE
#endif
#define MUTANT(name) (MESH_MUTANT == MUTANT_##name)

#endif
