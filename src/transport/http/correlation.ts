// X-Request-ID: the caller's where it is harmless, else one of our own; the same value goes out.
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const harmless = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/

export function correlationId(request: Pick<IncomingMessage, 'headers'>): string {
  const sent = request.headers['x-request-id']
  return typeof sent === 'string' && harmless.test(sent) ? sent : randomUUID()
}
