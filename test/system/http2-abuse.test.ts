// Floods of HTTP/2 frames against a service of its own process: its memory comes back, and good clients are answered meanwhile.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from '@jest/globals'
import { call, grpcClient } from '../support/grpc.ts'
import { callFields, fields, flag, frame, frameType, RawHttp2 } from '../support/raw-http2.ts'
import { question } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const decide = '/verdict.v1.DecisionService/Decide'
const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' }
const stream = (i: number) => 2 * i + 1
const open = (i: number, flags: number = flag.endHeaders) => frame(frameType.headers, flags, stream(i), fields(callFields(decide)))
const many = (count: number, make: (i: number) => Buffer) => Buffer.concat(Array.from({ length: count }, (_, i) => make(i)))
const cancel = Buffer.from([0, 0, 0, 8])

/** What one connection sends, in parts. */
const floods: Record<string, (part: number) => Buffer> = {
  'calls that are opened and cancelled': (part) =>
    many(200, (i) => Buffer.concat([open(part * 200 + i), frame(frameType.rstStream, 0, stream(part * 200 + i), cancel)])),
  'calls that are opened and never go on': (part) => many(200, (i) => open(part * 200 + i)),
  'fields that never end': (part) =>
    part === 0 ? open(0, 0) : many(50, () => frame(frameType.continuation, 0, 1, fields([['a', 'b'.repeat(1_000)]]))),
  'fields that grow when they are unpacked': (part) => {
    // One entry of the table of 4,000 bytes, then a reference of one byte to it, thousands of times.
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 0x62)])
    const block = Buffer.concat([fields(callFields(decide)), ...(part === 0 ? [entry] : []), Buffer.alloc(10_000, 0xbe)])
    return frame(frameType.headers, flag.endHeaders, stream(part), block)
  },
  settings: () => many(500, () => frame(frameType.settings, 0, 0, Buffer.from([0, 1, 0, 0, 16, 0]))),
  pings: () => many(500, () => frame(frameType.ping, 0, 0, Buffer.alloc(8))),
  'data without bytes': (part) => Buffer.concat([part === 0 ? open(0) : Buffer.alloc(0), many(500, () => frame(frameType.data, 0, 1))]),
  'windows that overflow': () => many(10, () => frame(frameType.windowUpdate, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))),
}

const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

/** A service on its own, and what memory it uses. */
async function start(): Promise<{ address: string; usedMiB(): Promise<number> }> {
  const child = fork(join(import.meta.dirname, 'http2-abuse-child.ts'), [tempFolder(policy), tempFolder()], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  children.push(child)
  const [{ address }] = (await once(child, 'message')) as [{ address: string }]
  return {
    address,
    async usedMiB() {
      child.send('how much?')
      const [{ usedBytes }] = (await once(child, 'message')) as [{ usedBytes: number }]
      return usedBytes / 2 ** 20
    },
  }
}

describe('floods', () => {
  test('end their own connection, or cost nothing: good clients are answered, memory comes back', async () => {
    const { address, usedMiB } = await start()
    const client = grpcClient(address, 'verdict.v1.DecisionService')
    const ask = async () => {
      const { code, message } = await call(client, 'Decide', question)
      expect([code, message?.decision.decision]).toEqual([0, true])
    }
    const flood = async (make: (part: number) => Buffer): Promise<void> => {
      const connections = Array.from({ length: 4 }, () => new RawHttp2(address))
      for (let part = 0; part < 25; part++) {
        await Promise.all(connections.map((connection) => connection.send(make(part))))
        await ask()
      }
      for (const connection of connections) connection.close()
    }
    const round = async () => {
      for (const make of Object.values(floods)) await flood(make)
      for (let i = 0; i < 500; i++) await ask()
      await sleep(1_500)
    }
    // The first rounds warm the code up.
    // The first round warms the code up.
    await round()
    const before = await usedMiB()
    for (let i = 0; i < 4; i++) await round()
    expect(await usedMiB()).toBeLessThan(before * 1.05)
  }, 120_000)

  test.each(['calls that are opened and cancelled', 'fields that never end', 'windows that overflow', 'data without bytes'])(
    '%s: the connection is ended',
    async (name) => {
      const { address } = await start()
      const connection = new RawHttp2(address)
      for (let part = 0; part < 200 && (await connection.send(floods[name]?.(part) as Buffer)); part++) await sleep(2)
      await connection.until(({ closed, types }) => closed || types.includes(frameType.goaway))
      connection.close()
    },
    30_000,
  )
})
