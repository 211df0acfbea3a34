/* CRC-32C, with which PostgreSQL guards pg_control and every WAL record. Pure. */
#ifndef PGHEIR_CODEC_CRC32C_H
#define PGHEIR_CODEC_CRC32C_H

#include "pgheir/base/base.h"

/* Starts a sum. */
uint32_t crc32c_begin(void);
/* Takes in more bytes; returns the sum so far. */
uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t length);
/* The value as PostgreSQL stores it. */
uint32_t crc32c_end(uint32_t crc);

#endif
