/* A WASI preview 1 command for tests: each path does what its name says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static int echo(void) {
  static char buffer[65536];
  size_t size;
  while ((size = fread(buffer, 1, sizeof buffer, stdin)) > 0) fwrite(buffer, 1, size, stdout);
  return 0;
}

int main(void) {
  const char *path = getenv("PATH_INFO");
  const char *greeting = getenv("GREETING");
  printf("Content-Type: text/plain\nX-Made-By: c\n\n");
  if (!strcmp(path, "/echo")) return echo();
  if (!strcmp(path, "/trap")) __builtin_trap();
  if (!strcmp(path, "/loop")) for (;;) __asm__ volatile("");
  if (!strcmp(path, "/memory")) {
    for (;;) {
      char *more = malloc(1 << 20);
      if (!more) abort();
      memset(more, 1, 1 << 20);
    }
  }
  if (!strcmp(path, "/flood")) {
    for (;;) fputs("out of the flood\n", stderr);
  }
  if (!strcmp(path, "/headers")) {
    printf("%s %s %s", getenv("REQUEST_METHOD"), getenv("HTTP_X_ASKED"), getenv("QUERY_STRING"));
    return 0;
  }
  fprintf(stderr, "said by c\n");
  printf("%s from c", greeting);
  return 0;
}
