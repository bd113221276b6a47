/* Files that an operator writes or is sent: settings and certificates. Whatever is in them, they
 * are read or refused in words, and what is read keeps the promises of its header. */
#include "settings.h"

#include <czmq.h>
#include <sodium.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* zconfig has nothing left to complain of: it would print what may be a piece of a key. */
static void check_fault(const char *path, const fault_t *fault)
{
    char left_to_zconfig[128];
    snprintf(left_to_zconfig, sizeof left_to_zconfig, "%s: not a ZPL file", path);
    expect(fault->text[0] != '\0' && !streq(fault->text, left_to_zconfig));
}

static void check_settings(const char *path)
{
    fault_t fault = {.text = ""};
    settings_t *settings = settings_load(path, &fault);
    if (settings == NULL) {
        check_fault(path, &fault);
        return;
    }
    expect(event_name_valid(settings->node.name, strlen(settings->node.name)));
    expect(event_name_valid(settings->shared.jail, strlen(settings->shared.jail)));
    expect(settings->node.secret[0] == '/' && settings->node.trust[0] == '/');
    expect(settings->mesh.heartbeat_ms >= 100 && settings->mesh.heartbeat_ms <= 60000);
    for (size_t i = 0; i < settings->mesh.peer_count; i++)
        expect(cert_check_endpoint(settings->mesh.peers[i].endpoint, NULL) == 0 &&
               cert_check_endpoint(settings->mesh.peers[i].replay, NULL) == 0);
    settings_destroy(&settings);
}

static void check_cert(const char *path, cert_t *cert, const fault_t *fault)
{
    if (cert == NULL) {
        check_fault(path, fault);
        return;
    }
    expect(event_name_valid(cert->name, strlen(cert->name)));
    expect(cert->endpoint[0] == '\0' || cert_check_endpoint(cert->endpoint, NULL) == 0);
    expect(cert->replay[0] == '\0' || cert_check_endpoint(cert->replay, NULL) == 0);
    cert_destroy(&cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    char path[64];
    fault_t fault = {.text = ""};
    if (!started)
        expect(sodium_init() != -1);
    started = true;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    expect(fd != -1 && fchmod(fd, 0600) != -1 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check_settings(path);
    check_cert(path, cert_load_public(path, &fault), &fault);
    check_cert(path, cert_load_secret(path, &fault), &fault);
    close(fd);
    return 0;
}
