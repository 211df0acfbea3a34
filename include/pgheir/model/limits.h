/* Every maximum of the house, with its reason. Beyond a limit there is an error, never a silent
 * cut. */
#ifndef PGHEIR_MODEL_LIMITS_H
#define PGHEIR_MODEL_LIMITS_H

enum {
    MEMBERS_MAX = 64,     /* promised limit; a cluster of this kind rarely has more than seven */
    SLOTS_MAX = 512,      /* promised limit */
    NAME_SIZE = 128,      /* member, scope; PostgreSQL cuts application_name at 64 */
    HOST_SIZE = 256,      /* a DNS name has at most 253 characters */
    URL_SIZE = 320,       /* scheme, host, port and a short path */
    SLOT_NAME_SIZE = 64,  /* NAMEDATALEN */
    HISTORY_MAX = 64,     /* newest timeline switches kept for decisions */
    /* of one step: all notes, one of each request, slot changes in portions */
    ACTIONS_MAX = 96,
    SLOT_CHANGES_MAX = 16 /* of one step; the rest follows in the next one */
};

#endif
