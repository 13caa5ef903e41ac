/* load_record.c - each call and event of a run, with its times, for a judge afterwards. See load.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tests/tools/load.h"

static FILE *file;

int load_record_open(const char *path)
{
    file = fopen(path, "w");
    return file != NULL ? 0 : -errno;
}

static uint64_t index_of(const struct load_session *session)
{
    return (uint64_t)(session - load.sessions);
}

void load_record_call(const struct load_call *call)
{
    if (file == NULL || call->session == NULL)
        return;
    uint64_t done_ns = call->answered_ns != 0 ? call->answered_ns : io_now_ns();
    char detail[DETAIL_MAX];
    snprintf(detail, sizeof detail, "%s", call->detail);
    for (char *at = detail; (at = strpbrk(at, "\t\r\n")) != NULL;)
        *at = ' ';
    fprintf(file, "call\t%" PRIu64 "\t%" PRIu64 "\t%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%s\t%d\t%s\n",
            call->number, index_of(call->session),
            call->tool != NULL ? call->tool->name : load_purpose_names[call->purpose], call->target,
            call->due_ns / 1000, done_ns / 1000,
            call->has_failed ? load_failure_names[call->failure] : "ok", call->http.status, detail);
}

void load_record_event(const struct load_session *session, uint64_t number)
{
    if (file != NULL)
        fprintf(file, "event\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", index_of(session), number,
                io_now_ns() / 1000);
}

void load_record_stream(const struct load_call *call, const char *word)
{
    if (file != NULL)
        fprintf(file, "stream\t%" PRIu64 "\t%s\t%d\t%u\t%" PRIu64 "\n", index_of(call->session),
                word, call->http.status, call->target, io_now_ns() / 1000);
}

void load_record_close(void)
{
    if (file != NULL)
        fclose(file);
    file = NULL;
}
