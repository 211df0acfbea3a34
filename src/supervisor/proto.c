#include "pgheir/supervisor/proto.h"

#include <errno.h>
#include <string.h>

struct proto_name {
    uint16_t type;
    bool is_from_agent;
    const char *text;
};

static const struct proto_name PROTO_NAMES[] = {
    {PROTO_HELLO, true, "hello"},
    {PROTO_START, true, "start"},
    {PROTO_SIGNAL_POSTMASTER, true, "signal_postmaster"},
    {PROTO_KILL_ORPHANS, true, "kill_orphans"},
    {PROTO_ADOPT, true, "adopt"},
    {PROTO_FENCE, true, "fence"},
    {PROTO_STATE, true, "state"},
    {PROTO_WELCOME, false, "welcome"},
    {PROTO_POSTMASTER_STARTED, false, "postmaster_started"},
    {PROTO_START_FAILED, false, "start_failed"},
    {PROTO_POSTMASTER_EXITED, false, "postmaster_exited"},
    {PROTO_ORPHANS_GONE, false, "orphans_gone"},
    {PROTO_FENCED, false, "fenced"},
    {PROTO_SHUTDOWN, false, "shutdown"},
    {PROTO_DONE, false, "done"},
    {PROTO_REFUSED, false, "refused"},
    {PROTO_PING, false, "ping"},
};

static const struct proto_name *proto_find_name(uint16_t type)
{
    for (size_t idx = 0; idx < PGH_COUNT(PROTO_NAMES); idx++) {
        if (PROTO_NAMES[idx].type == type)
            return &PROTO_NAMES[idx];
    }
    return NULL;
}

const char *proto_type_text(uint16_t type)
{
    const struct proto_name *name = proto_find_name(type);

    return name != NULL ? name->text : "unknown";
}

void proto_message_init(struct proto_message *message, enum proto_type type, uint64_t request_id)
{
    memset(message, 0, sizeof(*message));
    message->magic = PROTO_MAGIC;
    message->version = PROTO_VERSION;
    message->type = (uint16_t)type;
    message->request_id = request_id;
}

/* An absolute path that ends inside its array. */
static bool proto_path_is_valid(const char *path, size_t size)
{
    return path[0] == '/' && memchr(path, '\0', size) != NULL;
}

static bool proto_mode_is_valid(uint32_t mode)
{
    return mode == PROTO_MODE_STANDBY || mode == PROTO_MODE_PRIMARY;
}

static bool proto_strings_are_valid(const char *packed, uint32_t length, size_t size)
{
    return length <= size && (length == 0 || packed[length - 1] == '\0');
}

static bool proto_start_is_valid(const struct proto_start *start)
{
    if (!proto_mode_is_valid(start->mode))
        return false;
    if (!proto_path_is_valid(start->data_dir, sizeof(start->data_dir)))
        return false;
    if (start->argv_length == 0 || start->argv[0] != '/')
        return false;
    return proto_strings_are_valid(start->argv, start->argv_length, sizeof(start->argv)) &&
           proto_strings_are_valid(start->env, start->env_length, sizeof(start->env));
}

static bool proto_adopt_is_valid(const struct proto_adopt *adopt)
{
    return adopt->pid > 1 && proto_mode_is_valid(adopt->mode) &&
           proto_path_is_valid(adopt->data_dir, sizeof(adopt->data_dir));
}

static bool proto_welcome_is_valid(const struct proto_welcome *welcome)
{
    return welcome->fence.kind <= FENCE_DISARMED && welcome->state.length <= PROTO_STATE_SIZE &&
           memchr(welcome->data_dir, '\0', sizeof(welcome->data_dir)) != NULL;
}

static bool proto_body_is_valid(const struct proto_message *message)
{
    switch (message->type) {
    case PROTO_START:
        return proto_start_is_valid(&message->body.start);
    case PROTO_KILL_ORPHANS:
        return proto_path_is_valid(message->body.kill_orphans.data_dir, PROTO_PATH_SIZE);
    case PROTO_ADOPT:
        return proto_adopt_is_valid(&message->body.adopt);
    case PROTO_FENCE:
        return message->body.fence.kind <= FENCE_DISARMED;
    case PROTO_STATE:
        return message->body.state.length <= PROTO_STATE_SIZE;
    case PROTO_WELCOME:
        return proto_welcome_is_valid(&message->body.welcome);
    default:
        return true;
    }
}

int proto_message_check(const struct proto_message *message, size_t size, bool is_from_agent)
{
    const struct proto_name *name;

    if (size != sizeof(*message) || message->magic != PROTO_MAGIC)
        return EPROTO;
    if (message->version != PROTO_VERSION)
        return EPROTO;
    name = proto_find_name(message->type);
    if (name == NULL || name->is_from_agent != is_from_agent)
        return EINVAL;
    if (is_from_agent && message->request_id == 0)
        return EINVAL;
    return proto_body_is_valid(message) ? 0 : EINVAL;
}

bool proto_pack_strings(char *out, size_t size, const char *const *strings, size_t count,
                        uint32_t *ret_length)
{
    size_t used = 0;

    for (size_t idx = 0; idx < count; idx++) {
        size_t length = strlen(strings[idx]) + 1;

        if (length > size - used)
            return false;
        memcpy(out + used, strings[idx], length);
        used += length;
    }
    *ret_length = (uint32_t)used;
    return true;
}

int proto_unpack_strings(char *packed, uint32_t length, char **strings, int strings_max)
{
    int count = 0;
    uint32_t at = 0;

    if (length > 0 && packed[length - 1] != '\0')
        return -1;
    while (at < length) {
        if (count == strings_max)
            return -1;
        strings[count++] = packed + at;
        at += (uint32_t)strlen(packed + at) + 1;
    }
    strings[count] = NULL;
    return count;
}
