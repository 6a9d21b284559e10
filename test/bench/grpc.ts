// Calls a second over gRPC, record on, one core, beside Cerbos with its audit log on, in the same run.
//   npm run bench:grpc            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:grpc -- --quick one short round, prints only; for CI
// Needs Linux, h2load (nghttp2) and taskset. Servers run on core 0, the load on core 1. Cerbos takes part where CERBOS_PROGRAM
// names its server.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { message } from '../support/raw-http2.ts'
import { abacBatch, abacQuestion } from './abac.ts'
import { batchesInProcess, cerbosProgram, folder, median, ratio, root, spread, startCerbos, startVerdict, writeReport } from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 1 : 8
const warmUpSeconds = 3
const batchSize = 1_000
const loader = new protobuf.Root()
loader.resolvePath = (_origin, target) => (target.startsWith('/') ? target : `${root}schemas/${target}`)
await loader.load(['verdict/v1/decision.proto', 'envoy/service/auth/v3/external_auth.proto'])

interface Load {
  readonly title: string
  readonly url: string
  readonly file: string
  /** Decisions of one call. */
  readonly decisions: number
  readonly connections: number
  readonly streams: number
}

const batchMessage = join(folder, 'batch-message.bin')
writeFileSync(batchMessage, encode('verdict.v1.DecideBatchRequest', batch()))
const inProcess = Array.from({ length: rounds }, () => batchesInProcess(batchSize, seconds, batchMessage))
const verdict = await startVerdict()
const cerbos = cerbosProgram === undefined ? undefined : await startCerbos(cerbosProgram)
const one = { connections: 8, streams: 8, decisions: 1 }
const loads = {
  decide: {
    ...one,
    title: 'Verdict, `Decide`',
    url: at(verdict.grpc, 'verdict.v1.DecisionService/Decide'),
    file: encoded('decide', 'verdict.v1.DecideRequest', native(1)),
  },
  check: {
    ...one,
    title: "Verdict, Envoy's `Check`",
    url: at(verdict.grpc, 'envoy.service.auth.v3.Authorization/Check'),
    file: encoded('check', 'envoy.service.auth.v3.CheckRequest', check()),
  },
  ...(cerbos !== undefined && {
    cerbos: {
      ...one,
      title: 'Cerbos, `CheckResources`, audit log in a file',
      url: at(cerbos.grpc, 'cerbos.svc.v1.CerbosService/CheckResources'),
      file: written('cerbos', cerbosRequest()),
    },
  }),
  batch: {
    title: 'batches',
    url: at(verdict.grpc, 'verdict.v1.DecisionService/DecideBatch'),
    file: encoded('batch', 'verdict.v1.DecideBatchRequest', batch()),
    decisions: batchSize,
    connections: 4,
    streams: 1,
  },
} satisfies Record<string, Load>
type Name = 'decide' | 'check' | 'cerbos' | 'batch'
const names = Object.keys(loads) as Name[]
const measured = new Map<Name, number[]>(names.map((name) => [name, []]))
for (let round = 0; round < rounds; round++) for (const name of names) measured.get(name)?.push(h2load(loads[name] as Load))
const report = table()
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:grpc', report)
process.exit(0)

function at(port: number, method: string): string {
  return `http://127.0.0.1:${port}/${method}`
}

function written(name: string, bytes: Uint8Array): string {
  const file = join(folder, `${name}.bin`)
  writeFileSync(file, message(bytes))
  return file
}

function encoded(name: string, type: string, value: object): string {
  return written(name, encode(type, value))
}

function encode(type: string, value: object): Uint8Array {
  const found = loader.lookupType(type)
  return found.encode(found.fromObject(value)).finish()
}

function native(i: number): object {
  const { subject, action, resource } = abacQuestion(i)
  const { properties, ...named } = resource
  return {
    subject,
    action,
    resource: { ...named, properties: { fields: { owner: { stringValue: properties.owner } } } },
    context: { fields: { hour: { numberValue: 10 } } },
  }
}

function batch(): object {
  const { subject, action, context } = native(0) as { subject: object; action: object; context: object }
  const evaluations = abacBatch(batchSize).evaluations.map((_, i) => ({ resource: (native(i) as { resource: object }).resource }))
  return { subject, action, context, evaluations }
}

/** What a browser's request looks like to Envoy. */
function check(): object {
  const headers = {
    ':authority': 'shop.example',
    ':method': 'GET',
    ':path': '/orders/17?page=2',
    ':scheme': 'https',
    accept: 'text/html,application/xhtml+xml',
    'accept-encoding': 'gzip, deflate, br',
    'accept-language': 'en-GB,en;q=0.9',
    'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
    'x-forwarded-proto': 'https',
    'x-request-id': '9c1e7a2e-1111-4222-8333-444455556666',
  }
  const http = {
    id: '1',
    method: 'GET',
    headers,
    path: '/orders/17?page=2',
    host: 'shop.example',
    scheme: 'https',
    protocol: 'HTTP/2',
    size: -1,
  }
  const address = { socketAddress: { address: '10.1.2.3', portValue: 4711 } }
  return {
    attributes: {
      source: { address, principal: 'spiffe://td/web' },
      destination: { address },
      request: { time: { seconds: 1_772_618_400 }, http },
    },
  }
}

/** cerbos.request.v1.CheckResourcesRequest, by its field numbers. */
function cerbosRequest(): Uint8Array {
  const text = (field: number, value: string) =>
    protobuf.Writer.create()
      .uint32((field << 3) | 2)
      .string(value)
      .finish()
  const part = (field: number, ...parts: Uint8Array[]) =>
    protobuf.Writer.create()
      .uint32((field << 3) | 2)
      .bytes(Buffer.concat(parts))
      .finish()
  const hour = protobuf.Writer.create()
    .uint32((2 << 3) | 1)
    .double(10)
    .finish()
  const principal = part(3, text(1, 'bob'), text(3, 'viewer'), part(4, text(1, 'hour'), part(2, hour)))
  const resource = part(2, text(1, 'doc'), text(3, '1'), part(4, text(1, 'owner'), part(2, text(3, 'alice'))))
  return Buffer.concat([text(1, '1'), principal, part(4, text(1, 'read'), resource)])
}

/** @returns decisions a second */
function h2load({ url, file, decisions, connections, streams }: Load): number {
  const fields = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
  const out = execFileSync(
    'taskset',
    [
      '-c',
      '1',
      'h2load',
      '-D',
      String(seconds),
      `--warm-up-time=${warmUpSeconds}`,
      '-c',
      String(connections),
      '-m',
      String(streams),
      '-d',
      file,
      ...fields,
      url,
    ],
    { encoding: 'utf8' },
  )
  const [, total, succeeded] = /requests: (\d+) total, .*? (\d+) succeeded/.exec(out) ?? []
  if (total === undefined || Number(total) === 0 || total !== succeeded) throw new Error(`${url} did not answer as it should:\n${out}`)
  return (Number(total) / seconds) * decisions
}

function table(): string {
  const rate = (name: Name) => measured.get(name) ?? []
  const rows = names
    .filter((name) => name !== 'batch')
    .map((name) => `| ${(loads[name] as Load).title} | ${Math.round(median(rate(name))).toLocaleString('en')} |`)
  const beside = measured.has('cerbos')
    ? `\`Decide\` answers ${ratio(rate('decide'), rate('cerbos'))} as many as Cerbos, \`Check\` ${ratio(rate('check'), rate('cerbos'))}. `
    : ''
  return [
    '| server | calls a second |',
    '|---|---|',
    ...rows,
    '',
    `${beside}Median of ${rounds} rounds of ${seconds} s, the servers in turns.`,
    `\`DecideBatch\` with ${batchSize.toLocaleString('en')} questions in a message: ${spread(inProcess)} recorded decisions a second from the bytes of a message to the bytes of its answer, with the record in a file, before the other servers start; ${spread(rate('batch'))} over gRPC.`,
    `Machine: ${cpus()[0]?.model.trim()}, Node.js ${process.versions.node}; server on core 0, h2load with 64 calls at once on core 1.`,
  ].join('\n')
}
