/* A filter for Envoy as a dynamic module: it sets one header on requests and on responses.
 *
 * Its configuration, and that of a route, which goes before it, is a JSON object: {"header": "x-greeting", "value": "hi"}.
 *
 * Build it:  gcc -O2 -shared -fPIC -o add_header.so add_header.c
 *
 * The declarations are those parts of Envoy's ABI for dynamic modules that this filter uses. A filter of your own had
 * better take Envoy's header, source/extensions/dynamic_modules/abi/abi.h, or one of its SDKs (C++, Go, Rust), of the
 * Envoy that it is for.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef ABI_VERSION
#define ABI_VERSION "v0.2.0"
#endif

typedef struct {
  const char *ptr;
  size_t length;
} buffer;

enum { REQUEST_HEADER = 0, RESPONSE_HEADER = 2 };
enum { CONTINUE = 0 };

extern bool envoy_dynamic_module_callback_http_set_header(void *envoy, int kind, buffer key, buffer value);
extern const void *envoy_dynamic_module_callback_get_most_specific_route_config(void *envoy);

typedef struct {
  char *header;
  char *value;
} settings;

typedef struct {
  const settings *everywhere;
  void *envoy;
} filter;

/* Copies the string that a key has in a flat JSON object whose strings need no escapes; NULL where there is none. */
static char *string_of(buffer json, const char *key) {
  const char *end = json.ptr + json.length, *at = json.ptr;
  size_t length = strlen(key);
  for (; at + length + 2 < end; at++) {
    if (*at == '"' && memcmp(at + 1, key, length) == 0 && at[length + 1] == '"') break;
  }
  if (at + length + 2 >= end) return NULL;
  for (at += length + 2; at < end && (*at == ':' || *at == ' '); at++) {
  }
  if (at == end || *at != '"') return NULL;
  const char *start = at + 1, *stop = start;
  while (stop < end && *stop != '"') stop++;
  return stop < end ? strndup(start, (size_t)(stop - start)) : NULL;
}

static void release(settings *found) {
  free(found->header);
  free(found->value);
  free(found);
}

/* Reads a configuration; NULL makes Envoy refuse it. */
static settings *read_settings(buffer json) {
  settings *found = calloc(1, sizeof *found);
  found->header = string_of(json, "header");
  found->value = string_of(json, "value");
  if (found->header && found->value) return found;
  release(found);
  return NULL;
}

static void set_header(const filter *self, int kind) {
  const settings *told = envoy_dynamic_module_callback_get_most_specific_route_config(self->envoy);
  if (told == NULL) told = self->everywhere;
  buffer key = {told->header, strlen(told->header)}, value = {told->value, strlen(told->value)};
  envoy_dynamic_module_callback_http_set_header(self->envoy, kind, key, value);
}

/* What Envoy calls. It asks for every function below when it loads the module. */

const char *envoy_dynamic_module_on_program_init(void) { return ABI_VERSION; }

const void *envoy_dynamic_module_on_http_filter_config_new(void *envoy, buffer name, buffer config) {
  return read_settings(config);
}
void envoy_dynamic_module_on_http_filter_config_destroy(const void *config) { release((settings *)config); }

const void *envoy_dynamic_module_on_http_filter_per_route_config_new(buffer name, buffer config) {
  return read_settings(config);
}
void envoy_dynamic_module_on_http_filter_per_route_config_destroy(const void *config) { release((settings *)config); }

const void *envoy_dynamic_module_on_http_filter_new(const void *config, void *envoy) {
  filter *self = malloc(sizeof *self);
  *self = (filter){config, envoy};
  return self;
}
void envoy_dynamic_module_on_http_filter_destroy(const void *self) { free((void *)self); }

int envoy_dynamic_module_on_http_filter_request_headers(void *envoy, const void *self, bool is_last) {
  set_header(self, REQUEST_HEADER);
  return CONTINUE;
}
int envoy_dynamic_module_on_http_filter_response_headers(void *envoy, const void *self, bool is_last) {
  set_header(self, RESPONSE_HEADER);
  return CONTINUE;
}

int envoy_dynamic_module_on_http_filter_request_body(void *envoy, const void *self, bool is_last) { return CONTINUE; }
int envoy_dynamic_module_on_http_filter_request_trailers(void *envoy, const void *self) { return CONTINUE; }
int envoy_dynamic_module_on_http_filter_response_body(void *envoy, const void *self, bool is_last) { return CONTINUE; }
int envoy_dynamic_module_on_http_filter_response_trailers(void *envoy, const void *self) { return CONTINUE; }
void envoy_dynamic_module_on_http_filter_stream_complete(void *envoy, const void *self) {}

/* This filter calls nobody out and schedules nothing, so what would tell it of that is never called. */
#define UNUSED(name) \
  void envoy_dynamic_module_on_http_filter_##name(void) {}
UNUSED(http_callout_done)
UNUSED(http_stream_headers)
UNUSED(http_stream_data)
UNUSED(http_stream_trailers)
UNUSED(http_stream_complete)
UNUSED(http_stream_reset)
UNUSED(scheduled)
UNUSED(downstream_above_write_buffer_high_watermark)
UNUSED(downstream_below_write_buffer_low_watermark)
