// W3C Trace Context through the service: what comes with a question goes on with the requests that its policy makes. The cases are those of the
// specification's own test suite (w3c/trace-context, test/test.py), by their names there, written anew from the specification.
// @see https://www.w3.org/TR/trace-context-1/ §3.2 traceparent, §3.3 tracestate
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { call, grpcClient } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'

const trace = '12345678901234567890123456789012'
const span = '1234567890123456'
const good = `00-${trace}-${span}-01`
const longKey = (length: number) => 'z'.repeat(length)
const members = (count: number) => Array.from({ length: count }, (_, i) => `bar${String(i + 1).padStart(2, '0')}=${i + 1}`)

interface Got {
  readonly traceparent: string
  readonly tracestate: string | undefined
}

let got: Got[] = []
const receiver = createServer(({ headers }, response) => {
  got.push({ traceparent: String(headers.traceparent), tracestate: headers.tracestate as string | undefined })
  response.setHeader('content-type', 'application/json')
  response.end('{"ok":true}')
})
let service: TestService
beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const to = `127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const send = `http.send({"method": "GET", "url": "http://${to}/"}).body.ok`
  const own = `http.send({"method": "GET", "url": "http://${to}/", "headers": {"Traceparent": "of-the-policy"}}).body.ok`
  service = await startTestService(
    { 'p.rego': `package p\n\n# METADATA\n# entrypoint: true\nallow if ${send}\n\n# METADATA\n# entrypoint: true\nown if ${own}\n` },
    { 'evaluation.network.allow': [to], 'cache.enabled': false },
  )
})
afterAll(() => void receiver.close())

/** Asks with fields as they are written here, and gives what the policy's request carried. */
async function through(fields: readonly (readonly [string, string])[], policy = 'main:p/allow'): Promise<Got> {
  got = []
  const { hostname, port } = new URL(service.url)
  const body = JSON.stringify({ ...question, policy })
  const status = await new Promise((resolve, reject) => {
    const raw = [...fields, ['Content-Type', 'application/json'], ['Content-Length', `${body.length}`], ['Host', `${hostname}:${port}`]]
    const sent = request({ host: hostname, port, path: '/v1/decide', method: 'POST', headers: raw.flat() })
    sent.on('response', (response) => response.on('end', () => resolve(response.statusCode)).resume())
    sent.on('error', reject).end(body)
  })
  expect(status).toBe(200)
  expect(got).toHaveLength(1)
  return got[0] as Got
}

/** @returns the trace that goes on */
function traceIn({ traceparent }: Got): string {
  const [, id, parent] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]$/.exec(traceparent) ?? []
  expect(id).not.toBe('0'.repeat(32))
  expect(parent).not.toBe('0'.repeat(16))
  expect(parent).not.toBe(span)
  return id as string
}

const tp = (value: string) => ['traceparent', value] as const
const ts = (value: string) => ['tracestate', value] as const

describe('the trace goes on, with a span of our own', () => {
  test.each<[string, readonly (readonly [string, string])[]]>([
    ['traceparent_included_tracestate_missing', [tp(good)]],
    ['traceparent_header_name_valid_casing: TraceParent', [['TraceParent', good]]],
    ['traceparent_header_name_valid_casing: TrAcEpArEnT', [['TrAcEpArEnT', good]]],
    ['traceparent_header_name_valid_casing: TRACEPARENT', [['TRACEPARENT', good]]],
    ['traceparent_version_0xcc', [tp(`cc-${trace}-${span}-01`)]],
    ['traceparent_version_0xcc, with more', [tp(`cc-${trace}-${span}-01-what-the-future-will-be-like`)]],
    ['traceparent_ows_handling', [tp(` \t${good} \t`)]],
  ])('%s', async (_name, fields) => {
    expect(traceIn(await through(fields))).toBe(trace)
  })

  test('also the flag that says whether somebody keeps it', async () => {
    expect((await through([tp(good)])).traceparent.slice(-2)).toBe('01')
    expect((await through([tp(`00-${trace}-${span}-00`)])).traceparent.slice(-2)).toBe('00')
    expect((await through([tp(`00-${trace}-${span}-ff`)])).traceparent.slice(-2)).toBe('01')
  })
})

describe('another trace begins, and no tracestate of the old one goes on', () => {
  test.each<[string, readonly (readonly [string, string])[]]>([
    ['both_traceparent_and_tracestate_missing', []],
    ['traceparent_duplicated', [tp(`00-${trace}-${span}-01`), tp(`00-${trace.replace('1', '2')}-${span}-01`)]],
    ['traceparent_header_name: trace-parent', [['trace-parent', good]]],
    ['traceparent_header_name: trace.parent', [['trace.parent', good]]],
    ['traceparent_version_0x00, with more', [tp(`${good}.`)]],
    ['traceparent_version_0x00, with a field more', [tp(`${good}-what-the-future-will-be-like`)]],
    ['traceparent_version_0xcc, what cannot be', [tp(`cc-${trace}-${span}-01.what-the-future-will-be-like`)]],
    ['traceparent_version_0xff', [tp(`ff-${trace}-${span}-01`)]],
    ['traceparent_version_illegal_characters', [tp(`.0-${trace}-${span}-01`)]],
    ['traceparent_version_illegal_characters', [tp(`0.-${trace}-${span}-01`)]],
    ['traceparent_version_too_long', [tp(`000-${trace}-${span}-01`)]],
    ['traceparent_version_too_short', [tp(`0-${trace}-${span}-01`)]],
    ['traceparent_trace_id_all_zero', [tp(`00-${'0'.repeat(32)}-${span}-01`)]],
    ['traceparent_trace_id_illegal_characters', [tp(`00-.${trace.slice(1)}-${span}-01`)]],
    ['traceparent_trace_id_too_long', [tp(`00-${trace}3-${span}-01`)]],
    ['traceparent_trace_id_too_short', [tp(`00-${trace.slice(1)}-${span}-01`)]],
    ['traceparent_parent_id_all_zero', [tp(`00-${trace}-${'0'.repeat(16)}-01`)]],
    ['traceparent_parent_id_illegal_characters', [tp(`00-${trace}-.${span.slice(1)}-01`)]],
    ['traceparent_parent_id_too_long', [tp(`00-${trace}-${span}7-01`)]],
    ['traceparent_parent_id_too_short', [tp(`00-${trace}-${span.slice(1)}-01`)]],
    ['traceparent_trace_flags_illegal_characters', [tp(`00-${trace}-${span}-.0`)]],
    ['traceparent_trace_flags_too_long', [tp(`00-${trace}-${span}-001`)]],
    ['traceparent_trace_flags_too_short', [tp(`00-${trace}-${span}-1`)]],
    ['in capitals', [tp(good.replace(trace, 'ABCDEF12345678901234567890123456'))]],
  ])('%s: %j', async (_name, fields) => {
    const carried = await through([...fields, ts('foo=1')])
    expect(traceIn(carried)).not.toBe(trace)
    expect(carried.tracestate).toBeUndefined()
  })
})

describe('tracestate goes on', () => {
  const printable = Array.from({ length: 0x7e - 0x21 + 1 }, (_, i) => String.fromCharCode(0x21 + i)).filter(
    (one) => one !== ',' && one !== '=',
  )
  const allowed = `abcdefghijklmnopqrstuvwxyz0123456789_-*/=${printable.join('')}`
  const [key256, value256] = [longKey(256), 'v'.repeat(256)]
  test.each<[string, readonly string[], string | undefined]>([
    ['tracestate_included_traceparent_included', ['foo=1,bar=2'], 'foo=1,bar=2'],
    ['tracestate_empty_header', ['foo=1', ''], 'foo=1'],
    ['tracestate_empty_header', ['', 'foo=1'], 'foo=1'],
    ['only an empty one', [''], undefined],
    ['tracestate_multiple_headers_different_keys', ['foo=1,bar=2', 'rojo=1,congo=2', 'baz=3'], 'foo=1,bar=2,rojo=1,congo=2,baz=3'],
    ['tracestate_all_allowed_characters', [allowed], allowed],
    ['tracestate_ows_handling', ['foo=1 \t , \t bar=2, \t baz=3'], 'foo=1,bar=2,baz=3'],
    ['tracestate_ows_handling', ['foo=1 \t', ' \tbar=2'], 'foo=1,bar=2'],
    ['tracestate_member_count_limit: 32', [members(32).join(',')], members(32).join(',')],
    ['tracestate_key_length_limit: 256', [`${key256}=1`], `${key256}=1`],
    ['tracestate_key_length_limit: 241@14', [`${longKey(241)}@${longKey(14)}=1`], `${longKey(241)}@${longKey(14)}=1`],
    ['tracestate_key of a tenant that begins with a digit', ['0t@v=1'], '0t@v=1'],
    ['the value of 256 characters', [`foo=${value256}`], `foo=${value256}`],
    ['a space within a value', ['foo=a b'], 'foo=a b'],
  ])('%s: %j', async (_name, values, expected) => {
    const carried = await through([tp(good), ...values.map(ts)])
    expect(traceIn(carried)).toBe(trace)
    expect(carried.tracestate).toBe(expected)
  })
})

describe('a tracestate that cannot be understood goes on in no part, and the trace does', () => {
  test.each<[string, readonly string[]]>([
    ['tracestate_duplicated_keys', ['foo=1,foo=1']],
    ['tracestate_duplicated_keys, in two fields', ['foo=1', 'foo=2']],
    ['tracestate_member_count_limit: 33', [members(33).join(',')]],
    ['tracestate_key_illegal_characters', ['foo =1']],
    ['tracestate_key_illegal_characters', ['FOO=1']],
    ['tracestate_key_illegal_characters', ['foo.bar=1']],
    ['tracestate_key_illegal_vendor_format', ['foo@=1,bar=2']],
    ['tracestate_key_illegal_vendor_format', ['@foo=1,bar=2']],
    ['tracestate_key_illegal_vendor_format', ['foo@@bar=1,bar=2']],
    ['tracestate_key_illegal_vendor_format', ['foo@bar@baz=1,bar=2']],
    ['tracestate_key_length_limit: 257', [`${longKey(257)}=1`]],
    ['tracestate_key_length_limit: 242@14', [`${longKey(242)}@${longKey(14)}=1`]],
    ['tracestate_key_length_limit: 241@15', [`${longKey(241)}@${longKey(15)}=1`]],
    ['tracestate_value_illegal_characters', ['foo=bar=baz']],
    ['tracestate_value_illegal_characters', ['foo=,bar=3']],
    ['a value of 257 characters', [`foo=${'v'.repeat(257)}`]],
    ['no value', ['foo']],
  ])('%s: %j', async (_name, values) => {
    const carried = await through([tp(good), ...values.map(ts)])
    expect(traceIn(carried)).toBe(trace)
    expect(carried.tracestate).toBeUndefined()
  })
})

test('a policy that writes its own is left alone', async () => {
  expect(await through([tp(good), ts('foo=1')], 'main:p/own')).toEqual({ traceparent: 'of-the-policy', tracestate: undefined })
})

test('through gRPC too', async () => {
  got = []
  const client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  await call(client, 'Decide', { ...question, policy: 'main:p/allow' }, { traceparent: good, tracestate: 'foo=1,bar=2' })
  expect(traceIn(got[0] as Got)).toBe(trace)
  expect(got[0]?.tracestate).toBe('foo=1,bar=2')
})

test("the span that goes on is the one of the decision's record", async () => {
  const { traceparent } = await through([tp(good)])
  const records = await service.stop()
  expect(records.at(-1)).toMatchObject({ trace_id: trace, span_id: traceparent.split('-')[2] })
})
