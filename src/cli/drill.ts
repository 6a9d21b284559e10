// verdict drill revoke: a credential compromise, rehearsed on a running service. An identity is revoked while it asks at every door;
// how long each door still lets it in is measured, then the revocation is ended.
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import type { Command } from 'commander'
import protobuf from 'protobufjs/minimal.js'
import { createClient } from '../client/index.ts'
import { PdpError } from '../errors.ts'
import type { IsolationInfo } from '../transport/http/isolation-routes.ts'
import { exitCodes, paint, print, printJson } from './output.ts'
import { askServer, baseOf, type ServerOptions, withServerOptions } from './server-client.ts'

interface DrillOptions extends ServerOptions {
  caller: string
  callerToken: string
  grpc: string
  maxMs: string
}

/** One question at one door. @returns whether it was let in */
type Door = () => Promise<boolean>

interface DoorReport {
  readonly door: string
  /** Answers before the revocation. */
  readonly before: number
  /** From the API's answer to the first refusal that began behind it. Milliseconds. */
  readonly first_refusal_ms: number | null
  /** From the API's answer to the last answer that let in; 0: none did. Milliseconds. */
  readonly last_admission_ms: number
  readonly refusals: number
  /** Whether it lets in again when the revocation has ended. */
  readonly restored: boolean
}

const warmUpMs = 300
const watchMs = 1_500

export function drillCommand(program: Command): void {
  const drill = program.command('drill').description('rehearse what must work when it matters')
  withServerOptions(
    drill
      .command('revoke')
      .description('revoke a caller on a running service, measure every door, restore')
      .requiredOption('--caller <id>', 'the caller to revoke, as the service knows it')
      .requiredOption('--caller-token <token>', 'a bearer token of that caller')
      .option('--grpc <address>', 'gRPC address', '127.0.0.1:9191')
      .option('--max-ms <ms>', 'longest time that a door may still let in behind the answer', '100'),
  )
    .addHelpText(
      'after',
      `
Examples:
  verdict drill revoke --caller gateway --caller-token "$(cat gateway.token)"
  verdict drill revoke --caller gateway --caller-token "$(cat gateway.token)" --json > drill.json

While it runs the caller is refused. Exit code 1: a door let it in for too long, or does not again.`,
    )
    .action(revoke)
}

async function revoke(options: DrillOptions): Promise<void> {
  if (!/^\d{1,6}$/.test(options.maxMs)) throw new PdpError('ERR_USAGE', `--max-ms must be a number, not \`${options.maxMs}\``)
  const doors = doorsOf(options)
  const skipped: string[] = []
  const asks: Record<string, Door> = {}
  for (const [name, ask] of Object.entries(doors.asks)) {
    if (await ask().catch(() => false)) asks[name] = ask
    else skipped.push(name)
  }
  if (Object.keys(asks).length === 0) {
    doors.close()
    throw new PdpError('ERR_USAGE', 'no door lets the caller in now, so there is nothing to measure: see --server, --grpc, --caller-token')
  }
  const state = { revokedAt: Number.POSITIVE_INFINITY, isRunning: true }
  const watching = Object.entries(asks).map(([name, ask]) => watch(name, ask, state))
  await pause(warmUpMs)
  const entry = await askServer<IsolationInfo>(options, 'POST', '/v1/revocations', {
    kind: 'caller',
    value: options.caller,
    reason: 'drill',
    // Whatever happens to this program, the caller is back in a while.
    expires_in_s: 60,
  })
  state.revokedAt = performance.now()
  await pause(watchMs)
  state.isRunning = false
  const seen = await Promise.all(watching)
  await askServer(options, 'DELETE', `/v1/revocations/${entry.id}`)
  const report: DoorReport[] = []
  for (const one of seen) report.push({ ...one, restored: await (asks[one.door] as Door)() })
  doors.close()
  const isGood = report.every((one) => one.last_admission_ms <= Number(options.maxMs) && one.refusals > 0 && one.restored)
  if (options.json) printJson({ caller: options.caller, revocation: entry.id, passed: isGood, doors: report, skipped })
  else printReport(options.caller, report, isGood)
  if (!options.json && skipped.length > 0) print(`  not let in before, and so not measured: ${skipped.join(', ')}`)
  if (!isGood) process.exitCode = exitCodes.no
}

async function watch(
  door: string,
  ask: Door,
  state: { readonly revokedAt: number; readonly isRunning: boolean },
): Promise<Omit<DoorReport, 'restored'>> {
  let [before, refusals, lastAdmission] = [0, 0, 0]
  let firstRefusal: number | null = null
  while (state.isRunning) {
    const isIn = await ask().catch(() => false)
    const sinceMs = performance.now() - state.revokedAt
    if (sinceMs < 0) before++
    else if (isIn) lastAdmission = sinceMs
    else {
      refusals++
      firstRefusal ??= sinceMs
    }
  }
  const rounded = (ms: number) => Math.round(ms * 10) / 10
  return {
    door,
    before,
    first_refusal_ms: firstRefusal === null ? null : rounded(firstRefusal),
    last_admission_ms: rounded(lastAdmission),
    refusals,
  }
}

function doorsOf({ server, callerToken, grpc }: DrillOptions): { readonly asks: Readonly<Record<string, Door>>; close(): void } {
  const base = baseOf({ server })
  const question = { subject: { type: 'drill', id: 'drill' }, action: { name: 'drill' }, resource: { type: 'drill', id: 'drill' } }
  const authorization = `Bearer ${callerToken}`
  const json = { 'content-type': 'application/json', authorization }
  /** Let in: answered by a policy, whatever it says. */
  const native = async (path: string, body: object): Promise<boolean> => {
    const response = await fetch(`${base}${path}`, { method: 'POST', headers: json, body: JSON.stringify(body) })
    const text = await response.text()
    return response.status === 200 && !text.includes('"ERR_')
  }
  // Gateways are told yes or no and nothing else, so a deny of the policy's looks like one of the guard's.
  const gateway = async (path: string, fields: Record<string, string>): Promise<boolean> => {
    const response = await fetch(`${base}${path}`, { headers: { 'x-verdict-authorization': authorization, ...fields } })
    await response.body?.cancel()
    return response.status === 200
  }
  const client = new Client(grpc, credentials.createInsecure())
  const metadata = new Metadata()
  metadata.set('authorization', authorization)
  const unary = (path: string, message: Uint8Array): Promise<boolean> =>
    new Promise((resolve) => {
      const bytes = (given: Buffer) => given
      client.makeUnaryRequest(path, bytes, bytes, Buffer.from(message), metadata, { deadline: Date.now() + 5_000 }, (error, answer) =>
        resolve(error === null && answer?.includes('ERR_') === false),
      )
    })
  const forwarded = { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/drill', 'x-forwarded-host': 'drill' }
  // Keeps answers where the policy declares that they hold: those have to end, too.
  const thin = createClient({ urls: [base], token: callerToken, keep: {} })
  const kept = async (): Promise<boolean> => (await thin.decide(question)).context.error === undefined
  return {
    asks: {
      'thin client': kept,
      'http /v1/decide': () => native('/v1/decide', question),
      'http /access/v1/evaluation': () => native('/access/v1/evaluation', question),
      'http /v1/data': () => native('/v1/data', { input: question }),
      'http /v1/auth/traefik': () => gateway('/v1/auth/traefik', forwarded),
      'http /v1/auth/envoy': () => gateway('/v1/auth/envoy/drill', {}),
      'grpc Decide': () => unary('/verdict.v1.DecisionService/Decide', decideMessage()),
      'grpc Check': () => unary('/envoy.service.auth.v3.Authorization/Check', checkMessage()),
    },
    close() {
      client.close()
      void thin.close()
    },
  }
}

/** A DecideRequest (schemas/verdict/v1/decision.proto): subject 1, action 2, resource 3. */
function decideMessage(): Uint8Array {
  const writer = protobuf.Writer.create()
  writer.uint32(10).fork().uint32(10).string('drill').uint32(18).string('drill').ldelim()
  writer.uint32(18).fork().uint32(10).string('drill').ldelim()
  writer.uint32(26).fork().uint32(10).string('drill').uint32(18).string('drill').ldelim()
  return writer.finish()
}

/** A CheckRequest of Envoy: attributes 1, request 4, http 2; method 2, path 4, host 5, protocol 10. */
function checkMessage(): Uint8Array {
  const http = protobuf.Writer.create()
  http.uint32(18).string('GET').uint32(34).string('/drill').uint32(42).string('drill').uint32(82).string('HTTP/1.1')
  const request = protobuf.Writer.create().uint32(18).bytes(http.finish()).finish()
  const attributes = protobuf.Writer.create().uint32(34).bytes(request).finish()
  return protobuf.Writer.create().uint32(10).bytes(attributes).finish()
}

function printReport(caller: string, doors: readonly DoorReport[], isGood: boolean): void {
  print(`${paint('bold', caller)} was revoked for ${watchMs} ms; times are from the API's answer on`)
  for (const { door, before, first_refusal_ms: first, last_admission_ms: last, refusals, restored } of doors) {
    const said =
      refusals === 0 ? paint('red', 'never refused') : `first refusal ${first} ms, last admission ${last === 0 ? 'none' : `${last} ms`}`
    print(
      `  ${door.padEnd(28)} ${said}, ${before} answers before, ${refusals} refusals${restored ? '' : paint('red', ', does not let in again')}`,
    )
  }
  print(isGood ? paint('green', 'passed') : paint('red', 'failed'))
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
