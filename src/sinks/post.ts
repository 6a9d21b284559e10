// One request that hands something on to a server, for sinks of every kind.
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type ClientTls, readBody, sendTo } from '../network/client.ts'
import { Refused } from './follower.ts'

const compress = promisify(gzip)
const maxAnswerBytes = 65_536
/** Shorter texts are sent as they are. Bytes. */
const minCompressedBytes = 1_024

/** Statuses that say that this text, as it is, will never be taken. */
const refusing: ReadonlySet<number> = new Set([400, 413, 422])

export interface Destination {
  readonly url: string
  /** File with a bearer token, read for each request. */
  readonly tokenFile: string | undefined
  readonly tls: ClientTls | undefined
}

/** @throws Refused; Error for what may work later */
export async function post({ url, tokenFile, tls }: Destination, contentType: string, text: string, signal: AbortSignal): Promise<void> {
  const isCompressed = Buffer.byteLength(text) >= minCompressedBytes
  const body = isCompressed ? await compress(text) : Buffer.from(text)
  const headers = {
    'content-type': contentType,
    ...(isCompressed && { 'content-encoding': 'gzip' }),
    'content-length': String(body.length),
    ...(tokenFile !== undefined && { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` }),
  }
  const response = await sendTo(url, { method: 'POST', headers, body, tls, signal })
  const { statusCode: status = 0 } = response
  const answer = await readBody(response, maxAnswerBytes, () => new Error('its answer is too long'))
  if (status >= 200 && status < 300) return
  const what = `the sink \`${url}\` answers ${status}: ${answer.toString('utf8', 0, 256)}`
  throw refusing.has(status) ? new Refused(what) : new Error(what)
}
