// X-Request-ID: the caller's where it is harmless, else one of our own; the same value goes out.
import { randomUUID } from 'node:crypto'

const harmless = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/

/** @param sent what the caller gave, if it gave one value */
export function correlationId(sent: unknown): string {
  return typeof sent === 'string' && harmless.test(sent) ? sent : randomUUID()
}
