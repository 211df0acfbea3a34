/* Prints docs/configuration.md from the option table. */
#include <stdio.h>

#include "pgheir/codec/conf.h"

int main(void)
{
    struct buf text;
    int rc = 1;

    buf_init(&text, 1024 * 1024);
    if (conf_describe(&text) == RC_OK && fputs(buf_text(&text), stdout) >= 0 && fflush(stdout) == 0)
        rc = 0;
    buf_done(&text);
    return rc;
}
