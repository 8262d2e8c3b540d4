// A plugin in C, against nothing but the ABI (Proxy-Wasm 0.2.1); its configuration, a JSON object of strings, says
// what it does.
//
//   header   the value of the response header x-sentry
//   deny     it answers a request that has this header, with 403
//   body     it sets this body of the response
//   trap     it traps on a request that has this header
//   refuse   it refuses its configuration
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("env"), import_name(name)))

enum { OK = 0 };
enum { CONTINUE = 0, PAUSE = 1 };
enum { REQUEST_HEADERS = 0, RESPONSE_HEADERS = 2 };
enum { RESPONSE_BODY = 1, PLUGIN_CONFIGURATION = 7 };
enum { LEVEL_ERROR = 4 };
enum { NO_GRPC_STATUS = -1 };

IMPORT("proxy_log") int host_log(int level, const char *text, size_t size);
IMPORT("proxy_get_buffer_bytes") int host_get_buffer(int kind, int start, int size_max, char **data, size_t *size);
IMPORT("proxy_set_buffer_bytes") int host_set_buffer(int kind, int start, int size_before, const char *data, size_t size);
IMPORT("proxy_get_header_map_value")
int host_get_header(int map, const char *key, size_t key_size, char **value, size_t *size);
IMPORT("proxy_add_header_map_value")
int host_add_header(int map, const char *key, size_t key_size, const char *value, size_t size);
IMPORT("proxy_remove_header_map_value") int host_remove_header(int map, const char *key, size_t key_size);
IMPORT("proxy_send_local_response")
int host_respond(int status, const char *details, size_t details_size, const char *body, size_t body_size,
                 const char *headers, size_t headers_size, int grpc_status);

EXPORT("proxy_abi_version_0_2_1") void abi_version(void) {}
EXPORT("proxy_on_memory_allocate") void *allocate(size_t size) { return malloc(size); }
EXPORT("proxy_on_context_create") void on_context_create(int id, int parent) {}
EXPORT("proxy_on_vm_start") bool on_vm_start(int id, int size) { return true; }

/// The configuration; one a VM, because Skerry gives each plugin a VM of its own.
static char *configuration;

/// Finds a string of the configuration; returns its size, 0 where there is none.
static size_t option(const char *key, const char **value) {
  char quoted[32] = "\"";
  strcat(strcat(quoted, key), "\":\"");
  const char *found = configuration ? strstr(configuration, quoted) : NULL;
  if (!found) return 0;
  *value = found + strlen(quoted);
  const char *end = strchr(*value, '"');
  return end ? (size_t)(end - *value) : 0;
}

/// Tells whether the request has the header that an option names.
static bool is_asked(const char *key) {
  const char *name;
  size_t name_size = option(key, &name), size = 0;
  char *value = NULL;
  if (!name_size || host_get_header(REQUEST_HEADERS, name, name_size, &value, &size) != OK) return false;
  free(value);
  return size > 0;
}

EXPORT("proxy_on_configure") bool on_configure(int id, int size) {
  char *data = NULL;
  size_t length = 0;
  if (host_get_buffer(PLUGIN_CONFIGURATION, 0, size, &data, &length) != OK) return size == 0;
  free(configuration);
  configuration = realloc(data, length + 1);
  configuration[length] = '\0';
  const char *why;
  size_t why_size = option("refuse", &why);
  if (why_size) host_log(LEVEL_ERROR, why, why_size);
  return !why_size;
}

EXPORT("proxy_on_request_headers") int on_request_headers(int id, int count, int is_end) {
  static const char denied[] = "denied in C";
  if (is_asked("trap")) __builtin_trap();
  if (!is_asked("deny")) return CONTINUE;
  host_respond(403, NULL, 0, denied, sizeof denied - 1, NULL, 0, NO_GRPC_STATUS);
  return PAUSE;
}

EXPORT("proxy_on_response_headers") int on_response_headers(int id, int count, int is_end) {
  const char *value;
  size_t size = option("header", &value);
  if (size) host_add_header(RESPONSE_HEADERS, "x-sentry", 8, value, size);
  if (option("body", &value)) host_remove_header(RESPONSE_HEADERS, "content-length", 14);
  return CONTINUE;
}

EXPORT("proxy_on_response_body") int on_response_body(int id, int size_before, int is_end) {
  const char *body;
  size_t size = option("body", &body);
  if (!size) return CONTINUE;
  if (!is_end) return PAUSE;
  host_set_buffer(RESPONSE_BODY, 0, size_before, body, size);
  return CONTINUE;
}
