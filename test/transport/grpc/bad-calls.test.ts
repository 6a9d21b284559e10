// Calls that no honest client makes: each gets its status, and the next call is answered as if nothing had been.
import { type ClientSessionOptions, connect, constants } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import protobuf from 'protobufjs/minimal.js'
import { call, grpcClient } from '../../support/grpc.ts'
import { callFields, fields, flag, frame, frameType, message, RawHttp2 } from '../../support/raw-http2.ts'
import { question, startTestService, type TestService } from '../../support/service.ts'

const decide = '/verdict.v1.DecisionService/Decide'
const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' }

let service: TestService
beforeAll(async () => {
  service = await startTestService(policy, { 'server.maxBodyBytes': 65_536, 'server.requestTimeoutMs': 1_000 })
})
afterEach(async () => {
  const { message } = await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService'), 'Decide', question)
  expect(message.decision.decision).toBe(true)
})

interface Ended {
  readonly code: number
  readonly details: string
}

/** A call by Node's own client, with any fields and any bytes. */
function raw(path: string, body: Buffer, more: Record<string, string> | [string, string][] = {}, end = true): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // Fields that may be there once are sent twice, too.
    const options = { strictSingleValueFields: false } as ClientSessionOptions
    const session = connect(`http://${service.grpcAddress}`, options)
    session.on('error', reject)
    const own = Object.fromEntries(callFields(path))
    const stream = session.request(Array.isArray(more) ? [...callFields(path), ...more].flat() : { ...own, ...more })
    const take = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] === undefined) return
      resolve({ code: Number(headers['grpc-status']), details: decodeURIComponent(String(headers['grpc-message'] ?? '')) })
      session.close()
    }
    stream.on('response', take)
    stream.on('trailers', take)
    stream.on('error', reject)
    stream.resume()
    stream.write(body)
    if (end) stream.end()
  })
}

const writer = () => protobuf.Writer.create()
const text = (field: number, value: string) =>
  writer()
    .uint32((field << 3) | 2)
    .string(value)
    .finish()
const part = (field: number, bytes: Uint8Array) =>
  writer()
    .uint32((field << 3) | 2)
    .bytes(bytes)
    .finish()
const joined = (...parts: Uint8Array[]) => Buffer.concat(parts)
const alice = joined(text(1, 'user'), text(2, 'alice'))
const whole = joined(part(1, alice), part(2, text(1, 'read')), part(3, joined(text(1, 'document'), text(2, 'roadmap'))))

/** A Struct in a Struct in a Struct. */
function nested(depth: number): Uint8Array {
  let value: Uint8Array = writer()
    .uint32((4 << 3) | 0)
    .bool(true)
    .finish()
  for (let i = 0; i < depth; i++) value = part(5, part(1, joined(text(1, 'a'), part(2, value))))
  return part(1, joined(text(1, 'a'), part(2, value)))
}

describe('messages', () => {
  test('what the tests send is a good message', async () => {
    expect(await raw(decide, message(whole))).toMatchObject({ code: status.OK })
  })

  test.each([
    ['a field that the protocol does not have', joined(whole, text(15, 'x')), 'ERR_INVALID_REQUEST'],
    [
      'another type than the field has',
      joined(
        whole,
        writer()
          .uint32((6 << 3) | 0)
          .uint32(1)
          .finish(),
      ),
      'ERR_INVALID_REQUEST',
    ],
    ['a group', joined(whole, Buffer.from([(6 << 3) | 3, (6 << 3) | 4])), 'ERR_INVALID_REQUEST'],
    ['the subject twice', joined(whole, part(1, alice)), 'ERR_DUPLICATE_KEY'],
    ['the ID twice', joined(part(1, joined(alice, text(2, 'alice'))), whole.subarray(alice.length + 2)), 'ERR_DUPLICATE_KEY'],
    ['both forms of the context', joined(whole, part(4, Buffer.alloc(0)), text(5, '{}')), 'ERR_DUPLICATE_KEY'],
    [
      'both forms of properties',
      joined(part(1, joined(alice, part(3, Buffer.alloc(0)), text(4, '{}'))), whole.subarray(alice.length + 2)),
      'ERR_DUPLICATE_KEY',
    ],
    ['a key twice', joined(whole, part(4, joined(nested(0), nested(0)))), 'ERR_DUPLICATE_KEY'],
    ['a value that is none', joined(whole, part(4, part(1, joined(text(1, 'a'), part(2, Buffer.alloc(0)))))), 'ERR_INVALID_REQUEST'],
    ['structures in each other, 100 deep', joined(whole, part(4, nested(100))), 'ERR_TOO_DEEP'],
    ['structures in each other, 4,000 deep', joined(whole, part(4, nested(4_000))), 'ERR_TOO_DEEP'],
    [
      'text that is not UTF-8',
      joined(part(1, joined(text(1, 'user'), part(2, Buffer.from([0x61, 0xff])))), whole.subarray(alice.length + 2)),
      'ERR_INVALID_UTF8',
    ],
    [
      'text with half a surrogate pair',
      joined(part(1, joined(text(1, 'user'), part(2, Buffer.from([0xed, 0xa0, 0x80])))), whole.subarray(alice.length + 2)),
      'ERR_INVALID_UTF8',
    ],
    ['a part that is longer than the whole', Buffer.concat([whole, Buffer.from([(6 << 3) | 2, 100, 0x61])]), 'ERR_INVALID_REQUEST'],
    ['a length without an end', Buffer.from([(1 << 3) | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 'ERR_INVALID_REQUEST'],
    ['bytes that mean nothing', Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 'ERR_INVALID_REQUEST'],
    ['nothing', Buffer.alloc(0), 'ERR_INVALID_REQUEST'],
  ])('%s is INVALID_ARGUMENT', async (_what, bytes, code) => {
    const ended = await raw(decide, message(bytes))
    expect([ended.code, ended.details.split(':')[0]]).toEqual([status.INVALID_ARGUMENT, code])
  })

  test('cut anywhere, a message is refused or another question, and never an error of ours', async () => {
    for (let length = 0; length < whole.length; length++) {
      expect([length, (await raw(decide, message(whole.subarray(0, length)))).code]).toEqual([length, status.INVALID_ARGUMENT])
    }
  })

  test.each([
    ['a message larger than the largest', message(Buffer.alloc(65_537))],
    ['a length of 4 GB before five bytes', message(Buffer.alloc(5), 0, 0xffffffff)],
    ['a message that grows beyond the largest', message(gzipSync(Buffer.alloc(10 * 2 ** 20)), 1)],
  ])('%s is RESOURCE_EXHAUSTED', async (_what, body) => {
    expect((await raw(decide, body, { 'grpc-encoding': 'gzip' })).code).toBe(status.RESOURCE_EXHAUSTED)
  })

  test('a compressed message is read; an encoding that nobody knows is UNIMPLEMENTED', async () => {
    expect((await raw(decide, message(gzipSync(whole), 1), { 'grpc-encoding': 'gzip' })).code).toBe(status.OK)
    expect((await raw(decide, message(whole, 1), { 'grpc-encoding': 'snappy' })).code).toBe(status.UNIMPLEMENTED)
  })

  test.each([
    ['no message', Buffer.alloc(0), status.INVALID_ARGUMENT],
    ['a prefix without a message', message(whole).subarray(0, 5), status.INVALID_ARGUMENT],
    ['half a prefix', message(whole).subarray(0, 3), status.INVALID_ARGUMENT],
    ['two messages', joined(message(whole), message(whole)), status.INVALID_ARGUMENT],
    ['a byte behind the message', joined(message(whole), Buffer.from([0])), status.INVALID_ARGUMENT],
    ['messages without an end', Buffer.alloc(1_000_000), status.INVALID_ARGUMENT],
    ['a message that says that it is compressed, and not how', message(whole, 1), status.UNIMPLEMENTED],
  ])('%s: refused', async (_what, body, code) => {
    for (const path of [decide, '/envoy.service.auth.v3.Authorization/Check']) expect((await raw(path, body)).code).toBe(code)
  })

  test('a refusal does not wait for the rest of the message, and ends the stream', async () => {
    const connection = new RawHttp2(service.grpcAddress)
    await connection.send(
      Buffer.concat([
        frame(frameType.headers, flag.endHeaders, 1, fields(callFields(decide))),
        frame(frameType.data, 0, 1, message(Buffer.alloc(5), 0, 100_000)),
      ]),
    )
    const { codes } = await connection.until(({ codes }) => codes.length > 0)
    expect(codes).toEqual([constants.NGHTTP2_NO_ERROR])
    connection.close()
  })

  test('a message that does not come before the deadline of its call is not waited for', async () => {
    const began = performance.now()
    const { code } = await raw(decide, message(whole).subarray(0, 10), { 'grpc-timeout': '50m' }, false)
    expect(code).toBe(status.DEADLINE_EXCEEDED)
    expect(performance.now() - began).toBeLessThan(900)
  })

  test('calls as few clients send them get the answers that others get', async () => {
    const allowed = await raw(decide, message(whole), { 'content-type': 'application/grpc; charset=utf-8' })
    expect(allowed.code).toBe(status.OK)
    const malformed = Buffer.alloc(0)
    expect(await raw(decide, message(malformed), { 'content-type': 'application/grpc; charset=utf-8' })).toEqual(
      await raw(decide, message(malformed)),
    )
  })

  test('a message that does not come, or whose end does not, is waited for no longer than requestTimeoutMs', async () => {
    for (const body of [Buffer.alloc(0), message(whole).subarray(0, 10), message(whole)]) {
      expect((await raw(decide, body, { 'grpc-timeout': '99999999H' }, false)).code).toBe(status.DEADLINE_EXCEEDED)
    }
  })
})

describe('fields', () => {
  test.each([
    '//verdict.v1.DecisionService/Decide',
    '/verdict.v1.DecisionService/decide',
    '/verdict.v1.DecisionService/Decide/',
    '/other/Decide',
    '/',
  ])('the path %s is UNIMPLEMENTED', async (path) => {
    expect((await raw(path, message(whole))).code).toBe(status.UNIMPLEMENTED)
  })

  test.each(['0S', '0n', '1n', '-1S', '99999999999H', 'x', '1'])('the timeout %j is an answer', async (timeout) => {
    const { code } = await raw(decide, message(whole), { 'grpc-timeout': timeout })
    expect([status.OK, status.DEADLINE_EXCEEDED, status.INTERNAL]).toContain(code)
  })

  test.each([
    ['a pseudo field twice', [...callFields(decide), [':path', '/other']]],
    ['a pseudo field behind others', [...callFields(decide).slice(1), [':method', 'POST']]],
    ['no path', callFields(decide).filter(([name]) => name !== ':path')],
    ['capital letters', [...callFields(decide), ['X-Request-ID', 'a']]],
    ['a field of connections', [...callFields(decide), ['connection', 'close']]],
    ['te with something else', [...callFields(decide).filter(([name]) => name !== 'te'), ['te', 'x']]],
  ] as [string, [string, string][]][])('%s ends the stream', async (_what, pairs) => {
    const connection = new RawHttp2(service.grpcAddress)
    await connection.send(
      Buffer.concat([
        frame(frameType.headers, flag.endHeaders, 1, fields(pairs)),
        frame(frameType.data, flag.endStream, 1, message(whole)),
      ]),
    )
    const { codes } = await connection.until(({ codes, closed }) => closed || codes.length > 0)
    expect(codes.filter((code) => code !== constants.NGHTTP2_PROTOCOL_ERROR)).toEqual([])
    connection.close()
  })

  test.each([decide, '/verdict.v1.DecisionService/DecideBatch', '/grpc.health.v1.Health/Check'])(
    'credentials that are there twice are refused: %s',
    async (path) => {
      const { code, details } = await raw(path, message(whole), [
        ['authorization', 'Bearer a'],
        ['authorization', 'Bearer b'],
      ])
      expect([code, details.split(':')[0]]).toEqual([status.INVALID_ARGUMENT, 'ERR_AMBIGUOUS_CREDENTIALS'])
    },
  )

  test('a path without a slash at its front reaches nothing', async () => {
    await expect(raw('verdict.v1.DecisionService/Decide', message(whole))).rejects.toThrow('NGHTTP2_PROTOCOL_ERROR')
  })

  test('an ID that no log should hold gives way to one of ours', async () => {
    const client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
    const { headers } = await call(client, 'Decide', question, { 'x-request-id': 'x'.repeat(200) })
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })
})
