#include "rest_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "pgheir/base/base64.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/resolver.h"

enum {
    NAME_COUNT_MAX = 64, /* members; names in the list are bounded by the list */
    CREDENTIALS_SIZE = 1024,
    LOOKUP_MS = 5000
};

/* IPv4 stands as ::ffff:a.b.c.d, so that there is one form to compare. */
struct block {
    struct in6_addr address;
    int prefix; /* bits of the 128 that must agree */
};

struct rest_gate {
    struct resolver *resolver;
    bool has_list;
    bool include_members;
    int block_count;
    struct block blocks[REST_ALLOWLIST_MAX];
    int name_count;
    char *names[REST_ALLOWLIST_MAX];
    int member_count;
    char *members[NAME_COUNT_MAX];
    enum rest_verify verify;
    bool is_tls;
    char *username;
    char *password;
};

static bool parse_address(const char *text, struct in6_addr *ret, bool *ret_is_v4)
{
    struct in_addr v4;
    char bare[REST_PEER_SIZE];
    char *percent;

    if (!str_copy(bare, sizeof(bare), text))
        return false;
    percent = strchr(bare, '%'); /* the scope of a link-local address */
    if (percent != NULL)
        *percent = '\0';
    if (inet_pton(AF_INET, bare, &v4) == 1) {
        memset(ret, 0, sizeof(*ret));
        ret->s6_addr[10] = 0xff;
        ret->s6_addr[11] = 0xff;
        memcpy(&ret->s6_addr[12], &v4, sizeof(v4));
        *ret_is_v4 = true;
        return true;
    }
    *ret_is_v4 = false;
    return inet_pton(AF_INET6, bare, ret) == 1;
}

static bool is_in_block(const struct block *block, const struct in6_addr *address)
{
    int whole = block->prefix / 8;
    int rest = block->prefix % 8;
    unsigned mask = 0xffU & ~(0xffU >> rest);

    if (memcmp(block->address.s6_addr, address->s6_addr, (size_t)whole) != 0)
        return false;
    return rest == 0 ||
           (block->address.s6_addr[whole] & mask) == (address->s6_addr[whole] & mask);
}

/* false if the text is no address and no block, but a name; *ret_bad if it is neither. */
static bool parse_block(const char *text, struct block *ret, bool *ret_bad)
{
    char address[REST_PEER_SIZE];
    const char *slash = strchr(text, '/');
    size_t length = slash == NULL ? strlen(text) : (size_t)(slash - text);
    int64_t prefix;
    bool is_v4;

    *ret_bad = false;
    if (length >= sizeof(address)) {
        *ret_bad = slash != NULL;
        return false;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    if (!parse_address(address, &ret->address, &is_v4)) {
        *ret_bad = slash != NULL;
        return false;
    }
    prefix = is_v4 ? 32 : 128;
    if (slash != NULL &&
        (!str_parse_int64(slash + 1, &prefix) || prefix < 0 || prefix > (is_v4 ? 32 : 128))) {
        *ret_bad = true;
        return false;
    }
    ret->prefix = (int)prefix + (is_v4 ? 96 : 0);
    return true;
}

static enum rc add_entry(struct rest_gate *gate, const char *text, struct err *err)
{
    bool is_bad;

    if (str_is_empty(text))
        return err_set(err, RC_INVALID, "restapi.allowlist: an entry is empty");
    if (parse_block(text, &gate->blocks[gate->block_count], &is_bad)) {
        gate->block_count++;
        return RC_OK;
    }
    if (is_bad || strlen(text) >= RESOLVER_NAME_SIZE)
        return err_set(err, RC_INVALID,
                       "restapi.allowlist: \"%s\" is neither an address nor a block such as "
                       "10.0.0.0/8 nor a host name",
                       text);
    gate->names[gate->name_count++] = mem_strdup(text);
    return RC_OK;
}

static enum rc check_credentials(const struct rest_options *options, struct err *err)
{
    if (str_is_empty(options->username) && str_is_empty(options->password))
        return RC_OK;
    if (str_is_empty(options->username))
        return err_set(err, RC_INVALID,
                       "restapi.authentication.username is missing, but a password is set");
    if (str_is_empty(options->password))
        return err_set(err, RC_INVALID,
                       "restapi.authentication.password is missing, but a username is set");
    if (strlen(options->username) + strlen(options->password) + 2 > CREDENTIALS_SIZE)
        return err_set(err, RC_INVALID, "restapi.authentication: longer than %d characters",
                       CREDENTIALS_SIZE);
    if (strchr(options->username, ':') != NULL)
        return err_set(err, RC_INVALID,
                       "restapi.authentication.username must not contain a colon");
    return RC_OK;
}

enum rc rest_gate_new(struct resolver *resolver, const struct rest_options *options,
                      struct rest_gate **ret, struct err *err)
{
    struct rest_gate *gate;
    enum rc rc = check_credentials(options, err);

    if (rc != RC_OK)
        return rc;
    if (options->allowlist_count > REST_ALLOWLIST_MAX)
        return err_set(err, RC_LIMIT, "restapi.allowlist: more than %d entries",
                       REST_ALLOWLIST_MAX);
    gate = mem_new(1, sizeof(*gate));
    gate->resolver = resolver;
    gate->has_list = options->allowlist_count > 0;
    gate->include_members = options->allowlist_include_members;
    gate->verify = options->verify_client;
    gate->is_tls = !str_is_empty(options->certfile);
    if (!str_is_empty(options->username)) {
        gate->username = mem_strdup(options->username);
        gate->password = mem_strdup(options->password);
    }
    for (int i = 0; rc == RC_OK && i < options->allowlist_count; i++)
        rc = add_entry(gate, options->allowlist[i], err);
    if (rc != RC_OK) {
        rest_gate_free(gate);
        return rc;
    }
    rest_gate_refresh(gate);
    *ret = gate;
    return RC_OK;
}

void rest_gate_free(struct rest_gate *gate)
{
    if (gate == NULL)
        return;
    for (int i = 0; i < gate->name_count; i++)
        mem_free(gate->names[i]);
    for (int i = 0; i < gate->member_count; i++)
        mem_free(gate->members[i]);
    mem_free(gate->username);
    if (gate->password != NULL)
        explicit_bzero(gate->password, strlen(gate->password));
    mem_free(gate->password);
    mem_free(gate);
}

/* The resolver remembers; the gate asks its memory when somebody knocks. */
static void on_lookup_done(const struct resolver_answer *answer, void *arg)
{
    (void)answer;
    (void)arg;
}

static void look_up(struct rest_gate *gate, const char *name)
{
    (void)resolver_lookup_begin(gate->resolver, name, clock_boot_ms() + LOOKUP_MS, on_lookup_done,
                                NULL);
}

void rest_gate_refresh(struct rest_gate *gate)
{
    if (gate->resolver == NULL)
        return;
    for (int i = 0; i < gate->name_count; i++)
        look_up(gate, gate->names[i]);
    for (int i = 0; gate->include_members && i < gate->member_count; i++) {
        if (!resolver_is_numeric(gate->members[i]))
            look_up(gate, gate->members[i]);
    }
}

void rest_gate_set_members(struct rest_gate *gate, const char *const *hosts, int count)
{
    bool is_same = count == gate->member_count;

    if (count > NAME_COUNT_MAX)
        count = NAME_COUNT_MAX;
    for (int i = 0; is_same && i < count; i++)
        is_same = str_equal(gate->members[i], hosts[i]);
    if (is_same)
        return;
    for (int i = 0; i < gate->member_count; i++)
        mem_free(gate->members[i]);
    for (int i = 0; i < count; i++)
        gate->members[i] = mem_strdup(hosts[i] == NULL ? "" : hosts[i]);
    gate->member_count = count;
    if (gate->include_members)
        rest_gate_refresh(gate);
}

void rest_gate_take_members(struct rest_gate *gate, const struct rest_gate *from)
{
    rest_gate_set_members(gate, (const char *const *)from->members, from->member_count);
}

static bool is_host_of(const struct rest_gate *gate, const char *host,
                       const struct in6_addr *peer)
{
    char addresses[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    struct in6_addr address;
    bool is_v4;
    int count = 0;

    if (gate->resolver == NULL ||
        !resolver_peek(gate->resolver, host, addresses, RESOLVER_ADDRESSES_MAX, &count))
        return false;
    for (int i = 0; i < count; i++) {
        if (parse_address(addresses[i], &address, &is_v4) &&
            memcmp(&address, peer, sizeof(address)) == 0)
            return true;
    }
    return false;
}

static bool is_listed(const struct rest_gate *gate, const char *text, bool with_members)
{
    struct in6_addr peer;
    bool is_v4;

    if (!parse_address(text, &peer, &is_v4))
        return false;
    for (int i = 0; i < gate->block_count; i++) {
        if (is_in_block(&gate->blocks[i], &peer))
            return true;
    }
    for (int i = 0; i < gate->name_count; i++) {
        if (is_host_of(gate, gate->names[i], &peer))
            return true;
    }
    for (int i = 0; with_members && i < gate->member_count; i++) {
        if (is_host_of(gate, gate->members[i], &peer))
            return true;
    }
    return false;
}

static bool is_basic_right(const struct rest_gate *gate, const char *authorization)
{
    unsigned char decoded[CREDENTIALS_SIZE + 1];
    char expected[CREDENTIALS_SIZE];
    size_t length = 0;
    const char *text;
    bool is_right;

    if (!str_starts_with(authorization, "Basic ") && !str_starts_with(authorization, "basic "))
        return false;
    text = authorization + strlen("Basic ");
    text += strspn(text, " ");
    if (base64_decoded_max(strlen(text)) > CREDENTIALS_SIZE ||
        !base64_decode(text, strlen(text), decoded, &length))
        return false;
    decoded[length] = '\0';
    if (memchr(decoded, '\0', length) != NULL ||
        !str_format(expected, sizeof(expected), "%s:%s", gate->username, gate->password))
        return false;
    is_right = str_equal_secret((const char *)decoded, expected);
    explicit_bzero(decoded, sizeof(decoded));
    explicit_bzero(expected, sizeof(expected));
    return is_right;
}

/* The order is part of the contract: rest.md section 6. */
void rest_gate_check(const struct rest_gate *gate, const struct rest_gate_question *question,
                     struct rest_gate_verdict *ret)
{
    bool with_members = gate->include_members && !question->no_members;
    bool asks_list = gate->has_list || with_members;

    *ret = (struct rest_gate_verdict){.status = 0, .text = ""};
    if (asks_list && !is_listed(gate, question->peer, with_members)) {
        *ret = (struct rest_gate_verdict){.status = 403, .text = "Access is denied"};
        return;
    }
    if (question->is_tls && gate->verify != REST_VERIFY_NONE && !question->has_certificate) {
        *ret = (struct rest_gate_verdict){.status = 403, .text = "client certificate required"};
        return;
    }
    if (gate->username == NULL)
        return;
    if (str_is_empty(question->authorization))
        *ret = (struct rest_gate_verdict){
            .status = 401, .text = "no auth header received", .ask_basic = true};
    else if (!is_basic_right(gate, question->authorization))
        *ret = (struct rest_gate_verdict){
            .status = 401, .text = "not authenticated", .ask_basic = true};
}

bool rest_gate_is_open(const struct rest_gate *gate)
{
    return !gate->has_list && !gate->include_members && gate->username == NULL &&
           !(gate->is_tls && gate->verify != REST_VERIFY_NONE);
}
