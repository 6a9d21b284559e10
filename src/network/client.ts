// Requests of the service itself to servers that are configured: with the certificates of both sides where that is asked for, never
// behind a redirect, which would give credentials to whoever it leads to. Not what policies may reach: that is send.ts.
import { readFileSync } from 'node:fs'
import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

/** Files in PEM, read for each request, as they are replaced while the service runs. */
export interface ClientTls {
  /** Authorities of the server; absent: the system's. */
  readonly caFile?: string | undefined
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
}

export interface ClientRequest {
  readonly method?: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly tls?: ClientTls | undefined
  /** Of the scheme of the URL; absent: a connection of its own. */
  readonly agent?: Agent | undefined
  readonly signal: AbortSignal
}

/** The answer's head; any status is one. */
export function sendTo(url: string, { method = 'GET', headers, body, tls, agent, signal }: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { method, headers, signal, agent: agent ?? false }
    const sent = url.startsWith('https:')
      ? httpsRequest(url, { ...credentials(tls), ...options, minVersion: 'TLSv1.2' })
      : httpRequest(url, options)
    sent.on('response', resolve).on('error', reject).end(body)
  })
}

function credentials({ caFile, certFile, keyFile }: ClientTls = {}) {
  const read = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file))
  return { ca: read(caFile), cert: read(certFile), key: read(keyFile) }
}

/**
 * @param tooLong what is thrown for a body with more bytes
 * @throws whatever breaks the body off
 */
export async function readBody(response: AsyncIterable<Uint8Array>, maxBytes: number, tooLong: () => Error): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response) {
    bytes += part.length
    if (bytes > maxBytes) throw tooLong()
    parts.push(part)
  }
  return Buffer.concat(parts)
}
