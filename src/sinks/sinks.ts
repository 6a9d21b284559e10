// Where records go beside the log, as the configuration says: to stdout, to a server as lines or in OPA's protocol, to a collector by OTLP,
// to a syslog. Each is told in its own words here; when and from where is the follower's.
import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls } from 'node:tls'
import { membersOf } from '../decision/json-text.ts'
import type { ClientTls } from '../network/client.ts'
import { version } from '../version.ts'
import type { Deliver } from './follower.ts'
import { post } from './post.ts'

export interface SinkOptions {
  readonly type: 'stdout' | 'http' | 'opa' | 'otlp' | 'syslog'
  /** Of all but stdout; `tcp:` or `tls:` of a syslog. */
  readonly url: string | undefined
  /** File with a bearer token, read for each request. */
  readonly tokenFile: string | undefined
  readonly tls: ClientTls | undefined
}

export interface Sink {
  readonly deliver: Deliver
  close(): void
}

export function createSink(options: SinkOptions): Sink {
  const { type, url = '', tokenFile, tls } = options
  const to = { url, tokenFile, tls }
  const without = (deliver: Deliver): Sink => ({ deliver, close: () => {} })
  switch (type) {
    case 'stdout':
      return without(
        (lines) =>
          new Promise((resolve, reject) => process.stdout.write(`${lines.join('\n')}\n`, (error) => (error ? reject(error) : resolve()))),
      )
    case 'http':
      return without((lines, signal) => post(to, 'application/x-ndjson', `${lines.join('\n')}\n`, signal))
    case 'opa':
      return without((lines, signal) => {
        const events = lines.flatMap((line) => opaEvent(line) ?? [])
        return events.length === 0 ? Promise.resolve() : post(to, 'application/json', `[${events.join(',')}]`, signal)
      })
    case 'otlp':
      return without((lines, signal) =>
        post({ ...to, url: `${url.replace(/\/+$/, '')}/v1/logs` }, 'application/json', otlpLogs(lines), signal),
      )
    case 'syslog':
      return new Syslog(url, tls)
  }
}

/**
 * One event of OPA's decision log; undefined for lines that are no decision.
 * @see https://www.openpolicyagent.org/docs/management-decision-logs
 */
function opaEvent(line: string): string | undefined {
  const members = membersOf(line)
  const id = members.get('id')
  if (id === undefined) return undefined
  const { time, policy, trace_id, span_id, duration_us, caller, masked, error, correlation_id } = JSON.parse(line) as Readonly<
    Record<string, never>
  > & {
    readonly policy?: { readonly bundle: string; readonly entrypoint: string; readonly revision: string }
    readonly caller: { readonly id?: string; readonly address?: string }
    readonly error?: { readonly code: string; readonly message: string }
    readonly duration_us: number
    readonly masked: readonly string[]
  }
  const parts = [
    `"decision_id":${id}`,
    `"labels":${withId(members.get('labels') ?? '{}', members.get('shard') ?? '""')}`,
    `"timestamp":${JSON.stringify(time)}`,
    `"req_id":${JSON.stringify(correlation_id)}`,
    `"requested_by":${JSON.stringify(caller.id ?? caller.address ?? '')}`,
    `"metrics":{"timer_server_handler_ns":${duration_us * 1_000}}`,
  ]
  if (trace_id !== undefined) parts.push(`"trace_id":${JSON.stringify(trace_id)}`, `"span_id":${JSON.stringify(span_id)}`)
  if (policy !== undefined) {
    parts.push(`"path":${JSON.stringify(policy.entrypoint)}`)
    parts.push(`"bundles":${JSON.stringify({ [policy.bundle]: { revision: policy.revision } })}`)
  }
  const nd = members.get('nd')
  const input = members.get('input')
  if (input !== undefined) parts.push(`"input":${input}`)
  if (nd !== undefined) parts.push(`"nd_builtin_cache":${nd}`)
  if (masked.length > 0) parts.push(`"erased":${JSON.stringify(masked)}`)
  if (error !== undefined) parts.push(`"error":${JSON.stringify(error)}`)
  const said = (['decision', 'reasons', 'obligations'] as const).flatMap((name) => {
    const text = members.get(name)
    return text === undefined ? [] : [`"${name}":${text}`]
  })
  parts.push(`"result":{${said.join(',')}}`)
  return `{${parts.join(',')}}`
}

function withId(labels: string, shard: string): string {
  const own = `"id":${shard},"version":"${version}"`
  return labels === '{}' ? `{${own}}` : `{${own},${labels.slice(1)}`
}

/** @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
function otlpLogs(lines: readonly string[]): string {
  const logRecords = lines.map((line) => {
    const { time, outcome, trace_id, span_id, id } = JSON.parse(line) as Readonly<Record<string, string | undefined>>
    const ns = `${BigInt(Date.parse(time ?? '') || 0) * 1_000_000n}`
    return {
      timeUnixNano: ns,
      observedTimeUnixNano: ns,
      severityNumber: outcome === 'error' ? 17 : 9,
      severityText: outcome === 'error' ? 'ERROR' : 'INFO',
      eventName: 'verdict.decision',
      body: { stringValue: line },
      attributes: [
        ...(id === undefined ? [] : [{ key: 'verdict.decision.id', value: { stringValue: id } }]),
        ...(outcome === undefined ? [] : [{ key: 'verdict.decision', value: { stringValue: outcome } }]),
      ],
      ...(trace_id !== undefined && { traceId: trace_id, spanId: span_id }),
    }
  })
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'verdict' } }] }
  return JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 'verdict', version }, logRecords }] }] })
}

/** Local use 0, informational; errors as errors. @see RFC 5424 §6.2.1 */
const [infoPriority, errorPriority] = [16 * 8 + 6, 16 * 8 + 3]

/**
 * RFC 5424 over TCP or TLS, each message behind its length (RFC 6587 §3.4.1). A syslog does not say what it has taken: what the system had of
 * a connection that broke off is lost to it.
 */
class Syslog implements Sink {
  readonly #url: URL
  readonly #tls: ClientTls | undefined
  #socket: Promise<Socket> | undefined

  constructor(url: string, tls: ClientTls | undefined) {
    this.#url = new URL(url)
    this.#tls = tls
  }

  readonly deliver: Deliver = async (lines, signal) => {
    this.#socket ??= this.#connect(signal)
    try {
      const socket = await this.#socket
      const text = lines.map(syslogMessage).join('')
      await new Promise<void>((resolve, reject) => {
        const fail = (error?: Error) => reject(error ?? new Error('the syslog closed the connection'))
        socket.once('close', fail)
        signal.addEventListener('abort', () => fail(new Error('the syslog takes too long')), { once: true })
        socket.write(text, (error) => {
          socket.off('close', fail)
          if (error) reject(error)
          else resolve()
        })
      })
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    this.#socket?.then(
      (socket) => socket.destroy(),
      () => {},
    )
    this.#socket = undefined
  }

  #connect(signal: AbortSignal): Promise<Socket> {
    const { hostname: host, port, protocol } = this.#url
    const at = { host: host.replace(/^\[|\]$/g, ''), port: Number(port || (protocol === 'tls:' ? 6514 : 601)) }
    const read = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file))
    const { caFile, certFile, keyFile } = this.#tls ?? {}
    return new Promise((resolve, reject) => {
      const socket =
        protocol === 'tls:'
          ? connectTls({ ...at, servername: host, ca: read(caFile), cert: read(certFile), key: read(keyFile) })
          : connectTcp(at)
      socket.setKeepAlive(true, 10_000)
      socket.once(protocol === 'tls:' ? 'secureConnect' : 'connect', () => resolve(socket))
      socket.once('error', reject)
      socket.on('error', () => {})
      socket.once('close', () => {
        this.#socket = undefined
      })
      signal.addEventListener('abort', () => reject(new Error('the syslog cannot be reached')), { once: true })
    })
  }
}

function syslogMessage(line: string): string {
  const { time, outcome, id } = JSON.parse(line) as Readonly<Record<string, string | undefined>>
  const priority = outcome === 'error' ? errorPriority : infoPriority
  const message = `<${priority}>1 ${time ?? '-'} ${hostname().slice(0, 255)} verdict ${process.pid} ${id === undefined ? '-' : 'decision'} - \ufeff${line}`
  return `${Buffer.byteLength(message)} ${message}`
}
