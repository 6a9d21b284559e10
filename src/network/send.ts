// One request of a policy to the network: HTTP without redirects (OPA's http.send follows them one by one, so that
// each is asked here), or the look-up of a name. Every failure is an answer with a text.
// @see src/rego/toolchain/network.go
import { lookup } from 'node:dns/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import type { Reach } from './reach.ts'

export interface NetworkRequest {
  readonly op: 'http' | 'lookup'
  readonly name?: string
  readonly method?: string
  readonly url?: string
  readonly host?: string
  readonly headers?: Readonly<Record<string, string[]>>
  /** `traceparent` and `tracestate`, unless the policy has its own. */
  readonly fields?: Readonly<Record<string, string>>
  /** Base64. */
  readonly body?: string
  readonly timeout_ms?: number
  readonly tls?: Readonly<Record<string, string>>
}

export interface NetworkAnswer {
  readonly error?: string
  readonly timeout?: boolean
  readonly status?: number
  readonly headers?: Readonly<Record<string, string[]>>
  /** Base64. */
  readonly body?: string
  readonly addresses?: readonly string[]
}

export interface NetworkLimits {
  /** Longest time for one request, whatever the policy asks for. Milliseconds. */
  readonly timeoutMs: number
  /** Largest answer. Bytes. */
  readonly maxResponseBytes: number
}

export async function send(request: NetworkRequest, reach: Reach, limits: NetworkLimits): Promise<NetworkAnswer> {
  try {
    return request.op === 'lookup' ? await resolveName(request.name ?? '', reach) : await sendHttp(request, reach, limits)
  } catch (thrown) {
    const { message, name } = thrown as Error
    return { error: message, timeout: name === 'TimeoutError' }
  }
}

async function resolveName(name: string, reach: Reach): Promise<NetworkAnswer> {
  if (!reach.allowsHost(name, undefined)) throw new Error(`disallowed host: ${name}`)
  const found = await lookup(name, { all: true })
  return { addresses: found.map(({ address }) => address) }
}

function sendHttp(request: NetworkRequest, reach: Reach, limits: NetworkLimits): Promise<NetworkAnswer> {
  const url = new URL(request.url ?? '')
  const secure = url.protocol === 'https:'
  if (!secure && url.protocol !== 'http:') throw new Error(`unsupported protocol scheme ${url.protocol}`)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || (secure ? 443 : 80))
  if (!reach.allowsHost(host, port)) throw new Error(`disallowed host: ${url.host}`)
  const timeoutMs = Math.min(request.timeout_ms ?? limits.timeoutMs, limits.timeoutMs)
  const tls = request.tls ?? {}
  const headers: Record<string, string | string[]> = { ...request.headers }
  const own = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
  // Those of one trace go together.
  if (!own.has('traceparent') && !own.has('tracestate')) Object.assign(headers, request.fields)
  if (request.host !== undefined && request.host !== '') headers.Host = request.host
  const { promise, resolve, reject } = Promise.withResolvers<NetworkAnswer>()
  const sent = (secure ? httpsRequest : httpRequest)(
    url,
    {
      method: request.method ?? 'GET',
      headers,
      agent: false,
      lookup: checkedLookup(reach, port),
      signal: AbortSignal.timeout(timeoutMs),
      maxHeaderSize: 64 * 1024,
      ...(secure && {
        ca: tls.tls_ca_cert,
        cert: tls.tls_client_cert,
        key: tls.tls_client_key,
        servername: tls.tls_server_name,
        rejectUnauthorized: tls.tls_insecure_skip_verify !== 'true',
      }),
    },
    (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > limits.maxResponseBytes) sent.destroy(new Error(`the answer is larger than ${limits.maxResponseBytes} bytes`))
        else chunks.push(chunk)
      })
      response.on('error', reject)
      response.on('end', () => {
        const received: Record<string, string[]> = {}
        for (const [name, values] of Object.entries(response.headersDistinct))
          if (values !== undefined) received[canonicalName(name)] = values
        resolve({ status: response.statusCode ?? 0, headers: received, body: Buffer.concat(chunks).toString('base64') })
      })
    },
  )
  sent.on('error', (error) =>
    reject(error.name === 'AbortError' ? Object.assign(new Error('request timed out'), { name: 'TimeoutError' }) : error),
  )
  sent.end(request.body === undefined ? undefined : Buffer.from(request.body, 'base64'))
  return promise
}

/** Resolves as Node.js does, and passes on only addresses that may be reached. */
function checkedLookup(reach: Reach, port: number): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }).then(
      (found) => {
        const open = found.filter(({ address }) => reach.allowsAddress(address, port))
        const [first] = open
        if (first === undefined) callback(new Error(`disallowed address: ${hostname} is ${found.map((f) => f.address).join(', ')}`), '', 0)
        else if (options.all) callback(null, open)
        else callback(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    )
  }
}

/** As Go's net/http writes names of headers, which is what OPA's caching looks for. */
function canonicalName(name: string): string {
  return name.replace(/(^|-)([a-z])/g, (_all, dash: string, letter: string) => dash + letter.toUpperCase())
}
